/**
 * Record batches out of partitions, as a long poll.
 *
 * - 4 carries record batches of version 2, the isolation level, and the aborted transactions a reader must skip.
 * - 5 adds the log's start; 7 sessions, which let a request name only what changed (KIP-227); 9 the leader epoch the client
 *   believes in, so that a stale one is found out; 11 the client's rack.
 * - 12 is flexible and can say where the logs diverged; 13 names topics by id; 15 moves the follower's id to a tagged field;
 *   16 adds the addresses of leaders that moved (KIP-951).
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const replicaState = {
  replicaId: { type: 'int32', default: -1 },
  replicaEpoch: { type: 'int64', default: -1 },
} as const satisfies StructDefinition
export type ReplicaState = StructOf<typeof replicaState>

export const fetchPartition = {
  partition: { type: 'int32' },
  currentLeaderEpoch: { type: 'int32', versions: '9+', default: -1 },
  fetchOffset: { type: 'int64' },
  lastFetchedEpoch: { type: 'int32', versions: '12+', default: -1 },
  logStartOffset: { type: 'int64', versions: '5+', default: -1 },
  partitionMaxBytes: { type: 'int32' },
} as const satisfies StructDefinition
export type FetchPartition = StructOf<typeof fetchPartition>

export const fetchTopic = {
  topic: { type: 'string', versions: '0-12' },
  topicId: { type: 'uuid', versions: '13+' },
  partitions: { type: 'array', of: fetchPartition },
} as const satisfies StructDefinition
export type FetchTopic = StructOf<typeof fetchTopic>

export const forgottenTopic = {
  topic: { type: 'string', versions: '7-12' },
  topicId: { type: 'uuid', versions: '13+' },
  partitions: { type: 'array', of: 'int32' },
} as const satisfies StructDefinition
export type ForgottenTopic = StructOf<typeof forgottenTopic>

export const fetchRequest = {
  name: 'FetchRequest',
  apiKey: 1,
  versions: '4-16',
  flexible: '12+',
  fields: {
    clusterId: { type: 'string', versions: '12+', nullable: '12+', tag: 0, default: null },
    replicaId: { type: 'int32', versions: '0-14', default: -1 },
    replicaState: { type: 'struct', of: replicaState, versions: '15+', tag: 1 },
    maxWaitMs: { type: 'int32' },
    minBytes: { type: 'int32' },
    maxBytes: { type: 'int32', default: 0x7fff_ffff },
    isolationLevel: { type: 'int8', default: 0 },
    sessionId: { type: 'int32', versions: '7+', default: 0 },
    sessionEpoch: { type: 'int32', versions: '7+', default: -1 },
    topics: { type: 'array', of: fetchTopic },
    forgottenTopicsData: { type: 'array', of: forgottenTopic, versions: '7+' },
    rackId: { type: 'string', versions: '11+', default: '' },
  },
} as const satisfies MessageDefinition
export type FetchRequest = MessageOf<typeof fetchRequest>
export type FetchRequestDraft = DraftOf<typeof fetchRequest>

export const epochEndOffset = {
  epoch: { type: 'int32', default: -1 },
  endOffset: { type: 'int64', default: -1 },
} as const satisfies StructDefinition
export type EpochEndOffset = StructOf<typeof epochEndOffset>

export const leaderIdAndEpoch = {
  leaderId: { type: 'int32', default: -1 },
  leaderEpoch: { type: 'int32', default: -1 },
} as const satisfies StructDefinition
export type LeaderIdAndEpoch = StructOf<typeof leaderIdAndEpoch>

export const snapshotId = {
  endOffset: { type: 'int64', default: -1 },
  epoch: { type: 'int32', default: -1 },
} as const satisfies StructDefinition
export type SnapshotId = StructOf<typeof snapshotId>

export const abortedTransaction = {
  producerId: { type: 'int64' },
  firstOffset: { type: 'int64' },
} as const satisfies StructDefinition
export type AbortedTransaction = StructOf<typeof abortedTransaction>

export const partitionData = {
  partitionIndex: { type: 'int32' },
  errorCode: { type: 'int16' },
  highWatermark: { type: 'int64' },
  lastStableOffset: { type: 'int64', default: -1 },
  logStartOffset: { type: 'int64', versions: '5+', default: -1 },
  divergingEpoch: { type: 'struct', of: epochEndOffset, versions: '12+', tag: 0 },
  currentLeader: { type: 'struct', of: leaderIdAndEpoch, versions: '12+', tag: 1 },
  snapshotId: { type: 'struct', of: snapshotId, versions: '12+', tag: 2 },
  abortedTransactions: { type: 'array', of: abortedTransaction, nullable: '4+' },
  preferredReadReplica: { type: 'int32', versions: '11+', default: -1 },
  records: { type: 'records', nullable: '0+' },
} as const satisfies StructDefinition
export type PartitionData = StructOf<typeof partitionData>

export const fetchableTopicResponse = {
  topic: { type: 'string', versions: '0-12' },
  topicId: { type: 'uuid', versions: '13+' },
  partitions: { type: 'array', of: partitionData },
} as const satisfies StructDefinition
export type FetchableTopicResponse = StructOf<typeof fetchableTopicResponse>

export const nodeEndpoint = {
  nodeId: { type: 'int32' },
  host: { type: 'string' },
  port: { type: 'int32' },
  rack: { type: 'string', nullable: '16+', default: null },
} as const satisfies StructDefinition
export type NodeEndpoint = StructOf<typeof nodeEndpoint>

export const fetchResponse = {
  name: 'FetchResponse',
  apiKey: 1,
  versions: '4-16',
  flexible: '12+',
  fields: {
    throttleTimeMs: { type: 'int32' },
    errorCode: { type: 'int16', versions: '7+' },
    sessionId: { type: 'int32', versions: '7+', default: 0 },
    responses: { type: 'array', of: fetchableTopicResponse },
    nodeEndpoints: { type: 'array', of: nodeEndpoint, versions: '16+', tag: 0 },
  },
} as const satisfies MessageDefinition
export type FetchResponse = MessageOf<typeof fetchResponse>
export type FetchResponseDraft = DraftOf<typeof fetchResponse>
