/**
 * What a leader knows of one other replica.
 *
 *     probe      Where its log parts from ours is not known. One append at a time, then wait for the answer.
 *     replicate  It holds our log up to `received`. Appends are pipelined: `next` runs ahead, bounded by bytes in flight.
 *
 *                      match        received         next
 *     ── journaled ────┘── in memory ──┘── in flight ──┘── not sent ──
 *
 *     snapshot   It needs what is below our log's start, and is sent the machine's state instead (`snapshot-sending.ts`).
 *
 * Nothing is ever sent again because time passed: within a session, frames arrive in order or the session ends, and a new
 * session begins with a probe.
 */
import { assert } from '../stdx/index.ts'
import type { NodeId } from './messages.ts'
import type { Transfer } from './snapshot-sending.ts'

export type ProgressState = 'probe' | 'replicate' | 'snapshot'

export class Progress {
  readonly node: NodeId
  state: ProgressState = 'probe'
  /** It has journaled our log up to here. This alone counts for the high-water mark. Never goes back, but for a lost disk. */
  match = 0
  /** It has received our log up to here. Invariant: match ≤ received. */
  received = 0
  /** The next entry to send. Invariant: received < next ≤ lastIndex + 1 while replicating. */
  next: number
  /**
   * It has answered an append of this term in the present session. Before that, its heartbeat replies say nothing about
   * this shard: it may have voted for another leader.
   */
  confirmed = false
  /** Probe, snapshot: what is out has not been answered. Or there is no session: then nothing will be. */
  awaitingReply = false
  /** It was sent an append in this term. */
  probed = false
  /** The commit index that the peer can derive from what was sent in this session. */
  commitSent = 0
  /** Entries below the tail are being read for this peer. At most one read per peer. */
  reading = false
  /** Snapshot: what it is sent; null until there is something to send. */
  transfer: Transfer | null = null
  readonly inflight = new Inflight()

  constructor(node: NodeId, next: number) {
    this.node = node
    this.next = next
  }

  becomeProbe(next: number): void {
    this.state = 'probe'
    this.next = next
    this.awaitingReply = false
    this.commitSent = 0
    this.transfer = null
    this.inflight.clear()
  }

  becomeSnapshot(): void {
    this.state = 'snapshot'
    this.awaitingReply = false
    this.transfer = null
    this.inflight.clear()
  }

  becomeReplicate(): void {
    this.state = 'replicate'
    this.next = this.received + 1
    this.commitSent = Math.min(this.commitSent, this.received)
    this.awaitingReply = false
    this.transfer = null
    this.inflight.clear()
  }

  /**
   * It has received our log up to `index`. That may be more than was sent since it was probed: what was out then still arrives,
   * and is answered. Sent once more it would not be, and nobody would notice that no answer comes.
   */
  acknowledged(index: number): void {
    this.received = Math.max(this.received, index)
    this.next = Math.max(this.next, this.received + 1)
    this.inflight.freeUpTo(this.received)
  }

  sent(lastIndex: number, bytes: number): void {
    assert(this.state === 'replicate', () => `pipelined to node ${this.node} while probing`)
    assert(this.next > this.received, () => `node ${this.node} holds ${this.received}, is sent ${this.next} again`)
    this.next = lastIndex + 1
    this.inflight.add(lastIndex, bytes)
  }
}

/** Appends on their way, oldest first: a ring of (last index, bytes), so that an acknowledgement of a prefix frees them. */
export class Inflight {
  #lastIndexes: number[] = new Array<number>(16).fill(0)
  #sizes: number[] = new Array<number>(16).fill(0)
  #head = 0
  #count = 0
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  get count(): number {
    return this.#count
  }

  add(lastIndex: number, bytes: number): void {
    if (this.#count === this.#sizes.length) this.#grow()
    const at = (this.#head + this.#count) & (this.#sizes.length - 1)
    this.#lastIndexes[at] = lastIndex
    this.#sizes[at] = bytes
    this.#count++
    this.#bytes += bytes
  }

  freeUpTo(index: number): void {
    while (this.#count > 0 && this.#lastIndexes[this.#head]! <= index) {
      this.#bytes -= this.#sizes[this.#head]!
      this.#head = (this.#head + 1) & (this.#sizes.length - 1)
      this.#count--
    }
  }

  clear(): void {
    this.#head = 0
    this.#count = 0
    this.#bytes = 0
  }

  /** The length stays a power of two, so that a place in the ring is found by masking. */
  #grow(): void {
    const length = this.#sizes.length
    const lastIndexes = new Array<number>(length * 2).fill(0)
    const sizes = new Array<number>(length * 2).fill(0)
    for (let i = 0; i < length; i++) {
      const from = (this.#head + i) & (length - 1)
      lastIndexes[i] = this.#lastIndexes[from]!
      sizes[i] = this.#sizes[from]!
    }
    this.#lastIndexes = lastIndexes
    this.#sizes = sizes
    this.#head = 0
  }
}
