/** The library face: whole clusters inside this process, used through an unmodified client. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import test from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import kafkajs, { type Kafka } from 'kafkajs'
import { OptionError, type StartOptions, StorageError, Tidemark } from './index.ts'

const run = promisify(execFile)
/** As it is published. */
const LIBRARY = fileURLToPath(import.meta.resolve('tidemark'))

function clientOf(tidemark: Tidemark): Kafka {
  return new kafkajs.Kafka({
    brokers: tidemark.kafka.brokers,
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { initialRetryTime: 20, retries: 8 },
  })
}

async function send(kafka: Kafka, topic: string, values: readonly string[]): Promise<void> {
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
  })
  await producer.connect()
  await producer.send({ topic, acks: -1, messages: values.map((value) => ({ key: value, value })) })
  await producer.disconnect()
}

/** Reads until `count` values came. */
async function read(kafka: Kafka, topic: string, groupId: string, count: number): Promise<string[]> {
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100 })
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
  })
  await consumer.disconnect()
  return values.sort()
}

async function withDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'tidemark-test-'))
  try {
    await use(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

test('one node in memory: write, read by group, status', async () => {
  const tidemark = await Tidemark.start({ memory: true })
  try {
    assert.match(tidemark.kafka.brokers.join(), /^127\.0\.0\.1:\d+$/)
    assert.deepEqual(tidemark.http.urls, [])
    const kafka = clientOf(tidemark)
    await send(kafka, 'greetings', ['a', 'b', 'c'])
    assert.deepEqual(await read(kafka, 'greetings', 'readers', 3), ['a', 'b', 'c'])
    const status = await tidemark.status()
    assert.equal(status.nodes.length, 1)
    assert.ok(status.shards.some((shard) => shard.topic === 'greetings'))
    const ofGroups = status.shards.filter(({ topic }) => topic === '__consumer_offsets')
    const ofSnapshots = [...ofGroups, ...status.shards.filter(({ topic }) => topic === null)]
    assert.ok(ofSnapshots.length > 1)
    for (const { startHeldBy } of ofSnapshots)
      assert.match(`${startHeldBy}`, /^snapshot: the log has grown by .* of 4 MiB since the last one$/)
  } finally {
    await tidemark.stop()
  }
})

test('three nodes in memory, with pages: every node serves, and a topic has three replicas', async () => {
  const tidemark = await Tidemark.start({ nodes: 3, memory: true, http: '127.0.0.1:0' })
  try {
    assert.equal(new Set(tidemark.kafka.brokers).size, 3)
    assert.equal(tidemark.http.urls.length, 3)
    for (const url of tidemark.http.urls) assert.equal((await fetch(`${url}/health/ready`)).status, 200)
    const kafka = clientOf(tidemark)
    await send(kafka, 'spread', ['a', 'b', 'c', 'd'])
    assert.deepEqual(await read(kafka, 'spread', 'readers', 4), ['a', 'b', 'c', 'd'])
    const { shards } = await tidemark.status()
    const spread = shards.filter((shard) => shard.topic === 'spread')
    assert.equal(spread.length, 4)
    for (const shard of spread) assert.equal(shard.replicas.length, 3)
  } finally {
    await tidemark.stop()
  }
})

for (const nodes of [1, 3]) {
  test(`with a data directory, ${nodes} node${nodes > 1 ? 's' : ''}: records, offsets and group positions outlive a restart`, async () => {
    await withDirectory(async (data) => {
      const first = await Tidemark.start({ data, nodes })
      await send(clientOf(first), 'kept', ['a', 'b', 'c'])
      assert.deepEqual(await read(clientOf(first), 'kept', 'readers', 3), ['a', 'b', 'c'])
      await first.stop()
      const second = await Tidemark.start({ data, nodes })
      try {
        const kafka = clientOf(second)
        const admin = kafka.admin()
        await admin.connect()
        const offsets = await admin.fetchTopicOffsets('kept')
        assert.equal(
          offsets.reduce((sum, { high }) => sum + Number(high), 0),
          3,
        )
        const [positions] = await admin.fetchOffsets({ groupId: 'readers', topics: ['kept'] })
        assert.equal(
          positions!.partitions.reduce((sum, { offset }) => sum + Math.max(0, Number(offset)), 0),
          3,
        )
        await admin.disconnect()
        await send(kafka, 'kept', ['d'])
        assert.deepEqual(await read(kafka, 'kept', 'readers', 1), ['d'], 'the group goes on where it was')
        assert.deepEqual(await read(kafka, 'kept', 'others', 4), ['a', 'b', 'c', 'd'])
      } finally {
        await second.stop()
      }
      assert.deepEqual(
        (await readdir(data)).some((name) => name.startsWith('node-')),
        nodes > 1,
      )
    })
  })
}

test('two clusters in one process do not know of each other', async () => {
  const [one, two] = await Promise.all([
    Tidemark.start({ nodes: 3, memory: true }),
    Tidemark.start({ nodes: 3, memory: true }),
  ])
  try {
    await Promise.all([send(clientOf(one), 'mine', ['one']), send(clientOf(two), 'mine', ['two', 'zwei'])])
    assert.deepEqual(await read(clientOf(one), 'mine', 'g', 1), ['one'])
    assert.deepEqual(await read(clientOf(two), 'mine', 'g', 2), ['two', 'zwei'])
    assert.notEqual((await one.status()).cluster, (await two.status()).cluster)
    await one.stop()
    await send(clientOf(two), 'mine', ['still'])
  } finally {
    await Promise.all([one.stop(), two.stop()])
  }
})

test('stop is final, may be called again, and closes the ports', async () => {
  const tidemark = await Tidemark.start({ memory: true, http: '127.0.0.1:0' })
  const [url] = tidemark.http.urls
  await fetch(`${url}/health/live`)
  await Promise.all([tidemark.stop(), tidemark.stop()])
  await tidemark.stop()
  await assert.rejects(fetch(`${url}/health/live`))
})

test('what cannot be meant is refused with a typed error that names the option', async () => {
  const wrong: [StartOptions, string][] = [
    [{ nodes: 0 }, 'nodes'],
    [{ nodes: 10 }, 'nodes'],
    [{ nodes: 1.5 }, 'nodes'],
    [{ memory: true, data: './x' }, 'data'],
    [{ memory: true, kafka: 'nowhere' }, 'kafka'],
    [{ memory: true, kafka: '0.0.0.0:0' }, 'kafka'],
    [{ memory: true, http: '127.0.0.1:70000' }, 'http'],
    [{ memory: true, defaultPartitions: 0 }, 'default-partitions'],
    [{ memory: true, groupInitialRebalanceDelayMs: -1 }, 'group-initial-rebalance-delay-ms'],
  ]
  for (const [options, option] of wrong) {
    await assert.rejects(Tidemark.start(options), (error) => {
      assert.ok(error instanceof OptionError, `${JSON.stringify(options)}: ${error}`)
      assert.equal(error.details.option, option)
      return true
    })
  }
  await assert.rejects(Tidemark.start({ nodes: 3, memory: true, kafka: '127.0.0.1:26555' }), (error) => {
    assert.ok(error instanceof OptionError, `three nodes on one port: ${error}`)
    assert.equal(error.details.option, 'kafka')
    return true
  })
})

test('a port in use and a directory in use are refused, and leave nothing running', async () => {
  const holder = await Tidemark.start({ memory: true })
  await assert.rejects(Tidemark.start({ memory: true, kafka: holder.kafka.brokers[0]! }), {
    name: 'NodeError',
    code: 'START_FAILED',
    message: /the port is in use/,
  })
  await holder.stop()
  await withDirectory(async (data) => {
    const first = await Tidemark.start({ data })
    await assert.rejects(
      Tidemark.start({ data }),
      (error) => error instanceof StorageError && error.code === 'DIRECTORY_IN_USE',
    )
    await first.stop()
    await (await Tidemark.start({ data })).stop()
  })
})

test('a process that starts and stops ends by itself', async () => {
  const program = `
    const { Tidemark } = await import(${JSON.stringify(LIBRARY)})
    const tidemark = await Tidemark.start({ nodes: 3, memory: true, http: '127.0.0.1:0' })
    await fetch(tidemark.http.urls[0] + '/health/ready')
    await tidemark.stop()
    console.log('stopped')`
  const { stdout } = await run(
    process.execPath,
    [...process.execArgv.filter((flag) => !flag.startsWith('--test')), '--input-type=module', '-e', program],
    { timeout: 20_000 },
  )
  assert.equal(stdout.trim(), 'stopped')
})

test('CommonJS programs can require it: the entry has no top-level await', async () => {
  const program = `
    const { Tidemark } = require(${JSON.stringify(LIBRARY)})
    Tidemark.start({ memory: true }).then((tidemark) => tidemark.stop()).then(() => console.log('stopped'))`
  const { stdout } = await run(
    process.execPath,
    [...process.execArgv.filter((flag) => !flag.startsWith('--test')), '--input-type=commonjs', '-e', program],
    { timeout: 20_000 },
  )
  assert.equal(stdout.trim(), 'stopped')
})

test('offsets of a deleted topic are forgotten by every coordinator, wherever the topic was', async () => {
  const tidemark = await Tidemark.start({ memory: true, nodes: 5 })
  try {
    const kafka = new kafkajs.Kafka({ brokers: tidemark.kafka.brokers, logLevel: kafkajs.logLevel.NOTHING })
    const admin = kafka.admin()
    await admin.connect()
    // One replica on one of five nodes: most coordinators hold nothing of the topic.
    const create = () => admin.createTopics({ topics: [{ topic: 'gone', numPartitions: 1, replicationFactor: 1 }] })
    const groups = ['a', 'b', 'c', 'd', 'e', 'f']
    const positions = async () =>
      Promise.all(
        groups.map(
          async (groupId) => (await admin.fetchOffsets({ groupId, topics: ['gone'] }))[0]!.partitions[0]!.offset,
        ),
      )
    await create()
    const partitions = [{ partition: 0, offset: '7' }]
    await Promise.all(groups.map((groupId) => admin.setOffsets({ groupId, topic: 'gone', partitions })))
    assert.deepEqual(new Set(await positions()), new Set(['7']))
    await admin.deleteTopics({ topics: ['gone'] })
    await create()
    assert.deepEqual(new Set(await positions()), new Set(['-1']))
    await admin.disconnect()
  } finally {
    await tidemark.stop()
  }
})
