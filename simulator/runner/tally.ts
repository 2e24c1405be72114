/** Sums over outcomes: what a campaign reports, for people and for machines. */
import { type Hits, HitTable } from './hits.ts'
import type { Outcome } from './job.ts'

export interface TallyData {
  readonly ran: number
  readonly violations: number
  readonly simulatedMs: number
  readonly milliseconds: number
  readonly events: number
  readonly messages: number
  readonly acknowledged: number
  readonly elections: number
  readonly crashes: number
  /** Per seed: half of the seeds had at least so many. */
  readonly medianElections: number
  readonly medianFaults: number
  readonly medianAcknowledged: number
  /** Acknowledged records and answered operations on registers, per seed: of a hundred seeds five, ten, half had less. */
  readonly p5Operations: number
  readonly p10Operations: number
  readonly medianOperations: number
  readonly p5Faults: number
  /** Seeds whose hash was compared with a second run, and with another Node.js. */
  readonly ranTwice: number
  readonly otherNode: number
  /** Seeds that ended with a cluster that was right to be unavailable, by why. */
  readonly unavailable: Readonly<Record<string, number>>
  readonly hits: Hits
  readonly failures: readonly { readonly seed: number; readonly property: string; readonly message: string }[]
}

export class Tally {
  readonly hits = new HitTable()
  readonly failures: { seed: number; property: string; message: string }[] = []
  ran = 0
  simulatedMs = 0
  /** Of processor time. */
  milliseconds = 0
  events = 0
  messages = 0
  acknowledged = 0
  elections = 0
  crashes = 0
  ranTwice = 0
  otherNode = 0
  readonly unavailable = new Map<string, number>()
  readonly #perSeed: {
    readonly elections: number
    readonly faults: number
    readonly acknowledged: number
    readonly operations: number
  }[] = []

  add(outcome: Outcome): void {
    this.ran++
    this.simulatedMs += outcome.simulatedMs
    this.milliseconds += outcome.milliseconds
    this.events += outcome.events
    this.messages += outcome.messages
    this.acknowledged += outcome.acknowledged
    this.elections += outcome.elections
    this.crashes += outcome.crashes
    this.hits.add(outcome.hits)
    const { unavailable } = outcome
    if (unavailable !== null) this.unavailable.set(unavailable, (this.unavailable.get(unavailable) ?? 0) + 1)
    const faults = Object.values(outcome.hits.faults ?? {}).reduce((sum, count) => sum + count, 0)
    const { elections, acknowledged } = outcome
    this.#perSeed.push({ elections, faults, acknowledged, operations: acknowledged + registerOperations(outcome.hits) })
    if (outcome.violation !== null) this.failures.push({ seed: outcome.seed, ...outcome.violation })
  }

  /** Something is wrong with a seed beside what its run says of itself. */
  fail(seed: number, property: string, message: string): void {
    this.failures.push({ seed, property, message })
  }

  get faults(): number {
    return this.hits.sum('faults')
  }

  toJSON(): TallyData {
    const operations = this.#perSeed.map((seed) => seed.operations)
    const faults = this.#perSeed.map((seed) => seed.faults)
    const { ran, simulatedMs, milliseconds, events, messages, acknowledged, elections, crashes } = this
    return {
      ran,
      violations: this.failures.length,
      simulatedMs: Math.round(simulatedMs),
      milliseconds: Math.round(milliseconds),
      events,
      messages,
      acknowledged,
      elections,
      crashes,
      medianElections: median(this.#perSeed.map((seed) => seed.elections)),
      medianFaults: median(faults),
      medianAcknowledged: median(this.#perSeed.map((seed) => seed.acknowledged)),
      p5Operations: percentile(operations, 5),
      p10Operations: percentile(operations, 10),
      medianOperations: median(operations),
      p5Faults: percentile(faults, 5),
      ranTwice: this.ranTwice,
      otherNode: this.otherNode,
      unavailable: Object.fromEntries([...this.unavailable].sort()),
      hits: this.hits.toJSON(),
      // Its first line: a stack names the folders of one machine, and replaying the seed prints it anew.
      failures: this.failures.map((failure) => ({ ...failure, message: failure.message.split('\n', 1)[0]! })),
    }
  }
}

/** The lower one of two in the middle; 0 of nothing. */
export function median(numbers: readonly number[]): number {
  return percentile(numbers, 50)
}

/** The one below which so many of a hundred are, or the next lower one; 0 of nothing. */
export function percentile(numbers: readonly number[], percent: number): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(((numbers.length - 1) * percent) / 100)] ?? 0
}

/** What clients of registers were answered. */
function registerOperations(hits: Hits): number {
  const deeds = hits['deeds of clients'] ?? {}
  return ['read', 'written', 'unequal'].reduce((sum, kind) => sum + (deeds[`register ${kind}`] ?? 0), 0)
}
