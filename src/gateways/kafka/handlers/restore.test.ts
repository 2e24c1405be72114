/** A restore as a client sees it: batches under the offsets that they had, hidden until it is finished. */
import assert from 'node:assert/strict'
import test, { after, before } from 'node:test'
import { RawClient } from '../../../../bench/raw-client.ts'
import { Tidemark } from '../../../index.ts'
import { encodeBatch, leaderEpochOf, setBaseOffset, setLeaderEpoch, splitBatches } from '../../../records/index.ts'
import { KafkaError } from '../../../streams/index.ts'
import { apis } from '../api-table.ts'
import { RESTORING_REPLICA_ID } from './fetch.ts'

let tidemark: Tidemark
let client: RawClient

before(async () => {
  tidemark = await Tidemark.start({ memory: true })
  client = await RawClient.connect(tidemark.kafka.brokers[0]!)
})

after(async () => {
  client.close()
  await tidemark.stop()
})

/** As a log of another cluster had it, written by producer 1 with sequences from 0. */
function stored(baseOffset: number, count: number, sequence: number): Buffer {
  const records = Array.from({ length: count }, (_, i) => ({ key: null, value: Buffer.from(`${i}`), timestamp: 5 }))
  const batch = encodeBatch(records, { timestamp: 5, producerId: 1, producerEpoch: 0, baseSequence: sequence })
  setBaseOffset(batch, 0, baseOffset)
  setLeaderEpoch(batch, 0, 77)
  return batch
}

const RANGE = { baseOffset: 1000, startOffset: 1001, endOffset: 1005 }

async function create(name: string, range = RANGE, validateOnly = false) {
  const { topics } = await client.request(apis.restoreTopics, 0, {
    topics: [{ name, replicationFactor: 1, configs: [{ name: 'retention.ms', value: '-1' }], partitions: [range] }],
    validateOnly,
  })
  return topics[0]!
}

