/** Backup and restore end to end: real processes, kafkajs, leaders and backups that are killed. */
import assert from 'node:assert/strict'
import { readdir, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import test from 'node:test'
import kafkajs, { type Kafka } from 'kafkajs'
import { ClusterClient, fetchBatches, readMarks } from '../backup/index.ts'
import { apis } from '../gateways/kafka/index.ts'
import { parseAddress } from '../node-options.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { lastOffsetOf } from '../records/index.ts'
import {
  type NodePlan,
  type Outcome,
  planCluster,
  Running,
  tidemark,
  untilReady,
  withDirectory,
} from './cli-harness.test.ts'

const NODE_LIFE_MS = 240_000
const platform = nodePlatform()

interface Told {
  readonly copiedRecords: number
  readonly copiedBytes: number
  readonly groups: number
  readonly topics: {
    readonly topic: string
    readonly records: number
    readonly offsets: { readonly start: number; readonly next: number }[]
  }[]
}

class TestCluster {
  readonly nodes: NodePlan[]
  readonly running: Running[]

  static async start(directory: string, count: number): Promise<TestCluster> {
    const cluster = new TestCluster(await planCluster(directory, count))
    await untilReady(cluster.nodes)
    return cluster
  }

  private constructor(nodes: NodePlan[]) {
    this.nodes = nodes
    this.running = nodes.map(({ args }) => new Running(args, { timeoutMs: NODE_LIFE_MS }))
  }

  get brokers(): string[] {
    return this.nodes.map(({ kafka }) => kafka)
  }

  restart(i: number): void {
    this.running[i] = new Running(this.nodes[i]!.args, { timeoutMs: NODE_LIFE_MS })
  }

  kafka(): Kafka {
    return new kafkajs.Kafka({
      brokers: this.brokers,
      logLevel: kafkajs.logLevel.NOTHING,
      retry: { initialRetryTime: 50, maxRetryTime: 300, retries: 100 },
    })
  }

  run(args: string[], timeoutMs = 120_000): Running {
    return new Running([...args, '--brokers', this.brokers.join(','), '--json'], { timeoutMs, input: '' })
  }

  async told(args: string[]): Promise<Told> {
    return JSON.parse(done(await this.run(args).ended).stdout) as Told
  }

  client(): ClusterClient {
    const brokers = this.brokers.map((broker) => parseAddress('brokers', broker))
    return new ClusterClient({ brokers, patienceMs: 60_000 }, platform)
  }

  async kill(): Promise<void> {
    await Promise.all(this.running.map((one) => one.kill()))
  }
}

function done(outcome: Outcome): Outcome {
  assert.equal(outcome.code, 0, outcome.stdout + outcome.stderr)
  return outcome
}

async function until(what: string, condition: () => Promise<boolean>, limitMs = 60_000): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 3))
  }
}

/** Writes until it is stopped; returns how many records were acknowledged. */
function load(kafka: Kafka, topic: string): { stop(): Promise<number>; readonly acknowledged: () => number } {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  let [stopped, acknowledged, sends] = [false, 0, 0]
  const work = (async () => {
    await producer.connect()
    while (!stopped) {
      // To one partition at a time: where a request to one broker fails, kafkajs numbers those to the others wrongly.
      const partition = sends++ % 4
      const messages = Array.from({ length: 50 }, (_, i) => ({
        partition,
        key: `k${(acknowledged + i) % 97}`,
        value: `${acknowledged + i} ${'x'.repeat(500)}`,
      }))
      await producer.send({ topic, acks: -1, messages, compression: kafkajs.CompressionTypes.GZIP })
      acknowledged += messages.length
    }
    await producer.disconnect()
  })()
  return {
    acknowledged: () => acknowledged,
    stop: async () => {
      stopped = true
      await work
      return acknowledged
    },
  }
}

