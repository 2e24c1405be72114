/**
 * One end of a byte stream in memory, and the stretch of wire that leads from it to the other end.
 *
 *     write ─► queue ──(end of turn, window open)──► wire ──(latency, not cut)──► received
 *              └ queuedBytes ┘                       └ at most windowBytes, with what a paused receiver leaves lying ┘
 *
 * The end of a stream travels on the same wire behind the last byte, so nothing overtakes it and a cut holds it back too.
 */
import type { Timer } from '../clock.ts'
import type { Address, Connection, ConnectionHandler } from '../network.ts'
import type { Wire } from './network.ts'

/** Which machines an end connects, and the address that it shows. */
export interface Hosts {
  readonly local: string
  readonly peer: string
  readonly remote: Address
}

interface Parcel {
  /** Null is the end of the stream. */
  readonly bytes: Uint8Array | null
  readonly arrivesMs: number
}

/** How long after `end` the other side may take to close. */
const LINGER_MS = 2000

/** As much as one read of a socket brings. */
const DELIVERY_BYTES_MAX = 64 * 1024

const UNSET: ConnectionHandler = { received() {}, drained() {}, closed() {} }

export function connectedPair(wire: Wire, near: Hosts, far: Hosts): [MemoryConnection, MemoryConnection] {
  const one = new MemoryConnection(wire, near)
  const two = new MemoryConnection(wire, far)
  one.join(two)
  two.join(one)
  return [one, two]
}

export class MemoryConnection implements Connection {
  readonly hosts: Hosts
  handler: ConnectionHandler = UNSET

  readonly #wire: Wire
  #peer!: MemoryConnection
  #queue: Uint8Array[] = []
  #queuedBytes = 0
  /** Sent by this end and not yet received by the other, in order. */
  #parcels: Parcel[] = []
  #parcelBytes = 0
  #blocked = false
  #paused = false
  #pumping = false
  #arrival: Timer | null = null
  /** open ─► ending (takes no more bytes, gives none to the handler) ─► closed; `gone` is a crashed machine: it hears nothing. */
  #state: 'open' | 'ending' | 'closed' | 'gone' = 'open'
  /** The end of our stream: sent once the queue is empty. */
  #end: 'none' | 'due' | 'sent' = 'none'
  #linger: Timer | null = null

  constructor(wire: Wire, hosts: Hosts) {
    this.#wire = wire
    this.hosts = hosts
  }

  join(peer: MemoryConnection): void {
    this.#peer = peer
  }

