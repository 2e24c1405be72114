/** `bench produce`: one record per request, acks all, one partition, as the ceiling does it. */
import { execFile, fork } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { BenchCluster } from './bench-cluster.ts'
import type { LoadResult } from './load.ts'
import { leadersOf, RawClient } from './raw-client.ts'

export interface BenchOptions {
  readonly seconds: number
  readonly rounds: number
  readonly nodes: readonly number[]
  readonly ceiling: string | null
  readonly progress: (text: string) => void
}

export type Row = Record<string, string | number>

const ROWS = [
  '1x1x100',
  '1x16x100',
  '8x256x100',
  '256x256x100',
  '8x2048x100',
  '1x1x1024',
  '8x256x1024',
  '8x64x16384',
  '8x256x16384',
]

interface Measured extends LoadResult {
  readonly syncsPerSecond: number
  readonly cpuShare: number
}

export async function benchProduce(rows: readonly string[], options: BenchOptions): Promise<Row[]> {
  const results: Row[] = []
  for (const row of rows.length > 0 ? rows : ROWS) {
    const ceilings: LoadResult[] = []
    const measured = new Map<number, Measured[]>(options.nodes.map((nodes) => [nodes, []]))
    for (let round = 0; round < options.rounds; round++) {
      if (options.ceiling !== null) {
        options.progress(`${row}: ceiling, round ${round + 1}`)
        ceilings.push(await ceilingOf(options.ceiling, row, options.seconds))
      }
      for (const nodes of options.nodes) {
        options.progress(`${row}: ${nodes} ${nodes === 1 ? 'node' : 'nodes'}, round ${round + 1}`)
        measured.get(nodes)!.push(await measure(row, nodes, options.seconds))
      }
    }
    for (const nodes of options.nodes) results.push(summary(row, nodes, measured.get(nodes)!, ceilings))
  }
  return results
}

function summary(row: string, nodes: number, measured: readonly Measured[], ceilings: readonly LoadResult[]): Row {
  const of = (pick: (result: Measured) => number): number => median(measured.map(pick))
  const result: Row = {
    row,
    nodes,
    'requests/s': of((m) => m.requestsPerSecond),
    'MB/s': of((m) => m.megabytesPerSecond),
    'p50 ms': of((m) => m.p50Ms),
    'p90 ms': of((m) => m.p90Ms),
    'p99 ms': of((m) => m.p99Ms),
    'syncs/s': Math.round(of((m) => m.syncsPerSecond)),
    'records/sync':
      Math.round(
        (of((m) => m.requestsPerSecond) /
          Math.max(
            1,
            of((m) => m.syncsPerSecond),
          )) *
          10,
      ) / 10,
    'cpu %': Math.round(of((m) => m.cpuShare) * 100),
    errors: measured.reduce((sum, m) => sum + m.errors, 0),
  }
  if (ceilings.length === 0) return result
  const top = median(ceilings.map((c) => c.requestsPerSecond))
  const topP50 = median(ceilings.map((c) => c.p50Ms))
  return {
    ...result,
    'ceiling/s': top,
    share: `${Math.round((100 * of((m) => m.requestsPerSecond)) / top)} %`,
    'p50 ×': Math.round((of((m) => m.p50Ms) / topP50) * 100) / 100,
  }
}

async function measure(row: string, nodes: number, seconds: number): Promise<Measured> {
  const bench = new BenchCluster(nodes)
  try {
    await bench.start()
    const client = await RawClient.connect(bench.cluster.kafka(1))
    const { apis } = await import('../src/gateways/kafka/index.ts')
    await client.request(apis.createTopics, 5, {
      topics: [{ name: 'bench', numPartitions: 1, replicationFactor: -1, assignments: [], configs: [] }],
      timeoutMs: 5000,
    })
    const [leader] = await leadersOf(client, 'bench')
    client.close()
    const before = await bench.usage(leader!)
    const from = performance.now()
    const result = await load(leader!, row, seconds)
    const elapsed = (performance.now() - from) / 1000
    const after = await bench.usage(leader!)
    return {
      ...result,
      syncsPerSecond: (after.journalSyncs - before.journalSyncs) / elapsed,
      cpuShare: (after.cpuSeconds - before.cpuSeconds) / elapsed,
    }
  } finally {
    await bench.stop()
  }
}

function load(leader: string, row: string, seconds: number): Promise<LoadResult> {
  const [connections, inFlight, bytes] = row.split('x') as [string, string, string]
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('./load.js', import.meta.url)), [
      leader,
      'bench',
      connections,
      inFlight,
      bytes,
      '1.5',
      String(seconds),
    ])
    child.once('message', (result) => resolve(result as LoadResult))
    child.once('exit', (code) => reject(new Error(`the load generator ended with code ${code}`)))
  })
}

async function ceilingOf(program: string, row: string, seconds: number): Promise<LoadResult> {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-ceiling-')), 'ceiling.json')
  await promisify(execFile)(process.execPath, [program, '--secs', String(seconds), '--json', file, row])
  const results = JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, LoadResult>
  fs.rmSync(path.dirname(file), { recursive: true })
  return results[row]!
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
