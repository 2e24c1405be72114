/**
 * Damage that is aimed: at the one place, or the one moment, at which a node that is not careful would go wrong.
 *
 *     journal-rot         a proved block of the journal's last file, where a careless start would cut (T9)
 *     forged-entry        an entry that passes all sums and does not precede its successor (T20)
 *     wiped-in-blackout   an empty disk among machines that all start, and elect their leaders, at the same time (T11)
 *
 * By chance alone each would come about once in some hundred seeds. What is asked is what is asked of all damage that lasts
 * (disk-damage.ts): the machine is refused, loudly, or takes no harm; and it counts as impaired for ever.
 */
import { Atlas } from '../disk/atlas.ts'
import { CODES_OF_DAMAGE, CODES_OF_WIPED_DISKS } from '../disk/codes.ts'
import { DAMAGE_SHAPES, type DamageShape, damage } from '../disk/damage.ts'
import { forgeEntry } from '../disk/forgery.ts'
import { DATA } from '../world.ts'
import { type Common, common, replaceDisk, spoil } from './disk-damage.ts'
import type { Family } from './injection.ts'

export type AimedFault =
  | (Common & { readonly kind: 'journal-rot'; readonly shape: DamageShape; readonly downMs: number })
  | (Common & { readonly kind: 'forged-entry'; readonly downMs: number })
  /** `downMs` by machine: all of them lose power at once. */
  | (Omit<Common, 'downMs'> & { readonly kind: 'wiped-in-blackout'; readonly downMs: readonly number[] })

export const aimedFaults: Family<AimedFault['kind']> = {
  'journal-rot': {
    draw: (draws) => {
      const shape = DAMAGE_SHAPES[draws.prng.below(DAMAGE_SHAPES.length)]!
      // What is damaged in a journal shows at the next start.
      return { kind: 'journal-rot', ...common(draws), shape, downMs: draws.downMs }
    },
    inject: (fault, at) => {
      const { kind, shape, pick } = fault
      return spoil(at, fault, { fault: kind, codes: CODES_OF_DAMAGE.journal }, (platter) => {
        const done = damage(platter, new Atlas(platter, DATA).provedAtTheEnd(), shape, pick)
        return done === null ? null : `${done.path} rots (${shape}) at bytes ${done.from} to ${done.to - 1}`
      })
    },
  },

  'forged-entry': {
    draw: (draws) => ({ kind: 'forged-entry', ...common(draws), downMs: draws.downMs }),
    inject: (fault, at) => {
      const { kind, pick } = fault
      return spoil(at, fault, { fault: kind, codes: CODES_OF_DAMAGE.journal }, (platter) => {
        const forged = forgeEntry(platter, DATA, pick)
        if (forged === null) return null
        const { path, position, shard, index } = forged
        return `entry ${index} of shard ${shard}, at byte ${position} of ${path}, is another one, with a good sum`
      })
    },
  },

  'wiped-in-blackout': {
    draw: (draws) => ({
      kind: 'wiped-in-blackout',
      ...common(draws),
      downMs: Array.from({ length: draws.nodes }, () => draws.prng.below(300)),
    }),
    inject: ({ kind, target, downMs }, at) => {
      if (!replaceDisk(at, target, { fault: kind, codes: CODES_OF_WIPED_DISKS }, (id) => downMs[id - 1] ?? 0))
        return false
      for (const [i, ms] of downMs.entries()) at.crash(i + 1, true, true, ms)
      return true
    },
  },
}
