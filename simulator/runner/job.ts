/**
 * One seed's work as it passes between processes: what is asked, and what came of it, both plain data.
 *
 * A seed knows nothing of its neighbours, so a campaign is as parallel as the machine is. A job names what a seed stands for
 * instead of carrying it, unless the scenario was cut down by hand or by the shrinker and no number stands for it any more.
 */
import { interferenceOf } from '../mutants/interference.ts'
import type { Profile, Scenario } from '../scenario/scenario.ts'
import { scenarioOf } from '../scenario/swarm.ts'
import { type RunOptions, type RunResult, simulate } from '../simulation.ts'
import { type Hits, hitsOf } from './hits.ts'

export interface Job {
  readonly seed: number
  readonly profile: Profile
  readonly durationMs: number
  /** Runs this and not what the seed stands for. */
  readonly scenario?: Scenario
  /** Options that replace what the seed has drawn. */
  readonly options?: Partial<Scenario>
  /** Puts this mutant's defect between nodes and world. */
  readonly interference?: string
  /** Runs it a second time: the hash must be the same. */
  readonly again?: boolean
}

export interface Outcome {
  readonly seed: number
  readonly nodes: number
  readonly violation: { readonly property: string; readonly message: string } | null
  readonly hash: string
  readonly simulatedMs: number
  readonly events: number
  readonly messages: number
  readonly acknowledged: number
  readonly elections: number
  readonly crashes: number
  /** Why it was right to be unavailable in the end; null when all was well. */
  readonly unavailable: string | null
  readonly hits: Hits
  /** Of processor time: what other processes take does not count. */
  readonly milliseconds: number
}

/** What no seed may do, whatever it stands for: the simulator's own failures. */
export const OWN_PROPERTY = {
  determinism: 'the same seed is the same run',
  ends: 'every run ends',
  whole: 'the simulator is whole',
} as const

export function scenarioFor(job: Job): Scenario {
  return { ...(job.scenario ?? scenarioOf(job.seed, job.profile, job.durationMs)), ...job.options }
}

export async function runJob(job: Job): Promise<Outcome> {
  const startedAt = process.cpuUsage()
  const scenario = scenarioFor(job)
  const options = (): RunOptions => (job.interference === undefined ? {} : interferenceOf(job.interference))
  const result = await simulate(scenario, options())
  const outcome = outcomeOf(result, processorMs(startedAt))
  if (job.again !== true) return outcome
  const second = await simulate(scenario, options())
  if (second.hash === result.hash) return outcome
  const message = `seed ${job.seed} ran twice in one process: ${result.hash}, then ${second.hash}`
  return { ...outcome, violation: { property: OWN_PROPERTY.determinism, message } }
}

export function processorMs(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since)
  return (user + system) / 1000
}

export function outcomeOf(result: RunResult, milliseconds: number): Outcome {
  const { scenario, violation, hash, simulatedMs, events, messages, acknowledged, elections, crashes, unavailable } =
    result
  return {
    seed: scenario.seed,
    nodes: scenario.nodes,
    violation: violation === null ? null : { property: violation.property, message: violation.message },
    hash,
    simulatedMs,
    events,
    messages,
    acknowledged,
    elections,
    crashes,
    unavailable,
    hits: hitsOf(result),
    milliseconds,
  }
}

/** A run that ended without a result: its process died, or had to be ended. */
export function brokenOutcome(seed: number, property: string, message: string): Outcome {
  return {
    seed,
    nodes: 0,
    violation: { property, message },
    hash: '',
    simulatedMs: 0,
    events: 0,
    messages: 0,
    acknowledged: 0,
    elections: 0,
    crashes: 0,
    unavailable: null,
    hits: {},
    milliseconds: 0,
  }
}
