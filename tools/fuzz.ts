/**
 * Runs every fuzzer of the repository for a while: `x.fuzz.ts` beside the code exports `fuzz(seed, rounds)`, which throws on a
 * defect.
 *
 * Each fuzzer lives in a worker, because two of the three things looked for cannot be caught from inside: a decoder that
 * never returns, and memory that grows. The fuzzers take turns in slices of about a quarter of a second with a new seed
 * each, so a slice is small enough to be repeated as a whole: a finding names the command that does it.
 */
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, extname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'

const HELP = `Usage: node dist/tools/fuzz.js [--seconds N] [--only PART] [--seed N] [--rounds N] [--json FILE] [--help]

Runs all compiled *.fuzz.js; build first. Looks for exceptions, hangs and growth of memory.

  --seconds N   time for all fuzzers together (60)
  --only PART   only fuzzers whose path contains this
  --seed N      first seed (from the clock)
  --rounds N    exactly one call of N rounds per fuzzer: repeats a finding, together with --only and --seed
  --json FILE   write the result as JSON
`

const SLICE_MS = 250
const ROUNDS_PER_SLICE_MAX = 100_000
const HANG_MS = 20_000
const GROWTH_BYTES_MAX = 64 * 1024 * 1024
/** Slices until caches and compiled code have settled. */
const WARM_UP_SLICES = 5
/**
 * A full collection throws away all optimized code that refers to anything that has died: after one per slice, fuzzers that make
 * whole worlds ran three times as long. Memory that grows is found ten seconds later.
 */
const SLICES_PER_COLLECTION = 40

export interface FuzzOptions {
  /** Compiled fuzzers, as absolute paths. */
  readonly files: readonly string[]
  readonly seconds: number
  readonly seed: number
  /** One call of so many rounds per fuzzer, instead of slices. */
  readonly rounds?: number
  readonly hangMs?: number
  readonly growthBytesMax?: number
  readonly progress?: (results: readonly FuzzResult[], elapsedMs: number) => void
}

export interface FuzzResult {
  readonly file: string
  calls: number
  rounds: number
  busyMs: number
  /** How far memory stands above where it was after the warm-up. */
  growthBytes: number
  finding: FuzzFinding | null
}

export interface FuzzFinding {
  readonly kind: 'exception' | 'hang' | 'memory'
  readonly seed: number
  readonly rounds: number
  readonly text: string
}

/** What the worker tells after a slice. */
type Told = { error: string } | { heldBytes: number | null }

export async function runFuzzers(options: FuzzOptions): Promise<FuzzResult[]> {
  const startedAt = performance.now()
  const elapsedMs = (): number => performance.now() - startedAt
  const fuzzers = options.files.map((file) => new Fuzzer(file, options))
  let seed = options.seed
  try {
    for (let pass = 0; pass === 0 || (options.rounds === undefined && elapsedMs() < options.seconds * 1000); pass++) {
      const alive = fuzzers.filter((fuzzer) => fuzzer.result.finding === null)
      if (alive.length === 0) break
      for (const fuzzer of alive) {
        // Everyone gets a turn, however short the time.
        if (pass > 0 && elapsedMs() >= options.seconds * 1000) break
        await fuzzer.slice(seed)
        options.progress?.(
          fuzzers.map(({ result }) => result),
          elapsedMs(),
        )
      }
      seed = (seed + 1) % 2 ** 32
    }
  } finally {
    await Promise.all(fuzzers.map((fuzzer) => fuzzer.stop()))
  }
  return fuzzers.map(({ result }) => result)
}

class Fuzzer {
  readonly result: FuzzResult
  readonly #options: FuzzOptions
  #worker: Worker | null = null
  #told: ((told: Told) => void) | null = null
  #roundsPerSlice = 10
  #settledBytes = Number.POSITIVE_INFINITY