/** All batches of a partition below `end`, without the epoch, which is the log's own. */
async function batches(client: ClusterClient, topic: string, partition: number, end: number): Promise<Buffer> {
  await client.refresh()
  const known = client.topics.get(topic)!
  const parts: Buffer[] = []
  let offset = (await readMarks(client, known, partition))!.startOffset
  while (offset < end) {
    const fetched = await fetchBatches(client, known, partition, offset, { maxBytes: 1 << 20 })
    assert.ok(fetched !== null && fetched !== 'out-of-range')
    for (const batch of fetched.batches) {
      if (lastOffsetOf(batch, 0) >= end) return Buffer.concat(parts)
      batch.fill(0, 12, 16)
      parts.push(batch)
      offset = lastOffsetOf(batch, 0) + 1
    }
  }
  return Buffer.concat(parts)
}

async function sealed(folder: string): Promise<string[]> {
  const names = await readdir(path.join(folder, 'segments')).catch(() => [])
  return names.filter((name) => name.endsWith('.batches'))
}

async function inodes(folder: string): Promise<Map<string, number>> {
  const names = await sealed(folder)
  return new Map(
    await Promise.all(
      names.map(async (name) => [name, (await stat(path.join(folder, 'segments', name))).ino] as [string, number]),
    ),
  )
}

test('backup under load while a leader dies and the backup is killed; restore, killed too; everything is where it was', {
  timeout: NODE_LIFE_MS,
}, async () => {
  await withDirectory(async (directory) => {
    const folder = path.join(directory, 'backup')
    const source = await TestCluster.start(path.join(directory, 'source'), 3)
    let target: TestCluster | null = null
    const clients: ClusterClient[] = []
    try {
      const kafka = source.kafka()
      const admin = kafka.admin()
      await admin.connect()
      const topics = [
        { topic: 'orders', numPartitions: 4, configEntries: [{ name: 'retention.ms', value: '-1' }] },
        { topic: 'empty', numPartitions: 1 },
      ]
      await admin.createTopics({ topics, waitForLeaders: true })
      const writing = load(kafka, 'orders')
      await until('some records', async () => writing.acknowledged() >= 3000)
      await commit(kafka, 'billing', 'orders', 4)
      const positions = await admin.fetchOffsets({ groupId: 'billing', topics: ['orders'] })

      // Killed in the middle: small files make it long, and one that was through all the same is taken anew from more.
      for (let attempts = 1; ; attempts++) {
        const killed = source.run(['backup', folder, '--segment-bytes', '4000'])
        await until('sealed segments', async () => (await sealed(folder)).length >= 3)
        await killed.kill()
        const unfinished = await tidemark(['restore', folder, '--brokers', source.brokers[0]!])
        if (/never finished; run tidemark backup .* again/.test(unfinished.stderr)) break
        assert.ok(attempts < 10, `each run was through before it was killed: ${unfinished.stderr}`)
        await rm(folder, { recursive: true })
        const enough = writing.acknowledged() + attempts * 3000
        await until('more records', async () => writing.acknowledged() >= enough)
      }
      const kept = await inodes(folder)

      // A leader dies while the next run reads.
      const second = source.run(['backup', folder, '--segment-bytes', '4000'])
      await until('another segment', async () => (await sealed(folder)).length > kept.size)
      await source.running[0]!.kill()
      done(await second.ended)
      for (const [name, inode] of kept)
        assert.equal((await inodes(folder)).get(name), inode, `${name} was written again`)
      source.restart(0)
      await untilReady(source.nodes)

      const acknowledged = await writing.stop()
      const third = await source.told(['backup', folder])
      const fourth = await source.told(['backup', folder])
      assert.equal(fourth.copiedRecords, 0)
      const orders = fourth.topics.find(({ topic }) => topic === 'orders')!
      assert.ok(orders.records >= acknowledged, `${orders.records} of ${acknowledged} acknowledged records`)
      assert.ok(third.copiedRecords < orders.records, 'the third run copied only what was new')
      done(await tidemark(['backup', folder, '--verify']))

      target = await TestCluster.start(path.join(directory, 'target'), 1)
      const restoring = target.run(['restore', folder])
      const client = target.client()
      clients.push(client)
      await until('restored records', () => restoredSome(client))
      const cutShort = (await restoring.kill()).code === null
      const hidden = await target
        .kafka()
        .admin()
        .fetchTopicOffsets('orders')
        .catch((error: Error) => error.message)
      if (cutShort) assert.equal(typeof hidden, 'string', 'nobody sees the topic before it is whole')
      const restored = await target.told(['restore', folder])
      assert.equal(restored.groups, 1)

      const [old, fresh] = [source.client(), target.client()]
      clients.push(old, fresh)
      for (const [partition, { next }] of orders.offsets.entries()) {
        const was = await batches(old, 'orders', partition, next)
        assert.ok(was.length > 0)
        assert.ok(was.equals(await batches(fresh, 'orders', partition, next)), `orders/${partition} differs`)
      }
      const targetAdmin = target.kafka().admin()
      await targetAdmin.connect()
      const now = await targetAdmin.fetchOffsets({ groupId: 'billing', topics: ['orders'] })
      assert.deepEqual(byPartition(now), byPartition(positions))
      const described = await targetAdmin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: 'orders' }],
      })
      const setting = described.resources[0]!.configEntries.find(({ configName }) => configName === 'retention.ms')
      assert.equal(setting?.configValue, '-1')
      await targetAdmin.disconnect()
      await resumes(target.kafka(), 'billing', byPartition(positions))

      const again = await tidemark(['restore', folder, '--brokers', target.brokers[0]!])
      assert.match(again.stderr, /Topic 'orders' already exists.*Nothing was changed/)
      await admin.disconnect()
    } finally {
      for (const client of clients) client.close()
      await Promise.all([source.kill(), target?.kill()])
    }
  })
})

