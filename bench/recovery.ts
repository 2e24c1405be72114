/**
 * `bench recovery`: from the start of the process to the first acknowledged write, on directories of nodes that were killed.
 *
 *     bare        the interpreter alone, and a node with next to nothing to recover: what the rest can be compared with
 *     one shard   ten thousand sealed segments of one partition
 *     spread      ten thousand sealed segments of a hundred partitions
 *     million     one million records of 100 B, just acknowledged
 *     uncovered   256 MiB of journal that no checkpoint covers
 *
 * Each directory is made once, by a node in a child process, and copied for every run: an opening changes what it finds. Where it
 * is the journal that is recovered, that node ends itself by SIGKILL; where it is the shard logs, it stops. Where segments of full size would be gigabytes, the node that makes them is given smaller ones; the one
 * that is measured is `tidemark start` as it is.
 */
import { fork, spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { TraceFile } from '../src/node.ts'
import { nodePlatform } from '../src/platform/nodejs/index.ts'
import { firstWrite } from './first-write.ts'
import { produceTo, sameRecords, startLocalNode } from './local-node.ts'
import { median, type Row } from './produce.ts'
import { RawClient } from './raw-client.ts'

const TOPIC = 'bench'
const CONNECTIONS = 4
const IN_FLIGHT = 64
const UNSEALED_RECORDS_MAX = 1000

interface Situation {
  readonly name: string
  readonly barMs: number | null
  readonly partitions: number
  readonly recordsPerBatch: number
  readonly storage: Partial<Record<'journalSegmentBytes' | 'shardSegmentBytes' | 'shardLogFlushBytes', number>>
  /** The child ends when it has come so far. */
  readonly until: { readonly sealed?: number; readonly records?: number; readonly uncoveredBytes?: number }
  /** Killed if not said otherwise. */
  readonly stops?: boolean
}

const SITUATIONS: readonly Situation[] = [
  {
    name: 'a hundred records',
    barMs: null,
    partitions: 1,
    recordsPerBatch: 1,
    storage: {},
    until: { records: 100 },
  },
  {
    name: '10,000 sealed segments, one shard',
    barMs: 1000,
    partitions: 1,
    recordsPerBatch: 1,
    storage: { shardSegmentBytes: 256, shardLogFlushBytes: 1, journalSegmentBytes: 1 << 20 },
    until: { sealed: 10_000 },
    stops: true,
  },
  {
    name: '10,000 sealed segments, 100 shards',
    barMs: 1000,
    partitions: 100,
    recordsPerBatch: 1,
    storage: { shardSegmentBytes: 256, shardLogFlushBytes: 1, journalSegmentBytes: 1 << 20 },
    until: { sealed: 10_000 },
    stops: true,
  },
  {
    name: '1,000,000 records of 100 B',
    barMs: 300,
    partitions: 1,
    recordsPerBatch: 20,
    storage: {},
    until: { records: 1_000_000 },
  },
  {
    name: '256 MiB of journal without a checkpoint',
    barMs: 2000,
    partitions: 1,
    recordsPerBatch: 100,
    storage: { journalSegmentBytes: 1 << 30 },
    until: { uncoveredBytes: 256 << 20 },
  },
]

export interface RecoveryOptions {
  readonly directory: string
  readonly runs: number
  /** Parts of names; all for none. */
  readonly only: readonly string[]
  readonly progress: (text: string) => void
}

export async function benchRecovery(options: RecoveryOptions): Promise<{ rows: Row[]; missed: string[] }> {
  const directory = fs.mkdtempSync(path.join(options.directory, 'tidemark-bench-recovery-'))
  const rows: Row[] = []
  const missed: string[] = []
  try {
    rows.push(summary('the interpreter alone', null, await repeated(options.runs, bareInterpreter), ''))
    for (const situation of SITUATIONS) {
      if (options.only.length > 0 && !options.only.some((part) => situation.name.includes(part))) continue
      options.progress(`${situation.name}: making it`)
      const made = path.join(directory, 'made')
      await make(situation, made)
      let recovery = ''
      const times = await repeated(options.runs, async (run) => {
        options.progress(`${situation.name}: run ${run + 1} of ${options.runs}`)
        const data = path.join(directory, 'run')
        fs.cpSync(made, data, { recursive: true })
        settle(data)
        const first = await firstWrite({ data, topic: TOPIC, end: 'SIGKILL' })
        fs.rmSync(data, { recursive: true })
        recovery = first.recovery
        return first.acknowledgedMs
      })
      fs.rmSync(made, { recursive: true })
      rows.push(summary(situation.name, situation.barMs, times, recovery))
      if (situation.barMs !== null && median(times) > situation.barMs)
        missed.push(`${situation.name}: ${Math.round(median(times))} ms, the bar is ${situation.barMs} ms`)
    }
    return { rows, missed }
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

function summary(name: string, barMs: number | null, times: readonly number[], recovery: string): Row {
  const ms = (value: number): number => Math.round(value)
  return {
    'found on the disk': name,
    'median ms': ms(median(times)),
    'best ms': ms(Math.min(...times)),
    'worst ms': ms(Math.max(...times)),
    'bar ms': barMs ?? '',
    'what the node says': recovery,
  }
}

async function repeated(runs: number, measure: (run: number) => Promise<number>): Promise<number[]> {
  const times: number[] = []
  for (let run = 0; run < runs; run++) times.push(await measure(run))
  return times
}

function bareInterpreter(): Promise<number> {
  const from = performance.now()
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' })
    child.once('error', reject)
    child.once('exit', () => resolve(performance.now() - from))
  })
}

/** The copy is on the disk, so that the node's syncs need not wait for it. */
function settle(directory: string): void {
  spawnSync('sync', ['-f', directory])
}

// ── the node that makes it ──────────────────────────────────────────────────────────────────────────────────────────────

async function make(situation: Situation, data: string): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), [String(SITUATIONS.indexOf(situation)), data])
  const how = await new Promise<string>((resolve) => child.once('exit', (code, signal) => resolve(signal ?? `${code}`)))
  if (how !== (situation.stops === true ? '0' : 'SIGKILL'))
    throw new Error(`${situation.name}: the node that makes it ended otherwise (${how})`)
}

