/** What clients can do about old records, through an unmodified client: DeleteRecords, and settings that are changed and obeyed. */
import assert from 'node:assert/strict'
import test from 'node:test'
import kafkajs, { type Admin, type Kafka } from 'kafkajs'
import { Tidemark } from './index.ts'

async function withCluster(use: (kafka: Kafka, admin: Admin) => Promise<void>): Promise<void> {
  const tidemark = await Tidemark.start({ memory: true, nodes: 3 })
  const kafka = new kafkajs.Kafka({
    brokers: tidemark.kafka.brokers,
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { initialRetryTime: 20, retries: 8 },
  })
  const admin = kafka.admin()
  try {
    await admin.connect()
    await use(kafka, admin)
  } finally {
    await admin.disconnect()
    await tidemark.stop()
  }
}

async function bounds(admin: Admin): Promise<readonly [string, string]> {
  const { low, high } = (await admin.fetchTopicOffsets('tides'))[0]!
  return [low, high]
}

async function send(kafka: Kafka, topic: string, count: number): Promise<void> {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (let i = 0; i < count; i++) await producer.send({ topic, acks: -1, messages: [{ value: `v${i}` }] })
  await producer.disconnect()
}

async function read(kafka: Kafka, topic: string, from: string | null, count: number): Promise<string[]> {
  const consumer = kafka.consumer({ groupId: `readers-${from}`, maxWaitTimeInMs: 50 })
  const values: string[] = []
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await new Promise<void>((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
    consumer
      .run({
        eachMessage: async ({ message }) => {
          values.push(message.value!.toString())
          if (values.length >= count) resolve()
        },
      })
      .catch(reject)
    if (from !== null) consumer.seek({ topic, partition: 0, offset: from })
  })
  await consumer.disconnect()
  return values
}

test('records are deleted up to an offset, and readers go on where the log starts', async () => {
  await withCluster(async (kafka, admin) => {
    await admin.createTopics({ topics: [{ topic: 'tides', numPartitions: 1, replicationFactor: 3 }] })
    await send(kafka, 'tides', 10)
    // This client looks for leaders among the topics that it has asked about before.
    assert.deepEqual(await bounds(admin), ['0', '10'])
    await admin.deleteTopicRecords({ topic: 'tides', partitions: [{ partition: 0, offset: '6' }] })
    assert.deepEqual(await bounds(admin), ['6', '10'])
    assert.deepEqual(await read(kafka, 'tides', null, 4), ['v6', 'v7', 'v8', 'v9'])
    // Below the start: out of range, and the client starts anew at the beginning.
    assert.deepEqual(await read(kafka, 'tides', '2', 4), ['v6', 'v7', 'v8', 'v9'])
    await admin.deleteTopicRecords({ topic: 'tides', partitions: [{ partition: 0, offset: '-1' }] })
    assert.deepEqual(await bounds(admin), ['10', '10'])
    await assert.rejects(
      admin.deleteTopicRecords({ topic: 'tides', partitions: [{ partition: 0, offset: '11' }] }),
      /./,
    )
  })
})

test('settings are changed through any node, shown, and refused where they are wrong', async () => {
  await withCluster(async (kafka, admin) => {
    await admin.createTopics({ topics: [{ topic: 'tides', numPartitions: 1, replicationFactor: 3 }] })
    const resource = { type: kafkajs.ConfigResourceTypes.TOPIC, name: 'tides' }
    const alter = (name: string, value: string) =>
      admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries: [{ name, value }] }] })
    const shown = async (name: string) => {
      const described = await admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ ...resource, configNames: [name] }],
      })
      return described.resources[0]!.configEntries[0]?.configValue
    }
    await alter('retention.ms', '123456')
    assert.equal(await shown('retention.ms'), '123456')
    await assert.rejects(alter('retention.ms', 'soon'), /./)
    await assert.rejects(alter('file.delete.delay.ms', '1'), /./)
    assert.equal(await shown('retention.ms'), '123456')
    // What is not named goes back to its default.
    await alter('segment.ms', '99999')
    assert.deepEqual([await shown('segment.ms'), await shown('retention.ms')], ['99999', '604800000'])
    // Obeyed at once: all of the log is larger than nothing.
    await send(kafka, 'tides', 5)
    await alter('retention.bytes', '0')
    while ((await bounds(admin))[0] !== '5') await new Promise((resolve) => setImmediate(resolve))
  })
})
