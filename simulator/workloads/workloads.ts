/**
 * Everybody who uses the cluster in one run, made from the scenario, and the order in which they come to an end:
 *
 *      start ── faults ── stop: nothing new, all that was begun gets its answer
 *                           └─ producers are through ── groups read and commit to the end ── drained
 */
import { Prng } from '../../src/stdx/index.ts'
import { KafkaClient } from '../kafka-client.ts'
import type { Scenario } from '../scenario/scenario.ts'
import type { World } from '../world.ts'
import { CompactedTopic } from './compacted-topic.ts'
import { Consumer } from './consumer.ts'
import { Group } from './group.ts'
import { Producer } from './producer.ts'
import { RegisterClient, RegisterSeats } from './register-client.ts'
import { Restorer } from './restorer.ts'
import { ShrinkingTopic } from './shrinking-topic.ts'
import { TopicAdministrator } from './topic-administrator.ts'

const CLIENTS_HOST = 'clients'

export class Workloads {
  readonly #scenario: Scenario
  readonly #world: World
  readonly producers: readonly Producer[]
  readonly consumers: readonly Consumer[]
  readonly groups: readonly Group[]
  readonly administrators: readonly TopicAdministrator[]
  readonly registers: readonly RegisterClient[]
  readonly shrinking: ShrinkingTopic | null
  readonly compacted: CompactedTopic | null
  readonly restorers: readonly Restorer[]
  readonly #interfere: (name: string, client: KafkaClient) => KafkaClient

  /** `interfere` puts something between a client and what it is told. */
  constructor(
    scenario: Scenario,
    world: World,
    excuses: (node: number | undefined, sinceMs: number) => boolean,
    interfere: (name: string, client: KafkaClient) => KafkaClient = (_name, client) => client,
  ) {
    this.#interfere = interfere
    this.#scenario = scenario
    this.#world = world
    const { topics, replication, networkUs: latencyUs } = scenario
    const common = { clock: world.clock, emit: world.client.bind(world), violated: world.fail.bind(world) }
    const own = (name: string) => ({ ...common, client: this.client(name), prng: this.#prng(name) })
    this.producers = scenario.producers.map((producer) => new Producer({ ...producer, topics }, own(producer.name)))
    this.consumers = scenario.consumers.map((consumer) => new Consumer({ ...consumer, topics }, own(consumer.name)))
    this.groups = (scenario.groups ?? []).map(
      (group) =>
        new Group(
          { ...group, topics },
          { ...common, prng: this.#prng(group.name), newClient: (name) => this.client(name) },
        ),
    )
    const isGone = (host: string): boolean =>
      world.machines.some((machine) => machine.host === host && machine.troubles.isLost)
    this.administrators = (scenario.administrators ?? []).map(
      (admin) => new TopicAdministrator({ ...admin, replication, nodes: world.bootstrap, isGone }, own(admin.name)),
    )
    const { shrinking } = scenario
    this.shrinking =
      shrinking === undefined
        ? null
        : new ShrinkingTopic(
            { ...shrinking, replication },
            {
              ...common,
              prng: this.#prng(shrinking.name),
              newClient: (name) => this.client(name),
              excuses,
            },
          )
    const { compacted } = scenario
    // Every fault of a clock changes what the wall shows.
    const clocksAreRight = !scenario.faults.some(({ kind }) => kind.startsWith('wall-') || kind.startsWith('clock-'))
    this.compacted =
      compacted === undefined
        ? null
        : new CompactedTopic(
            { ...compacted, replication, clocksAreRight },
            { ...common, prng: this.#prng(compacted.name), newClient: (name) => this.client(name), excuses },
          )
    this.restorers = (scenario.restorers ?? []).map(
      (restorer) => new Restorer({ ...restorer, replication }, own(restorer.name)),
    )
    const { registers } = scenario
    if (registers === undefined) this.registers = []
    else {
      const seats = new RegisterSeats(world.nodes, registers.shards)
      world.ownShards = (node, gate) => seats.specs(node, gate)
      const { keys, intervalMs } = registers
      this.registers = Array.from({ length: registers.clients }, (_, i) => {
        const name = `register-client-${i}`
        return new RegisterClient({ name, keys, intervalMs, latencyUs }, { ...common, seats, prng: this.#prng(name) })
      })
    }
  }

  /** The topics are there. */
  start(): void {
    for (const producer of this.producers) producer.start()
    for (const consumer of this.consumers) consumer.start()
    for (const group of this.groups) group.start()
    for (const administrator of this.administrators) administrator.start()
    for (const register of this.registers) register.start()
    this.shrinking?.start()
    this.compacted?.start()
    for (const restorer of this.restorers) restorer.start()
  }

  /** The faults are over: nothing new is begun, and those who went come back. */
  stop(): void {
    for (const producer of this.producers) producer.stop()
    for (const group of this.groups) group.stop()
    for (const administrator of this.administrators) administrator.stop()
    for (const register of this.registers) register.stop()
    this.shrinking?.stop()
    this.compacted?.stop()
    for (const restorer of this.restorers) restorer.stop()
  }

  /** Who has not come to an end yet, for people; null when all have. Asked again and again after `stop`. */
  waitingFor(): string | null {
    const producer = this.producers.find(({ drained }) => !drained)
    if (producer !== undefined) return `no answer yet: ${producer.waitingFor}`
    for (const group of this.groups) group.finish()
    const shrinking = this.shrinking === null ? [] : [this.shrinking]
    const compacted = this.compacted === null ? [] : [this.compacted]
    const others = [...this.registers, ...this.administrators, ...this.groups, ...shrinking, ...compacted]
    return others.find(({ drained }) => !drained)?.waitingFor ?? null
  }

  /** What was done and answered, by kind: a workload that does nothing finds nothing. */
  tally(): ReadonlyMap<string, number> {
    const tally = new Map<string, number>()
    const add = (what: string, times: number): void => {
      tally.set(what, (tally.get(what) ?? 0) + times)
    }
    for (const { probes } of this.consumers) for (const [kind, times] of probes.answered) add(`probe ${kind}`, times)
    for (const group of this.groups) {
      for (const [deed, times] of group.deeds) add(`group ${deed}`, times)
      add('group commit', group.commits)
    }
    for (const { deeds } of this.administrators) for (const [deed, times] of deeds) add(`topic ${deed}`, times)
    for (const [deed, times] of this.shrinking?.deeds ?? []) add(`shrinking ${deed}`, times)
    for (const [deed, times] of this.compacted?.deeds ?? []) add(`compacted ${deed}`, times)
    for (const { deeds } of this.restorers) for (const [deed, times] of deeds) add(`restore ${deed}`, times)
    for (const { outcomes } of this.registers)
      for (const [kind, times] of Object.entries(outcomes)) add(`register ${kind}`, times)
    return tally
  }

  client(name: string): KafkaClient {
    const { bootstrap, clock } = this.#world
    const prng = this.#prng(`${name}/bootstrap`)
    const client = new KafkaClient(
      { clientId: name, bootstrap },
      { network: this.#world.networkOf(CLIENTS_HOST), clock, pick: (bound) => prng.below(bound) },
    )
    return this.#interfere(name, client)
  }

  #prng(name: string): Prng {
    return new Prng(`${this.#scenario.seed}/client/${name}`)
  }
}
