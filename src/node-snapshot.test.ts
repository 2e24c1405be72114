/**
 * Whole nodes, three in this process, with logs that are cut after a few entries: one is away, or cut off, while groups commit
 * and topics come and go. It is given the state, says so to its layers, and can lead.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import kafkajs, { type Kafka } from 'kafkajs'
import { surroundings } from './embedding.ts'
import { type NodeError, TidemarkNode } from './node.ts'
import { formatAddress, parseNodeOptions } from './node-options.ts'
import { MemoryDisk, MemoryNetwork } from './platform/memory/index.ts'
import { nodePlatform } from './platform/nodejs/index.ts'
import { Storage } from './storage/index.ts'

const IDS = [1, 2, 3]
const GROUPS = ['tide', 'ebb', 'flood', 'slack', 'neap', 'spring']
const real = nodePlatform()

class World {
  readonly peers = new MemoryNetwork({}, { clock: real.clock })
  readonly nodes = new Map<number, TidemarkNode>()
  readonly #disks = new Map(IDS.map((id) => [id, new MemoryDisk({ powerLoss: false }, { clock: real.clock })]))

  async start(id: number): Promise<void> {
    const peerOf = (one: number) => ({ host: `node-${one}`, port: 7400 })
    const options = {
      ...parseNodeOptions({ id: String(id), data: '/data', kafka: '127.0.0.1:0', 'default-partitions': '1' }),
      groupInitialRebalanceDelayMs: 0,
      peer: peerOf(id),
      cluster: IDS.map((one) => ({ id: one, peer: peerOf(one) })),
    }
    const node = await TidemarkNode.start(options, {
      ...surroundings({ ...real, disk: this.#disks.get(id)! }),
      peerNetwork: this.peers.host(`node-${id}`),
      withHttp: false,
      log: () => {},
      terminated: (error: NodeError) => assert.fail(error.message),
      tuning: {
        host: { snapshotEveryBytes: 1500, snapshotKeepEntries: 4, snapshotChunkBytes: 300 },
        storage: { journalSegmentBytes: 1 << 20, shardSegmentBytes: 1 << 20 },
      },
    })
    this.nodes.set(id, node)
  }

  async stop(id: number): Promise<void> {
    await this.node(id).stop()
    this.nodes.delete(id)
  }

  /** What is on the disk of a node that does not run. */
  async withStorage<T>(id: number, use: (storage: Storage) => T | Promise<T>): Promise<T> {
    const storage = await new Promise<Storage>((resolve, reject) =>
      Storage.open(
        { directory: '/data', nodeId: id, clusterHash: '' },
        { platform: { ...real, disk: this.#disks.get(id)! }, trace: () => {}, fatal: reject },
        (error, opened) => (error === null ? resolve(opened!) : reject(error)),
      ),
    )
    const result = await use(storage)
    await new Promise<void>((resolve) => storage.close(resolve))
    return result
  }

  node(id: number): TidemarkNode {
    return this.nodes.get(id)!
  }

  kafka(ids: readonly number[]): Kafka {
    const brokers = ids.map((id) => formatAddress(this.node(id).kafkaAddress))
    const retry = { initialRetryTime: 20, maxRetryTime: 200, retries: 40 }
    return new kafkajs.Kafka({ brokers, logLevel: kafkajs.logLevel.NOTHING, retry })
  }

  /**
   * Until the others miss it they are ready, as they were before the cut: clients are sent to it where it leads, and a log is
   * not cut above what it has.
   */
  async cutOff(id: number): Promise<void> {
    const others = IDS.filter((one) => one !== id)
    for (const other of others) {
      this.peers.cut(`node-${id}`, `node-${other}`)
      this.peers.cut(`node-${other}`, `node-${id}`)
    }
    await until(`the others miss node ${id}`, async () => {
      const seen = await Promise.all(others.map((other) => this.node(other).clusterStatus()))
      return seen.every(({ nodes }) => nodes.some(({ node, up }) => node === id && !up))
    })
  }

  /** By shard: where its log starts and ends on that node, as an operator sees it. */
  shards(id: number): Map<number, { startOffset: number; highWatermark: number; role: string }> {
    return new Map(
      this.node(id)
        .status()
        .shards.map((status) => [status.shard, status]),
    )
  }
}

async function withNodes(use: (world: World) => Promise<void>): Promise<void> {
  const world = new World()
  try {
    await Promise.all(IDS.map((id) => world.start(id)))
    await until('all ready', () => [...world.nodes.values()].every((node) => node.ready))
    await use(world)
  } finally {
    await Promise.all([...world.nodes.values()].map((node) => node.stop()))
  }
}

async function until(what: string, condition: () => boolean | Promise<boolean>, limitMs = 15_000): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** Clients throw away a position that lies beyond a partition's end. */
async function produce(kafka: Kafka, topic: string, count: number): Promise<void> {
  const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
  await producer.connect()
  await producer.send({ topic, acks: -1, messages: Array.from({ length: count }, (_, i) => ({ value: `${i}` })) })
  await producer.disconnect()
}

/** Each group commits offsets one after the other, up to `last`. */
async function commitAll(kafka: Kafka, last: number): Promise<void> {
  await Promise.all(
    GROUPS.map(async (groupId) => {
      const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500 })
      await consumer.connect()
      await consumer.subscribe({ topic: 'tides' })
      const joined = new Promise<void>((resolve) => void consumer.on(consumer.events.GROUP_JOIN, () => resolve()))
      await consumer.run({ autoCommit: false, eachMessage: async () => {} })
      await joined
      for (let offset = last - 40; offset <= last; offset++) {
        await consumer.commitOffsets([{ topic: 'tides', partition: 0, offset: String(offset) }])
      }
      await consumer.disconnect()
    }),
  )
}

