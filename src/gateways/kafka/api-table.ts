/**
 * Every API this gateway speaks: its key, its two messages, and the versions it offers.
 *
 * The ranges are what ApiVersions advertises. They are as wide as real clients need, which is wider than one would
 * guess: librdkafka before 2.9 looks for exact low versions and, where it misses one, silently does without the feature
 * that it stands for (compression, for one, hangs on Produce 0 and FindCoordinator 0). So Produce 0–2 is advertised, as
 * Kafka 4 does, although what those versions carry, record batches older than version 2, is refused.
 *
 * Transactions, SASL and access lists are not offered yet, so their keys are absent here, and a client is told so the way
 * Kafka tells it: by not finding them in the list.
 */
import { Codec } from './codec.ts'
import { type MessageDefinition, parseVersions } from './message-definition.ts'
import { alterConfigsRequest, alterConfigsResponse } from './messages/alter-configs.ts'
import { apiVersionsRequest, apiVersionsResponse } from './messages/api-versions.ts'
import { createTopicsRequest, createTopicsResponse } from './messages/create-topics.ts'
import { deleteGroupsRequest, deleteGroupsResponse } from './messages/delete-groups.ts'
import { deleteRecordsRequest, deleteRecordsResponse } from './messages/delete-records.ts'
import { deleteTopicsRequest, deleteTopicsResponse } from './messages/delete-topics.ts'
import { describeClusterRequest, describeClusterResponse } from './messages/describe-cluster.ts'
import { describeConfigsRequest, describeConfigsResponse } from './messages/describe-configs.ts'
import { describeGroupsRequest, describeGroupsResponse } from './messages/describe-groups.ts'
import { fetchRequest, fetchResponse } from './messages/fetch.ts'
import { findCoordinatorRequest, findCoordinatorResponse } from './messages/find-coordinator.ts'
import { heartbeatRequest, heartbeatResponse } from './messages/heartbeat.ts'
import { holdLogRequest, holdLogResponse } from './messages/hold-log.ts'
import {
  incrementalAlterConfigsRequest,
  incrementalAlterConfigsResponse,
} from './messages/incremental-alter-configs.ts'
import { initProducerIdRequest, initProducerIdResponse } from './messages/init-producer-id.ts'
import { joinGroupRequest, joinGroupResponse } from './messages/join-group.ts'
import { leaveGroupRequest, leaveGroupResponse } from './messages/leave-group.ts'
import { listGroupsRequest, listGroupsResponse } from './messages/list-groups.ts'
import { listOffsetsRequest, listOffsetsResponse } from './messages/list-offsets.ts'
import { metadataRequest, metadataResponse } from './messages/metadata.ts'
import { offsetCommitRequest, offsetCommitResponse } from './messages/offset-commit.ts'
import { offsetFetchRequest, offsetFetchResponse } from './messages/offset-fetch.ts'
import { offsetForLeaderEpochRequest, offsetForLeaderEpochResponse } from './messages/offset-for-leader-epoch.ts'
import { produceRequest, produceResponse } from './messages/produce.ts'
import {
  finishRestoreRequest,
  finishRestoreResponse,
  restoreRecordsRequest,
  restoreRecordsResponse,
  restoreTopicsRequest,
  restoreTopicsResponse,
} from './messages/restore.ts'
import { syncGroupRequest, syncGroupResponse } from './messages/sync-group.ts'

export interface Api<Q extends MessageDefinition = MessageDefinition, R extends MessageDefinition = MessageDefinition> {
  readonly name: string
  readonly apiKey: number
  readonly request: Codec<Q>
  readonly response: Codec<R>
  /** What ApiVersions says. */
  readonly minVersion: number
  readonly maxVersion: number
  /** Below it the version is advertised and refused. */
  readonly minServedVersion: number
  /** From here on headers and bodies have compact lengths and tagged sections. */
  readonly flexibleFrom: number
}

