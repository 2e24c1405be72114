/**
 * kafkajs 2.2. It packs gzip by itself; snappy, lz4 and zstd are registered the way its documentation tells users to. It has
 * no consumption by assignment: a lone member of a group of its own, which seeks, comes closest.
 */
import { createRequire } from 'node:module'
import zlib from 'node:zlib'
import kafkajs, { type Consumer, type Producer } from 'kafkajs'
import { compressFrame, decompressFrame } from 'lz4-napi'
import snappy from 'snappy'
import {
  type ClientDriver,
  CODEC_NAMES,
  type GroupDescription,
  type GroupMember,
  type Incoming,
  type JoinSettings,
  type Lacking,
  type Outgoing,
  type ProduceSettings,
  until,
} from './driver.ts'

interface Packed {
  readonly buffer: Buffer
}

/** Absent from Node.js before 22.15, and from the type definitions of 20. */
const { zstdCompressSync, zstdDecompressSync } = zlib as unknown as Record<
  'zstdCompressSync' | 'zstdDecompressSync',
  ((bytes: Buffer) => Buffer) | undefined
>

export class KafkajsDriver implements ClientDriver {
  readonly version = (createRequire(import.meta.url)('kafkajs/package.json') as { version: string }).version
  readonly lacks: ReadonlyMap<Lacking, string>
  readonly #kafka: kafkajs.Kafka
  #admin: kafkajs.Admin | null = null
  #readers = 0

  constructor(brokers: readonly string[]) {
    const { CompressionCodecs, CompressionTypes } = kafkajs
    CompressionCodecs[CompressionTypes.Snappy] = () => ({
      compress: ({ buffer }: Packed) => snappy.compress(buffer),
      decompress: (bytes: Buffer) => snappy.uncompress(bytes) as Promise<Buffer>,
    })
    CompressionCodecs[CompressionTypes.LZ4] = () => ({
      compress: ({ buffer }: Packed) => compressFrame(buffer),
      decompress: (bytes: Buffer) => decompressFrame(bytes),
    })
    const lacks = new Map<Lacking, string>()
    if (zstdCompressSync === undefined) lacks.set('zstd', `node:zlib of ${process.version} has no zstd`)
    else {
      CompressionCodecs[CompressionTypes.ZSTD] = () => ({
        compress: async ({ buffer }: Packed) => zstdCompressSync(buffer),
        decompress: async (bytes: Buffer) => zstdDecompressSync!(bytes),
      })
    }
    this.lacks = lacks
    this.#kafka = new kafkajs.Kafka({ clientId: 'compat', brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING })
  }

  async createTopic(topic: string, numPartitions: number): Promise<void> {
    const admin = await this.#administrator()
    if (!(await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions }] }))) {
      throw new Error(`createTopics says that ${topic} exists`)
    }
  }

  async produce(topic: string, records: readonly Outgoing[], { codec, idempotent }: ProduceSettings): Promise<void> {
    const producer: Producer = this.#kafka.producer({ idempotent, ...(idempotent ? { maxInFlightRequests: 1 } : {}) })
    await producer.connect()
    try {
      // Several sends, so that sequences go on from batch to batch.
      const third = Math.max(1, Math.ceil(records.length / 3))
      for (let from = 0; from < records.length; from += third) {
        const messages = records.slice(from, from + third).map((record) => ({ ...record }))
        await producer.send({ topic, acks: -1, compression: CODEC_NAMES.indexOf(codec), messages })
      }
    } finally {
      await producer.disconnect()
    }
  }

  async read(topic: string, from: ReadonlyMap<number, number>, count: number): Promise<Incoming[]> {
    const consumer = this.#kafka.consumer({ groupId: `${topic}-reader-${this.#readers++}`, maxWaitTimeInMs: 200 })
    const records: Incoming[] = []
    await consumer.connect()
    try {
      await consumer.subscribe({ topic, fromBeginning: true })
      await consumer.run({
        autoCommit: false,
        eachMessage: async ({ partition, message }) => void records.push(incoming(partition, message)),
      })
      for (const [partition, offset] of from) consumer.seek({ topic, partition, offset: String(offset) })
      await until(
        () => records.length >= count,
        () => `${count} records of ${topic}; there are ${records.length}`,
      )
    } finally {
      await consumer.disconnect()
    }
    return records
  }

  async join({ group, topic, autoCommit, received }: JoinSettings): Promise<GroupMember> {
    const consumer: Consumer = this.#kafka.consumer({
      groupId: group,
      heartbeatInterval: 200,
      sessionTimeout: 10_000,
      maxWaitTimeInMs: 200,
    })
    const state: { partitions: number[] | null; failure: Error | null } = { partitions: null, failure: null }
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      state.partitions = payload.memberAssignment[topic] ?? []
    })
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      state.failure = payload.error
    })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({
      autoCommit,
      eachMessage: async ({ partition, message }) => received(incoming(partition, message)),
    })
    return {
      get partitions() {
        return state.partitions
      },
      get failure() {
        return state.failure
      },
      commit: (positions) =>
        consumer.commitOffsets(
          [...positions].map(([partition, offset]) => ({ topic, partition, offset: String(offset) })),
        ),
      leave: () => consumer.disconnect(),
    }
  }

  async committed(groupId: string, topic: string, partitions: number): Promise<number[]> {
    const [answer] = await (await this.#administrator()).fetchOffsets({ groupId, topics: [topic] })
    const offsets: number[] = new Array(partitions).fill(-1)
    for (const { partition, offset } of answer!.partitions) offsets[partition] = Number(offset)
    return offsets
  }

  async listGroups(): Promise<string[]> {
    const { groups } = await (await this.#administrator()).listGroups()
    return groups.map(({ groupId }) => groupId)
  }

  async describeGroup(group: string): Promise<GroupDescription> {
    const { groups } = await (await this.#administrator()).describeGroups([group])
    const { state, members, protocolType } = groups[0]!
    return { state, members: members.length, protocolType }
  }

  async offsetsAt(topic: string, timestamp: number, partitions: number): Promise<number[]> {
    const offsets: number[] = new Array(partitions).fill(-1)
    const answer = await (await this.#administrator()).fetchTopicOffsetsByTimestamp(topic, timestamp)
    for (const { partition, offset } of answer) offsets[partition] = Number(offset)
    return offsets
  }

  async close(): Promise<void> {
    await this.#admin?.disconnect()
  }

  async #administrator(): Promise<kafkajs.Admin> {
    if (this.#admin === null) {
      this.#admin = this.#kafka.admin()
      await this.#admin.connect()
    }
    return this.#admin
  }
}

function incoming(partition: number, message: kafkajs.KafkaMessage): Incoming {
  return { partition, offset: Number(message.offset), key: message.key, value: message.value }
}
