/**
 * Disks that misbehave for a while (F17–F21): slow, stuck, full, failing, or saying yes to syncs that they do not do.
 *
 * What all of them demand: the node stops with an error that fits, or goes on and is right; when the fault has passed it comes back.
 * A machine counts as impaired meanwhile, since any call may end its node. A slow disk ends nothing and costs nothing of the budget.
 */
import type { DiskCall, DiskOperation, DiskTrouble } from '../../src/platform/memory/index.ts'
import { type FileKind, kindOf } from '../disk/atlas.ts'
import { CODES_OF_FAILED_CALLS, CODES_OF_FULL_DISKS, CODES_OF_MISREAD } from '../disk/codes.ts'
import type { Ailment, AilmentOptions } from '../disk/troubles.ts'
import type { SimulatedMachine } from '../machine.ts'
import type { Target } from '../scenario/scenario.ts'
import { type AimedFault, aimedFaults } from './disk-aimed.ts'
import { type CatastropheFault, catastropheFaults } from './disk-catastrophe.ts'
import { type DamageFault, damageFaults } from './disk-damage.ts'
import type { Family, Injection } from './injection.ts'

export type PassingDiskFault =
  | {
      readonly kind: 'slow-disk'
      readonly atMs: number
      readonly target: Target
      readonly factor: number
      readonly forMs: number
    }
  /** One sync fails and the page cache lies about it afterwards; the node must stop at once, and its machine may lose power then. */
  | {
      readonly kind: 'sync-error'
      readonly atMs: number
      readonly target: Target
      readonly power: boolean
      readonly downMs: number
    }
  /** One operation does not come back: for a while, or, without `forMs`, until its process is killed. */
  | {
      readonly kind: 'stuck-disk'
      readonly atMs: number
      readonly target: Target
      readonly operation: DiskOperation
      readonly forMs: number | null
      /** Of the journal only, whose node must give way. */
      readonly journal?: boolean
    }
  /** EIO: once, or for as long as it lasts, across restarts. */
  | {
      readonly kind: 'io-error'
      readonly atMs: number
      readonly target: Target
      readonly operation: DiskOperation
      readonly sticky: boolean
      readonly forMs: number
    }
  /** So many more bytes are taken, in the middle of whatever write comes to them, and no more until there is room again. */
  | {
      readonly kind: 'disk-full'
      readonly atMs: number
      readonly target: Target
      readonly roomBytes: number
      readonly forMs: number
    }
  /** Others fill the disk up to so much of what its node keeps in reserve, and go away again. It must not stop for that. */
  | {
      readonly kind: 'disk-low'
      readonly atMs: number
      readonly target: Target
      readonly leftPercent: number
      readonly forMs: number
    }
  /** One write ends in the middle. */
  | {
      readonly kind: 'short-write'
      readonly atMs: number
      readonly target: Target
      readonly bytes: number
      readonly errno: string
    }
  /** One read of a file of this kind brings one bit wrong. What lies on the disk is right. */
  | {
      readonly kind: 'misread'
      readonly atMs: number
      readonly target: Target
      readonly files: FileKind
      readonly at: number
      readonly downMs: number
    }
  /** Syncs say yes and make nothing durable. Its machine does not lose power meanwhile; its processes may die. */
  | { readonly kind: 'lying-sync'; readonly atMs: number; readonly target: Target; readonly forMs: number }

export type DiskFault = PassingDiskFault | DamageFault | AimedFault | CatastropheFault

/** A node need not do the operation at all; its disk is well again then. */
const WAITS_MS = 5000
const STUCK_MS = 10_000
/** A smaller one is full already. */
const WHOLE_DISK_BYTES = 2 ** 40
/** Of a node that was told nothing else, on a whole disk. */
const DEFAULT_RESERVE_BYTES = 256 << 20

