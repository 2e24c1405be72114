/**
 * Compaction is nobody's hurry: on one node one log is cleaned at a time, in the background queue, and no faster than
 * `cleaningBytesPerSecond` says where it says anything.
 */
import type { Clock } from '../platform/index.ts'

type Start = (over: () => void) => void

/** What the work itself and late timers have cost is caught up with, up to this; an idle time is not. */
const CATCH_UP_MS = 100

export class CleaningTurns {
  readonly #bytesPerSecond: number
  readonly #clock: Clock
  readonly #waiting: Start[] = []
  #busy = false
  /** What was done so far may have been done by then. */
  #dueMs = 0

  constructor(bytesPerSecond: number, clock: Clock) {
    this.#bytesPerSecond = bytesPerSecond
    this.#clock = clock
  }

  take(start: Start): void {
    this.#waiting.push(start)
    this.#next()
  }

  #next(): void {
    if (this.#busy) return
    const start = this.#waiting.shift()
    if (start === undefined) return
    this.#busy = true
    // In a turn of its own: whoever asks may be half-way through something.
    this.#clock.endOfTurn(() =>
      start(() => {
        this.#busy = false
        this.#next()
      }),
    )
  }

  /** After `bytes` of work. */
  pause(bytes: number, resume: () => void): void {
    if (this.#bytesPerSecond === 0) return this.#clock.endOfTurn(resume)
    const now = this.#clock.now()
    this.#dueMs = Math.max(this.#dueMs, now - CATCH_UP_MS) + (bytes / this.#bytesPerSecond) * 1000
    if (this.#dueMs > now) this.#clock.after(this.#dueMs - now, resume)
    else this.#clock.endOfTurn(resume)
  }
}
