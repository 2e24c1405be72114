/** What a replica is made with, and what it hands to its host at the end of a turn. */
import type { PlatformError } from '../platform/index.ts'
import type { Entry, ShardCheckpoint, ShardLog, StorageError } from '../storage/index.ts'
import type { CutOptions } from './cut.ts'
import type { HostEvent } from './host-events.ts'
import type { LamportClock } from './lamport.ts'
import type { NodeId, ShardId } from './messages.ts'
import type { Raft } from './raft.ts'
import type { Replica } from './replica.ts'
import type { Snapshot } from './snapshot.ts'
import type { Standing } from './state-machine.ts'
import type { Wire } from './wire.ts'

export interface ReplicaCollaborators {
  readonly raft: Raft
  readonly shardLog: ShardLog
  readonly lamport: LamportClock
  readonly wire: Wire
  readonly trace: (event: HostEvent) => void
  /** Puts this replica on the list of the turn in progress. */
  readonly schedule: (replica: Replica) => void
  readonly standingChanged: (replica: Replica, standing: Standing) => void
  /** False while the node as a whole must not take more. */
  readonly nodeHasRoom: () => boolean
  /** Why the node takes no records for this shard now. */
  readonly refusal: (replica: Replica) => string | null
  /** Somebody waits for this replica's room: `offerRoom` when there is some. */
  readonly awaitsRoom: (replica: Replica) => void
  readonly storageFailed: (error: StorageError | PlatformError) => void
  /** A read met damage in the shard's log. */
  readonly logDamaged: (replica: Replica) => void
  /** `catchUpBytes` are read for this follower; what comes of it is sent. */
  readonly readBegun: (peer: NodeId) => void
  readonly readEnded: (peer: NodeId) => void
  /** A read of it failed because the process has no file, or no memory, left: it may be tried again soon. */
  readonly logUnread: (replica: Replica) => void
  readonly chance: (site: string) => boolean
  /** It has everything again: a checkpoint is to say so. */
  readonly recovered: () => void
  /** `done` is not called once this replica is gone. */
  readonly installSnapshot: (replica: Replica, checkpoint: ShardCheckpoint, done: () => void) => void
}

export interface ReplicaOptions {
  readonly shard: ShardId
  readonly self: NodeId
  /** Entries proposed and not yet committed may take this many bytes before `hasRoom` turns false. */
  readonly uncommittedBytesMax: number
  /** One read of the shard log for a follower that is far behind. */
  readonly catchUpBytes: number
  /** What the shard log holds may stay in memory for those who read along, up to this much. */
  readonly tailCacheBytes: number
  readonly cut: CutOptions
  readonly stateSumEvery: number
  /** Where the offsets of a log without any entry begin. */
  readonly baseOffset: number
}

/** What one turn wants written: filled by `turn`, taken by the host. */
export interface JournalBatch {
  readonly entries: Entry[]
  readonly persists: { readonly replica: Replica; readonly sequence: number }[]
  /** To be begun after the entries are handed over: what was appended before does not count beside a snapshot. */
  readonly installs: { readonly replica: Replica; readonly snapshot: Snapshot }[]
}
