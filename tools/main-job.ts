#!/usr/bin/env node
/**
 * The main job: real input, a real client, a real cluster, and a leader that is killed in the middle. Nothing may be lost.
 *
 *   lines ─► kafkajs producers (acks all, idempotent, keyed) ─► three processes ─► kafkajs group of two ─► ledger
 *                                                              └ SIGKILL, restart      └ SIGKILL once
 *
 * Two things about kafkajs 2.2 shape the sending side. Its sequence numbers are safe only with one outstanding send per producer.
 * And a send that spans several brokers loses records when a leader moves in the middle: after the retry's refresh it skips the
 * partitions that have moved to a broker which had already answered, and reports success. So there is one producer per
 * partition, and a send holds records of that partition only; keys are mapped by kafkajs' own partitioner, as ever.
 */
import { type ChildProcess, fork } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import kafkajs, { type Producer } from 'kafkajs'
import { colors } from '../src/cli/colors.ts'
import { DevCluster } from '../src/cli/dev-cluster.ts'
import { crc32c } from '../src/stdx/index.ts'
import { type Corpus, readCorpus } from './main-job/corpus.ts'
import { Ledger, type Verdict } from './main-job/ledger.ts'
import type { Reading } from './main-job/reader.ts'

const TOPIC = 'lines'
const PARTITIONS = 6
const LINES_PER_SEND = 2000
const BYTES_PER_SEND = 512 << 10
const RECORD_OVERHEAD_BYTES = 40
const PATIENCE_MS = 30_000
const PIPE_PATIENCE_MS = 500
/** After so long without a heartbeat a group member is given up, and the others read its partitions. */
const SESSION_MS = 6000

interface Arguments {
  input?: string
  exit?: boolean
  basePort: string
  json?: string
}

interface Report extends Verdict {
  readonly source: string
  readonly killedNode: number
  readonly records: number
  readonly recordsPerSecond: number
  readonly longestGapMs: number
  readonly seconds: number
  readonly ok: boolean
}

const program = new Command('npm start --')
  .description(
    'Starts three nodes, sends real lines through kafkajs, kills a leader in the middle, reads all back, checks every line.',
  )
  .option('--input <FILE>', 'lines to send: a file, or - for standard input (default: the text files of this folder)')
  .option('--exit', 'stop the cluster at the end even in a terminal')
  .option('--base-port <PORT>', 'first port of the cluster', '19092')
  .option('--json <FILE>', 'write the report there')
  .parse()
const args = program.opts<Arguments>()
const terminal = process.stdout.isTTY === true

async function main(): Promise<void> {
  const began = performance.now()
  const corpus = await readCorpus(args.input ?? ((await isPiped()) ? '-' : null))
  if (corpus.lines.length === 0) throw new Error(`no lines in ${corpus.name}`)
  say(
    `${count(corpus.lines.length)} lines (${(corpus.bytes / 1e6).toFixed(1)} MB) of ${corpus.keys.length} ${corpus.keys.length === 1 ? 'key' : 'keys'} from ${corpus.name}`,
  )

  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-main-job-'))
  const cluster = new DevCluster({
    nodes: 3,
    directory,
    basePort: Number(args.basePort),
    output: (node, line) => logged.push(`node ${node}: ${line}`),
    exited: (node, code, signal) => say(colors.red(`node ${node} ended by itself (${signal ?? `exit code ${code}`})`)),
  })
  const logged: string[] = []
  const stop = async (): Promise<void> => {
    await cluster.stopAll()
    fs.rmSync(directory, { recursive: true, force: true })
  }
  process.once('SIGINT', () => void stop().then(() => process.exit(130)))
  try {
    cluster.startAll()
    await cluster.ready()
    say(`three nodes are up: ${cluster.brokers.join(', ')}`)
    const report = await run(cluster, corpus, began)
    print(report)
    if (args.json !== undefined) fs.writeFileSync(args.json, `${JSON.stringify(report, null, 2)}\n`)
    process.exitCode = report.ok ? 0 : 1
    if (terminal && args.exit !== true) {
      console.log(
        `\nThe cluster stays up. Look at it: ${colors.cyan(cluster.http(1))}   Kafka: ${cluster.brokers.join(',')}\nCtrl-C stops it.`,
      )
      await new Promise(() => {})
    }
  } catch (error) {
    for (const line of logged.slice(-30)) console.error(colors.dim(line))
    throw error
  } finally {
    await stop()
  }
}