function api<Q extends MessageDefinition, R extends MessageDefinition>(
  name: string,
  request: Q,
  response: R,
  minServedVersion = 0,
): Api<Q, R> {
  const { first, last } = parseVersions(request.versions)
  return {
    name,
    apiKey: request.apiKey,
    request: new Codec(request),
    response: new Codec(response),
    minVersion: first,
    maxVersion: last,
    minServedVersion: Math.max(first, minServedVersion),
    flexibleFrom: parseVersions(request.flexible).first,
  }
}

export const apis = {
  produce: api('Produce', produceRequest, produceResponse, 3),
  fetch: api('Fetch', fetchRequest, fetchResponse),
  listOffsets: api('ListOffsets', listOffsetsRequest, listOffsetsResponse),
  metadata: api('Metadata', metadataRequest, metadataResponse),
  offsetCommit: api('OffsetCommit', offsetCommitRequest, offsetCommitResponse),
  offsetFetch: api('OffsetFetch', offsetFetchRequest, offsetFetchResponse),
  findCoordinator: api('FindCoordinator', findCoordinatorRequest, findCoordinatorResponse),
  joinGroup: api('JoinGroup', joinGroupRequest, joinGroupResponse),
  heartbeat: api('Heartbeat', heartbeatRequest, heartbeatResponse),
  leaveGroup: api('LeaveGroup', leaveGroupRequest, leaveGroupResponse),
  syncGroup: api('SyncGroup', syncGroupRequest, syncGroupResponse),
  describeGroups: api('DescribeGroups', describeGroupsRequest, describeGroupsResponse),
  listGroups: api('ListGroups', listGroupsRequest, listGroupsResponse),
  apiVersions: api('ApiVersions', apiVersionsRequest, apiVersionsResponse),
  createTopics: api('CreateTopics', createTopicsRequest, createTopicsResponse),
  deleteTopics: api('DeleteTopics', deleteTopicsRequest, deleteTopicsResponse),
  deleteRecords: api('DeleteRecords', deleteRecordsRequest, deleteRecordsResponse),
  initProducerId: api('InitProducerId', initProducerIdRequest, initProducerIdResponse),
  offsetForLeaderEpoch: api('OffsetForLeaderEpoch', offsetForLeaderEpochRequest, offsetForLeaderEpochResponse),
  describeConfigs: api('DescribeConfigs', describeConfigsRequest, describeConfigsResponse),
  alterConfigs: api('AlterConfigs', alterConfigsRequest, alterConfigsResponse),
  deleteGroups: api('DeleteGroups', deleteGroupsRequest, deleteGroupsResponse),
  incrementalAlterConfigs: api(
    'IncrementalAlterConfigs',
    incrementalAlterConfigsRequest,
    incrementalAlterConfigsResponse,
  ),
  describeCluster: api('DescribeCluster', describeClusterRequest, describeClusterResponse),
  restoreTopics: api('RestoreTopics', restoreTopicsRequest, restoreTopicsResponse),
  restoreRecords: api('RestoreRecords', restoreRecordsRequest, restoreRecordsResponse),
  finishRestore: api('FinishRestore', finishRestoreRequest, finishRestoreResponse),
  holdLog: api('HoldLog', holdLogRequest, holdLogResponse),
} as const

/** From here on keys are our own; Kafka's stay below. */
export const OWN_API_KEYS_FROM = 1000

export type ApiName = keyof typeof apis
/** One of ours, whichever it is; `name` tells in switches, `apis.x` gives the typed one. */
export type AnyApi = (typeof apis)[ApiName]

const BY_KEY: readonly (AnyApi | undefined)[] = (() => {
  const byKey: (AnyApi | undefined)[] = []
  for (const each of Object.values(apis)) byKey[each.apiKey] = each
  return Array.from(byKey)
})()

export function apiByKey(apiKey: number): AnyApi | undefined {
  return BY_KEY[apiKey]
}

/** In the order of the keys, as ApiVersions lists them: Kafka's alone. */
export function advertisedApis(): { apiKey: number; minVersion: number; maxVersion: number }[] {
  return BY_KEY.filter((each) => each !== undefined)
    .filter(({ apiKey }) => apiKey < OWN_API_KEYS_FROM)
    .map(({ apiKey, minVersion, maxVersion }) => ({ apiKey, minVersion, maxVersion }))
}