async function restore(name: string, topicId: string, ...batches: Buffer[]): Promise<[number, number]> {
  // A leader that was only just elected refuses; whoever restores asks again.
  for (;;) {
    const request = { name, topicId, partitionIndex: 0, records: Buffer.concat(batches) }
    const { errorCode, endOffset } = await client.request(apis.restoreRecords, 0, request)
    if (errorCode !== KafkaError.NOT_LEADER_OR_FOLLOWER && errorCode !== KafkaError.OFFSET_NOT_AVAILABLE)
      return [errorCode, endOffset]
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

async function fetch(topic: string, fetchOffset: number, replicaId: number) {
  const partitions = [{ partition: 0, fetchOffset, partitionMaxBytes: 1 << 20 }]
  const { responses } = await client.request(apis.fetch, 12, {
    replicaId,
    maxWaitMs: 0,
    minBytes: 0,
    sessionEpoch: -1,
    topics: [{ topic, partitions }],
    forgottenTopicsData: [],
  } as never)
  return responses[0]!.partitions[0]!
}

async function listOffset(name: string, timestamp: number): Promise<[number, number]> {
  const { topics } = await client.request(apis.listOffsets, 7, {
    replicaId: -1,
    topics: [{ name, partitions: [{ partitionIndex: 0, timestamp }] }],
  })
  const { errorCode, offset } = topics[0]!.partitions[0]!
  return [errorCode, offset]
}

async function produce(name: string, batch: Buffer): Promise<[number, number]> {
  const { responses } = await client.request(apis.produce, 9, {
    acks: -1,
    timeoutMs: 1000,
    topicData: [{ name, partitionData: [{ index: 0, records: batch }] }],
  })
  const { errorCode, baseOffset } = responses[0]!.partitionResponses[0]!
  return [errorCode, baseOffset]
}

test('batches keep their offsets and bytes; nobody else sees them before the end', async () => {
  const name = 'kept'
  const { topicId, errorCode } = await create(name)
  assert.equal(errorCode, 0)
  assert.deepEqual(await restore(name, topicId), [0, 1000])
  const [first, second] = [stored(1000, 3, 0), stored(1003, 2, 3)]
  assert.deepEqual(await restore(name, topicId, second), [KafkaError.OFFSET_OUT_OF_RANGE, 1000], 'leaves a hole')
  assert.deepEqual(await restore(name, topicId, first), [0, 1003])
  assert.deepEqual(await restore(name, topicId, first), [KafkaError.OFFSET_OUT_OF_RANGE, 1003], 'is here')
  const damaged = Buffer.from(second)
  damaged[70] = damaged[70]! ^ 1
  assert.deepEqual(await restore(name, topicId, damaged), [KafkaError.CORRUPT_MESSAGE, 1003])
  const beyond = [second, stored(1005, 1, 5)]
  assert.deepEqual(await restore(name, topicId, ...beyond), [KafkaError.OFFSET_OUT_OF_RANGE, 1003], 'all or none')
  assert.deepEqual(await restore(name, 'f'.repeat(32), second), [KafkaError.UNKNOWN_TOPIC_ID, -1])
  assert.deepEqual(await restore(name, topicId, second), [0, 1005])

  assert.equal((await fetch(name, 1001, -1)).errorCode, KafkaError.OFFSET_NOT_AVAILABLE)
  assert.deepEqual(await listOffset(name, -1), [KafkaError.OFFSET_NOT_AVAILABLE, -1])
  assert.deepEqual(await produce(name, stored(0, 1, 0)), [KafkaError.LEADER_NOT_AVAILABLE, -1])
  const records = { name, partitions: [{ partitionIndex: 0, offset: 1004 }] }
  const deletion = await client.request(apis.deleteRecords, 1, { topics: [records], timeoutMs: 1000 })
  assert.equal(deletion.topics[0]!.partitions[0]!.errorCode, KafkaError.OFFSET_NOT_AVAILABLE)
  assert.equal((await fetch(name, 1001, RESTORING_REPLICA_ID)).errorCode, 0)

  const finish = { topics: [{ name, topicId }] }
  assert.equal((await client.request(apis.finishRestore, 0, finish)).topics[0]!.errorCode, 0)
  assert.equal((await client.request(apis.finishRestore, 0, finish)).topics[0]!.errorCode, 0, 'again')
  assert.deepEqual(
    [await listOffset(name, -2), await listOffset(name, -1)],
    [
      [0, 1001],
      [0, 1005],
    ],
  )
  assert.equal((await fetch(name, 1000, -1)).errorCode, KafkaError.OFFSET_OUT_OF_RANGE)
  const found = await fetch(name, 1001, -1)
  const batches = splitBatches(found.records as Buffer)!
  const epoch = leaderEpochOf(batches[0]!, 0)
  assert.notEqual(epoch, 77)
  for (const batch of [first, second]) setLeaderEpoch(batch, 0, epoch)
  assert.deepEqual(Buffer.concat(batches), Buffer.concat([first, second]))
  assert.equal((await restore(name, topicId, stored(1005, 1, 5)))[0], KafkaError.INVALID_REQUEST)
  // This cluster's producer 1 is another one than that whose batches were restored: it begins, and is no duplicate.
  assert.deepEqual(await produce(name, stored(0, 3, 0)), [0, 1005])
})

test('an empty partition goes on where it ended; the same restore may begin again, another may not', async () => {
  const range = { baseOffset: 40, startOffset: 40, endOffset: 40 }
  assert.equal((await create('empty', range, true)).errorCode, 0)
  const { topicId } = await create('empty', range)
  assert.equal((await create('empty', range)).topicId, topicId)
  const other = await create('empty', { ...range, endOffset: 41 })
  assert.equal(other.errorCode, KafkaError.TOPIC_ALREADY_EXISTS)
  assert.match(other.errorMessage!, /another backup/)
  await client.request(apis.finishRestore, 0, { topics: [{ name: 'empty', topicId }] })
  assert.equal((await create('empty', range)).errorCode, KafkaError.TOPIC_ALREADY_EXISTS)
  assert.deepEqual(await produce('empty', stored(0, 1, 0)), [0, 40])
  assert.equal((await create('upside-down', { ...range, startOffset: 39 })).errorCode, KafkaError.INVALID_REQUEST)
  const unknown = { topics: [{ name: 'nobody', topicId }] }
  const { topics } = await client.request(apis.finishRestore, 0, unknown)
  assert.equal(topics[0]!.errorCode, KafkaError.UNKNOWN_TOPIC_OR_PARTITION)
})
