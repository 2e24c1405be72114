/**
 * What a start does when the journal, or both copies of the checkpoint, are damaged, and there are other replicas.
 *
 * Nobody knows whose entries and votes were in the damaged place. So of every shard this disk keeps only what the checkpoint says,
 * if there is one, and each goes on as a replica that *recovers*: it takes what its leader sends and says truthfully what it has,
 * and neither votes nor stands for election until it has everything again that could have been committed with its help. Why that
 * is right, and what it rests on: docs/decisions/0009-recovering-replicas.md.
 *
 *     terms: resetting ──► journal (and checkpoint) to the quarantine ──► new checkpoint ──► terms: done
 *          └ a crash from here on: the next start begins again here
 *
 * The term in which all of them go on is above every term in which this disk can have voted (terms.ts). A single node is never
 * reset: there is nobody to get anything back from, and somebody may know how to read what is left.
 */
import { join } from 'node:path'
import type { Disk, Platform } from '../platform/index.ts'
import { makeFolder } from './atomic-file.ts'
import { type Checkpoint, encodeCheckpoint, type StoredShard } from './checkpoint-format.ts'
import type { StorageEvent } from './events.ts'
import { isNotFound } from './identity.ts'
import { checkpointFile, copyOf, journalDirectory, quarantineDirectory, termsFile } from './layout.ts'
import { call, type Procedure } from './procedure.ts'
import { encodeTerms, TERMS_STEP, type Terms } from './terms.ts'
import { replaceTwins } from './twin-files.ts'

export interface ToReset {
  readonly directory: string
  readonly diskIncarnation: string
  readonly terms: Terms
  /** Null: both copies are damaged. */
  readonly checkpoint: Checkpoint | null
  /** What is damaged, in a sentence with the file's name. */
  readonly reason: string
}

export function* resetDirectory(
  { directory, diskIncarnation, terms, checkpoint, reason }: ToReset,
  { platform, trace }: { platform: Platform; trace: (event: StorageEvent) => void },
): Procedure<{ checkpoint: Checkpoint; terms: Terms }> {
  const { disk, random } = platform
  const stored = [...(checkpoint?.shards.values() ?? [])].map(({ state }) => state.term)
  const from = stored.reduce((most, term) => Math.max(most, term), terms.ceiling) + 1
  const during: Terms = { ...terms, diskIncarnation, ceiling: from + TERMS_STEP, unknownFrom: from, resetting: true }
  yield* replaceTwins(disk, termsFile(directory), [encodeTerms(during)])
  const aside = join(quarantineDirectory(directory), `journal-${random.bytes(4).toString('hex')}`)
  yield* makeFolder(disk, quarantineDirectory(directory))
  yield* moveAside(disk, journalDirectory(directory), aside)
  if (checkpoint === null) {
    const file = checkpointFile(directory)
    for (const path of [file, copyOf(file)])
      yield* moveAside(disk, path, path === file ? `${aside}.checkpoint` : `${aside}.checkpoint.copy`)
  }
  yield* call<void>((done) => disk.syncDirectory(quarantineDirectory(directory), done))
  yield* makeFolder(disk, journalDirectory(directory))
  const next = emptied(checkpoint, during, from)
  yield* replaceTwins(disk, checkpointFile(directory), encodeCheckpoint(next))
  const after: Terms = { ...during, resetting: false }
  yield* replaceTwins(disk, termsFile(directory), [encodeTerms(after)])
  trace({ type: 'directory-reset', reason, quarantined: aside, term: from })
  return { checkpoint: next, terms: after }
}

/** Gone already: by a start that was interrupted. */
function* moveAside(disk: Disk, from: string, to: string): Procedure<void> {
  try {
    yield* call<void>((done) => disk.rename(from, to, done))
  } catch (error) {
    if (!isNotFound(error)) throw error
  }
}

/** Each shard as its checkpoint knows it, with a journal in which there is nothing, above all that is known of the one that was. */
function emptied(checkpoint: Checkpoint | null, { diskIncarnation, journalEntered }: Terms, term: number): Checkpoint {
  const shards = new Map<number, StoredShard>()
  for (const [shard, stored] of checkpoint?.shards ?? [])
    shards.set(shard, { ...stored, state: { ...stored.state, term, vote: 0, recovering: true }, journalAfter: 0 })
  const { journalFrom = 1, journalThrough = 0, highestStamp = 0 } = checkpoint ?? {}
  const first = Math.max(journalFrom, journalThrough + 1, journalEntered + 1) + 1
  return {
    diskIncarnation,
    journalFrom: first,
    journalThrough: first - 1,
    highestStamp,
    shards,
    removed: checkpoint?.removed ?? new Map(),
  }
}
