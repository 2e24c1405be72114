/**
 * What an opening finds in the shards' folders, held against what the checkpoint says should be there.
 *
 * The checkpoint is the only word on which files are part of a log: it names the segment in use and the log's start. So every
 * file of a log is one of four, told by its name alone, and no file is read:
 *
 *     below the start          kept                      in use              behind
 *     1.log   31.log       │   61.log   91.log           121.log         │   151.log
 *     (start = 70)             61 holds the start        the checkpoint's    the journal has what is in it
 *
 * Files below the start are what a crash left between a checkpoint that carried a cut and the removal of what it cut, or an
 * installed snapshot and the removal of what it replaced. Some of them may be gone and others not, in any order. They are
 * certain to be useless, and go.
 *
 * A file that should be there and is not is damage like any other: its range is fetched from another replica.
 */
import { basename, dirname, join } from 'node:path'
import type { Disk } from '../platform/index.ts'
import { makeFolder } from './atomic-file.ts'
import type { Checkpoint, StoredShard } from './checkpoint-format.ts'
import { KEEP_THE_DIRECTORY, StorageError } from './errors.ts'
import type { StorageEvent } from './events.ts'
import { isNotEmpty, isNotFound } from './identity.ts'
import {
  cleanedIndexFile,
  cleanedSegmentFile,
  isOfCleanedSegment,
  isUnfinished,
  quarantineDirectory,
  segmentNumberIn,
  shardDirectory,
  shardIdIn,
  shardIndexFile,
  shardsDirectory,
} from './layout.ts'
import { call, type Procedure } from './procedure.ts'
import type { RecoveredShard } from './replay.ts'

export interface FoldersToTidy {
  readonly directory: string
  readonly checkpoint: Checkpoint
  readonly recovered: ReadonlyMap<number, RecoveredShard>
  /** Makes names in the quarantine unlike earlier ones. */
  readonly suffix: string
  /** There are other replicas, who give back what is missing. */
  readonly hasPeers: boolean
}

/** What there is of a shard's log, by the names of its files. */
export interface FoundLog {
  /** First indexes of the segments before the one in use. */
  readonly sealed: readonly number[]
  /** The checkpoint names a segment in use, and its file is not there. */
  readonly inUseMissing: boolean
  /** The checkpoint names a cleaned segment that is not there. */
  readonly cleanedMissing: string | null
}

/** Leaves of each shard what its log is made of, and answers what that is. */
export function* tidyShards(
  { directory, checkpoint, recovered, suffix, hasPeers }: FoldersToTidy,
  { disk, trace }: { disk: Disk; trace: (event: StorageEvent) => void },
): Procedure<Map<number, FoundLog>> {
  const logs = new Map<number, FoundLog>()
  const found = new Map<number, string[]>()
  for (const name of yield* namesIn(disk, shardsDirectory(directory))) {
    const shard = shardIdIn(name)
    if (shard !== null) found.set(shard, yield* namesIn(disk, shardDirectory(directory, shard)))
  }
  const cleanedMissing = new Map<number, string>()
  // Before anything is removed: a refusal says that nothing was changed.
  for (const [shard, stored] of checkpoint.shards) {
    const missing = missingCleaned(shardDirectory(directory, shard), stored, found.get(shard) ?? [])
    if (missing === null) continue
    cleanedMissing.set(shard, missing)
    if (hasPeers) continue
    throw new StorageError(
      { code: 'SHARD_LOG_MISSING', shard, file: missing, reason: 'there is no other replica' },
      `${missing}, a part of the log of shard ${shard}, is missing. ${KEEP_THE_DIRECTORY}`,
    )
  }
  for (const [shard, { log }] of checkpoint.shards) {
    if ((log === null && !cleanedMissing.has(shard)) || found.has(shard)) continue
    const folder = shardDirectory(directory, shard)
    yield* makeFolder(disk, folder)
    found.set(shard, [])
  }
  for (const [shard, names] of found) {
    const folder = shardDirectory(directory, shard)
    const known = recovered.get(shard)
    // Empty and unknown: a power loss brought the folder of a removed shard back, or came before its first file was named.
    if (checkpoint.removed.has(shard) || (names.length === 0 && known === undefined)) {
      yield* removeFiles(disk, folder, names)
      yield* removeFolder(disk, folder)
    } else if (names.length > 0 && (known === undefined || (known.checkpoint === null && known.entries.length === 0))) {
      const path = join(quarantineDirectory(directory), `${shard}-${suffix}`)
      yield* makeFolder(disk, quarantineDirectory(directory))
      yield* call<void>((done) => disk.rename(folder, path, done))
      yield* call<void>((done) => disk.syncDirectory(quarantineDirectory(directory), done))
      yield* call<void>((done) => disk.syncDirectory(shardsDirectory(directory), done))
      trace({ type: 'shard-quarantined', shard, path })
    } else {
      // Whoever made it may have ended before its name was durable, and nobody makes a folder that is there.
      if (names.length === 0) yield* makeFolder(disk, folder)
      const kept = keptSegments(checkpoint.shards.get(shard), names)
      const inUse = checkpoint.shards.get(shard)?.log?.firstIndex ?? 0
      // Ten thousand segments in one folder are not unusual.
      const isKept = new Set(kept)
      const indexInUse = basename(shardIndexFile(folder, inUse))
      const cleaned = cleanedNames(checkpoint.shards.get(shard))
      const useless = names.filter((name) => {
        // What no record names was being made, or was replaced.
        if (isOfCleanedSegment(name)) return !cleaned.has(name)
        if (isUnfinished(name)) return true
        const first = firstIndexIn(name)
        // An index beside the segment in use is from a life in which that one was left already.
        return first !== null && (!isKept.has(first) || name === indexInUse)
      })
      yield* removeFiles(disk, folder, useless)
      const sealed = kept.filter((first) => first !== inUse)
      const inUseMissing = inUse > 0 && !isKept.has(inUse)
      logs.set(shard, { sealed, inUseMissing, cleanedMissing: cleanedMissing.get(shard) ?? null })
    }
  }
  return logs
}