async function restoredSome(client: ClusterClient): Promise<boolean> {
  await client.refresh()
  const topic = client.topics.get('orders')
  const leader = topic?.leaders[0] ?? null
  if (topic === undefined || leader === null) return false
  const request = { name: 'orders', topicId: topic.id, partitionIndex: 0, records: Buffer.alloc(0) }
  const { endOffset } = await client.ask(leader, apis.restoreRecords, 0, request)
  return endOffset > 0
}

type Offsets = { readonly partitions: readonly { readonly partition: number; readonly offset: string }[] }[]

function byPartition(offsets: Offsets): Map<number, number> {
  const pairs = offsets[0]!.partitions.map(({ partition, offset }): [number, number] => [partition, Number(offset)])
  return new Map(pairs.sort(([a], [b]) => a - b))
}

/** A member of the group reads a little of every partition, and leaves. */
async function commit(kafka: Kafka, groupId: string, topic: string, partitions: number): Promise<void> {
  const consumer = kafka.consumer({ groupId })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  const seen = new Set<number>()
  await new Promise<void>((resolve) => {
    void consumer.run({
      eachBatch: async ({ batch, resolveOffset, commitOffsetsIfNecessary }) => {
        resolveOffset(batch.messages[Math.min(6, batch.messages.length - 1)]!.offset)
        await commitOffsetsIfNecessary()
        seen.add(batch.partition)
        if (seen.size === partitions) resolve()
      },
    })
  })
  await consumer.disconnect()
}

/** The first record of every partition that a member of the group is given is the one at its position. */
async function resumes(kafka: Kafka, groupId: string, positions: ReadonlyMap<number, number>): Promise<void> {
  const consumer = kafka.consumer({ groupId })
  await consumer.connect()
  await consumer.subscribe({ topics: ['orders'], fromBeginning: true })
  const first = new Map<number, number>()
  await new Promise<void>((resolve) => {
    void consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        if (!first.has(partition)) first.set(partition, Number(message.offset))
        if (first.size === positions.size) resolve()
      },
    })
  })
  await consumer.disconnect()
  assert.deepEqual(new Map([...first].sort(([a], [b]) => a - b)), positions)
}
