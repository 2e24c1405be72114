/**
 * I14: what a node uses is bounded (T26). Open files, file operations under way, and bytes that wait in connections have limits
 * that do not grow with the load: whoever is slow is waited for, or dropped, and nobody fills the memory with what others do
 * not take.
 *
 * Where the design names a number it is checked as it stands there: the journal has one write or sync under way, and beside it
 * at most two background operations, since the thread pool has four threads and the journal must always find one (§6).
 */
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'

export interface Limits {
  readonly openFiles: number
  readonly operations: number
}

/** Open: a segment or two for each of the shards of a run (some twenty), the journal's, the checkpoint, the identity. */
export const LIMITS: Limits = { openFiles: 64, operations: 3 }

/** Told of every change. */
export type Meter = (what: keyof Limits, by: 1 | -1) => void

export class Bounds implements Checker {
  readonly property = 'what a node uses is bounded'
  readonly #limits: Limits
  readonly #violated: (violation: Violation) => void
  /** The highest that was seen, in any process. */
  readonly most = { openFiles: 0, operations: 0 }

  constructor(limits: Limits, violated: (violation: Violation) => void) {
    this.#limits = limits
    this.#violated = violated
  }

  /** A meter for one process on the node: whoever watches its files tells it. */
  meter(node: number): Meter {
    const uses = { openFiles: 0, operations: 0 }
    return (what, by) => {
      uses[what] += by
      if (uses[what] <= this.most[what]) return
      this.most[what] = uses[what]
      if (uses[what] <= this.#limits[what]) return
      const text = `node ${node}: ${what} ${uses[what]}, the limit is ${this.#limits[what]}`
      this.#violated(new Violation(this.property, text))
    }
  }
}
