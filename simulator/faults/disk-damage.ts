/**
 * Disks that lose or change what was given to them (F22–F25, F28).
 *
 * Most of it is curable: the node stays up, or starts, gets back what it lost from its peers or from a copy, has no vote where it
 * cannot know what it promised, and is whole in the end. In no case does it serve or replicate a wrong byte. A disk that was replaced
 * is lost: the node is turned away, loudly, and the rest of the cluster goes on without it. Either way the machine counts against the
 * budget from then on, for ever: a second one that lost the same would leave nobody to get it from.
 *
 * Only what a node can notice is done here. The last block of a journal, an earlier copy of a whole disk, a sync that was a lie when
 * the power goes: these leave a directory that is whole and too old, whose node forgets what it acknowledged and for whom it
 * voted. No vote of the others can tell, and two such disks of three, or one and a crash, lose what was on a quorum
 * (atlas.ts says why). They wait for disks whose incarnation changes with their history.
 */
import type { DiskCall, DiskTrouble, Platter } from '../../src/platform/memory/index.ts'
import { Prng } from '../../src/stdx/index.ts'
import { Atlas, type FileKind, kindOf } from '../disk/atlas.ts'
import { CODES_OF_DAMAGE, CODES_OF_STALE_FILES, CODES_OF_WIPED_DISKS, CODES_WITHOUT_PEERS } from '../disk/codes.ts'
import { DAMAGE_SHAPES, type DamageShape, damage } from '../disk/damage.ts'
import type { AilmentOptions } from '../disk/troubles.ts'
import type { SimulatedMachine } from '../machine.ts'
import type { Target } from '../scenario/scenario.ts'
import { DATA } from '../world.ts'
import type { Draws, Family, Injection } from './injection.ts'

export interface Common {
  readonly atMs: number
  readonly target: Target
  /** Chooses among what there is when the time comes. */
  readonly pick: number
  /** Its process is killed then and started again after so long; null: it is left to find out. */
  readonly downMs: number | null
}

export type DamageFault =
  /** A place of a file is no longer what was written: see damage.ts. */
  | (Common & { readonly kind: 'bit-rot'; readonly files: FileKind; readonly shape: DamageShape })
  /** A file is shorter than it was, or something stands behind its end. */
  | (Common & { readonly kind: 'wrong-length'; readonly files: FileKind; readonly longer: boolean })
  /** The device said yes to one write and did nothing, or did it elsewhere in the file. */
  | (Common & { readonly kind: 'lost-write'; readonly files: FileKind })
  | (Common & { readonly kind: 'misdirected-write'; readonly files: FileKind })
  | (Common & { readonly kind: 'missing-file'; readonly files: FileKind })
  | (Common & { readonly kind: 'missing-directory' })
  /** A file is again what it was so long ago. */
  | (Common & { readonly kind: 'stale-file'; readonly files: FileKind; readonly ageMs: number })
  /** An empty disk in the place of the old one. */
  | (Common & { readonly kind: 'wiped-disk' })

const SECTOR_BYTES = 512
const OWN_TOPICS_REPLICAS_MAX = 3

