/**
 * What can be done to the frames between two nodes while they are on their way.
 *
 * *Damage* (F11): one bit of a frame is flipped. A sum of 32 bits finds every single flip, so the frame must be refused and its
 * connection ended; in a length, too, which has a sum of its own (in a handshake it has none, but a deadline).
 *
 * *Loss, repetition and reordering of messages* (F1, F3, F4). A stream does none of this, but Raft promises to survive it, and a
 * transport that is not a stream one day would do it; so the frames are taken apart, and what the protocol of replication
 * says is dropped, said twice, or said later:
 *
 *     control frame   vote · append-reply · beat · request      ─►   beat · request     vote · append-reply · append-reply
 *     data frame      append · append                           ─►   (gone), or twice, or after the next ones
 *
 * An acknowledgement may be said twice with a whole leadership of somebody else in between (T22): the last one of a term is kept, and
 * follows the first one of a later term. Nothing but its term tells the leader that it is not about the log it has now.
 *
 * Left alone are *beats*, their replies and `moved`: that a reply follows every `moved` of its turn is what makes it a promise
 * (docs/decisions/0002-fetch-by-lease.md, `PeerSession`), and it is the connection's order that guarantees it. So are requests
 * between nodes, their responses and news of leaders, which count on a reliable stream as any remote call does. Handshakes pass.
 *
 * A session in which messages were lost may wait for ever for one of them: whoever starts this resets the connections at its
 * end, as a stream that lost bytes would have ended.
 */
import type { ItemSink } from '../../src/cluster/peer-messages.ts'
import * as items from '../../src/cluster/peer-messages.ts'
import { beginFrame, FRAME_HEADER_BYTES, FrameKind, sealFrame } from '../../src/cluster/peer-wire.ts'
import type { Clock } from '../../src/platform/index.ts'
import type { Prng } from '../../src/stdx/index.ts'
import { readU64 } from '../../src/storage/index.ts'
import type { Meddler, Tap } from './taps.ts'

export interface Rates {
  readonly losePermille: number
  readonly repeatPermille: number
  readonly latePermille: number
  readonly lateMs: number
}

/** What control frames hold of replication. */
type Loose = Parameters<typeof items.encodeMessage>[1]
type AppendReply = Extract<Loose, { readonly type: 'append-reply' }>

/** Half of the flips are in a header, and half of those in the length: few bytes of many, and the ones that are read first. */
const FLIP_WITHIN_BYTES = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, FRAME_HEADER_BYTES, 4] as const

/** Flips one bit in each of the next so many frames. */
export class BitFlips implements Meddler {
  #left: number
  readonly #prng: Prng
  readonly #flipped: () => void

  constructor(count: number, prng: Prng, flipped: () => void) {
    this.#left = count
    this.#prng = prng
    this.#flipped = flipped
  }

