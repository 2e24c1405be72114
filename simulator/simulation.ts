/**
 * One run: a scenario from its first start to its last check.
 *
 *      form ── topics ── faults and clients ── all heals ── clients finish ── read everything ── stop ── compare the disks
 *
 * Up to the healing only safety is asked. After it everything must come back within a bound of virtual time: nodes serve,
 * every batch of every producer has its answer, readers reach the end, and replicas stand at one index.
 */
import { apis } from '../src/gateways/kafka/index.ts'
import { Prng } from '../src/stdx/index.ts'
import { Acknowledged } from './checkers/acknowledged.ts'
import { ClientHistory } from './checkers/client-history.ts'
import { ElectionSafety } from './checkers/election-safety.ts'
import { Marks } from './checkers/marks.ts'
import { OneHistory } from './checkers/one-history.ts'
import { OneVote } from './checkers/one-vote.ts'
import { compareDisks } from './checkers/replicas-identical.ts'
import { Faults } from './faults.ts'
import { KafkaClient } from './kafka-client.ts'
import type { Checker } from './observer.ts'
import type { FaultKind, Scenario } from './scenario.ts'
import { Violation } from './violation.ts'
import { Consumer } from './workloads/consumer.ts'
import { Producer } from './workloads/producer.ts'
import { DATA, type Interference, World } from './world.ts'

export interface RunOptions {
  readonly interference?: Interference
  /** Checks that look below the nodes find most defects at once; without them clients and disks must tell. */
  readonly shadowChecks?: boolean
}

export interface RunResult {
  readonly scenario: Scenario
  readonly violation: Violation | null
  readonly hash: string
  readonly timeline: readonly string[]
  readonly simulatedMs: number
  readonly events: number
  readonly acknowledged: number
  readonly fetched: number
  readonly elections: number
  readonly crashes: number
  readonly faults: ReadonlyMap<FaultKind, number>
}

/** From the healing to everything being well again. */
export const CONVERGENCE_MS = 30_000
/** Virtual time for reading all disks at the end: thousands of operations, on a slow disk 40 ms each. A hang is longer. */
const READING_MS = 600_000
const FORMING_MS = 20_000
const CREATE_TOPICS_VERSION = 4
const CREATE_TIMEOUT_MS = 3000
const TOPIC_EXISTS = 36
const CLIENTS_HOST = 'clients'

export async function simulate(scenario: Scenario, options: RunOptions = {}): Promise<RunResult> {
  return new Simulation(scenario, options).run()
}

class Simulation {
  readonly #scenario: Scenario
  readonly #world: World
  readonly #faults: Faults
  readonly #elections = new ElectionSafety()
  readonly #history: OneHistory
  readonly #clients: ClientHistory
  readonly #producers: Producer[]
  readonly #consumers: Consumer[]

