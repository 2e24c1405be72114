/** What people read: tables at the end, and a failure as a present. */
import { count, table } from '../../src/cli/print.ts'
import type { Scenario } from '../scenario/scenario.ts'
import { DURATION_MS } from '../scenario/swarm.ts'
import type { RunResult } from '../simulation.ts'
import type { Options } from './arguments.ts'
import type { Tally } from './tally.ts'

const TIMELINE_LINES = 60
/** Hits of one family side by side. */
const COLUMNS = 3
/** In fewer seeds, something that was not hit says nothing. */
const SEEDS_THAT_HIT_ALL = 100

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Everything that makes this seed what it is. */
export function replayCommand({ profile, duration }: Pick<Options, 'profile' | 'duration'>, seed: number): string {
  const more = `${profile === 'all' ? '' : ` --profile ${profile}`}${duration === DURATION_MS ? '' : ` --duration ${duration}`}`
  return `npm run simulate -- --seed ${seed}${more} --verbose`
}

export function printTimeline(result: RunResult, verbose: boolean): void {
  const { timeline } = result
  const lines = verbose ? timeline : timeline.slice(-TIMELINE_LINES)
  if (lines.length < timeline.length) print(`  … ${timeline.length - lines.length} earlier lines (--verbose)`)
  for (const line of lines) print(`  ${line}`)
}

/** The failing run, what it broke, and how to see it again. */
export function printFailure(result: RunResult, verbose: boolean, replay: string): void {
  const { violation, scenario, hash } = result
  printTimeline(result, verbose)
  print(`\nseed ${scenario.seed} breaks "${violation?.property}": ${violation?.message}`)
  print(`  ${describe(scenario)}; hash ${hash.slice(0, 16)}…`)
  print(`  again: ${replay}`)
}

/** A scenario in one line. */
export function describe(scenario: Scenario): string {
  const { nodes, replication, topics, producers, consumers, faults, durationMs } = scenario
  const partitions = topics.reduce((sum, topic) => sum + topic.partitions, 0)
  return `${nodes} nodes (replication ${replication}), ${partitions} partitions, ${producers.length} producers, ${consumers.length} consumers, ${faults.length} faults in ${durationMs / 1000} s`
}

export function printSummary(tally: Tally, seconds: number, options: Pick<Options, 'profile'>): void {
  for (const family of tally.hits.families) {
    const hits = tally.hits.of(family)
    print(`\n${family}: ${count(tally.hits.sum(family))} in ${hits.length} kinds`)
    print(columns(hits))
  }
  const data = tally.toJSON()
  const perHour = tally.milliseconds > 0 ? Math.round((tally.ran / tally.milliseconds) * 3_600_000) : 0
  const rows: (readonly [string, string])[] = [
    [
      'seeds',
      `${count(data.ran)} of profile ${options.profile} in ${seconds.toFixed(1)} s, ${count(perHour)} per core-hour`,
    ],
    [
      'simulated',
      `${count(Math.round(data.simulatedMs / 1000))} s, ${count(data.events)} events, ${count(data.messages)} messages (${count(Math.round((data.messages / Math.max(1, data.milliseconds)) * 1000))} per core-second)`,
    ],
    ['acknowledged', `${count(data.acknowledged)} records, median ${count(data.medianAcknowledged)} per seed`],
    [
      'operations',
      `median ${count(data.medianOperations)} per seed, with those on registers; a tenth below ${count(data.p10Operations)}, a twentieth below ${count(data.p5Operations)}`,
    ],
    [
      'faults',
      `${count(tally.faults)}, median ${data.medianFaults} per seed, a twentieth below ${data.p5Faults}; ${count(data.crashes)} crashes`,
    ],
    ['elections', `${count(data.elections)}, median ${data.medianElections} per seed`],
    [
      'unavailable',
      [...tally.unavailable]
        .sort()
        .map(([why, seeds]) => `${seeds} seeds: ${why}`)
        .join('; ') || 'none',
    ],
    ['hashes', `${data.ranTwice} seeds ran twice, ${data.otherNode} on another Node.js as well`],
  ]
  print('')
  print(
    table(rows, [
      { title: '', value: ([name]) => name },
      { title: '', value: ([, text]) => text },
    ]).trimStart(),
  )
  const missing = tally.hits.missing(options.profile as Options['profile'])
  if (missing.length > 0 && tally.ran >= SEEDS_THAT_HIT_ALL) print(`\nnever hit: ${missing.join(', ')}`)
}

function columns(hits: readonly (readonly [string, number])[]): string {
  const name = Math.max(...hits.map(([text]) => text.length))
  const number = Math.max(...hits.map(([, hit]) => count(hit).length))
  const cells = hits.map(([text, hit]) => `${text.padEnd(name)}  ${count(hit).padStart(number)}`)
  const height = Math.ceil(cells.length / COLUMNS)
  return Array.from(
    { length: height },
    (_, row) => `  ${cells.filter((_, i) => i % height === row).join('     ')}`,
  ).join('\n')
}
