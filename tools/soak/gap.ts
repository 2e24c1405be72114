/**
 * How long a partition goes without an acknowledgement when its leader is killed, as a client sees it who sends one small record
 * after the other: through kafkajs as it comes out of the box, and through a raw client that loses no time of its own.
 */
import kafkajs from 'kafkajs'
import type { Prng } from '../../src/stdx/index.ts'
import { RawWriter, wait } from './raw-writer.ts'
import type { SoakCluster } from './soak-cluster.ts'

const KILLS = 10
const SETTLE_MS = 600
const AFTER_MS = 1500

export interface Gaps {
  readonly client: 'kafkajs' | 'raw'
  readonly gapsMs: readonly number[]
  readonly medianMs: number
  readonly maxMs: number
  readonly barMs: number
  readonly problems: readonly string[]
}

interface Writer {
  resetGap(): void
  readonly longestGapMs: number
  readonly acknowledged: number
  stop(): Promise<void>
  readonly problems: readonly string[]
  /** For the log of a gap. */
  readonly events: readonly { readonly at: number; readonly what: string }[]
}

export async function measureGaps(
  cluster: SoakCluster,
  random: Prng,
  client: Gaps['client'],
  kills: number | undefined,
  progress: (text: string) => void,
): Promise<Gaps> {
  const topic = `gap-${client}`
  await cluster.createTopic(topic, 1)
  const writer = client === 'raw' ? rawWriter(cluster, topic) : await KafkajsWriter.start(cluster, topic)
  const gapsMs: number[] = []
  for (let i = 0; i < (kills ?? KILLS); i++) {
    await wait(SETTLE_MS + random.below(300))
    const leader = (await cluster.status()).shards.find((shard) => shard.topic === topic)?.leader
    if (leader === undefined || leader === null) throw new Error(`${topic} has no leader in calm`)
    writer.resetGap()
    cluster.note(`soak: SIGKILL node ${leader}, which leads ${topic}`)
    const killed = performance.now()
    await cluster.nodes.signal(leader, 'SIGKILL')
    await wait(AFTER_MS)
    const gap = Math.round(writer.longestGapMs)
    gapsMs.push(gap)
    for (const event of writer.events)
      cluster.note(`client: ${(event.at - killed).toFixed(1)} ms after the kill: ${event.what}`)
    cluster.note(`soak: ${client} gap ${gap} ms`)
    progress(`gap, ${client}: ${gapsMs.join(' ')} ms`)
    await cluster.restart(leader)
  }
  await writer.stop()
  const sorted = gapsMs.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const medianMs = Math.round((sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2)
  return {
    client,
    gapsMs,
    medianMs,
    maxMs: sorted.at(-1)!,
    barMs: client === 'raw' ? 450 : 600,
    problems: writer.problems,
  }
}

function rawWriter(cluster: SoakCluster, topic: string): Writer {
  const writer = new RawWriter({ brokers: cluster.nodes.brokers, topic, partition: 0 })
  writer.start()
  return writer
}

/** All settings are kafkajs' defaults (retry: 300 ms at first, doubling, 5 times; requestTimeout 30 s), but idempotent. */
class KafkajsWriter implements Writer {
  readonly problems: string[] = []
  readonly events: { at: number; what: string }[] = []
  acknowledged = 0
  #gapMs = 0
  #latest = performance.now()
  #stopping = false
  #running: Promise<void> = Promise.resolve()

  static async start(cluster: SoakCluster, topic: string): Promise<KafkajsWriter> {
    const writer = new KafkajsWriter()
    const logCreator = () => (entry: kafkajs.LogEntry) => {
      const { message, error } = entry.log as { message: string; error?: string }
      writer.events.push({ at: performance.now(), what: `${message} ${error ?? ''}` })
    }
    const kafka = new kafkajs.Kafka({
      clientId: 'gap',
      brokers: cluster.nodes.brokers,
      logLevel: kafkajs.logLevel.WARN,
      logCreator,
    })
    const producer = kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    })
    await producer.connect()
    writer.#running = writer.#run(producer, topic)
    return writer
  }

  async #run(producer: kafkajs.Producer, topic: string): Promise<void> {
    while (!this.#stopping) {
      try {
        await producer.send({ topic, acks: -1, messages: [{ key: 'k', value: `record ${this.acknowledged}` }] })
      } catch (error) {
        this.problems.push(`kafkajs gave up after ${this.acknowledged} records: ${(error as Error).message}`)
        continue
      }
      const now = performance.now()
      this.#gapMs = Math.max(this.#gapMs, now - this.#latest)
      this.#latest = now
      this.acknowledged++
    }
    await producer.disconnect()
  }

  resetGap(): void {
    this.#gapMs = 0
    this.#latest = performance.now()
    this.events.length = 0
  }

  get longestGapMs(): number {
    return Math.max(this.#gapMs, performance.now() - this.#latest)
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#running
  }
}
