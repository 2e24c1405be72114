import type { NodeId, ShardId } from './messages.ts'

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
  /** The machine's state right after the entry at `index`: equal on all replicas, or one of them is wrong. */
  | { readonly type: 'state-summed'; readonly shard: ShardId; readonly index: number; readonly sum: number }
  /**
   * This node's journal holds the shard's present log up to `index`, synced. `term` is that of the entry at `index`, so it
   * says which log (log matching, Raft §5.3). Void from `fromIndex` on after a `log-truncated`.
   */
  | { readonly type: 'journaled'; readonly shard: ShardId; readonly term: number; readonly index: number }
  /** A process begins with this replica: the term it stands in and its vote in that term (0: none), as recovered. */
  | { readonly type: 'replica-opened'; readonly shard: ShardId; readonly term: number; readonly vote: NodeId }
  /** Another node is told of this node's vote: from here on it must never be given to anybody else. */
  | { readonly type: 'vote-told'; readonly shard: ShardId; readonly term: number; readonly vote: NodeId }
  /** The log starts at `index` and `offset` from now on, here. `reason`: a `CutReason`, null for an unknown one. */
  | {
      readonly type: 'log-cut'
      readonly shard: ShardId
      readonly index: number
      readonly offset: number
      readonly reason: number | null
    }
  /** Leader: for followers that are behind the log's start. */
  | { readonly type: 'snapshot-taken'; readonly shard: ShardId; readonly index: number; readonly bytes: number }
  /** The state up to `index` came from the leader and is on this node's disk; the log goes on after it. */
  | {
      readonly type: 'snapshot-applied'
      readonly shard: ShardId
      readonly term: number
      readonly index: number
      readonly offset: number
      readonly bytes: number
    }
