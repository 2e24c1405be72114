/**
 * Moves the start of partitions' logs up: records below an offset are gone from then on.
 *
 * - 2 is flexible; versions do not differ otherwise.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const deleteRecordsPartition = {
  partitionIndex: { type: 'int32' },
  offset: { type: 'int64' },
} as const satisfies StructDefinition
export type DeleteRecordsPartition = StructOf<typeof deleteRecordsPartition>

export const deleteRecordsTopic = {
  name: { type: 'string' },
  partitions: { type: 'array', of: deleteRecordsPartition },
} as const satisfies StructDefinition
export type DeleteRecordsTopic = StructOf<typeof deleteRecordsTopic>

export const deleteRecordsRequest = {
  name: 'DeleteRecordsRequest',
  apiKey: 21,
  versions: '0-2',
  flexible: '2+',
  fields: {
    topics: { type: 'array', of: deleteRecordsTopic },
    timeoutMs: { type: 'int32' },
  },
} as const satisfies MessageDefinition
export type DeleteRecordsRequest = MessageOf<typeof deleteRecordsRequest>
export type DeleteRecordsRequestDraft = DraftOf<typeof deleteRecordsRequest>

export const deleteRecordsPartitionResult = {
  partitionIndex: { type: 'int32' },
  lowWatermark: { type: 'int64' },
  errorCode: { type: 'int16' },
} as const satisfies StructDefinition
export type DeleteRecordsPartitionResult = StructOf<typeof deleteRecordsPartitionResult>

export const deleteRecordsTopicResult = {
  name: { type: 'string' },
  partitions: { type: 'array', of: deleteRecordsPartitionResult },
} as const satisfies StructDefinition
export type DeleteRecordsTopicResult = StructOf<typeof deleteRecordsTopicResult>

export const deleteRecordsResponse = {
  name: 'DeleteRecordsResponse',
  apiKey: 21,
  versions: '0-2',
  flexible: '2+',
  fields: {
    throttleTimeMs: { type: 'int32' },
    topics: { type: 'array', of: deleteRecordsTopicResult },
  },
} as const satisfies MessageDefinition
export type DeleteRecordsResponse = MessageOf<typeof deleteRecordsResponse>
export type DeleteRecordsResponseDraft = DraftOf<typeof deleteRecordsResponse>
