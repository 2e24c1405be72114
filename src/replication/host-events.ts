import type { ShardId } from './messages.ts'

/** What the driver sees happen, beside Raft's own events. */
export type HostEvent =
  /** The high-water mark moved here. `offset`: of the first record that may not be shown. */
  | {
      readonly type: 'committed'
      readonly shard: ShardId
      readonly term: number
      readonly index: number
      readonly offset: number
      readonly entries: number
    }
  /**
   * This node's journal holds the shard's present log up to `index`, synced. `term` is that of the entry at `index`, so it
   * says which log (log matching, Raft §5.3). Void from `fromIndex` on after a `log-truncated`.
   */
  | { readonly type: 'journaled'; readonly shard: ShardId; readonly term: number; readonly index: number }