async function expectOffsets(kafka: Kafka, offset: number): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  for (const groupId of GROUPS) {
    const [topic] = await admin.fetchOffsets({ groupId, topics: ['tides'] })
    assert.equal(topic!.partitions[0]!.offset, String(offset), `of group ${groupId}`)
  }
  await admin.disconnect()
}

async function withAdmin(kafka: Kafka, use: (admin: ReturnType<Kafka['admin']>) => Promise<unknown>): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  await use(admin)
  await admin.disconnect()
}

/** Shards of which `behind` has less than where the log starts with `other`. */
function overtaken(behind: ReturnType<World['shards']>, other: ReturnType<World['shards']>): number[] {
  return [...behind]
    .filter(([shard, { highWatermark }]) => (other.get(shard)?.startOffset ?? 0) > highWatermark)
    .map(([shard]) => shard)
}

function level(world: World): boolean {
  const all = IDS.map((id) => world.shards(id))
  return (
    [...all[0]!].every(([shard, { highWatermark }]) =>
      all.every((shards) => shards.get(shard)?.highWatermark === highWatermark),
    ) && all.every((shards) => shards.size === all[0]!.size)
  )
}

test('a node that was away while groups committed has their offsets when it is back, and leads some of them', async () => {
  await withNodes(async (world) => {
    await withAdmin(world.kafka(IDS), (admin) =>
      admin.createTopics({ topics: [{ topic: 'tides' }], waitForLeaders: true }),
    )
    await produce(world.kafka(IDS), 'tides', 200)
    await commitAll(world.kafka(IDS), 50)
    const before = world.shards(3)
    await world.stop(3)
    await commitAll(world.kafka([1, 2]), 100)
    const behind = overtaken(before, world.shards(1))
    assert.ok(behind.length >= 3, `only shards ${behind} are cut above what node 3 has`)
    await world.start(3)
    await until('node 3 has it all', () => [...world.nodes.values()].every((node) => node.ready) && level(world))
    for (const shard of behind) assert.ok(world.shards(3).get(shard)!.startOffset > before.get(shard)!.highWatermark)
    // The others are cut off in turn until node 3 is elected for a shard whose state it was given.
    const leads = () => behind.filter((shard) => world.shards(3).get(shard)!.role === 'leader')
    for (let round = 0; leads().length === 0; round++) {
      assert.ok(round < 10, `node 3 leads nothing of ${behind}`)
      const lost = 1 + (round % 2)
      await world.cutOff(lost)
      await until('the lost one knows', () => ![...world.shards(lost).values()].some(({ role }) => role === 'leader'))
      await until('leaders', () => IDS.every((id) => id === lost || world.node(id).ready))
      world.peers.heal()
      await until('all ready', () => [...world.nodes.values()].every((node) => node.ready) && level(world))
    }
    await expectOffsets(world.kafka(IDS), 100)
    await commitAll(world.kafka(IDS), 200)
    await expectOffsets(world.kafka(IDS), 200)
  })
})

