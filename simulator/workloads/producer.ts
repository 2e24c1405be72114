/**
 * A producer that remembers what it was promised.
 *
 * Idempotent: every batch has a sequence number and is sent, unchanged, to one leader after the other until somebody says
 * where it is. Up to `inFlightMax` batches of a partition fly at once; after any failure nothing new leaves until all of them
 * have landed, and then they leave again in order (what the Java client does, KIP-98).
 *
 *      queue    [ 40..49 ][ 50..52 ][ 53..60 ] │ [ 61..61 ] …
 *                 flying    flying    flying   │   waiting
 *                    └─ lost ─► all land ─► fly again, oldest first
 *
 * Plain: a batch is sent once. If its answer is lost nobody knows whether it is in the log, and that is what is remembered.
 * What an answer promises depends on what was asked for (DESIGN, the ladder): with acks = all it is there for ever; with
 * acks = 1 its leader's journal has it, and a failover may lose it; with acks = 0 there is no answer, and no promise either.
 *
 * Some are hard to please: they wait for an answer a few milliseconds only and send again (a retry storm), or walk away from
 * their connection with requests on it. In the end, when all is well, they too wait as long as it takes.
 */
import { apis } from '../../src/gateways/kafka/index.ts'
import type { Address, Clock } from '../../src/platform/index.ts'
import { encodeBatch } from '../../src/records/index.ts'
import { must, type Prng } from '../../src/stdx/index.ts'
import { KAFKA_ERRORS, KafkaError, kafkaErrorName } from '../../src/streams/index.ts'
import type { KafkaClient } from '../kafka-client.ts'
import type { ClientEvent } from '../observer.ts'
import { Violation } from '../violation.ts'
import { asGzip } from './stored-gzip.ts'

export interface ProducerOptions {
  readonly name: string
  readonly idempotent: boolean
  readonly intervalMs: number
  readonly recordsMax: number
  readonly valueBytes: number
  readonly inFlightMax: number
  /** −1 where not said; an idempotent producer has no choice. */
  readonly acks?: -1 | 0 | 1
  /** Patience with an answer, 4 s where not said. */
  readonly timeoutMs?: number
  /** Of 1000 requests, how many are walked away from. */
  readonly abandonPermille?: number
  readonly compressed?: boolean
  readonly topics: readonly { readonly name: string; readonly partitions: number }[]
}

export interface ProducerCollaborators {
  readonly client: KafkaClient
  readonly clock: Clock
  readonly prng: Prng
  readonly emit: (event: ClientEvent) => void
  readonly violated: (violation: Violation) => void
}

interface Batch {
  readonly bytes: Buffer
  readonly values: readonly string[]
  sent: boolean
}

/** A batch whose answer may be demanded where its partition is served. */
export interface DueBatch {
  readonly topic: string
  readonly partition: number
  /** For people. */
  readonly name: string
  readonly isAnswered: () => boolean
}

class Lane {
  readonly topic: string
  readonly partition: number
  readonly queue: Batch[] = []
  /** The first so many of the queue are on their way. */
  flying = 0
  nextSequence = 0
  nextValue = 0
  /** A batch failed: nothing leaves until all have landed. */
  troubled = false
  asking = false
  /** The connection that unanswered batches went over last: its end is all that a refusal would show. */
  connection = 0
  /** Batches that have answers, of those on their way. */
  readonly answers = new Map<Batch, number | 'failed'>()

  constructor(topic: string, partition: number) {
    this.topic = topic
    this.partition = partition
  }
}

const PRODUCE_VERSION = 9
const INIT_PRODUCER_ID_VERSION = 2
const REQUEST_TIMEOUT_MS = 4000
const ABANDON_MS = 30
const BACKOFF_MS = 100
const QUEUE_MAX = 8

export class Producer {
  readonly #options: ProducerOptions
  readonly #with: ProducerCollaborators
  readonly #lanes: Lane[]
  #producerId = -1
  #epoch = -1
  #stopped = false

