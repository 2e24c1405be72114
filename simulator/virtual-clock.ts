/**
 * A clock on virtual time: whole microseconds that pass only when the next event is due, so an hour of a cluster's life takes
 * as long as its events take to compute, and the same inputs give the same run.
 *
 * Events happen in the order (time, sequence of their request): two timers for one moment never race. One step is one turn
 * of an imagined event loop:
 *
 *     event ─► what it asked for at the end of its turn ─► next event
 *
 * What the end of a turn asks for belongs to the next turn, one microsecond later: a loop of turns cannot stop time.
 */

import type { Drive } from '../src/platform/contract/drive.ts'
import type { Clock, Timer } from '../src/platform/index.ts'
import { assert } from '../src/stdx/index.ts'

class Event implements Timer {
  readonly atUs: number
  readonly sequence: number
  /** Null once it ran or was cancelled; it stays in the heap until its time. */
  callback: (() => void) | null

  constructor(atUs: number, sequence: number, callback: () => void) {
    this.atUs = atUs
    this.sequence = sequence
    this.callback = callback
  }

  cancel(): void {
    this.callback = null
  }
}

export interface VirtualClockOptions {
  /** What `wall` says at the start, milliseconds since 1970. */
  readonly wallMs?: number
}

export class VirtualClock implements Clock {
  readonly #wallMs: number
  #nowUs = 0
  #sequence = 0
  #events: Event[] = []
  #endOfTurn: (() => void)[] = []

  constructor(options: VirtualClockOptions = {}) {
    this.#wallMs = options.wallMs ?? Date.UTC(2026, 0, 1)
  }

  now(): number {
    return this.#nowUs / 1000
  }

  wall(): number {
    return this.#wallMs + Math.floor(this.#nowUs / 1000)
  }

  after(delayMs: number, callback: () => void): Timer {
    const event = new Event(this.#nowUs + Math.max(0, Math.ceil(delayMs * 1000)), this.#sequence++, callback)
    push(this.#events, event)
    return event
  }

  every(intervalMs: number, callback: () => void): Timer {
    let current: Timer
    let cancelled = false
    const arm = (): void => {
      current = this.after(intervalMs, () => {
        callback()
        if (!cancelled) arm()
      })
    }
    arm()
    return {
      cancel: () => {
        cancelled = true
        current.cancel()
      },
    }
  }

  endOfTurn(callback: () => void): void {
    this.#endOfTurn.push(callback)
  }

  /** When the next event is due, in milliseconds of `now`; null when nothing will ever happen again. */
  get nextMs(): number | null {
    if (this.#endOfTurn.length > 0) return (this.#nowUs + 1) / 1000
    const event = this.#peek()
    return event === undefined ? null : Math.max(event.atUs, this.#nowUs) / 1000
  }

  /** One turn. False when there was nothing left to do. */
  step(): boolean {
    const event = this.#peek()
    const turnDueUs = this.#endOfTurn.length > 0 ? this.#nowUs + 1 : Number.POSITIVE_INFINITY
    if (event === undefined && this.#endOfTurn.length === 0) return false
    if (event !== undefined && event.atUs <= turnDueUs) {
      pop(this.#events)
      this.#nowUs = Math.max(this.#nowUs, event.atUs)
      const callback = event.callback
      event.callback = null
      callback?.()
    } else this.#nowUs = turnDueUs
    const callbacks = this.#endOfTurn
    this.#endOfTurn = []
    for (const callback of callbacks) callback()
    return true
  }

  /** Lets `durationMs` pass, with everything that is due in it. */
  advance(durationMs: number): void {
    const endUs = this.#nowUs + Math.ceil(durationMs * 1000)
    for (let next = this.nextMs; next !== null && next * 1000 <= endUs; next = this.nextMs) this.step()
    this.#nowUs = Math.max(this.#nowUs, endUs)
  }

  /** Time passes and nothing runs: a paused process. What became due meanwhile runs late. */
  stall(durationMs: number): void {
    this.#nowUs += Math.ceil(durationMs * 1000)
  }

  #peek(): Event | undefined {
    while (this.#events.length > 0 && this.#events[0]!.callback === null) pop(this.#events)
    return this.#events[0]
  }
}

/** Drives a contract suite by advancing virtual time. */
export function virtualDrive(clock: VirtualClock): Drive {
  return {
    async until(condition, what) {
      const limitMs = clock.now() + 60_000
      // Promises of the test itself move on between two steps.
      for (await settled(); !condition(); await settled()) {
        assert(clock.now() < limitMs && clock.step(), () => `never happened: ${what}`)
      }
    },
    async elapse(durationMs) {
      clock.advance(durationMs)
      await settled()
    },
    stall: (durationMs) => clock.stall(durationMs),
  }
}

function settled(): Promise<void> {
  return Promise.resolve()
}

function before(a: Event, b: Event): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.sequence < b.sequence)
}

function push(heap: Event[], event: Event): void {
  let at = heap.length
  heap.push(event)
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!before(event, heap[parent]!)) break
    heap[at] = heap[parent]!
    at = parent
  }
  heap[at] = event
}

function pop(heap: Event[]): void {
  const last = heap.pop()
  if (last === undefined || heap.length === 0) return
  let at = 0
  for (;;) {
    let child = 2 * at + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
    if (!before(heap[child]!, last)) break
    heap[at] = heap[child]!
    at = child
  }
  heap[at] = last
}
