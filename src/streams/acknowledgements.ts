/**
 * When a leader may say yes: the producers that wait for a partition, each for the level it asked for.
 *
 *   - `leader-journal`: until this node's own journal holds the entry;
 *   - `quorum-journal`: until the entry is committed, by offset;
 *   - a retry of a batch that is still on its way: until the original is committed.
 *
 * Committed means committed *of the log that this leader wrote*, which is not the same as "the mark is beyond my offset".
 * Otherwise this could happen: node 1 leads in term 5, numbers a batch 100–109, and is cut off before anyone has it; node 2
 * leads in term 6 and commits its own 100–119; node 1 hears of that and its mark moves to 120, in the same turn in which it learns
 * that it no longer leads. By offsets alone the producer's batch would look committed, and be acknowledged, and be gone. So
 * only entries of the leader's own term count: in term 5 nobody but node 1 wrote, and an entry of term 5 at or behind the
 * batch proves that the batch is in the log that counts (Raft §5.3, log matching).
 */
import type { KafkaErrorCode } from './errors.ts'
import { type ProduceWaiter, ProduceWaiters } from './produce-waiters.ts'
import type { BatchMark } from './producers.ts'

/** A batch whose original is on its way. */
interface Duplicate {
  readonly waiter: ProduceWaiter
  readonly slot: number
  readonly mark: BatchMark
}

export class Acknowledgements {
  /** By end offset. */
  #quorum = new ProduceWaiters()
  /** By entry index. */
  #journal = new ProduceWaiters()
  #duplicates: Duplicate[] = []
  /** What is committed of the own log; set when leadership is settled, moved by entries of the own term. */
  #committedIndex = 0
  #committedOffset = 0

  /** The own log is committed up to this index, whose entry is of the own term. */
  get committedIndex(): number {
    return this.#committedIndex
  }

  get committedOffset(): number {
    return this.#committedOffset
  }

  get length(): number {
    return this.#quorum.length + this.#journal.length + this.#duplicates.length
  }

  forQuorum(endOffset: number, waiter: ProduceWaiter, slot: number, baseOffset: number, appendTime: number): void {
    this.#quorum.push(endOffset, waiter, slot, baseOffset, appendTime)
  }

  /** The entry is named by `appended` later in this turn. */
  forJournal(waiter: ProduceWaiter, slot: number, baseOffset: number, appendTime: number): void {
    this.#journal.pushUnassigned(waiter, slot, baseOffset, appendTime)
  }

  /** A retry waits for what its original waits for, and a little more: for the quorum at every level. */
  forOriginal(mark: BatchMark, waiter: ProduceWaiter, slot: number, logStartOffset: number): 'waits' | 'answered' {
    if (mark.lastOffset >= this.#committedOffset) {
      this.#duplicates.push({ waiter, slot, mark })
      return 'waits'
    }
    waiter.produced(slot, 0, mark.baseOffset, mark.appendTime, logStartOffset, null)
    return 'answered'
  }

  /** What was taken since the last call is in the entry `index`. */
  appended(index: number): void {
    this.#journal.assign(index)
  }

  journaled(index: number, logStartOffset: number): void {
    if (this.#journal.length > 0) this.#journal.answerUpTo(index, logStartOffset)
  }

  /** The own log is committed up to here. */
  committed(index: number, endOffset: number): void {
    this.#committedIndex = index
    this.#committedOffset = endOffset
  }

  /** Tells those whose wait is over; how many. They may produce again from within. */
  answer(logStartOffset: number): number {
    let answers = this.#quorum.answerUpTo(this.#committedOffset, logStartOffset)
    // A quorum's journals hold these entries, which is more than the leader's alone.
    answers += this.#journal.answerUpTo(this.#committedIndex, logStartOffset)
    return this.#duplicates.length === 0 ? answers : answers + this.#answerDuplicates(logStartOffset)
  }

  #answerDuplicates(logStartOffset: number): number {
    const offset = this.#committedOffset
    const ready = this.#duplicates.filter(({ mark }) => mark.lastOffset < offset)
    this.#duplicates = this.#duplicates.filter(({ mark }) => mark.lastOffset >= offset)
    for (const { waiter, slot, mark } of ready) {
      waiter.produced(slot, 0, mark.baseOffset, mark.appendTime, logStartOffset, null)
    }
    return ready.length
  }

  /** Leadership ended: the batches may still commit, but not under this leader's eyes. */
  failAll(error: KafkaErrorCode, logStartOffset: number, message: string): void {
    const queues = [this.#quorum, this.#journal]
    const duplicates = this.#duplicates
    this.#quorum = new ProduceWaiters()
    this.#journal = new ProduceWaiters()
    this.#duplicates = []
    this.#committedIndex = 0
    this.#committedOffset = 0
    for (const queue of queues) queue.failAll(error, logStartOffset, message)
    for (const { waiter, slot } of duplicates) waiter.produced(slot, error, -1, -1, logStartOffset, message)
  }
}
