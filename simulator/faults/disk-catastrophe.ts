/**
 * Damage on more disks than a minority (F26, F27): only in runs that go beyond the budget.
 *
 *     helical    every machine is damaged, no two at the same place          ▒░░   ░▒░   ░░▒
 *     common     a quorum is damaged at the same place                       ▒░░   ▒░░   ░░░
 *
 * With repair from peers the first is curable, since every byte is whole somewhere, and the second never is. As long as there is
 * no repair both ask for the same: whoever needs a damaged place stops and says where it is, shards without a quorum do not
 * answer, and nothing that anybody is told is wrong. Safety is checked as in every run.
 */
import { Prng } from '../../src/stdx/index.ts'
import { Atlas, type FileKind } from '../disk/atlas.ts'
import { CODES_OF_DAMAGE } from '../disk/codes.ts'
import { type DamageShape, damage } from '../disk/damage.ts'
import type { Target } from '../scenario/scenario.ts'
import { DATA } from '../world.ts'
import { begin, mayDamage } from './disk-damage.ts'
import type { Draws, Family, Injection } from './injection.ts'

interface Common {
  readonly atMs: number
  readonly target: Target
  readonly files: FileKind
  readonly pick: number
  /** All that are damaged are killed, and start again after so long: to find out. */
  readonly downMs: number
}

export type CatastropheFault =
  | (Common & { readonly kind: 'helical-damage' })
  | (Common & { readonly kind: 'common-damage' })

const SHAPE: DamageShape = 'noise'

export const catastropheFaults: Family<CatastropheFault['kind']> = {
  'helical-damage': {
    draw: (draws) => ({ kind: 'helical-damage', ...common(draws) }),
    inject: (fault, at) => {
      const ids = at.world.nodes
      return strike(at, fault, ids, (id) => ids.indexOf(id))
    },
  },
  'common-damage': {
    draw: (draws) => ({ kind: 'common-damage', ...common(draws) }),
    inject: (fault, at) => {
      const { nodes } = at.world
      const quorum = Math.floor(nodes.length / 2) + 1
      const first = fault.pick % nodes.length
      const ids = Array.from({ length: quorum }, (_, i) => nodes[(first + i) % nodes.length]!)
      return strike(at, fault, ids, () => 0)
    },
  },
}

function common({ atMs, target, downMs, prng }: Draws): Common {
  const files = (['shard-log', 'shard-log', 'journal', 'checkpoint'] as const)[prng.below(4)]!
  return { atMs, target, files, pick: prng.uint32(), downMs }
}

/** Each at one place of its own or the same: `turn` is where on the helix it is. */
function strike(at: Injection, fault: CatastropheFault, ids: readonly number[], turn: (id: number) => number): boolean {
  if (at.world.scenario.beyond !== true || !ids.every((id) => mayDamage(at, id))) return false
  const prng = new Prng(fault.pick)
  const start = prng.below(1 << 20)
  let struck = 0
  for (const id of ids) {
    const machine = at.world.machine(id)
    const regions = new Atlas(machine.disk.platter, DATA).detectable(fault.files)
    if (regions.length === 0) continue
    const region = regions[(start + turn(id)) % regions.length]!
    const done = damage(machine.disk.platter, [region], SHAPE, fault.pick)
    if (done === null) continue
    struck++
    const what = `${done.path} rots at bytes ${done.from} to ${done.to - 1}`
    begin(at, machine, { fault: fault.kind, codes: CODES_OF_DAMAGE[fault.files] }, what)
    at.crash(id, false, false, fault.downMs)
  }
  return struck > 0
}
