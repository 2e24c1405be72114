/**
 * `bench cleaning`: what retention and compaction cost whoever writes. Two nodes of one kind, under the same load in turn: on one, the
 * topics are cut and compacted all the time, on the other everything is kept. Slices are short, so that both have the same share
 * of what else the machine does, and whoever is not measured is halted.
 *
 *     throughput   as fast as it goes                 working ≥ 80 % of idle
 *     latency      at half of what went while idle    working's p99 ≤ 2 × idle's
 *
 * Half of the partitions are cut by size, half are compacted: few keys that come again and again, and no dirty share is waited for. A
 * node looks at a tenth of its partitions every second (RetentionRounds), so with ten of each there is always something due. That it
 * was done is counted by the node itself; a row in which nothing was done proves nothing and fails.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { apis } from '../src/gateways/kafka/index.ts'
import { BenchCluster } from './bench-cluster.ts'
import type { LoadResult } from './load.ts'
import type { MixedLoad, Slice } from './mixed-load.ts'
import { median, type Row } from './produce.ts'
import { leadersOf, RawClient } from './raw-client.ts'

const PARTITIONS = 10
const SEGMENT_BYTES = 1 << 20
const SHARE_MIN = 0.8
const P99_TIMES_MAX = 2
const RATE_SHARE = 0.5
/** Of each node: every partition was looked at, and the code is compiled. */
const WARMUP_SECONDS = 12
const PORTS = { idle: 23_092, working: 23_192 }
/** A disk that does not answer a halted node is not stuck. */
const FLAGS = ['--disk-stuck-ms', '600000']

/** CONNECTIONSxINFLIGHTxRECORDSxBYTES, in flight on all connections together. */
const ROWS = ['8x256x1x100', '8x32x50x100']

