/** Whole nodes, three in this process: one leaves, cleanly or not, and the others go on. */
import assert from 'node:assert/strict'
import test from 'node:test'
import kafkajs, { type Producer } from 'kafkajs'
import { surroundings } from './embedding.ts'
import { type NodeError, TidemarkNode } from './node.ts'
import { formatAddress, parseNodeOptions } from './node-options.ts'
import { MemoryDisk, MemoryNetwork } from './platform/memory/index.ts'
import { nodePlatform } from './platform/nodejs/index.ts'
import { decodeTerms, encodeTerms, type Terms } from './storage/index.ts'

const IDS = [1, 2, 3]
const real = nodePlatform()

interface World {
  readonly peers: MemoryNetwork
  readonly disks: ReadonlyMap<number, MemoryDisk>
  readonly nodes: Map<number, TidemarkNode>
  readonly terminated: Map<number, NodeError>
  start(id: number): Promise<void>
}

/** `known`: their addresses for clients are the same after a restart, so that they have no news for the metadata. */
async function withNodes(use: (world: World) => Promise<void>, known = false): Promise<void> {
  const peers = new MemoryNetwork({}, { clock: real.clock })
  const disks = new Map(IDS.map((id) => [id, new MemoryDisk({ powerLoss: false }, { clock: real.clock })]))
  const nodes = new Map<number, TidemarkNode>()
  const terminated = new Map<number, NodeError>()
  const peerOf = (id: number) => ({ host: `node-${id}`, port: 7400 })
  const start = async (id: number): Promise<void> => {
    const settings = { id: String(id), data: '/data', kafka: '127.0.0.1:0', 'default-partitions': '6' }
    const options = {
      ...parseNodeOptions(known ? { ...settings, 'advertise-kafka': `node-${id}:9092` } : settings),
      peer: peerOf(id),
      cluster: IDS.map((one) => ({ id: one, peer: peerOf(one) })),
    }
    const node = await TidemarkNode.start(options, {
      ...surroundings({ ...real, disk: disks.get(id)! }),
      peerNetwork: peers.host(`node-${id}`),
      withHttp: false,
      log: () => {},
      terminated: (error) => terminated.set(id, error),
      tuning: { storage: { journalSegmentBytes: 4 << 20, shardSegmentBytes: 4 << 20 } },
    })
    nodes.set(id, node)
  }
  try {
    await Promise.all(IDS.map(start))
    await until('all ready', () => [...nodes.values()].every((node) => node.ready))
    await use({ peers, disks, nodes, terminated, start })
  } finally {
    await Promise.all([...nodes.values()].map((node) => node.stop()))
  }
}

async function until(what: string, condition: () => boolean, limitMs = 10_000): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

async function producerOf(nodes: Iterable<TidemarkNode>): Promise<Producer> {
  const brokers = [...nodes].map((node) => formatAddress(node.kafkaAddress))
  const kafka = new kafkajs.Kafka({
    brokers,
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { initialRetryTime: 20, maxRetryTime: 200, retries: 30 },
  })
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
  })
  await producer.connect()
  return producer
}

async function send(producer: Producer, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i++)
    await producer.send({ topic: 'tides', acks: -1, messages: [{ key: String(i), value: String(i) }] })
}

function records(node: TidemarkNode): number {
  return node
    .status()
    .shards.reduce((sum, { topic, highWatermark }) => sum + (topic === 'tides' ? highWatermark : 0), 0)
}

function ledBy(node: TidemarkNode): number {
  return node.status().shards.filter(({ role }) => role === 'leader').length
}

test('a node that stops hands its shards over first, and is back with everything after its restart', async () => {
  await withNodes(async ({ nodes, start }) => {
    const producer = await producerOf(nodes.values())
    await send(producer, 0, 20)
    const leaver = [...nodes.values()].find((node) => ledBy(node) > 0)!
    const { id } = leaver
    await leaver.stop()
    nodes.delete(id)
    const others = [...nodes.values()]
    await until(
      'leaders among the others',
      () =>
        others.every((node) => node.ready) &&
        others.reduce((sum, node) => sum + ledBy(node), 0) === others[0]!.status().shards.length,
      500,
    )
    await send(producer, 20, 20)
    await start(id)
    await until('the same records everywhere', () =>
      [...nodes.values()].every((node) => node.ready && records(node) === 40),
    )
    await send(producer, 40, 5)
    await producer.disconnect()
  })
})

