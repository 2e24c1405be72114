/**
 * Clocks that show something else (F16). Nothing of the budget: order within a cluster must not depend on what they show.
 *
 * The wall clock may say anything: it labels records. The monotonic one decides how long a lease lasts, and two of them need
 * not agree on the length of a second; 5 % apart is what the product promises to bear (quartz is a thousand times better).
 */
import type { Target } from '../scenario/scenario.ts'
import type { Family, Injection } from './injection.ts'

export type ClockFault =
  | { readonly kind: 'wall-jump'; readonly atMs: number; readonly target: Target; readonly byMs: number }
  /** To and fro, so many times. */
  | {
      readonly kind: 'wall-strobe'
      readonly atMs: number
      readonly target: Target
      readonly byMs: number
      readonly everyMs: number
      readonly times: number
    }
  /** Milliseconds of the machine in a second of the world. */
  | {
      readonly kind: 'clock-rate'
      readonly atMs: number
      readonly target: Target
      readonly permille: number
      readonly forMs: number
    }
  /** The same, out of the bounds in which leases are promised to hold. */
  | {
      readonly kind: 'clock-rate-beyond'
      readonly atMs: number
      readonly target: Target
      readonly permille: number
      readonly forMs: number
    }

const YEAR_S = 365 * 24 * 3600

export const clockFaults: Family<ClockFault['kind']> = {
  'wall-jump': {
    draw: ({ atMs, target, prng }) => ({
      kind: 'wall-jump',
      atMs,
      target,
      byMs: (prng.below(2) === 0 ? -1000 : 1000) * prng.below([10, 3600, YEAR_S, 20 * YEAR_S][prng.below(4)]!),
    }),
    inject: ({ target, byMs }, at) => {
      const { id, state, clock } = at.target(target)
      if (state === 'down') return false
      at.world.note(id, `its wall clock jumps by ${Math.round(byMs / 1000)} s`)
      clock.wallOffsetMs += byMs
      return true
    },
  },

  'wall-strobe': {
    draw: ({ atMs, target, prng }) => ({
      kind: 'wall-strobe',
      atMs,
      target,
      byMs: 1 + prng.below(1000) * (prng.below(2) === 0 ? 1 : YEAR_S),
      everyMs: 20 + prng.below(200),
      times: 4 + prng.below(30),
    }),
    inject: ({ target, byMs, everyMs, times }, at) => {
      const { id, state, clock } = at.target(target)
      if (state === 'down') return false
      at.world.note(id, `its wall clock goes to and fro by ${Math.round(byMs / 1000)} s, ${times} times`)
      const flip = (left: number, by: number): void => {
        clock.wallOffsetMs += by
        if (left > 1) at.after(everyMs, () => flip(left - 1, -by))
      }
      flip(times, byMs)
      return true
    },
  },

  'clock-rate': {
    draw: ({ atMs, target, prng }) => ({
      kind: 'clock-rate',
      atMs,
      target,
      permille: 950 + prng.below(101),
      forMs: 1000 + prng.below(30_000),
    }),
    inject: (fault, at) => runAt(fault, at),
  },

  'clock-rate-beyond': {
    draw: ({ atMs, target, prng }) => ({
      kind: 'clock-rate-beyond',
      atMs,
      target,
      permille: prng.below(2) === 0 ? 300 + prng.below(500) : 1200 + prng.below(1800),
      forMs: 1000 + prng.below(30_000),
    }),
    inject: (fault, at) => runAt(fault, at),
  },
}

function runAt(
  { target, permille, forMs }: { readonly target: Target; readonly permille: number; readonly forMs: number },
  at: Injection,
): boolean {
  const { id, state, clock } = at.target(target)
  if (state === 'down' || clock.ratePermille !== 1000) return false
  at.world.note(id, `its clock runs at ${permille / 10} % for ${forMs} ms`)
  clock.ratePermille = permille
  at.lasting(forMs, () => {
    clock.ratePermille = 1000
  })
  return true
}