async function run(cluster: DevCluster, corpus: Corpus, began: number): Promise<Report> {
  const kafka = new kafkajs.Kafka({
    clientId: 'main-job',
    brokers: cluster.brokers,
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { retries: 1000, initialRetryTime: 30, maxRetryTime: 300 },
  })
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({
    topics: [{ topic: TOPIC, numPartitions: PARTITIONS, replicationFactor: 3 }],
    waitForLeaders: true,
  })
  await admin.disconnect()

  const ledger = new Ledger(corpus.lines.length, corpus.keys.length, corpus.keyOf)
  const acknowledgements = new Acknowledgements(ledger)
  const group = new ReaderGroup(cluster, corpus, ledger)
  group.start()
  group.start()

  const sending = performance.now()
  const progress = setInterval(() => showProgress(corpus, ledger), terminal ? 100 : 2000)
  const producers = linesByPartition(corpus).map((lines) => {
    const { DefaultPartitioner } = kafkajs.Partitioners
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, createPartitioner: DefaultPartitioner })
    return produce(producer, lines, corpus, acknowledgements)
  })
  let sendingEnded = Number.NaN
  const sent = Promise.all(producers).then(() => {
    sendingEnded = performance.now()
    acknowledgements.end()
  })
  const killed = killLeader(cluster, ledger, corpus.lines.length * 0.4)
  const [killedNode] = await Promise.all([killed, group.killOneAt(corpus.lines.length * 0.5), sent])
  const sendingSeconds = (sendingEnded - sending) / 1000
  await readToTheEnd(ledger)
  clearInterval(progress)
  showProgress(corpus, ledger)
  if (terminal) process.stdout.write('\n')
  group.stop()

  const verdict = ledger.verdict()
  if (verdict.lost > 0) await explainLoss(cluster, ledger)
  const ok =
    verdict.lost === 0 &&
    verdict.duplicated === 0 &&
    verdict.outOfOrder === 0 &&
    verdict.wrong === 0 &&
    verdict.acknowledged === corpus.lines.length
  return {
    ...verdict,
    source: corpus.name,
    killedNode,
    records: corpus.lines.length,
    recordsPerSecond: Math.round(verdict.acknowledged / sendingSeconds),
    longestGapMs: Math.round(acknowledgements.longestGapMs),
    seconds: Math.round((performance.now() - began) / 100) / 10,
    ok,
  }
}

/** The lines in order, by the partition that their keys belong to. */
function linesByPartition(corpus: Corpus): number[][] {
  const partitioner = kafkajs.Partitioners.DefaultPartitioner()
  const partitionMetadata = Array.from({ length: PARTITIONS }, (_, partitionId) => ({
    partitionId,
    leader: 1,
    partitionErrorCode: 0,
    replicas: [],
    isr: [],
  }))
  const partitionOf = corpus.keys.map((key) =>
    partitioner({ topic: TOPIC, partitionMetadata, message: { key, value: null } }),
  )
  const lines: number[][] = Array.from({ length: PARTITIONS }, () => [])
  for (let line = 0; line < corpus.lines.length; line++) lines[partitionOf[corpus.keyOf[line]!]!]!.push(line)
  return lines
}

async function produce(
  producer: Producer,
  lines: readonly number[],
  corpus: Corpus,
  acknowledgements: Acknowledgements,
): Promise<void> {
  await producer.connect()
  for (const part of sends(lines, corpus)) {
    const messages = part.map((line) => ({
      key: corpus.keys[corpus.keyOf[line]!]!,
      value: corpus.lines[line]!,
      headers: { line: String(line) },
    }))
    acknowledgements.sent(part.length)
    await producer.send({ topic: TOPIC, acks: -1, messages })
    acknowledgements.received(part)
  }
  await producer.disconnect()
}

