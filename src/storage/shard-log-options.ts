/** What a shard log is made of: its options, where it starts, and what it is handed. */
import type { ShardLogPosition } from './checkpoint-format.ts'
import type { CleanedPart } from './cleaned-part.ts'
import type { StorageError } from './errors.ts'
import type { CleanerCollaborators } from './log-cleaner.ts'
import type { LogStart } from './log-start.ts'
import type { Room } from './room.ts'

export interface ShardLogOptions {
  readonly shard: number
  /** The shard's folder. */
  readonly directory: string
  readonly segmentBytes: number
  readonly flushBytes: number
  /** What a cleaning's map of keys may take. */
  readonly cleaningMapBytes: number
  /** Where damaged files go. */
  readonly quarantine: string
}

export interface ShardLogCollaborators extends CleanerCollaborators {
  readonly room: Room
  readonly fatal: (error: StorageError) => void
  /** So many more bytes are buffered (or fewer); true while the sum over all shards is above its limit. */
  readonly buffered: (bytes: number) => boolean
  /** `Random.below`. */
  readonly below: (bound: number) => number
  /** There is something to repair that was not known before. */
  readonly damageFound: (shard: number) => void
}

/** What the checkpoint says of the log; the journal has what comes after. */
export interface ShardLogStart {
  readonly start: LogStart
  /** The segment in use; null when there are no files. */
  readonly position: ShardLogPosition | null
  /** First indexes of the segments before that one. */
  readonly sealed: readonly number[]
  /** Its file is not there. */
  readonly inUseMissing: boolean
  /** Of the checkpoint's state: where the log ends when there are no files. */
  readonly index: number
  /** What compaction has left of what lies before the start. */
  readonly cleaned: CleanedPart | null
  /** A file of that is not there. */
  readonly cleanedMissing: string | null
}

export const EMPTY_LOG: ShardLogStart = {
  start: { index: 1, offset: 0 },
  position: null,
  sealed: [],
  inUseMissing: false,
  index: 0,
  cleaned: null,
  cleanedMissing: null,
}
