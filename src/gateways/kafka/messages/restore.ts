/**
 * How `tidemark restore` fills a cluster: messages of our own, under keys far above Kafka's, which ApiVersions does not list.
 *
 * Produce cannot do it: it numbers batches itself, and holds them against the producers that it knows
 * (docs/decisions/0005-backup.md).
 */
import type { MessageDefinition, MessageOf, StructDefinition } from '../message-definition.ts'

export const restoredPartition = {
  baseOffset: { type: 'int64' },
  startOffset: { type: 'int64' },
  endOffset: { type: 'int64' },
} as const satisfies StructDefinition

export const restoreTopic = {
  name: { type: 'string' },
  replicationFactor: { type: 'int16' },
  configs: { type: 'array', of: { name: { type: 'string' }, value: { type: 'string' } } },
  partitions: { type: 'array', of: restoredPartition },
} as const satisfies StructDefinition

/** Creates topics that only a restore sees. One that exists and is being restored from the same offsets is no error. */
export const restoreTopicsRequest = {
  name: 'RestoreTopicsRequest',
  apiKey: 1000,
  versions: '0',
  flexible: '0+',
  fields: { topics: { type: 'array', of: restoreTopic }, validateOnly: { type: 'bool' } },
} as const satisfies MessageDefinition
export type RestoreTopicsRequest = MessageOf<typeof restoreTopicsRequest>

export const restoredTopic = {
  name: { type: 'string' },
  topicId: { type: 'uuid' },
  errorCode: { type: 'int16' },
  errorMessage: { type: 'string', nullable: '0+' },
} as const satisfies StructDefinition

export const restoreTopicsResponse = {
  name: 'RestoreTopicsResponse',
  apiKey: 1000,
  versions: '0',
  flexible: '0+',
  fields: { topics: { type: 'array', of: restoredTopic } },
} as const satisfies MessageDefinition

/** Appends batches as they are at the offsets that they have; without any, asks where the partition goes on. */
export const restoreRecordsRequest = {
  name: 'RestoreRecordsRequest',
  apiKey: 1001,
  versions: '0',
  flexible: '0+',
  fields: {
    name: { type: 'string' },
    topicId: { type: 'uuid' },
    partitionIndex: { type: 'int32' },
    records: { type: 'records' },
  },
} as const satisfies MessageDefinition
export type RestoreRecordsRequest = MessageOf<typeof restoreRecordsRequest>

export const restoreRecordsResponse = {
  name: 'RestoreRecordsResponse',
  apiKey: 1001,
  versions: '0',
  flexible: '0+',
  fields: {
    errorCode: { type: 'int16' },
    errorMessage: { type: 'string', nullable: '0+' },
    /** After the last committed record; −1 where this node does not lead. */
    endOffset: { type: 'int64' },
  },
} as const satisfies MessageDefinition

/** Opens the topics to everybody. */
export const finishRestoreRequest = {
  name: 'FinishRestoreRequest',
  apiKey: 1002,
  versions: '0',
  flexible: '0+',
  fields: { topics: { type: 'array', of: { name: { type: 'string' }, topicId: { type: 'uuid' } } } },
} as const satisfies MessageDefinition
export type FinishRestoreRequest = MessageOf<typeof finishRestoreRequest>

export const finishRestoreResponse = {
  name: 'FinishRestoreResponse',
  apiKey: 1002,
  versions: '0',
  flexible: '0+',
  fields: { topics: { type: 'array', of: restoredTopic } },
} as const satisfies MessageDefinition
