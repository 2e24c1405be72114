/** Byte streams between machines, as the layers above may use them. */
import type { PlatformError } from './errors.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

/**
 * Byte-stream connections. Bytes arrive in order or the connection ends; nothing is promised between connections. A peer
 * that vanished without a word looks like silence (half-open), so whoever cares sends heartbeats.
 */
export interface Network {
  /** Port 0 picks a free port; the listener says which. Both IPv4 and IPv6 when `host` is a wildcard. */
  listen(
    at: Address,
    onConnection: (connection: Connection) => void,
    done: (error: PlatformError | null, listener?: Listener) => void,
  ): void
  /** `done` once, with a connection that is established, or the reason why there is none. */
  connect(to: Address, done: (error: PlatformError | null, connection?: Connection) => void): void
}

export interface Listener {
  readonly address: Address
  /** Stops accepting; established connections stay. */
  close(done: () => void): void
}

export interface Connection {
  readonly remote: Address
  /** Must be set in the turn in which the connection is handed out; nothing is delivered before the turn ends. */
  handler: ConnectionHandler
  /**
   * Queues the bytes. The connection keeps the reference: the caller must not change them. Never fails; loss shows as
   * `closed`. Returns false when more than `highWaterBytes` are queued: stop until `drained`.
   */
  write(bytes: Uint8Array): boolean
  /** Bytes accepted by `write` and not yet taken by the operating system. */
  readonly queuedBytes: number
  /** Stops and resumes delivery of `received`, which pushes back to the other side. */
  pause(): void
  resume(): void
  /** Sends what is queued, then closes. */
  end(): void
  /** Closes at once, drops what is queued. */
  destroy(): void
}

export interface ConnectionHandler {
  /**
   * Bytes from the other side. The buffer belongs to the platform and is valid only until the callback's turn ends: copy
   * what must live longer (one small slice would keep a whole 64 KiB slab alive).
   */
  received(bytes: Buffer): void
  drained(): void
  /** Once; after it no other call. `reason` is for people. */
  closed(reason: string): void
}
