/**
 * @platformatic/kafka, two versions of it: 2.7 speaks only the newest (flexible) versions of most APIs, 2.12 walks down to what
 * it finds. Both share the interface that is used here. Bytes in, bytes out: no serializers.
 */
import { createRequire } from 'node:module'
import zlib from 'node:zlib'
import type * as Platformatic from 'plt-kafka-2.12'
import {
  type ClientDriver,
  type GroupDescription,
  type GroupMember,
  type Incoming,
  type JoinSettings,
  type Lacking,
  type Outgoing,
  type ProduceSettings,
  until,
} from './driver.ts'

export type PlatformaticPackage = 'plt-kafka-2.12' | 'plt-kafka-2.7'

/**
 * By a timer, not after each fetch: there, offsets that queue up behind a commit in flight stay behind, and `close` waits for
 * that one commit only, so that the last records of a partition come again to the next member, whatever the broker does.
 */
const AUTOCOMMIT_MS = 50

type Consumer = Platformatic.Consumer
type Message = Platformatic.Message

export class PlatformaticDriver implements ClientDriver {
  readonly version: string
  readonly lacks: ReadonlyMap<Lacking, string>
  readonly #library: typeof Platformatic
  readonly #brokers: readonly string[]
  #admin: Platformatic.Admin | null = null
  #consumers = 0

  static async load(name: PlatformaticPackage, brokers: readonly string[]): Promise<PlatformaticDriver> {
    const library = (await import(name)) as typeof Platformatic
    const main = createRequire(import.meta.url).resolve.paths(name)!
    return new PlatformaticDriver(library, versionOf(name, main), brokers)
  }

  private constructor(library: typeof Platformatic, version: string, brokers: readonly string[]) {
    this.#library = library
    this.version = version
    this.#brokers = brokers
    const lacks = new Map<Lacking, string>()
    if (!('zstdCompressSync' in zlib)) lacks.set('zstd', `node:zlib of ${process.version} has no zstd`)
    this.lacks = lacks
  }

  async createTopic(topic: string, partitions: number): Promise<void> {
    const created = await this.#administrator().createTopics({ topics: [topic], partitions, replicas: -1 })
    const [one] = created
    if (one?.name !== topic || one.partitions !== partitions)
      throw new Error(`createTopics answers ${JSON.stringify(one)}`)
  }

  async produce(topic: string, records: readonly Outgoing[], { codec, idempotent }: ProduceSettings): Promise<void> {
    const producer = new this.#library.Producer({ ...this.#base(), idempotent })
    try {
      const third = Math.max(1, Math.ceil(records.length / 3))
      for (let from = 0; from < records.length; from += third) {
        const messages = records.slice(from, from + third).map((record) => message(topic, record))
        await producer.send({ messages, acks: -1, compression: codec, idempotent })
      }
    } finally {
      await producer.close()
    }
  }

  async read(topic: string, from: ReadonlyMap<number, number>, count: number): Promise<Incoming[]> {
    const consumer = this.#consumer(`${topic}-reader-${this.#consumers++}`)
    const records: Incoming[] = []
    try {
      const offsets = [...from].map(([partition, offset]) => ({ topic, partition, offset: BigInt(offset) }))
      const stream = await consumer.consume({
        topics: [topic],
        mode: 'manual',
        offsets,
        autocommit: false,
        maxWaitTime: 200,
      })
      let failure: Error | null = null
      stream.on('error', (error) => {
        failure = error
      })
      stream.on('data', (each) => records.push(incoming(each)))
      await until(
        () => {
          if (failure !== null) throw failure
          return records.length >= count
        },
        () => `${count} records of ${topic}; there are ${records.length}`,
      )
      await stream.close()
    } finally {
      await consumer.close(true)
    }
    return records
  }

