/**
 * Where a leader epoch ended in this partition's log: how a consumer finds out that its log was truncated (KIP-320).
 *
 * - 2 adds the epoch that the client believes to be current; 3 the id of the asker; 4 is flexible.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const offsetForLeaderPartition = {
  partition: { type: 'int32' },
  currentLeaderEpoch: { type: 'int32', default: -1 },
  leaderEpoch: { type: 'int32' },
} as const satisfies StructDefinition
export type OffsetForLeaderPartition = StructOf<typeof offsetForLeaderPartition>

export const offsetForLeaderTopic = {
  topic: { type: 'string' },
  partitions: { type: 'array', of: offsetForLeaderPartition },
} as const satisfies StructDefinition
export type OffsetForLeaderTopic = StructOf<typeof offsetForLeaderTopic>

export const offsetForLeaderEpochRequest = {
  name: 'OffsetForLeaderEpochRequest',
  apiKey: 23,
  versions: '2-4',
  flexible: '4+',
  fields: {
    replicaId: { type: 'int32', versions: '3+', default: -2 },
    topics: { type: 'array', of: offsetForLeaderTopic },
  },
} as const satisfies MessageDefinition
export type OffsetForLeaderEpochRequest = MessageOf<typeof offsetForLeaderEpochRequest>
export type OffsetForLeaderEpochRequestDraft = DraftOf<typeof offsetForLeaderEpochRequest>

export const epochEndOffset = {
  errorCode: { type: 'int16' },
  partition: { type: 'int32' },
  leaderEpoch: { type: 'int32', default: -1 },
  endOffset: { type: 'int64', default: -1 },
} as const satisfies StructDefinition
export type EpochEndOffset = StructOf<typeof epochEndOffset>

export const offsetForLeaderTopicResult = {
  topic: { type: 'string' },
  partitions: { type: 'array', of: epochEndOffset },
} as const satisfies StructDefinition
export type OffsetForLeaderTopicResult = StructOf<typeof offsetForLeaderTopicResult>

export const offsetForLeaderEpochResponse = {
  name: 'OffsetForLeaderEpochResponse',
  apiKey: 23,
  versions: '2-4',
  flexible: '4+',
  fields: {
    throttleTimeMs: { type: 'int32' },
    topics: { type: 'array', of: offsetForLeaderTopicResult },
  },
} as const satisfies MessageDefinition
export type OffsetForLeaderEpochResponse = MessageOf<typeof offsetForLeaderEpochResponse>
export type OffsetForLeaderEpochResponseDraft = DraftOf<typeof offsetForLeaderEpochResponse>
