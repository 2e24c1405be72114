/** What the storage layer does, for metrics, the page and the checkers. */
export type StorageEvent =
  /** A block is on the disk: `microseconds` from the start of its write to the end of its sync. */
  | { type: 'journal-synced'; blocks: number; bytes: number; entries: number; microseconds: number; sequence: number }
  | { type: 'segment-prepared'; number: number; bytes: number; recycled: boolean; milliseconds: number }
  /** The disk has no room for the next segment; the present one grows meanwhile. */
  | { type: 'segment-not-prepared'; number: number; reason: string }
  /** There is no room for this background work: it waits, and is tried again. */
  | { type: 'disk-full'; work: string; reason: string }
  /** Less is left than must always be writable: until there is more, records are refused. `freeBytes` null: unknown, yet full. */
  | { type: 'disk-low'; freeBytes: number | null; reserveBytes: number }
  | { type: 'disk-ample'; freeBytes: number | null; reserveBytes: number }
  /** A journal write has not come back for so long: until it does, this node leads nothing. */
  | { type: 'disk-stuck'; milliseconds: number }
  | { type: 'disk-answers'; milliseconds: number }
  | { type: 'segment-entered'; number: number; firstSequence: number }
  | { type: 'segments-freed'; numbers: number[]; recycled: number }
  | { type: 'checkpointed'; shards: number; captured: number; bytes: number; journalFrom: number; milliseconds: number }
  | { type: 'shard-log-written'; shard: number; bytes: number; entries: number; writtenIndex: number }
  | { type: 'shard-segment-sealed'; shard: number; firstIndex: number; lastIndex: number; bytes: number }
  /** Segments that lie wholly below the log's start, which is now at `firstIndex`, are going. */
  | { type: 'shard-log-cut'; shard: number; firstIndex: number; segments: number }
  /** What compaction had left at another replica is this one's, and readers see it. */
  | { type: 'cleaned-part-adopted'; shard: number; firstIndex: number; segments: number; bytes: number }
  /** What lies below `firstIndex` is in cleaned segments, which the checkpoint names. */
  | {
      type: 'shard-log-cleaned'
      shard: number
      firstIndex: number
      segments: number
      bytes: number
      /** In both passes together. */
      bytesRead: number
      recordsKept: number
      recordsDropped: number
      milliseconds: number
    }
  /** Nothing has changed; it is tried again. */
  | { type: 'shard-cleaning-failed'; shard: number; reason: string }
  | { type: 'snapshot-installed'; shard: number; index: number; bytes: number; milliseconds: number }
  | { type: 'shard-removed'; shard: number }
  | { type: 'shard-quarantined'; shard: number; path: string }
  /** A range of a shard's log is not what was written. It is repaired from another replica as soon as one gives it. */
  | { type: 'shard-log-damaged'; shard: number; file: string; position: number; reason: string }
  /** It is whole again; `quarantined` names where the damaged file went, null: there was none. */
  | {
      type: 'shard-log-repaired'
      shard: number
      file: string
      firstIndex: number
      lastIndex: number
      bytes: number
      quarantined: string | null
    }
  /**
   * A file of which this node has all that was in it, a copy or its memory, or which it can make anew: written again.
   * `quarantined` names where the damaged bytes are; null: there were none, or they were kept often enough.
   */
  | { type: 'file-repaired'; file: string; reason: string; quarantined: string | null }
  /** What was damaged could not be put right here: of every shard only the checkpoint is left, and all recover from `term` on. */
  | { type: 'directory-reset'; reason: string; quarantined: string; term: number }
  /** The scrubber has been through all files. */
  | { type: 'scrubbed'; files: number; bytes: number }
  | {
      type: 'recovery-done'
      fresh: boolean
      segments: number
      blocks: number
      entries: number
      bytes: number
      shards: number
      /** Label of the row that decided where the journal ends. */
      ending: string
      milliseconds: number
    }
  /** The node must stop: the same error goes to `fatal`. */
  | { type: 'storage-failed'; code: string; message: string }
