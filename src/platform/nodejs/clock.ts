/**
 * Time as Node.js tells it.
 *
 * Two of its habits are corrected here. `setTimeout` counts whole milliseconds from the start of the loop's turn and may
 * therefore fire a fraction early, and it turns delays beyond 2^31 - 1 ms into 1 ms: a deadline is checked against the
 * monotonic clock before it is believed, and a long one is waited for in parts.
 *
 * `now` counts from where the machine's monotonic clock counts (on Linux from its start), not from where this process does, so
 * that traces of several processes of one machine can be laid side by side. `performance.now` is that same clock less the
 * start of the process, and cheaper to ask than `process.hrtime`; the difference is measured once.
 */
import type { Clock, Timer } from '../clock.ts'
import type { Turn } from './turn.ts'

const TIMEOUT_MS_MAX = 0x7fff_ffff
/** Between the two readings the process may be put aside; the closest pair of several is off by a microsecond at the most. */
const ORIGIN_ATTEMPTS = 16

export class NodeClock implements Clock {
  readonly #turn: Turn
  readonly #originMs = processOriginMs()

  constructor(turn: Turn) {
    this.#turn = turn
  }

  now(): number {
    return this.#originMs + performance.now()
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

/** When this process's `performance.now` was 0, on the machine's monotonic clock. */
function processOriginMs(): number {
  let origin = 0
  let closest = Number.POSITIVE_INFINITY
  for (let i = 0; i < ORIGIN_ATTEMPTS; i++) {
    const before = performance.now()
    const [seconds, nanoseconds] = process.hrtime()
    const after = performance.now()
    if (after - before >= closest) continue
    closest = after - before
    origin = seconds * 1000 + nanoseconds / 1e6 - (before + after) / 2
  }
  return origin
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
