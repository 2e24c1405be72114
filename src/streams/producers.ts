/**
 * Which batches of which idempotent producer a partition holds (KIP-98): the memory that makes a retry harmless.
 *
 * A producer numbers its records per partition. The leader takes a batch only if it continues the numbering; one that it has
 * already is answered with the offset of the first copy. Producers have up to five batches in flight, so the last five are
 * remembered: any of them may be sent again when an answer is lost.
 *
 *      sequence    …  40..49   50..52   53..60   61..61   62..70          next must be 71
 *                     └────────── the last five: known again ──────┘
 *
 * The hard part is the time between taking a batch and knowing that it will stay. Two layers, as everywhere on a leader:
 *
 *   - `committed` is a function of the log up to the high-water mark, equal on every replica, part of the snapshot;
 *   - the `overlay` holds the leader's own batches above the mark. New batches are checked against it. When leadership ends it
 *     is dropped, because those batches may vanish; whatever of them survives comes back by `commit` like everything else.
 *
 * A new leader starts with no overlay, and must not check anything until an entry of its own term is committed: only then
 * has `committed` seen all that its predecessors left (Raft §8), and before that it would take a retry for a new batch.
 *
 * The rules are those of Kafka's ProducerAppendInfo: a new epoch starts at 0, an older epoch is fenced. A batch that is older
 * than the last five is out of order (45) as in today's Kafka, not "duplicate" (46), which clients report as success: we do not
 * confirm what we cannot find. Memory is bounded by count: the producer that has not written for longest, in log order, is
 * forgotten first. By count and order, not by time, because every replica must forget the same.
 *
 * One rule is stricter. In Kafka an unknown producer may start anywhere, since it may be unknown because it was forgotten. That
 * has a hole: of two batches in flight the first is refused or lost (on its way to another leader, say), the second is taken as a
 * beginning, and the first is out of order for ever: librdkafka gives up, the Java client bumps its epoch and changes the order.
 * No memory of who was turned away can close it, for the node that takes the second batch need not have seen the first. But
 * ids rise, and so it is known who can have been forgotten:
 *
 *      producer id    1 … … … │ … … … … │ … … … … … …
 *                     forgotten here, or │ never wrote here or to an earlier topic of this name:
 *                     before this topic  │ its first batch is the one with sequence 0, others wait (45, which all clients retry)
 *
 * Those who may have been forgotten start anywhere, as in Kafka, or they would be refused for ever. To make their hole smaller, whom this
 * leader turned away is remembered for a while and starts where it was turned away; this is no part of the state.
 */
import { assert } from '../stdx/index.ts'
import { KafkaError } from './errors.ts'

/** As many as a producer may have in flight. */
export const BATCHES_REMEMBERED = 5
/** The same on every replica of every version: changing it changes what the state is. */
export const PRODUCERS_MAX = 10_000
const TURNED_AWAY_MAX = 1000
const SEQUENCE_MAX = 0x7fff_ffff

/** Where one batch of a producer went. */
export interface BatchMark {
  readonly firstSequence: number
  readonly lastSequence: number
  readonly baseOffset: number
  readonly lastOffset: number
  /** The append time that was answered, −1 where the topic keeps the producers' own timestamps. */
  readonly appendTime: number
}

interface ProducerState {
  epoch: number
  /** At most `BATCHES_REMEMBERED`, oldest first, all of this epoch. Never empty. */
  readonly marks: BatchMark[]
}

/** The sequence number of the record `count` places after `sequence`: they wrap from 2^31 − 1 to 0. */
export function sequenceAfter(sequence: number, count: number): number {
  return (sequence + count) % (SEQUENCE_MAX + 1)
}

export class Producers {
  /** In the order of each producer's latest batch in the log, the one to forget first in front. */
  readonly #committed = new Map<number, ProducerState>()
  /** Leader only: producers with batches above the mark, as they stand after them. */
  readonly #overlay = new Map<number, ProducerState>()
  /** Unknown producers whose first batch is to be sent again, the one to forget first in front. */
  readonly #turnedAway = new Map<number, { readonly epoch: number; readonly sequence: number }>()
  /** Nobody with this id or a higher one wrote to an earlier topic of this name. */
  readonly #newFrom: number
  /** Nobody with this id or a higher one has been forgotten. Part of the state, like what is remembered. */
  #forgottenBelow = 0

  constructor(newFrom: number) {
    this.#newFrom = newFrom
  }

  get size(): number {
    return this.#committed.size
  }

  /**
   * What a batch of this producer is: 0, it continues the numbering and may be appended; the mark of the first copy if it is
   * one of the last five again; else the error code to refuse it with.
   */
  check(producerId: number, epoch: number, baseSequence: number, count: number): BatchMark | 0 | 45 | 47 {
    const state = this.#overlay.get(producerId) ?? this.#committed.get(producerId)
    if (state === undefined) {
      const begins = this.#isNew(producerId) ? baseSequence === 0 : this.#mayBegin(producerId, epoch, baseSequence)
      return begins ? KafkaError.NONE : KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER
    }
    if (epoch < state.epoch) return KafkaError.INVALID_PRODUCER_EPOCH
    if (epoch > state.epoch) return baseSequence === 0 ? KafkaError.NONE : KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER
    const { marks } = state
    const lastSequence = sequenceAfter(baseSequence, count - 1)
    for (let i = marks.length - 1; i >= 0; i--) {
      const mark = marks[i]!
      if (mark.firstSequence === baseSequence && mark.lastSequence === lastSequence) return mark
    }
    const expected = sequenceAfter(marks[marks.length - 1]!.lastSequence, 1)
    return baseSequence === expected ? KafkaError.NONE : KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER
  }