  async join({ group, topic, autoCommit, received }: JoinSettings): Promise<GroupMember> {
    const consumer = this.#consumer(group)
    const state: { partitions: number[] | null; failure: Error | null } = { partitions: null, failure: null }
    consumer.on('consumer:group:join', ({ assignments }) => {
      state.partitions = (assignments ?? []).find((each) => each.topic === topic)?.partitions ?? []
    })
    const stream = await consumer.consume({
      topics: [topic],
      mode: 'committed',
      fallbackMode: 'earliest',
      autocommit: autoCommit ? AUTOCOMMIT_MS : false,
      maxWaitTime: 200,
    })
    stream.on('error', (error) => {
      state.failure = error
    })
    stream.on('data', (each) => received(incoming(each)))
    return {
      get partitions() {
        return state.partitions
      },
      get failure() {
        return state.failure
      },
      commit: (positions) =>
        consumer.commit({
          offsets: [...positions].map(([partition, offset]) => ({
            topic,
            partition,
            offset: BigInt(offset),
            leaderEpoch: -1,
          })),
        }),
      leave: async () => {
        await stream.close()
        await consumer.close(true)
      },
    }
  }

  async committed(group: string, topic: string, partitions: number): Promise<number[]> {
    const partitionIndexes = Array.from({ length: partitions }, (_, i) => i)
    const [answer] = await this.#administrator().listConsumerGroupOffsets({
      groups: [{ groupId: group, topics: [{ name: topic, partitionIndexes }] }],
    })
    const offsets: number[] = new Array(partitions).fill(-1)
    for (const { partitionIndex, committedOffset } of answer!.topics[0]?.partitions ?? []) {
      offsets[partitionIndex] = Number(committedOffset)
    }
    return offsets
  }

  async listGroups(): Promise<string[]> {
    return [...(await this.#administrator().listGroups()).keys()]
  }

  async describeGroup(group: string): Promise<GroupDescription> {
    const { state, members, protocolType } = (await this.#administrator().describeGroups({ groups: [group] })).get(
      group,
    )!
    // One version writes EMPTY where Kafka says Empty.
    return { state: `${state.slice(0, 1)}${state.slice(1).toLowerCase()}`, members: members.size, protocolType }
  }

  async offsetsAt(topic: string, timestamp: number, partitions: number): Promise<number[]> {
    const consumer = this.#consumer(`${topic}-times-${this.#consumers++}`)
    try {
      const answer = await consumer.listOffsets({ topics: [topic], timestamp: BigInt(timestamp) })
      const offsets = answer.get(topic) ?? []
      return Array.from({ length: partitions }, (_, i) => Number(offsets[i] ?? -1))
    } finally {
      await consumer.close(true)
    }
  }

  async close(): Promise<void> {
    await this.#admin?.close()
  }

  #base() {
    return { clientId: 'compat', bootstrapBrokers: [...this.#brokers] }
  }

  #consumer(groupId: string): Consumer {
    return new this.#library.Consumer({
      ...this.#base(),
      groupId,
      heartbeatInterval: 200,
      sessionTimeout: 10_000,
      rebalanceTimeout: 10_000,
    })
  }

  #administrator(): Platformatic.Admin {
    this.#admin ??= new this.#library.Admin(this.#base())
    return this.#admin
  }
}

function versionOf(name: string, folders: readonly string[]): string {
  const require = createRequire(import.meta.url)
  for (const folder of folders) {
    try {
      return (require(`${folder}/${name}/package.json`) as { version: string }).version
    } catch {
      // Not in this folder: Node.js looks upwards as well.
    }
  }
  return '?'
}

function message(topic: string, { partition, key, value }: Outgoing): Platformatic.MessageToProduce {
  return { topic, partition, ...(key === null ? {} : { key }), ...(value === null ? {} : { value }) }
}

function incoming(message: Message): Incoming {
  const { partition, offset, key, value } = message
  return { partition, offset: Number(offset), key: key ?? null, value: value ?? null }
}
