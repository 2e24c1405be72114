/** What handlers refuse, by Kafka's codes: asked of a whole node in memory, by a client with nothing on top. */
import assert from 'node:assert/strict'
import test, { after, before } from 'node:test'
import { RawClient } from '../../../../bench/raw-client.ts'
import { Tidemark } from '../../../index.ts'
import { KafkaError } from '../../../streams/index.ts'
import { apis } from '../api-table.ts'

const TOPIC = 'refusals'

let tidemark: Tidemark
let client: RawClient

before(async () => {
  tidemark = await Tidemark.start({ memory: true, defaultPartitions: 2 })
  client = await RawClient.connect(tidemark.kafka.brokers[0]!)
  await client.request(apis.metadata, 9, { topics: [{ name: TOPIC }], allowAutoTopicCreation: true })
})

after(async () => {
  client.close()
  await tidemark.stop()
})

test('a commit is refused for the partitions that do not exist, and done for the others', async () => {
  const groupId = 'g'
  await client.request(apis.findCoordinator, 2, { key: groupId, keyType: 0 })
  const partitions = (...indexes: number[]) =>
    indexes.map((partitionIndex) => ({ partitionIndex, committedOffset: 7, committedMetadata: null }))
  const topics = [
    { name: TOPIC, partitions: partitions(0, 2, 1, -1) },
    { name: 'absent', partitions: partitions(0) },
  ]
  const answer = await client.request(apis.offsetCommit, 6, { groupId, memberId: '', topics })
  const unknown = KafkaError.UNKNOWN_TOPIC_OR_PARTITION
  assert.deepEqual(
    answer.topics.map(({ name, partitions }) => [
      name,
      partitions.map((each) => [each.partitionIndex, each.errorCode]),
    ]),
    [
      [
        TOPIC,
        [
          [0, 0],
          [1, 0],
          [2, unknown],
          [-1, unknown],
        ],
      ],
      ['absent', [[0, unknown]]],
    ],
  )
  const fetched = await client.request(apis.offsetFetch, 5, { groupId, topics: null })
  assert.deepEqual(
    fetched.topics.map(({ name, partitions }) => [name, partitions.map((each) => each.committedOffset)]),
    [[TOPIC, [7, 7]]],
  )
})

test('a fetch that goes on with a session is told that there is none, and one that opens a session gets none', async () => {
  const partition = { partition: 0, fetchOffset: 0, partitionMaxBytes: 1024 }
  const fetch = (sessionId: number, sessionEpoch: number) => {
    const topics = [{ topic: TOPIC, partitions: [partition] }]
    return client.request(apis.fetch, 11, { maxWaitMs: 0, minBytes: 1, sessionId, sessionEpoch, topics })
  }
  const goesOn = await fetch(123, 1)
  assert.equal(goesOn.errorCode, KafkaError.FETCH_SESSION_ID_NOT_FOUND)
  assert.deepEqual(goesOn.responses, [])
  for (const [id, epoch] of [
    [0, -1],
    [0, 0],
    [123, -1],
  ] as const) {
    const full = await fetch(id, epoch)
    assert.equal(full.errorCode, KafkaError.NONE)
    assert.equal(full.sessionId, 0)
    assert.equal(full.responses[0]!.partitions[0]!.errorCode, KafkaError.NONE)
  }
})

test('settings are described for topics that exist; a name that no topic can have is another error', async () => {
  const names = [TOPIC, 'absent', '', 'a b']
  const resources = names.map((resourceName) => ({ resourceType: 2, resourceName, configurationKeys: null }))
  const { results } = await client.request(apis.describeConfigs, 2, { resources })
  assert.deepEqual(
    results.map(({ errorCode }) => errorCode),
    [
      KafkaError.NONE,
      KafkaError.UNKNOWN_TOPIC_OR_PARTITION,
      KafkaError.INVALID_TOPIC_EXCEPTION,
      KafkaError.INVALID_TOPIC_EXCEPTION,
    ],
  )
})
