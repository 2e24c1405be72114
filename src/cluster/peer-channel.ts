/**
 * One connection to a peer, from its first byte to its last. Its reader lives through the handshake and the session, so that
 * nothing is lost or read twice when the one ends and the other begins, be it in the middle of a chunk.
 */
import type { Clock, Connection, ConnectionHandler } from '../platform/index.ts'
import type { FrameDefect, FrameKind } from './peer-wire.ts'
import { FrameReader } from './peer-wire.ts'

/** Who listens to a channel: first a handshake, then a session. */
export interface ChannelOwner {
  frame(channel: PeerChannel, kind: FrameKind, stamp: number, frame: Buffer): void
  /** The bytes are damaged or the connection has ended. Told once; the channel is finished. */
  ended(channel: PeerChannel, reason: string, defect: FrameDefect | null): void
}

export class PeerChannel implements ConnectionHandler {
  readonly #clock: Clock
  readonly #connection: Connection
  owner: ChannelOwner
  readonly reader: FrameReader
  /** When bytes last arrived. */
  receivedAt: number
  #finished = false
  #paused = false

  constructor(clock: Clock, connection: Connection, owner: ChannelOwner) {
    this.#clock = clock
    this.#connection = connection
    this.owner = owner
    this.receivedAt = clock.now()
    this.reader = new FrameReader({ frame: (kind, stamp, frame) => this.owner.frame(this, kind, stamp, frame) })
    connection.handler = this
  }

  get remote(): string {
    return `${this.#connection.remote.host}:${this.#connection.remote.port}`
  }

  get queuedBytes(): number {
    return this.#finished ? 0 : this.#connection.queuedBytes
  }

  get finished(): boolean {
    return this.#finished
  }

  get paused(): boolean {
    return this.#paused
  }

  write(part: Buffer): void {
    if (!this.#finished) this.#connection.write(part)
  }

  pause(): void {
    if (this.#finished) return
    this.#paused = true
    this.#connection.pause()
  }

  resume(): void {
    if (this.#finished) return
    // Silence that was ordered is not the peer's.
    this.#paused = false
    this.receivedAt = this.#clock.now()
    this.#connection.resume()
  }

  /** Sends what is queued, then closes. The owner hears nothing more. */
  end(): void {
    if (!this.#finish()) return
    this.#connection.end()
  }

  destroy(): void {
    if (!this.#finish()) return
    this.#connection.destroy()
  }

  #finish(): boolean {
    if (this.#finished) return false
    this.#finished = true
    this.reader.stop()
    return true
  }

  received(bytes: Buffer): void {
    if (this.#finished) return
    this.receivedAt = this.#clock.now()
    const defect = this.reader.push(bytes)
    if (defect === null || this.#finished) return
    this.destroy()
    this.owner.ended(this, `damaged frame (${defect})`, defect)
  }

  drained(): void {
    // Nobody waits for this: whoever sends data looks at `queuedBytes` in the turn in which it would send.
  }

  closed(reason: string): void {
    if (!this.#finish()) return
    this.owner.ended(this, reason, null)
  }
}
