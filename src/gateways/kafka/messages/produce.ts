/**
 * Record batches into partitions: with Fetch the one message that has to be fast.
 *
 * - 3 carries record batches of version 2 and a transactional id. What 0 to 2 carry is older; they are offered because old
 *   clients look for them, and refused.
 * - 5 answers with the log's start; 7 allows zstd; 8 tells which records of a batch are at fault.
 * - 9 is flexible; 10 names the present leader where the request missed it, with its address (KIP-951); 11 allows one more error.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const partitionProduceData = {
  index: { type: 'int32' },
  records: { type: 'records', nullable: '0+' },
} as const satisfies StructDefinition
export type PartitionProduceData = StructOf<typeof partitionProduceData>

export const topicProduceData = {
  name: { type: 'string' },
  partitionData: { type: 'array', of: partitionProduceData },
} as const satisfies StructDefinition
export type TopicProduceData = StructOf<typeof topicProduceData>

export const produceRequest = {
  name: 'ProduceRequest',
  apiKey: 0,
  versions: '0-11',
  flexible: '9+',
  fields: {
    transactionalId: { type: 'string', versions: '3+', nullable: '3+', default: null },
    acks: { type: 'int16' },
    timeoutMs: { type: 'int32' },
    topicData: { type: 'array', of: topicProduceData },
  },
} as const satisfies MessageDefinition
export type ProduceRequest = MessageOf<typeof produceRequest>
export type ProduceRequestDraft = DraftOf<typeof produceRequest>

export const batchIndexAndErrorMessage = {
  batchIndex: { type: 'int32' },
  batchIndexErrorMessage: { type: 'string', nullable: '8+', default: null },
} as const satisfies StructDefinition
export type BatchIndexAndErrorMessage = StructOf<typeof batchIndexAndErrorMessage>

export const leaderIdAndEpoch = {
  leaderId: { type: 'int32', default: -1 },
  leaderEpoch: { type: 'int32', default: -1 },
} as const satisfies StructDefinition
export type LeaderIdAndEpoch = StructOf<typeof leaderIdAndEpoch>

export const partitionProduceResponse = {
  index: { type: 'int32' },
  errorCode: { type: 'int16' },
  baseOffset: { type: 'int64' },
  logAppendTimeMs: { type: 'int64', versions: '2+', default: -1 },
  logStartOffset: { type: 'int64', versions: '5+', default: -1 },
  recordErrors: { type: 'array', of: batchIndexAndErrorMessage, versions: '8+' },
  errorMessage: { type: 'string', versions: '8+', nullable: '8+', default: null },
  currentLeader: { type: 'struct', of: leaderIdAndEpoch, versions: '10+', tag: 0 },
} as const satisfies StructDefinition
export type PartitionProduceResponse = StructOf<typeof partitionProduceResponse>

export const topicProduceResponse = {
  name: { type: 'string' },
  partitionResponses: { type: 'array', of: partitionProduceResponse },
} as const satisfies StructDefinition
export type TopicProduceResponse = StructOf<typeof topicProduceResponse>

export const nodeEndpoint = {
  nodeId: { type: 'int32' },
  host: { type: 'string' },
  port: { type: 'int32' },
  rack: { type: 'string', nullable: '10+', default: null },
} as const satisfies StructDefinition
export type NodeEndpoint = StructOf<typeof nodeEndpoint>

export const produceResponse = {
  name: 'ProduceResponse',
  apiKey: 0,
  versions: '0-11',
  flexible: '9+',
  fields: {
    responses: { type: 'array', of: topicProduceResponse },
    throttleTimeMs: { type: 'int32', versions: '1+', default: 0 },
    nodeEndpoints: { type: 'array', of: nodeEndpoint, versions: '10+', tag: 0 },
  },
} as const satisfies MessageDefinition
export type ProduceResponse = MessageOf<typeof produceResponse>
export type ProduceResponseDraft = DraftOf<typeof produceResponse>
