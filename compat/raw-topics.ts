/** Topics and partitions that do not exist, may not exist, or come into being by being asked for. */
import { apis } from '../src/gateways/kafka/index.ts'
import {
  batch,
  check,
  create,
  E,
  partitionAt,
  produce,
  type RawCheck,
  same,
  wanted,
  withClient,
  withTopic,
} from './raw-tools.ts'

export const TOPIC_CHECKS: readonly RawCheck[] = [
  { name: 'unknown-partitions', run: unknownPartitions },
  { name: 'auto-creation', run: autoCreation },
  { name: 'topic-names', run: topicNames },
  { name: 'create-topics', run: createTopics },
  { name: 'fetch-edges', run: fetchEdges },
  { name: 'describe-unknown', run: describeUnknown },
]

async function unknownPartitions(brokers: readonly string[]): Promise<string> {
  return await withTopic(brokers, 'known', async (client, topic) => {
    for (const [name, index] of [
      [topic, 99],
      [topic, -1],
      ['raw.no-such-topic', 0],
      ['not/a:name', 0],
    ] as const) {
      const what = `${name}/${index}`
      same(
        (await produce(client, name, batch(), { index })).errorCode,
        E.UNKNOWN_TOPIC_OR_PARTITION,
        `Produce to ${what}`,
      )
      const asked = [{ topic: name, partitions: [{ ...partitionAt(0), partition: index }] }]
      const fetched = await client.request(apis.fetch, 11, { maxWaitMs: 100, minBytes: 1, topics: asked })
      same(fetched.responses[0]?.partitions[0]?.errorCode, E.UNKNOWN_TOPIC_OR_PARTITION, `Fetch of ${what}`)
      const listed = await client.request(apis.listOffsets, 5, {
        replicaId: -1,
        topics: [{ name, partitions: [{ partitionIndex: index, timestamp: -1 }] }],
      })
      same(listed.topics[0]?.partitions[0]?.errorCode, E.UNKNOWN_TOPIC_OR_PARTITION, `ListOffsets of ${what}`)
      const epoch = await client.request(apis.offsetForLeaderEpoch, 3, {
        topics: [{ topic: name, partitions: [{ partition: index, leaderEpoch: 1 }] }],
      })
      same(epoch.topics[0]?.partitions[0]?.errorCode, E.UNKNOWN_TOPIC_OR_PARTITION, `OffsetForLeaderEpoch of ${what}`)
    }
    const nobody = '00000000000000000000000000000007'
    const topicId = toUuidLike(
      (await client.request(apis.metadata, 12, { topics: [{ name: topic }] })).topics[0]!.topicId,
      nobody,
    )
    const byId = await client.request(apis.fetch, 13, {
      maxWaitMs: 100,
      minBytes: 1,
      topics: [{ topicId, partitions: [partitionAt(0)] }],
    })
    same(byId.responses[0]?.partitions[0]?.errorCode, E.UNKNOWN_TOPIC_ID, 'Fetch of an unknown topic id')
    return 'Produce, Fetch, ListOffsets, OffsetForLeaderEpoch: 3; by id: 100'
  })
}

