/**
 * Every state that three replicas can reach within bounds, and what must hold in each.
 *
 * A seed tries one order of events; here all of them are tried. It works because the core is a pure function of its inputs and
 * the bounds are small: a few terms, a few entries, one misfortune. Most defects of consensus protocols that were ever found
 * need no more than that, only the right order.
 *
 *     state of the cluster = three replica states (`replica-states.ts`) + messages on the way + the referee's memory + budgets
 *
 * **Steps** (`cluster-steps.ts`). A message arrives; a replica's oldest write completes; a replica's patience ends; a leader takes
 * a proposal; and, as budgets allow: a crash (what was not on disk is gone; the others see the session end), a restart, a lost
 * session, a message that is lost, arrives twice or before its time, a leader that resigns. Each is one turn: `ready` is taken
 * after each input. Safety is asked, not progress, so a message that is late for ever is a step that is not taken.
 *
 * **Two networks.** *Ordered*: two connections between any two replicas, each in order, none in order with another, which is what
 * the product stands on; losses and repetitions within one are misfortunes beyond it, one at a time. *Unordered*: whatever was sent
 * in a session may arrive at any time, in any order, any number of times, or never. That holds every number of losses and
 * repetitions at once, and a larger space for the same bounds.
 *
 * **Symmetry.** Replicas differ by their names only. Of the six states that differ by names one is remembered.
 *
 * **What is outside.** No beat is ever heard, so leases and stickiness are not explored (they refuse; here everybody may), nor
 * several inputs within one turn, membership, transfers, or a session whose end one side sees before the other. Bounds
 * are bounds: what needs more of anything is not found.
 */
import { must } from '../../src/stdx/index.ts'
import { Violation } from '../violation.ts'
import type { Bounds } from './bounds.ts'
import { ClusterRules } from './cluster-rules.ts'
import { ClusterShape, COMMITTED } from './cluster-state.ts'
import { ClusterSteps } from './cluster-steps.ts'
import type { OpenedCore } from './opened-core.ts'
import { ReplicaStates } from './replica-states.ts'
import { StateSet } from './state-set.ts'

export interface Exploration {
  readonly exhausted: boolean
  readonly states: number
  readonly transitions: number
  /** The longest path taken; depth first, so not the shortest to anything. */
  readonly depth: number
  readonly replicaStates: number
  readonly messages: number
  /** Types of the messages that were sent: what was never said was not explored. */
  readonly said: readonly string[]
  /** The most that any history has committed: an exploration that commits nothing proves little. */
  readonly committed: number
  readonly bytes: number
  readonly violation: Violation | null
  /** The steps that led to it. */
  readonly path: readonly string[]
}

export interface Progress {
  readonly states: number
  readonly depth: number
}

const PROGRESS_EVERY = 1 << 16

interface Frame {
  readonly state: Int32Array
  readonly steps: readonly number[]
  next: number
}

export function explore(core: OpenedCore, bounds: Bounds, progress: (at: Progress) => void = () => {}): Exploration {
  return new Explorer(core, bounds).run(progress)
}

class Explorer {
  readonly #bounds: Bounds
  readonly #replicas: ReplicaStates
  readonly #rules: ClusterRules
  readonly #shape: ClusterShape
  readonly #steps: ClusterSteps
  readonly #seen = new StateSet()
  #transitions = 0

  constructor(core: OpenedCore, bounds: Bounds) {
    const { checkPromises = true, singleEntryAppends = false, symmetry = true, preVote, network } = bounds
    const snapshotChunkBytes = bounds.snapshotChunkBytes ?? 1 << 16
    const replicas = new ReplicaStates({ core, checkPromises, singleEntryAppends, preVote, snapshotChunkBytes })
    this.#bounds = bounds
    this.#replicas = replicas
    this.#rules = new ClusterRules(replicas.numbers)
    this.#shape = new ClusterShape({ replicas, ordered: network === 'ordered', symmetry })
    this.#steps = new ClusterSteps(bounds, { replicas, rules: this.#rules, shape: this.#shape })
  }

  run(progress: (at: Progress) => void): Exploration {
    const frames: Frame[] = []
    let depth = 0
    let violation: Violation | null = null
    let exhausted = true
    const enter = (state: Int32Array): void => {
      if (!this.#seen.add(this.#shape.canonical(state))) return
      const [a, b, c] = [state[0]!, state[1]!, state[2]!]
      const replicas = this.#replicas
      this.#rules.check([replicas.facts(a), replicas.facts(b), replicas.facts(c)], state[COMMITTED]!)
      frames.push({ state, steps: this.#steps.steps(state), next: 0 })
      depth = Math.max(depth, frames.length)
      if (this.#seen.size % PROGRESS_EVERY === 0) progress({ states: this.#seen.size, depth: frames.length })
    }
    try {
      enter(this.#steps.first())
      for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
        const step = frame.steps[frame.next]
        if (step === undefined) {
          frames.pop()
          continue
        }
        if (this.#seen.size >= (this.#bounds.maxStates ?? Number.POSITIVE_INFINITY)) {
          exhausted = false
          break
        }
        frame.next++
        this.#transitions++
        enter(this.#steps.after(frame.state, step))
      }
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      violation = error
      exhausted = false
    }
    return {
      exhausted,
      states: this.#seen.size,
      transitions: this.#transitions,
      depth,
      replicaStates: this.#replicas.size,
      messages: this.#replicas.messages.size,
      said: this.#replicas.messages.types,
      committed: this.#rules.longest,
      bytes: this.#seen.bytes,
      violation,
      path:
        violation === null
          ? []
          : frames.map(({ steps, next }) => this.#steps.describe(must(steps[next - 1], 'a step'))),
    }
  }
}
