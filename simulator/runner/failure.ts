/**
 * A failing run, made as useful as it can be: played again in this process for its timeline, cut down while the same property
 * still breaks, and written to a file that can be moved into the regressions as it is.
 *
 * Only the last try of the shrinker counts as the failure's form; each try runs in a process of its own, because what fails may
 * well never come back.
 */
import type { Scenario } from '../scenario/scenario.ts'
import { shrink } from '../shrink.ts'
import { simulate } from '../simulation.ts'
import type { Options } from './arguments.ts'
import { OWN_PROPERTY } from './job.ts'
import { Pool } from './pool.ts'
import { writeRegression } from './regressions.ts'
import { describe, print, printFailure, replayCommand } from './report.ts'

const SHRINK_MS = 120_000
const TRIES_MAX = 400

type Presented = Pick<Options, 'profile' | 'duration' | 'verbose' | 'shrink' | 'failures'>

/** `replay`: for a scenario that no seed stands for. */
export async function presentFailure(
  scenario: Scenario,
  violation: { readonly property: string; readonly message: string },
  options: Presented,
  replay = replayCommand(options, scenario.seed),
): Promise<void> {
  const { property, message } = violation
  if (Object.values<string>(OWN_PROPERTY).includes(property)) {
    // It would take this process with it.
    print(`\nseed ${scenario.seed} breaks "${property}": ${message}\n  again: ${replay}`)
    return
  }
  const result = await simulate(scenario)
  printFailure(result, options.verbose, replay)
  if (result.violation?.property !== property)
    print(`  it was "${property}" (${message}) in the worker: this seed is not deterministic`)
  else if (options.shrink) await shrinkFailure(scenario, property, options)
}

async function shrinkFailure(scenario: Scenario, property: string, options: Presented): Promise<void> {
  const until = performance.now() + SHRINK_MS
  const pool = new Pool({ workers: 1 })
  const base = { seed: scenario.seed, profile: options.profile, durationMs: scenario.durationMs }
  try {
    const smaller = await shrink(
      scenario,
      async (candidate) => (await pool.run({ ...base, scenario: candidate })).violation?.property === property,
      {
        triesMax: TRIES_MAX,
        enough: () => performance.now() > until,
        progress: (best) => process.stderr.write(`  shrinking: ${describe(best)}\n`),
      },
    )
    const found = `breaks "${property}"`
    const path = writeRegression(options.failures, `seed-${scenario.seed}`, { found, property, scenario: smaller })
    print(`  shrunk: ${describe(smaller)}`)
    print(
      `  its scenario: ${path} (npm run simulate -- --regression ${path}); once understood, move it to simulator/regressions/`,
    )
  } finally {
    pool.close()
  }
}
