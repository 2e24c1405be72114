/**
 * Every message of the replication protocol, one union. The envelope (from, to, Lamport stamp, incarnations) belongs to the
 * wire. `term` is the sender's, except in `pre-vote`, where it is the term the sender would campaign in.
 */
import type { Entry } from '../storage/index.ts'
import type { SnapshotHead } from './snapshot.ts'

export type NodeId = number
export type ShardId = number

export type Message =
  /** Raft thesis §9.6: would you vote for me? Changes nothing at the receiver. */
  | {
      readonly type: 'pre-vote'
      readonly shard: ShardId
      readonly term: number
      readonly lastIndex: number
      readonly lastTerm: number
    }
  | { readonly type: 'pre-vote-reply'; readonly shard: ShardId; readonly term: number; readonly granted: boolean }
  /** `transfer`: the leader itself asked for this campaign, so leader stickiness does not apply (thesis §3.10). */
  | {
      readonly type: 'vote'
      readonly shard: ShardId
      readonly term: number
      readonly lastIndex: number
      readonly lastTerm: number
      readonly transfer: boolean
    }
  | { readonly type: 'vote-reply'; readonly shard: ShardId; readonly term: number; readonly granted: boolean }
  | {
      readonly type: 'append'
      readonly shard: ShardId
      readonly term: number
      readonly previousIndex: number
      readonly previousTerm: number
      readonly commit: number
      readonly entries: readonly Entry[]
    }
  /**
   * `received`: in the follower's memory. `journaled`: synced there; only this counts for the high-water mark. Both are only
   * claimed for entries known to match this leader's log.
   * A rejection names the follower's last possible match, so that a leader skips a whole diverging term at once (§5.3).
   */
  | {
      readonly type: 'append-reply'
      readonly shard: ShardId
      readonly term: number
      readonly received: number
      readonly journaled: number
      readonly rejected: AppendRejection | null
    }
  /**
   * Bytes `at` and following of a snapshot's body, for a replica that needs what is below the log's start. One is out at a time;
   * after the last one, the receiver's next `append-reply` says that the snapshot is installed.
   */
  | {
      readonly type: 'snapshot'
      readonly shard: ShardId
      readonly term: number
      readonly head: SnapshotHead
      readonly at: number
      readonly chunk: Buffer
    }
  /** Of the body of the snapshot at `index`, `received` bytes from its start are here, in memory. */
  | {
      readonly type: 'snapshot-reply'
      readonly shard: ShardId
      readonly term: number
      readonly index: number
      readonly received: number
    }
  /** I led this shard in `term` and no longer do: do not wait for my beats to stop. */
  | { readonly type: 'step-down'; readonly shard: ShardId; readonly term: number }
  /**
   * To the leader I followed: I have taken a higher term. Sent before any later beat reply on the same connection, so that a
   * beat never counts for a shard whose follower has moved on (design §7). Also to whoever sends as the leader of an earlier term.
   */
  | { readonly type: 'moved'; readonly shard: ShardId; readonly term: number }
  /** Leadership transfer: campaign at once (thesis §3.10, TimeoutNow). */
  | { readonly type: 'campaign-now'; readonly shard: ShardId; readonly term: number }

export interface AppendRejection {
  /** `previousIndex` of the append that did not fit. */
  readonly previousIndex: number
  /** The highest index at which the logs may agree, and this replica's term there. */
  readonly hintIndex: number
  readonly hintTerm: number
}

export interface Outgoing {
  readonly to: NodeId
  readonly message: Message
}