export const damageFaults: Family<DamageFault['kind']> = {
  'bit-rot': {
    draw: (draws) => {
      const shape = DAMAGE_SHAPES[draws.prng.below(DAMAGE_SHAPES.length)]!
      return { kind: 'bit-rot', ...common(draws), files: anyKind(draws.prng), shape }
    },
    inject: (fault, at) => {
      const { kind, files, shape, pick } = fault
      return spoil(at, fault, { fault: kind, codes: CODES_OF_DAMAGE[files] }, (platter) => {
        const done = damage(platter, new Atlas(platter, DATA).detectable(files), shape, pick)
        return done === null ? null : `${done.path} rots (${shape}) at bytes ${done.from} to ${done.to - 1}`
      })
    },
  },

  'wrong-length': {
    draw: (draws) => {
      const longer = draws.prng.below(2) === 0
      return { kind: 'wrong-length', ...common(draws), files: anyKind(draws.prng), longer }
    },
    inject: (fault, at) => {
      const { kind, files, longer, pick } = fault
      return spoil(at, fault, { fault: kind, codes: CODES_OF_DAMAGE[files] }, (platter) => {
        const prng = new Prng(pick)
        const file = oneOf(new Atlas(platter, DATA).missable(files), prng)
        if (file === null || file.bytes === 0) return null
        if (!longer) {
          const left = prng.below(file.bytes)
          platter.resize(file.path, left)
          return `${file.path} is cut to ${left} of ${file.bytes} bytes`
        }
        const tail = prng.bytes(1 + prng.below(3 * SECTOR_BYTES))
        platter.resize(file.path, file.bytes + tail.length)
        platter.overwrite(file.path, file.bytes, tail)
        return `${tail.length} bytes of something stand behind the end of ${file.path}`
      })
    },
  },

  'lost-write': {
    draw: (draws) => ({ kind: 'lost-write', ...common(draws), files: writtenKind(draws.prng) }),
    inject: (fault, at) =>
      miswrite(at, fault, `the next write to its ${fault.files} is lost`, () => ({ kind: 'lose' })),
  },

  'misdirected-write': {
    draw: (draws) => ({ kind: 'misdirected-write', ...common(draws), files: writtenKind(draws.prng) }),
    inject: (fault, at) =>
      miswrite(at, fault, `the next write to its ${fault.files} goes elsewhere`, ({ position }) => {
        const sectors = 1 + (fault.pick % 64)
        const away = sectors * SECTOR_BYTES
        return { kind: 'misdirect', position: position >= away ? position - away : position + away }
      }),
  },

  'missing-file': {
    draw: (draws) => ({ kind: 'missing-file', ...common(draws), files: anyKind(draws.prng) }),
    inject: (fault, at) => {
      const { kind, files, pick } = fault
      return spoil(at, fault, { fault: kind, codes: CODES_OF_DAMAGE[files] }, (platter) => {
        const file = oneOf(new Atlas(platter, DATA).removable(files), new Prng(pick))
        if (file === null) return null
        platter.remove(file.path)
        return `${file.path} is gone`
      })
    },
  },

  'missing-directory': {
    draw: (draws) => ({ kind: 'missing-directory', ...common(draws) }),
    inject: (fault, at) => {
      const kind = fault.pick % 3 === 0 ? 'journal' : 'shard-log'
      return spoil(at, fault, { fault: fault.kind, codes: CODES_OF_DAMAGE[kind] }, (platter) => {
        const path = oneOf(new Atlas(platter, DATA).folders(kind), new Prng(fault.pick))
        if (path === null) return null
        platter.remove(path)
        return `${path} is gone with all that was in it`
      })
    },
  },

  'stale-file': {
    draw: (draws) => {
      const ageMs = 500 + draws.prng.below(8000)
      return { kind: 'stale-file', ...common(draws), files: anyKind(draws.prng), ageMs }
    },
    inject: (fault, at) => {
      const { kind, files, ageMs, pick } = fault
      const machine = victim(at, fault.target)
      const old = machine.disk.platter.copy()
      at.after(ageMs, () => {
        spoil(
          at,
          { ...fault, target: machine.id },
          { fault: kind, codes: CODES_OF_STALE_FILES[files] },
          (platter, id) => {
            // Another machine has become the only one that may be damaged.
            if (id !== machine.id) return null
            const changed = new Atlas(platter, DATA)
              .missable(files)
              .filter(({ path }) => old.has(path) && !old.read(path).equals(platter.read(path)))
            const file = oneOf(changed, new Prng(pick))
            if (file === null) return null
            platter.put(file.path, old.read(file.path))
            return `${file.path} is what it was ${ageMs} ms ago`
          },
        )
      })
      return true
    },
  },

  'wiped-disk': {
    draw: (draws) => ({ kind: 'wiped-disk', ...common(draws) }),
    inject: ({ kind, target, downMs }, at) =>
      replaceDisk(at, target, { fault: kind, codes: CODES_OF_WIPED_DISKS }, () => downMs ?? 0),
  },
}

export function common({ atMs, target, downMs, prng }: Draws): Common {
  return { atMs, target, pick: prng.uint32(), downMs: prng.below(3) === 0 ? null : downMs }
}

function anyKind(prng: Prng): FileKind {
  return (['journal', 'journal', 'shard-log', 'shard-log', 'shard-index', 'checkpoint', 'identity'] as const)[
    prng.below(7)
  ]!
}

/** What the journal's device does to its last block, nobody can notice. */
function writtenKind(prng: Prng): FileKind {
  return (['shard-log', 'shard-log', 'shard-index'] as const)[prng.below(3)]!
}