const passingFaults: Family<PassingDiskFault['kind']> = {
  'slow-disk': {
    draw: ({ atMs, target, forMs, prng }) => ({ kind: 'slow-disk', atMs, target, factor: 2 + prng.below(200), forMs }),
    inject: ({ target, factor, forMs }, at) => {
      const machine = at.target(target)
      if (machine.state === 'down' || machine.diskFactor !== 1) return false
      at.world.note(machine.id, `its disk is ${factor} times slower for ${forMs} ms`)
      machine.diskFactor = factor
      at.after(forMs, () => {
        machine.diskFactor = 1
      })
      return true
    },
  },

  'sync-error': {
    draw: ({ atMs, target, power, downMs }) => ({ kind: 'sync-error', atMs, target, power, downMs }),
    inject: (fault, at) => {
      const machine = at.target(fault.target)
      const { power, downMs } = fault
      const { id, gate } = machine
      let failed = false
      const troubleWith = ({ operation }: DiskCall): DiskTrouble | null => {
        if (operation !== 'datasync' || failed) return null
        failed = true
        return { kind: 'fail', errno: 'EIO' }
      }
      const options = { fault: fault.kind, codes: CODES_OF_FAILED_CALLS, troubleWith, afterStop: { power, downMs } }
      return ail(at, machine, options, WAITS_MS, 'the next sync of its disk fails', () => {
        // A sync that its node can do without: what that means shows when the power goes.
        if (failed && machine.gate === gate) at.crash(id, power, false, downMs)
      })
    },
  },

  'stuck-disk': {
    draw: ({ atMs, target, prng }) => {
      const operation = (['write', 'datasync', 'datasync', 'read', 'rename', 'syncDirectory'] as const)[prng.below(6)]!
      const forMs = prng.below(3) === 0 ? null : prng.below(2) === 0 ? STUCK_MS : 100 + prng.below(3000)
      return { kind: 'stuck-disk', atMs, target, operation, forMs, journal: prng.below(2) === 0 }
    },
    inject: (fault, at) => {
      const machine = at.target(fault.target)
      const { id, gate } = machine
      let held = false
      const troubleWith = ({ operation, path }: DiskCall): DiskTrouble | null => {
        if (operation !== fault.operation || held) return null
        if (fault.journal === true && kindOf(path) !== 'journal') return null
        held = true
        return { kind: 'hold' }
      }
      const until = fault.forMs === null ? 'until its process dies' : `for ${fault.forMs} ms`
      const what = `the next ${fault.operation} of its ${fault.journal === true ? 'journal' : 'disk'} is stuck ${until}`
      const options = { fault: fault.kind, codes: NOTHING, troubleWith }
      return ail(at, machine, options, fault.forMs ?? WAITS_MS, what, () => {
        if (fault.forMs === null && held && !at.over && machine.gate === gate) at.crash(id, false, false, 0)
        machine.disk.release()
      })
    },
  },

  'io-error': {
    draw: ({ atMs, target, forMs, prng }) => {
      const operation = (['read', 'write', 'open', 'rename', 'truncate'] as const)[prng.below(5)]!
      return { kind: 'io-error', atMs, target, operation, sticky: prng.below(2) === 0, forMs }
    },
    inject: (fault, at) => {
      const machine = at.target(fault.target)
      let failed = false
      const troubleWith = ({ operation }: DiskCall): DiskTrouble | null => {
        if (operation !== fault.operation || (failed && !fault.sticky)) return null
        failed = true
        return { kind: 'fail', errno: 'EIO' }
      }
      const how = fault.sticky ? `fails for ${fault.forMs} ms` : 'fails once'
      const options = { fault: fault.kind, codes: CODES_OF_FAILED_CALLS, troubleWith }
      return ail(at, machine, options, fault.sticky ? fault.forMs : WAITS_MS, `its disk: ${fault.operation} ${how}`)
    },
  },

  'disk-full': {
    draw: ({ atMs, target, forMs, prng }) => ({
      kind: 'disk-full',
      atMs,
      target,
      roomBytes: prng.below(2) === 0 ? 0 : prng.below(256 << 10),
      forMs,
    }),
    inject: ({ kind, target, roomBytes, forMs }, at) => {
      const machine = at.target(target)
      const whole = machine.disk.capacityBytes
      if (whole < WHOLE_DISK_BYTES) return false
      const options = { fault: kind, codes: CODES_OF_FULL_DISKS }
      const begun = ail(at, machine, options, forMs, `its disk takes ${roomBytes} more bytes for ${forMs} ms`, () => {
        machine.disk.capacityBytes = whole
      })
      if (begun) machine.disk.capacityBytes = machine.disk.usedBytes + roomBytes
      return begun
    },
  },

  'disk-low': {
    draw: ({ atMs, target, forMs, prng }) => ({
      kind: 'disk-low',
      atMs,
      target,
      leftPercent: 50 + prng.below(45),
      forMs: 1000 + 2 * forMs,
    }),
    inject: ({ kind, target, leftPercent, forMs }, at) => {
      const machine = at.target(target)
      const whole = machine.disk.capacityBytes
      if (whole < WHOLE_DISK_BYTES) return false
      const reserveBytes = at.world.scenario.diskReserveBytes ?? DEFAULT_RESERVE_BYTES
      const roomBytes = Math.floor((reserveBytes * leftPercent) / 100)
      const what = `its disk has ${leftPercent} % of its reserve left, for ${forMs} ms`
      const begun = ail(at, machine, { fault: kind, codes: NOTHING }, forMs, what, () => {
        machine.disk.capacityBytes = whole
      })
      if (begun) machine.disk.capacityBytes = machine.disk.usedBytes + roomBytes
      return begun
    },
  },

  'short-write': {
    draw: ({ atMs, target, prng }) => ({
      kind: 'short-write',
      atMs,
      target,
      bytes: prng.below(2) === 0 ? prng.below(100) : prng.below(8192),
      errno: prng.below(2) === 0 ? 'ENOSPC' : 'EIO',
    }),
    inject: ({ kind, target, bytes, errno }, at) => {
      const machine = at.target(target)
      let cut = false
      const troubleWith = (call: DiskCall): DiskTrouble | null => {
        if (call.operation !== 'write' || call.bytes <= bytes || cut) return null
        cut = true
        return { kind: 'short', bytes, errno }
      }
      const codes = errno === 'ENOSPC' ? CODES_OF_FULL_DISKS : CODES_OF_FAILED_CALLS
      const options = { fault: kind, codes, troubleWith }
      return ail(at, machine, options, WAITS_MS, `the next write of its disk ends after ${bytes} bytes (${errno})`)
    },
  },

  misread: {
    draw: ({ atMs, target, downMs, prng }) => {
      // Not the journal: one bit wrong in its last block reads as a torn one, and is cut (see atlas.ts).
      const files = (['shard-log', 'shard-log', 'shard-index', 'checkpoint', 'identity'] as const)[prng.below(5)]!
      return { kind: 'misread', atMs, target, files, at: prng.below(1 << 20), downMs }
    },
    inject: ({ kind, target, files, at: where, downMs }, at) => {
      const machine = at.target(target)
      let flipped = false
      const troubleWith = ({ operation, path, bytes }: DiskCall): DiskTrouble | null => {
        if (operation !== 'read' || flipped || bytes === 0 || kindOf(path) !== files) return null
        flipped = true
        return { kind: 'flip', at: where, bit: where % 8 }
      }
      const options = { fault: kind, codes: CODES_OF_MISREAD, troubleWith }
      const begun = ail(at, machine, options, WAITS_MS, `the next read of its ${files} brings one bit wrong`)
      // Small files are read at starts only.
      if (begun && (files === 'checkpoint' || files === 'identity')) at.crash(machine.id, false, false, downMs)
      return begun
    },
  },

  'lying-sync': {
    draw: ({ atMs, target, forMs }) => ({ kind: 'lying-sync', atMs, target, forMs }),
    inject: ({ kind, target, forMs }, at) => {
      const machine = at.target(target)
      const troubleWith = ({ operation }: DiskCall): DiskTrouble | null =>
        operation === 'datasync' || operation === 'syncDirectory' ? { kind: 'lie' } : null
      const options = { fault: kind, codes: NOTHING, troubleWith, lies: true }
      return ail(at, machine, options, forMs, `its disk says yes to syncs and does not do them, for ${forMs} ms`, () =>
        machine.disk.drain(),
      )
    },
  },
}

const NOTHING: ReadonlySet<string> = new Set()

export const diskFaults: Family<DiskFault['kind']> = {
  ...passingFaults,
  ...damageFaults,
  ...aimedFaults,
  ...catastropheFaults,
}

/** Begins it if the budget allows, and ends it when its time is over or all heals. `ended` runs before the machine counts as well. */
function ail(
  at: Injection,
  machine: SimulatedMachine,
  options: AilmentOptions,
  forMs: number,
  what: string,
  ended: () => void = () => {},
): boolean {
  const { id, state, gate, troubles } = machine
  if (!at.budget.within(id) || state === 'down' || gate.paused) return false
  at.budget.impair(id)
  at.world.note(id, what)
  const ailment: Ailment = at.ailments.begin(machine, options)
  const end = (): void => {
    if (!at.healers.delete(end)) return
    ended()
    troubles.end(ailment)
    at.budget.repair(id)
  }
  at.healers.add(end)
  at.world.clock.after(forMs, end)
  return true
}
