/** Our codec against the one inside kafkajs, in every version it has. */
import { deepStrictEqual, ok } from 'node:assert'
import { createRequire } from 'node:module'
import { describe, test } from 'node:test'
import { type AnyApi, apis } from './api-table.ts'
import { versionsOf } from './codec.fuzz.ts'
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

const require = createRequire(import.meta.url)

interface KafkajsApi {
  readonly name?: string
  /** Our message as the arguments of their request. */
  readonly arguments: (m: Tree, version: number) => object
  readonly request?: Overrides
}

/** Topic lists as kafkajs takes them: `topic` where we say `name`, and names of its own for what is in a partition. */
function topicsOf(topics: Tree[], partition: (p: Tree) => object, partitions = 'partitions'): object[] {
  return topics.map((t) => ({
    topic: t.name ?? t.topic,
    partitions: list(t[partitions]).map(partition),
  }))
}

const KAFKAJS: Partial<Record<keyof typeof apis, KafkajsApi>> = {
  fetch: {
    request: { rackId: 's-rack' },
    arguments: (m) => ({
      ...m,
      maxWaitTime: m.maxWaitMs,
      topics: topicsOf(list(m.topics), (p) => ({ ...p, maxBytes: p.partitionMaxBytes })),
      forgottenTopics: m.forgottenTopicsData,
    }),
  },
  listOffsets: {
    arguments: (m) => ({ ...m, topics: topicsOf(list(m.topics), (p) => ({ ...p, partition: p.partitionIndex })) }),
  },
  metadata: { arguments: (m) => ({ ...m, topics: list(m.topics).map((t: Tree) => t.name) }) },
  offsetCommit: {
    arguments: (m) => ({
      ...m,
      groupGenerationId: m.generationIdOrMemberEpoch,
      retentionTime: m.retentionTimeMs,
      topics: topicsOf(list(m.topics), (p) => ({
        partition: p.partitionIndex,
        offset: p.committedOffset,
        metadata: p.committedMetadata,
      })),
    }),
  },
  offsetFetch: {
    arguments: (m) => ({ ...m, topics: topicsOf(list(m.topics), (partition) => ({ partition }), 'partitionIndexes') }),
  },
  findCoordinator: {
    name: 'GroupCoordinator',
    arguments: (m) => ({ groupId: m.key, coordinatorType: m.keyType }),
  },
  joinGroup: {
    arguments: (m) => ({
      ...m,
      sessionTimeout: m.sessionTimeoutMs,
      rebalanceTimeout: m.rebalanceTimeoutMs,
      groupProtocols: m.protocols,
    }),
  },
  heartbeat: { arguments: (m) => ({ ...m, groupGenerationId: m.generationId }) },
  // One member at a time, whatever the version.
  leaveGroup: {
    request: { members: [{ memberId: 'm', groupInstanceId: 'i', reason: null }] },
    arguments: (m, version) => (version < 3 ? m : { ...m, ...list(m.members)[0] }),
  },
  syncGroup: {
    arguments: (m) => ({
      ...m,
      groupAssignment: list(m.assignments).map((a: Tree) => ({
        memberId: a.memberId,
        memberAssignment: a.assignment,
      })),
    }),
  },
  describeGroups: { arguments: (m) => ({ groupIds: m.groups }) },
  listGroups: { arguments: () => ({}) },
  apiVersions: { arguments: () => ({}) },
  createTopics: {
    arguments: (m) => ({
      topics: list(m.topics).map((t: Tree) => ({
        ...t,
        topic: t.name,
        replicaAssignment: list(t.assignments).map((a: Tree) => ({
          partition: a.partitionIndex,
          replicas: a.brokerIds,
        })),
        configEntries: t.configs,
      })),
      timeout: m.timeoutMs,
      validateOnly: m.validateOnly,
    }),
  },
  deleteTopics: { arguments: (m) => ({ topics: m.topicNames, timeout: m.timeoutMs }) },
  initProducerId: { arguments: (m) => ({ ...m, transactionTimeout: m.transactionTimeoutMs }) },
  describeConfigs: {
    arguments: (m) => ({
      ...m,
      resources: list(m.resources).map((r: Tree) => ({
        type: r.resourceType,
        name: r.resourceName,
        configNames: r.configurationKeys,
      })),
    }),
  },
  deleteRecords: {
    arguments: (m) => ({
      topics: list(m.topics).map((t: Tree) => ({
        topic: t.name,
        partitions: list(t.partitions).map((p: Tree) => ({ partition: p.partitionIndex, offset: p.offset })),
      })),
      timeout: m.timeoutMs,
    }),
  },
  alterConfigs: {
    arguments: (m) => ({
      ...m,
      resources: list(m.resources).map((r: Tree) => ({
        type: r.resourceType,
        name: r.resourceName,
        configEntries: r.configs,
      })),
    }),
  },
  deleteGroups: { arguments: (m) => m.groupsNames as object },
}

