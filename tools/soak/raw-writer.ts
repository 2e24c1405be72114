/**
 * Writes one record after the other into one partition, through nothing but the protocol, and measures how long it goes without
 * an acknowledgement. When its leader's connection closes, or the leader says that it is none, or is silent for too long, it
 * asks the other nodes who leads and sends the very same batch again: what the best of clients would do.
 */
import { leadersOf, RawClient } from '../../bench/raw-client.ts'
import { apis } from '../../src/gateways/kafka/index.ts'
import { encodeBatch } from '../../src/records/index.ts'
import { textOf } from './load.ts'

const SILENCE_MS = 400
const RETRY_MS = 5

export interface RawWriterOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly partition: number
  /** Between an acknowledgement and the next record; default none. */
  readonly pauseMs?: number
}

export class RawWriter {
  readonly #options: RawWriterOptions
  /** By broker; one connection each, kept open. */
  readonly #clients = new Map<string, Promise<RawClient>>()
  #leader: string | null = null
  #stopping = false
  #running: Promise<void> = Promise.resolve()
  #latest = performance.now()
  #gapMs = 0
  acknowledged = 0
  readonly problems: string[] = []
  /** What happened since `resetGap`, for whoever wonders where the time went. */
  readonly events: { readonly at: number; readonly what: string }[] = []

  constructor(options: RawWriterOptions) {
    this.#options = options
  }

  get leader(): string | null {
    return this.#leader
  }

  resetGap(): void {
    this.#gapMs = 0
    this.#latest = performance.now()
    this.events.length = 0
  }

  get longestGapMs(): number {
    return Math.max(this.#gapMs, performance.now() - this.#latest)
  }

  start(): void {
    this.resetGap()
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#running
    for (const client of this.#clients.values()) client.then((open) => open.close()).catch(() => {})
  }

  async #run(): Promise<void> {
    const { producerId, producerEpoch } = await this.#identity()
    while (!this.#stopping) {
      const n = this.acknowledged
      const value = Buffer.from(textOf(this.#options.partition, n))
      const record = {
        key: Buffer.from(`raw-${this.#options.partition}`),
        value,
        headers: [{ key: 'n', value: Buffer.from(String(n)) }],
      }
      const batch = encodeBatch([record], { timestamp: Date.now(), producerId, producerEpoch, baseSequence: n })
      const offset = await this.#write(batch)
      if (offset !== n)
        this.problems.push(
          `${this.#options.topic}/${this.#options.partition}: record ${n} was acknowledged at offset ${offset}`,
        )
      const now = performance.now()
      if (now - this.#latest > this.#gapMs) this.#gapMs = now - this.#latest
      this.#latest = now
      this.acknowledged++
      if (this.#options.pauseMs !== undefined) await wait(this.#options.pauseMs)
    }
  }

  async #identity() {
    for (;;) {
      for (const broker of this.#options.brokers) {
        try {
          const answer = await (await this.#client(broker)).request(apis.initProducerId, 0, {
            transactionalId: null,
            transactionTimeoutMs: 0,
          })
          if (answer.errorCode === 0) return answer
        } catch {
          // the next one
        }
      }
      await wait(50)
    }
  }

  /** Until some leader says yes; returns the offset. */
  async #write(batch: Buffer): Promise<number> {
    const { topic, partition: index } = this.#options
    for (;;) {
      const leader: string = this.#leader ?? (await this.#findLeader())
      this.#leader = leader
      try {
        const client = await withinTime(this.#client(leader))
        const request = {
          transactionalId: null,
          acks: -1,
          timeoutMs: 10_000,
          topicData: [{ name: topic, partitionData: [{ index, records: batch }] }],
        }
        const answer = await withinTime(client.request(apis.produce, 7, request))
        const { errorCode, baseOffset } = answer.responses[0]!.partitionResponses[0]!
        if (errorCode === 0) return baseOffset
        this.#note(`${leader} answers with error ${errorCode}`)
        if (errorCode === 45 || errorCode === 46)
          this.problems.push(`${topic}/${index}: error ${errorCode} for record ${this.acknowledged}`)
      } catch (error) {
        this.#note(`${leader}: ${(error as Error).message}`)
        this.#forget(leader)
      }
      this.#leader = await this.#findLeader(leader)
    }
  }

  /** Asks all nodes at once, except the one that has just failed us; the first that knows counts. */
  async #findLeader(failed: string | null = null): Promise<string> {
    const { brokers, topic, partition } = this.#options
    for (;;) {
      const asked = brokers.filter((broker) => broker !== failed).map((broker) => this.#ask(broker, topic, partition))
      const leader = await Promise.any(asked).catch(() => null)
      if (leader !== null) {
        this.#note(`leader is ${leader}`)
        return leader
      }
      await wait(RETRY_MS)
    }
  }

  async #ask(broker: string, topic: string, partition: number): Promise<string> {
    try {
      const client = await withinTime(this.#client(broker), 2000)
      const leader = (await withinTime(leadersOf(client, topic), 2000))[partition]
      if (leader === undefined) throw new Error('no such partition')
      return leader
    } catch (error) {
      this.#forget(broker)
      throw error
    }
  }

  #client(broker: string): Promise<RawClient> {
    let client = this.#clients.get(broker)
    if (client === undefined) {
      client = RawClient.connect(broker, 1000)
      this.#clients.set(broker, client)
    }
    return client
  }

  #forget(broker: string): void {
    const client = this.#clients.get(broker)
    this.#clients.delete(broker)
    client?.then((open) => open.close()).catch(() => {})
  }

  #note(what: string): void {
    if (this.events.length < 200) this.events.push({ at: performance.now(), what })
  }
}

function withinTime<T>(promise: Promise<T>, timeoutMs = SILENCE_MS): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
