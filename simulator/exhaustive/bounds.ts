/**
 * How far an exploration goes: what may happen, and how often. Everything else is tried in every order.
 *
 * What may happen a number of times is a *budget*. What is left of each is part of a state of the cluster, packed into one word.
 */
import { assert } from '../../src/stdx/index.ts'

export interface Bounds {
  /** Elections are started up to so many terms above the one that the disks begin with. */
  readonly terms: number
  /** Entries that clients add; each leadership adds one of its own. */
  readonly proposals: number
  readonly crashes: number
  /** Sessions that end, and everything on the way between the two with them. */
  readonly lostSessions: number
  readonly resignations: number
  /** Cuts of the log's start, after which whoever is behind needs a snapshot. */
  readonly cuts: number
  /**
   * `ordered`: each of the two connections between two replicas keeps its order, as the product's do, and what follows are
   * exceptions from that. `unordered`: whatever was sent in a session may arrive at any time and any number of times.
   */
  readonly network: 'ordered' | 'unordered'
  /** With more messages than this on the way, the next step is an arrival. */
  readonly messagesMax: number
  /** With more writes than this on the way, on all disks together, the next step is a completion. */
  readonly writesMax: number
  /** Messages that vanish although their connection goes on. */
  readonly lostMessages: number
  readonly duplicates: number
  /** Messages that arrive before earlier ones of their connection. */
  readonly overtakings: number
  /** How often anybody's patience may end, counted only with pre-votes: without, terms are the bound. */
  readonly campaigns: number
  /**
   * False: whoever's patience ends takes a new term at once, as if a quorum had been asked and had said yes. All that an
   * election can do happens, but for what the questions themselves change.
   */
  readonly preVote: boolean
  /** The terms of the entries on each disk at the beginning. */
  readonly disks?: readonly [readonly number[], readonly number[], readonly number[]]
  /** Begins with a leader in the first term, its first entry committed and nothing on the way. */
  readonly led?: boolean
  readonly singleEntryAppends?: boolean
  /** In one message; without, a snapshot is one. */
  readonly snapshotChunkBytes?: number
  /** Without, what is said too early must show in what becomes of it. */
  readonly checkPromises?: boolean
  /** False: states that differ by the replicas' names are different. For tests of that. */
  readonly symmetry?: boolean
  /** Gives up, and says so. */
  readonly maxStates?: number
}

/** Each budget has three bits. */
const BUDGETS = [
  'proposals',
  'crashes',
  'lostSessions',
  'resignations',
  'lostMessages',
  'duplicates',
  'overtakings',
  'campaigns',
  'cuts',
] as const
export type Budget = (typeof BUDGETS)[number]
const BUDGET_BITS = 3
const SHIFT = Object.fromEntries(BUDGETS.map((name, i) => [name, i * BUDGET_BITS])) as Readonly<Record<Budget, number>>

const MASK = (1 << BUDGET_BITS) - 1

export function packBudgets(bounds: Bounds): number {
  let packed = 0
  for (const name of BUDGETS) {
    assert(bounds[name] >= 0 && bounds[name] <= MASK, () => `${name}: a budget has ${BUDGET_BITS} bits`)
    packed |= bounds[name] << SHIFT[name]
  }
  return packed
}

export function isLeft(packed: number, budget: Budget): boolean {
  return ((packed >>> SHIFT[budget]) & MASK) > 0
}

export function spent(packed: number, budget: Budget): number {
  return packed - (1 << SHIFT[budget])
}
