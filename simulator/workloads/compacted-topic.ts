/**
 * A topic of few keys that is compacted all the time: somebody writes and deletes keys, somebody reads all of it, over and over.
 *
 * What a reading has to find is latest-values.ts. Besides, offsets rise, holes or not, and below the mark there is always something
 * to be had: a reader that asks for an offset in a hole is given what comes next.
 */
import { apis } from '../../src/gateways/kafka/index.ts'
import type { Address, Clock } from '../../src/platform/index.ts'
import { Codec, canCompress, encodeBatch, forEachRecord, lastOffsetOf, splitBatches } from '../../src/records/index.ts'
import type { Prng } from '../../src/stdx/index.ts'
import { KAFKA_ERRORS, KafkaError, kafkaErrorName } from '../../src/streams/index.ts'
import type { KafkaClient } from '../kafka-client.ts'
import type { CompactedScenario } from '../scenario/clients.ts'
import { Violation } from '../violation.ts'
import { LatestValues, type Reading } from './latest-values.ts'

export interface CompactedCollaborators {
  readonly newClient: (name: string) => KafkaClient
  readonly clock: Clock
  readonly prng: Prng
  readonly violated: (violation: Violation) => void
}

export interface CompactedOptions extends CompactedScenario {
  readonly replication: number
  /** No fault of this run changes a wall clock. */
  readonly clocksAreRight: boolean
}

type Deed = 'write' | 'tombstone' | 'read' | 'hole' | 'reading'

const VERSION = { create: 7, produce: 9, fetch: 11 } as const
const FETCH_BYTES = 20_000
const TIMEOUT_MS = 4000
const BACKOFF_MS = 100
/** Between two readings of all. */
const PAUSE_MS = 150
const KEYS = 12
const PERMILLE_TOMBSTONES = 200
/** No trace may depend on what a compressor puts out: these two are stable. */
const CODECS = [Codec.none, Codec.none, Codec.snappy, Codec.lz4].filter((codec) => canCompress(codec))

export class CompactedTopic {
  readonly #options: CompactedOptions
  readonly #with: CompactedCollaborators
  readonly #reader: KafkaClient
  readonly #writer: KafkaClient
  readonly #values: LatestValues
  #reading: Reading
  #position = 0
  #highWatermark = 0
  #written = 0
  #writing = false
  #stopped = false
  /** The reading that began after the last answer to the writer. */
  #lastReading: 'not-yet' | 'going' | 'done' = 'not-yet'
  readonly deeds = new Map<Deed, number>()

  constructor(options: CompactedOptions, collaborators: CompactedCollaborators) {
    this.#options = options
    this.#with = collaborators
    this.#reader = collaborators.newClient(`${options.name}-reader`)
    this.#writer = collaborators.newClient(`${options.name}-writer`)
    this.#values = new LatestValues(Number(options.configs['delete.retention.ms']), options.clocksAreRight)
    this.#reading = this.#values.begin(0)
  }

