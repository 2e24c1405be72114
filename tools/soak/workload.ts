/**
 * What is written while nodes fail, and the account of it at the end: idempotent producers of kafkajs, raw clients, and, where
 * asked for, producers that are not idempotent and write large values. Every node's high-water marks are watched meanwhile.
 *
 * A topic's producers know exactly what its log must hold, so each topic is read back from its leaders and entered into the
 * ledger. Lost, out of order or wrong records are problems everywhere; duplicates where the producers are idempotent.
 */
import { Prng } from '../../src/stdx/index.ts'
import type { Verdict } from '../main-job/ledger.ts'
import { keyOf, keysOf, Load, textOf } from './load.ts'
import { MarkWatcher } from './marks.ts'
import { RawWriter, wait } from './raw-writer.ts'
import { readBack, type Written } from './read-back.ts'
import type { SoakCluster } from './soak-cluster.ts'

const TOPIC = 'soak'
const PARTITIONS = 6
/** Written by raw clients, one record at a time: where the gaps of a sleeping leader are measured. */
const RAW_TOPIC = 'soak-raw'
const RAW_PARTITIONS = 3
const PLAIN_TOPIC = 'soak-plain'
const PLAIN_PARTITIONS = 2
const CALM_PAUSE_MS_MAX = 60
const CALM_RAW_PAUSE_MS = 20

export interface WorkloadOptions {
  readonly seed: string
  readonly impatient?: boolean
  /** Also through producers that are not idempotent, with values of up to some 40 KB. */
  readonly plain?: boolean
  /** Producers that pause longer, where many restarts matter more than many records. */
  readonly calm?: boolean
}

export interface Accounts {
  readonly verdict: Verdict
  readonly rawVerdict: Verdict
  readonly plainVerdict: Verdict | null
  readonly marks: { readonly answers: number; readonly refusals: number }
  readonly marksAtEnd: readonly { readonly shard: number; readonly highWatermark: number }[]
  readonly problems: readonly string[]
}

export class Workload {
  readonly #cluster: SoakCluster
  readonly #load: Load
  readonly #plain: Load | null
  readonly #writers: readonly RawWriter[]
  readonly #marks: MarkWatcher

  constructor(cluster: SoakCluster, { seed, impatient = false, plain = false, calm = false }: WorkloadOptions) {
    const { brokers } = cluster.nodes
    this.#cluster = cluster
    const pace = calm ? { pauseMsMax: CALM_PAUSE_MS_MAX } : {}
    this.#load = new Load(
      { brokers, topic: TOPIC, partitions: PARTITIONS, impatient, ...pace },
      new Prng(`${seed}/load`),
    )
    this.#plain = !plain
      ? null
      : new Load(
          {
            brokers,
            topic: PLAIN_TOPIC,
            partitions: PLAIN_PARTITIONS,
            impatient,
            idempotent: false,
            valueText: largeTextOf,
            recordsPerSendMax: 6,
            pauseMsMax: 60,
          },
          new Prng(`${seed}/plain`),
        )
    this.#writers = Array.from(
      { length: RAW_PARTITIONS },
      (_, partition) =>
        new RawWriter({ brokers, topic: RAW_TOPIC, partition, ...(calm ? { pauseMs: CALM_RAW_PAUSE_MS } : {}) }),
    )
    this.#marks = new MarkWatcher(brokers, () => this.#floors())
  }

  async start(): Promise<void> {
    await this.#cluster.createTopic(TOPIC, PARTITIONS)
    await this.#cluster.createTopic(RAW_TOPIC, RAW_PARTITIONS)
    if (this.#plain !== null) await this.#cluster.createTopic(PLAIN_TOPIC, PLAIN_PARTITIONS)
    await this.#load.start()
    await this.#plain?.start()
    for (const writer of this.#writers) writer.start()
    this.#marks.start()
  }

  /** Through kafkajs. */
  get acknowledged(): number {
    return this.#load.total + (this.#plain?.total ?? 0)
  }

  get longestGapMs(): number {
    return this.#load.longestGapMs
  }

  get longestRawGapMs(): number {
    return Math.max(...this.#writers.map((writer) => writer.longestGapMs))
  }

  resetGaps(): void {
    this.#load.resetGaps()
    this.resetRawGaps()
  }

  resetRawGaps(): void {
    for (const writer of this.#writers) writer.resetGap()
  }

  /** What was found wrong since the last call. */
  takeProblems(): string[] {
    const sources = [this.#load, ...(this.#plain === null ? [] : [this.#plain]), this.#marks, ...this.#writers]
    return sources.flatMap(({ problems }) => problems.splice(0))
  }

  /** Ends all writing, once everything outstanding is answered and all nodes have caught up. */
  async stop(): Promise<void> {
    await Promise.all([this.#load.stop(), this.#plain?.stop(), ...this.#writers.map((writer) => writer.stop())])
    for (const id of this.#cluster.nodes.ids) await this.#cluster.caughtUp(id)
    await wait(200)
    this.#marks.stop()
  }

  async readBack(): Promise<Accounts> {
    const load = { keyOf, keyText: (partition: number, n: number) => `key-${keyOf(partition, n)}`, valueText: textOf }
    const { sent, acknowledged } = this.#load
    const problems = this.takeProblems()
    const read = (written: Written): Promise<Verdict> => this.#read(written, problems)
    const verdict = await read({ topic: TOPIC, sent, acknowledged, keys: keysOf(PARTITIONS), ...load })
    const rawVerdict = await read({
      topic: RAW_TOPIC,
      sent: this.#rawAcknowledged,
      acknowledged: this.#rawAcknowledged,
      keys: RAW_PARTITIONS,
      keyOf: (partition) => partition,
      keyText: (partition) => `raw-${partition}`,
      valueText: textOf,
    })
    const plainVerdict =
      this.#plain === null
        ? null
        : await read({
            topic: PLAIN_TOPIC,
            sent: this.#plain.sent,
            acknowledged: this.#plain.acknowledged,
            keys: keysOf(PLAIN_PARTITIONS),
            ...load,
            valueText: largeTextOf,
            repeats: true,
          })
    const { answers, refusals } = this.#marks
    const marksAtEnd = (await this.#cluster.status()).shards
      .filter((shard) => shard.topic !== null)
      .map(({ shard, highWatermark }) => ({ shard, highWatermark }))
    return { verdict, rawVerdict, plainVerdict, marks: { answers, refusals }, marksAtEnd, problems }
  }

  async #read(written: Written, problems: string[]): Promise<Verdict> {
    const back = await readBack(this.#cluster.nodes.kafka(1), written)
    problems.push(...back.problems)
    const { lost, duplicated, outOfOrder, wrong } = back.verdict
    if (lost + (written.repeats === true ? 0 : duplicated) + outOfOrder + wrong > 0)
      problems.push(
        `${written.topic}: ${lost} lost, ${duplicated} duplicated, ${outOfOrder} out of order, ${wrong} wrong`,
      )
    return back.verdict
  }

  get #rawAcknowledged(): number[] {
    return this.#writers.map((writer) => writer.acknowledged)
  }

  #floors(): Map<string, readonly number[]> {
    const floors = new Map<string, readonly number[]>([
      [TOPIC, this.#load.acknowledged],
      [RAW_TOPIC, this.#rawAcknowledged],
    ])
    if (this.#plain !== null) floors.set(PLAIN_TOPIC, this.#plain.acknowledged)
    return floors
  }
}

function largeTextOf(partition: number, n: number): string {
  return `${partition}/${n} ${'tidemark '.repeat(1 + ((n * 37) % 4500))}`
}