  constructor(file: string, options: FuzzOptions) {
    this.#options = options
    this.result = { file, calls: 0, rounds: 0, busyMs: 0, growthBytes: 0, finding: null }
  }

  async slice(seed: number): Promise<void> {
    const rounds = this.#options.rounds ?? this.#roundsPerSlice
    const startedAt = performance.now()
    const collects = (this.result.calls + 1 - WARM_UP_SLICES) % SLICES_PER_COLLECTION === 0
    const told = await this.#call({ seed, rounds, collects })
    const tookMs = performance.now() - startedAt
    this.result.calls++
    this.result.rounds += rounds
    this.result.busyMs += tookMs
    // Towards the length of a slice, at most fourfold at a time: a call may be far slower than the one before it.
    const wanted = Math.round(rounds * Math.min(4, SLICE_MS / Math.max(tookMs, 1)))
    this.#roundsPerSlice = Math.min(Math.max(wanted, 1), ROUNDS_PER_SLICE_MAX)
    if (told === 'hang') {
      const text = `no answer in ${this.#options.hangMs ?? HANG_MS} ms`
      this.result.finding = { kind: 'hang', seed, rounds, text }
    } else if ('error' in told) this.result.finding = { kind: 'exception', seed, rounds, text: told.error }
    else if (told.heldBytes !== null) this.#watchMemory(seed, rounds, told.heldBytes)
    if (this.result.finding !== null) await this.stop()
  }

  #watchMemory(seed: number, rounds: number, heldBytes: number): void {
    if (this.result.calls <= WARM_UP_SLICES) {
      this.#settledBytes = heldBytes
      return
    }
    this.result.growthBytes = heldBytes - this.#settledBytes
    const mebibytes = Math.round(this.result.growthBytes / 1024 / 1024)
    if (this.result.growthBytes > (this.#options.growthBytesMax ?? GROWTH_BYTES_MAX)) {
      const text = `holds ${mebibytes} MiB more than after the warm-up (${this.result.calls} slices)`
      this.result.finding = { kind: 'memory', seed, rounds, text }
    }
  }

