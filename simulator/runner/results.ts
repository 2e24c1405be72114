/**
 * The campaigns' book: one line of JSON per chunk of seeds, appended and never changed, and kept in the repository.
 *
 * It is what makes a campaign resumable: a chunk that held for this very commit, under this profile, does not have to be run
 * again, on whatever machine it was. A tree with changes that are in no commit has no name, so its lines are marked and
 * prove nothing to anybody later.
 */
import { appendFileSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Profile } from '../scenario/scenario.ts'
import type { TallyData } from './tally.ts'

export interface ResultLine extends TallyData {
  /** `-changed` behind it: the tree had changes that are in no commit. */
  readonly commit: string
  readonly node: string
  readonly profile: Profile
  readonly durationMs: number
  readonly from: number
  readonly seeds: number
  readonly verdict: 'held' | 'violated'
}

export interface Range {
  readonly from: number
  readonly seeds: number
}

/** The lines of the file; none if there is no file. A last line without an end was cut off by a crash and does not count. */
export function readResults<Line = ResultLine>(file: string): Line[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
  const lines = text.split('\n')
  lines.pop()
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Line)
}

export function appendResult<Line = ResultLine>(file: string, line: Line): void {
  mkdirSync(dirname(file), { recursive: true })
  appendFileSync(file, `${JSON.stringify(line)}\n`)
}

/** Chunks start at multiples of their size, so that campaigns that overlap share them. */
export function chunksOf({ from, seeds }: Range, chunkSeeds: number): Range[] {
  const chunks: Range[] = []
  const end = from + seeds
  for (let at = from; at < end; ) {
    const next = Math.min(end, at - (at % chunkSeeds) + chunkSeeds)
    chunks.push({ from: at, seeds: next - at })
    at = next
  }
  return chunks
}

/** Did these seeds hold for this commit, by one line that covers them all? */
export function isDone(
  lines: readonly ResultLine[],
  { from, seeds }: Range,
  same: { readonly commit: string; readonly profile: Profile; readonly durationMs: number },
): boolean {
  return lines.some(
    (line) =>
      line.verdict === 'held' &&
      line.commit === same.commit &&
      line.profile === same.profile &&
      line.durationMs === same.durationMs &&
      line.from <= from &&
      line.from + line.seeds >= from + seeds,
  )
}