  get remote(): Address {
    return this.hosts.remote
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  write(bytes: Uint8Array): boolean {
    if (this.#state !== 'open') return true
    if (bytes.length > 0) {
      this.#queue.push(bytes)
      this.#queuedBytes += bytes.length
      this.pump()
    }
    if (this.#queuedBytes > this.#wire.highWaterBytes) this.#blocked = true
    return !this.#blocked
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#peer.pump()
  }

  end(): void {
    if (this.#state !== 'open') return
    this.#finish()
    this.#linger = this.#wire.clock.after(LINGER_MS, () => this.#close('closed by this side'))
  }

  destroy(): void {
    if (this.#state === 'closed' || this.#state === 'gone') return
    this.#drop()
    this.#finish()
    this.#close('closed by this side')
  }

  /** The network ended the connection. */
  lost(reason: string): void {
    if (this.#state === 'closed' || this.#state === 'gone') return
    this.#drop()
    this.#parcels = []
    this.#state = 'ending'
    this.#close(reason)
  }

  /** This end's machine is gone; what it sent before may still arrive. */
  vanish(): void {
    this.#drop()
    this.#linger?.cancel()
    this.#state = 'gone'
    this.#wire.forget(this)
  }

  /** Moves what can be moved at the end of the turn. */
  pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    this.#wire.clock.endOfTurn(this.#move)
  }

  readonly #move = (): void => {
    this.#pumping = false
    this.#send()
    this.#deliver()
  }

  #send(): void {
    const leaving = Math.max(0, Math.min(this.#queuedBytes, this.#wire.windowBytes - this.#parcelBytes))
    const latencyMs =
      leaving > 0 || this.#end === 'due' ? this.#wire.latencyMs(this.hosts.local, this.hosts.peer, leaving) : 0
    const earliest = this.#parcels.at(-1)?.arrivesMs ?? 0
    const arrivesMs = latencyMs > 0 ? Math.max(earliest, this.#wire.clock.now() + latencyMs) : earliest
    while (this.#queue.length > 0 && this.#parcelBytes < this.#wire.windowBytes) {
      const bytes = this.#queue.shift()!
      const room = this.#wire.windowBytes - this.#parcelBytes
      if (bytes.length > room) this.#queue.unshift(bytes.subarray(room))
      const taken = bytes.length > room ? bytes.subarray(0, room) : bytes
      this.#queuedBytes -= taken.length
      this.#parcelBytes += taken.length
      this.#parcels.push({ bytes: taken, arrivesMs })
    }
    if (this.#end === 'due' && this.#queue.length === 0) {
      this.#end = 'sent'
      this.#parcels.push({ bytes: null, arrivesMs })
    }
    if (this.#blocked && this.#state === 'open' && this.#queuedBytes <= this.#wire.highWaterBytes / 2) {
      this.#blocked = false
      this.handler.drained()
    }
  }

  /** One read's worth to the other end; the rest follows in the next turn. */
  #deliver(): void {
    const first = this.#parcels[0]
    if (first === undefined || this.#peer.#holds() || this.#wire.isCut(this.hosts.local, this.hosts.peer)) return
    const waitMs = first.arrivesMs - this.#wire.clock.now()
    if (waitMs > 0) {
      if (this.#arrival !== null) return
      this.#arrival = this.#wire.clock.after(waitMs, () => {
        this.#arrival = null
        this.#deliver()
      })
      return
    }
    if (first.bytes === null) {
      this.#parcels = []
      this.#peer.#heardEnd()
      if (this.#state === 'closed') this.#wire.forget(this)
      return
    }
    if (this.#peer.#state === 'gone') return this.lost('connection reset')
    const bytes = this.#gather()
    if (this.#parcels.length > 0 || this.#queue.length > 0 || this.#end === 'due') this.pump()
    if (this.#peer.#state === 'open') this.#peer.handler.received(bytes)
    if (this.#wire.scribble) this.#wire.clock.endOfTurn(() => bytes.fill(0xdb))
  }

  #gather(): Buffer {
    const now = this.#wire.clock.now()
    const limit = this.#wire.random === undefined ? DELIVERY_BYTES_MAX : 1 + this.#wire.random.below(DELIVERY_BYTES_MAX)
    const pieces: Uint8Array[] = []
    let length = 0
    while (length < limit) {
      const parcel = this.#parcels[0]
      if (parcel === undefined || parcel.bytes === null || parcel.arrivesMs > now) break
      const take = Math.min(parcel.bytes.length, limit - length)
      pieces.push(parcel.bytes.subarray(0, take))
      length += take
      if (take === parcel.bytes.length) this.#parcels.shift()
      else this.#parcels[0] = { bytes: parcel.bytes.subarray(take), arrivesMs: parcel.arrivesMs }
    }
    this.#parcelBytes -= length
    return Buffer.concat(pieces, length)
  }

  /**
   * A paused reader leaves bytes lying, and a lost machine answers nothing; once it is back, it refuses them. One that is ending reads on
   * and drops them.
   */
  #holds(): boolean {
    if (this.#state === 'gone') return !this.#wire.isUp(this.hosts.local)
    return this.#paused && this.#state === 'open'
  }

  /** The other side sent its last byte: send ours, then close. */
  #heardEnd(): void {
    if (this.#state === 'closed' || this.#state === 'gone') return
    const reason = this.#state === 'open' ? 'the other side closed the connection' : 'closed by this side'
    this.#finish()
    this.#close(reason)
  }

  #finish(): void {
    this.#state = 'ending'
    if (this.#end === 'none') this.#end = 'due'
    this.pump()
  }

  #drop(): void {
    this.#queue = []
    this.#queuedBytes = 0
  }

  /** Tells the handler in a later turn, once, unless the machine is gone by then. */
  #close(reason: string): void {
    this.#linger?.cancel()
    this.#wire.clock.endOfTurn(() => {
      if (this.#state === 'gone' || this.#state === 'closed') return
      this.#state = 'closed'
      // What is still on the way leads to the other end, which a cut may hold back: keep the wire until then.
      if (this.#parcels.length === 0 && this.#queue.length === 0) this.#wire.forget(this)
      this.handler.closed(reason)
    })
  }
}
