/**
 * One TCP connection.
 *
 *     write ─► #pending ──(end of the turn: merge small buffers, one writev)──► socket ─► kernel
 *              └──────────────── queuedBytes ────────────────────────────────┘
 *
 * What a turn writes leaves as one system call. Buffers below a few KiB are copied together first: a vector of 256 small
 * slices costs the kernel more than one copy costs us.
 *
 * Every way in which a connection can die (a FIN, an RST, a failed write, our own `destroy`) ends in one place, the socket's
 * `close` event, and becomes one `closed`. `end` is the polite way: the FIN goes after the last byte, and what the other
 * side still sends is read and dropped until it closes as well, because closing a socket with unread bytes makes the kernel
 * send an RST, which may overtake our last bytes. A peer that does not close in time is cut off.
 */
import type { Socket } from 'node:net'
import type { Address, Connection, ConnectionHandler } from '../network.ts'
import type { Turn } from './turn.ts'

/** Below this a buffer is copied into its neighbours' write. */
const MERGE_BYTES_MAX = 4096

/** How long after `end` the other side may take to close. */
const LINGER_MS = 2000

const UNSET: ConnectionHandler = { received() {}, drained() {}, closed() {} }

export class NodeConnection implements Connection {
  readonly remote: Address
  handler: ConnectionHandler = UNSET

  readonly #socket: Socket
  readonly #turn: Turn
  readonly #highWaterBytes: number
  #pending: Uint8Array[] = []
  #pendingBytes = 0
  /** A flush is registered for the end of this turn. */
  #flushing = false
  /** `write` has answered false and `drained` has not been said since. */
  #blocked = false
  #paused = false
  /** Reading starts at the end of the turn in which the connection was handed out. */
  #started = false
  #state: 'open' | 'ending' | 'destroyed' | 'closed' = 'open'
  #reason = ''
  #linger: NodeJS.Timeout | null = null

  constructor(options: { highWaterBytes: number }, collaborators: { socket: Socket; turn: Turn }) {
    const { socket, turn } = collaborators
    this.#socket = socket
    this.#turn = turn
    this.#highWaterBytes = options.highWaterBytes
    this.remote = { host: plainHost(socket.remoteAddress), port: socket.remotePort ?? 0 }
    socket.on('error', (error: NodeJS.ErrnoException) => this.#because(error.code ?? error.message))
    socket.on('close', () => this.#closed())
    socket.on('end', () => {
      this.#because('the other side closed the connection')
      this.end()
    })
    socket.pause()
    turn.atEnd(() => {
      this.#started = true
      socket.on('data', this.#received)
      if (this.#paused) socket.pause()
      else socket.resume()
    })
  }

  get queuedBytes(): number {
    return this.#pendingBytes + this.#socket.writableLength
  }

  write(bytes: Uint8Array): boolean {
    if (this.#state !== 'open') return true
    if (bytes.length > 0) {
      this.#pending.push(bytes)
      this.#pendingBytes += bytes.length
      if (!this.#flushing) {
        this.#flushing = true
        this.#turn.atFlush(this.#flush)
      }
    }
    if (this.queuedBytes > this.#highWaterBytes) this.#blocked = true
    return !this.#blocked
  }

  pause(): void {
    this.#paused = true
    if (this.#started && this.#state === 'open') this.#socket.pause()
  }

  resume(): void {
    this.#paused = false
    if (this.#started && this.#state === 'open') this.#socket.resume()
  }

  end(): void {
    if (this.#state !== 'open') return
    this.#flush()
    this.#state = 'ending'
    this.#because('closed by this side')
    this.#socket.end()
    this.#socket.resume()
    this.#linger = setTimeout(() => this.#socket.destroy(), LINGER_MS)
  }

  destroy(): void {
    if (this.#state === 'destroyed' || this.#state === 'closed') return
    this.#state = 'destroyed'
    this.#because('closed by this side')
    this.#pending = []
    this.#pendingBytes = 0
    this.#socket.destroy()
  }

  readonly #received = (bytes: Buffer): void => {
    if (this.#state === 'open') this.handler.received(bytes)
  }

  readonly #flush = (): void => {
    this.#flushing = false
    const pending = this.#pending
    if (pending.length === 0 || this.#state !== 'open') return
    this.#pending = []
    this.#pendingBytes = 0
    const socket = this.#socket
    const writes = merged(pending)
    const last = writes.length - 1
    if (last > 0) socket.cork()
    for (let i = 0; i < last; i++) socket.write(writes[i]!)
    socket.write(writes[last]!, this.#taken)
    if (last > 0) socket.uncork()
  }

  /** The operating system took everything up to the end of one flush, or the connection failed. */
  readonly #taken = (error?: Error | null): void => {
    if (error || !this.#blocked || this.#state !== 'open' || this.queuedBytes > this.#highWaterBytes / 2) return
    this.#blocked = false
    this.handler.drained()
  }

  /** The first reason is the cause; what follows from it is noise. */
  #because(reason: string): void {
    if (this.#reason === '') this.#reason = reason
  }

  #closed(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    if (this.#linger !== null) clearTimeout(this.#linger)
    this.#pending = []
    this.#pendingBytes = 0
    this.handler.closed(this.#reason || 'connection lost')
  }
}

/** IPv4 peers of a listener for both families show up as `::ffff:127.0.0.1`. */
function plainHost(host: string | undefined): string {
  return host === undefined ? '' : host.startsWith('::ffff:') ? host.slice(7) : host
}

/** The same bytes in the same order, runs of small buffers copied into one. */
function merged(buffers: Uint8Array[]): Uint8Array[] {
  if (buffers.length === 1) return buffers
  const out: Uint8Array[] = []
  for (let at = 0; at < buffers.length; ) {
    let end = at
    let bytes = 0
    while (end < buffers.length && buffers[end]!.length < MERGE_BYTES_MAX) bytes += buffers[end++]!.length
    if (end - at < 2) {
      out.push(buffers[at++]!)
      continue
    }
    const run = Buffer.allocUnsafe(bytes)
    for (let offset = 0; at < end; at++) {
      run.set(buffers[at]!, offset)
      offset += buffers[at]!.length
    }
    out.push(run)
  }
  return out
}