/** First indexes of the segments that the log is made of, ascending: from the one that holds the start to the one in use. */
function keptSegments(stored: StoredShard | undefined, names: readonly string[]): number[] {
  const inUse = stored?.log?.firstIndex ?? 0
  const firsts = names
    .map(segmentNumberIn)
    .filter((first) => first !== null)
    .filter((first) => first <= inUse)
    .sort((a, b) => a - b)
  const start = stored?.state.startIndex ?? 1
  return firsts.slice(
    Math.max(
      0,
      firsts.findLastIndex((first) => first <= start),
    ),
  )
}

/** Of the cleaned segments that the record names, and of the indexes beside them. */
function cleanedNames(stored: StoredShard | undefined): Set<string> {
  const names = new Set<string>()
  for (const { firstIndex, generation } of stored?.cleaned?.segments ?? []) {
    names.add(basename(cleanedSegmentFile('', firstIndex, generation)))
    names.add(basename(cleanedIndexFile('', firstIndex, generation)))
  }
  return names
}

function missingCleaned(folder: string, { cleaned }: StoredShard, names: readonly string[]): string | null {
  const there = new Set(names)
  for (const { firstIndex, generation } of cleaned?.segments ?? []) {
    const path = cleanedSegmentFile(folder, firstIndex, generation)
    if (!there.has(basename(path))) return path
  }
  return null
}

/** Those that are gone already are no failure: whoever removed them wanted the same. */
export function* removeFiles(disk: Disk, folder: string, names: readonly string[]): Procedure<void> {
  for (const name of names) {
    yield* call<void>((done) =>
      disk.remove(join(folder, name), (failure) => done(isNotFound(failure) ? null : failure)),
    )
  }
  if (names.length > 0) yield* call<void>((done) => disk.syncDirectory(folder, done))
}

/**
 * The folder of a shard that is no more. Its files' removal is synced before, and its own here; what somebody else has put there
 * stays, and the folder with it.
 */
export function* removeFolder(disk: Disk, folder: string): Procedure<void> {
  try {
    yield* call<void>((done) => disk.removeDirectory(folder, done))
  } catch (error) {
    if (isNotFound(error) || isNotEmpty(error)) return
    throw error
  }
  yield* call<void>((done) => disk.syncDirectory(dirname(folder), done))
}

export function* namesIn(disk: Disk, directory: string): Procedure<string[]> {
  try {
    return yield* call<string[]>((done) => disk.list(directory, done))
  } catch (error) {
    if (!isNotFound(error)) throw error
    return []
  }
}

/** Of a segment or of the index beside one. */
function firstIndexIn(name: string): number | null {
  return segmentNumberIn(name.replace(/\.index$/, '.log'))
}
