/**
 * `npm run simulate`: many seeds, or one again.
 *
 *     npm run simulate -- --seeds 300               regressions, then seeds 1 to 300
 *     npm run simulate -- --seed 96 --verbose       one seed, with its whole timeline
 *     npm run simulate -- --mutants                 every deliberately broken cluster must be found out
 *
 * Exit code 1: a promise was broken, or a mutant was not found.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MUTANTS } from './mutants.ts'
import { type Profile, type Scenario, scenarioOf } from './scenario.ts'
import { shrink } from './shrink.ts'
import { type RunOptions, type RunResult, simulate } from './simulation.ts'

const HELP = `Usage: npm run simulate -- [options]

  --seeds N         seeds 1 to N, after the regressions (default 20)
  --from N          the first seed (default 1)
  --seed N          this seed alone, twice: its hash must be the same
  --profile NAME    all (default), crash, network, pause or calm
  --duration MS     simulated time with faults (default 40000)
  --mutants         run the mutants instead, each until it is found or --seeds are used up
  --shrink          cut a failing seed down to few faults (with --seed)
  --keep-going      do not stop at the first violation
  --json FILE       write the tally there
  --verbose         the whole timeline of a failing seed
  --help
`
const PROFILES: readonly Profile[] = ['all', 'crash', 'network', 'pause', 'calm']
const REGRESSIONS = 'simulator/regressions'
const TIMELINE_LINES = 60

interface Options {
  readonly seeds: number
  readonly from: number
  readonly seed: number | null
  readonly profile: Profile
  readonly durationMs: number
  readonly mutants: boolean
  readonly shrink: boolean
  readonly keepGoing: boolean
  readonly verbose: boolean
  /** Where the tally goes, for machines. */
  readonly json: string | null
}

/** A seed that once failed and was fixed: the whole scenario, since what a seed stands for changes with the generator. */
export interface Regression {
  readonly found: string
  readonly scenario: Scenario
}

