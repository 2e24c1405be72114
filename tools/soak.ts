#!/usr/bin/env node
/**
 * The soak: one cluster of real processes, load that never pauses, and in every round a node that is killed (or put to sleep) at
 * a random moment. At the end everything is accounted for, four times over:
 *
 *   - every partition is read back from its leader: record n must stand at offset n, and nothing else anywhere (read-back.ts);
 *   - no node ever showed a high-water mark below what had been acknowledged (marks.ts);
 *   - the shard logs of all replicas are the same bytes (shard-logs.ts);
 *   - no acknowledgement left before a quorum had synced (check-trace.ts), which SIGKILL cannot bring to light by itself.
 */
import fs from 'node:fs'
import { Command } from 'commander'
import colors from 'picocolors'
import { count, table } from '../src/cli/print.ts'
import { Prng } from '../src/stdx/index.ts'
import { checkTrace, readTraces, type TraceReport } from './check-trace.ts'
import type { Verdict } from './main-job/ledger.ts'
import { type Gaps, measureGaps } from './soak/gap.ts'
import { keyOf, keysOf, Load, textOf } from './soak/load.ts'
import { MarkWatcher } from './soak/marks.ts'
import { RawWriter, wait } from './soak/raw-writer.ts'
import { readBack } from './soak/read-back.ts'
import { killRound, type Round, stopRound } from './soak/rounds.ts'
import { type Comparison, compareShardLogs } from './soak/shard-logs.ts'
import { SoakCluster } from './soak/soak-cluster.ts'

const TOPIC = 'soak'
const PARTITIONS = 6
/** Written by raw clients, one record at a time: where the gaps of a sleeping leader are measured. */
const RAW_TOPIC = 'soak-raw'
const RAW_PARTITIONS = 3
/** After SIGSTOP of a leader writes must go on without it. */
const SLEEP_GAP_BAR_MS = 3000

interface Flags {
  readonly rounds: string
  readonly nodes: string
  readonly seed?: string
  readonly mode: string
  readonly gap?: boolean
  readonly basePort: string
  readonly keep?: boolean
  readonly json?: string
}

type RoundReport = Round & { readonly gapMs: number; readonly rawGapMs: number | null }

interface Report {
  readonly seed: number
  readonly nodes: number
  readonly rounds: readonly RoundReport[]
  readonly verdict: Verdict | null
  readonly rawVerdict: Verdict | null
  readonly marks: { readonly answers: number; readonly refusals: number } | null
  readonly trace: Omit<TraceReport, 'problems'> | null
  readonly shardLogs: Pick<Comparison, 'shards' | 'entries' | 'bytes'> | null
  readonly gaps: readonly Gaps[]
  readonly problems: readonly string[]
  readonly seconds: number
  readonly ok: boolean
}

const program = new Command('npm run soak --')
  .description(
    'Kills (or stops) nodes of a cluster at random moments under load, and proves that nothing was lost, doubled or acknowledged too early.',
  )
  .option('--rounds <N>', 'how many', '10')
  .option('--nodes <N>', 'processes', '3')
  .option('--seed <S>', 'of what is decided by chance (default: from the clock)')
  .option('--mode <MODE>', 'kill: SIGKILL a random node; stop: SIGSTOP the leader of most for 5 s; mixed', 'kill')
  .option(
    '--gap',
    'measure the longest gap without acknowledgements when a leader is killed, 10 times per client; no rounds unless --rounds is given',
  )
  .option('--base-port <PORT>', 'first port of the cluster', '24092')
  .option('--keep', 'keep the data directory and the traces even if all is well')
  .option('--json <FILE>', 'write the report there')
  .parse()
const flags = program.opts<Flags>()
const terminal = process.stderr.isTTY === true

