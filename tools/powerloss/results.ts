/**
 * The campaigns' book: a line of JSON per chunk of cycles, appended and never changed, and kept in the repository. A chunk that
 * held for this commit does not have to be run again.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { Endings } from './endings.ts'

export interface ChunkKey {
  /** `-changed` behind it: the tree had changes that are in no commit. */
  readonly commit: string
  readonly fs: string
  readonly seed: number
  /** Counted from 0; each has a cluster of its own, from new disks on. */
  readonly chunk: number
}

export interface ResultLine extends ChunkKey {
  readonly node: string
  readonly kernel: string
  readonly verdict: 'held' | 'violated'
  readonly cycles: number
  /** Of these: power went from all nodes at once, and it went again during recovery. */
  readonly allNodes: number
  readonly twice: number
  /** Power losses of nodes with a block that was written and not yet synced. */
  readonly midWrite: number
  /** Power losses of single file systems. */
  readonly losses: { readonly ext4: number; readonly xfs: number }
  readonly acknowledged: number
  readonly read: number
  readonly lost: number
  /** Where the producer is idempotent. */
  readonly duplicates: number
  /** Where it is not, and sent again what had arrived. */
  readonly repeats: number
  readonly outOfOrder: number
  readonly wrong: number
  readonly endings: Endings
  readonly seconds: number
}

/** None if there is no file. A last line without an end was cut off by a crash and does not count. */
export function readResults(file: string): ResultLine[] {
  if (!fs.existsSync(file)) return []
  const lines = fs.readFileSync(file, 'utf8').split('\n').slice(0, -1)
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as ResultLine)
}

export function appendResult(file: string, line: ResultLine): void {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.appendFileSync(file, `${JSON.stringify(line)}\n`)
}

/** The line by which this chunk held already, with at least as many cycles. */
export function heldBy(lines: readonly ResultLine[], key: ChunkKey, cycles: number): ResultLine | null {
  const held = lines.find(
    (line) =>
      line.verdict === 'held' &&
      line.commit === key.commit &&
      line.fs === key.fs &&
      line.seed === key.seed &&
      line.chunk === key.chunk &&
      line.cycles >= cycles,
  )
  return held ?? null
}
