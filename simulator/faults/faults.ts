/**
 * Makes the scenario's faults happen, within a budget.
 *
 * The budget: at no time are more than a minority of the nodes down, paused or cut off (one node of one survives its own
 * restarts). A fault that would exceed it when its time comes is passed over. The one exception is a blackout, in which all
 * machines lose power at once: it must be survived as well, and nothing else is needed for that but the disks.
 *
 * Slow disks, slow and one-way links, resets and jumps of the wall clock cost nothing of the budget: whatever they do, the
 * cluster must be right, and must recover when they end.
 */
import { METADATA_VOTERS_MAX } from '../../src/cluster/index.ts'
import type { AilmentTally } from '../disk/ailments.ts'
import type { Core, Fault, FaultKind, Outsider } from '../scenario/scenario.ts'
import type { World } from '../world.ts'
import type { Budget } from './budget.ts'
import { FAULTS } from './catalogue.ts'
import { superviseDisks } from './disk-supervision.ts'
import { CLIENTS, host, Injection } from './injection.ts'
import { recordSessions } from './streams.ts'

export class Faults {
  readonly #world: World
  readonly #injection: Injection
  readonly hits = new Map<FaultKind, number>()

  constructor(world: World) {
    this.#world = world
    this.#injection = new Injection(world)
    superviseDisks(this.#injection)
    recordSessions(this.#injection)
  }

  /** What became of the faults of disks, by kind. */
  get outcomes(): ReadonlyMap<string, AilmentTally> {
    return this.#injection.ailments.outcomes
  }

  start(): void {
    const { clock, scenario } = this.#world
    for (const fault of scenario.faults) clock.after(fault.atMs, () => this.#inject(fault))
  }

  get budget(): Budget {
    return this.#injection.budget
  }

  /** What came of faults beside themselves. */
  get counts(): ReadonlyMap<string, number> {
    return this.#injection.counts
  }

  /**
   * From here on nothing happens any more, and what is broken among a quorum of sound machines is mended. The others are left as they
   * are, or are taken away (E1: TigerBeetle's liveness mode). Null: the disks of too many are damaged.
   */
  healCore({ order, outsiders }: Core): readonly number[] | null {
    const core = coreOf(order, this.budget.damaged)
    if (core === null) return null
    this.#injection.over = true
    const world = this.#world
    const others = world.nodes.filter((id) => !core.includes(id))
    world.note(
      0,
      `nodes ${core.join(', ')} heal; ${others.map((id) => `node ${id} is ${outsiders[id - 1]}`).join(', ')}`,
    )
    for (const id of others) world.held.add(id)
    this.#mend(core)
    this.#injection.links.healAmong(new Set([...core.map(host), CLIENTS]))
    for (const id of others) this.#leave(id, outsiders[id - 1] ?? 'as-it-is')
    return core
  }

  #leave(id: number, outsider: Outsider): void {
    const world = this.#world
    const { gate } = world.machine(id)
    gate.crashAt = Number.POSITIVE_INFINITY
    if (outsider === 'down') world.crash(id, { power: false, silent: true })
    if (outsider === 'paused') gate.pause()
    if (outsider !== 'cut-off') return
    for (const other of [...world.nodes.filter((each) => each !== id).map(host), CLIENTS]) {
      this.#injection.links.cut(host(id), other)
      this.#injection.links.cut(other, host(id))
    }
  }

  /** What is broken is mended everywhere. */
  healAll(): void {
    this.#injection.over = true
    this.#world.held.clear()
    this.#world.note(0, 'all heals')
    this.#injection.links.healAll()
    for (const { troubles } of this.#world.machines) troubles.disarm()
    this.#mend(this.#world.nodes)
  }

  #mend(nodes: readonly number[]): void {
    this.#world.buggify.stop()
    this.#world.delays.heal()
    this.#world.taps.heal()
    for (const heal of [...this.#injection.healers]) heal()
    for (const id of nodes) {
      const machine = this.#world.machine(id)
      machine.gate.crashAt = Number.POSITIVE_INFINITY
      machine.diskFactor = 1
      machine.gate.resume()
      this.#world.startNode(machine.id)
    }
  }

  #inject(fault: Fault): void {
    if (this.#injection.over || this.#world.violation !== null) return
    if (!FAULTS[fault.kind].inject(fault, this.#injection)) return
    this.hits.set(fault.kind, (this.hits.get(fault.kind) ?? 0) + 1)
  }
}

/** The first sound ones that are a majority of all, and of those that decide on the cluster itself. */
function coreOf(order: readonly number[], damaged: ReadonlySet<number>): number[] | null {
  const core: number[] = []
  const voters = Math.min(order.length, METADATA_VOTERS_MAX)
  const enough = (): boolean =>
    core.length > order.length >> 1 && core.filter((id) => id <= METADATA_VOTERS_MAX).length > voters >> 1
  for (const id of order) {
    if (enough()) break
    if (!damaged.has(id)) core.push(id)
  }
  return enough() ? core.sort((a, b) => a - b) : null
}