  frame(frame: Buffer, tap: Tap): void {
    if (this.#left === 0 || tap.damaged) return tap.send(frame)
    this.#left--
    const damaged = Buffer.from(frame)
    const within = FLIP_WITHIN_BYTES[this.#prng.below(FLIP_WITHIN_BYTES.length)]!
    const bit = this.#prng.below(8 * Math.min(within, frame.length))
    damaged[bit >> 3]! ^= 1 << (bit & 7)
    tap.damaged = true
    this.#flipped()
    tap.send(damaged)
  }
}

/** Loses, repeats and delays messages of replication. */
export class Disorder implements Meddler {
  readonly #rates: Rates
  readonly #prng: Prng
  readonly #clock: Clock
  /** By shard, the acknowledgement of its latest term that goes farthest. */
  readonly #acknowledged = new Map<number, AppendReply>()
  /** Messages lost, repeated and delayed. */
  readonly hits = { lost: 0, repeated: 0, late: 0 }

  constructor(rates: Rates, prng: Prng, clock: Clock) {
    this.#rates = rates
    this.#prng = prng
    this.#clock = clock
  }

  frame(frame: Buffer, tap: Tap): void {
    const kind = frame[9]
    if (kind === FrameKind.data) this.#pass(tap, frame)
    else if (kind === FrameKind.control) this.#control(frame, tap)
    else tap.send(frame)
  }

  #pass(tap: Tap, frame: Buffer): void {
    const { losePermille, repeatPermille, latePermille, lateMs } = this.#rates
    const drawn = this.#prng.below(1000)
    if (drawn < losePermille) {
      this.hits.lost++
      return
    }
    const repeated = drawn < losePermille + repeatPermille
    const late = drawn >= losePermille + repeatPermille && drawn < losePermille + repeatPermille + latePermille
    if (!late) tap.send(frame)
    if (!late && !repeated) return
    if (late) this.hits.late++
    else this.hits.repeated++
    const kept = Buffer.from(frame)
    this.#clock.after(1 + this.#prng.below(lateMs), () => tap.send(kept))
  }

  /** What must stay in order leaves at once in a frame of its own; each of the other messages travels alone. */
  #control(frame: Buffer, tap: Tap): void {
    const ordered = beginFrame(240)
    const loose: Loose[] = []
    const sink: ItemSink = {
      closed: false,
      message: (message) => {
        if (message.type === 'moved') items.encodeMessage(ordered, message)
        else loose.push(message as Loose)
      },
      beat: (number) => items.encodeBeat(ordered, number),
      beatReply: (number, wall) => items.encodeBeatReply(ordered, number, wall),
      request: (id, method, body) => items.encodeRequest(ordered, id, method, body),
      response: (id, failed, body) => items.encodeResponse(ordered, id, failed, body),
      leading: (whole, list) => items.encodeLeading(ordered, whole, list),
      leadsNoLonger: (shard, term) => items.encodeLeadsNoLonger(ordered, shard, term),
    }
    const version = frame[8]!
    const stamp = readU64(frame, 10)
    if (items.decodeControl(frame, sink) !== null) return tap.send(frame)
    const head = ordered.take()
    if (head.length > FRAME_HEADER_BYTES) {
      sealFrame(head, [], version, FrameKind.control, stamp)
      tap.send(head)
    }
    for (const message of loose) {
      this.#pass(tap, aloneInFrame(message, version, stamp))
      if (message.type !== 'append-reply') continue
      const earlier = this.#earlierThan(message)
      if (earlier === null || this.#rates.repeatPermille === 0) continue
      this.hits.repeated++
      tap.send(aloneInFrame(earlier, version, stamp))
    }
  }

  /** What was acknowledged in the term before, once this is the first answer of a later one. */
  #earlierThan(reply: AppendReply): AppendReply | null {
    const known = this.#acknowledged.get(reply.shard) ?? null
    if (known !== null && known.term > reply.term) return null
    const isLater = known !== null && known.term < reply.term
    if (known === null || isLater || (reply.rejected === null && reply.received >= known.received))
      this.#acknowledged.set(reply.shard, reply)
    return isLater && known.rejected === null ? known : null
  }
}

function aloneInFrame(message: Loose, version: number, stamp: number): Buffer {
  const writer = beginFrame(64)
  items.encodeMessage(writer, message)
  const frame = writer.take()
  sealFrame(frame, [], version, FrameKind.control, stamp)
  return frame
}

/** Ends a connection in the middle of its next frame. */
export class MidFrame implements Meddler {
  readonly #prng: Prng
  readonly #cut: (tap: Tap) => void
  #done = false

  constructor(prng: Prng, cut: (tap: Tap) => void) {
    this.#prng = prng
    this.#cut = cut
  }

  frame(frame: Buffer, tap: Tap): void {
    if (this.#done) return tap.send(frame)
    this.#done = true
    tap.send(frame.subarray(0, 1 + this.#prng.below(frame.length - 1)))
    this.#cut(tap)
  }
}
