/**
 * One run: a scenario from its first start to its last check.
 *
 *      form ── topics ── faults and clients ── a core heals ── all heals ── clients finish ── read everything
 *                                                                                                      │
 *                         compare the disks ── power off ── the same state ── all restart from disk ◄──┘
 *
 * Up to the healing only safety is asked. Then a quorum heals and must serve alone, whatever the others are left like; then
 * everything must come back within a bound of virtual time: nodes serve, every batch of every producer has its answer,
 * readers reach the end, and replicas stand at one index.
 */

import { apis } from '../src/gateways/kafka/index.ts'
import { Checkers } from './checkers/all.ts'
import { compareDisks } from './checkers/replicas-identical.ts'
import { Convergence } from './convergence.ts'
import { CONVERGENCE_MS, CorePhase } from './core-phase.ts'
import type { AilmentTally } from './disk/ailments.ts'
import { Faults } from './faults/faults.ts'
import { REPLICATION_DEFAULT } from './replica-sets.ts'
import type { FaultKind, Scenario } from './scenario/scenario.ts'
import { Violation } from './violation.ts'
import { Workloads } from './workloads/workloads.ts'
import { DATA, type Interference, PEER_PORT, World } from './world.ts'

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
  /** What came of faults beside themselves: messages lost, repeated, late. */
  readonly faultCounts: ReadonlyMap<string, number>
  /** By site in the product that was asked, how often it fired. */
  readonly buggify: ReadonlyMap<string, number>
  /** Types of events that nodes told, and how journals ended at recovery. */
  readonly reached: ReadonlyMap<string, number>
  /** Frames between nodes, requests and answers of clients. */
  readonly messages: number
  /** Why nothing but safety was demanded in the end (E2); null when all was. */
  readonly unavailable: string | null
  /** What became of the faults of disks, by kind. */
  readonly diskOutcomes: ReadonlyMap<string, AilmentTally>
  /** What the workloads did and were answered. */
  readonly deeds: ReadonlyMap<string, number>
}

/** Virtual time for reading all disks at the end: thousands of operations, on a slow disk 40 ms each. A hang is longer. */
const READING_MS = 600_000
const FORMING_MS = 20_000
/** For reading through all files of a node: some twenty operations a file, hundreds of files, 20 ms each on a slow disk. */
const SCRUBBING_MS = 180_000
/** Leaders are found, and then handed back to those that placement prefers. */
const ELECTIONS_AFTER_HEALING_PER_SHARD = 6
const ELECTIONS_AFTER_HEALING = 20
const UNAVAILABLE_LOOK_MS = 5000
const CREATE_TOPICS_VERSION = 4
const CREATE_TIMEOUT_MS = 3000
const TOPIC_EXISTS = 36

export async function simulate(scenario: Scenario, options: RunOptions = {}): Promise<RunResult> {
  return new Simulation(scenario, options).run()
}

class Simulation {
  readonly #scenario: Scenario
  readonly #world: World
  readonly #faults: Faults
  readonly #checkers: Checkers
  readonly #workloads: Workloads
  readonly #convergence: Convergence
  /** By node, how often it has read through its files since all has healed. */
  readonly #scrubbed = new Map<number, number>()
  /** Why nothing but safety was demanded in the end; null when all was. */
  #unavailable: string | null = null

