/**
 * A topic whose oldest records go all the time: by size, by age, and because somebody deletes them.
 *
 *     deleted, expired      start                                        mark
 *     ─────────────────────┤ ● ● ● ● ● ● ● ● ● ● ● ● ● ● ● ● ● ● ● ● ● ●│
 *       OFFSET_OUT_OF_RANGE │ every record that was acknowledged is here │
 *
 * What may be gone is never certain, what may not is: above the highest start that anybody was told nothing is missing, below
 * it nothing is shown any more, and the start only rises. A reader that falls below is told so, asks where the log begins, and
 * goes on there. It also looks below the start on purpose.
 *
 * This one is nobody else's: whoever reads other topics may rely on finding everything.
 */
import { apis } from '../../src/gateways/kafka/index.ts'
import type { Address, Clock } from '../../src/platform/index.ts'
import type { Prng } from '../../src/stdx/index.ts'
import { KAFKA_ERRORS, KafkaError, kafkaErrorName } from '../../src/streams/index.ts'
import type { KafkaClient } from '../kafka-client.ts'
import { nodeAt } from '../node-settings.ts'
import type { ClientEvent } from '../observer.ts'
import type { ShrinkingScenario } from '../scenario/clients.ts'
import { Violation } from '../violation.ts'
import { recordsFrom } from './consumer.ts'
import { Producer } from './producer.ts'

export interface ShrinkingCollaborators {
  readonly newClient: (name: string) => KafkaClient
  readonly clock: Clock
  readonly prng: Prng
  readonly violated: (violation: Violation) => void
  /** A deposed leader may show a mark of the past (docs/decisions/0002): may this node have, since then? */
  readonly excuses: (node: number | undefined, sinceMs: number) => boolean
}

type Deed = 'read' | 'out-of-range' | 'found-the-start' | 'delete' | 'delete-all' | 'looked-below'

const VERSION = { create: 7, fetch: 11, offsets: 5, remove: 2 } as const
const FETCH_BYTES = 20_000
const TIMEOUT_MS = 4000
const BACKOFF_MS = 100
const EARLIEST = -2
const ALL = -1
const PERMILLE_BELOW = 100

export class ShrinkingTopic {
  readonly #options: ShrinkingScenario & { readonly replication: number }
  readonly #with: ShrinkingCollaborators
  readonly #reader: KafkaClient
  readonly #deleter: KafkaClient
  readonly #producer: Producer
  readonly #sent = new Set<string>()
  /** By offset: what is known to be there, by whoever knew it first. */
  readonly #values = new Map<number, string>()
  readonly #acknowledged = new Map<number, string>()
  /** The highest that anybody was told. */
  #start = 0
  /** Up to here somebody has asked to delete. */
  #deletedUpTo = 0
  #position = 0
  #highWatermark = 0
  /** Since the last reading of all began: where it began. */
  #readingFrom = 0
  #stopped = false
  #lastReading: 'not-yet' | 'going' | 'done' = 'not-yet'
  readonly deeds = new Map<Deed, number>()

  constructor(options: ShrinkingScenario & { readonly replication: number }, collaborators: ShrinkingCollaborators) {
    const { newClient, clock, prng, violated } = collaborators
    const { name } = options
    this.#options = options
    this.#with = collaborators
    this.#reader = newClient(`${name}-reader`)
    this.#deleter = newClient(`${name}-deleter`)
    const writer = { name: `${name}-writer`, idempotent: true, recordsMax: 6, valueBytes: 60, inFlightMax: 3 }
    this.#producer = new Producer(
      { ...writer, intervalMs: options.intervalMs, topics: [{ name, partitions: 1 }] },
      { client: newClient(writer.name), clock, prng, violated, emit: (event) => this.#heard(event) },
    )
  }