  constructor(options: ProducerOptions, collaborators: ProducerCollaborators) {
    this.#options = options
    this.#with = collaborators
    this.#lanes = options.topics.flatMap(({ name, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => new Lane(name, partition)),
    )
  }

  start(): void {
    if (this.#options.idempotent) this.#identify()
    else this.#produce()
  }

  /** No new records; what is queued is still delivered. */
  stop(): void {
    this.#stopped = true
  }

  get drained(): boolean {
    return this.#lanes.every((lane) => lane.queue.length === 0)
  }

  /** What still waits for an answer, for people. */
  get waitingFor(): string {
    const lanes = this.#lanes.filter((lane) => lane.queue.length > 0)
    return lanes
      .map((lane) => `${this.#options.name} ${lane.topic}/${lane.partition}: ${lane.queue[0]!.values[0]}`)
      .join(', ')
  }

  /** It goes on writing, hears of it, and waits as long as an answer takes. */
  get isPatient(): boolean {
    const { acks = -1, timeoutMs = REQUEST_TIMEOUT_MS } = this.#options
    return !this.#stopped && acks !== 0 && timeoutMs >= REQUEST_TIMEOUT_MS
  }

  /** The last batch in each queue, and so all before it; of a producer that insists, and waits as long as an answer takes. */
  get due(): DueBatch[] {
    const { name, idempotent } = this.#options
    if (!idempotent || !this.isPatient) return []
    return this.#lanes.flatMap(({ topic, partition, queue }) => {
      const last = queue.at(-1)
      return last === undefined ? [] : [{ topic, partition, name, isAnswered: () => !queue.includes(last) }]
    })
  }

  #identify(): void {
    const { client, clock } = this.#with
    const request = { transactionalId: null, transactionTimeoutMs: 0 }
    client.request(
      client.anyBroker(),
      apis.initProducerId,
      INIT_PRODUCER_ID_VERSION,
      request,
      REQUEST_TIMEOUT_MS,
      (_failure, answer) => {
        if (answer === null || answer.errorCode !== KafkaError.NONE) {
          if (!this.#stopped) clock.after(BACKOFF_MS, () => this.#identify())
          return
        }
        this.#producerId = answer.producerId
        this.#epoch = answer.producerEpoch
        this.#produce()
      },
    )
  }

  #produce(): void {
    if (this.#stopped) return
    const { prng, clock } = this.#with
    const lane = must(this.#lanes[prng.below(this.#lanes.length)], 'a lane')
    if (lane.queue.length < QUEUE_MAX) {
      lane.queue.push(this.#batch(lane))
      this.#pump(lane)
    }
    clock.after((this.#options.intervalMs * (50 + prng.below(101))) / 100, () => this.#produce())
  }

  #batch(lane: Lane): Batch {
    const { prng, clock } = this.#with
    const { name, recordsMax, valueBytes } = this.#options
    const values = Array.from({ length: 1 + prng.below(recordsMax) }, () => {
      const id = `${name}#${lane.topic}/${lane.partition}#${lane.nextValue++}#`
      return id.padEnd(id.length + prng.below(valueBytes + 1), '.')
    })
    const records = values.map((value) => ({ key: null, value: Buffer.from(value) }))
    const identity = this.#options.idempotent
      ? { producerId: this.#producerId, producerEpoch: this.#epoch, baseSequence: lane.nextSequence }
      : {}
    lane.nextSequence += values.length
    const bytes = encodeBatch(records, { timestamp: clock.wall(), ...identity })
    return { bytes: this.#options.compressed === true ? asGzip(bytes) : bytes, values, sent: false }
  }

  #pump(lane: Lane): void {
    if (lane.troubled || lane.asking) return
    const inFlightMax = this.#options.idempotent ? this.#options.inFlightMax : 1
    while (lane.flying < Math.min(lane.queue.length, inFlightMax)) {
      const leader = this.#with.client.leaderOf(lane.topic, lane.partition)
      if (leader === null) return this.#ask(lane)
      if (this.#options.acks === 0) {
        if (!this.#post(lane, leader)) return
      } else this.#send(lane, lane.queue[lane.flying++]!, leader)
    }
  }

  #send(lane: Lane, batch: Batch, leader: Address): void {
    const { client, clock, prng } = this.#with
    this.#noteSent(lane, batch)
    const request = this.#request(lane, batch)
    const timeoutMs = this.#stopped ? REQUEST_TIMEOUT_MS : (this.#options.timeoutMs ?? REQUEST_TIMEOUT_MS)
    client.request(leader, apis.produce, PRODUCE_VERSION, request, timeoutMs, (failure, answer) => {
      const result = answer?.responses[0]?.partitionResponses[0]
      if (result === undefined) this.#failed(lane, batch, failure ?? 'no answer', KafkaError.REQUEST_TIMED_OUT)
      else if (result.errorCode !== KafkaError.NONE)
        this.#failed(lane, batch, kafkaErrorName(result.errorCode), result.errorCode)
      else this.#acknowledged(lane, batch, result.baseOffset)
    })
    const { abandonPermille = 0 } = this.#options
    if (abandonPermille > 0 && !this.#stopped && prng.below(1000) < abandonPermille)
      clock.after(prng.below(ABANDON_MS), () => client.disconnect(leader))
  }

  /** Sends and forgets, over one connection as long as there is one. False: there is none any more, so who leads is asked first. */
  #post(lane: Lane, leader: Address): boolean {
    const { client } = this.#with
    if (lane.connection !== 0 && client.connection(leader) !== lane.connection) {
      lane.connection = 0
      this.#ask(lane)
      return false
    }
    const batch = lane.queue.shift()!
    this.#noteSent(lane, batch)
    client.post(leader, apis.produce, PRODUCE_VERSION, this.#request(lane, batch))
    lane.connection = client.connection(leader)
    return true
  }

  #noteSent({ topic, partition }: Lane, batch: Batch): void {
    if (batch.sent) return
    batch.sent = true
    this.#with.emit({ type: 'sent', client: this.#options.name, topic, partition, values: batch.values })
  }

  #request(lane: Lane, batch: Batch) {
    const partitionData = [{ index: lane.partition, records: batch.bytes }]
    return {
      transactionalId: null,
      acks: this.#options.acks ?? -1,
      timeoutMs: REQUEST_TIMEOUT_MS,
      topicData: [{ name: lane.topic, partitionData }],
    }
  }

  #acknowledged(lane: Lane, batch: Batch, baseOffset: number): void {
    const { topic, partition } = lane
    this.#with.emit({
      type: this.#options.acks === 1 ? 'acknowledged-by-leader' : 'acknowledged',
      client: this.#options.name,
      topic,
      partition,
      baseOffset,
      values: batch.values,
    })
    lane.answers.set(batch, baseOffset)
    this.#landed(lane)
  }

  #failed(lane: Lane, batch: Batch, reason: string, code: number): void {
    const { topic, partition } = lane
    const { name, idempotent } = this.#options
    this.#with.emit({ type: 'produce-failed', client: name, topic, partition, reason })
    const oldest = lane.queue.find((each) => typeof lane.answers.get(each) !== 'number')
    const expected =
      KAFKA_ERRORS.get(code)?.retriable === true ||
      (code === KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER && batch !== oldest)
    if (!expected || code === KafkaError.CORRUPT_MESSAGE) {
      this.#with.violated(
        new Violation(
          'producers are served',
          `${name}: the batch of ${batch.values[0]!.replace(/#\.*$/, '')} in ${topic}/${partition} was refused with ${reason}`,
        ),
      )
    }
    if (idempotent) lane.troubled = true
    lane.answers.set(batch, 'failed')
    this.#landed(lane)
  }

  /** An answer came: batches leave the queue in its order; in trouble, all must have landed before any flies again. */
  #landed(lane: Lane): void {
    const { idempotent } = this.#options
    for (let oldest = lane.queue[0]; oldest !== undefined && lane.flying > 0; oldest = lane.queue[0]) {
      const answer = lane.answers.get(oldest)
      if (answer === undefined || (answer === 'failed' && idempotent)) break
      lane.answers.delete(oldest)
      lane.queue.shift()
      lane.flying--
      if (answer === 'failed') this.#ask(lane)
    }
    if (lane.troubled) {
      if (lane.answers.size < lane.flying) return
      // Those behind a failed one that were acknowledged stay: the same answer is due again.
      lane.answers.clear()
      lane.flying = 0
      this.#ask(lane)
    } else this.#pump(lane)
  }

  #ask(lane: Lane): void {
    if (lane.asking) return
    lane.asking = true
    this.#with.clock.after(BACKOFF_MS, () => {
      const topics = this.#options.topics.map(({ name }) => name)
      this.#with.client.refresh(topics, () => {
        lane.asking = false
        lane.troubled = false
        this.#pump(lane)
      })
    })
  }
}
