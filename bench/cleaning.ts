/**
 * `bench cleaning`: what retention and compaction cost whoever writes. The same load on two fresh clusters in turn: on one, the
 * topics are cut and compacted all the time, on the other everything is kept.
 *
 *     throughput   as fast as it goes                 working ≥ 80 % of idle
 *     latency      at half of what went while idle    working's p99 ≤ 2 × idle's
 *
 * Half of the partitions are cut by size, half are compacted: few keys that come again and again, no dirty share that would be
 * waited for. A node looks at a tenth of its partitions every second (RetentionRounds), so with ten of each there is always
 * something due. That it was done is counted by the nodes themselves, and a run in which nothing was done proves nothing and fails.
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { apis } from '../src/gateways/kafka/index.ts'
import { BenchCluster } from './bench-cluster.ts'
import type { LoadResult } from './load.ts'
import type { MixedLoad } from './mixed-load.ts'
import { median, type Row } from './produce.ts'
import { leadersOf, RawClient } from './raw-client.ts'

const PARTITIONS = 10
const SEGMENT_BYTES = 1 << 20
const SHARE_MIN = 0.8
const P99_TIMES_MAX = 2
/** To p99 of a machine that halts by itself now and then. */
const RATE_SHARE = 0.5
/** Enough for every partition to have been looked at. */
const WARMUP_SECONDS = 12

/** CONNECTIONSxINFLIGHTxRECORDSxBYTES, in flight on all connections together. */
const ROWS = ['8x256x1x100', '8x32x50x100']

