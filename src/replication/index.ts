/**
 * Agreement on the order: Raft as a pure state machine, the host that gives it a disk and a wire, and what a shard is to the
 * machines that follow its log.
 */
export type { Contact } from './contact.ts'
export { type Compaction, CutReason, decodeCompaction, decodeCut, encodeCompaction, encodeCut } from './cut.ts'
export type { Disks } from './disks.ts'
export { ReplicationError } from './errors.ts'
export type { RaftEvent } from './events.ts'
export { ReplicationHost } from './host.ts'
export type { HostEvent } from './host-events.ts'
export {
  HOST_DEFAULTS,
  type HostCollaborators,
  type HostOptions,
  type LogOffsets,
  type ShardSpec,
} from './host-options.ts'
export { KeyedMachine, type MutationOutcome, type ProposedChange } from './keyed-machine.ts'
export { LamportClock } from './lamport.ts'
export type { LowWaterMark, Pin } from './low-water-mark.ts'
export type * from './messages.ts'
export { Raft } from './raft.ts'
export { RaftLog } from './raft-log.ts'
export { Replica } from './replica.ts'
export { SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNK_BYTES_MAX, type SnapshotHead } from './snapshot.ts'
export type * from './state-machine.ts'
export type { Wire, WireEvents } from './wire.ts'
