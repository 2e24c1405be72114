/**
 * How far a group has read, for the group to resume from.
 *
 * - 2 to 4 carried a retention time, which the broker's own setting replaced in 5; 6 adds the leader epoch of the position.
 * - 7 adds static members; 8 is flexible; 9 is shared with the newer kind of groups, hence the double name of the generation.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const offsetCommitRequestPartition = {
  partitionIndex: { type: 'int32' },
  committedOffset: { type: 'int64' },
  committedLeaderEpoch: { type: 'int32', versions: '6+', default: -1 },
  committedMetadata: { type: 'string', nullable: '0+' },
} as const satisfies StructDefinition
export type OffsetCommitRequestPartition = StructOf<typeof offsetCommitRequestPartition>

export const offsetCommitRequestTopic = {
  name: { type: 'string' },
  partitions: { type: 'array', of: offsetCommitRequestPartition },
} as const satisfies StructDefinition
export type OffsetCommitRequestTopic = StructOf<typeof offsetCommitRequestTopic>

export const offsetCommitRequest = {
  name: 'OffsetCommitRequest',
  apiKey: 8,
  versions: '2-9',
  flexible: '8+',
  fields: {
    groupId: { type: 'string' },
    generationIdOrMemberEpoch: { type: 'int32', default: -1 },
    memberId: { type: 'string' },
    groupInstanceId: { type: 'string', versions: '7+', nullable: '7+', default: null },
    retentionTimeMs: { type: 'int64', versions: '2-4', default: -1 },
    topics: { type: 'array', of: offsetCommitRequestTopic },
  },
} as const satisfies MessageDefinition
export type OffsetCommitRequest = MessageOf<typeof offsetCommitRequest>
export type OffsetCommitRequestDraft = DraftOf<typeof offsetCommitRequest>

export const offsetCommitResponsePartition = {
  partitionIndex: { type: 'int32' },
  errorCode: { type: 'int16' },
} as const satisfies StructDefinition
export type OffsetCommitResponsePartition = StructOf<typeof offsetCommitResponsePartition>

export const offsetCommitResponseTopic = {
  name: { type: 'string' },
  partitions: { type: 'array', of: offsetCommitResponsePartition },
} as const satisfies StructDefinition
export type OffsetCommitResponseTopic = StructOf<typeof offsetCommitResponseTopic>

export const offsetCommitResponse = {
  name: 'OffsetCommitResponse',
  apiKey: 8,
  versions: '2-9',
  flexible: '8+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '3+' },
    topics: { type: 'array', of: offsetCommitResponseTopic },
  },
} as const satisfies MessageDefinition
export type OffsetCommitResponse = MessageOf<typeof offsetCommitResponse>
export type OffsetCommitResponseDraft = DraftOf<typeof offsetCommitResponse>