async function autoCreation([broker]: readonly string[]): Promise<string> {
  return await withClient(broker!, async (client) => {
    const name = 'raw.auto'
    const ask = (allowAutoTopicCreation: boolean) =>
      client.request(apis.metadata, 9, { topics: [{ name }], allowAutoTopicCreation }).then(({ topics }) => topics[0]!)
    same((await ask(false)).errorCode, E.UNKNOWN_TOPIC_OR_PARTITION, 'error without creation')
    const startedAt = performance.now()
    const created = await ask(true)
    const tookMs = performance.now() - startedAt
    same(created.errorCode, E.NONE, 'error with creation')
    same(created.partitions.length, 4, 'partitions')
    check(
      created.partitions.every(({ leaderId }) => leaderId > 0),
      'a partition has no leader in the first answer',
    )
    const { topics, brokers, controllerId } = await client.request(apis.metadata, 9, { topics: [] })
    same(topics.length, 0, 'topics when none is asked for')
    check(
      brokers.some(({ nodeId }) => nodeId === controllerId),
      `controller ${controllerId} is not among the brokers`,
    )
    const all = await client.request(apis.metadata, 9, { topics: null })
    check(
      all.topics.some((topic) => topic.name === name),
      'the topic is not among all topics',
    )
    const first = await client.request(apis.metadata, 0, { topics: [] })
    check(
      first.topics.length === all.topics.length,
      `version 0 shows ${first.topics.length} of ${all.topics.length} topics`,
    )
    return `4 partitions, all with leaders, in the first answer (${tookMs.toFixed(0)} ms)`
  })
}

async function topicNames([broker]: readonly string[]): Promise<string> {
  const names = ['', '.', '..', 'a b', 'ä', 'a/b', 'a:b', 'x'.repeat(250)]
  return await withClient(broker!, async (client) => {
    for (const name of names) {
      const shown = JSON.stringify(name.slice(0, 10))
      const { topics } = await client.request(apis.metadata, 9, { topics: [{ name }], allowAutoTopicCreation: true })
      same(topics[0]?.errorCode, E.INVALID_TOPIC_EXCEPTION, `Metadata of ${shown}`)
      same((await create(client, { name })).errorCode, E.INVALID_TOPIC_EXCEPTION, `CreateTopics of ${shown}`)
    }
    same((await create(client, { name: 'x'.repeat(249) })).errorCode, E.NONE, 'CreateTopics of 249 characters')
    return `${names.length} names refused`
  })
}

async function createTopics(brokers: readonly string[]): Promise<string> {
  return await withClient(brokers[0]!, async (client) => {
    const name = 'raw.created'
    same((await create(client, { name }, true)).errorCode, E.NONE, 'error of a validation')
    const absent = await client.request(apis.metadata, 9, { topics: [{ name }], allowAutoTopicCreation: false })
    same(absent.topics[0]?.errorCode, E.UNKNOWN_TOPIC_OR_PARTITION, 'a validation creates nothing, so Metadata')
    same((await create(client, { name, numPartitions: 3 })).numPartitions, 3, 'partitions')
    const topic = { name: 'raw.refused' }
    const config = (key: string, value: string) => ({ ...topic, configs: [{ name: key, value }] })
    same((await create(client, { name })).errorCode, E.TOPIC_ALREADY_EXISTS, 'again')
    same((await create(client, { ...topic, numPartitions: 0 })).errorCode, E.INVALID_PARTITIONS, '0 partitions')
    same((await create(client, { ...topic, numPartitions: -2 })).errorCode, E.INVALID_PARTITIONS, '-2 partitions')
    same(
      (await create(client, { ...topic, replicationFactor: 9 })).errorCode,
      E.INVALID_REPLICATION_FACTOR,
      '9 replicas',
    )
    same(
      (await create(client, { ...topic, replicationFactor: 0 })).errorCode,
      E.INVALID_REPLICATION_FACTOR,
      '0 replicas',
    )
    same((await create(client, config('no.such.setting', '1'))).errorCode, E.INVALID_CONFIG, 'an unknown setting')
    same(
      (await create(client, config('retention.ms', 'soon'))).errorCode,
      E.INVALID_CONFIG,
      'a setting that is no number',
    )
    const twice = await client.request(apis.createTopics, 7, { topics: [wanted(topic), wanted(topic)] })
    same(twice.topics.map(({ errorCode }) => errorCode).join(), String(E.INVALID_REQUEST), 'a topic named twice')
    const deleted = await client.request(apis.deleteTopics, 4, {
      topicNames: [name, 'raw.no-such-topic'],
      timeoutMs: 5000,
    })
    same(
      deleted.responses.map(({ errorCode }) => errorCode).join(),
      `${E.NONE},${E.UNKNOWN_TOPIC_OR_PARTITION}`,
      'deleting',
    )
    return 'refusals with Kafka’s codes; a deleted topic is gone'
  })
}

