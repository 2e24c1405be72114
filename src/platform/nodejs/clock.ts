/**
 * Time as Node.js tells it.
 *
 * Two of its habits are corrected here. `setTimeout` counts whole milliseconds from the start of the loop's turn and may
 * therefore fire a fraction early, and it turns delays beyond 2^31 - 1 ms into 1 ms: a deadline is checked against the
 * monotonic clock before it is believed, and a long one is waited for in parts.
 */
import type { Clock, Timer } from '../clock.ts'
import type { Turn } from './turn.ts'

const TIMEOUT_MS_MAX = 0x7fff_ffff

export class NodeClock implements Clock {
  readonly #turn: Turn

  constructor(turn: Turn) {
    this.#turn = turn
  }

  now(): number {
    return performance.now()
  }

  wall(): number {
    return Date.now()
  }

  after(delayMs: number, callback: () => void): Timer {
    return new Deadline(performance.now() + delayMs, callback)
  }

  /** `setInterval` counts from the call that it makes, so a blocked loop costs intervals instead of bunching them up. */
  every(intervalMs: number, callback: () => void): Timer {
    const interval = setInterval(callback, intervalMs)
    return { cancel: () => clearInterval(interval) }
  }

  endOfTurn(callback: () => void): void {
    this.#turn.atEnd(callback)
  }
}

class Deadline implements Timer {
  readonly #atMs: number
  #callback: (() => void) | null
  #timeout: NodeJS.Timeout

  constructor(atMs: number, callback: () => void) {
    this.#atMs = atMs
    this.#callback = callback
    this.#timeout = this.#arm(atMs - performance.now())
  }

  cancel(): void {
    this.#callback = null
    clearTimeout(this.#timeout)
  }

  #arm(remainingMs: number): NodeJS.Timeout {
    return setTimeout(() => this.#fire(), Math.min(Math.max(Math.ceil(remainingMs), 0), TIMEOUT_MS_MAX))
  }

  #fire(): void {
    const remainingMs = this.#atMs - performance.now()
    if (remainingMs > 0) {
      this.#timeout = this.#arm(remainingMs)
      return
    }
    const callback = this.#callback
    this.#callback = null
    callback?.()
  }
}
