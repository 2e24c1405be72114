/**
 * Processes and machines that end, stop, sleep, hand over and come back (F12–F15, F31).
 *
 * A crash happens between two effects of a process (a write, a sync, a byte to somebody), not only between two turns of its loop:
 * most protocols are right between turns. A pause is the crash's sly sibling: the process goes on later and believes that no
 * time has passed.
 */
import type { Target } from '../scenario/scenario.ts'
import type { Family, Injection } from './injection.ts'

export type ProcessFault =
  /** The process ends; with `power` the machine does, and what was not synced may be lost or torn. */
  | {
      readonly kind: 'crash'
      readonly atMs: number
      readonly target: Target
      readonly power: boolean
      readonly silent: boolean
      readonly downMs: number
    }
  /** The same, in the place of the process' so-manieth effect from then on: in the middle of a function. */
  | {
      readonly kind: 'crash-at-effect'
      readonly atMs: number
      readonly target: Target
      readonly effects: number
      readonly power: boolean
      readonly downMs: number
    }
  /** All machines lose power; they come back one after the other. */
  | { readonly kind: 'blackout'; readonly atMs: number; readonly downMs: readonly number[] }
  /** It starts again and crashes in the middle of its recovery, as often as there are numbers of effects. */
  | {
      readonly kind: 'crash-in-recovery'
      readonly atMs: number
      readonly target: Target
      readonly power: boolean
      readonly downMs: number
      readonly effects: readonly number[]
    }
  /** All machines lose power, and some of them again while they recover. 0: not this one. */
  | {
      readonly kind: 'blackout-in-recovery'
      readonly atMs: number
      readonly downMs: readonly number[]
      readonly effects: readonly number[]
    }
  /** A shard's leader is told to hand over to this node, whatever state that is in. */
  | { readonly kind: 'transfer'; readonly atMs: number; readonly shard: number; readonly to: number }
  | { readonly kind: 'restart'; readonly atMs: number; readonly target: Target; readonly downMs: number }
  | { readonly kind: 'pause'; readonly atMs: number; readonly target: Target; readonly forMs: number }

export const processFaults: Family<ProcessFault['kind']> = {
  crash: {
    draw: ({ atMs, target, power, downMs, prng }) => ({
      kind: 'crash',
      atMs,
      target,
      power,
      silent: prng.below(3) === 0,
      downMs,
    }),
    inject: (fault, at) => {
      const { id } = at.target(fault.target)
      return at.budget.within(id) && at.crash(id, fault.power, fault.silent, fault.downMs)
    },
  },

  'crash-at-effect': {
    draw: ({ atMs, target, power, downMs, prng }) => ({
      kind: 'crash-at-effect',
      atMs,
      target,
      effects: 1 + prng.below(prng.below(2) === 0 ? 20 : 400),
      power,
      downMs,
    }),
    inject: (fault, at) => {
      const { id, gate, state } = at.target(fault.target)
      if (state === 'down' || !at.budget.within(id)) return false
      gate.crashAt = gate.effects + fault.effects
      gate.onCrashPoint = () => {
        if (!at.over && at.budget.within(id)) at.crash(id, fault.power, false, fault.downMs)
      }
      return true
    },
  },

  blackout: {
    draw: ({ atMs, nodes, prng }) => ({
      kind: 'blackout',
      atMs,
      downMs: Array.from({ length: nodes }, () => prng.below(1500)),
    }),
    inject: (fault, at) => {
      for (const [i, downMs] of fault.downMs.entries()) at.crash(i + 1, true, true, downMs)
      return true
    },
  },

  'crash-in-recovery': {
    draw: ({ atMs, target, power, prng }) => ({
      kind: 'crash-in-recovery',
      atMs,
      target,
      power,
      downMs: prng.below(500),
      effects: Array.from({ length: 1 + prng.below(4) }, () => 1 + prng.below(60)),
    }),
    inject: ({ target, power, downMs, effects }, at) => {
      const { id } = at.target(target)
      if (!at.budget.within(id) || !at.crash(id, power, false, downMs)) return false
      crashOnStart(at, id, power, downMs, effects)
      return true
    },
  },

  'blackout-in-recovery': {
    draw: ({ atMs, nodes, prng }) => ({
      kind: 'blackout-in-recovery',
      atMs,
      downMs: Array.from({ length: nodes }, () => prng.below(1000)),
      effects: Array.from({ length: nodes }, () => (prng.below(2) === 0 ? 0 : 1 + prng.below(60))),
    }),
    inject: (fault, at) => {
      for (const [i, downMs] of fault.downMs.entries()) {
        const effects = fault.effects[i] ?? 0
        if (at.crash(i + 1, true, true, downMs) && effects > 0) crashOnStart(at, i + 1, true, downMs, [effects])
      }
      return true
    },
  },

  transfer: {
    draw: ({ atMs, node, prng }) => ({ kind: 'transfer', atMs, shard: prng.below(16), to: node() }),
    inject: ({ shard, to }, at) => {
      const { shard: number, leader } = at.led(shard)
      return handOver(at, number, leader, to)
    },
  },

  restart: {
    draw: ({ atMs, target, downMs }) => ({ kind: 'restart', atMs, target, downMs }),
    inject: (fault, at) => {
      const { id, state, gate } = at.target(fault.target)
      if (!at.budget.within(id) || state !== 'up' || gate.paused) return false
      at.budget.impair(id)
      // A crash in the middle of it has its own way back.
      at.world.stopNode(id, (stopped) => (stopped ? at.backAfter(id, fault.downMs) : at.budget.repair(id)))
      return true
    },
  },

  pause: {
    draw: ({ atMs, target, forMs, prng }) => ({
      kind: 'pause',
      atMs,
      target,
      // Most are short; one in ten outlasts every timeout, and often the run.
      forMs: prng.below(10) === 0 ? 10_000 + prng.below(180_000) : forMs,
    }),
    inject: (fault, at) => {
      const { id, state, gate } = at.target(fault.target)
      if (!at.budget.within(id) || state !== 'up' || gate.paused) return false
      const { world, budget } = at
      world.note(id, `is paused for ${fault.forMs} ms`)
      budget.impair(id)
      gate.pause()
      world.clock.after(fault.forMs, () => {
        if (gate.paused) world.note(id, 'goes on')
        gate.resume()
        budget.repair(id)
      })
      return true
    },
  },
}

/** The leader of the shard is told to hand over. False: there is none that could, or nothing to do. */
export function handOver({ world }: Injection, shard: number, leader: number, to: number): boolean {
  if (leader === 0 || leader === to) return false
  const { node, gate } = world.machine(leader)
  if (node === null || !gate.isOpen || !node.transferLeadership(shard, to)) return false
  const { gate: heir, state } = world.machine(to)
  world.note(leader, `is told to hand shard ${shard} to node ${to}, which is ${heir.paused ? 'paused' : state}`)
  return true
}

/** The next processes of this machine end after so many effects each, in the middle of what they find. */
function crashOnStart(at: Injection, id: number, power: boolean, downMs: number, effects: readonly number[]): void {
  const [first, ...others] = effects
  if (first === undefined) return
  const { world } = at
  const { process } = world.machine(id)
  const arm = (): void => {
    const { gate } = world.machine(id)
    gate.crashAt = gate.effects + first
    gate.onCrashPoint = () => {
      if (at.over || !at.crash(id, power, false, downMs)) return
      at.count('crash-in-recovery-again')
      crashOnStart(at, id, power, downMs, others)
    }
  }
  world.onStart(id, process + 1, arm)
}
