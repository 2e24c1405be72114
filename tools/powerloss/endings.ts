/**
 * Which ways through recovery were taken, as the nodes' traces tell. Power loss must be able to reach every row of
 * `RECOVERY_TABLE` that is not damage, and a campaign that does not is none: its cuts came at harmless moments.
 *
 * A trace names the row that ended the journal. The others show in the counts: a block was taken, a segment handed over.
 */
import { RECOVERY_TABLE } from '../../src/storage/recovery.ts'
import type { TraceLine } from '../check-trace.ts'

/** By row: recoveries that met it. */
export type Endings = Readonly<Record<string, number>>

/** No segment was in service: power went before the first block. */
const EMPTY = 'empty'

export const REACHABLE: readonly string[] = [
  EMPTY,
  ...RECOVERY_TABLE.filter(({ verdict }) => verdict !== 'damage').map(({ label }) => label),
]

export function endingsIn(lines: Iterable<TraceLine>): Endings {
  const counts: Record<string, number> = {}
  const hit = (label: string): void => {
    counts[label] = (counts[label] ?? 0) + 1
  }
  for (const line of lines) {
    // An empty directory has nothing to recover.
    if (line.type !== 'recovered' || line.fresh) continue
    hit(line.ending)
    if (line.blocks > 0) hit('next block')
    if (line.segments > 1) hit('handed over')
  }
  return counts
}

export function sum(all: readonly Endings[]): Endings {
  const total: Record<string, number> = {}
  for (const each of all) for (const [label, count] of Object.entries(each)) total[label] = (total[label] ?? 0) + count
  return total
}

export function notReached(endings: Endings): string[] {
  return REACHABLE.filter((label) => (endings[label] ?? 0) === 0)
}
