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
import { must } from '../src/stdx/index.ts'
import type { Fault, FaultKind, Target } from './scenario.ts'
import type { SimulatedMachine, World } from './world.ts'

const METADATA_SHARD = 1
const FIRST_PARTITION_SHARD = 16
const CLIENTS = 'clients'

export class Faults {
  readonly #world: World
  /** Nodes that are down, paused or cut off, with how many faults hold them there. */
  readonly #impaired = new Map<number, number>()
  readonly hits = new Map<FaultKind, number>()
  /** Cuts by direction, with how many faults hold them. */
  readonly #cuts = new Map<string, number>()
  #over = false

  constructor(world: World) {
    this.#world = world
  }

  start(): void {
    const { clock, scenario } = this.#world
    for (const fault of scenario.faults) clock.after(fault.atMs, () => this.#inject(fault))
  }

  /** From here on nothing happens any more; what is broken is mended. */
  healAll(): void {
    this.#over = true
    const { network, machines } = this.#world
    this.#world.note(0, 'all heals')
    this.#cuts.clear()
    network.heal()
    for (const machine of machines) {
      machine.gate.crashAt = Number.POSITIVE_INFINITY
      machine.diskFactor = 1
      machine.networkFactor = 1
      if (machine.disk.fault !== null) {
        // The sync that was to fail has not come.
        machine.disk.fault = null
        machine.expectsToStop = false
        machine.onStopped = null
      }
      machine.gate.resume()
      this.#world.startNode(machine.id)
    }
  }

  #inject(fault: Fault): void {
    if (this.#over || this.#world.violation !== null) return
    if (!this.#apply(fault)) return
    this.hits.set(fault.kind, (this.hits.get(fault.kind) ?? 0) + 1)
  }

  /** False: not now. */
  #apply(fault: Fault): boolean {
    const world = this.#world
    switch (fault.kind) {
      case 'blackout': {
        for (const [i, downMs] of fault.downMs.entries()) this.#crash(i + 1, true, true, downMs)
        return true
      }
      case 'cut':
        if (fault.from === fault.to) return false
        this.#cutFor(
          [[host(fault.from), host(fault.to)]],
          fault.forMs,
          `node ${fault.to} hears nothing of node ${fault.from} for ${fault.forMs} ms`,
        )
        return true
      case 'reset': {
        const other = fault.b === 0 ? CLIENTS : host(fault.b)
        world.note(fault.a, `connections with ${other} are reset`)
        world.network.reset(host(fault.a), other)
        return true
      }
    }
    const machine = this.#target(fault.target)
    const { id } = machine
    if (machine.state === 'down') return false
    switch (fault.kind) {
      case 'crash':
        return this.#within(id) && this.#crash(id, fault.power, fault.silent, fault.downMs)
      case 'crash-at-effect': {
        if (!this.#within(id)) return false
        const { gate } = machine
        gate.crashAt = gate.effects + fault.effects
        gate.onCrashPoint = () => {
          if (!this.#over && this.#within(id)) this.#crash(id, fault.power, false, fault.downMs)
        }
        return true
      }
      case 'restart':
        if (!this.#within(id) || machine.state !== 'up' || machine.gate.paused) return false
        this.#impair(id)
        // A crash in the middle of it has its own way back.
        world.stopNode(id, (stopped) => (stopped ? this.#backAfter(id, fault.downMs) : this.#repair(id)))
        return true
      case 'pause': {
        if (!this.#within(id) || machine.state !== 'up' || machine.gate.paused) return false
        const { gate } = machine
        world.note(id, `is paused for ${fault.forMs} ms`)
        this.#impair(id)
        gate.pause()
        world.clock.after(fault.forMs, () => {
          if (gate.paused) world.note(id, 'goes on')
          gate.resume()
          this.#repair(id)
        })
        return true
      }
      case 'isolate': {
        if (!this.#within(id)) return false
        this.#impair(id)
        const others = world.nodes.filter((each) => each !== id).map(host)
        if (fault.clientsToo) others.push(CLIENTS)
        const cuts = others.flatMap((other): [string, string][] => {
          const out: [string, string] = [host(id), other]
          const inward: [string, string] = [other, host(id)]
          return fault.direction === 'both' ? [out, inward] : fault.direction === 'out' ? [out] : [inward]
        })
        this.#cutFor(
          cuts,
          fault.forMs,
          `node ${id} is cut off (${fault.direction}${fault.clientsToo ? ', clients too' : ''}) for ${fault.forMs} ms`,
        )
        world.clock.after(fault.forMs, () => this.#repair(id))
        return true
      }
      case 'slow-network':
        return this.#slow(machine, 'networkFactor', fault.factor, fault.forMs)
      case 'slow-disk':
        return this.#slow(machine, 'diskFactor', fault.factor, fault.forMs)
      case 'sync-error': {
        if (!this.#within(id) || machine.state !== 'up' || machine.gate.paused) return false
        this.#impair(id)
        world.note(id, 'the next sync of its disk fails')
        machine.expectsToStop = true
        let failed = false
        machine.disk.fault = (operation) => {
          if (operation !== 'datasync') return null
          machine.disk.fault = null
          failed = true
          return 'EIO'
        }
        const { gate } = machine
        const end = (): void => {
          if (machine.onStopped !== end) return
          machine.onStopped = null
          this.#repair(id)
          if (machine.gate === gate) this.#crash(id, fault.power, false, fault.downMs)
        }
        machine.onStopped = end
        // It may be a sync that its node can do without, or crash for another reason before.
        world.clock.after(5000, () => {
          if (failed || !this.#over) end()
        })
        return true
      }
      case 'wall-jump':
        world.note(id, `its wall clock jumps by ${Math.round(fault.byMs / 1000)} s`)
        machine.wallOffsetMs += fault.byMs
        return true
    }
  }

  #target(target: Target): SimulatedMachine {
    const { leaders } = this.#world
    const id = target === 'leader' ? (leaders.get(FIRST_PARTITION_SHARD) ?? leaders.get(METADATA_SHARD) ?? 1) : target
    return this.#world.machine(id)
  }

  #within(id: number): boolean {
    if (this.#impaired.has(id)) return true
    const { nodes } = this.#world
    const most = nodes.length === 1 ? 1 : Math.floor((nodes.length - 1) / 2)
    return this.#impaired.size < most
  }

  #impair(id: number): void {
    this.#impaired.set(id, (this.#impaired.get(id) ?? 0) + 1)
  }

  #repair(id: number): void {
    const left = (this.#impaired.get(id) ?? 1) - 1
    if (left > 0) this.#impaired.set(id, left)
    else this.#impaired.delete(id)
  }

  #crash(id: number, power: boolean, silent: boolean, downMs: number): boolean {
    const machine = must(this.#world.machines[id - 1], `machine ${id}`)
    if (machine.state === 'down') return false
    this.#impair(id)
    this.#world.crash(id, { power, silent })
    this.#backAfter(id, downMs)
    return true
  }

  #backAfter(id: number, downMs: number): void {
    this.#world.clock.after(downMs, () => {
      this.#repair(id)
      this.#world.startNode(id)
    })
  }

  #cutFor(cuts: readonly (readonly [string, string])[], forMs: number, text: string): void {
    const { network, clock } = this.#world
    this.#world.note(0, text)
    for (const [from, to] of cuts) {
      const key = `${from}>${to}`
      this.#cuts.set(key, (this.#cuts.get(key) ?? 0) + 1)
      network.cut(from, to)
    }
    clock.after(forMs, () => {
      if (this.#over) return
      for (const [from, to] of cuts) {
        const key = `${from}>${to}`
        const left = (this.#cuts.get(key) ?? 1) - 1
        this.#cuts.set(key, left)
        if (left === 0) network.heal(from, to)
      }
    })
  }

  #slow(machine: SimulatedMachine, what: 'networkFactor' | 'diskFactor', factor: number, forMs: number): boolean {
    if (machine[what] !== 1) return false
    this.#world.note(
      machine.id,
      `its ${what === 'diskFactor' ? 'disk' : 'network'} is ${factor} times slower for ${forMs} ms`,
    )
    machine[what] = factor
    this.#world.clock.after(forMs, () => {
      if (!this.#over) machine[what] = 1
    })
    return true
  }
}

function host(node: number): string {
  return `node-${node}`
}