  /** Unknown because it never wrote here. */
  #isNew(producerId: number): boolean {
    return producerId >= this.#newFrom && producerId >= this.#forgottenBelow
  }

  #mayBegin(producerId: number, epoch: number, baseSequence: number): boolean {
    const awaited = this.#turnedAway.get(producerId)
    return awaited === undefined || awaited.epoch !== epoch || awaited.sequence === baseSequence
  }

  /** Leader: a batch for which `check` said 0 is part of the next entry. */
  propose(producerId: number, epoch: number, mark: BatchMark): void {
    this.#turnedAway.delete(producerId)
    const state = this.#overlay.get(producerId)
    if (state !== undefined) {
      append(state, epoch, mark)
      return
    }
    const committed = this.#committed.get(producerId)
    const overlaid: ProducerState = committed
      ? { epoch: committed.epoch, marks: [...committed.marks] }
      : { epoch, marks: [] }
    append(overlaid, epoch, mark)
    this.#overlay.set(producerId, overlaid)
  }

  /** Every replica: a batch at or below the high-water mark. */
  commit(producerId: number, epoch: number, mark: BatchMark): void {
    this.#turnedAway.delete(producerId)
    const state = this.#committed.get(producerId)
    if (state === undefined) {
      this.#committed.set(producerId, { epoch, marks: [mark] })
      if (this.#committed.size > PRODUCERS_MAX) this.#forgetOldest()
    } else {
      append(state, epoch, mark)
      this.#committed.delete(producerId)
      this.#committed.set(producerId, state)
    }
    const overlaid = this.#overlay.get(producerId)
    if (overlaid !== undefined) {
      const latest = overlaid.marks[overlaid.marks.length - 1]!
      if (latest.lastOffset <= mark.lastOffset) this.#overlay.delete(producerId)
    }
  }

  /** Leadership ended: what is above the mark may vanish. */
  dropOverlay(): void {
    for (const [producerId, { epoch, marks }] of this.#overlay)
      this.turnedAway(producerId, epoch, marks[0]!.firstSequence)
    this.#overlay.clear()
  }

  /** A batch of this producer was refused or is lost, and will be sent again. The first one counts: later ones wait for it. */
  turnedAway(producerId: number, epoch: number, sequence: number): void {
    if (this.#committed.has(producerId) || this.#isNew(producerId)) return
    if (this.#turnedAway.get(producerId)?.epoch === epoch) return
    this.#turnedAway.set(producerId, { epoch, sequence })
    if (this.#turnedAway.size <= TURNED_AWAY_MAX) return
    for (const oldest of this.#turnedAway.keys()) {
      this.#turnedAway.delete(oldest)
      return
    }
  }

  #forgetOldest(): void {
    for (const oldest of this.#committed.keys()) {
      this.#committed.delete(oldest)
      this.#forgottenBelow = Math.max(this.#forgottenBelow, oldest + 1)
      return
    }
  }

  /** For tests and for looking at: the marks of one producer in the committed state. */
  committedMarks(producerId: number): readonly BatchMark[] {
    return this.#committed.get(producerId)?.marks ?? []
  }

  get snapshotBytes(): number {
    let bytes = 12
    for (const state of this.#committed.values()) bytes += 12 + state.marks.length * 32
    return bytes
  }

  /**
   * forgotten below f64 · count u32 · ( producer id f64 · epoch i16 · marks u16 · ( first, last sequence i32 · base, last
   * offset, append time f64 )* )*, in the order of forgetting. Numbers below 2^53 are exact as f64. Returns the position after it.
   */
  write(into: Buffer, from: number): number {
    let at = into.writeDoubleLE(this.#forgottenBelow, from)
    at = into.writeUInt32LE(this.#committed.size, at)
    for (const [producerId, state] of this.#committed) {
      at = into.writeDoubleLE(producerId, at)
      at = into.writeInt16LE(state.epoch, at)
      at = into.writeUInt16LE(state.marks.length, at)
      for (const mark of state.marks) {
        at = into.writeInt32LE(mark.firstSequence, at)
        at = into.writeInt32LE(mark.lastSequence, at)
        at = into.writeDoubleLE(mark.baseOffset, at)
        at = into.writeDoubleLE(mark.lastOffset, at)
        at = into.writeDoubleLE(mark.appendTime, at)
      }
    }
    return at
  }

  /** Replaces the state by what `write` wrote. Returns the position after it. */
  read(from: Buffer, start: number): number {
    this.#committed.clear()
    this.#overlay.clear()
    this.#forgottenBelow = from.readDoubleLE(start)
    let at = start + 12
    for (let producers = from.readUInt32LE(start + 8); producers > 0; producers--) {
      const producerId = from.readDoubleLE(at)
      const epoch = from.readInt16LE(at + 8)
      const count = from.readUInt16LE(at + 10)
      assert(count >= 1 && count <= BATCHES_REMEMBERED, () => `a producer with ${count} batches in a snapshot`)
      at += 12
      const marks: BatchMark[] = []
      for (let i = 0; i < count; i++, at += 32) {
        marks.push({
          firstSequence: from.readInt32LE(at),
          lastSequence: from.readInt32LE(at + 4),
          baseOffset: from.readDoubleLE(at + 8),
          lastOffset: from.readDoubleLE(at + 16),
          appendTime: from.readDoubleLE(at + 24),
        })
      }
      this.#committed.set(producerId, { epoch, marks })
    }
    return at
  }
}

function append(state: ProducerState, epoch: number, mark: BatchMark): void {
  if (epoch !== state.epoch) {
    state.epoch = epoch
    state.marks.length = 0
  }
  state.marks.push(mark)
  if (state.marks.length > BATCHES_REMEMBERED) state.marks.shift()
}
