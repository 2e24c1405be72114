/**
 * A topic of few keys that is compacted all the time: somebody writes and deletes keys, somebody reads all of it, over and over.
 *
 * What a reading has to find is latest-values.ts. Besides, offsets rise, holes or not, and below the mark there is always something
 * to be had: a reader that asks for an offset in a hole is given what comes next.
 *
 * With `compact,delete` the log is cut by age and size besides. A reader that falls below the start is told so, and goes on where
 * the log begins; now and then it looks below on purpose, where nothing may be shown; and the start never goes back.
 */
import { apis } from '../../src/gateways/kafka/index.ts'
import type { Address, Clock } from '../../src/platform/index.ts'
import { Codec, canCompress, encodeBatch, forEachRecord, lastOffsetOf, splitBatches } from '../../src/records/index.ts'
import type { Prng } from '../../src/stdx/index.ts'
import { KAFKA_ERRORS, KafkaError, kafkaErrorName } from '../../src/streams/index.ts'
import type { KafkaClient } from '../kafka-client.ts'
import { nodeAt } from '../node-settings.ts'
import type { CompactedScenario } from '../scenario/clients.ts'
import { Violation } from '../violation.ts'
import { LatestValues, type Reading } from './latest-values.ts'

export interface CompactedCollaborators {
  readonly newClient: (name: string) => KafkaClient
  readonly clock: Clock
  readonly prng: Prng
  readonly violated: (violation: Violation) => void
  /** A deposed leader may show a mark of the past (docs/decisions/0002): may this node have, since then? */
  readonly excuses: (node: number | undefined, sinceMs: number) => boolean
}

export interface CompactedOptions extends CompactedScenario {
  readonly replication: number
  /** No fault of this run changes a wall clock. */
  readonly clocksAreRight: boolean
}

type Deed = 'write' | 'tombstone' | 'read' | 'hole' | 'reading' | 'out-of-range' | 'looked-below' | 'start-moved'

const VERSION = { create: 7, produce: 9, fetch: 11, offsets: 5 } as const
const EARLIEST = -2
const PERMILLE_BELOW = 100
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
  /** The log may be cut. */
  readonly #deletes: boolean
  #position = 0
  /** Where the log starts: the highest that the reader was told. */
  #start = 0
  /** The next fetch begins a reading of all. */
  #begins = true
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
    this.#deletes = options.configs['cleanup.policy']!.includes('delete')
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
    if (this.#stopped && !this.#writing && this.#lastReading === 'not-yet') {
      this.#lastReading = 'going'
      this.#begins = true
    }
    if (this.#begins) {
      this.#begins = false
      this.#position = this.#start
      this.#reading = this.#values.begin(this.#with.clock.now())
    }
    const leader = this.#reader.leaderOf(this.#options.name, 0)
    if (leader === null) return this.#ask(this.#reader, () => this.#read())
    const { prng } = this.#with
    const below = this.#start > 0 && prng.below(1000) < PERMILLE_BELOW
    if (below) this.#fetch(leader, Math.max(0, this.#start - 1 - prng.below(8)), true)
    else this.#fetch(leader, this.#position, false)
  }

  #fetch(leader: Address, position: number, below: boolean): void {
    const [askedAtMs, start] = [this.#with.clock.now(), this.#start]
    const partitions = [{ partition: 0, fetchOffset: position, partitionMaxBytes: FETCH_BYTES }]
    const topics = [{ topic: this.#options.name, partitions }]
    const request = { maxWaitMs: 300, minBytes: 1, maxBytes: FETCH_BYTES, topics, forgottenTopicsData: [] }
    this.#reader.request(leader, apis.fetch, VERSION.fetch, request, TIMEOUT_MS, (_failure, answer) => {
      const result = answer?.responses[0]?.partitions[0]
      if (result === undefined) return this.#ask(this.#reader, () => this.#read())
      if (this.#deletes && result.errorCode === KafkaError.OFFSET_OUT_OF_RANGE) {
        this.#count(below ? 'looked-below' : 'out-of-range')
        return below ? this.#later(() => this.#read(), 0) : this.#findStart(leader)
      }
      if (result.errorCode !== KafkaError.NONE) {
        this.#checkRefusal(`a read at ${position}`, result.errorCode)
        return this.#ask(this.#reader, () => this.#read())
      }
      this.#values.readsAt(this.#reading, leader.host)
      const certain = this.#isCertain(leader, askedAtMs)
      if (position < start && certain) this.#wrong(`offset ${position} is served, and the log starts at ${start}`)
      if (result.logStartOffset > position)
        this.#wrong(`offset ${position} is served below the start ${result.logStartOffset}`)
      this.#learnStart(result.logStartOffset, start, certain)
      // Of a deposed leader.
      if (below) return this.#later(() => this.#read(), 0)
      this.#highWatermark = result.highWatermark
      this.#take(position, joined(result.records))
      if (this.#position === position && position < this.#highWatermark)
        this.#wrong(`nothing is served from ${position} on, the mark is ${this.#highWatermark}`)
      if (this.#position >= this.#highWatermark) this.#atTheMark()
      this.#later(() => this.#read(), this.#begins ? PAUSE_MS : 0)
    })
  }

  /** Fell below the start. What went meanwhile is not missed (LatestValues#finish). */
  #findStart(leader: Address): void {
    const [askedAtMs, start] = [this.#with.clock.now(), this.#start]
    const partitions = [{ partitionIndex: 0, timestamp: EARLIEST, currentLeaderEpoch: -1 }]
    const request = { replicaId: -1, isolationLevel: 0, topics: [{ name: this.#options.name, partitions }] }
    this.#reader.request(leader, apis.listOffsets, VERSION.offsets, request, TIMEOUT_MS, (_failure, answer) => {
      const result = answer?.topics[0]?.partitions[0]
      if (result === undefined || result.errorCode !== KafkaError.NONE) {
        if (result !== undefined) this.#checkRefusal('where the log begins', result.errorCode)
        return this.#ask(this.#reader, () => this.#read())
      }
      this.#learnStart(result.offset, start, this.#isCertain(leader, askedAtMs))
      this.#position = Math.max(this.#position, this.#start)
      this.#later(() => this.#read(), 0)
    })
  }

  #learnStart(shown: number, before: number, certain: boolean): void {
    if (shown > 0 && !this.#deletes) this.#wrong(`the log starts at ${shown}, and nothing is ever deleted`)
    if (shown < before && certain) this.#wrong(`the log starts at ${shown}, and it started at ${before}`)
    if (shown > this.#start) this.#count('start-moved')
    this.#start = Math.max(this.#start, shown)
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
    this.#judge(this.#values.finish(this.#reading, this.#with.clock.now(), this.#start))
    this.#count('reading')
    if (this.#lastReading === 'going') this.#lastReading = 'done'
    this.#begins = true
  }

  // ── helpers ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #ask(client: KafkaClient, then: () => void): void {
    this.#later(() => client.refresh([this.#options.name], then))
  }

  #later(then: () => void, delayMs = BACKOFF_MS): void {
    this.#with.clock.after(delayMs, then)
  }

  /** The answer, which came now, is of a leader whose marks are none of the past. */
  #isCertain(leader: Address, askedAtMs: number): boolean {
    return !this.#with.excuses(nodeAt(leader), askedAtMs)
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
