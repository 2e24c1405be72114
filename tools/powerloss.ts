#!/usr/bin/env node
/**
 * Power loss, for real: each of three node processes has a disk of its own with ext4 or XFS, and under load the power of one, or
 * of all at once, goes (powerloss/power-switch.ts) and comes back. What SIGKILL spares, the page cache and names that no fsync
 * made durable, is gone then. At the end of each chunk of cycles everything that was acknowledged is read back, the replicas'
 * shard logs are the same bytes, and no acknowledgement had left too early, as in the soak.
 *
 * It needs Linux, root and loop devices. Where something is missing it says what, and that nothing was tested.
 */
import fs from 'node:fs'
import os from 'node:os'
import { Command } from 'commander'
import { currentCommit } from '../simulator/runner/commit.ts'
import { colors } from '../src/cli/colors.ts'
import { count, table } from '../src/cli/print.ts'
import { type Chunk, runChunk } from './powerloss/chunk.ts'
import type { FileSystem } from './powerloss/disks.ts'
import { type Endings, notReached, REACHABLE, sum } from './powerloss/endings.ts'
import { discardOwn, sweep } from './powerloss/leftovers.ts'
import { imageParent, probe } from './powerloss/probe.ts'
import { appendResult, type ChunkKey, heldBy, type ResultLine, readResults } from './powerloss/results.ts'

interface Flags {
  readonly cycles: string
  readonly chunk: string
  readonly fs: string
  readonly seed?: string
  readonly results?: string
  readonly resume?: boolean
  readonly demandEndings?: boolean
  readonly basePort: string
  readonly json?: string
}

const program = new Command('npm run powerloss --')
  .description(
    'Takes the power from the disks of real nodes under load, and proves that what was acknowledged is still there.',
  )
  .option('--cycles <N>', 'how many power losses of a node or of all nodes', '20')
  .option('--chunk <N>', 'cycles per cluster; then everything is read back, and the next one starts on new disks', '20')
  .option('--fs <NAME>', 'file system of the disks: ext4, xfs or both', 'both')
  .option('--seed <S>', 'of what is decided by chance (default: from the clock)')
  .option('--results <FILE>', 'append a line of JSON per chunk')
  .option('--resume', 'leave out the chunks that held by --results for this commit, seed and --fs')
  .option('--demand-endings', 'fail if a way through recovery that power loss can reach was not taken')
  .option('--base-port <PORT>', 'first port of the cluster', '25092')
  .option('--json <FILE>', 'write the report there')
  .parse()
const flags = program.opts<Flags>()
const terminal = process.stderr.isTTY === true

interface Settings {
  readonly cycles: number
  readonly chunk: number
  readonly fs: FileSystem | 'both'
  readonly seed: number
}

function settings(): Settings {
  const cycles = Number(flags.cycles)
  const chunk = Number(flags.chunk)
  const seed = flags.seed === undefined ? Date.now() % 1_000_000 : Number(flags.seed)
  if (!(cycles >= 1) || !(chunk >= 1) || !Number.isInteger(seed))
    throw new Error('--cycles, --chunk and --seed are numbers')
  if (flags.fs !== 'ext4' && flags.fs !== 'xfs' && flags.fs !== 'both')
    throw new Error(`--fs ${flags.fs}: ext4, xfs or both`)
  if (flags.resume === true && flags.results === undefined) throw new Error('--resume needs --results')
  return { cycles, chunk, fs: flags.fs, seed }
}

async function main(): Promise<number> {
  const wanted = settings()
  const parent = imageParent()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
  if (process.platform === 'linux' && process.getuid?.() === 0) {
    for (const directory of sweep(parent)) say(`an earlier run was killed: ${directory} is cleaned up`)
    process.once('exit', () => discardOwn(parent))
  }
  const powerSwitch = await probe(parent, wanted.fs === 'both' ? ['ext4', 'xfs'] : [wanted.fs])
  if (typeof powerSwitch === 'string') {
    console.log(`powerloss: skipped: nothing was tested, for this machine lacks ${powerSwitch}`)
    return 0
  }
  say(`seed ${wanted.seed}, ${wanted.cycles} cycles on ${wanted.fs}, images in ${parent}, power by ${powerSwitch.name}`)
  const lines: ResultLine[] = []
  const problems: string[] = []
  for (let first = 0, chunk = 0; first < wanted.cycles && problems.length === 0; first += wanted.chunk, chunk++) {
    const cycles = Math.min(wanted.chunk, wanted.cycles - first)
    const key: ChunkKey = { commit: currentCommit(), fs: wanted.fs, seed: wanted.seed, chunk }
    const before = flags.resume === true ? heldBy(readResults(flags.results!), key, cycles) : null
    if (before !== null) {
      lines.push(before)
      progress(`chunk ${chunk} held already by ${flags.results}`)
      continue
    }
    const plan = { chunk, firstCycle: first, cycles, seed: `${wanted.seed}/${chunk}`, fs: wanted.fs, parent }
    const done = await runChunk({ ...plan, basePort: Number(flags.basePort), powerSwitch, progress })
    const line = lineOf(key, done)
    lines.push(line)
    if (flags.results !== undefined) appendResult(flags.results, line)
    problems.push(...done.problems)
    if (done.kept !== null) say(`log, traces and disks are kept in ${done.kept}`)
  }
  const endings = sum(lines.map((line) => line.endings))
  const missed = notReached(endings)
  if (flags.demandEndings === true && missed.length > 0) problems.push(`recovery never met: ${missed.join(', ')}`)
  if (flags.json !== undefined) fs.writeFileSync(flags.json, `${JSON.stringify({ lines, problems }, null, 2)}\n`)
  print(lines, endings, problems)
  return problems.length === 0 ? 0 : 1
}

