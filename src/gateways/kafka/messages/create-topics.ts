/**
 * Creates topics, each with a result of its own.
 *
 * - 1 adds error messages and the dry run; 4 lets −1 stand for the broker's default counts.
 * - 5 is flexible and answers with the topic's counts and configuration; 7 with its id.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const creatableReplicaAssignment = {
  partitionIndex: { type: 'int32' },
  brokerIds: { type: 'array', of: 'int32' },
} as const satisfies StructDefinition
export type CreatableReplicaAssignment = StructOf<typeof creatableReplicaAssignment>

export const creatableTopicConfig = {
  name: { type: 'string' },
  value: { type: 'string', nullable: '0+' },
} as const satisfies StructDefinition
export type CreatableTopicConfig = StructOf<typeof creatableTopicConfig>

export const creatableTopic = {
  name: { type: 'string' },
  numPartitions: { type: 'int32' },
  replicationFactor: { type: 'int16' },
  assignments: { type: 'array', of: creatableReplicaAssignment },
  configs: { type: 'array', of: creatableTopicConfig },
} as const satisfies StructDefinition
export type CreatableTopic = StructOf<typeof creatableTopic>

export const createTopicsRequest = {
  name: 'CreateTopicsRequest',
  apiKey: 19,
  versions: '0-7',
  flexible: '5+',
  fields: {
    topics: { type: 'array', of: creatableTopic },
    timeoutMs: { type: 'int32', default: 60000 },
    validateOnly: { type: 'bool', versions: '1+', default: false },
  },
} as const satisfies MessageDefinition
export type CreateTopicsRequest = MessageOf<typeof createTopicsRequest>
export type CreateTopicsRequestDraft = DraftOf<typeof createTopicsRequest>

export const creatableTopicConfigs = {
  name: { type: 'string' },
  value: { type: 'string', nullable: '5+' },
  readOnly: { type: 'bool' },
  configSource: { type: 'int8', default: -1 },
  isSensitive: { type: 'bool' },
} as const satisfies StructDefinition
export type CreatableTopicConfigs = StructOf<typeof creatableTopicConfigs>

export const creatableTopicResult = {
  name: { type: 'string' },
  topicId: { type: 'uuid', versions: '7+' },
  errorCode: { type: 'int16' },
  errorMessage: { type: 'string', versions: '1+', nullable: '0+' },
  topicConfigErrorCode: { type: 'int16', versions: '5+', tag: 0 },
  numPartitions: { type: 'int32', versions: '5+', default: -1 },
  replicationFactor: { type: 'int16', versions: '5+', default: -1 },
  configs: { type: 'array', of: creatableTopicConfigs, versions: '5+', nullable: '5+' },
} as const satisfies StructDefinition
export type CreatableTopicResult = StructOf<typeof creatableTopicResult>

export const createTopicsResponse = {
  name: 'CreateTopicsResponse',
  apiKey: 19,
  versions: '0-7',
  flexible: '5+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '2+' },
    topics: { type: 'array', of: creatableTopicResult },
  },
} as const satisfies MessageDefinition
export type CreateTopicsResponse = MessageOf<typeof createTopicsResponse>
export type CreateTopicsResponseDraft = DraftOf<typeof createTopicsResponse>
