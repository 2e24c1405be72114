/** All ailments of a run, and what came of each: for the table of hits. */
import type { SimulatedMachine } from '../machine.ts'
import type { Ailment, AilmentOptions } from './troubles.ts'

export interface AilmentTally {
  /** A running node stopped itself because of it. */
  stopped: number
  /** A start was refused because of it. */
  refused: number
  /** No node ever gave up because of it. */
  harmless: number
}

export class Ailments {
  readonly #all: Ailment[] = []

  begin(machine: SimulatedMachine, options: AilmentOptions): Ailment {
    const ailment = machine.troubles.begin(options)
    this.#all.push(ailment)
    return ailment
  }

  /** By kind of fault. */
  get outcomes(): ReadonlyMap<string, AilmentTally> {
    const tallies = new Map<string, AilmentTally>()
    for (const { fault, outcomes } of this.#all) {
      const tally = tallies.get(fault) ?? { stopped: 0, refused: 0, harmless: 0 }
      tallies.set(fault, tally)
      if (outcomes.size === 0) tally.harmless++
      if (outcomes.has('stopped')) tally.stopped++
      if (outcomes.has('refused')) tally.refused++
    }
    return tallies
  }
}
