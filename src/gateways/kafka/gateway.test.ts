/** The gateway of a whole node in memory, over real sockets: what decent clients rely on, and what strangers may not do. */
import assert from 'node:assert/strict'
import net from 'node:net'
import test, { after, before } from 'node:test'
import { RawClient } from '../../../bench/raw-client.ts'
import { Tidemark } from '../../index.ts'
import { encodeBatch } from '../../records/index.ts'
import { Prng } from '../../stdx/index.ts'
import { type AnyApi, type Api, apis } from './api-table.ts'
import { FrameReader } from './frame-reader.ts'
import type { DraftOf, MessageDefinition } from './message-definition.ts'
import { Reader } from './reader.ts'
import { readCorrelationId, readResponse, writeRequest } from './request-header.ts'
import { sample } from './test-messages.ts'
import { Writer } from './writer.ts'

let tidemark: Tidemark
let client: RawClient

before(async () => {
  tidemark = await Tidemark.start({ memory: true, defaultPartitions: 1 })
  client = await RawClient.connect(tidemark.kafka.brokers[0]!)
})

after(async () => {
  client.close()
  await tidemark.stop()
})

async function createTopic(name: string): Promise<void> {
  const topic = { name, numPartitions: 1, replicationFactor: -1, assignments: [], configs: [] }
  const { topics } = await client.request(apis.createTopics, 4, {
    topics: [topic],
    timeoutMs: 5000,
    validateOnly: false,
  })
  assert.equal(topics[0]!.errorCode, 0)
  // Metadata parks until there is a leader.
  await client.request(apis.metadata, 9, { topics: [{ name }] })
}

function frame<Q extends MessageDefinition, R extends MessageDefinition>(
  api: Api<Q, R>,
  version: number,
  correlation: number,
  message: DraftOf<Q>,
): Buffer {
  const writer = new Writer(1024)
  writeRequest(writer, api, version, correlation, 'test', message)
  return writer.takeBuffer()
}

function produceOf(
  topic: string,
  value: Buffer,
  producer?: { producerId: number; producerEpoch: number; baseSequence: number },
) {
  const records = encodeBatch([{ key: null, value }], { timestamp: 1, ...producer })
  return {
    transactionalId: null,
    acks: -1,
    timeoutMs: 5000,
    topicData: [{ name: topic, partitionData: [{ index: 0, records }] }],
  }
}

function fetchOf(topic: string, fetchOffset: number, maxWaitMs: number, maxBytes = 1 << 20) {
  const partition = { partition: 0, fetchOffset, partitionMaxBytes: maxBytes }
  return { maxWaitMs, minBytes: 1, maxBytes, topics: [{ topic, partitions: [partition] }] }
}

async function endOf(topic: string): Promise<number> {
  const { topics } = await client.request(apis.listOffsets, 4, {
    replicaId: -1,
    isolationLevel: 0,
    topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp: -1 }] }],
  })
  return topics[0]!.partitions[0]!.offset
}

/** A socket that shows what comes, as frames. */
class Stranger {
  readonly socket: net.Socket
  readonly frames: Buffer[] = []
  readonly ended: Promise<void>
  #changed: () => void = () => {}

  private constructor(socket: net.Socket) {
    this.socket = socket
    const reader = new FrameReader(64 << 20)
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      reader.read(bytes, (one) => {
        this.frames.push(Buffer.from(one))
        return true
      })
      this.#changed()
    })
    this.ended = new Promise((resolve) => socket.once('close', () => resolve()))
  }

  static connect(): Promise<Stranger> {
    const [host, port] = tidemark.kafka.brokers[0]!.split(':') as [string, string]
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host, port: Number(port), noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => resolve(new Stranger(socket)))
    })
  }

  until(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#changed = () => {
        if (this.frames.length >= count) resolve()
      }
      this.#changed()
    })
  }

  get order(): number[] {
    return this.frames.map((one) => readCorrelationId(new Reader(one)))
  }
}

test('a parked fetch holds up what was asked after it on its connection, and a write lets it go', async () => {
  await createTopic('parked')
  const stranger = await Stranger.connect()
  stranger.socket.write(
    Buffer.concat([
      frame(apis.fetch, 11, 1, fetchOf('parked', 0, 20_000)),
      frame(apis.metadata, 9, 2, { topics: [] }),
      frame(apis.apiVersions, 0, 3, {}),
    ]),
  )
  // Another connection is not held up, and has its answer while the first has none.
  await client.request(apis.metadata, 9, { topics: [] })
  assert.deepEqual(stranger.order, [])
  await client.request(apis.produce, 8, produceOf('parked', Buffer.from('x')))
  await stranger.until(3)
  assert.deepEqual(stranger.order, [1, 2, 3])
  const reader = new Reader(stranger.frames[0]!)
  readCorrelationId(reader)
  const partition = readResponse(reader, apis.fetch, 11).responses[0]!.partitions[0]!
  assert.equal(partition.highWatermark, 1)
  stranger.socket.destroy()
})

