/**
 * A tap on every connection: the place where a stream can be cut in the middle of a frame, damaged, forgotten by one side, left
 * unread, or re-arranged message by message.
 *
 *      node ─► gate ─► Tap ─► wire ─► Tap ─► gate ─► node
 *                       │
 *                       ├ meddler    whole frames in, whole frames out: fewer, more, other ones, later (see meddlers.ts)
 *                       ├ recorder   what peers say, to be said once more (see replay.ts)
 *                       └ slow       this side leaves what arrives in the kernel's buffers
 *
 * A meddler needs whole frames, and a connection is watched from its first byte, so the tap keeps count of where in a frame the
 * stream is. It knows the frames of the wire between nodes (docs/formats/peer-wire.md), whose first four bytes are their length;
 * streams of clients pass as they are.
 */
import type { Address, Connection, ConnectionHandler, Network } from '../../src/platform/index.ts'

/** Gets every whole frame that leaves on a connection, and sends what it wants. */
export interface Meddler {
  frame(frame: Buffer, tap: Tap): void
}

/** Takes down what peers say. */
export interface Recorder {
  wrote(tap: Tap, bytes: Uint8Array): void
  ended(tap: Tap): void
}

export interface TapOptions {
  readonly peerPort: number
}

const UNSET: ConnectionHandler = { received() {}, drained() {}, closed() {} }

export class Taps {
  readonly #options: TapOptions
  readonly #open = new Set<Tap>()
  readonly #meddlers = new Map<string, Meddler>()
  readonly #slow = new Set<string>()
  recorder: Recorder | null = null
  /** Frames between nodes, and requests and answers of clients. */
  messages = 0

  constructor(options: TapOptions) {
    this.#options = options
  }

