/**
 * Producers that wait for the log to reach their batch. Everyone on the produce path passes through here, so the queue is four
 * columns in a ring instead of one object per batch: pushing and answering allocate nothing.
 *
 *      key        12   12   13   15   15   …     ascending: what must be reached
 *      waiter      a    b    a    c    a         whom to tell
 *      slot        0    0    1    0    2         which of its batches
 *      base      100  101  104  110  112         what to tell
 *                 ▲ answered from here          ▲ pushed here
 */
import { assert } from '../stdx/index.ts'
import type { KafkaErrorCode } from './errors.ts'

export interface ProduceWaiter {
  /**
   * The batch in `slot` reached the level that was asked for, or did not. Called exactly once per `produce`, except at level
   * `none`, where only a refusal is told. `appendTime` is −1 unless the topic stamps records itself.
   */
  produced(
    slot: number,
    error: KafkaErrorCode,
    baseOffset: number,
    appendTime: number,
    logStartOffset: number,
    message: string | null,
  ): void
}

/** The key of a batch whose entry does not exist yet. */
const UNASSIGNED = Number.POSITIVE_INFINITY

export class ProduceWaiters {
  #keys = new Float64Array(16)
  #bases = new Float64Array(16)
  #times = new Float64Array(16)
  #slots = new Int32Array(16)
  #waiters: (ProduceWaiter | null)[] = new Array(16).fill(null)
  /** Counted up without end; masked where the columns are touched. Invariant: head ≤ tail ≤ head + capacity. */
  #head = 0
  #tail = 0

  get length(): number {
    return this.#tail - this.#head
  }

  push(key: number, waiter: ProduceWaiter, slot: number, baseOffset: number, appendTime: number): void {
    if (this.length === this.#keys.length) this.#grow()
    const at = this.#tail & (this.#keys.length - 1)
    assert(
      this.length === 0 || this.#keys[(this.#tail - 1) & (this.#keys.length - 1)]! <= key,
      'waiters queue in order',
    )
    this.#tail++
    this.#keys[at] = key
    this.#bases[at] = baseOffset
    this.#times[at] = appendTime
    this.#slots[at] = slot
    this.#waiters[at] = waiter
  }

  pushUnassigned(waiter: ProduceWaiter, slot: number, baseOffset: number, appendTime: number): void {
    this.push(UNASSIGNED, waiter, slot, baseOffset, appendTime)
  }

  /** Gives all that were pushed without a key this one. */
  assign(key: number): void {
    const mask = this.#keys.length - 1
    for (let i = this.#tail - 1; i >= this.#head && this.#keys[i & mask] === UNASSIGNED; i--) this.#keys[i & mask] = key
  }

  /** Tells everyone whose key is reached. They may push again from within. */
  answerUpTo(key: number, logStartOffset: number): number {
    let answers = 0
    while (this.#head < this.#tail && this.#keys[this.#head & (this.#keys.length - 1)]! <= key) {
      const at = this.#head & (this.#keys.length - 1)
      const waiter = this.#waiters[at]!
      this.#waiters[at] = null
      this.#head++
      answers++
      waiter.produced(this.#slots[at]!, 0, this.#bases[at]!, this.#times[at]!, logStartOffset, null)
    }
    return answers
  }

  /** Tells everyone the same error. The caller has put this queue out of use before. */
  failAll(error: KafkaErrorCode, logStartOffset: number, message: string): void {
    while (this.#head < this.#tail) {
      const at = this.#head & (this.#keys.length - 1)
      const waiter = this.#waiters[at]!
      this.#waiters[at] = null
      this.#head++
      waiter.produced(this.#slots[at]!, error, -1, -1, logStartOffset, message)
    }
  }

  #grow(): void {
    const capacity = this.#keys.length * 2
    const { length } = this
    const keys = new Float64Array(capacity)
    const bases = new Float64Array(capacity)
    const times = new Float64Array(capacity)
    const slots = new Int32Array(capacity)
    const waiters: (ProduceWaiter | null)[] = new Array(capacity).fill(null)
    const mask = this.#keys.length - 1
    for (let i = 0; i < length; i++) {
      const at = (this.#head + i) & mask
      keys[i] = this.#keys[at]!
      bases[i] = this.#bases[at]!
      times[i] = this.#times[at]!
      slots[i] = this.#slots[at]!
      waiters[i] = this.#waiters[at]!
    }
    this.#keys = keys
    this.#bases = bases
    this.#times = times
    this.#slots = slots
    this.#waiters = waiters
    this.#head = 0
    this.#tail = length
  }
}
