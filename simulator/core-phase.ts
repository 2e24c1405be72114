/**
 * A minority stays broken, and everything else is well (E1, E7): a random quorum of sound machines heals, nothing new breaks, and
 * the others are left as they are, or are taken down, cut off or paused. With three nodes that is a cluster with one broken node.
 *
 *      faults ──► core heals ──► every shard of it is led, at the mark it had ──► every batch that waits has its answer ──► all heal
 *                          30 s                                          60 s, from a leader that stays
 *
 * It is asked here and not during the faults because those come every second or so, in bursts: hardly ever does the time that one
 * election may take pass between two of them, so that nothing could be demanded for certain.
 */
import type { Convergence } from './convergence.ts'
import type { Faults } from './faults/faults.ts'
import type { Scenario } from './scenario/scenario.ts'
import { Violation } from './violation.ts'
import type { DueBatch } from './workloads/producer.ts'
import type { Workloads } from './workloads/workloads.ts'
import type { World } from './world.ts'

/** From the healing to everything being well again. */
export const CONVERGENCE_MS = 30_000
/** Nearly half of the nodes say nothing, and clients ask one at random who leads, for three seconds each. */
const ANSWERS_MS = 60_000
/** Leadership may be handed over while clients wait; then they wait for the next leader. */
const ATTEMPTS = 2

export interface CorePhaseCollaborators {
  readonly world: World
  readonly faults: Faults
  readonly convergence: Convergence
  readonly workloads: Workloads
  /** Records so far, at whatever level their producers wait for. */
  readonly acknowledged: () => number
}

export class CorePhase {
  readonly #scenario: Scenario
  readonly #with: CorePhaseCollaborators

  constructor(scenario: Scenario, collaborators: CorePhaseCollaborators) {
    this.#scenario = scenario
    this.#with = collaborators
  }

  async run(): Promise<void> {
    const { world, faults, convergence } = this.#with
    const { core: plan } = this.#scenario
    if (plan === undefined) return
    const core = faults.healCore(plan)
    if (core === null) return world.note(0, 'no core: the disks of too many are damaged')
    // Not what somebody outside of it knows alone, which cannot be committed.
    const marks = convergence.marks(core)
    const wrong = (): string | null => convergence.serves(core, marks)
    if (!(await world.runUntil(world.now() + CONVERGENCE_MS, () => wrong() === null)))
      return this.#fails(core, `${wrong()}, ${CONVERGENCE_MS} ms after it healed`)
    for (let attempts = 0; attempts < ATTEMPTS; attempts++) if (await this.#takesWrites(core)) return
  }

  /** False: not all is answered, and leadership changed meanwhile, so nothing is proved. */
  async #takesWrites(core: readonly number[]): Promise<boolean> {
    const { world, convergence, workloads, acknowledged } = this.#with
    const topics = new Set(this.#scenario.topics.map(({ name }) => name))
    const leaders = convergence.leaders(core, topics)
    if (leaders.size === 0) return true
    const due = workloads.producers
      .flatMap((producer) => producer.due)
      .filter(({ topic, partition }) => leaders.has(`${topic}/${partition}`))
    const before = acknowledged()
    // Who walks away after a few milliseconds may never hear of what was done.
    const someoneListens = workloads.producers.some(({ isPatient }) => isPatient)
    const isServed = () => (acknowledged() > before || !someoneListens) && due.every(({ isAnswered }) => isAnswered())
    if ((await world.runUntil(world.now() + ANSWERS_MS, isServed)) || world.violation !== null) return true
    const now = convergence.leaders(core, topics)
    const isSteady = (place: string): boolean => now.get(place) === leaders.get(place)
    const stuck = due.find(({ topic, partition, isAnswered }) => !isAnswered() && isSteady(`${topic}/${partition}`))
    if (stuck !== undefined) this.#fails(core, this.#said(stuck, leaders))
    else if (someoneListens && acknowledged() === before && [...leaders.keys()].every(isSteady))
      this.#fails(core, `it leads, and no write was acknowledged in ${ANSWERS_MS} ms`)
    return world.violation !== null
  }

  #said({ topic, partition, name }: DueBatch, leaders: ReadonlyMap<string, string>): string {
    const place = `${topic}/${partition}`
    return `${leaders.get(place)} leads ${place}, and ${name} has had no answer from it for ${ANSWERS_MS} ms`
  }

  #fails(core: readonly number[], what: string): void {
    this.#with.world.fail(new Violation('a quorum that is well serves', `nodes ${core.join(', ')}: ${what}`))
  }
}
