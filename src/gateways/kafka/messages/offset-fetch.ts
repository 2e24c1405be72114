/**
 * What a group has committed.
 *
 * - 2 allows null for all topics, and an error for the whole group; 5 adds leader epochs; 6 is flexible; 7 can refuse to
 *   answer with offsets of a transaction that is still open.
 * - 8 asks for many groups at once, in lists of their own; 9 adds member ids of the newer kind of groups.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const offsetFetchRequestTopic = {
  name: { type: 'string' },
  partitionIndexes: { type: 'array', of: 'int32' },
} as const satisfies StructDefinition
export type OffsetFetchRequestTopic = StructOf<typeof offsetFetchRequestTopic>

export const offsetFetchRequestTopics = {
  name: { type: 'string' },
  partitionIndexes: { type: 'array', of: 'int32' },
} as const satisfies StructDefinition
export type OffsetFetchRequestTopics = StructOf<typeof offsetFetchRequestTopics>

export const offsetFetchRequestGroup = {
  groupId: { type: 'string' },
  memberId: { type: 'string', versions: '9+', nullable: '9+', default: null },
  memberEpoch: { type: 'int32', versions: '9+', default: -1 },
  topics: { type: 'array', of: offsetFetchRequestTopics, nullable: '8+' },
} as const satisfies StructDefinition
export type OffsetFetchRequestGroup = StructOf<typeof offsetFetchRequestGroup>

export const offsetFetchRequest = {
  name: 'OffsetFetchRequest',
  apiKey: 9,
  versions: '1-9',
  flexible: '6+',
  fields: {
    groupId: { type: 'string', versions: '0-7' },
    topics: { type: 'array', of: offsetFetchRequestTopic, versions: '0-7', nullable: '2-7' },
    groups: { type: 'array', of: offsetFetchRequestGroup, versions: '8+' },
    requireStable: { type: 'bool', versions: '7+', default: false },
  },
} as const satisfies MessageDefinition
export type OffsetFetchRequest = MessageOf<typeof offsetFetchRequest>
export type OffsetFetchRequestDraft = DraftOf<typeof offsetFetchRequest>

export const offsetFetchResponsePartition = {
  partitionIndex: { type: 'int32' },
  committedOffset: { type: 'int64' },
  committedLeaderEpoch: { type: 'int32', versions: '5-7', default: -1 },
  metadata: { type: 'string', nullable: '0-7' },
  errorCode: { type: 'int16' },
} as const satisfies StructDefinition
export type OffsetFetchResponsePartition = StructOf<typeof offsetFetchResponsePartition>

export const offsetFetchResponseTopic = {
  name: { type: 'string' },
  partitions: { type: 'array', of: offsetFetchResponsePartition },
} as const satisfies StructDefinition
export type OffsetFetchResponseTopic = StructOf<typeof offsetFetchResponseTopic>

export const offsetFetchResponsePartitions = {
  partitionIndex: { type: 'int32' },
  committedOffset: { type: 'int64' },
  committedLeaderEpoch: { type: 'int32', default: -1 },
  metadata: { type: 'string', nullable: '8+' },
  errorCode: { type: 'int16' },
} as const satisfies StructDefinition
export type OffsetFetchResponsePartitions = StructOf<typeof offsetFetchResponsePartitions>

export const offsetFetchResponseTopics = {
  name: { type: 'string' },
  partitions: { type: 'array', of: offsetFetchResponsePartitions },
} as const satisfies StructDefinition
export type OffsetFetchResponseTopics = StructOf<typeof offsetFetchResponseTopics>

export const offsetFetchResponseGroup = {
  groupId: { type: 'string' },
  topics: { type: 'array', of: offsetFetchResponseTopics },
  errorCode: { type: 'int16', default: 0 },
} as const satisfies StructDefinition
export type OffsetFetchResponseGroup = StructOf<typeof offsetFetchResponseGroup>

export const offsetFetchResponse = {
  name: 'OffsetFetchResponse',
  apiKey: 9,
  versions: '1-9',
  flexible: '6+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '3+' },
    topics: { type: 'array', of: offsetFetchResponseTopic, versions: '0-7' },
    errorCode: { type: 'int16', versions: '2-7', default: 0 },
    groups: { type: 'array', of: offsetFetchResponseGroup, versions: '8+' },
  },
} as const satisfies MessageDefinition
export type OffsetFetchResponse = MessageOf<typeof offsetFetchResponse>
export type OffsetFetchResponseDraft = DraftOf<typeof offsetFetchResponse>
