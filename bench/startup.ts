#!/usr/bin/env node
/**
 * How long until the first acknowledged write, and how much memory an idle node takes.
 *
 *     single     `tidemark start`, from the spawn of the process to the first acknowledgement (acks all), topic created on the
 *                way; in an empty directory, and again in one that holds data
 *     embedded   `Tidemark.start({ memory: true })` in a fresh process, from the call to the first acknowledgement
 *     idle       resident memory of the largest of three nodes that have had nothing to do for ten seconds
 *
 * The median of several runs counts. Start-up is processor time: on a machine that is busy with something else everything here
 * gets longer, which is why the bare interpreter is measured beside it.
 */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { table } from '../src/cli/print.ts'
import { BenchCluster } from './bench-cluster.ts'
import { firstAcknowledgement, firstWrite } from './first-write.ts'

interface Row {
  readonly figure: string
  readonly unit: string
  readonly median: number
  readonly best: number
  readonly worst: number
  /** Null where nothing is demanded. */
  readonly bar: number | null
}

const SINGLE_BAR_MS = 350
const EMBEDDED_BAR_MS = 150
const IDLE_BAR_MB = 85
const IDLE_AFTER_MS = 10_000
const TOPIC = 'first'

/** As it is published. */
const LIBRARY = fileURLToPath(import.meta.resolve('tidemark'))

if (process.argv[2] === '--embedded-child') await embeddedChild()
else await main()

async function main(): Promise<void> {
  const program = new Command('npm run bench:startup --')
    .description('Time to the first acknowledged write and memory of an idle node, against their bars.')
    .option('--runs <N>', 'runs of each; the median counts', '7')
    .option('--skip-idle', 'leave out the idle cluster')
    .option('--json <FILE>', 'write the figures there')
    .parse()
  const flags = program.opts<{ runs: string; skipIdle?: boolean; json?: string }>()
  const runs = Number(flags.runs)
  if (!Number.isInteger(runs) || runs < 1) program.error(`--runs ${flags.runs}: must be a whole number from 1`)
  const rows: Row[] = []
  const bare: number[] = []
  const single = { empty: [] as number[], existing: [] as number[] }
  const embedded: EmbeddedTimes[] = []
  for (let run = 1; run <= runs; run++) {
    progress(`run ${run} of ${runs}`)
    bare.push(await bareInterpreter())
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-startup-'))
    try {
      single.empty.push(await singleNode(path.join(directory, 'data')))
      single.existing.push(await singleNode(path.join(directory, 'data')))
    } finally {
      fs.rmSync(directory, { recursive: true, force: true })
    }
    embedded.push(await embeddedRun())
  }
  rows.push(row('bare interpreter, start to end', 'ms', bare, null))
  rows.push(row('single node, empty directory', 'ms', single.empty, SINGLE_BAR_MS))
  rows.push(row('single node, existing data', 'ms', single.existing, SINGLE_BAR_MS))
  rows.push(
    row(
      'embedded: Tidemark.start()',
      'ms',
      embedded.map((times) => times.startMs),
      null,
    ),
  )
  rows.push(
    row(
      'embedded: start to first acknowledgement',
      'ms',
      embedded.map((times) => times.acknowledgedMs),
      EMBEDDED_BAR_MS,
    ),
  )
  if (flags.skipIdle !== true) {
    progress(`idle for ${IDLE_AFTER_MS / 1000} s`)
    rows.push(row('idle memory, one of three nodes', 'MB', await idleMegabytes(), IDLE_BAR_MB))
  }
  report(rows, flags.json)
}

function report(rows: readonly Row[], json: string | undefined): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  if (json !== undefined) fs.writeFileSync(json, `${JSON.stringify(rows, null, 2)}\n`)
  const shown = (value: number, { unit }: Row): string => `${Math.round(value)} ${unit}`
  console.log(
    table(rows, [
      { title: 'figure', value: (one) => one.figure },
      { title: 'median', value: (one) => shown(one.median, one), right: true },
      { title: 'best', value: (one) => shown(one.best, one), right: true },
      { title: 'worst', value: (one) => shown(one.worst, one), right: true },
      { title: 'bar', value: (one) => (one.bar === null ? '' : shown(one.bar, one)), right: true },
      { title: '', value: (one) => (one.bar === null ? '' : isAbove(one) ? 'ABOVE' : 'ok') },
    ]),
  )
  const above = rows.filter(isAbove)
  console.log(
    `\nstartup: ${above.length === 0 ? 'all below their bars' : `above the bar: ${above.map((one) => one.figure).join('; ')}`}`,
  )
  process.exitCode = above.length === 0 ? 0 : 1
}

function isAbove(row: Row): boolean {
  return row.bar !== null && row.median > row.bar
}

function row(figure: string, unit: string, values: readonly number[], bar: number | null): Row {
  const sorted = values.toSorted((a, b) => a - b)
  return { figure, unit, median: sorted[sorted.length >> 1]!, best: sorted[0]!, worst: sorted.at(-1)!, bar }
}

function progress(text: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r${text}\x1b[K` : `${text}\n`)
}

function bareInterpreter(): Promise<number> {
  const from = performance.now()
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' })
    child.once('error', reject)
    child.once('exit', () => resolve(performance.now() - from))
  })
}

/** From the spawn to the acknowledgement of one record, then a clean stop. */
async function singleNode(data: string): Promise<number> {
  const { acknowledgedMs } = await firstWrite({ data, topic: TOPIC, end: 'SIGTERM' })
  return acknowledgedMs
}

interface EmbeddedTimes {
  readonly startMs: number
  readonly acknowledgedMs: number
}

function embeddedRun(): Promise<EmbeddedTimes> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), '--embedded-child'], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    let times: EmbeddedTimes | null = null
    child.once('message', (message) => {
      times = message as EmbeddedTimes
    })
    child.once('error', reject)
    child.once('exit', (code) =>
      times === null ? reject(new Error(`the embedded run ended with exit code ${code}`)) : resolve(times),
    )
  })
}

async function embeddedChild(): Promise<void> {
  const { Tidemark } = (await import(LIBRARY)) as typeof import('../src/index.ts')
  const from = performance.now()
  const tidemark = await Tidemark.start({ memory: true })
  const started = performance.now()
  await firstAcknowledgement(tidemark.kafka.brokers[0]!, TOPIC)
  const times: EmbeddedTimes = { startMs: started - from, acknowledgedMs: performance.now() - from }
  await tidemark.stop()
  process.send!(times, () => process.disconnect())
}

/** Resident memory of each of three idle nodes; the largest decides. */
async function idleMegabytes(): Promise<number[]> {
  const cluster = new BenchCluster(3, [], 26_300)
  await cluster.start()
  try {
    await new Promise((resolve) => setTimeout(resolve, IDLE_AFTER_MS))
    const megabytes = cluster.cluster.ids.map((id) => residentMegabytes(cluster.cluster.pid(id)))
    return [Math.max(...megabytes)]
  } finally {
    await cluster.stop()
  }
}

function residentMegabytes(pid: number | null): number {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) / 1024
}