test('a node that was cut off sees in one step which topics have come and gone', async () => {
  await withNodes(async (world) => {
    const named = (prefix: string, count: number) =>
      Array.from({ length: count }, (_, i) => ({ topic: `${prefix}-${i}` }))
    const names = (prefix: string, count: number) => named(prefix, count).map(({ topic }) => topic)
    await withAdmin(world.kafka(IDS), (admin) => admin.createTopics({ topics: named('old', 6), waitForLeaders: true }))
    await until('all level', () => level(world))
    const before = world.shards(3)
    await world.cutOff(3)
    await until('two go on alone', () => [1, 2].every((id) => world.node(id).ready))
    await withAdmin(world.kafka([1, 2]), async (admin) => {
      await admin.deleteTopics({ topics: names('old', 3) })
      for (let i = 0; i < 4; i++) {
        await admin.createTopics({ topics: named(`new-${i}`, 5), waitForLeaders: false })
        if (i < 3) await admin.deleteTopics({ topics: names(`new-${i}`, 5) })
      }
      // The same name, another topic.
      await admin.createTopics({ topics: named('old', 1), waitForLeaders: true })
    })
    // A cut is an entry of its own, after those that made it due: that they are answered does not say that it is applied.
    await until('the metadata is cut above what node 3 has', () => overtaken(before, world.shards(1)).includes(1))
    world.peers.heal()
    await until(
      'the same shards everywhere',
      () => [...world.nodes.values()].every((node) => node.ready) && level(world),
    )
    const topics = world
      .node(3)
      .status()
      .shards.map(({ topic }) => topic)
    assert.deepEqual([...new Set(topics)].filter((topic) => topic !== null && !topic.startsWith('__')).sort(), [
      'new-3-0',
      'new-3-1',
      'new-3-2',
      'new-3-3',
      'new-3-4',
      'old-0',
      'old-3',
      'old-4',
      'old-5',
    ])
    assert.ok(world.shards(3).get(1)!.startOffset > before.get(1)!.highWatermark)
    await produce(world.kafka([3]), 'old-0', 1)
  })
})

test('metadata that came as a snapshot and a crash before the removals in it: the next start removes them', async () => {
  await withNodes(async (world) => {
    const topics = ['ebb', 'flood'].map((topic) => ({ topic, numPartitions: 3 }))
    await withAdmin(world.kafka(IDS), (admin) => admin.createTopics({ topics, waitForLeaders: true }))
    await produce(world.kafka(IDS), 'ebb', 20)
    await until('all level', () => level(world))
    await world.stop(3)
    const has = (storage: Storage) => [...storage.recovered.keys()].sort((a, b) => a - b)
    const before = await world.withStorage(3, has)
    await withAdmin(world.kafka([1, 2]), (admin) => admin.deleteTopics({ topics: ['ebb'] }))
    await world.stop(1)
    const metadata = await world.withStorage(1, (storage) => storage.recovered.get(1)!.checkpoint!)
    await world.start(1)
    await world.withStorage(3, (storage) => new Promise((done) => storage.installSnapshot(metadata, () => done(null))))
    assert.deepEqual(await world.withStorage(3, has), before, 'the snapshot alone removes nothing')
    await world.start(3)
    await until('all ready', () => [...world.nodes.values()].every((node) => node.ready) && level(world))
    const hosted = [...world.shards(3).keys()].sort((a, b) => a - b)
    assert.equal(hosted.length, before.length - 3)
    await world.stop(3)
    assert.deepEqual(await world.withStorage(3, has), hosted)
  })
})
