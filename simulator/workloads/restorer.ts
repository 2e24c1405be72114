/**
 * Somebody who restores topics as `tidemark restore` does, while everything fails around it, and knows what must come of it.
 *
 *     create, hidden ─► append at named offsets, again and again ─► open ─► read as anybody would ─► write as a new producer ─► delete
 *
 * It makes the batches itself: base offsets far above 0, the log's start inside the first one, and the id of a producer that
 * this cluster gives to somebody else. What was acknowledged stays; what is not whole is shown to nobody; what is read is what
 * was appended, byte for byte but for the epoch; and this cluster's producer is no duplicate of the one in the batches.
 */
import { apis } from '../../src/gateways/kafka/index.ts'
import type { Address, Clock } from '../../src/platform/index.ts'
import {
  baseOffsetOf,
  batchBytesOf,
  encodeBatch,
  lastOffsetOf,
  leaderEpochOf,
  setBaseOffset,
  setLeaderEpoch,
  splitBatches,
} from '../../src/records/index.ts'
import { must, type Prng } from '../../src/stdx/index.ts'
import { KafkaError, kafkaErrorName } from '../../src/streams/index.ts'
import type { KafkaClient } from '../kafka-client.ts'
import type { ClientEvent } from '../observer.ts'
import { Violation } from '../violation.ts'

export interface RestorerOptions {
  readonly name: string
  readonly intervalMs: number
  readonly replication: number
}

export interface RestorerCollaborators {
  readonly client: KafkaClient
  readonly clock: Clock
  readonly prng: Prng
  readonly emit: (event: ClientEvent) => void
  readonly violated: (violation: Violation) => void
}

const VERSION = { list: 7, fetch: 11, produce: 9, delete: 5 } as const
const TIMEOUT_MS = 6000
const RECORDS_MAX = 4
/** Of the producer whose batches are restored. Nodes hand out ids from 1 on. */
const PRODUCER_ID = 1
/** Of the log that the batches come from; no leader here is of this term. */
const FOREIGN_EPOCH = 1 << 20

type Step = 'create' | 'append' | 'open' | 'read' | 'write' | 'delete'

export class Restorer {
  readonly #options: RestorerOptions
  readonly #with: RestorerCollaborators
  #round = 0
  #step: Step = 'create'
  #batches: Buffer[] = []
  #startOffset = 0
  #topicId = ''
  /** Acknowledged to be there, below. */
  #acknowledged = 0
  #stopped = false
  readonly deeds = new Map<string, number>()

  constructor(options: RestorerOptions, collaborators: RestorerCollaborators) {
    this.#options = options
    this.#with = collaborators
  }

  start(): void {
    this.#begin()
    this.#next()
  }

  stop(): void {
    this.#stopped = true
  }