test('a node that vanishes is replaced in its leaderships, steps down, and follows when it is back', async () => {
  await withNodes(async ({ nodes, peers }) => {
    const producer = await producerOf(nodes.values())
    await send(producer, 0, 10)
    const lost = [...nodes.values()].reduce((a, b) => (ledBy(b) > ledBy(a) ? b : a))
    const others = [...nodes.values()].filter((node) => node !== lost)
    // Bytes stop in both directions and nobody is told.
    for (const other of others) {
      peers.cut(`node-${lost.id}`, `node-${other.id}`)
      peers.cut(`node-${other.id}`, `node-${lost.id}`)
    }
    await until(
      'leaders among the others',
      () => others.reduce((sum, node) => sum + ledBy(node), 0) === others[0]!.status().shards.length,
    )
    await until('the lost one knows', () => ledBy(lost) === 0)
    assert.equal(lost.ready, false)
    assert.match(lost.status().waitingFor!, /leader/)
    await producer.disconnect()
    const another = await producerOf(others)
    await send(another, 10, 10)
    peers.heal()
    await until('the same records everywhere', () =>
      [...nodes.values()].every((node) => node.ready && records(node) === 20),
    )
    await another.disconnect()
  })
})

test('a disk that fails stops its node with the code that says so, and the others go on', async () => {
  await withNodes(async ({ nodes, disks, terminated }) => {
    const producer = await producerOf(nodes.values())
    await send(producer, 0, 10)
    const failing = [...nodes.values()].find((node) => ledBy(node) > 0)!
    disks.get(failing.id)!.fault = (operation) => (operation === 'datasync' ? 'EIO' : null)
    const sending = send(producer, 10, 30)
    await until('the node stops itself', () => terminated.has(failing.id))
    const error = terminated.get(failing.id)!
    assert.deepEqual([error.code, error.details.exitCode], ['STOPPED_TO_PROTECT_DATA', 70])
    assert.match(error.message, new RegExp(`node ${failing.id} stops to protect its data`))
    // A process would end here; its connections with it.
    nodes.delete(failing.id)
    await failing.stop()
    await sending
    await until('all records with the others', () => [...nodes.values()].every((node) => records(node) === 40))
    await producer.disconnect()
  })
})

test('a node can be stopped at any moment of its start', async () => {
  for (let turns = 0; turns < 24; turns++) {
    const platform = nodePlatform()
    const disk = new MemoryDisk({ powerLoss: false }, { clock: platform.clock })
    const options = parseNodeOptions({ data: '/node', kafka: '127.0.0.1:0', peer: '127.0.0.1:0', http: '127.0.0.1:0' })
    const node = await TidemarkNode.start(options, {
      ...surroundings({ ...platform, disk }),
      withHttp: false,
      log: () => {},
      terminated: (error: NodeError) => assert.fail(error.message),
      tuning: { storage: { journalSegmentBytes: 1 << 20 } },
    })
    // Its election, its first entry, its registration: each takes a few turns.
    for (let i = 0; i < turns; i++) await new Promise<void>((resolve) => platform.clock.endOfTurn(resolve))
    await new Promise<void>((resolve) => platform.clock.after(turns, resolve))
    await node.stop()
  }
})

test('a disk whose node ended before it was written that all is known again says so after the restart, with no news to wait for', async () => {
  await withNodes(async ({ disks, nodes, start }) => {
    await nodes.get(3)!.stop()
    nodes.delete(3)
    const { platter } = disks.get(3)!
    const terms = () => decodeTerms(platter.read('/data/terms'), 'terms') as Terms
    const before = { ...terms(), unknownFrom: 1 }
    for (const path of ['/data/terms', '/data/terms.copy']) platter.overwrite(path, 0, encodeTerms(before))
    await start(3)
    const metadata = () => [...nodes.values()].map((node) => node.status().shards[0]!.commitIndex)
    await until('it is where the others are', () => new Set(metadata()).size === 1)
    await until('all is known', () => terms().unknownFrom === 0)
  }, true)
})
