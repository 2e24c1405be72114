/**
 * Damage done to bytes at rest, as data: what, where, and how it looks afterwards (F22–F25).
 *
 *     flip        one bit                                    a cell that leaks, a bit lost in memory on the way
 *     zero        a range of zeros                           a sector that was given back, a file system's repair
 *     noise       a range of other bytes                     a sector beyond repair that was remapped
 *     elsewhere   what lies elsewhere in the same file       a misdirected write: whole, with a good sum, at the wrong place
 *
 * `pick` is a number without meaning that chooses among what there is when the time comes; a scenario can name damage long before
 * there are files.
 */
import type { Platter } from '../../src/platform/memory/index.ts'
import { Prng } from '../../src/stdx/index.ts'
import type { Region } from './atlas.ts'

export type DamageShape = 'flip' | 'zero' | 'noise' | 'elsewhere'

export const DAMAGE_SHAPES: readonly DamageShape[] = ['flip', 'zero', 'noise', 'elsewhere']

const SECTOR_BYTES = 512

export interface Damaged {
  readonly path: string
  readonly from: number
  readonly to: number
}

/** Null: there is nothing to damage, or what was to be written there is what stood there. */
export function damage(platter: Platter, regions: readonly Region[], shape: DamageShape, pick: number): Damaged | null {
  if (regions.length === 0) return null
  const prng = new Prng(pick)
  const { path, from, to } = regions[prng.below(regions.length)]!
  const at = from + prng.below(to - from)
  // At most four sectors, and never beyond the region: what lies behind it may be what must not be touched.
  const length = shape === 'flip' ? 1 : Math.min(to - at, 1 + prng.below(4 * SECTOR_BYTES))
  const before = platter.read(path, at, length)
  const after = spoiled(platter, path, at, before, shape, prng)
  if (after.equals(before)) return null
  platter.overwrite(path, at, after)
  return { path, from: at, to: at + length }
}

function spoiled(platter: Platter, path: string, at: number, before: Buffer, shape: DamageShape, prng: Prng): Buffer {
  switch (shape) {
    case 'flip': {
      const after = Buffer.from(before)
      after[0] = after[0]! ^ (1 << prng.below(8))
      return after
    }
    case 'zero':
      return Buffer.alloc(before.length)
    case 'noise':
      return prng.bytes(before.length)
    case 'elsewhere': {
      const whole = platter.read(path)
      const sectors = Math.max(1, Math.floor(whole.length / SECTOR_BYTES))
      const source =
        (prng.below(sectors) * SECTOR_BYTES + (at % SECTOR_BYTES)) % Math.max(1, whole.length - before.length)
      return Buffer.from(whole.subarray(source, source + before.length))
    }
  }
}
