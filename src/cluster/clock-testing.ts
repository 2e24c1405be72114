/** For tests: time and turns that move by hand. */
import type { Clock, Timer } from '../platform/index.ts'

export class TestClock implements Clock {
  #now = 0
  #turn: (() => void)[] = []
  readonly #timers = new Set<{ at: number; every: number | null; callback: () => void }>()

  now(): number {
    return this.#now
  }

  wall(): number {
    return 1_700_000_000_000 + this.#now
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.#add({ at: this.#now + delayMs, every: null, callback })
  }

  every(intervalMs: number, callback: () => void): Timer {
    return this.#add({ at: this.#now + intervalMs, every: intervalMs, callback })
  }

  #add(timer: { at: number; every: number | null; callback: () => void }): Timer {
    this.#timers.add(timer)
    return { cancel: () => this.#timers.delete(timer) }
  }

  endOfTurn(callback: () => void): void {
    this.#turn.push(callback)
  }

  /** Everything that can happen without time passing. */
  settle(): void {
    while (this.#turn.length > 0) this.#turn.shift()!()
  }

  advance(ms: number): void {
    const until = this.#now + ms
    this.settle()
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0]
      if (due === undefined) break
      this.#now = Math.max(this.#now, due.at)
      if (due.every === null) this.#timers.delete(due)
      else due.at += due.every
      due.callback()
      this.settle()
    }
    this.#now = until
  }
}