  start(): void {
    const { name, replication, configs } = this.#options
    const topic = { name, numPartitions: 1, replicationFactor: replication, assignments: [] }
    const settings = Object.entries(configs).map(([key, value]) => ({ name: key, value }))
    const request = { topics: [{ ...topic, configs: settings }], timeoutMs: TIMEOUT_MS, validateOnly: false }
    const at = this.#writer.anyBroker()
    this.#writer.request(at, apis.createTopics, VERSION.create, request, TIMEOUT_MS, (_failure, answer) => {
      const code = answer?.topics[0]?.errorCode
      if (code !== KafkaError.NONE && code !== KafkaError.TOPIC_ALREADY_EXISTS)
        return this.#later(() => (this.#stopped ? this.#neverBegan() : this.start()))
      this.#write()
      this.#read()
    })
  }

  #neverBegan(): void {
    this.#lastReading = 'done'
  }

  stop(): void {
    this.#stopped = true
  }

  get drained(): boolean {
    return this.#stopped && this.#lastReading === 'done'
  }

  get waitingFor(): string {
    const { name } = this.#options
    return `${name} was read up to ${this.#position}, the mark is ${this.#highWatermark}, ${this.#values.end} is acknowledged`
  }

  // ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #write(): void {
    const { clock, prng } = this.#with
    const { intervalMs } = this.#options
    clock.after((intervalMs * (50 + prng.below(101))) / 100, () => {
      if (this.#stopped) return
      const leader = this.#writer.leaderOf(this.#options.name, 0)
      if (leader === null) this.#ask(this.#writer, () => this.#write())
      else this.#send(leader)
    })
  }

  #send(leader: Address): void {
    const { clock, prng } = this.#with
    const { name } = this.#options
    const records = Array.from({ length: 1 + prng.below(4) }, () => {
      const key = `key-${prng.below(KEYS)}`
      const value = prng.below(1000) < PERMILLE_TOMBSTONES ? null : `${name}#${this.#written++}`
      this.#values.sent(key, value)
      this.#count(value === null ? 'tombstone' : 'write')
      return { key, value }
    })
    const codec = CODECS[prng.below(CODECS.length)]!
    const batch = encodeBatch(
      records.map(({ key, value }) => ({ key: Buffer.from(key), value: value === null ? null : Buffer.from(value) })),
      { timestamp: clock.wall(), codec },
    )
    const topicData = [{ name, partitionData: [{ index: 0, records: batch }] }]
    const request = { transactionalId: null, acks: -1, timeoutMs: TIMEOUT_MS, topicData }
    this.#writing = true
    const sentMs = clock.now()
    this.#writer.request(leader, apis.produce, VERSION.produce, request, TIMEOUT_MS, (_failure, answer) => {
      this.#writing = false
      const result = answer?.responses[0]?.partitionResponses[0]
      if (result === undefined || result.errorCode !== KafkaError.NONE) {
        if (result !== undefined) this.#checkRefusal('a write', result.errorCode)
        return this.#ask(this.#writer, () => this.#write())
      }
      for (const [i, record] of records.entries())
        this.#judge(this.#values.acknowledged({ offset: result.baseOffset + i, ...record }, sentMs))
      this.#write()
    })
  }

  // ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #read(): void {
    if (this.#lastReading === 'done') return
    if (this.#position === 0) this.#reading = this.#values.begin(this.#with.clock.now())
    if (this.#stopped && !this.#writing && this.#lastReading === 'not-yet') {
      this.#lastReading = 'going'
      this.#position = 0
      this.#reading = this.#values.begin(this.#with.clock.now())
    }
    const leader = this.#reader.leaderOf(this.#options.name, 0)
    if (leader === null) return this.#ask(this.#reader, () => this.#read())
    const position = this.#position
    const partitions = [{ partition: 0, fetchOffset: position, partitionMaxBytes: FETCH_BYTES }]
    const topics = [{ topic: this.#options.name, partitions }]
    const request = { maxWaitMs: 300, minBytes: 1, maxBytes: FETCH_BYTES, topics, forgottenTopicsData: [] }
    this.#reader.request(leader, apis.fetch, VERSION.fetch, request, TIMEOUT_MS, (_failure, answer) => {
      const result = answer?.responses[0]?.partitions[0]
      if (result === undefined || result.errorCode !== KafkaError.NONE) {
        if (result !== undefined) this.#checkRefusal(`a read at ${position}`, result.errorCode)
        return this.#ask(this.#reader, () => this.#read())
      }
      this.#highWatermark = result.highWatermark
      this.#take(position, joined(result.records))
      if (this.#position === position && position < this.#highWatermark)
        this.#wrong(`nothing is served from ${position} on, the mark is ${this.#highWatermark}`)
      if (this.#position >= this.#highWatermark) this.#atTheMark()
      this.#later(() => this.#read(), this.#position === 0 ? PAUSE_MS : 0)
    })
  }

  #take(position: number, bytes: Buffer): void {
    const batches = splitBatches(bytes)
    if (batches === null) return this.#wrong(`a fetch at ${position} is answered with bytes that are no batches`)
    let next = position
    for (const batch of batches) {
      forEachRecord(batch, 0, ({ offset, key, value }) => {
        if (offset < position) return
        if (offset < next) this.#wrong(`offset ${offset} is shown behind ${next - 1}`)
        if (offset > next) this.#count('hole')
        next = offset + 1
        const record = { offset, key: key?.toString() ?? '', value: value?.toString() ?? null }
        this.#judge(this.#values.read(this.#reading, record))
      })
      next = Math.max(next, lastOffsetOf(batch, 0) + 1)
    }
    this.#count('read')
    this.#position = next
  }

  /** A mark of the past proves nothing: the reading goes on until it has come to where it must. */
  #atTheMark(): void {
    const due = Math.max(-1, ...[...this.#reading.due.values()].map(({ offset }) => offset))
    if (this.#position <= due) return
    this.#judge(this.#values.finish(this.#reading, this.#with.clock.now()))
    this.#count('reading')
    if (this.#lastReading === 'going') this.#lastReading = 'done'
    this.#position = 0
  }

  // ── helpers ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #ask(client: KafkaClient, then: () => void): void {
    this.#later(() => client.refresh([this.#options.name], then))
  }

  #later(then: () => void, delayMs = BACKOFF_MS): void {
    this.#with.clock.after(delayMs, then)
  }

  #checkRefusal(what: string, code: number): void {
    if (KAFKA_ERRORS.get(code)?.retriable !== true) this.#wrong(`${what}: ${kafkaErrorName(code)}`)
  }

  #judge(defect: string | null): void {
    if (defect !== null) this.#wrong(defect)
  }

  #wrong(what: string): void {
    this.#with.violated(new Violation('the latest value of every key stays', `${this.#options.name}: ${what}`))
  }

  #count(deed: Deed): void {
    this.deeds.set(deed, (this.deeds.get(deed) ?? 0) + 1)
  }
}

function joined(records: Buffer | null | readonly Buffer[]): Buffer {
  if (records === null) return Buffer.alloc(0)
  return Buffer.isBuffer(records) ? records : Buffer.concat(records)
}