const WORKING = {
  retained: { 'segment.bytes': `${SEGMENT_BYTES}`, 'retention.bytes': `${SEGMENT_BYTES}`, 'segment.ms': '5000' },
  compacts: {
    ...{ 'segment.bytes': `${SEGMENT_BYTES}`, 'segment.ms': '5000' },
    ...{ 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0' },
  },
}
const IDLE = { retained: { 'retention.ms': '-1' }, compacts: { 'retention.ms': '-1' } }

export interface CleaningBenchOptions {
  readonly seconds: number
  readonly rounds: number
  readonly nodes: readonly number[]
  readonly flags: readonly string[]
  readonly progress: (text: string) => void
}

interface Work {
  readonly cuts: number
  readonly cleanings: number
  readonly readBytes: number
  readonly dropped: number
}

interface Measured extends LoadResult {
  readonly work: Work
}

export interface CleaningReport {
  readonly rows: readonly Row[]
  readonly missed: readonly string[]
}

export async function benchCleaning(rows: readonly string[], options: CleaningBenchOptions): Promise<CleaningReport> {
  const report: Row[] = []
  const missed: string[] = []
  for (const row of rows.length > 0 ? rows : ROWS) {
    for (const nodes of options.nodes) {
      const fast: Measured[][] = [[], []]
      const steady: Measured[][] = [[], []]
      for (let round = 1; round <= options.rounds; round++) {
        const take = async (into: Measured[][], what: string, rate: number | null): Promise<void> => {
          for (const [i, working] of [false, true].entries()) {
            options.progress(`${row}, ${nodes} nodes, round ${round}: ${what}, ${working ? 'working' : 'idle'}`)
            into[i]!.push(await measure(row, nodes, working, rate, options))
          }
        }
        await take(fast, 'throughput', null)
        await take(steady, 'latency', Math.floor(RATE_SHARE * fast[0]!.at(-1)!.requestsPerSecond))
      }
      report.push(...summary(row, nodes, 'throughput', fast), ...summary(row, nodes, 'latency', steady))
      missed.push(...missedBy(`${row}, ${nodes} nodes`, fast, steady))
    }
  }
  return { rows: report, missed }
}

function summary(row: string, nodes: number, part: string, [idle, working]: Measured[][]): Row[] {
  return [idle!, working!].map((runs, i) => {
    const of = (pick: (run: Measured) => number): number => median(runs.map(pick))
    const perRun = (pick: (work: Work) => number): number =>
      Math.round(runs.reduce((sum, { work }) => sum + pick(work), 0) / runs.length)
    return {
      ...{ row, nodes, part, cleaning: i === 0 ? 'idle' : 'working' },
      'requests/s': of((run) => run.requestsPerSecond),
      'MB/s': of((run) => run.megabytesPerSecond),
      'p50 ms': of((run) => run.p50Ms),
      'p90 ms': of((run) => run.p90Ms),
      'p99 ms': of((run) => run.p99Ms),
      'max ms': of((run) => run.maxMs),
      cuts: perRun(({ cuts }) => cuts),
      cleanings: perRun(({ cleanings }) => cleanings),
      'MB read': Math.round(perRun(({ readBytes }) => readBytes) / 1e5) / 10,
      'records dropped': perRun(({ dropped }) => dropped),
      errors: runs.reduce((sum, run) => sum + run.errors, 0),
    }
  })
}

function missedBy(what: string, [idleFast, workingFast]: Measured[][], [idle, working]: Measured[][]): string[] {
  const missed: string[] = []
  const rate = (runs: Measured[]): number => median(runs.map((run) => run.requestsPerSecond))
  const p99 = (runs: Measured[]): number => median(runs.map((run) => run.p99Ms))
  const share = rate(workingFast!) / rate(idleFast!)
  const times = p99(working!) / p99(idle!)
  if (share < SHARE_MIN)
    missed.push(`${what}: ${Math.round(share * 100)} % of the throughput, ${SHARE_MIN * 100} asked`)
  if (times > P99_TIMES_MAX) missed.push(`${what}: ${times.toFixed(2)} × the p99 latency, ${P99_TIMES_MAX} allowed`)
  for (const run of [...idleFast!, ...idle!, ...workingFast!, ...working!])
    if (run.errors > 0) missed.push(`${what}: ${run.errors} requests were refused`)
  for (const { work } of [...workingFast!, ...working!])
    if (!(work.cuts > 0 && work.cleanings > 0)) missed.push(`${what}: nothing was cut or compacted`)
  for (const { work } of [...idleFast!, ...idle!])
    if (work.cuts !== 0 || work.cleanings !== 0) missed.push(`${what}: cut or compacted where all was to be kept`)
  return missed
}

async function measure(
  row: string,
  nodes: number,
  working: boolean,
  rate: number | null,
  { seconds, flags }: CleaningBenchOptions,
): Promise<Measured> {
  const bench = new BenchCluster(nodes, flags)
  try {
    await bench.start()
    const targets = await createTopics(bench, working ? WORKING : IDLE)
    const [connections, inFlight, recordsPerBatch, valueBytes] = row.split('x').map(Number)
    const leaders = new Set(targets.map(({ leader }) => leader)).size
    const perLeader = Math.max(1, Math.round(connections! / leaders))
    const load: MixedLoad = {
      ...{ targets, connections: perLeader, inFlight: Math.max(1, Math.round(inFlight! / (perLeader * leaders))) },
      ...{ recordsPerBatch: recordsPerBatch!, valueBytes: valueBytes!, rate, warmupSeconds: WARMUP_SECONDS, seconds },
    }
    let before = await workOf(bench)
    const result = await run(load, async () => {
      before = await workOf(bench)
    })
    const after = await workOf(bench)
    const work = {
      cuts: after.cuts - before.cuts,
      cleanings: after.cleanings - before.cleanings,
      readBytes: after.readBytes - before.readBytes,
      dropped: after.dropped - before.dropped,
    }
    return { ...result, work }
  } finally {
    await bench.stop()
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

async function workOf(bench: BenchCluster): Promise<Work> {
  return {
    cuts: await bench.counted('tidemark_log_cuts_total'),
    cleanings: await bench.counted('tidemark_cleanings_total'),
    readBytes: await bench.counted('tidemark_cleaning_read_bytes_total'),
    dropped: await bench.counted('tidemark_cleaning_records_dropped_total'),
  }
}

function run(load: MixedLoad, begun: () => Promise<void>): Promise<LoadResult> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('./mixed-load.js', import.meta.url)), [JSON.stringify(load)])
    child.on('message', (message) => {
      if (message === 'begun') begun().catch(reject)
      else resolve(message as LoadResult)
    })
    child.once('exit', (code) => reject(new Error(`the load generator ended with code ${code}`)))
  })
}