const CONFIGS = {
  working: {
    retained: { 'segment.bytes': `${SEGMENT_BYTES}`, 'retention.bytes': `${SEGMENT_BYTES}`, 'segment.ms': '5000' },
    compacts: {
      ...{ 'segment.bytes': `${SEGMENT_BYTES}`, 'segment.ms': '5000' },
      ...{ 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0' },
    },
  },
  idle: { retained: { 'retention.ms': '-1' }, compacts: { 'retention.ms': '-1' } },
}

export interface CleaningBenchOptions {
  readonly seconds: number
  readonly rounds: number
  readonly flags: readonly string[]
  readonly progress: (text: string) => void
}

const COUNTERS = {
  cuts: 'tidemark_log_cuts_total',
  cleanings: 'tidemark_cleanings_total',
  readBytes: 'tidemark_cleaning_read_bytes_total',
  dropped: 'tidemark_cleaning_records_dropped_total',
}
type Work = Record<keyof typeof COUNTERS, number>

export interface CleaningReport {
  readonly rows: readonly Row[]
  readonly missed: readonly string[]
}

export async function benchCleaning(rows: readonly string[], options: CleaningBenchOptions): Promise<CleaningReport> {
  const report: Row[] = []
  const missed: string[] = []
  for (const row of rows.length > 0 ? rows : ROWS) {
    const sides: Side[] = []
    try {
      sides.push(await Side.start('idle', row, options.flags))
      sides.push(await Side.start('working', row, options.flags))
      const { rows: measured, missed: bars } = await measure(row, sides, options)
      report.push(...measured)
      missed.push(...bars)
    } finally {
      for (const side of sides) await side.stop()
    }
  }
  return { rows: report, missed }
}

async function measure(
  row: string,
  sides: readonly Side[],
  { seconds, rounds, progress }: CleaningBenchOptions,
): Promise<CleaningReport> {
  const alternate = async (part: string, times: number, rate: number | null): Promise<Measured[]> => {
    for (const side of sides) await side.begin()
    for (let round = 1; round <= times; round++) {
      progress(`${row}: ${part}, round ${round} of ${times}`)
      for (const side of sides) await side.run({ seconds, rate })
    }
    return Promise.all(sides.map((side) => side.end()))
  }
  await alternate('warm-up', Math.ceil(WARMUP_SECONDS / seconds), null)
  const fast = await alternate('throughput', rounds, null)
  const rate = Math.floor(RATE_SHARE * median(fast[0]!.slices.map((slice) => slice.requestsPerSecond)))
  const steady = await alternate('latency', rounds, rate)
  const share = medianRatio(fast, ({ requestsPerSecond }) => requestsPerSecond)
  const times = medianRatio(steady, ({ p99Ms }) => p99Ms)
  const missed: string[] = []
  if (!(share >= SHARE_MIN)) missed.push(`${row}: ${percent(share)} of the throughput, ${percent(SHARE_MIN)} asked`)
  if (!(times <= P99_TIMES_MAX)) missed.push(`${row}: ${times.toFixed(2)} × the p99 latency, ${P99_TIMES_MAX} allowed`)
  for (const measured of [...fast, ...steady]) missed.push(...measured.defects(row))
  return {
    rows: [
      ...fast.map((measured, i) => measured.row(row, 'throughput', i === 0 ? '' : percent(share))),
      ...steady.map((measured, i) => measured.row(row, 'latency', i === 0 ? '' : `${times.toFixed(2)} ×`)),
    ],
    missed,
  }
}

/** Of each pair of slices that followed each other: working's to idle's. */
function medianRatio([idle, working]: readonly Measured[], of: (slice: LoadResult) => number): number {
  return median(working!.slices.map((slice, i) => of(slice) / of(idle!.slices[i]!)))
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}

class Measured {
  readonly side: 'idle' | 'working'
  readonly slices: readonly LoadResult[]
  readonly work: Work

  constructor(side: 'idle' | 'working', slices: readonly LoadResult[], work: Work) {
    this.side = side
    this.slices = slices
    this.work = work
  }

  row(row: string, part: string, ratio: string): Row {
    const of = (pick: (slice: LoadResult) => number): number => median(this.slices.map(pick))
    const { cuts, cleanings, readBytes, dropped } = this.work
    return {
      ...{ row, part, cleaning: this.side, ratio },
      'requests/s': of((slice) => slice.requestsPerSecond),
      'MB/s': of((slice) => slice.megabytesPerSecond),
      'p50 ms': of((slice) => slice.p50Ms),
      'p90 ms': of((slice) => slice.p90Ms),
      'p99 ms': of((slice) => slice.p99Ms),
      'max ms': of((slice) => slice.maxMs),
      cuts,
      cleanings,
      'MB cleaned': Math.round(readBytes / 1e5) / 10,
      'records dropped': dropped,
      errors: this.slices.reduce((sum, { errors }) => sum + errors, 0),
    }
  }

  defects(row: string): string[] {
    const { cuts, cleanings } = this.work
    const defects: string[] = []
    if (this.slices.some(({ errors }) => errors > 0)) defects.push(`${row}, ${this.side}: requests were refused`)
    if (this.side === 'working' && !(cuts > 0 && cleanings > 0)) defects.push(`${row}: nothing was cut or compacted`)
    if (this.side === 'idle' && (cuts !== 0 || cleanings !== 0)) defects.push(`${row}: what was to be kept was not`)
    return defects
  }
}

/** A node with its load; halted between slices. */
class Side {
  readonly #name: 'idle' | 'working'
  readonly #bench: BenchCluster
  readonly #load: ChildProcess
  /** Before its time: only an error. */
  readonly #ended: Promise<never>
  #slices: LoadResult[] = []
  #before: Work | null = null

  private constructor(name: 'idle' | 'working', bench: BenchCluster, load: ChildProcess) {
    this.#name = name
    this.#bench = bench
    this.#load = load
    this.#ended = new Promise((_resolve, reject) => {
      load.once('exit', (code) => reject(new Error(`the load generator ended with code ${code}`)))
    })
  }

  static async start(name: 'idle' | 'working', row: string, flags: readonly string[]): Promise<Side> {
    const bench = new BenchCluster(1, [...FLAGS, ...flags], PORTS[name])
    try {
      await bench.start()
      const targets = await createTopics(bench, CONFIGS[name])
      const [connections, inFlight, recordsPerBatch, valueBytes] = row.split('x').map(Number)
      const load: MixedLoad = {
        ...{ targets, connections: connections!, inFlight: Math.max(1, Math.round(inFlight! / connections!)) },
        ...{ recordsPerBatch: recordsPerBatch!, valueBytes: valueBytes! },
      }
      const child = fork(fileURLToPath(new URL('./mixed-load.js', import.meta.url)), [JSON.stringify(load)])
      const side = new Side(name, bench, child)
      await side.#halt()
      return side
    } catch (error) {
      await bench.stop()
      throw error
    }
  }

  async begin(): Promise<void> {
    this.#slices = []
    await this.#goOn()
    this.#before = await this.#work()
    await this.#halt()
  }

  async run(slice: Slice): Promise<void> {
    await this.#goOn()
    this.#load.send(slice)
    const [result] = (await Promise.race([once(this.#load, 'message'), this.#ended])) as [LoadResult]
    await this.#halt()
    this.#slices.push(result)
  }

  async end(): Promise<Measured> {
    await this.#goOn()
    const after = await this.#work()
    await this.#halt()
    const keys = Object.keys(COUNTERS) as (keyof Work)[]
    const work = Object.fromEntries(keys.map((key) => [key, after[key] - this.#before![key]])) as Work
    return new Measured(this.#name, this.#slices, work)
  }

  async stop(): Promise<void> {
    this.#load.removeAllListeners('exit')
    this.#load.disconnect()
    await this.#goOn()
    await this.#bench.stop()
  }

  async #work(): Promise<Work> {
    const work: Partial<Work> = {}
    for (const [key, name] of Object.entries(COUNTERS)) work[key as keyof Work] = await this.#bench.counted(name)
    return work as Work
  }

  #halt(): Promise<void> {
    return this.#bench.cluster.signal(1, 'SIGSTOP')
  }

  #goOn(): Promise<void> {
    return this.#bench.cluster.signal(1, 'SIGCONT')
  }
}

async function createTopics(
  bench: BenchCluster,
  configs: Readonly<Record<string, Readonly<Record<string, string>>>>,
): Promise<MixedLoad['targets']> {
  const client = await RawClient.connect(bench.cluster.kafka(1))
  const topics = Object.entries(configs).map(([name, settings]) => ({
    ...{ name, numPartitions: PARTITIONS, replicationFactor: -1, assignments: [] },
    configs: Object.entries(settings).map(([key, value]) => ({ name: key, value })),
  }))
  const { topics: answers } = await client.request(apis.createTopics, 5, { topics, timeoutMs: 10_000 })
  for (const { name, errorCode, errorMessage } of answers)
    if (errorCode !== 0) throw new Error(`topic ${name}: ${errorMessage}`)
  const targets: { topic: string; index: number; leader: string }[] = []
  for (const { name } of topics)
    for (const [index, leader] of (await leadersOf(client, name)).entries())
      targets.push({ topic: name, index, leader })
  client.close()
  // Cut ones and compacted ones in turn.
  return targets.sort((a, b) => a.index - b.index)
}
