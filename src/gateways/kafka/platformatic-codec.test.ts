/**
 * Our codec against the one inside @platformatic/kafka, in every version it has. Its modules are no entry points of the
 * package, hence the import by file.
 */
import { deepStrictEqual, ok } from 'node:assert'
import { describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { type AnyApi, apis } from './api-table.ts'
import { versionsOf } from './codec.fuzz.ts'
import { ZERO_UUID } from './message-definition.ts'
import {
  everyValueArrived,
  list,
  type Overrides,
  requestOf,
  responseOf,
  sameBytes,
  sample,
  type Tree,
} from './test-messages.ts'

interface PlatformaticApi {
  readonly path: string
  readonly arguments: (m: Tree, version: number) => unknown[]
  /** What they cannot choose in a request, and what they do not look at in a response. */
  readonly request?: (version: number) => Overrides
  readonly response?: Overrides
}

const hyphenated = (id: unknown): string => String(id).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
const big = (value: unknown): bigint => BigInt(Number(value))
const ONE_GROUP = (m: Tree): object[] => [{ groupId: m.groupId, topics: m.topics }]

const PLATFORMATIC: Partial<Record<keyof typeof apis, PlatformaticApi>> = {
  apiVersions: {
    path: 'metadata/api-versions',
    arguments: (m) => [m.clientSoftwareName, m.clientSoftwareVersion],
    // With an error they expect the answer to an unknown version, and stop.
    response: { errorCode: 0 },
  },
  metadata: {
    path: 'metadata/metadata',
    request: (version) => (version < 12 ? { topicId: ZERO_UUID } : {}),
    arguments: (m, version) => [
      list(m.topics).map((t: Tree) => (version < 12 ? t.name : { topicId: hyphenated(t.topicId), name: t.name })),
      m.allowAutoTopicCreation,
      m.includeTopicAuthorizedOperations,
      m.includeClusterAuthorizedOperations,
    ],
  },
  findCoordinator: {
    path: 'metadata/find-coordinator',
    arguments: (m, version) => [m.keyType, version < 4 ? [m.key] : m.coordinatorKeys],
  },
  createTopics: {
    path: 'admin/create-topics',
    response: { topicConfigErrorCode: 0 },
    arguments: (m) => [m.topics, m.timeoutMs, m.validateOnly],
  },
  deleteTopics: {
    path: 'admin/delete-topics',
    arguments: (m, version) => [
      version < 6
        ? list(m.topicNames).map((name: unknown) => ({ name }))
        : list(m.topics).map((t: Tree) => ({ name: t.name, topicId: hyphenated(t.topicId) })),
      m.timeoutMs,
    ],
  },
  listGroups: {
    path: 'admin/list-groups',
    request: () => ({ statesFilter: ['Stable'], typesFilter: ['classic'] }),
    arguments: () => [['STABLE'], ['classic']],
  },
  describeGroups: { path: 'admin/describe-groups', arguments: (m) => [m.groups, m.includeAuthorizedOperations] },
  describeConfigs: {
    path: 'admin/describe-configs',
    arguments: (m) => [m.resources, m.includeSynonyms, m.includeDocumentation],
  },
  describeCluster: {
    path: 'admin/describe-cluster',
    arguments: (m) => [m.includeClusterAuthorizedOperations, m.endpointType],
  },
  deleteGroups: { path: 'admin/delete-groups', arguments: (m) => [m.groupsNames] },
  fetch: {
    path: 'consumer/fetch',
    request: () => ({
      replicaId: -1,
      logStartOffset: -1,
      lastFetchedEpoch: -1,
      clusterId: 'default',
      replicaState: 'default',
    }),
    arguments: (m, version) => {
      const id = (t: Tree): unknown => (version < 13 ? t.topic : hyphenated(t.topicId))
      const partition = (p: Tree): object => ({ ...p, fetchOffset: big(p.fetchOffset) })
      const topics = list(m.topics).map((t: Tree) => ({
        topicId: id(t),
        partitions: list(t.partitions).map(partition),
      }))
      const forgotten = list(m.forgottenTopicsData).map((t: Tree) => ({ topicId: id(t), partitions: t.partitions }))
      const { maxWaitMs, minBytes, maxBytes, isolationLevel, sessionId, sessionEpoch, rackId } = m
      return [maxWaitMs, minBytes, maxBytes, isolationLevel, sessionId, sessionEpoch, topics, forgotten, rackId]
    },
  },
  listOffsets: {
    path: 'consumer/list-offsets',
    request: () => ({ maxNumOffsets: 1 }),
    response: { oldStyleOffsets: [4711] },
    arguments: (m) => {
      const partition = (p: Tree): object => ({ ...p, timestamp: big(p.timestamp) })
      const topics = list(m.topics).map((t: Tree) => ({
        ...t,
        partitions: list(t.partitions).map(partition),
      }))
      return [m.replicaId, m.isolationLevel, topics]
    },
  },
  offsetForLeaderEpoch: {
    path: 'consumer/offset-for-leader-epoch',
    arguments: (m) => {
      const partition = (p: Tree): object => ({ ...p, partitionIndex: p.partition })
      const topics = list(m.topics).map((t: Tree) => ({
        name: t.topic,
        partitions: list(t.partitions).map(partition),
      }))
      return [m.replicaId, topics]
    },
  },
  joinGroup: {
    path: 'consumer/join-group',
    arguments: (m) => {
      const {
        groupId,
        sessionTimeoutMs,
        rebalanceTimeoutMs,
        memberId,
        groupInstanceId,
        protocolType,
        protocols,
        reason,
      } = m
      return [groupId, sessionTimeoutMs, rebalanceTimeoutMs, memberId, groupInstanceId, protocolType, protocols, reason]
    },
  },
  syncGroup: {
    path: 'consumer/sync-group',
    arguments: (m) => {
      const { groupId, generationId, memberId, groupInstanceId, protocolType, protocolName, assignments } = m
      return [groupId, generationId, memberId, groupInstanceId, protocolType, protocolName, assignments]
    },
  },
  heartbeat: {
    path: 'consumer/heartbeat',
    arguments: (m) => [m.groupId, m.generationId, m.memberId, m.groupInstanceId],
  },
  leaveGroup: {
    path: 'consumer/leave-group',
    arguments: (m, version) => [m.groupId, version < 3 ? [{ memberId: m.memberId }] : m.members],
  },
  offsetCommit: {
    path: 'consumer/offset-commit',
    request: () => ({ retentionTimeMs: -1 }),
    arguments: (m) => {
      const partition = (p: Tree): object => ({ ...p, committedOffset: big(p.committedOffset) })
      const topics = list(m.topics).map((t: Tree) => ({
        ...t,
        partitions: list(t.partitions).map(partition),
      }))
      return [m.groupId, m.generationIdOrMemberEpoch, m.memberId, m.groupInstanceId, topics]
    },
  },
  offsetFetch: {
    path: 'consumer/offset-fetch',
    arguments: (m, version) => [version < 8 ? ONE_GROUP(m) : m.groups, m.requireStable],
  },
  initProducerId: {
    path: 'producer/init-producer-id',
    arguments: (m) => [m.transactionalId, m.transactionTimeoutMs, big(m.producerId), m.producerEpoch],
  },
}

describe('the codec of @platformatic/kafka', async () => {
  const dist = pathToFileURL(`${process.cwd()}/node_modules/plt-kafka-2.12/dist/`).href
  const { Reader } = await import(`${dist}protocol/reader.js`)

  /** Its parsers throw when they see an error code, with the response on the error. */
  const parse = (
    theirs: { parseResponse(...all: unknown[]): unknown },
    api: AnyApi,
    version: number,
    bytes: Buffer,
  ): unknown => {
    const reader = Reader.from(bytes)
    let response: unknown
    try {
      response = theirs.parseResponse(1, api.apiKey, version, reader)
    } catch (error) {
      response = (error as { response?: unknown }).response
      if (response === undefined) throw error
    }
    deepStrictEqual(reader.remaining, 0, `${api.name} v${version}: bytes they did not read`)
    return response
  }

  for (const [key, other] of Object.entries(PLATFORMATIC)) {
    const api = apis[key as keyof typeof apis]
    test(`${api.name} v${api.minVersion} to v${api.maxVersion}`, async () => {
      for (const version of versionsOf(requestOf(api))) {
        const theirs = await import(`${dist}apis/${other.path}-v${version}.js`)
        const message = sample(requestOf(api).definition, version, other.request?.(version))
        sameBytes(requestOf(api), version, message, theirs.createRequest(...other.arguments(message, version)).buffer)
        const answer = sample(responseOf(api).definition, version, { records: null, ...other.response })
        const bytes = responseOf(api).encodeToBuffer(answer as never, version)
        everyValueArrived(responseOf(api), version, answer, parse(theirs, api, version, bytes))
      }
    })
  }

  test('Produce v3 to v11: they build the batch, we read the request around it', async () => {
    for (let version = apis.produce.minServedVersion; version <= apis.produce.maxVersion; version++) {
      const theirs = await import(`${dist}apis/producer/produce-v${version}.js`)
      const messages = [
        { topic: 'orders', partition: 3, key: Buffer.from('k'), value: Buffer.from('v'), timestamp: 5n },
      ]
      const bytes: Buffer = theirs.createRequest(-1, 77, messages, {}).buffer
      const message = apis.produce.request.decodeFrom(bytes, version)
      deepStrictEqual(apis.produce.request.encodeToBuffer(message, version), bytes)
      const records = message.topicData[0]?.partitionData[0]?.records
      ok(records && records[16] === 2 && records.readInt32BE(8) === records.length - 12)
      deepStrictEqual([message.acks, message.timeoutMs, message.topicData[0]?.name], [-1, 77, 'orders'])
      const answer = sample(responseOf(apis.produce).definition, version)
      const answerBytes = responseOf(apis.produce).encodeToBuffer(answer as never, version)
      everyValueArrived(responseOf(apis.produce), version, answer, parse(theirs, apis.produce, version, answerBytes))
    }
  })
})
