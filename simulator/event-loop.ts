/**
 * The loop that everything simulated runs in.
 *
 * Events are plain calls, back to back, in batches of thousands. A promise goes on only when the real event loop has a turn, so while
 * any is pending (nodes that start or stop) the loop steps out after every event and lets all of them settle, as the real
 * one does after each callback. Running two events in between would make orders that production cannot have.
 */
import { withoutRealTime } from './traps.ts'
import { Violation } from './violation.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** Events between two looks at the real event loop, when no promise is pending. */
const BATCH_EVENTS = 5000
/** How often, in virtual time, a condition is looked at. */
const LOOK_EVERY_MS = 50
const never = (): boolean => false

export interface LoopCollaborators {
  readonly isOver: () => boolean
  readonly hasPromises: () => boolean
  readonly violated: (violation: Violation) => void
}

export class EventLoop {
  readonly #clock: VirtualClock
  readonly #with: LoopCollaborators
  events = 0

  constructor(clock: VirtualClock, collaborators: LoopCollaborators) {
    this.#clock = clock
    this.#with = collaborators
  }

  /** Lets time pass until `done` says so or the moment comes. False: the moment came. */
  async runUntil(untilMs: number, done: () => boolean = never): Promise<boolean> {
    for (;;) {
      if (this.#with.isOver() || done()) return true
      if (this.#clock.now() >= untilMs) return false
      if (this.#with.hasPromises()) await settled()
      const batchUntilMs = done === never ? untilMs : Math.min(untilMs, this.#clock.now() + LOOK_EVERY_MS)
      withoutRealTime(() => this.#runBatch(batchUntilMs, this.#with.hasPromises() ? 1 : BATCH_EVENTS))
    }
  }

  #runBatch(untilMs: number, events: number): void {
    for (let i = 0; i < events; i++) {
      const next = this.#clock.nextMs
      if (next === null || next > untilMs) {
        this.#clock.advance(Math.max(0, untilMs - this.#clock.now()))
        return
      }
      this.events++
      try {
        this.#clock.step()
      } catch (error) {
        if (!(error instanceof Violation)) throw error
        this.#with.violated(error)
      }
      if (this.#with.isOver() || this.#with.hasPromises()) return
    }
  }
}

/** All promises that can go on have gone on when the real loop's next turn comes. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