function lineOf(key: ChunkKey, { cycles, losses, accounts, endings, problems, seconds }: Chunk): ResultLine {
  const verdicts = [accounts?.verdict, accounts?.rawVerdict, accounts?.plainVerdict].filter(
    (verdict) => verdict != null,
  )
  const total = (name: 'acknowledged' | 'read' | 'lost' | 'duplicated' | 'outOfOrder' | 'wrong'): number =>
    verdicts.reduce((sum, verdict) => sum + verdict[name], 0)
  const repeats = accounts?.plainVerdict?.duplicated ?? 0
  return {
    ...key,
    node: process.version,
    kernel: os.release(),
    verdict: problems.length === 0 ? 'held' : 'violated',
    cycles: cycles.length,
    allNodes: cycles.filter(({ nodes }) => nodes.length > 1).length,
    twice: cycles.filter(({ twice }) => twice).length,
    midWrite: cycles.reduce((sum, cycle) => sum + cycle.midWrite, 0),
    losses,
    acknowledged: total('acknowledged'),
    read: total('read'),
    lost: total('lost'),
    duplicates: total('duplicated') - repeats,
    repeats,
    outOfOrder: total('outOfOrder'),
    wrong: total('wrong'),
    endings,
    seconds,
  }
}

function print(lines: readonly ResultLine[], endings: Endings, problems: readonly string[]): void {
  if (terminal) process.stderr.write('\r\x1b[K')
  const of = (value: (line: ResultLine) => number): number => lines.reduce((total, line) => total + value(line), 0)
  const rows: { what: string; value: string; good: boolean }[] = []
  const add = (what: string, value: string, good = true): void => void rows.push({ what, value, good })
  const zero = (what: string, value: number): void => add(what, count(value), value === 0)
  const cycles = of((line) => line.cycles)
  const allNodes = of((line) => line.allNodes)
  add('cycles', `${cycles} (${allNodes} of all nodes, ${of((line) => line.twice)} with a second loss during recovery)`)
  add('power losses', `${of((line) => line.losses.ext4)} of ext4, ${of((line) => line.losses.xfs)} of XFS`)
  add('in the middle of a write of the journal', count(of((line) => line.midWrite)))
  add('acknowledged', count(of((line) => line.acknowledged)))
  add('read back', count(of((line) => line.read)))
  const lost = of((line) => line.lost)
  const duplicates = of((line) => line.duplicates)
  zero('lost', lost)
  zero('duplicated by idempotent producers', duplicates)
  zero(
    'out of order',
    of((line) => line.outOfOrder),
  )
  zero(
    'wrong',
    of((line) => line.wrong),
  )
  add('sent again by producers that are not idempotent', count(of((line) => line.repeats)))
  for (const label of REACHABLE) {
    const hits = endings[label] ?? 0
    add(`recovery: ${label}`, count(hits), hits > 0)
  }
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
  for (const problem of problems.slice(0, 30)) console.error(colors.red(problem))
  if (problems.length > 30) console.error(colors.red(`… and ${problems.length - 30} more`))
  const verdict = problems.length === 0 ? 'sound' : `FAILED, ${problems.length} problems`
  console.log(
    `powerloss: ${verdict}; ${cycles} cycles, ${allNodes} of all nodes, ${of((line) => line.acknowledged)} acknowledged, ${lost} lost, ${duplicates} duplicated; ${Math.round(of((line) => line.seconds))} s, seed ${lines[0]?.seed}`,
  )
}

function progress(text: string): void {
  if (terminal) process.stderr.write(`\r${text}\x1b[K`)
  else process.stderr.write(`${text}\n`)
}

function say(text: string): void {
  if (terminal) process.stderr.write('\r\x1b[K')
  process.stderr.write(`${text}\n`)
}

main().then(
  (code) => {
    // Clients that are still trying must not keep this alive.
    process.exit(code)
  },
  (error: Error) => {
    say(colors.red(error.message))
    process.exit(1)
  },
)