  start(): void {
    const { name, replication, configs } = this.#options
    const topic = { name, numPartitions: 1, replicationFactor: replication, assignments: [] }
    const settings = Object.entries(configs).map(([key, value]) => ({ name: key, value }))
    const request = { topics: [{ ...topic, configs: settings }], timeoutMs: TIMEOUT_MS, validateOnly: false }
    const at = this.#deleter.anyBroker()
    this.#deleter.request(at, apis.createTopics, VERSION.create, request, TIMEOUT_MS, (_failure, answer) => {
      const code = answer?.topics[0]?.errorCode
      if (code !== KafkaError.NONE && code !== KafkaError.TOPIC_ALREADY_EXISTS)
        return this.#later(() => (this.#stopped ? this.#neverBegan() : this.start()))
      this.#producer.start()
      if (this.#stopped) this.#producer.stop()
      this.#read()
      this.#deleteLater()
    })
  }

  #neverBegan(): void {
    this.#lastReading = 'done'
  }

  stop(): void {
    this.#stopped = true
    this.#producer.stop()
  }

  get drained(): boolean {
    return this.#stopped && this.#lastReading === 'done'
  }

  get waitingFor(): string {
    if (!this.#producer.drained) return `no answer yet: ${this.#producer.waitingFor}`
    return `${this.#options.name} was read up to ${this.#position}, the mark is ${this.#highWatermark}`
  }

  #heard(event: ClientEvent): void {
    if (event.type === 'sent') for (const value of event.values) this.#sent.add(value)
    if (event.type !== 'acknowledged') return
    for (const [i, value] of event.values.entries()) {
      this.#isAt(event.baseOffset + i, value)
      this.#acknowledged.set(event.baseOffset + i, value)
    }
  }

  // ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #read(): void {
    if (this.#lastReading === 'done') return
    if (this.#stopped && this.#producer.drained && this.#lastReading === 'not-yet') {
      this.#lastReading = 'going'
      this.#position = 0
    }
    const leader = this.#leader(this.#reader)
    if (leader === null) return this.#ask(this.#reader, () => this.#read())
    const { prng } = this.#with
    const below = this.#start > 0 && this.#lastReading === 'not-yet' && prng.below(1000) < PERMILLE_BELOW
    const position = below ? Math.max(0, this.#start - 1 - prng.below(4)) : this.#position
    this.#fetch(leader, position, below)
  }

  #fetch(leader: Address, position: number, below: boolean): void {
    const { name } = this.#options
    const askedAtMs = this.#with.clock.now()
    const start = this.#start
    const partitions = [{ partition: 0, fetchOffset: position, partitionMaxBytes: FETCH_BYTES }]
    const topics = [{ topic: name, partitions }]
    const request = { maxWaitMs: 300, minBytes: 1, maxBytes: FETCH_BYTES, topics, forgottenTopicsData: [] }
    this.#reader.request(leader, apis.fetch, VERSION.fetch, request, TIMEOUT_MS, (failure, answer) => {
      const result = answer?.responses[0]?.partitions[0]
      if (failure !== null || result === undefined) return this.#ask(this.#reader, () => this.#read())
      const { errorCode, highWatermark, logStartOffset } = result
      const certain = this.#isCertain(leader, askedAtMs)
      if (errorCode === KafkaError.OFFSET_OUT_OF_RANGE) {
        this.#count(below ? 'looked-below' : 'out-of-range')
        return below ? this.#read() : this.#findStart(position)
      }
      if (errorCode !== KafkaError.NONE) {
        this.#checkRefusal(`a read at ${position}`, errorCode)
        return this.#ask(this.#reader, () => this.#read())
      }
      if (position < start && certain) this.#wrong(`offset ${position} is served, and the log starts at ${start}`)
      if (logStartOffset > position) this.#wrong(`offset ${position} is served below the start ${logStartOffset}`)
      this.#learnStart(logStartOffset, start, certain)
      const records = recordsFrom(result.records, position)
      if (records.length === 0 && position < highWatermark) this.#wrong(`nothing is served below ${highWatermark}`)
      for (const [i, { offset, value }] of records.entries()) {
        if (offset !== position + i) this.#wrong(`offset ${offset} is shown where ${position + i} was next`)
        if (!this.#sent.has(value)) this.#wrong(`offset ${offset} holds what nobody sent: ${value.slice(0, 40)}`)
        this.#isAt(offset, value)
      }
      if (below) return this.#read()
      this.#count('read')
      this.#position = position + records.length
      this.#highWatermark = highWatermark
      if (this.#lastReading === 'going' && this.#position === highWatermark) this.#finish()
      this.#read()
    })
  }

  /** Fell below the start: the log begins above where the reader is, or somebody has lied. */
  #findStart(position: number): void {
    const leader = this.#leader(this.#reader)
    if (leader === null) return this.#ask(this.#reader, () => this.#read())
    const [askedAtMs, start] = [this.#with.clock.now(), this.#start]
    const partitions = [{ partitionIndex: 0, timestamp: EARLIEST, currentLeaderEpoch: -1 }]
    const request = { replicaId: -1, isolationLevel: 0, topics: [{ name: this.#options.name, partitions }] }
    this.#reader.request(leader, apis.listOffsets, VERSION.offsets, request, TIMEOUT_MS, (_failure, answer) => {
      const result = answer?.topics[0]?.partitions[0]
      if (result === undefined || result.errorCode !== KafkaError.NONE) {
        if (result !== undefined) this.#checkRefusal('where the log begins', result.errorCode)
        return this.#ask(this.#reader, () => this.#read())
      }
      const certain = this.#isCertain(leader, askedAtMs)
      this.#learnStart(result.offset, start, certain)
      if (result.offset <= position && certain)
        this.#wrong(`offset ${position} is out of range, and the log begins at ${result.offset}`)
      this.#count('found-the-start')
      this.#position = Math.max(position, result.offset)
      this.#readingFrom = this.#position
      this.#read()
    })
  }

  #learnStart(shown: number, before: number, certain: boolean): void {
    if (shown < before && certain) this.#wrong(`the log starts at ${shown}, and it started at ${before}`)
    if (!this.#options.byItself && shown > this.#deletedUpTo)
      this.#wrong(`the log starts at ${shown}; nobody asked for more than ${this.#deletedUpTo}`)
    this.#start = Math.max(this.#start, shown)
  }

  #isAt(offset: number, value: string): void {
    const known = this.#values.get(offset)
    if (known === undefined) this.#values.set(offset, value)
    else if (known !== value) this.#wrong(`offset ${offset} holds ${value.slice(0, 40)}, it held ${known.slice(0, 40)}`)
  }

  /** Everything above where the last reading began was read; what was acknowledged must be among it. */
  #finish(): void {
    this.#lastReading = 'done'
    for (const offset of this.#acknowledged.keys())
      if (offset >= this.#position) this.#wrong(`offset ${offset} was acknowledged, the log ends at ${this.#position}`)
    if (this.#readingFrom > this.#start)
      this.#wrong(`the last reading began at ${this.#readingFrom}, the log starts at ${this.#start}`)
  }

  // ── deleting ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #deleteLater(): void {
    const { deleteEveryMs } = this.#options
    if (deleteEveryMs === null) return
    const { clock, prng } = this.#with
    clock.after((deleteEveryMs * (50 + prng.below(101))) / 100, () => {
      if (!this.#stopped) this.#delete()
    })
  }

  #delete(): void {
    const { prng, clock } = this.#with
    const leader = this.#leader(this.#deleter)
    if (leader === null) return this.#ask(this.#deleter, () => this.#deleteLater())
    const before = prng.below(12) === 0 ? ALL : prng.below(this.#position + 1)
    const [askedAtMs, start] = [clock.now(), this.#start]
    this.#deletedUpTo = before === ALL ? Number.MAX_SAFE_INTEGER : Math.max(this.#deletedUpTo, before)
    const topics = [{ name: this.#options.name, partitions: [{ partitionIndex: 0, offset: before }] }]
    const request = { topics, timeoutMs: TIMEOUT_MS }
    this.#deleter.request(leader, apis.deleteRecords, VERSION.remove, request, TIMEOUT_MS, (_failure, answer) => {
      const result = answer?.topics[0]?.partitions[0]
      if (result === undefined) return this.#ask(this.#deleter, () => this.#deleteLater())
      const { errorCode, lowWatermark } = result
      if (errorCode === KafkaError.NONE) {
        if (lowWatermark < before) this.#wrong(`deleted up to ${before}, and the log starts at ${lowWatermark}`)
        this.#learnStart(lowWatermark, start, this.#isCertain(leader, askedAtMs))
        this.#count(before === ALL ? 'delete-all' : 'delete')
        return this.#deleteLater()
      }
      this.#checkRefusal(`a deletion up to ${before}`, errorCode)
      this.#ask(this.#deleter, () => this.#deleteLater())
    })
  }

  // ── helpers ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #leader(client: KafkaClient): Address | null {
    return client.leaderOf(this.#options.name, 0)
  }

  #ask(client: KafkaClient, then: () => void): void {
    this.#later(() => client.refresh([this.#options.name], then))
  }

  #later(then: () => void): void {
    this.#with.clock.after(BACKOFF_MS, then)
  }

  #checkRefusal(what: string, code: number): void {
    if (KAFKA_ERRORS.get(code)?.retriable !== true) this.#wrong(`${what}: ${kafkaErrorName(code)}`)
  }

  #wrong(what: string): void {
    this.#with.violated(new Violation('a log is cut as it was asked for', `${this.#options.name}: ${what}`))
  }

  /** The answer, which came now, is of a leader whose marks are none of the past. */
  #isCertain(leader: Address, askedAtMs: number): boolean {
    return !this.#with.excuses(nodeAt(leader), askedAtMs)
  }

  #count(deed: Deed): void {
    this.deeds.set(deed, (this.deeds.get(deed) ?? 0) + 1)
  }
}
