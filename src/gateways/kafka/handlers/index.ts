/** What is done for each API: a function of the gateway's context, the exchange to settle, and the decoded request. */
import type { ApiName } from '../api-table.ts'
import type { Exchange } from '../exchange.ts'
import { alterConfigs, incrementalAlterConfigs } from './alter-configs.ts'
import { apiVersions, describeCluster, initProducerId } from './cluster.ts'
import type { HandlerContext } from './context.ts'
import { deleteRecords } from './delete-records.ts'
import { fetch } from './fetch.ts'
import { findCoordinator } from './find-coordinator.ts'
import {
  deleteGroups,
  describeGroups,
  heartbeat,
  joinGroup,
  leaveGroup,
  listGroups,
  offsetCommit,
  offsetFetch,
  syncGroup,
} from './groups.ts'
import { holdLog } from './hold-log.ts'
import { metadata } from './metadata.ts'
import { listOffsets, offsetForLeaderEpoch } from './offsets.ts'
import { produce } from './produce.ts'
import { finishRestore, restoreRecords, restoreTopics } from './restore.ts'
import { createTopics, deleteTopics, describeConfigs } from './topics.ts'

export type { HandlerContext } from './context.ts'

type AnyHandler = (context: HandlerContext, exchange: Exchange, request: never) => void

/** One handler per API of the table; the compiler sees to it that none is missing. */
export const HANDLERS: Readonly<Record<ApiName, AnyHandler>> = {
  alterConfigs: alterConfigs as AnyHandler,
  apiVersions: apiVersions as AnyHandler,
  createTopics: createTopics as AnyHandler,
  deleteGroups: deleteGroups as AnyHandler,
  deleteRecords: deleteRecords as AnyHandler,
  deleteTopics: deleteTopics as AnyHandler,
  describeCluster: describeCluster as AnyHandler,
  describeConfigs: describeConfigs as AnyHandler,
  describeGroups: describeGroups as AnyHandler,
  fetch: fetch as AnyHandler,
  findCoordinator: findCoordinator as AnyHandler,
  heartbeat: heartbeat as AnyHandler,
  holdLog: holdLog as AnyHandler,
  incrementalAlterConfigs: incrementalAlterConfigs as AnyHandler,
  initProducerId: initProducerId as AnyHandler,
  joinGroup: joinGroup as AnyHandler,
  leaveGroup: leaveGroup as AnyHandler,
  listGroups: listGroups as AnyHandler,
  listOffsets: listOffsets as AnyHandler,
  metadata: metadata as AnyHandler,
  offsetCommit: offsetCommit as AnyHandler,
  offsetFetch: offsetFetch as AnyHandler,
  offsetForLeaderEpoch: offsetForLeaderEpoch as AnyHandler,
  produce: produce as AnyHandler,
  restoreRecords: restoreRecords as AnyHandler,
  restoreTopics: restoreTopics as AnyHandler,
  finishRestore: finishRestore as AnyHandler,
  syncGroup: syncGroup as AnyHandler,
}