  /** The network as a machine sees it, with a tap on each of its connections. */
  host(name: string, network: Network): Network {
    return {
      listen: (at, onConnection, done) =>
        network.listen(at, (connection) => onConnection(this.#tap(name, connection, at, false)), done),
      connect: (to, done) =>
        network.connect(to, (error, connection) => {
          if (connection === undefined) done(error)
          else done(null, this.#tap(name, connection, to, true))
        }),
    }
  }

  #tap(local: string, connection: Connection, at: Address, dialled: boolean): Tap {
    const tap = new Tap(this, connection, {
      local,
      remote: connection.remote.host,
      peers: at.port === this.#options.peerPort,
      dialled,
    })
    this.#open.add(tap)
    tap.meddler = this.#meddlers.get(`${local}>${tap.remoteHost}`) ?? null
    if (this.#slow.has(`${local}<${tap.remoteHost}`)) tap.slow(true)
    return tap
  }

  forget(tap: Tap): void {
    if (!this.#open.delete(tap)) return
    if (tap.peers) this.recorder?.ended(tap)
  }

  /** Open connections of a machine with another, as seen there. */
  of(local: string, remote: string): Tap[] {
    return [...this.#open].filter((tap) => tap.local === local && tap.remoteHost === remote)
  }

  /** With what `from` tells `to`, from the next frame on; also on connections to come. */
  meddle(from: string, to: string, meddler: Meddler): void {
    this.#meddlers.set(`${from}>${to}`, meddler)
    for (const tap of this.of(from, to)) tap.meddler = meddler
  }

  /** Ends that, unless somebody else is at it by now. */
  leave(from: string, to: string, meddler: Meddler): void {
    if (this.#meddlers.get(`${from}>${to}`) !== meddler) return
    this.#meddlers.delete(`${from}>${to}`)
    for (const tap of this.of(from, to)) tap.meddler = null
  }

  isMeddledWith(from: string, to: string): boolean {
    return this.#meddlers.has(`${from}>${to}`)
  }

  /** `local` leaves what `remote` sends unread, also on connections to come. */
  slow(local: string, remote: string, slow: boolean): void {
    if (slow) this.#slow.add(`${local}<${remote}`)
    else this.#slow.delete(`${local}<${remote}`)
    for (const tap of this.of(local, remote)) tap.slow(slow)
  }

  heal(): void {
    this.#meddlers.clear()
    this.#slow.clear()
    for (const tap of this.#open) {
      tap.meddler = null
      tap.slow(false)
    }
  }

  /** A machine is gone with all its connections. */
  crash(host: string): void {
    for (const tap of [...this.#open]) if (tap.local === host) this.forget(tap)
  }

  /** Connections that carried a damaged frame and are still in use. */
  get damagedAndOpen(): Tap[] {
    return [...this.#open].filter((tap) => tap.damaged)
  }
}

interface TapEnds {
  readonly local: string
  readonly remote: string
  /** Between nodes. */
  readonly peers: boolean
  readonly dialled: boolean
}

export class Tap implements Connection, ConnectionHandler {
  handler: ConnectionHandler = UNSET
  meddler: Meddler | null = null
  /** Bytes that were sent here were changed on the way. */
  damaged = false
  readonly #taps: Taps
  readonly #connection: Connection
  readonly #ends: TapEnds
  /** Bytes that the frame in progress still lacks. */
  #missing = 0
  /** Parts of a frame that a meddler will get whole. */
  #held: Buffer[] = []
  #holding = false
  #slow = false
  #paused = false
  /** This side was told of an end that the other side knows nothing of. */
  #forgotten = false

  constructor(taps: Taps, connection: Connection, ends: TapEnds) {
    this.#taps = taps
    this.#connection = connection
    this.#ends = ends
    connection.handler = this
  }

  get local(): string {
    return this.#ends.local
  }

  get remoteHost(): string {
    return this.#ends.remote
  }

  get peers(): boolean {
    return this.#ends.peers
  }

  get dialled(): boolean {
    return this.#ends.dialled
  }

  get remote(): Address {
    return this.#connection.remote
  }

  get queuedBytes(): number {
    return this.#connection.queuedBytes
  }

  write(bytes: Uint8Array): boolean {
    if (this.#forgotten || bytes.length === 0) return true
    if (!this.#ends.peers) {
      this.#taps.messages++
      return this.#connection.write(bytes)
    }
    this.#taps.recorder?.wrote(this, bytes)
    if (this.#missing === 0) {
      this.#taps.messages++
      // Whoever sends a frame writes its header in one piece.
      this.#missing = (bytes as Buffer).readUInt32LE(0)
      this.#holding = this.meddler !== null
    }
    this.#missing -= bytes.length
    if (!this.#holding) return this.#connection.write(bytes)
    this.#held.push(bytes as Buffer)
    if (this.#missing > 0) return true
    const frame = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held)
    this.#held = []
    if (this.meddler === null) return this.#connection.write(frame)
    this.meddler.frame(frame, this)
    return true
  }

  /** For meddlers: past everything above. */
  send(bytes: Buffer): void {
    if (!this.#forgotten) this.#connection.write(bytes)
  }

  pause(): void {
    this.#paused = true
    this.#connection.pause()
  }

  resume(): void {
    this.#paused = false
    if (!this.#slow) this.#connection.resume()
  }

  slow(slow: boolean): void {
    if (this.#slow === slow) return
    this.#slow = slow
    if (slow) this.#connection.pause()
    else if (!this.#paused) this.#connection.resume()
  }

  end(): void {
    if (!this.#forgotten) this.#connection.end()
  }

  destroy(): void {
    this.#taps.forget(this)
    if (!this.#forgotten) this.#connection.destroy()
  }

  /** The network ends it: both sides hear. */
  abort(): void {
    if (this.#forgotten) return
    this.#forgotten = true
    this.#taps.forget(this)
    this.#connection.destroy()
    this.handler.closed('connection reset')
  }

  /** This side hears that the connection is gone, the other one hears nothing: half-open, until somebody misses a beat. */
  forget(): void {
    if (this.#forgotten) return
    this.#forgotten = true
    this.#taps.forget(this)
    // What still arrives is left lying, as on a machine that a firewall hides.
    this.#connection.pause()
    this.handler.closed('connection reset')
  }

  received(bytes: Buffer): void {
    if (!this.#forgotten) this.handler.received(bytes)
  }

  drained(): void {
    if (!this.#forgotten) this.handler.drained()
  }

  closed(reason: string): void {
    this.#taps.forget(this)
    if (!this.#forgotten) this.handler.closed(reason)
  }
}
