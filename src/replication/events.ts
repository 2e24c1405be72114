/** What happens inside replication, for whoever wants to count, draw or check it. */
import type { ReplicationError } from './errors.ts'
import type { NodeId, ShardId } from './messages.ts'
import type { Role } from './state-machine.ts'

export type StepDownReason =
  /** A quorum has not answered heartbeats for an election timeout. */
  | 'quorum-silent'
  /** Somebody is in a higher term. */
  | 'higher-term'
  /** Leadership was handed to another node. */
  | 'transferred'
  /** This node was asked to. */
  | 'asked'
  /** This node's disk does not answer. */
  | 'disk-stuck'

export type RaftEvent =
  /** This replica has everything again that can have been committed with its help: from here on it is a voter like the others. */
  | { readonly type: 'replica-recovered'; readonly shard: ShardId; readonly term: number; readonly index: number }
  | {
      readonly type: 'standing-changed'
      readonly shard: ShardId
      readonly role: Role
      readonly term: number
      readonly leader: NodeId | null
    }
  | {
      readonly type: 'campaign-started'
      readonly shard: ShardId
      readonly term: number
      readonly phase: 'pre-vote' | 'vote'
    }
  | {
      readonly type: 'leader-stepped-down'
      readonly shard: ShardId
      readonly term: number
      readonly reason: StepDownReason
    }
  | {
      readonly type: 'log-truncated'
      readonly shard: ShardId
      readonly term: number
      readonly fromIndex: number
      readonly lastIndex: number
    }
  /** Another replica is not in a state that a correct replica can be in. */
  | { readonly type: 'replica-suspect'; readonly shard: ShardId; readonly error: ReplicationError }
