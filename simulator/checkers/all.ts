/**
 * Which checkers watch a run, and what they are asked when it is over. The order matters where one asks another: the one
 * history first, then those who look entries up in it.
 */

import { MESH_DEFAULTS } from '../../src/cluster/index.ts'
import { HOST_DEFAULTS } from '../../src/replication/index.ts'
import type { Checker, Truth } from '../observer.ts'
import type { Scenario } from '../scenario/scenario.ts'
import { Violation } from '../violation.ts'
import { Acknowledged } from './acknowledged.ts'
import { Bounds, LIMITS } from './bounds.ts'
import { ClientHistory } from './client-history.ts'
import { Cuts } from './cuts.ts'
import { Deletions } from './deletions.ts'
import { ElectionSafety } from './election-safety.ts'
import { EveryValue, type RawDisk } from './every-value.ts'
import { FileDiscipline } from './file-discipline.ts'
import { Groups } from './groups.ts'
import { LeaderCompleteness } from './leader-completeness.ts'
import { LeaseDoubt } from './lease-doubt.ts'
import { LogMatching } from './log-matching.ts'
import { LowDisks } from './low-disks.ts'
import { Marks } from './marks.ts'
import { OffsetsRise } from './offsets-rise.ts'
import { OneHistory } from './one-history.ts'
import { OneVote } from './one-vote.ts'
import { OnlyWhatWasSent } from './only-what-was-sent.ts'
import { OwnTerm } from './own-term.ts'
import { RecordedHistory } from './recorded-history.ts'
import { SameState } from './same-state.ts'
import { StuckLeaders } from './stuck-leaders.ts'
import { Support } from './support.ts'
import { TermDurable } from './term-durable.ts'
import { Topics } from './topics.ts'

export interface CheckersOptions {
  readonly scenario: Scenario
  readonly peerPort: number
  /** Without those that look below the nodes, clients and disks must tell. */
  readonly shadowChecks: boolean
  /** The node's process runs, and is not asleep. */
  readonly isAwake: (node: number) => boolean
  readonly violated: (violation: Violation) => void
}

export interface RawReading {
  readonly directory: string
  readonly placeOf: (shard: number) => string | null
}

export class Checkers {
  readonly elections = new ElectionSafety()
  readonly history: OneHistory
  readonly clients: ClientHistory
  readonly recorded: RecordedHistory
  readonly states = new SameState()
  readonly bounds: Bounds
  /** See `LeaseDoubt`. */
  readonly excuses: (node: number | undefined, sinceMs: number) => boolean
  readonly list: readonly Checker[]
  readonly #sent = new OnlyWhatWasSent()
  readonly #groups: Groups
  readonly #values = new EveryValue()
  readonly #truth: Truth
  readonly #violated: (violation: Violation) => void

  constructor(truth: Truth, { scenario, peerPort, shadowChecks, isAwake, violated }: CheckersOptions) {
    this.#truth = truth
    this.#violated = violated
    const now = (): number => truth.now()
    const idempotent = new Set(scenario.producers.filter((producer) => producer.idempotent).map(({ name }) => name))
    const isIdempotent = (name: string): boolean => idempotent.has(name)
    this.history = new OneHistory(truth)
    const doubt = new LeaseDoubt(now, scenario.tuning?.electionTimeoutMs ?? HOST_DEFAULTS.electionTimeoutMs)
    const excuses = doubt.excuses.bind(doubt)
    this.excuses = excuses
    this.clients = new ClientHistory(now, isIdempotent, excuses)
    this.recorded = new RecordedHistory(now, isIdempotent, excuses)
    this.#groups = new Groups(now)
    this.bounds = new Bounds(LIMITS, violated)
    const { history } = this
    const { shrinking, compacted } = scenario
    const own = [shrinking, compacted].filter((topic) => topic !== undefined)
    const all = [...scenario.topics, ...own.map(({ name }) => ({ name, partitions: 1 }))]
    const topics = new Topics(all, (name) => name.startsWith('__'))
    const list: Checker[] = [
      this.elections,
      doubt,
      this.#sent,
      this.clients,
      this.recorded,
      this.#groups,
      topics,
      this.#values,
    ]
    if (shadowChecks) {
      list.push(new OneVote(), history, new OwnTerm(truth), new Marks(truth), new Acknowledged(truth))
      list.push(new LogMatching(), new LeaderCompleteness(truth, history), this.states, new OffsetsRise())
      list.push(new TermDurable(peerPort, violated), new FileDiscipline(violated, this.bounds), this.bounds)
      list.push(new Deletions(truth, history, violated), new Support(peerPort, now, violated))
      list.push(new Cuts(truth, retentionBytesOf(scenario)))
      list.push(new LowDisks(scenario.diskReserveBytes ?? null, isAwake))
      // Clocks that are far out of bounds measure no second.
      const heartbeatMs = scenario.tuning?.heartbeatIntervalMs ?? MESH_DEFAULTS.heartbeatIntervalMs
      const quorumOf = (shard: number): number => truth.quorumOf(shard)
      if (scenario.beyond !== true) list.push(new StuckLeaders(heartbeatMs, { now, isAwake, quorumOf }))
    }
    this.list = list
  }

  /** The clients have come to their ends. `complete`: they have read everything. */
  clientsAreThrough(complete: boolean): void {
    this.#judge(() => {
      this.#groups.finish()
      this.recorded.finish(complete)
    })
  }

  #judge(judge: () => void): void {
    try {
      judge()
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      this.#violated(error)
    }
  }

  /** Somebody has asked once more what groups have committed. */
  groupsAreTheSame(): void {
    this.#judge(() => this.#groups.finish())
  }

  /** Nobody runs any more: the disks are read by somebody who knows their formats and nothing else. */
  readRawFiles(disks: readonly RawDisk[], { directory, placeOf }: RawReading, done: () => void): void {
    const options = {
      directory,
      placeOf,
      quorumOf: (shard: number) => this.#truth.quorumOf(shard),
      wasSent: (place: string, value: string) => this.#sent.wasSent(place, value),
    }
    this.#values.finish(disks, this.history, options, (violation) => {
      if (violation !== null) this.#violated(violation)
      done()
    })
  }
}

/** The lowest of those that there are: a cut does not say whose it is. */
function retentionBytesOf({ shrinking, compacted }: Scenario): number | null {
  const limits = [shrinking, compacted].map((topic) => Number(topic?.configs['retention.bytes'] ?? -1))
  const set = limits.filter((bytes) => bytes !== -1)
  return set.length === 0 ? null : Math.min(...set)
}