test('pipelined idempotent writes of one connection are appended in their order', async () => {
  await createTopic('pipelined')
  const { producerId, producerEpoch } = await client.request(apis.initProducerId, 1, {
    transactionalId: null,
    transactionTimeoutMs: 1000,
  })
  const stranger = await Stranger.connect()
  const frames = Array.from({ length: 50 }, (_, i) =>
    frame(
      apis.produce,
      8,
      i,
      produceOf('pipelined', Buffer.from(String(i)), { producerId, producerEpoch, baseSequence: i }),
    ),
  )
  const bytes = Buffer.concat(frames)
  // In pieces that respect no frame.
  for (let at = 0; at < bytes.length; at += 777) stranger.socket.write(bytes.subarray(at, at + 777))
  await stranger.until(50)
  assert.deepEqual(
    stranger.order,
    Array.from({ length: 50 }, (_, i) => i),
  )
  const offsets = stranger.frames.map((one) => {
    const reader = new Reader(one)
    readCorrelationId(reader)
    const { errorCode, baseOffset } = readResponse(reader, apis.produce, 8).responses[0]!.partitionResponses[0]!
    assert.equal(errorCode, 0)
    return baseOffset
  })
  assert.deepEqual(
    offsets,
    Array.from({ length: 50 }, (_, i) => i),
  )
  stranger.socket.destroy()
})

test('a connection that ends with a fetch parked leaves nothing behind', async () => {
  await createTopic('left')
  for (let i = 0; i < 20; i++) {
    const stranger = await Stranger.connect()
    stranger.socket.write(frame(apis.fetch, 11, 1, fetchOf('left', 0, 60_000)))
    stranger.socket.end()
    stranger.socket.destroy()
    await stranger.ended
  }
  await client.request(apis.produce, 8, produceOf('left', Buffer.from('x')))
  assert.equal(await endOf('left'), 1)
})

test('whoever is not a Kafka client is hung up on: HTTP, TLS, zeros, noise', async () => {
  const prng = new Prng('noise')
  const greetings = [
    Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'),
    Buffer.from('16030100c8010000c40303', 'hex'),
    Buffer.alloc(64),
    Buffer.alloc(64, 0xff),
    Buffer.concat([Buffer.from([0, 0, 0, 60]), prng.bytes(60)]),
  ]
  for (const greeting of greetings) {
    const stranger = await Stranger.connect()
    stranger.socket.write(greeting)
    await stranger.ended
    assert.deepEqual(stranger.frames, [])
  }
  await client.request(apis.metadata, 9, { topics: [] })
})

test('a batch that is not what it says is refused by its own error, and the connection goes on', async () => {
  await createTopic('damaged')
  const whole = encodeBatch([{ key: null, value: Buffer.from('x') }], { timestamp: 1 })
  const send = async (records: Buffer | null): Promise<number> => {
    const request = {
      transactionalId: null,
      acks: -1,
      timeoutMs: 1000,
      topicData: [{ name: 'damaged', partitionData: [{ index: 0, records }] }],
    }
    const { responses } = await client.request(apis.produce, 8, request)
    return responses[0]!.partitionResponses[0]!.errorCode
  }
  const flipped = Buffer.from(whole)
  flipped[flipped.length - 1]! ^= 1
  const magic = Buffer.from(whole)
  magic[16] = 1
  assert.equal(await send(flipped), 2, 'CORRUPT_MESSAGE')
  assert.notEqual(await send(magic), 0)
  assert.notEqual(await send(whole.subarray(0, 40)), 0)
  assert.notEqual(await send(Buffer.concat([whole, whole])), 0, 'one batch per partition')
  assert.notEqual(await send(null), 0)
  assert.equal(await send(whole), 0)
  assert.equal(await endOf('damaged'), 1)
})

