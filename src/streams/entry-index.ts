import type { Shard } from '../replication/index.ts'
import type { Entry } from '../storage/index.ts'

/**
 * The index of the committed entry that holds `offset`, or of the next one that is left where compaction has taken that out; behind
 * the last where `offset` is the high-water mark. From memory before this returns, or later from the disk. Null: the log was cut, or
 * cannot be read.
 */
export function indexOf(shard: Shard, offset: number, done: (index: number | null) => void): void {
  if (offset === shard.committedOffset) return done(shard.commitIndex + 1)
  const found = (error: Error | null, entries: readonly Entry[]): void => {
    const entry = entries.find(({ firstOffset, recordCount }) => firstOffset + recordCount > offset)
    done(error === null && entry !== undefined ? entry.index : null)
  }
  const entries = shard.readCommitted(offset, 1, found)
  if (entries !== null) found(null, entries)
}
