/**
 * Which brokers there are, which topics, and who leads each partition.
 *
 * - 0: an empty list of topics means all; from 1 on null means all and empty means none.
 * - 1 adds racks, the controller and the internal flag; 2 the cluster's id; 3 the throttle time.
 * - 4 lets the client say whether asking for a missing topic creates it (before, it always did).
 * - 5 adds replicas that are offline; 7 the leader's epoch; 8 the authorized operations as a bit set.
 * - 9 is flexible; 10 adds topic ids; 12 asks by topic id, where the name may then be null.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const metadataRequestTopic = {
  topicId: { type: 'uuid', versions: '10+' },
  name: { type: 'string', nullable: '10+' },
} as const satisfies StructDefinition
export type MetadataRequestTopic = StructOf<typeof metadataRequestTopic>

export const metadataRequest = {
  name: 'MetadataRequest',
  apiKey: 3,
  versions: '0-12',
  flexible: '9+',
  fields: {
    topics: { type: 'array', of: metadataRequestTopic, nullable: '1+' },
    allowAutoTopicCreation: { type: 'bool', versions: '4+', default: true },
    includeClusterAuthorizedOperations: { type: 'bool', versions: '8-10' },
    includeTopicAuthorizedOperations: { type: 'bool', versions: '8+' },
  },
} as const satisfies MessageDefinition
export type MetadataRequest = MessageOf<typeof metadataRequest>
export type MetadataRequestDraft = DraftOf<typeof metadataRequest>

export const metadataResponseBroker = {
  nodeId: { type: 'int32' },
  host: { type: 'string' },
  port: { type: 'int32' },
  rack: { type: 'string', versions: '1+', nullable: '1+', default: null },
} as const satisfies StructDefinition
export type MetadataResponseBroker = StructOf<typeof metadataResponseBroker>

export const metadataResponsePartition = {
  errorCode: { type: 'int16' },
  partitionIndex: { type: 'int32' },
  leaderId: { type: 'int32' },
  leaderEpoch: { type: 'int32', versions: '7+', default: -1 },
  replicaNodes: { type: 'array', of: 'int32' },
  isrNodes: { type: 'array', of: 'int32' },
  offlineReplicas: { type: 'array', of: 'int32', versions: '5+' },
} as const satisfies StructDefinition
export type MetadataResponsePartition = StructOf<typeof metadataResponsePartition>

export const metadataResponseTopic = {
  errorCode: { type: 'int16' },
  name: { type: 'string', nullable: '12+' },
  topicId: { type: 'uuid', versions: '10+' },
  isInternal: { type: 'bool', versions: '1+', default: false },
  partitions: { type: 'array', of: metadataResponsePartition },
  topicAuthorizedOperations: { type: 'int32', versions: '8+', default: -2147483648 },
} as const satisfies StructDefinition
export type MetadataResponseTopic = StructOf<typeof metadataResponseTopic>

export const metadataResponse = {
  name: 'MetadataResponse',
  apiKey: 3,
  versions: '0-12',
  flexible: '9+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '3+' },
    brokers: { type: 'array', of: metadataResponseBroker },
    clusterId: { type: 'string', versions: '2+', nullable: '2+', default: null },
    controllerId: { type: 'int32', versions: '1+', default: -1 },
    topics: { type: 'array', of: metadataResponseTopic },
    clusterAuthorizedOperations: { type: 'int32', versions: '8-10', default: -2147483648 },
  },
} as const satisfies MessageDefinition
export type MetadataResponse = MessageOf<typeof metadataResponse>
export type MetadataResponseDraft = DraftOf<typeof metadataResponse>