test('5,000 damaged requests to a live node: it goes on serving, and keeps nothing of them', {
  timeout: 60_000,
}, async (t) => {
  await createTopic('fuzzed')
  const prng = new Prng('mutated')
  const seeds: Buffer[] = []
  for (const api of Object.values(apis) as AnyApi[]) {
    for (let version = api.minServedVersion; version <= api.maxVersion; version++) {
      const definition = api.request.definition as MessageDefinition
      // Modest in what would be honest work: topics with thousands of partitions, waits of hours.
      const message = sample(definition, version, {
        numPartitions: 1,
        replicationFactor: 1,
        maxWaitMs: 1,
        minBytes: 0,
        timeoutMs: 100,
        sessionTimeoutMs: 6000,
        rebalanceTimeoutMs: 100,
      })
      seeds.push(frame(api as unknown as Api, version, 7, message as never))
    }
  }
  for (let i = 0; i < 60; i++) {
    seeds.push(frame(apis.produce, 3 + (i % 6), 7, produceOf('fuzzed', prng.bytes(prng.below(300)))))
    seeds.push(frame(apis.fetch, 4 + (i % 8), 7, fetchOf('fuzzed', prng.below(3), 1)))
  }
  const probe = frame(apis.apiVersions, 0, 8, {})
  let left = 5000
  let closed = 0
  let answered = 0
  const before = process.memoryUsage()
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const damaged = mutated(seeds[prng.below(seeds.length)]!, prng)
      const stranger = await Stranger.connect()
      stranger.socket.write(Buffer.concat([damaged, probe]))
      let timer: NodeJS.Timeout | undefined
      // Silence is an answer too: a write with acks = 0, a member that waits for its group.
      const patience = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, 20)
      })
      const end = await Promise.race([
        stranger.until(1).then(() => 'answered'),
        stranger.ended.then(() => 'closed'),
        patience,
      ])
      if (end === 'answered') answered++
      if (end === 'closed') closed++
      clearTimeout(timer)
      stranger.socket.destroy()
      await stranger.ended
    }
  }
  await Promise.all(Array.from({ length: 32 }, worker))
  assert.ok(closed > 100 && answered > 100, `${closed} closed, ${answered} answered: neither may be rare`)
  const { errorCode } = (await client.request(apis.produce, 8, produceOf('fuzzed', Buffer.from('still here'))))
    .responses[0]!.partitionResponses[0]!
  assert.equal(errorCode, 0)
  const end = await endOf('fuzzed')
  const fetched = await client.request(apis.fetch, 11, fetchOf('fuzzed', end - 1, 1000))
  assert.equal(fetched.responses[0]!.partitions[0]!.errorCode, 0)
  const grownMegabytes = (process.memoryUsage().rss - before.rss) / 2 ** 20
  t.diagnostic(`${closed} closed, ${answered} answered, resident memory grew by ${grownMegabytes.toFixed(0)} MB`)
  assert.ok(grownMegabytes < 300, `resident memory grew by ${grownMegabytes.toFixed(0)} MB`)
})

test('a client that asks for much and reads nothing is not served beyond what is bounded', {
  timeout: 30_000,
}, async (t) => {
  await createTopic('slow')
  const value = Buffer.alloc(900_000, 7)
  for (let i = 0; i < 8; i++) await client.request(apis.produce, 8, produceOf('slow', value))
  const stranger = await Stranger.connect()
  stranger.socket.pause()
  const asked = frame(apis.fetch, 11, 1, fetchOf('slow', 0, 0, 8 << 20))
  stranger.socket.write(Buffer.concat(Array.from({ length: 3000 }, () => asked)))
  const arrays = process.memoryUsage().arrayBuffers
  // Others are served meanwhile, in time.
  let slowest = 0
  for (let i = 0; i < 30; i++) {
    const from = performance.now()
    await client.request(apis.produce, 8, produceOf('slow', Buffer.from('x')))
    slowest = Math.max(slowest, performance.now() - from)
  }
  const grown = (process.memoryUsage().arrayBuffers - arrays) / 2 ** 20
  t.diagnostic(`slowest write beside it ${slowest.toFixed(0)} ms, buffers grew by ${grown.toFixed(0)} MB`)
  assert.ok(slowest < 2000)
  assert.ok(grown < 200, `buffers grew by ${grown.toFixed(0)} MB`)
  stranger.socket.destroy()
  await stranger.ended
})

/** The same length of frame, other bytes in it; or another length, with the prefix to match or not. */
function mutated(seed: Buffer, prng: Prng): Buffer {
  let bytes = Buffer.from(seed)
  for (let changes = 1 + prng.below(4); changes > 0; changes--) {
    const at = 4 + prng.below(Math.max(1, bytes.length - 4))
    switch (prng.below(6)) {
      case 0:
        bytes[at] = prng.below(256)
        break
      case 1:
        bytes[at]! ^= 1 << prng.below(8)
        break
      case 2:
        if (at + 4 <= bytes.length) bytes.writeInt32BE([-1, 0, 2 ** 31 - 1, -(2 ** 31), 1 << 20][prng.below(5)]!, at)
        break
      case 3:
        bytes = Buffer.from(bytes.subarray(0, Math.max(5, at)))
        break
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), prng.bytes(prng.below(40)), bytes.subarray(at)])
        break
      case 5:
        bytes.fill(0xff, at, Math.min(bytes.length, at + 5))
        break
    }
  }
  if (prng.below(20) > 0) bytes.writeInt32BE(bytes.length - 4, 0)
  else bytes.writeInt32BE(prng.below(2) === 0 ? -prng.below(1000) : prng.below(2 ** 31 - 1), 0)
  return bytes
}