  #call(slice: { seed: number; rounds: number; collects: boolean }): Promise<Told | 'hang'> {
    this.#worker ??= this.#start()
    const worker = this.#worker
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#options.hangMs ?? HANG_MS, 'hang')
      this.#told = (told) => {
        clearTimeout(timer)
        resolve(told)
      }
      worker.postMessage(slice)
    })
  }

  #start(): Worker {
    const worker = new Worker(WORKER, { eval: true, workerData: this.result.file })
    worker.on('message', (told: Told) => this.#told?.(told))
    worker.on('error', (error) => this.#told?.({ error: error.stack ?? String(error) }))
    worker.on('exit', (code) => this.#told?.({ error: `the worker ended with code ${code}` }))
    return worker
  }

  async stop(): Promise<void> {
    const worker = this.#worker
    this.#worker = null
    this.#told = null
    await worker?.terminate()
  }
}

/** Held memory is counted after a full collection, so that garbage is no growth. */
const WORKER = `
const { parentPort, workerData } = require('node:worker_threads')
const { pathToFileURL } = require('node:url')
require('node:v8').setFlagsFromString('--expose-gc')
const collect = require('node:vm').runInNewContext('gc')
const loaded = import(pathToFileURL(workerData).href)
parentPort.on('message', async ({ seed, rounds, collects }) => {
  try {
    const { fuzz } = await loaded
    await fuzz(seed, rounds)
    await new Promise(setImmediate)
    if (!collects) return parentPort.postMessage({ heldBytes: null })
    collect()
    const { heapUsed, external } = process.memoryUsage()
    parentPort.postMessage({ heldBytes: heapUsed + external })
  } catch (error) {
    parentPort.postMessage({ error: (error && error.stack) || String(error) })
  }
})
`

/** All fuzzers below a folder. */
export function findFuzzers(folder: string, extension: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : findFuzzers(path, extension)
      return entry.name.endsWith(`.fuzz${extension}`) ? [path] : []
    })
    .sort()
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      only: { type: 'string', default: '' },
      seed: { type: 'string' },
      rounds: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(HELP)
    return 0
  }
  const here = fileURLToPath(import.meta.url)
  // Workers run compiled code, also when this file itself is run from its source.
  const root = extname(here) === '.ts' ? join(dirname(here), '../dist') : join(dirname(here), '..')
  const files = findFuzzers(root, '.js').filter((file) => file.includes(values.only.replace(/\.(?:ts|js)$/, '')))
  if (files.length === 0)
    throw new Error(
      values.only === '' ? 'no fuzzers found; run npm run build first' : `no fuzzer matches ${values.only}`,
    )
  const options: FuzzOptions = {
    files,
    seconds: count('seconds', values.seconds),
    seed: values.seed === undefined ? Date.now() % 2 ** 32 : count('seed', values.seed),
    progress: progressLine(),
    ...(values.rounds === undefined ? {} : { rounds: count('rounds', values.rounds) }),
  }
  const results = await runFuzzers(options)
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  const name = (file: string): string => relative(root, file).replace(/\.fuzz\.js$/, '')
  print(results, name)
  if (values.json !== undefined) {
    const report = {
      seed: options.seed,
      seconds: options.seconds,
      fuzzers: results.map((each) => ({ ...each, file: name(each.file) })),
    }
    writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`)
  }
  const findings = results.filter(({ finding }) => finding !== null).length
  const rounds = results.reduce((sum, each) => sum + each.rounds, 0)
  console.log(`fuzz: ${results.length} fuzzers, ${rounds} rounds, ${findings} findings`)
  return findings === 0 ? 0 : 1
}

function count(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value < 0) throw new Error(`--${name} must be a number, not "${text}"`)
  return value
}

/** A line that renews itself in a terminal; elsewhere one every ten seconds. */
function progressLine(): (results: readonly FuzzResult[], elapsedMs: number) => void {
  let nextMs = 0
  return (results, elapsedMs) => {
    if (elapsedMs < nextMs) return
    nextMs = elapsedMs + (process.stderr.isTTY ? 200 : 10_000)
    const rounds = results.reduce((sum, each) => sum + each.rounds, 0)
    const findings = results.filter(({ finding }) => finding !== null).length
    const line = `fuzz: ${Math.round(elapsedMs / 1000)} s, ${results.length} fuzzers, ${rounds} rounds, ${findings} findings`
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`)
  }
}

function print(results: readonly FuzzResult[], name: (file: string) => string): void {
  const width = Math.max(...results.map(({ file }) => name(file).length), 6)
  console.log(
    `${'fuzzer'.padEnd(width)}  ${'rounds'.padStart(10)}  ${'rounds/s'.padStart(10)}  ${'growth'.padStart(9)}  result`,
  )
  for (const { file, rounds, busyMs, growthBytes, finding } of results) {
    const perSecond = Math.round((rounds * 1000) / Math.max(busyMs, 1))
    const growth = `${(Math.max(0, growthBytes) / 1024 / 1024).toFixed(1)} MiB`
    const verdict = finding === null ? 'ok' : finding.kind
    console.log(
      `${name(file).padEnd(width)}  ${`${rounds}`.padStart(10)}  ${`${perSecond}`.padStart(10)}  ${growth.padStart(9)}  ${verdict}`,
    )
  }
  for (const { file, finding } of results) {
    if (finding === null) continue
    console.log(`\n${name(file)}: ${finding.kind}\n${finding.text}`)
    console.log(
      `repeat: node dist/tools/fuzz.js --only ${name(file)}.fuzz --seed ${finding.seed} --rounds ${finding.rounds}\n`,
    )
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().then(
    (code) => {
      process.exitCode = code
    },
    (error: Error) => {
      console.error(`fuzz: ${error.message}`)
      process.exitCode = 1
    },
  )
}