function oneOf<T>(from: readonly T[], prng: Prng): T | null {
  return from.length === 0 ? null : from[prng.below(from.length)]!
}

/** The one that was meant, or, when there is no room for another impaired machine, the one that is impaired already. */
function victim(at: Injection, target: Target): SimulatedMachine {
  const machine = at.target(target)
  if (at.budget.within(machine.id)) return machine
  const [impaired] = [...at.budget.damaged, ...at.budget.impaired]
  return impaired === undefined ? machine : at.world.machine(impaired)
}

/** For ever, and no replica set may have more than a minority of such machines, unless the run is to go beyond that. */
export function mayDamage(at: Injection, id: number): boolean {
  const { budget, world } = at
  const most = world.scenario.beyond === true ? world.nodes.length : minorityOf(at)
  return budget.within(id) && (budget.damaged.has(id) || budget.damaged.size < most)
}

/** Of the smallest replica sets: topics have as many replicas as the scenario says, the product's own topics three at most. */
function minorityOf({ world }: Injection): number {
  return Math.floor((Math.min(world.scenario.replication, OWN_TOPICS_REPLICAS_MAX) - 1) / 2)
}

export function begin(at: Injection, machine: SimulatedMachine, options: AilmentOptions, what: string): void {
  at.budget.damage(machine.id)
  const damage = options.codes.size === 0 ? 'curable' : 'lost'
  const isAlone = at.world.nodes.length === 1
  const codes = isAlone ? new Set([...options.codes, ...CODES_WITHOUT_PEERS]) : options.codes
  at.ailments.begin(machine, { ...options, codes, damage })
  at.world.note(machine.id, what)
}

/** Changes what lies there; the answer of `change` is told, null is nothing done. */
export function spoil(
  at: Injection,
  fault: Pick<Common, 'target' | 'downMs'>,
  options: AilmentOptions,
  change: (platter: Platter, machine: number) => string | null,
): boolean {
  const machine = victim(at, fault.target)
  const { id } = machine
  if (!mayDamage(at, id)) return false
  const what = change(machine.disk.platter, id)
  if (what === null) return false
  begin(at, machine, options, what)
  if (fault.downMs !== null) at.crash(id, false, false, fault.downMs)
  return true
}

/** An empty disk in the place of the old one, from the machine's next start on. */
export function replaceDisk(
  at: Injection,
  target: Target,
  options: AilmentOptions,
  downMs: (id: number) => number,
): boolean {
  const machine = victim(at, target)
  const { id } = machine
  // Never more: a quorum of empty disks is a new cluster, and nobody is left who could know better.
  if (!mayDamage(at, id) || at.budget.damaged.size >= minorityOf(at)) return false
  if (!isKnownToOthers(at, machine)) return false
  begin(at, machine, options, 'its disk is replaced by an empty one')
  at.crash(id, true, false, downMs(id))
  at.world.wipe(id)
  return true
}

/**
 * Every other sound disk holds the metadata's word on whose directory this is. As long as one does not, its node takes an empty
 * disk for a first start, and no log of its own tells it better.
 */
function isKnownToOthers({ world, budget }: Injection, { id, disk }: SimulatedMachine): boolean {
  const identity = new Atlas(disk.platter, DATA).diskIncarnation()
  if (identity === null) return false
  const others = world.machines.filter((other) => other.id !== id && !budget.damaged.has(other.id))
  return others.every((other) => new Atlas(other.disk.platter, DATA).mentions(Buffer.from(identity, 'latin1')))
}

/** From the next write to such a file on; whether there is one shows later. */
function miswrite(
  at: Injection,
  fault: DamageFault & { readonly files: FileKind },
  what: string,
  trouble: (call: DiskCall) => DiskTrouble,
): boolean {
  const machine = victim(at, fault.target)
  if (!mayDamage(at, machine.id)) return false
  let done = false
  const troubleWith = (call: DiskCall): DiskTrouble | null => {
    if (done || call.operation !== 'write' || call.bytes === 0 || kindOf(call.path) !== fault.files) return null
    done = true
    return trouble(call)
  }
  begin(at, machine, { fault: fault.kind, codes: CODES_OF_DAMAGE[fault.files], troubleWith }, what)
  return true
}
