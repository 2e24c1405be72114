/** One run, twice: a seed, or a scenario from a file. */
import type { Scenario } from '../scenario/scenario.ts'
import { simulate } from '../simulation.ts'
import type { Options } from './arguments.ts'
import { presentFailure } from './failure.ts'
import { type Job, outcomeOf, processorMs, scenarioFor } from './job.ts'
import { readRegression } from './regressions.ts'
import { print, printSummary, replayCommand } from './report.ts'
import { Tally } from './tally.ts'

export async function replaySeed(seed: number, options: Options): Promise<number> {
  const job: Job = { seed, profile: options.profile, durationMs: options.duration }
  return replay(scenarioFor(job), options, replayCommand(options, seed))
}

export async function replayFile(file: string, options: Options): Promise<number> {
  const { found, scenario } = readRegression(file)
  print(`${file}: ${found}`)
  return replay(scenario, { ...options, shrink: false }, `npm run simulate -- --regression ${file} --verbose`)
}

async function replay(scenario: Scenario, options: Options, command: string): Promise<number> {
  const startedAt = process.cpuUsage()
  const result = await simulate(scenario)
  const milliseconds = processorMs(startedAt)
  const again = await simulate(scenario)
  if (again.hash !== result.hash) {
    print(`seed ${scenario.seed} is not deterministic: ${result.hash}, then ${again.hash}`)
    return 1
  }
  if (result.violation !== null) {
    await presentFailure(scenario, result.violation, options, command)
    return 1
  }
  if (options.verbose) for (const line of result.timeline) print(`  ${line}`)
  const tally = new Tally()
  tally.add(outcomeOf(result, milliseconds))
  tally.ranTwice = 1
  printSummary(tally, milliseconds / 1000, options)
  print(`\nsimulate: seed ${scenario.seed} holds; hash ${result.hash}`)
  return 0
}
