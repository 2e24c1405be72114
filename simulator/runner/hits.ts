/**
 * What a run has reached, counted by name and by family: kinds of faults, buggify sites, branches of recovery, operations of
 * the workloads. A green campaign says something about what it has hit, and nothing about the rest (verification E8).
 */
import { FAULTS } from '../faults/catalogue.ts'
import type { Profile } from '../scenario/scenario.ts'
import type { RunResult } from '../simulation.ts'

export type HitCounts = Readonly<Record<string, number>>
/** By family, then by name. A name with zero is one that could have been hit. */
export type Hits = Readonly<Record<string, HitCounts>>

export function hitsOf(result: RunResult): Hits {
  const faults: Record<string, number> = {}
  // What was drawn and passed over counts as known, with no hit.
  for (const { kind } of result.scenario.faults) faults[kind] ??= 0
  for (const [kind, hits] of result.faults) faults[kind] = hits
  const { faultCounts, buggify, reached, deeds } = result
  const ends: Record<string, number> = {}
  for (const [kind, tally] of result.diskOutcomes) {
    for (const [end, times] of Object.entries(tally)) if (times > 0) ends[`${kind}: ${end}`] = times
  }
  return {
    faults,
    'what came of faults': Object.fromEntries(faultCounts),
    'what came of disk faults': ends,
    'buggify sites': Object.fromEntries(buggify),
    'events and branches': Object.fromEntries(reached),
    'deeds of clients': Object.fromEntries(deeds),
  }
}

export class HitTable {
  readonly #families = new Map<string, Map<string, number>>()

  add(hits: Hits): void {
    for (const [family, counts] of Object.entries(hits)) {
      let table = this.#families.get(family)
      if (table === undefined) {
        table = new Map()
        this.#families.set(family, table)
      }
      for (const [name, count] of Object.entries(counts)) table.set(name, (table.get(name) ?? 0) + count)
    }
  }

  get families(): readonly string[] {
    return [...this.#families.keys()].sort()
  }

  /** Sorted by name. */
  of(family: string): readonly (readonly [string, number])[] {
    return [...(this.#families.get(family) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))
  }

  sum(family: string): number {
    let sum = 0
    for (const count of this.#families.get(family)?.values() ?? []) sum += count
    return sum
  }

  /** Known and never hit, as `family/name`. A campaign of all profiles knows every kind of fault there is. */
  missing(profile: Profile): string[] {
    const known = new HitTable()
    for (const [family, table] of this.#families) known.add({ [family]: Object.fromEntries(table) })
    if (profile === 'all') known.add({ faults: Object.fromEntries(Object.keys(FAULTS).map((kind) => [kind, 0])) })
    return known.families.flatMap((family) =>
      known.of(family).flatMap(([name, count]) => (count === 0 ? [`${family}/${name}`] : [])),
    )
  }

  toJSON(): Hits {
    return Object.fromEntries(this.families.map((family) => [family, Object.fromEntries(this.of(family))]))
  }
}
