/**
 * The brokers, the controller and the cluster's id, for administration. Flexible from the start.
 *
 * - 1 tells brokers from controllers, which a cluster may keep apart.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const describeClusterRequest = {
  name: 'DescribeClusterRequest',
  apiKey: 60,
  versions: '0-1',
  flexible: '0+',
  fields: {
    includeClusterAuthorizedOperations: { type: 'bool' },
    endpointType: { type: 'int8', versions: '1+', default: 1 },
  },
} as const satisfies MessageDefinition
export type DescribeClusterRequest = MessageOf<typeof describeClusterRequest>
export type DescribeClusterRequestDraft = DraftOf<typeof describeClusterRequest>

export const describeClusterBroker = {
  brokerId: { type: 'int32' },
  host: { type: 'string' },
  port: { type: 'int32' },
  rack: { type: 'string', nullable: '0+', default: null },
} as const satisfies StructDefinition
export type DescribeClusterBroker = StructOf<typeof describeClusterBroker>

export const describeClusterResponse = {
  name: 'DescribeClusterResponse',
  apiKey: 60,
  versions: '0-1',
  flexible: '0+',
  fields: {
    throttleTimeMs: { type: 'int32' },
    errorCode: { type: 'int16' },
    errorMessage: { type: 'string', nullable: '0+', default: null },
    endpointType: { type: 'int8', versions: '1+', default: 1 },
    clusterId: { type: 'string' },
    controllerId: { type: 'int32', default: -1 },
    brokers: { type: 'array', of: describeClusterBroker },
    clusterAuthorizedOperations: { type: 'int32', default: -2147483648 },
  },
} as const satisfies MessageDefinition
export type DescribeClusterResponse = MessageOf<typeof describeClusterResponse>
export type DescribeClusterResponseDraft = DraftOf<typeof describeClusterResponse>