  get #topic(): string {
    return `${this.#options.name}-${this.#round}`
  }

  get #endOffset(): number {
    return lastOffsetOf(must(this.#batches.at(-1), 'a batch'), 0) + 1
  }

  #begin(): void {
    const { prng } = this.#with
    this.#round++
    this.#step = 'create'
    this.#batches = []
    let next = 1000 * (1 + prng.below(50))
    for (let count = 2 + prng.below(6), sequence = 0; count > 0; count--) {
      const records = 1 + prng.below(RECORDS_MAX)
      const values = Array.from({ length: records }, (_, i) => ({
        key: null,
        value: Buffer.from(`${this.#topic}@${next + i}`),
        timestamp: 1000 + i,
      }))
      const batch = encodeBatch(values, {
        timestamp: 1000,
        producerId: PRODUCER_ID,
        producerEpoch: 0,
        baseSequence: sequence,
      })
      setBaseOffset(batch, 0, next)
      setLeaderEpoch(batch, 0, FOREIGN_EPOCH)
      this.#batches.push(batch)
      next += records
      sequence += records
    }
    const first = must(this.#batches[0], 'a batch')
    this.#acknowledged = baseOffsetOf(first, 0)
    this.#startOffset = this.#acknowledged + prng.below(lastOffsetOf(first, 0) - this.#acknowledged + 1)
  }

  #next(): void {
    const { clock, prng } = this.#with
    clock.after((this.#options.intervalMs * (50 + prng.below(101))) / 100, () => {
      if (this.#stopped) return
      this.#do((to) => {
        if (to !== this.#step) this.deeds.set(this.#step, (this.deeds.get(this.#step) ?? 0) + 1)
        if (this.#step === 'delete' && to === 'create') this.#begin()
        else this.#step = to
        if (!this.#stopped) this.#next()
      })
    })
  }

  #do(done: (to: Step) => void): void {
    const { client, prng } = this.#with
    if (this.#step === 'create') return this.#create(done)
    if (this.#step === 'open') return this.#open(done)
    if (this.#step === 'delete') return this.#delete(done)
    const leader = client.leaderOf(this.#topic, 0)
    if (leader === null || prng.below(10) === 0) return client.refresh([this.#topic], () => done(this.#step))
    if (this.#step === 'append' && prng.below(4) === 0) return this.#peek(leader, done)
    if (this.#step === 'append') return this.#append(leader, done)
    if (this.#step === 'read') return this.#read(leader, done)
    this.#write(leader, done)
  }

  /** Asked where the leader was; if there is no use in what it says, where it is now is asked for. */
  #again(done: (to: Step) => void): void {
    this.#with.client.refresh([this.#topic], () => done(this.#step))
  }

  #create(done: (to: Step) => void): void {
    const { client } = this.#with
    const range = {
      baseOffset: baseOffsetOf(must(this.#batches[0], 'a batch'), 0),
      startOffset: this.#startOffset,
      endOffset: this.#endOffset,
    }
    const { replication: replicationFactor } = this.#options
    // What it restores is old, and is to stay.
    const topics = [
      { name: this.#topic, replicationFactor, configs: [{ name: 'retention.ms', value: '-1' }], partitions: [range] },
    ]
    const request = { topics, validateOnly: false }
    this.#with.emit({ type: 'topic-create-sent', client: this.#options.name, topic: this.#topic, partitions: 1 })
    client.request(client.anyBroker(), apis.restoreTopics, 0, request, TIMEOUT_MS, (_failure, answer) => {
      const created = answer?.topics[0]
      if (created?.errorCode !== KafkaError.NONE) return done('create')
      this.#topicId = created.topicId
      done('append')
    })
  }

  /** Sends what comes next; now and then what is there already, or what leaves a hole. */
  #append(leader: Address, done: (to: Step) => void): void {
    const { client, prng } = this.#with
    const at = this.#batches.findIndex((batch) => baseOffsetOf(batch, 0) >= this.#acknowledged)
    if (at < 0) return done('open')
    const from = Math.max(0, at + (prng.below(8) === 0 ? prng.below(3) - 1 : 0))
    const batches = this.#batches.slice(from, from + 1 + prng.below(3))
    const records = Buffer.concat(batches)
    const before = this.#acknowledged
    const request = { name: this.#topic, topicId: this.#topicId, partitionIndex: 0, records }
    client.request(leader, apis.restoreRecords, 0, request, TIMEOUT_MS, (_failure, answer) => {
      if (answer === null || answer.endOffset < 0) return this.#again(done)
      const { errorCode, endOffset } = answer
      const boundaries = this.#batches.map((batch) => lastOffsetOf(batch, 0) + 1)
      if (endOffset < before) this.#violate(`acknowledged up to ${before}, told that it ends at ${endOffset}`)
      if (endOffset !== before && !boundaries.includes(endOffset))
        this.#violate(`it ends inside a batch, at ${endOffset}`)
      const last = batches.at(-1)
      if (errorCode === KafkaError.NONE && last !== undefined && endOffset < lastOffsetOf(last, 0) + 1)
        this.#violate(`batches up to ${lastOffsetOf(last, 0)} were acknowledged, it ends at ${endOffset}`)
      this.#acknowledged = Math.max(this.#acknowledged, endOffset)
      done(this.#acknowledged >= this.#endOffset ? 'open' : 'append')
    })
  }

  /** As a consumer that has heard of the topic: nothing is shown before it is whole and opened. */
  #peek(leader: Address, done: (to: Step) => void): void {
    this.#fetch(leader, this.#startOffset, (bytes, errorCode) => {
      if (errorCode === KafkaError.NONE || bytes.length > 0) this.#violate('shown before it was opened')
      done('append')
    })
  }

  #open(done: (to: Step) => void): void {
    const { client } = this.#with
    const request = { topics: [{ name: this.#topic, topicId: this.#topicId }] }
    client.request(client.anyBroker(), apis.finishRestore, 0, request, TIMEOUT_MS, (_failure, answer) =>
      done(answer?.topics[0]?.errorCode === KafkaError.NONE ? 'read' : 'open'),
    )
  }

  #read(leader: Address, done: (to: Step) => void): void {
    this.#fetch(leader, this.#startOffset, (bytes, errorCode) => {
      if (errorCode === KafkaError.OFFSET_OUT_OF_RANGE) this.#violate('its start is not there')
      if (errorCode !== KafkaError.NONE || bytes.length === 0) return this.#again(done)
      const read = must(splitBatches(Buffer.from(bytes)), 'batches')
      for (const [i, batch] of read.entries()) {
        const expected = this.#batches[i]
        if (expected === undefined) this.#violate(`a batch with offset ${baseOffsetOf(batch, 0)} that nobody sent`)
        else {
          const copy = Buffer.from(expected)
          if (leaderEpochOf(batch, 0) === FOREIGN_EPOCH) this.#violate('it carries the epoch of another log')
          setLeaderEpoch(copy, 0, leaderEpochOf(batch, 0))
          if (!copy.equals(batch))
            this.#violate(`offset ${baseOffsetOf(copy, 0)} reads back as ${batchBytesOf(batch, 0)} other bytes`)
        }
      }
      done('write')
    })
  }

  #fetch(leader: Address, fetchOffset: number, done: (bytes: Buffer, errorCode: number) => void): void {
    const { client } = this.#with
    const partitions = [{ partition: 0, fetchOffset, partitionMaxBytes: 1 << 20 }]
    const request = {
      maxWaitMs: 0,
      minBytes: 0,
      maxBytes: 1 << 20,
      sessionEpoch: -1,
      topics: [{ topic: this.#topic, partitions }],
      forgottenTopicsData: [],
    }
    client.request(leader, apis.fetch, VERSION.fetch, request as never, TIMEOUT_MS, (_failure, answer) => {
      const found = answer?.responses[0]?.partitions[0]
      const records = found?.records as Buffer | null | undefined
      done(records ?? Buffer.alloc(0), found?.errorCode ?? -1)
    })
  }

  /** This cluster's own producer of that id begins: with sequence 0, as whose batches were restored did. */
  #write(leader: Address, done: (to: Step) => void): void {
    const { client } = this.#with
    const records = encodeBatch([{ key: null, value: Buffer.from(`${this.#topic} goes on`) }], {
      timestamp: 2000,
      producerId: PRODUCER_ID,
      producerEpoch: 0,
      baseSequence: 0,
    })
    const topicData = [{ name: this.#topic, partitionData: [{ index: 0, records }] }]
    const request = { acks: -1, timeoutMs: TIMEOUT_MS, topicData }
    client.request(leader, apis.produce, VERSION.produce, request, TIMEOUT_MS, (_failure, answer) => {
      const written = answer?.responses[0]?.partitionResponses[0]
      if (written === undefined) return this.#again(done)
      const { errorCode, baseOffset } = written
      if (errorCode === KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER || errorCode === KafkaError.DUPLICATE_SEQUENCE_NUMBER)
        this.#violate(`a new producer was refused with ${kafkaErrorName(errorCode)}`)
      if (errorCode !== KafkaError.NONE) return this.#again(done)
      if (baseOffset !== this.#endOffset)
        this.#violate(
          `a new producer's first batch was acknowledged at ${baseOffset}, and not after ${this.#endOffset}`,
        )
      done('delete')
    })
  }

  #delete(done: (to: Step) => void): void {
    const { client } = this.#with
    const request = { topicNames: [this.#topic], topics: [], timeoutMs: TIMEOUT_MS }
    client.request(client.anyBroker(), apis.deleteTopics, VERSION.delete, request, TIMEOUT_MS, (_failure, answer) => {
      const errorCode = answer?.responses[0]?.errorCode
      const gone = errorCode === KafkaError.NONE || errorCode === KafkaError.UNKNOWN_TOPIC_OR_PARTITION
      done(gone ? 'create' : 'delete')
    })
  }

  #violate(what: string): void {
    this.#with.violated(new Violation('restored', `${this.#topic}: ${what}`))
  }
}
