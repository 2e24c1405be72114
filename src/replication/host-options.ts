/** What the host of a node's shards is made with, and what it is told of a shard. */
import type { Platform, PlatformError } from '../platform/index.ts'
import type { CleanedPart, Storage, StorageError, WantedPart } from '../storage/index.ts'
import type { Contact } from './contact.ts'
import type { Disks } from './disks.ts'
import type { RaftEvent } from './events.ts'
import type { HostEvent } from './host-events.ts'
import type { LamportClock } from './lamport.ts'
import type { NodeId, ShardId } from './messages.ts'
import type { Shard, Standing, StateMachine } from './state-machine.ts'
import type { Wire } from './wire.ts'

export interface HostOptions {
  readonly self: NodeId
  readonly electionTimeoutMs: number
  /** One tick of the shards that have no live leader. */
  readonly tickMs: number
  readonly electionTicksMin: number
  readonly electionTicksMax: number
  /** Appends sent to one follower of one shard and not yet acknowledged. */
  readonly inFlightBytesMax: number
  /** One append message. */
  readonly appendBytesMax: number
  /** Proposed and not yet committed, per shard. */
  readonly uncommittedBytesMax: number
  /** Handed to the journal and not yet synced, per node. */
  readonly journalQueueBytesMax: number
  /** Sent to one peer and not yet taken by it, over all shards, beyond which it is sent no entries. */
  readonly peerQueueBytesMax: number
  /** One read of a shard log for a follower that is far behind. */
  readonly catchUpBytes: number
  /** Entries that the shard logs hold already, kept in memory for those who read along, per node. */
  readonly tailCacheBytes: number
  /** A machine that can be cut by snapshot has its log's start moved up when the log has grown by this much. */
  readonly snapshotEveryBytes: number
  /** At every index that this divides, a replica tells the sum of its state, so that replicas can be compared; 0: never. */
  readonly stateSumEvery: number
  /** Entries below the cut's own place that stay in the log, for followers that are a little behind. */
  readonly snapshotKeepEntries: number
  /** One message of a snapshot on its way to a follower; one is out at a time. */
  readonly snapshotChunkBytes: number
}

export const HOST_DEFAULTS: Omit<HostOptions, 'self'> = {
  electionTimeoutMs: 1000,
  tickMs: 10,
  electionTicksMin: 20,
  electionTicksMax: 60,
  inFlightBytesMax: 8 << 20,
  appendBytesMax: 256 << 10,
  uncommittedBytesMax: 32 << 20,
  journalQueueBytesMax: 64 << 20,
  peerQueueBytesMax: 64 << 20,
  catchUpBytes: 1 << 20,
  tailCacheBytes: 32 << 20,
  snapshotEveryBytes: 4 << 20,
  stateSumEvery: 0,
  snapshotKeepEntries: 1000,
  snapshotChunkBytes: 128 << 10,
}

export interface HostCollaborators {
  readonly platform: Platform
  readonly storage: Storage
  readonly wire: Wire
  readonly contact: Contact
  /** All are well where nobody says otherwise. `disksChanged` when they say something else. */
  readonly disks?: Disks
  readonly lamport: LamportClock
  readonly trace: (event: RaftEvent | HostEvent) => void
  /** Role, term or leader of a shard changed here. */
  readonly standingChanged: (shard: ShardId, standing: Standing) => void
  /** A turn's work is done: what it had to say to peers and clients can leave. */
  readonly endOfTurn: () => void
  /** Followers push back too: while true, appends are left in the kernel's buffers. */
  readonly holdAppends: (hold: boolean) => void
  /**
   * Gets what compaction has left of a log below `floor` from another replica, for a follower that is placed there, however often it has
   * to be tried. `done` once it is on this disk, and never where it is not wanted any more. Without it no log is compacted.
   */
  readonly fetchCleaned?: (wanted: WantedPart, isWanted: () => boolean, done: (part: CleanedPart) => void) => void
  /** A read of a shard log failed in a way that leaves this node unfit. */
  readonly fatal: (error: StorageError | PlatformError) => void
}

export interface ShardSpec {
  readonly shard: ShardId
  readonly voters: readonly NodeId[]
  readonly learners: readonly NodeId[]
  readonly machine: (shard: Shard) => StateMachine
  /** Where the offsets of the shard's first log begin, the same on every replica; by default with 0. */
  readonly origin?: LogOffsets
}

export interface LogOffsets {
  /** Of the first entry. */
  readonly baseOffset: number
  /** The first that is shown; in the first entry that has records. */
  readonly startOffset: number
}
