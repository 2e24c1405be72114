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
import { colors } from '../src/cli/colors.ts'
import { count, table } from '../src/cli/print.ts'
import { Prng } from '../src/stdx/index.ts'
import { readTraces } from './check-trace.ts'
import type { Verdict } from './main-job/ledger.ts'
import { type Evidence, examine } from './soak/evidence.ts'
import { type Gaps, measureGaps } from './soak/gap.ts'
import { killRound, type Round, stopRound } from './soak/rounds.ts'
import { SoakCluster } from './soak/soak-cluster.ts'
import { type Accounts, Workload } from './soak/workload.ts'

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
  readonly marks: Accounts['marks'] | null
  readonly trace: Evidence['trace'] | null
  readonly shardLogs: Evidence['shardLogs'] | null
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
  const cluster = new SoakCluster({ nodes, basePort: Number(flags.basePort) })
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
  progress('comparing the shard logs, checking the traces')
  const {
    trace,
    shardLogs,
    problems: found,
  } = examine({
    directories: cluster.directories,
    traces: readTraces(cluster.traceDirectory),
    marksAtEnd: parts?.accounts.marksAtEnd ?? [],
  })
  problems.push(...found)
  problems.push(...cluster.problems)
  return {
    seed: plan.seed,
    nodes: plan.nodes,
    rounds: parts?.rounds ?? [],
    verdict: parts?.accounts.verdict ?? null,
    rawVerdict: parts?.accounts.rawVerdict ?? null,
    marks: parts?.accounts.marks ?? null,
    trace,
    shardLogs,
    gaps,
    problems,
    seconds: Math.round((performance.now() - plan.began) / 100) / 10,
    ok: problems.length === 0,
  }
}

async function runRounds(cluster: SoakCluster, plan: Plan, problems: string[]) {
  const workload = new Workload(cluster, { seed: String(plan.seed), impatient: flags.mode !== 'kill' })
  await workload.start()
  const random = new Prng(`${plan.seed}/rounds`)
  const rounds: RoundReport[] = []
  for (let i = 1; i <= plan.rounds; i++) {
    const stops = flags.mode === 'stop' || (flags.mode === 'mixed' && random.below(2) === 0)
    workload.resetGaps()
    let rawGapMs: number | null = null
    const asleep = (): void => workload.resetRawGaps()
    const waking = (): void => {
      rawGapMs = Math.round(workload.longestRawGapMs)
    }
    const round = stops ? await stopRound(cluster, random, asleep, waking) : await killRound(cluster, random)
    const gapMs = Math.round(workload.longestGapMs)
    const found = workload.takeProblems()
    if (rawGapMs !== null && rawGapMs > SLEEP_GAP_BAR_MS)
      found.push(`${rawGapMs} ms without an acknowledgement while node ${round.node} slept, bar ${SLEEP_GAP_BAR_MS} ms`)
    rounds.push({ ...round, gapMs, rawGapMs })
    for (const problem of found) {
      problems.push(`round ${i}: ${problem}`)
      cluster.note(`soak: PROBLEM round ${i}: ${problem}`)
    }
    const told = problems.length + cluster.problems.length
    progress(
      `round ${i}/${plan.rounds}: ${round.kind} node ${round.node}${round.twice ? ' twice' : ''}, back after ${round.recoveryMs} ms, gap ${rawGapMs ?? gapMs} ms, ${count(workload.acknowledged)} acknowledged, ${told} problems`,
    )
  }
  progress('stopping the load')
  await workload.stop()
  progress('reading everything back')
  const accounts = await workload.readBack()
  problems.push(...accounts.problems)
  return { rounds, accounts }
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