function parse(args: readonly string[]): Options | string {
  const values = new Map<string, string>()
  const flags = new Set<string>()
  for (let i = 0; i < args.length; i++) {
    const name = args[i]!
    if (['--mutants', '--shrink', '--keep-going', '--verbose', '--help', '-h'].includes(name)) flags.add(name)
    else if (
      ['--seeds', '--from', '--seed', '--profile', '--duration', '--json'].includes(name) &&
      args[i + 1] !== undefined
    )
      values.set(name, args[++i]!)
    else return `simulate: unknown or incomplete argument ${name}\n\n${HELP}`
  }
  if (flags.has('--help') || flags.has('-h')) return HELP
  const number = (name: string, otherwise: number): number => Number(values.get(name) ?? otherwise)
  const profile = (values.get('--profile') ?? 'all') as Profile
  if (!PROFILES.includes(profile)) return `simulate: --profile ${profile}: one of ${PROFILES.join(', ')}\n`
  const options: Options = {
    seeds: number('--seeds', 20),
    from: number('--from', 1),
    seed: values.has('--seed') ? number('--seed', 1) : null,
    profile,
    durationMs: number('--duration', 40_000),
    mutants: flags.has('--mutants'),
    shrink: flags.has('--shrink'),
    keepGoing: flags.has('--keep-going'),
    verbose: flags.has('--verbose'),
    json: values.get('--json') ?? null,
  }
  for (const value of [options.seeds, options.from, options.seed ?? 1, options.durationMs]) {
    if (!Number.isSafeInteger(value) || value < 0) return `simulate: a whole number is needed, not ${value}\n`
  }
  return options
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function replayCommand({ profile, durationMs }: Options, seed: number): string {
  const more = `${profile === 'all' ? '' : ` --profile ${profile}`}${durationMs === 40_000 ? '' : ` --duration ${durationMs}`}`
  return `npm run simulate -- --seed ${seed}${more} --verbose`
}

function report(result: RunResult, options: Options): void {
  const { violation, timeline, scenario, hash } = result
  const lines = options.verbose ? timeline : timeline.slice(-TIMELINE_LINES)
  if (lines.length < timeline.length) print(`  … ${timeline.length - lines.length} earlier lines (--verbose)`)
  for (const line of lines) print(`  ${line}`)
  const { faults, ...rest } = scenario
  print(`\nseed ${scenario.seed} breaks "${violation?.property}": ${violation?.message}`)
  print(`  ${JSON.stringify(rest)} and ${faults.length} faults; hash ${hash}`)
  print(`  again: ${replayCommand(options, scenario.seed)}`)
}

class Tally {
  readonly startedAt = performance.now()
  seeds = 0
  violations = 0
  simulatedMs = 0
  events = 0
  acknowledged = 0
  elections = 0
  crashes = 0
  readonly faults = new Map<string, number>()

  add(result: RunResult): void {
    this.seeds++
    if (result.violation !== null) this.violations++
    this.simulatedMs += result.simulatedMs
    this.events += result.events
    this.acknowledged += result.acknowledged
    this.elections += result.elections
    this.crashes += result.crashes
    for (const [kind, hits] of result.faults) this.faults.set(kind, (this.faults.get(kind) ?? 0) + hits)
  }

  summary({ from, seeds, profile, durationMs }: Options): object {
    const { violations, simulatedMs, events, acknowledged, elections, crashes } = this
    const faults = Object.fromEntries([...this.faults].sort())
    return {
      from,
      asked: seeds,
      profile,
      durationMs,
      ran: this.seeds,
      violations,
      simulatedMs,
      events,
      acknowledged,
      elections,
      crashes,
      faults,
    }
  }

  line(): string {
    const seconds = (performance.now() - this.startedAt) / 1000
    const faults = [...this.faults.values()].reduce((sum, hits) => sum + hits, 0)
    return `${this.seeds} seeds in ${seconds.toFixed(1)} s (${(this.seeds / seconds).toFixed(2)}/s), ${Math.round(this.simulatedMs / 1000)} simulated s, ${this.events} events, ${faults} faults, ${this.crashes} crashes, ${this.elections} elections, ${this.acknowledged} records acknowledged, ${this.violations} violations`
  }
}

function regressions(): { readonly file: string; readonly regression: Regression }[] {
  const files = readdirSync(REGRESSIONS).filter((name) => name.endsWith('.json'))
  return files
    .sort()
    .map((file) => ({ file, regression: JSON.parse(readFileSync(join(REGRESSIONS, file), 'utf8')) as Regression }))
}

async function campaign(options: Options): Promise<number> {
  const tally = new Tally()
  const live = process.stdout.isTTY
  for (const { file, regression } of regressions()) {
    const result = await simulate(regression.scenario)
    tally.add(result)
    if (result.violation === null) continue
    print(`regression ${file} (${regression.found}) is back:`)
    report(result, options)
    if (!options.keepGoing) return 1
  }
  let printedAt = 0
  for (let seed = options.from; seed < options.from + options.seeds; seed++) {
    const result = await simulate(scenarioOf(seed, options.profile, options.durationMs))
    tally.add(result)
    if (result.violation !== null) {
      report(result, options)
      if (!options.keepGoing) break
    }
    if (performance.now() - printedAt < (live ? 200 : 10_000)) continue
    printedAt = performance.now()
    if (live) process.stdout.write(`\r${tally.line().slice(0, (process.stdout.columns ?? 120) - 1)}\u001b[K`)
    else print(tally.line())
  }
  if (live) process.stdout.write('\r\u001b[K')
  print(`simulate: ${tally.line()}`)
  print(
    `faults: ${[...tally.faults]
      .sort()
      .map(([kind, hits]) => `${kind} ${hits}`)
      .join(', ')}`,
  )
  if (options.json !== null) writeFileSync(options.json, `${JSON.stringify(tally.summary(options), null, 2)}\n`)
  return tally.violations > 0 ? 1 : 0
}

async function one(options: Options, seed: number): Promise<number> {
  const scenario = scenarioOf(seed, options.profile, options.durationMs)
  const result = await simulate(scenario)
  const again = await simulate(scenario)
  if (again.hash !== result.hash) {
    print(`seed ${seed} is not deterministic: ${result.hash}, then ${again.hash}`)
    return 1
  }
  const tally = new Tally()
  tally.add(result)
  if (result.violation === null) {
    print(`simulate: seed ${seed} holds: ${tally.line()}; hash ${result.hash}`)
    return 0
  }
  report(result, options)
  if (!options.shrink) return 1
  const smaller = await shrink(scenario, result.violation.property, (left) => print(`  ${left} faults left`))
  print(`\nwith ${smaller.faults.length} of ${scenario.faults.length} faults:\n${JSON.stringify(smaller)}`)
  return 1
}

async function mutants(options: Options): Promise<number> {
  let missed = 0
  for (const mutant of MUTANTS) {
    const found = await seedsToFind(mutant.options, options)
    if (found === null) missed++
    print(
      `${found === null ? 'MISSED' : 'found '} ${mutant.name.padEnd(18)} ${found === null ? `in ${options.seeds} seeds` : `by seed ${found.seed}, "${found.property}"`}: ${mutant.defect}`,
    )
  }
  return missed > 0 ? 1 : 0
}

async function seedsToFind(
  interfere: () => RunOptions,
  options: Options,
): Promise<{ seed: number; property: string } | null> {
  for (let seed = options.from; seed < options.from + options.seeds; seed++) {
    const { violation } = await simulate(scenarioOf(seed, options.profile, options.durationMs), interfere())
    if (violation !== null) return { seed, property: violation.property }
  }
  return null
}

const options = parse(process.argv.slice(2))
if (typeof options === 'string') {
  process.stdout.write(options)
  process.exitCode = options === HELP ? 0 : 1
} else if (options.mutants) process.exitCode = await mutants(options)
else process.exitCode = await (options.seed === null ? campaign(options) : one(options, options.seed))
