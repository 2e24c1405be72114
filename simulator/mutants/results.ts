/**
 * The hunts' book: one line of JSON per mutant, appended when its hunt is over, and kept in the repository (results/mutants.jsonl).
 *
 * A hunt of all mutants from five starting points takes hours. With the book it may end at any time and go on later: what was
 * found for this very commit, in the same way, does not have to be hunted again.
 */
import type { Options } from '../runner/arguments.ts'
import { currentCommit } from '../runner/commit.ts'
import { appendResult, readResults } from '../runner/results.ts'
import type { Catch, Hunt } from './hunt.ts'
import type { Mutant } from './mutant.ts'

/** In which way mutants were hunted: lines of another way say nothing about this one. */
interface Way {
  /** `-changed` behind it: the tree had changes that are in no commit. */
  readonly commit: string
  readonly from: number
  readonly limit: number
  readonly durationMs: number
  readonly medians: boolean
}

export interface HuntLine extends Way {
  readonly node: string
  readonly name: string
  readonly trap: string
  readonly found: boolean
  readonly medianSeeds: number | null
  readonly hunts: readonly Omit<Hunt, 'message'>[]
}

function wayOf({ from, limit, duration, medians, commit }: Options): Way {
  return { commit: commit ?? currentCommit(), from, limit, durationMs: duration, medians }
}

/** Adds a line for each mutant whose hunt is over; nothing without --results. */
export function bookOf(options: Options): (caught: Catch) => void {
  const { results } = options
  if (results === undefined) return () => {}
  const way = wayOf(options)
  return ({ mutant: { name, trap }, found, medianSeeds, hunts }) => {
    const told = hunts.map(({ seeds, seed, property }) => ({ seeds, seed, property }))
    const line = { ...way, node: process.version, name, trap, found, medianSeeds, hunts: told }
    appendResult<HuntLine>(results, line)
  }
}

/** With --resume: which mutants are still to be hunted. A missed one is. */
export function leftToHunt(mutants: readonly Mutant[], options: Options): readonly Mutant[] {
  if (!options.resume || options.results === undefined) return mutants
  const way = wayOf(options)
  const found = new Set<string>()
  for (const line of readResults<HuntLine>(options.results)) {
    const same = (Object.keys(way) as (keyof Way)[]).every((key) => line[key] === way[key])
    if (same && line.found) found.add(line.name)
  }
  return mutants.filter(({ name }) => !found.has(name))
}
