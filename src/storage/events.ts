/** What the storage layer does, for metrics, the page and the checkers. */
export type StorageEvent =
  /** A block is on the disk: `microseconds` from the start of its write to the end of its sync. */
  | { type: 'JournalSynced'; blocks: number; bytes: number; entries: number; microseconds: number; sequence: number }
  | { type: 'SegmentPrepared'; number: number; bytes: number; recycled: boolean; milliseconds: number }
  /** The disk has no room for the next segment; the present one grows meanwhile. */
  | { type: 'SegmentNotPrepared'; number: number; reason: string }
  | { type: 'SegmentEntered'; number: number; firstSequence: number }
  | { type: 'SegmentsFreed'; numbers: number[]; recycled: number }
  | { type: 'Checkpointed'; shards: number; captured: number; bytes: number; journalFrom: number; milliseconds: number }
  | { type: 'ShardLogWritten'; shard: number; bytes: number; entries: number; writtenIndex: number }
  | { type: 'ShardSegmentSealed'; shard: number; firstIndex: number; lastIndex: number; bytes: number }
  | { type: 'ShardRemoved'; shard: number }
  | { type: 'ShardQuarantined'; shard: number; path: string }
  | {
      type: 'RecoveryDone'
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
  | { type: 'StorageFailed'; code: string; message: string }
