/**
 * Cuts a failing scenario down for as long as the same property still breaks (Zeller, Hildebrandt: "Simplifying and Isolating
 * Failure-Inducing Input", TSE '02).
 *
 * A scenario is plain data, so the shrinker needs to know little of it: lists lose elements in ever smaller pieces, and a few
 * numbers become smaller. What comes first saves most of the time for what comes later: a shorter run makes every later try
 * cheaper, fewer nodes make the timeline readable, and the faults, of which there are most, come after both.
 *
 *      shorter ──► fewer nodes ──► fewer faults ──► fewer clients, topics ──► less of each ──┐
 *         ▲                                                                                  │
 *         └─────────────────────── until nothing helps any more ─────────────────────────────┘
 *
 * A different violation on the way is not followed: it may be another bug, or nonsense that only a maimed scenario shows.
 */
import type { Fault, Scenario } from './scenario/scenario.ts'

/** Does the candidate still break the same property? */
export type StillFails = (candidate: Scenario) => Promise<boolean>

export interface ShrinkOptions {
  /** Candidates to try at the most. */
  readonly triesMax: number
  /** Asked before each try: enough time spent? */
  readonly enough: () => boolean
  readonly progress: (best: Scenario) => void
}

const SHORTEST_MS = 2000
/** Lists of which the run needs one at least. */
const NEEDED: ReadonlySet<string> = new Set(['topics', 'producers', 'consumers'])
/** What a run can do without, as a whole. */
const OPTIONAL = ['registers', 'shrinking', 'compacted', 'network', 'buggify', 'sectors', 'tuning'] as const

export async function shrink(scenario: Scenario, stillFails: StillFails, options: ShrinkOptions): Promise<Scenario> {
  let best = scenario
  let tries = 0
  const attempt = async (candidate: Scenario): Promise<boolean> => {
    if (tries >= options.triesMax || options.enough()) return false
    tries++
    if (!(await stillFails(candidate))) return false
    best = candidate
    options.progress(best)
    return true
  }
  for (;;) {
    const before = best
    await shorten(() => best, attempt)
    for (const nodes of [1, 3, 5]) if (nodes < best.nodes && (await attempt(withNodes(best, nodes)))) break
    await thin(() => best, 'faults', attempt)
    for (const list of listsOf(best)) if (list !== 'faults') await thin(() => best, list, attempt)
    for (const name of OPTIONAL) if (best[name] !== undefined) await attempt(without(best, name))
    await simplify(() => best, attempt)
    if (best === before) return best
  }
}

type Attempt = (candidate: Scenario) => Promise<boolean>

/** Halves the time with faults, then takes quarters of what is left. */
async function shorten(best: () => Scenario, attempt: Attempt): Promise<void> {
  for (const part of [1 / 2, 3 / 4]) {
    for (;;) {
      const durationMs = Math.max(SHORTEST_MS, Math.floor(best().durationMs * part))
      if (durationMs >= best().durationMs) break
      const faults = best().faults.filter(({ atMs }) => atMs < durationMs)
      if (!(await attempt({ ...best(), durationMs, faults }))) break
    }
  }
}

/** Takes elements out of a list, in pieces of half of it, a quarter, … one. */
async function thin(best: () => Scenario, list: string, attempt: Attempt): Promise<void> {
  const elements = (): readonly unknown[] => (best() as unknown as Record<string, readonly unknown[]>)[list]!
  const least = NEEDED.has(list) ? 1 : 0
  for (let piece = Math.ceil(elements().length / 2); piece >= 1; piece = piece === 1 ? 0 : Math.ceil(piece / 2)) {
    for (let at = 0; at < elements().length; ) {
      const left = [...elements().slice(0, at), ...elements().slice(at + piece)]
      if (left.length < least || !(await attempt({ ...best(), [list]: left }))) at += piece
    }
  }
}

/** One partition, one batch in flight, one record, small values, half as often. */
async function simplify(best: () => Scenario, attempt: Attempt): Promise<void> {
  const { topics, producers } = best()
  if (topics.some(({ partitions }) => partitions > 1))
    await attempt({ ...best(), topics: topics.map((topic) => ({ ...topic, partitions: 1 })) })
  const plain = { recordsMax: 1, valueBytes: 40, inFlightMax: 1 }
  const [name] = Object.entries(plain).filter(([key, value]) =>
    producers.some((producer) => (producer as unknown as Record<string, unknown>)[key] !== value),
  )
  if (name !== undefined) await attempt({ ...best(), producers: producers.map((each) => ({ ...each, ...plain })) })
  const rarer = best().producers.map((each) => ({ ...each, intervalMs: Math.min(1000, each.intervalMs * 2) }))
  if (best().producers.some(({ intervalMs }) => intervalMs < 1000)) await attempt({ ...best(), producers: rarer })
}

function without(scenario: Scenario, name: (typeof OPTIONAL)[number]): Scenario {
  const { [name]: _, ...rest } = scenario
  return rest
}

/** The fields in which faults name machines, one by one or all in order. */
interface Named extends Readonly<Partial<Record<'target' | 'from' | 'to' | 'a' | 'b' | 'node', unknown>>> {
  readonly downMs?: unknown
}

/** Fewer machines: faults of those that are gone go with them. */
export function withNodes(scenario: Scenario, nodes: number): Scenario {
  const faults = scenario.faults.flatMap((fault): Fault[] => {
    const { target, from, to, a, b, node, downMs } = fault as unknown as Named
    if ([target, from, to, a, b, node].some((each) => typeof each === 'number' && each > nodes)) return []
    return Array.isArray(downMs) ? [{ ...fault, downMs: downMs.slice(0, nodes) } as Fault] : [fault]
  })
  const { core } = scenario
  return {
    ...scenario,
    nodes,
    replication: Math.min(scenario.replication, nodes),
    faults,
    ...(core === undefined
      ? {}
      : { core: { order: core.order.filter((node) => node <= nodes), outsiders: core.outsiders.slice(0, nodes) } }),
  }
}

/** Names of the fields that are lists of objects. */
function listsOf(scenario: Scenario): string[] {
  return Object.entries(scenario).flatMap(([name, value]) =>
    Array.isArray(value) && value.length > 0 && typeof value[0] === 'object' ? [name] : [],
  )
}