async function fetchEdges(brokers: readonly string[]): Promise<string> {
  return await withTopic(brokers, 'fetch', async (client, topic) => {
    for (let i = 0; i < 3; i++) await produce(client, topic, batch({}, 5))
    const fetch = (more: object, request: object = {}) =>
      client
        .request(apis.fetch, 11, {
          maxWaitMs: 200,
          minBytes: 1,
          topics: [{ topic, partitions: [{ ...partitionAt(0), ...more }] }],
          ...request,
        })
        .then(({ errorCode, responses }) => ({ top: errorCode, ...responses[0]?.partitions[0] }))
    same((await fetch({ fetchOffset: 16 })).errorCode, E.OFFSET_OUT_OF_RANGE, 'behind the end')
    same((await fetch({ fetchOffset: -1 })).errorCode, E.OFFSET_OUT_OF_RANGE, 'before the start')
    same(
      (await fetch({ currentLeaderEpoch: 9999 })).errorCode,
      E.UNKNOWN_LEADER_EPOCH,
      'a leader epoch that is to come',
    )
    const tiny = await fetch({ fetchOffset: 7, partitionMaxBytes: 1 }, { maxBytes: 1 })
    const tinyRecords = tiny.records as Buffer
    same(Number(tinyRecords.readBigInt64BE(0)), 5, 'base offset of the batch around offset 7, with a limit of one byte')
    same(tinyRecords.readInt32BE(8) + 12, tinyRecords.length, 'bytes of that one batch')
    const startedAt = performance.now()
    const end = await fetch({ fetchOffset: 15 })
    const waitedMs = performance.now() - startedAt
    same(`${end.errorCode}/${end.highWatermark}`, '0/15', 'error and high-water mark at the end')
    check(waitedMs > 150 && waitedMs < 600, `a poll of 200 ms took ${waitedMs.toFixed(0)} ms`)
    same(
      (await fetch({}, { sessionId: 123, sessionEpoch: 1 })).top,
      E.FETCH_SESSION_ID_NOT_FOUND,
      'a session that nobody gave out',
    )
    return 'ranges, epochs, first-batch rule, long poll, sessions'
  })
}

async function describeUnknown([broker]: readonly string[]): Promise<string> {
  return await withClient(broker!, async (client) => {
    const resource = (resourceType: number, resourceName: string) => ({
      resourceType,
      resourceName,
      configurationKeys: null,
    })
    const { results } = await client.request(apis.describeConfigs, 2, {
      resources: [resource(2, 'raw.no-such-topic'), resource(2, '')],
    })
    same(results[0]?.errorCode, E.UNKNOWN_TOPIC_OR_PARTITION, 'DescribeConfigs of an unknown topic')
    same(results[1]?.errorCode, E.INVALID_TOPIC_EXCEPTION, 'DescribeConfigs of a topic without a name')
    const cluster = await client.request(apis.describeCluster, 1, { includeClusterAuthorizedOperations: false })
    check(
      cluster.errorCode === E.NONE && cluster.clusterId !== '',
      `DescribeCluster answers ${JSON.stringify(cluster)}`,
    )
    const wrongType = await client.request(apis.describeCluster, 1, {
      includeClusterAuthorizedOperations: false,
      endpointType: 9,
    })
    check(wrongType.errorCode !== E.NONE, 'DescribeCluster of endpoint type 9 is no error')
    return '3, 17'
  })
}

/** The same way of writing an id as the sample's, with other digits. */
function toUuidLike(sample: string, digits: string): string {
  let i = 0
  return sample.replace(/[0-9a-f]/gi, () => digits[i++]!)
}
