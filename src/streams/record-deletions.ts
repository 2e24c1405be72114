/**
 * DeleteRecords: somebody wants the log of a partition to start at an offset, and to be told when it does.
 *
 *      offset ──► which entry holds it? ──► the leader asks for the cut ──► committed, applied ──► the low-water mark
 *                 (memory, or the disk)
 *
 * The start then lies at that very record, which may be in the middle of an entry and of a batch: the entry stays, and readers
 * are told of nothing below.
 *
 * It is a command: whoever holds the log (log-holds.ts) is told by the log's start that it was cut, and does not stop it.
 */
import type { Clock, Timer } from '../platform/index.ts'
import { CutReason, type Shard } from '../replication/index.ts'
import { indexOf } from './entry-index.ts'
import { KafkaError, type KafkaErrorCode } from './errors.ts'

export type DeletionDone = (error: KafkaErrorCode, lowWatermark: number) => void

/** Everything that is committed. */
const TO_THE_MARK = -1

interface Waiter {
  readonly offset: number
  readonly done: DeletionDone
  readonly timer: Timer
}

export class RecordDeletions {
  readonly #shard: Shard
  readonly #clock: Clock
  readonly #waiters = new Set<Waiter>()

  constructor(shard: Shard, clock: Clock) {
    this.#shard = shard
    this.#clock = clock
  }

  get waiting(): number {
    return this.#waiters.size
  }

  /** `leads`: asked again after every wait. May answer before it returns. */
  delete(before: number, timeoutMs: number, leads: () => boolean, done: DeletionDone): void {
    const shard = this.#shard
    if (!leads()) return done(KafkaError.NOT_LEADER_OR_FOLLOWER, -1)
    const offset = before === TO_THE_MARK ? shard.committedOffset : before
    if (offset < 0 || offset > shard.committedOffset) return done(KafkaError.OFFSET_OUT_OF_RANGE, -1)
    if (offset <= shard.startOffset) return done(KafkaError.NONE, shard.startOffset)
    const waiter = { offset, done, timer: this.#clock.after(Math.max(1, timeoutMs), () => this.#expire(waiter)) }
    this.#waiters.add(waiter)
    indexOf(shard, offset, (index) => {
      if (index !== null) this.#cut(waiter, index, leads)
      // The log may have been cut while it was read.
      else if (offset <= shard.startOffset) this.settle()
      else this.#answer(waiter, KafkaError.KAFKA_STORAGE_ERROR)
    })
  }

  #cut(waiter: Waiter, index: number, leads: () => boolean): void {
    if (!this.#waiters.has(waiter)) return
    if (!leads()) return this.#answer(waiter, KafkaError.NOT_LEADER_OR_FOLLOWER)
    this.#shard.requestCut({ index, offset: waiter.offset }, CutReason.request)
  }

  /** Entries were applied: the start may have moved. */
  settle(): void {
    for (const waiter of this.#waiters)
      if (waiter.offset <= this.#shard.startOffset) this.#answer(waiter, KafkaError.NONE)
  }

  /** This node leads no more, or the partition is gone. A cut that was proposed may still come. */
  failAll(error: KafkaErrorCode): void {
    for (const waiter of this.#waiters) this.#answer(waiter, error)
  }

  #expire(waiter: Waiter): void {
    this.#answer(waiter, KafkaError.REQUEST_TIMED_OUT)
  }

  #answer(waiter: Waiter, error: KafkaErrorCode): void {
    if (!this.#waiters.delete(waiter)) return
    waiter.timer.cancel()
    waiter.done(error, error === KafkaError.NONE ? this.#shard.startOffset : -1)
  }
}
