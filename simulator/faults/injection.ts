/**
 * What a family of faults acts through: the world, the budget, and the ways back that several of them share.
 *
 * A family is a table from kind to {draw, inject}. `draw` turns randomness into plain data long before the run; `inject` makes
 * it happen when its time comes, and answers false when it cannot happen then. Whatever a fault breaks for a while it mends by
 * itself, unless all was healed before: then `over` is true and there is nothing left to mend.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import { must, Prng } from '../../src/stdx/index.ts'
import { Ailments } from '../disk/ailments.ts'
import type { SimulatedMachine } from '../machine.ts'
import { Links } from '../network/links.ts'
import type { Fault, FaultKind, Target } from '../scenario/scenario.ts'
import type { World } from '../world.ts'
import { Budget } from './budget.ts'

/** What every kind of fault may use, drawn before any of its own. */
export interface Draws {
  readonly prng: Prng
  readonly nodes: number
  readonly atMs: number
  readonly target: Target
  readonly power: boolean
  readonly downMs: number
  readonly forMs: number
  /** Any node. */
  node(): number
}

export interface FaultOf<Kind extends FaultKind> {
  draw(draws: Draws): Extract<Fault, { readonly kind: Kind }>
  /** False: not now. */
  inject(fault: Extract<Fault, { readonly kind: Kind }>, at: Injection): boolean
}

export type Family<Kinds extends FaultKind> = { readonly [Kind in Kinds]: FaultOf<Kind> }

const METADATA_SHARD = 1
const FIRST_PARTITION_SHARD = 16

export class Injection {
  readonly world: World
  readonly budget: Budget
  readonly links: Links
  /** Called when all heals, before machines start again. */
  readonly healers = new Set<() => void>()
  /** What ails the machines' disks. */
  readonly ailments = new Ailments()
  over = false

  constructor(world: World) {
    this.world = world
    this.budget = new Budget(world.nodes.length, world.scenario.beyond === true)
    this.links = new Links(world.network)
  }

  target(target: Target): SimulatedMachine {
    const { leaders } = this.world
    const id = target === 'leader' ? (leaders.get(FIRST_PARTITION_SHARD) ?? leaders.get(METADATA_SHARD) ?? 1) : target
    return this.world.machine(id)
  }

  /** The so-manieth of the shards that somebody leads, as far as is known; leader 0: there is none. */
  led(place: number): { shard: number; leader: number } {
    const led = [...this.world.leaders].sort(([a], [b]) => a - b)
    const [shard, leader] = led[place % Math.max(1, led.length)] ?? [0, 0]
    return { shard, leader }
  }

  /** Waits so long for a node to tell this, in the middle of whatever it does, and acts then; not once all heals. */
  once(forMs: number, is: (node: number, event: NodeEvent['event']) => boolean, act: () => void): void {
    const { listeners, clock } = this.world
    const listener = (node: number, event: NodeEvent['event']): void => {
      if (this.over || !is(node, event)) return
      listeners.delete(listener)
      act()
    }
    listeners.add(listener)
    clock.after(forMs, () => listeners.delete(listener))
  }

  /** False: it is down already. */
  crash(id: number, power: boolean, silent: boolean, downMs: number): boolean {
    const machine = must(this.world.machines[id - 1], `machine ${id}`)
    if (machine.state === 'down') return false
    this.budget.impair(id)
    this.world.crash(id, { power, silent })
    this.backAfter(id, downMs)
    return true
  }

  backAfter(id: number, downMs: number): void {
    this.world.clock.after(downMs, () => {
      this.budget.repair(id)
      this.world.startNode(id)
    })
  }

  /** For people and the hit table: beside the faults themselves, what came of them. */
  readonly counts = new Map<string, number>()

  count(name: string, hits = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + hits)
  }

  /** Randomness for what a fault does while it lasts. */
  prng(name: string): Prng {
    return new Prng(`${this.world.scenario.seed}/fault/${name}`)
  }

  impairFor(ids: readonly number[], forMs: number): void {
    for (const id of ids) this.budget.impair(id)
    this.world.clock.after(forMs, () => {
      for (const id of ids) this.budget.repair(id)
    })
  }

  /** Ends after a while, or when all heals. */
  lasting(forMs: number, end: () => void): void {
    const once = (): void => {
      if (this.healers.delete(once)) end()
    }
    this.healers.add(once)
    this.world.clock.after(forMs, once)
  }

  /** After a while, unless all was healed before. */
  after(forMs: number, mend: () => void): void {
    this.world.clock.after(forMs, () => {
      if (!this.over) mend()
    })
  }
}

export function host(node: number): string {
  return `node-${node}`
}

/** The host of all clients. */
export const CLIENTS = 'clients'
