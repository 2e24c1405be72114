/**
 * A mutant: one deliberate defect, which the simulator must find. What makes a green run mean something.
 *
 * Two kinds. An *interference* stands between a node and its world (interference.ts). A *patch* changes one place of the product
 * itself, in a copy of the compiled tree (patch.ts): the product's sources know nothing of it.
 */
import type { Profile, Scenario } from '../scenario/scenario.ts'

/** What brings the defect to light, where the ordinary seeds do so too rarely. Printed with the mutant. */
export interface Attack {
  /** For people, where options would be too long to print. */
  readonly called?: string
  readonly profile?: Profile
  /** Options that replace what every seed has drawn. */
  readonly options?: Partial<Scenario>
  /** Not seeds but one of the exhaustive checks. */
  readonly by?: 'graphs' | 'explore'
}

export interface Mutant {
  readonly name: string
  /** The trap that it re-creates (verification.md §2), or an old bug of ours. */
  readonly trap: string
  /** The promise that breaks, in one line. */
  readonly breaks: string
  readonly attack?: Attack
  /** Not found in a few dozen seeds yet, and what it lacks. It takes no part in the rotation, and is missed in a full hunt. */
  readonly elusive?: string
}
