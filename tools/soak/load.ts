/**
 * The load: one kafkajs producer per partition, each with one send outstanding and of its partition only.
 *
 * (kafkajs 2.2 numbers batches safely only with one outstanding send, and a send that spans brokers can skip a partition whose
 * leader moves during a retry and report success.)
 *
 * Each producer numbers its records 0, 1, 2, … in their `n` header. It is the only one that writes to its partition, sends again
 * until it hears yes, and never gives up. So what the log must hold at the end is known exactly: record n at offset n, for all n.
 * A producer that is not idempotent may leave a send behind twice, when the first answer was lost; never out of order, never less.
 */
import kafkajs, { type Producer } from 'kafkajs'
import type { Prng } from '../../src/stdx/index.ts'

const KEYS_PER_PARTITION = 16
const RECORDS_PER_SEND_MAX = 24
const PAUSE_MS_MAX = 8

export interface LoadOptions {
  readonly brokers: string[]
  readonly topic: string
  readonly partitions: number
  /**
   * For brokers that are asleep and not gone: kafkajs gives up on an answer after 600 ms and asks for leaders every 300 ms. It
   * asks only where it has a connection, though: a producer whose one connection is to the sleeper waits for it to wake.
   */
  readonly impatient?: boolean
  /** Default true. */
  readonly idempotent?: boolean
  readonly valueText?: (partition: number, n: number) => string
  readonly recordsPerSendMax?: number
  readonly pauseMsMax?: number
}

export class Load {
  readonly #options: LoadOptions
  readonly #random: Prng
  readonly #producers: Producer[] = []
  /** By partition: records handed to kafkajs, and records that it reported as written. */
  readonly sent: number[]
  readonly acknowledged: number[]
  /** What a producer was told that cannot be true, or gave up about. */
  readonly problems: string[] = []
  #stopping = false
  #running: Promise<unknown> = Promise.resolve()
  /** By partition, the longest time without an acknowledgement since `resetGaps`. */
  readonly #gaps: number[]
  readonly #latest: number[]

  constructor(options: LoadOptions, random: Prng) {
    this.#options = options
    this.#random = random
    const zeros = (): number[] => new Array<number>(options.partitions).fill(0)
    this.sent = zeros()
    this.acknowledged = zeros()
    this.#gaps = zeros()
    this.#latest = zeros()
  }

  get total(): number {
    return this.acknowledged.reduce((sum, n) => sum + n, 0)
  }

  resetGaps(): void {
    this.#gaps.fill(0)
    this.#latest.fill(performance.now())
  }

  /** The longest that any partition waited since `resetGaps`, up to this moment. */
  get longestGapMs(): number {
    const now = performance.now()
    return Math.max(...this.#gaps.map((gap, p) => Math.max(gap, now - this.#latest[p]!)))
  }

  async start(): Promise<void> {
    const { brokers, partitions, impatient = false, idempotent = true } = this.#options
    const kafka = new kafkajs.Kafka({
      clientId: 'soak',
      brokers,
      logLevel: kafkajs.logLevel.NOTHING,
      retry: { retries: 100_000, initialRetryTime: 30, maxRetryTime: 300 },
      ...(impatient ? { requestTimeout: 600 } : {}),
    })
    for (let p = 0; p < partitions; p++) {
      const producer = kafka.producer({
        idempotent,
        maxInFlightRequests: 1,
        createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
        ...(impatient ? { metadataMaxAge: 300 } : {}),
      })
      await producer.connect()
      this.#producers.push(producer)
    }
    this.resetGaps()
    this.#running = Promise.all(this.#producers.map((producer, p) => this.#run(producer, p)))
  }

  /** No new sends; resolves when all outstanding ones are answered. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#running
    await Promise.all(this.#producers.map((producer) => producer.disconnect()))
  }

  async #run(producer: Producer, partition: number): Promise<void> {
    const {
      topic,
      valueText = textOf,
      recordsPerSendMax = RECORDS_PER_SEND_MAX,
      pauseMsMax = PAUSE_MS_MAX,
    } = this.#options
    while (!this.#stopping) {
      const first = this.sent[partition]!
      const count = 1 + this.#random.below(recordsPerSendMax)
      const messages = Array.from({ length: count }, (_, i) => message(partition, first + i, valueText))
      this.sent[partition] = first + count
      try {
        const [answer] = await producer.send({ topic, acks: -1, messages })
        this.#took(partition, first, count, Number(answer?.baseOffset ?? -1))
      } catch (error) {
        this.problems.push(
          `partition ${partition}: the producer gave up at record ${first}: ${(error as Error).message}`,
        )
        return
      }
      const pauseMs = this.#random.below(pauseMsMax + 1)
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }

  #took(partition: number, first: number, count: number, baseOffset: number): void {
    const now = performance.now()
    this.#gaps[partition] = Math.max(this.#gaps[partition]!, now - this.#latest[partition]!)
    this.#latest[partition] = now
    this.acknowledged[partition] = first + count
    if (this.#options.idempotent !== false && baseOffset !== first)
      this.problems.push(`partition ${partition}: record ${first} was acknowledged at offset ${baseOffset}`)
  }
}

export function keyOf(partition: number, n: number): number {
  return partition * KEYS_PER_PARTITION + ((n * 7) % KEYS_PER_PARTITION)
}

export function keysOf(partitions: number): number {
  return partitions * KEYS_PER_PARTITION
}

export function textOf(partition: number, n: number): string {
  return `${partition}/${n} ${'tidemark '.repeat(1 + (n % 17))}`
}

function message(partition: number, n: number, valueText: (partition: number, n: number) => string) {
  return { partition, key: `key-${keyOf(partition, n)}`, value: valueText(partition, n), headers: { n: String(n) } }
}
