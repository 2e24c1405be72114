/** What replication finds wrong with what another replica sent: our own faults are assertions instead. */
import { TypedError } from '../stdx/index.ts'
import type { NodeId, ShardId } from './messages.ts'

export type ReplicationFailure =
  /** Two logs hold different entries under the same term and index. No correct leader and no correct disk does that. */
  | {
      code: 'CHAIN_MISMATCH'
      shard: ShardId
      from: NodeId
      term: number
      index: number
      expectedCrc: number
      foundCrc: number
    }
  /** An append whose entries do not follow one another, or belong to another shard. */
  | { code: 'APPEND_MALFORMED'; shard: ShardId; from: NodeId; previousIndex: number; index: number }
  /** All chunks of a snapshot have arrived, and they are not what its sender summed. */
  | { code: 'SNAPSHOT_DAMAGED'; shard: ShardId; from: NodeId; index: number }
  /** A replica no longer holds what it had acknowledged as journaled. */
  | { code: 'ACKNOWLEDGED_ENTRIES_MISSING'; shard: ShardId; node: NodeId; acknowledged: number; held: number }

/** What one replica finds wrong with another. Handled: the node at fault gets nothing more, the others go on. */
export class ReplicationError extends TypedError<ReplicationFailure> {}