  constructor(scenario: Scenario, options: RunOptions) {
    const world = new World(scenario, options.interference)
    this.#scenario = scenario
    this.#world = world
    this.#faults = new Faults(world)
    this.#checkers = new Checkers(world, {
      scenario,
      peerPort: PEER_PORT,
      shadowChecks: options.shadowChecks !== false,
      isAwake: (node) => world.machine(node).gate.isOpen,
      violated: world.fail.bind(world),
    })
    world.checkers.push(...this.#checkers.list)
    this.#convergence = new Convergence(world.machines, world.replicaSets)
    this.#workloads = new Workloads(scenario, world, this.#checkers.excuses, options.interference?.client)
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
      acknowledged: this.#checkers.clients.acknowledged,
      fetched: this.#checkers.clients.fetched,
      elections: this.#checkers.elections.elections,
      crashes: world.crashes,
      faults: this.#faults.hits,
      faultCounts: this.#faults.counts,
      buggify: world.buggify.hits,
      reached: world.reached,
      messages: world.taps.messages,
      unavailable: this.#unavailable,
      diskOutcomes: this.#faults.outcomes,
      deeds: this.#workloads.tally(),
    }
  }

  async #phases(): Promise<void> {
    const world = this.#world
    for (const node of world.nodes) world.startNode(node)
    this.#faults.start()
    let created = false
    this.#createTopics(() => {
      created = true
      this.#workloads.start()
    })
    await world.runUntil(this.#scenario.durationMs)
    if (world.violation !== null) return
    if (created) {
      const collaborators = {
        world,
        faults: this.#faults,
        convergence: this.#convergence,
        workloads: this.#workloads,
        acknowledged: () => this.#checkers.clients.answered,
      }
      await new CorePhase(this.#scenario, collaborators).run()
    }
    if (world.violation !== null) return
    const elections = this.#checkers.elections.elections
    this.#faults.healAll()
    this.#world.listeners.add((node, { type }) => {
      if (type === 'scrubbed') this.#scrubbed.set(node, (this.#scrubbed.get(node) ?? 0) + 1)
    })
    this.#workloads.stop()
    this.#unavailable = this.#beyondRecovery()
    if (this.#unavailable !== null) return this.#staysUnavailable()
    const until = world.now() + CONVERGENCE_MS + (created ? 0 : FORMING_MS)
    if (!(await world.runUntil(until, () => created && this.#wrong() === null)))
      return this.#notWell(created ? this.#wrong() : 'topics could not be created')
    this.#noLivelock(this.#checkers.elections.elections - elections)
    await world.runUntil(world.now() + SCRUBBING_MS, () => this.#unscrubbed() === null && this.#wrong() === null)
    const damaged = this.#unscrubbed() ?? this.#wrong()
    if (damaged !== null) return this.#notWell(damaged, SCRUBBING_MS)
    for (const consumer of this.#workloads.consumers) consumer.readAllOnceMore()
    await world.runUntil(world.now() + CONVERGENCE_MS, () =>
      this.#workloads.consumers.every((consumer) => consumer.caughtUp),
    )
    if (world.violation !== null) return
    if (!this.#workloads.consumers.every((consumer) => consumer.caughtUp)) return this.#notWell(this.#wrong())
    this.#damageEndedConnections()
    this.#atTheEnd()
    await this.#sameAfterRestart()
    await this.#compareDisks()
  }

  // ── what must be true in the end (verification E1–E7) ─────────────────────────────────────────────────────────────────

  /** Nodes whose disks are what they were, or must be again in the end: beyond the budget there may be nobody to get it from. */
  get #sound(): readonly number[] {
    const { beyond } = this.#scenario
    return this.#world.machines
      .filter(({ troubles }) => !(beyond === true ? troubles.isDamaged : troubles.isLost))
      .map(({ id }) => id)
  }

  /** Whoever has lost something must have looked through all its files since then, and found nothing more. */
  #unscrubbed(): string | null {
    const machine = this.#world.machines.find(
      ({ id, troubles }) => troubles.isDamaged && this.#sound.includes(id) && (this.#scrubbed.get(id) ?? 0) < 2,
    )
    return machine === undefined ? null : `node ${machine.id} has not been through its files`
  }

  /** E2: why this cluster cannot be demanded to come back; null when it can. */
  #beyondRecovery(): string | null {
    const { replication, nodes } = this.#scenario
    const damaged = nodes - this.#sound.length
    if (damaged === 0 || this.#scenario.beyond !== true) return null
    if (damaged > (nodes - 1) >> 1) return 'the disks of a quorum of nodes are damaged'
    // The cluster's own topics have fewer replicas than others may have.
    const replicas = Math.min(replication, REPLICATION_DEFAULT, nodes)
    if (damaged > (replicas - 1) >> 1) return 'a partition may have lost a quorum of its disks'
    return null
  }

  /** Beyond recovery it may be unavailable, for as long as it likes, and must not be wrong. */
  async #staysUnavailable(): Promise<void> {
    this.#world.note(0, `${this.#unavailable}: nothing is demanded but safety`)
    await this.#world.runUntil(this.#world.now() + UNAVAILABLE_LOOK_MS)
    if (this.#world.violation === null) this.#checkers.clientsAreThrough(false)
  }

  /** E7: leaders are found, and stay. */
  #noLivelock(elections: number): void {
    const shards = this.#convergence.marks(this.#sound).size
    const most = ELECTIONS_AFTER_HEALING_PER_SHARD * shards + ELECTIONS_AFTER_HEALING
    if (elections <= most) return
    const what = `${elections} elections for ${shards} shards after all had healed; at most ${most} are`
    this.#world.fail(new Violation('leaders stay', what))
  }

  /** F11: a connection that carried a damaged frame is not in use any more. */
  #damageEndedConnections(): void {
    const [tap] = this.#world.taps.damagedAndOpen
    if (tap === undefined) return
    const what = `a frame from ${tap.local} to ${tap.remoteHost} was damaged, and its connection goes on`
    this.#world.fail(new Violation('damaged frames end their connection', what))
  }

  /** E6: all lose power at once and start again; what they hold and show is the same. */
  async #sameAfterRestart(): Promise<void> {
    const world = this.#world
    if (world.violation !== null) return
    const before = this.#convergence.state(this.#sound)
    world.note(0, 'all lose power, and start again from their disks')
    for (const id of this.#sound) world.crash(id, { power: true, silent: true })
    for (const id of this.#sound) world.startNode(id)
    const until = world.now() + CONVERGENCE_MS + FORMING_MS
    if (!(await world.runUntil(until, () => this.#convergence.wrong(this.#sound) === null)))
      return world.fail(
        new Violation('a restarted cluster is the same', this.#convergence.wrong(this.#sound) ?? 'not yet well'),
      )
    const after = this.#convergence.state(this.#sound)
    for (const [shard, { start, end, own }] of before) {
      const now = after.get(shard)
      // Nodes, silent members and late requests of clients (an id for a producer) may still add to metadata and groups.
      const same = now?.end === end || (own && (now?.end ?? 0) > end)
      if (now !== undefined && now.start >= start && same) continue
      const is = now === undefined ? 'gone' : `from ${now.start} to ${now.end}`
      const what = `shard ${shard} was from offset ${start} to ${end}, and is ${is} after a restart of all nodes`
      return world.fail(new Violation('a restarted cluster is the same', what))
    }
    await this.#sameGroupOffsets()
  }

  /** Offsets are no marks, and a shard of groups may grow meanwhile: somebody asks for them again. */
  async #sameGroupOffsets(): Promise<void> {
    const { groups } = this.#workloads
    const audits = groups.map((group) => group.audits)
    for (const group of groups) group.auditAgain()
    const silent = () => groups.find((group, i) => group.audits === audits[i])
    await this.#world.runUntil(this.#world.now() + CONVERGENCE_MS, () => silent() === undefined)
    if (this.#world.violation !== null) return
    const waiting = silent()
    if (waiting === undefined) return this.#checkers.groupsAreTheSame()
    const what = `nobody tells ${waiting.waitingFor}, ${CONVERGENCE_MS} ms after a restart of all nodes`
    this.#world.fail(new Violation('a restarted cluster is the same', what))
  }

  #createTopics(done: () => void): void {
    const { topics, replication } = this.#scenario
    const client = this.#workloads.client('admin')
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
            // Wall clocks jump by years here, and what these topics hold is to be found again to the last record.
            configs: [{ name: 'retention.ms', value: '-1' }],
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
    return this.#convergence.wrong(this.#sound) ?? this.#workloads.waitingFor()
  }

  #notWell(what: string | null, afterMs = CONVERGENCE_MS): void {
    const so = what ?? 'readers did not reach the end'
    this.#world.fail(new Violation('all is well again after the faults', `${so}, ${afterMs} ms after the last of them`))
  }

  #atTheEnd(): void {
    const reader = this.#workloads.consumers[0]!
    try {
      this.#checkers.clients.finish((topic, partition) => reader.positionOf(topic, partition))
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      this.#world.fail(error)
    }
    this.#checkers.clientsAreThrough(true)
  }

  async #compareDisks(): Promise<void> {
    const world = this.#world
    if (world.violation !== null) return
    const sound = this.#sound
    // A machine that is lost may come back, and not know yet what was deleted meanwhile.
    const statuses = sound.flatMap((id) => world.machines[id - 1]!.node?.status().shards ?? [])
    const shards = new Set(statuses.map(({ shard }) => shard))
    const places = new Map(statuses.map(({ shard, topic, partition }) => [shard, `${topic}/${partition}`] as const))
    const written = new Set(this.#scenario.topics.map(({ name }) => name))
    const placeOf = (shard: number): string | null => {
      const place = places.get(shard) ?? ''
      return written.has(place.slice(0, place.lastIndexOf('/'))) ? place : null
    }
    world.close()
    let read = false
    const disks = world.machines.map(({ id, disk }) => ({ node: id, disk, damaged: !sound.includes(id) }))
    this.#checkers.readRawFiles(disks, { directory: DATA, placeOf }, () => {
      read = true
    })
    if (!(await world.runUntil(world.now() + READING_MS, () => read)))
      world.fail(
        new Violation('every acknowledged value is in the raw files of a quorum', 'reading them took too long'),
      )
    let done = false
    compareDisks(
      world.machines.map(({ id, disk, troubles }) => ({
        node: id,
        disk,
        mayRefuse: () => troubles.isDamaged && !sound.includes(id),
        leftBehind: !sound.includes(id),
      })),
      { directory: DATA, quorumOf: (shard) => world.quorumOf(shard), exists: (shard) => shards.has(shard) },
      {
        clock: world.clock,
        history: this.#checkers.history,
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
