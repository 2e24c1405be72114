/**
 * The offset at a time, or at the start or end of a partition.
 *
 * - 0 asked for several offsets at once and got a list: the only version with `maxNumOffsets` and `oldStyleOffsets`.
 * - 1 answers with one offset and its timestamp; 2 adds the isolation level; 4 leader epochs; 6 is flexible.
 * - 7 and 8 allow more special timestamps: −3 the largest timestamp, −4 the earliest local offset.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const listOffsetsPartition = {
  partitionIndex: { type: 'int32' },
  currentLeaderEpoch: { type: 'int32', versions: '4+', default: -1 },
  timestamp: { type: 'int64' },
  maxNumOffsets: { type: 'int32', versions: '0', default: 1 },
} as const satisfies StructDefinition
export type ListOffsetsPartition = StructOf<typeof listOffsetsPartition>

export const listOffsetsTopic = {
  name: { type: 'string' },
  partitions: { type: 'array', of: listOffsetsPartition },
} as const satisfies StructDefinition
export type ListOffsetsTopic = StructOf<typeof listOffsetsTopic>

export const listOffsetsRequest = {
  name: 'ListOffsetsRequest',
  apiKey: 2,
  versions: '0-8',
  flexible: '6+',
  fields: {
    replicaId: { type: 'int32' },
    isolationLevel: { type: 'int8', versions: '2+' },
    topics: { type: 'array', of: listOffsetsTopic },
  },
} as const satisfies MessageDefinition
export type ListOffsetsRequest = MessageOf<typeof listOffsetsRequest>
export type ListOffsetsRequestDraft = DraftOf<typeof listOffsetsRequest>

export const listOffsetsPartitionResponse = {
  partitionIndex: { type: 'int32' },
  errorCode: { type: 'int16' },
  oldStyleOffsets: { type: 'array', of: 'int64', versions: '0' },
  timestamp: { type: 'int64', versions: '1+', default: -1 },
  offset: { type: 'int64', versions: '1+', default: -1 },
  leaderEpoch: { type: 'int32', versions: '4+', default: -1 },
} as const satisfies StructDefinition
export type ListOffsetsPartitionResponse = StructOf<typeof listOffsetsPartitionResponse>

export const listOffsetsTopicResponse = {
  name: { type: 'string' },
  partitions: { type: 'array', of: listOffsetsPartitionResponse },
} as const satisfies StructDefinition
export type ListOffsetsTopicResponse = StructOf<typeof listOffsetsTopicResponse>

export const listOffsetsResponse = {
  name: 'ListOffsetsResponse',
  apiKey: 2,
  versions: '0-8',
  flexible: '6+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '2+' },
    topics: { type: 'array', of: listOffsetsTopicResponse },
  },
} as const satisfies MessageDefinition
export type ListOffsetsResponse = MessageOf<typeof listOffsetsResponse>
export type ListOffsetsResponseDraft = DraftOf<typeof listOffsetsResponse>
