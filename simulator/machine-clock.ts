/**
 * The clock of one simulated computer, which is not the world's (F16).
 *
 *     wall   the world's, plus whatever somebody set it to: it may jump by years, and back
 *     now    never jumps and never goes back, but its quartz is a little fast or slow: a second of it is 0.95 to 1.05 of the world's
 *
 * Timers run on the same quartz, so one second asked of a slow clock takes longer than a second. Timers that were started
 * before the rate changed end when they would have.
 */
import type { Clock, Timer } from '../src/platform/index.ts'

export class MachineClock implements Clock {
  readonly #world: Clock
  wallOffsetMs = 0
  #ratePermille = 1000
  /** When the rate last changed, in the world's time and in this machine's. */
  #sinceMs = 0
  #localMs = 0

  constructor(world: Clock) {
    this.#world = world
  }

  /** How many of its milliseconds pass in a second of the world. */
  get ratePermille(): number {
    return this.#ratePermille
  }

  set ratePermille(permille: number) {
    this.#localMs = this.now()
    this.#sinceMs = this.#world.now()
    this.#ratePermille = permille
  }

  now(): number {
    return this.#localMs + ((this.#world.now() - this.#sinceMs) * this.#ratePermille) / 1000
  }

  wall(): number {
    return Math.floor(this.#world.wall() + this.wallOffsetMs + this.now() - this.#world.now())
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.#world.after((delayMs * 1000) / this.#ratePermille, callback)
  }

  every(intervalMs: number, callback: () => void): Timer {
    return this.#world.every((intervalMs * 1000) / this.#ratePermille, callback)
  }

  endOfTurn(callback: () => void): void {
    this.#world.endOfTurn(callback)
  }
}

/** The world's clock as a disk uses it: what it asks for at the end of the turn takes as long as the disk does. */
export function diskClock(world: Clock, takesMs: () => number): Clock {
  return {
    now: () => world.now(),
    wall: () => world.wall(),
    after: (delayMs, callback) => world.after(delayMs, callback),
    every: (intervalMs, callback) => world.every(intervalMs, callback),
    endOfTurn: (callback) => void world.after(takesMs(), callback),
  }
}