  constructor(scenario: Scenario, options: RunOptions) {
    const world = new World(scenario, options.interference)
    this.#scenario = scenario
    this.#world = world
    this.#faults = new Faults(world)
    this.#history = new OneHistory(world)
    const idempotent = new Set(scenario.producers.filter((producer) => producer.idempotent).map(({ name }) => name))
    this.#clients = new ClientHistory(
      () => world.now(),
      (name) => idempotent.has(name),
    )
    const checkers: Checker[] = [this.#elections, this.#clients]
    if (options.shadowChecks !== false)
      checkers.push(new OneVote(), this.#history, new Marks(world), new Acknowledged(world))
    world.checkers.push(...checkers)
    const { topics } = scenario
    const common = { clock: world.clock, emit: world.client.bind(world), violated: world.fail.bind(world) }
    this.#producers = scenario.producers.map(
      (producer) =>
        new Producer(
          { ...producer, topics },
          { ...common, client: this.#client(producer.name), prng: this.#prng(producer.name) },
        ),
    )
    this.#consumers = scenario.consumers.map(
      (consumer) =>
        new Consumer(
          { ...consumer, topics },
          { ...common, client: this.#client(consumer.name), prng: this.#prng(consumer.name) },
        ),
    )
  }

  async run(): Promise<RunResult> {
    await this.#phases()
    const world = this.#world
    return {
      scenario: this.#scenario,
      violation: world.violation,
      hash: world.traceHash,
      timeline: world.timeline,
      simulatedMs: world.now(),
      events: world.events,
      acknowledged: this.#clients.acknowledged,
      fetched: this.#clients.fetched,
      elections: this.#elections.elections,
      crashes: world.crashes,
      faults: this.#faults.hits,
    }
  }

  async #phases(): Promise<void> {
    const world = this.#world
    for (const node of world.nodes) world.startNode(node)
    this.#faults.start()
    let created = false
    this.#createTopics(() => {
      created = true
      for (const producer of this.#producers) producer.start()
      for (const consumer of this.#consumers) consumer.start()
    })
    await world.runUntil(this.#scenario.durationMs)
    if (world.violation !== null) return
    this.#faults.healAll()
    for (const producer of this.#producers) producer.stop()
    const until = world.now() + CONVERGENCE_MS + (created ? 0 : FORMING_MS)
    if (!(await world.runUntil(until, () => created && this.#isWell()))) return this.#notWell(created)
    for (const consumer of this.#consumers) consumer.readAllOnceMore()
    await world.runUntil(world.now() + CONVERGENCE_MS, () => this.#consumers.every((consumer) => consumer.caughtUp))
    if (world.violation !== null) return
    if (!this.#consumers.every((consumer) => consumer.caughtUp)) return this.#notWell(created)
    this.#atTheEnd()
    await this.#compareDisks()
  }

  #client(name: string): KafkaClient {
    const world = this.#world
    const prng = this.#prng(`${name}/bootstrap`)
    return new KafkaClient(
      { clientId: name, bootstrap: world.bootstrap },
      { network: world.network.host(CLIENTS_HOST), clock: world.clock, pick: (bound) => prng.below(bound) },
    )
  }

  #prng(name: string): Prng {
    return new Prng(`${this.#scenario.seed}/client/${name}`)
  }

  #createTopics(done: () => void): void {
    const { topics, replication } = this.#scenario
    const client = this.#client('admin')
    const missing = new Set(topics.map(({ name }) => name))
    const attempt = (): void => {
      const request = {
        topics: topics
          .filter(({ name }) => missing.has(name))
          .map(({ name, partitions }) => ({
            name,
            numPartitions: partitions,
            replicationFactor: replication,
            assignments: [],
            configs: [],
          })),
        timeoutMs: CREATE_TIMEOUT_MS,
      }
      client.request(
        client.anyBroker(),
        apis.createTopics,
        CREATE_TOPICS_VERSION,
        request,
        CREATE_TIMEOUT_MS,
        (_failure, answer) => {
          for (const { name, errorCode } of answer?.topics ?? [])
            if (errorCode === 0 || errorCode === TOPIC_EXISTS) missing.delete(name)
          if (missing.size === 0) done()
          else this.#world.clock.after(200, attempt)
        },
      )
    }
    attempt()
  }

  /** What keeps the cluster from being well, or null. */
  #wrong(): string | null {
    const { machines } = this.#world
    const standing = new Map<number, { node: number; commitIndex: number; lastIndex: number }>()
    for (const { id, node, state } of machines) {
      if (state !== 'up' || node === null) return `node ${id} is ${state}`
      const status = node.status()
      if (status.waitingFor !== null) return `node ${id}: ${status.waitingFor}`
      for (const { shard, commitIndex, lastIndex } of status.shards) {
        if (commitIndex !== lastIndex)
          return `node ${id}, shard ${shard}: ${lastIndex - commitIndex} entries are not committed`
        const other = standing.get(shard)
        if (other !== undefined && other.commitIndex !== commitIndex) {
          return `shard ${shard}: node ${other.node} stands at ${other.commitIndex}, node ${id} at ${commitIndex}`
        }
        standing.set(shard, { node: id, commitIndex, lastIndex })
      }
    }
    const waiting = this.#producers.find((producer) => !producer.drained)
    return waiting === undefined ? null : `no answer yet: ${waiting.waitingFor}`
  }

  #isWell(): boolean {
    return this.#wrong() === null
  }

  #notWell(created: boolean): void {
    const what = !created ? 'topics could not be created' : (this.#wrong() ?? 'readers did not reach the end')
    this.#world.fail(
      new Violation('all is well again after the faults', `${what}, ${CONVERGENCE_MS} ms after the last of them`),
    )
  }

  #atTheEnd(): void {
    const reader = this.#consumers[0]!
    try {
      this.#clients.finish((topic, partition) => reader.positionOf(topic, partition))
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      this.#world.fail(error)
    }
  }

  async #compareDisks(): Promise<void> {
    const world = this.#world
    if (world.violation !== null) return
    world.close()
    let done = false
    compareDisks(
      world.machines.map(({ id, disk }) => ({ node: id, disk })),
      { directory: DATA, quorumOf: (shard) => world.quorumOf(shard) },
      {
        clock: world.clock,
        history: this.#history,
        violated: (violation) => world.fail(violation),
        done: () => {
          done = true
        },
      },
    )
    if (!(await world.runUntil(world.now() + READING_MS, () => done)))
      world.fail(new Violation('disks hold the committed history', 'reading them took too long'))
  }
}
