/**
 * Every mutant there is. Work that adds a rule to the product adds the mutant that breaks it; a bug that was found becomes one, too.
 */
import { numberOf } from '../runner/commit.ts'
import { INTERFERENCES } from './interference.ts'
import type { Mutant } from './mutant.ts'
import type { PatchMutant } from './patch.ts'
import { CLUSTER_PATCHES } from './patches-cluster.ts'
import { COMPACTION_PATCHES } from './patches-compaction.ts'
import { CUT_PATCHES } from './patches-cuts.ts'
import { DISK_PATCHES } from './patches-disks.ts'
import { REPAIR_PATCHES } from './patches-repair.ts'
import { REPLICATION_PATCHES } from './patches-replication.ts'
import { RESTORE_PATCHES } from './patches-restore.ts'
import { SNAPSHOT_PATCHES } from './patches-snapshots.ts'
import { STORAGE_PATCHES } from './patches-storage.ts'
import { STREAMS_PATCHES } from './patches-streams.ts'

export const PATCHES: readonly PatchMutant[] = [
  ...CUT_PATCHES,
  ...COMPACTION_PATCHES,
  ...REPLICATION_PATCHES,
  ...SNAPSHOT_PATCHES,
  ...STORAGE_PATCHES,
  ...DISK_PATCHES,
  ...REPAIR_PATCHES,
  ...STREAMS_PATCHES,
  ...RESTORE_PATCHES,
  ...CLUSTER_PATCHES,
]

export const MUTANTS: readonly Mutant[] = [...INTERFERENCES, ...PATCHES]

export function isPatch(mutant: Mutant): mutant is PatchMutant {
  return 'edits' in mutant
}

/** `count` of them, others for every commit: whoever lands a hundred changes has hunted each of them many times. */
export function inRotation(count: number, commit: string, mutants: readonly Mutant[] = MUTANTS): readonly Mutant[] {
  const step = Math.min(count, mutants.length)
  const first = (numberOf(commit) * step) % mutants.length
  return Array.from({ length: step }, (_, i) => mutants[(first + i) % mutants.length]!)
}
