/**
 * Ids for idempotent producers, taken from the controller in blocks: one committed entry per thousand producers, not one per
 * producer. What is left of a block when the process ends is never used; there are enough.
 */
import { assert } from '../stdx/index.ts'
import { type CommandError, PRODUCER_IDS_MAX } from './commands.ts'

export const PRODUCER_ID_BLOCK = 1000

type Done = (error: CommandError | null, firstId: number) => void

export class ProducerIds {
  readonly #fetch: (count: number, done: Done) => void
  #next = 0
  /** Exclusive. */
  #end = 0
  #waiting: { readonly count: number; readonly done: Done }[] = []
  #fetching = false

  constructor(fetch: (count: number, done: Done) => void) {
    this.#fetch = fetch
  }

  take(count: number, done: Done): void {
    assert(count > 0 && count <= PRODUCER_IDS_MAX, () => `${count} producer ids at once`)
    if (this.#waiting.length === 0 && this.#end - this.#next >= count) {
      done(null, this.#give(count))
      return
    }
    this.#waiting.push({ count, done })
    this.#refill()
  }

  stop(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const { done } of waiting) done({ code: 'NO_CONTROLLER', message: 'this node is stopping' }, 0)
  }

  #refill(): void {
    if (this.#fetching || this.#waiting.length === 0) return
    this.#fetching = true
    const needed = this.#waiting.reduce((sum, { count }) => sum + count, 0)
    const count = Math.min(Math.max(PRODUCER_ID_BLOCK, needed), PRODUCER_IDS_MAX)
    this.#fetch(count, (error, first) => {
      this.#fetching = false
      if (error === null) {
        this.#next = first
        this.#end = first + count
      }
      const waiting = this.#waiting
      this.#waiting = []
      for (const waiter of waiting) {
        if (error !== null) waiter.done(error, 0)
        else if (this.#end - this.#next >= waiter.count) waiter.done(null, this.#give(waiter.count))
        else this.#waiting.push(waiter)
      }
      this.#refill()
    })
  }

  #give(count: number): number {
    const first = this.#next
    this.#next += count
    return first
  }
}