async function main(): Promise<void> {
  const began = performance.now()
  const seed = flags.seed === undefined ? Date.now() % 1_000_000 : Number(flags.seed)
  const nodes = Number(flags.nodes)
  const wantsRounds = flags.gap !== true || program.getOptionValueSource('rounds') === 'cli'
  const rounds = wantsRounds ? Number(flags.rounds) : 0
  if (!['kill', 'stop', 'mixed'].includes(flags.mode)) throw new Error(`--mode ${flags.mode}: kill, stop or mixed`)
  if (!(rounds >= 0) || !(nodes >= 3))
    throw new Error('--rounds and --nodes are numbers; with fewer than three nodes nothing survives a kill')
  say(`seed ${seed}, ${nodes} nodes, ${rounds} rounds${rounds > 0 ? ` of ${flags.mode}` : ''}`)
  const cluster = new SoakCluster(nodes, Number(flags.basePort))
  const interrupted = (): void => void cluster.nodes.stopAll(0).then(() => process.exit(130))
  process.once('SIGINT', interrupted)
  let report: Report
  try {
    await cluster.start()
    report = await soak(cluster, { seed, nodes, rounds, began })
  } catch (error) {
    keep(cluster)
    throw error
  } finally {
    process.off('SIGINT', interrupted)
    await cluster.nodes.stopAll()
  }
  if (flags.json !== undefined) fs.writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`)
  print(report)
  if (report.ok && flags.keep !== true) fs.rmSync(cluster.directory, { recursive: true, force: true })
  else keep(cluster)
  process.exitCode = report.ok ? 0 : 1
}

interface Plan {
  readonly seed: number
  readonly nodes: number
  readonly rounds: number
  readonly began: number
}

async function soak(cluster: SoakCluster, plan: Plan): Promise<Report> {
  const problems: string[] = []
  const gaps: Gaps[] = []
  if (flags.gap === true) {
    for (const client of ['raw', 'kafkajs'] as const) {
      const measured = await measureGaps(cluster, new Prng(`${plan.seed}/gap`), client, undefined, progress)
      gaps.push(measured)
      problems.push(...measured.problems)
      if (measured.medianMs > measured.barMs)
        problems.push(`gap through ${client}: median ${measured.medianMs} ms, bar ${measured.barMs} ms`)
    }
  }
  const parts = plan.rounds > 0 ? await runRounds(cluster, plan, problems) : null
  progress('stopping the nodes')
  await cluster.nodes.stopAll()
  progress('comparing the shard logs')
  const shardLogs = compareShardLogs(cluster.directories)
  problems.push(...shardLogs.problems.map((problem) => `shard logs: ${problem}`))
  for (const { shard, highWatermark } of parts?.marksAtEnd ?? []) {
    const held = shardLogs.offsets.get(shard) ?? 0
    if (held < highWatermark)
      problems.push(
        `shard logs: shard ${shard} was committed up to ${highWatermark}, all replicas hold it up to ${held} only`,
      )
  }
  progress('checking the traces')
  const { problems: unsound, ...trace } = checkTrace(readTraces(cluster.traceDirectory), plan.nodes)
  problems.push(...unsound.map((problem) => `trace: ${problem}`))
  if (trace.acknowledged === 0) problems.push('trace: nothing was acknowledged')
  problems.push(...cluster.problems)
  return {
    seed: plan.seed,
    nodes: plan.nodes,
    rounds: parts?.rounds ?? [],
    verdict: parts?.verdict ?? null,
    rawVerdict: parts?.rawVerdict ?? null,
    marks: parts?.marks ?? null,
    trace,
    shardLogs: { shards: shardLogs.shards, entries: shardLogs.entries, bytes: shardLogs.bytes },
    gaps,
    problems,
    seconds: Math.round((performance.now() - plan.began) / 100) / 10,
    ok: problems.length === 0,
  }
}

async function runRounds(cluster: SoakCluster, plan: Plan, problems: string[]) {
  const { brokers } = cluster.nodes
  await cluster.createTopic(TOPIC, PARTITIONS)
  await cluster.createTopic(RAW_TOPIC, RAW_PARTITIONS)
  const load = new Load(
    { brokers, topic: TOPIC, partitions: PARTITIONS, impatient: flags.mode !== 'kill' },
    new Prng(`${plan.seed}/load`),
  )
  const writers = Array.from(
    { length: RAW_PARTITIONS },
    (_, partition) => new RawWriter({ brokers, topic: RAW_TOPIC, partition }),
  )
  const rawAcknowledged = (): number[] => writers.map((writer) => writer.acknowledged)
  const marks = new MarkWatcher(
    brokers,
    () =>
      new Map([
        [TOPIC, load.acknowledged],
        [RAW_TOPIC, rawAcknowledged()],
      ]),
  )
  await load.start()
  for (const writer of writers) writer.start()
  marks.start()

  const random = new Prng(`${plan.seed}/rounds`)
  const rounds: RoundReport[] = []
  for (let i = 1; i <= plan.rounds; i++) {
    const stops = flags.mode === 'stop' || (flags.mode === 'mixed' && random.below(2) === 0)
    load.resetGaps()
    for (const writer of writers) writer.resetGap()
    let rawGapMs: number | null = null
    const asleep = (): void => {
      for (const writer of writers) writer.resetGap()
    }
    const waking = (): void => {
      rawGapMs = Math.round(Math.max(...writers.map((writer) => writer.longestGapMs)))
    }
    const round = stops ? await stopRound(cluster, random, asleep, waking) : await killRound(cluster, random)
    const gapMs = Math.round(load.longestGapMs)
    if (rawGapMs !== null && rawGapMs > SLEEP_GAP_BAR_MS)
      problems.push(
        `round ${i}: ${rawGapMs} ms without an acknowledgement while node ${round.node} slept, bar ${SLEEP_GAP_BAR_MS} ms`,
      )
    rounds.push({ ...round, gapMs, rawGapMs })
    const told = problems.length + load.problems.length + marks.problems.length + cluster.problems.length
    progress(
      `round ${i}/${plan.rounds}: ${round.kind} node ${round.node}${round.twice ? ' twice' : ''}, back after ${round.recoveryMs} ms, gap ${rawGapMs ?? gapMs} ms, ${count(load.total)} acknowledged, ${told} problems`,
    )
    for (const problem of [
      ...load.problems.splice(0),
      ...marks.problems.splice(0),
      ...writers.flatMap((writer) => writer.problems.splice(0)),
    ]) {
      problems.push(`round ${i}: ${problem}`)
      cluster.note(`soak: PROBLEM round ${i}: ${problem}`)
    }
  }

  progress('stopping the load')
  await Promise.all([load.stop(), ...writers.map((writer) => writer.stop())])
  for (const id of cluster.nodes.ids) await cluster.caughtUp(id)
  await wait(200)
  marks.stop()
  progress('reading everything back')
  const main = await readBack(brokers[0]!, {
    topic: TOPIC,
    sent: load.sent,
    acknowledged: load.acknowledged,
    keys: keysOf(PARTITIONS),
    keyOf,
    keyText: (partition, n) => `key-${keyOf(partition, n)}`,
    valueText: textOf,
  })
  const raw = await readBack(brokers[0]!, {
    topic: RAW_TOPIC,
    sent: rawAcknowledged(),
    acknowledged: rawAcknowledged(),
    keys: RAW_PARTITIONS,
    keyOf: (partition) => partition,
    keyText: (partition) => `raw-${partition}`,
    valueText: textOf,
  })
  problems.push(
    ...load.problems,
    ...marks.problems,
    ...main.problems,
    ...raw.problems,
    ...writers.flatMap((writer) => writer.problems),
  )
  for (const [topic, { lost, duplicated, outOfOrder, wrong }] of [
    [TOPIC, main.verdict],
    [RAW_TOPIC, raw.verdict],
  ] as const) {
    if (lost + duplicated + outOfOrder + wrong > 0)
      problems.push(`${topic}: ${lost} lost, ${duplicated} duplicated, ${outOfOrder} out of order, ${wrong} wrong`)
  }
  const marksAtEnd = (await cluster.status()).shards
    .filter((shard) => shard.topic !== null)
    .map(({ shard, highWatermark }) => ({ shard, highWatermark }))
  return {
    rounds,
    verdict: main.verdict,
    rawVerdict: raw.verdict,
    marks: { answers: marks.answers, refusals: marks.refusals },
    marksAtEnd,
  }
}

function keep(cluster: SoakCluster): void {
  const file = `${cluster.directory}/soak.log`
  fs.writeFileSync(file, `${cluster.log.join('\n')}\n`)
  say(`data, traces and soak.log are kept in ${cluster.directory}`)
}

function progress(text: string): void {
  if (terminal) process.stderr.write(`\r${text}\x1b[K`)
  else process.stderr.write(`${text}\n`)
}

function say(text: string): void {
  if (terminal) process.stderr.write('\r\x1b[K')
  process.stderr.write(`${text}\n`)
}

function print(report: Report): void {
  if (terminal) process.stderr.write('\r\x1b[K')
  const { verdict, rawVerdict, rounds, marks, trace, shardLogs } = report
  const rows: { what: string; value: string; good: boolean }[] = []
  const add = (what: string, value: string, good = true): void => void rows.push({ what, value, good })
  const zero = (what: string, value: number): void => add(what, count(value), value === 0)
  if (verdict !== null && rawVerdict !== null) {
    add(
      'rounds',
      `${rounds.length} (${rounds.filter((round) => round.twice).length} with a second kill during recovery)`,
    )
    add('acknowledged', count(verdict.acknowledged + rawVerdict.acknowledged))
    add('read back', count(verdict.read + rawVerdict.read))
    zero('lost', verdict.lost + rawVerdict.lost)
    zero('duplicated', verdict.duplicated + rawVerdict.duplicated)
    zero('out of order', verdict.outOfOrder + rawVerdict.outOfOrder)
    zero('wrong', verdict.wrong + rawVerdict.wrong)
    add('recovery, median and longest', spread(rounds.map((round) => round.recoveryMs)))
    add('gap through kafkajs under load', spread(rounds.map((round) => round.gapMs)))
    const asleep = rounds.flatMap((round) => round.rawGapMs ?? [])
    if (asleep.length > 0)
      add('gap while a leader slept, raw client', spread(asleep), Math.max(...asleep) <= SLEEP_GAP_BAR_MS)
  }
  if (marks !== null) add('answers about marks', `${count(marks.answers)}, ${count(marks.refusals)} of them refusals`)
  if (trace !== null)
    add(
      'acknowledgements traced',
      `${count(trace.acknowledged)}, against ${count(trace.journaled)} syncs`,
      !report.problems.some((problem) => problem.startsWith('trace')),
    )
  if (shardLogs !== null)
    add(
      'entries the same on all replicas',
      `${count(shardLogs.entries)} in ${shardLogs.shards} shards`,
      !report.problems.some((problem) => problem.startsWith('shard logs')),
    )
  for (const { client, gapsMs, medianMs, maxMs, barMs } of report.gaps)
    add(
      `gap through ${client} when its leader is killed`,
      `median ${medianMs} ms, longest ${maxMs} ms, of ${gapsMs.length} (bar ${barMs} ms)`,
      medianMs <= barMs,
    )
  console.error(
    table(rows, [
      { title: 'what', value: (row) => row.what },
      {
        title: 'measured',
        value: (row) => row.value,
        colour: (text, row) => (row.good ? colors.green : colors.red)(text),
      },
    ]),
  )
  for (const problem of report.problems.slice(0, 30)) console.error(colors.red(problem))
  if (report.problems.length > 30) console.error(colors.red(`… and ${report.problems.length - 30} more`))
  console.log(summary(report))
}

function summary({ ok, rounds, verdict, rawVerdict, gaps, problems, seconds, seed }: Report): string {
  const parts = [`soak: ${ok ? 'sound' : `FAILED, ${problems.length} problems`}`]
  if (verdict !== null && rawVerdict !== null) {
    parts.push(
      `${rounds.length} rounds, ${verdict.acknowledged + rawVerdict.acknowledged} acknowledged, ${verdict.lost + rawVerdict.lost} lost, ${verdict.duplicated + rawVerdict.duplicated} duplicated, ${verdict.outOfOrder + rawVerdict.outOfOrder} out of order`,
    )
  }
  for (const { client, medianMs } of gaps) parts.push(`gap ${client} ${medianMs} ms`)
  return `${parts.join('; ')}; ${seconds} s, seed ${seed}`
}

function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  return `${count(sorted[Math.floor(sorted.length / 2)] ?? 0)} ms, ${count(sorted.at(-1) ?? 0)} ms`
}

await main().catch((error: Error) => {
  console.error(colors.red(`the soak failed: ${error.message}`))
  process.exitCode = 1
})