/** One send is one record batch, which must stay below the topic's `max.message.bytes`. */
function* sends(lines: readonly number[], corpus: Corpus): Generator<number[]> {
  let part: number[] = []
  let bytes = 0
  for (const line of lines) {
    const size =
      Buffer.byteLength(corpus.lines[line]!) + corpus.keys[corpus.keyOf[line]!]!.length + RECORD_OVERHEAD_BYTES
    if (part.length === LINES_PER_SEND || (part.length > 0 && bytes + size > BYTES_PER_SEND)) {
      yield part
      part = []
      bytes = 0
    }
    part.push(line)
    bytes += size
  }
  if (part.length > 0) yield part
}

/** Notes what was acknowledged, and the longest time in which nothing was. */
class Acknowledgements {
  readonly #ledger: Ledger
  #latest = Number.NaN
  #ended = false
  longestGapMs = 0

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  sent(lines: number): void {
    if (Number.isNaN(this.#latest)) this.#latest = performance.now()
    this.#ledger.sent(lines)
  }

  received(lines: readonly number[]): void {
    this.#gap()
    for (const line of lines) this.#ledger.acknowledge(line)
  }

  end(): void {
    this.#ended = true
  }

  #gap(): void {
    if (this.#ended) return
    const now = performance.now()
    this.longestGapMs = Math.max(this.longestGapMs, now - this.#latest)
    this.#latest = now
  }
}

/** Two group members in processes of their own. */
class ReaderGroup {
  readonly #cluster: DevCluster
  readonly #corpus: Corpus
  readonly #ledger: Ledger
  readonly #members = new Set<ChildProcess>()

  constructor(cluster: DevCluster, corpus: Corpus, ledger: Ledger) {
    this.#cluster = cluster
    this.#corpus = corpus
    this.#ledger = ledger
  }

  start(): ChildProcess {
    const file = fileURLToPath(new URL('./main-job/reader.js', import.meta.url))
    const settings = [this.#cluster.brokers.join(','), TOPIC, 'main-job', String(SESSION_MS)]
    const child = fork(file, settings, { serialization: 'advanced' })
    this.#members.add(child)
    child.on('message', (reading) => this.#note(reading as Reading))
    child.once('exit', () => this.#members.delete(child))
    return child
  }

  #note({ partition, offsets, lines, checksums }: Reading): void {
    for (let i = 0; i < offsets.length; i++) {
      const line = lines[i]!
      this.#ledger.saw(partition, offsets[i]!, line, checksums[i] === this.#checksum(line))
    }
  }

  #checksum(line: number): number {
    const key = this.#corpus.keys[this.#corpus.keyOf[line] ?? -1]
    if (key === undefined) return -1
    return crc32c(Buffer.from(this.#corpus.lines[line]!), crc32c(Buffer.from(key)))
  }

  /** Kills a member the hard way once that much was read, and puts another in its place. */
  async killOneAt(read: number): Promise<void> {
    await until(() => this.#ledger.read >= read, PATIENCE_MS * 10, 'half of the lines to be read')
    const [victim] = this.#members
    victim?.kill('SIGKILL')
    note(
      `killed a member of the consumer group, started another: they read on when the dead one is given up, after ${SESSION_MS / 1000} s`,
    )
    this.start()
  }

  stop(): void {
    for (const member of this.#members) member.kill('SIGKILL')
  }
}

async function killLeader(cluster: DevCluster, ledger: Ledger, at: number): Promise<number> {
  await until(() => ledger.acknowledged >= at, PATIENCE_MS * 10, 'lines to be acknowledged')
  const victim = await leaderOfMost(cluster)
  await cluster.signal(victim, 'SIGKILL')
  note(`killed node ${victim}, which led most partitions`)
  await new Promise((resolve) => setTimeout(resolve, 1000))
  cluster.start(victim)
  await cluster.ready([victim], PATIENCE_MS)
  note(`node ${victim} is back`)
  return victim
}

async function leaderOfMost(cluster: DevCluster): Promise<number> {
  const response = await fetch(`${cluster.http(1)}/api/cluster`)
  const { shards } = (await response.json()) as { shards: { topic: string | null; leader: number | null }[] }
  const led = new Map(cluster.ids.map((id) => [id, 0]))
  for (const shard of shards) {
    if (shard.topic === TOPIC && shard.leader !== null) led.set(shard.leader, (led.get(shard.leader) ?? 0) + 1)
  }
  return [...led].sort((a, b) => b[1] - a[1])[0]![0]
}

/** Lost in the log, or only not read: the marks tell. */
async function explainLoss(cluster: DevCluster, ledger: Ledger): Promise<void> {
  const response = await fetch(`${cluster.http(1)}/api/cluster`)
  const { shards } = (await response.json()) as {
    shards: { topic: string | null; partition: number; leader: number | null; highWatermark: number }[]
  }
  for (const { topic, partition, leader, highWatermark } of shards) {
    if (topic !== TOPIC) continue
    const read = ledger.frontier.get(partition) ?? 0
    if (read !== highWatermark)
      note(`partition ${partition}, led by node ${leader}: the log ends at ${highWatermark}, read up to ${read}`)
  }
}

/** Until every acknowledged line was read, or nothing moves any more. */
async function readToTheEnd(ledger: Ledger): Promise<void> {
  let read = -1
  let since = performance.now()
  while (ledger.read < ledger.acknowledged) {
    if (ledger.read !== read) {
      read = ledger.read
      since = performance.now()
    } else if (performance.now() - since > PATIENCE_MS) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function until(condition: () => boolean, timeoutMs: number, what: string): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs / 1000} s for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Lines on standard input are the input. A pipe that says nothing is not: many programs leave one open for no reason. */
async function isPiped(): Promise<boolean> {
  if (process.stdin.isTTY === true) return false
  const stat = fs.fstatSync(0)
  if (stat.isFile()) return stat.size > 0
  if (!stat.isFIFO() && !stat.isSocket()) return false
  const speaks = await new Promise<boolean>((resolve) => {
    const silence = setTimeout(() => resolve(false), PIPE_PATIENCE_MS)
    process.stdin.once('readable', () => {
      clearTimeout(silence)
      resolve(process.stdin.readableLength > 0)
    })
  })
  if (!speaks) process.stdin.destroy()
  return speaks
}

function showProgress(corpus: Corpus, ledger: Ledger): void {
  const total = corpus.lines.length
  const share = (n: number): string => `${count(n).padStart(9)} ${`${Math.floor((100 * n) / total)} %`.padStart(5)}`
  const line = `acknowledged ${share(ledger.acknowledged)}   read ${share(ledger.read)}`
  if (terminal) process.stdout.write(`\r${line}\x1b[K`)
  else console.log(line)
}

function note(text: string): void {
  if (terminal) process.stdout.write('\r\x1b[K')
  say(colors.yellow(text))
}

function say(text: string): void {
  console.log(text)
}

function count(n: number): string {
  return n.toLocaleString('en-US')
}

function print(report: Report): void {
  const rows: [string, string, boolean][] = [
    ['sent', count(report.sent), true],
    ['acknowledged', count(report.acknowledged), report.acknowledged === report.records],
    ['read', count(report.read), report.read >= report.acknowledged],
    ['lost', count(report.lost), report.lost === 0],
    ['duplicated', count(report.duplicated), report.duplicated === 0],
    ['out of order', count(report.outOfOrder), report.outOfOrder === 0],
    ['wrong or missing offsets', count(report.wrong), report.wrong === 0],
    ['redelivered to the group', count(report.redelivered), true],
    ['records/s', count(report.recordsPerSecond), true],
    ['longest gap without an acknowledgement', `${count(report.longestGapMs)} ms`, true],
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  console.log()
  for (const [name, value, good] of rows)
    console.log(`  ${name.padEnd(width)}  ${(good ? colors.green : colors.red)(value.padStart(12))}`)
  console.log(
    `\n${report.ok ? colors.green('nothing lost') : colors.red('FAILED')}: ${count(report.acknowledged)} lines acknowledged and read back in ${report.seconds} s, node ${report.killedNode} was killed on the way`,
  )
}

await main().catch((error: Error) => {
  console.error(colors.red(`the main job failed: ${error.message}`))
  process.exit(1) // the watchers of this run would wait on
})