async function makeAndDie(situation: Situation, data: string): Promise<void> {
  const { partitions, recordsPerBatch, storage, until } = situation
  let sealed = 0
  let records = 0
  let uncoveredBytes = 0
  const sealing: (() => void)[] = []
  const enough = (): boolean =>
    sealed >= (until.sealed ?? 0) && records >= (until.records ?? 0) && uncoveredBytes >= (until.uncoveredBytes ?? 0)
  const platform = nodePlatform()
  class Counter extends TraceFile {
    override note({ event }: Parameters<TraceFile['note']>[0]): void {
      if (event.type === 'shard-segment-sealed') {
        sealed++
        for (const go of sealing.splice(0)) go()
      } else if (event.type === 'journal-synced') uncoveredBytes += event.bytes
      else if (event.type === 'segment-entered') uncoveredBytes = 0
    }
  }
  const traceFile = new Counter(1, { clock: platform.clock, write: () => {} })
  fs.mkdirSync(data, { recursive: true })
  const { node, broker } = await startLocalNode({ data, platform, topic: TOPIC, partitions, traceFile, storage })
  const batch = sameRecords(recordsPerBatch, 100)
  let next = 0
  const writer = async (client: RawClient): Promise<void> => {
    while (!enough()) {
      // Shard logs are written in the background: without this, the node would stop with five times the segments that were asked for.
      if (until.sealed !== undefined && records > CONNECTIONS * sealed + UNSEALED_RECORDS_MAX)
        await new Promise<void>((resolve) => sealing.push(resolve))
      await produceTo(client, TOPIC, next++ % partitions, batch)
      records += recordsPerBatch
    }
    if (situation.stops !== true) process.kill(process.pid, 'SIGKILL')
  }
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => RawClient.connect(broker)))
  // What is in flight at once may become one entry, and every entry its own segment.
  const writersEach = until.sealed === undefined ? IN_FLIGHT / CONNECTIONS : 1
  await Promise.all(clients.flatMap((client) => Array.from({ length: writersEach }, () => writer(client))))
  for (const client of clients) client.close()
  await node.stop()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [index, data] = process.argv.slice(2)
  await makeAndDie(SITUATIONS[Number(index)]!, data!)
}
