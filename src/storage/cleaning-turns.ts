/**
 * Compaction is nobody's hurry: on one node one log is cleaned at a time, in the background queue, and no faster than
 * `cleaningBytesPerSecond` says where it says anything.
 */
import type { Clock } from '../platform/index.ts'

type Start = (over: () => void) => void

export class CleaningTurns {
  readonly #bytesPerSecond: number
  readonly #clock: Clock
  readonly #waiting: Start[] = []
  #busy = false

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
    if (this.#bytesPerSecond === Number.POSITIVE_INFINITY) this.#clock.endOfTurn(resume)
    else this.#clock.after((bytes / this.#bytesPerSecond) * 1000, resume)
  }
}