describe('the codec of kafkajs', () => {
  const { requests } = require('kafkajs/src/protocol/requests/index.js')
  const theirVersions = (api: AnyApi, name: string): number[] => {
    const theirs: number[] = requests[name].versions.map(Number)
    return versionsOf(requestOf(api)).filter((version) => theirs.includes(version))
  }

  for (const [key, other] of Object.entries(KAFKAJS)) {
    const api = apis[key as keyof typeof apis]
    const name = other.name ?? api.name
    const versions = theirVersions(api, name)
    ok(versions.length > 0)
    test(`${name} v${versions.join(', v')}`, async () => {
      for (const version of versions) {
        const message = sample(requestOf(api).definition, version, other.request)
        const { request, response } = requests[name].protocol({ version })(other.arguments(message, version))
        sameBytes(requestOf(api), version, message, (await request.encode()).buffer)
        const answer = sample(responseOf(api).definition, version, { records: null })
        const bytes = responseOf(api).encodeToBuffer(answer as never, version)
        everyValueArrived(responseOf(api), version, answer, await response.decode(bytes))
      }
    })
  }

  test('Produce v3 to v7: kafkajs builds the batch, we read the request around it', async () => {
    for (const version of theirVersions(apis.produce, 'Produce').filter(
      (each) => each >= apis.produce.minServedVersion,
    )) {
      const partitions = [{ partition: 3, firstSequence: 0, messages: [{ key: 'k', value: 'v' }] }]
      const { request, response } = requests.Produce.protocol({ version })({
        acks: -1,
        timeout: 77,
        topicData: [{ topic: 'orders', partitions }],
      })
      const bytes: Buffer = (await request.encode()).buffer
      const message = apis.produce.request.decodeFrom(bytes, version)
      deepStrictEqual(apis.produce.request.encodeToBuffer(message, version), bytes)
      const records = message.topicData[0]?.partitionData[0]?.records
      ok(records && records.length > 61 && records[16] === 2 && records.readInt32BE(8) === records.length - 12)
      const topicData = [{ name: 'orders', partitionData: [{ index: 3, records }] }]
      deepStrictEqual(message, { transactionalId: null, acks: -1, timeoutMs: 77, topicData })
      const answer = sample(responseOf(apis.produce).definition, version)
      everyValueArrived(
        responseOf(apis.produce),
        version,
        answer,
        await response.decode(responseOf(apis.produce).encodeToBuffer(answer as never, version)),
      )
    }
  })

  test('Fetch v4 to v11: kafkajs finds its own batch in our response', async () => {
    const partitions = [{ partition: 0, firstSequence: 0, messages: [{ key: 'k', value: 'hello' }] }]
    const { request } = requests.Produce.protocol({ version: 7 })({
      acks: -1,
      timeout: 1,
      topicData: [{ topic: 't', partitions }],
    })
    const { topicData } = apis.produce.request.decodeFrom((await request.encode()).buffer, 7)
    const { records } = topicData[0]!.partitionData[0]!
    for (const version of theirVersions(apis.fetch, 'Fetch')) {
      const answer = sample(responseOf(apis.fetch).definition, version, { records })
      const bytes = responseOf(apis.fetch).encodeToBuffer(answer as never, version)
      const decoded = await requests.Fetch.protocol({ version })({}).response.decode(bytes)
      deepStrictEqual(decoded.responses[0].partitions[0].messages[0].value.toString(), 'hello')
    }
  })
})
