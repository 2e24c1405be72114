/**
 * When which fault happens.
 *
 * They start after the cluster has had a moment to form, and come in bursts: what breaks clusters is the second fault, while the
 * first is still being dealt with. A seed draws a subset of the kinds (swarm testing, Groce et al., ISSTA '12): a run in
 * which everything happens is a run in which nothing happens for long, and kinds mask each other.
 *
 * Damage that lasts comes late, since a damaged machine is out of the budget for ever.
 */
import type { Prng } from '../../src/stdx/index.ts'
import { FAULTS } from '../faults/catalogue.ts'
import type { Fault, FaultKind, Profile, Target } from './scenario.ts'

type Weights = Readonly<Partial<Record<FaultKind, number>>>

const CRASHES: Weights = {
  crash: 3,
  'crash-at-effect': 3,
  'crash-in-recovery': 2,
  blackout: 1,
  'blackout-in-recovery': 1,
  restart: 2,
  transfer: 3,
}

const PAUSES: Weights = { pause: 3, transfer: 1 }

const NETWORK: Weights = {
  isolate: 3,
  cut: 3,
  partition: 3,
  'cut-clients': 1,
  swizzle: 1,
  'slow-network': 1,
  'lossy-network': 2,
  'narrow-network': 1,
  reset: 2,
  'half-open': 2,
  'reset-in-frame': 2,
  'bit-flips': 2,
  'slow-reader': 1,
  disorder: 3,
  replay: 2,
}

const DISKS: Weights = {
  'slow-disk': 2,
  'stuck-disk': 1,
  'sync-error': 1,
  'io-error': 1,
  'disk-full': 1,
  'disk-low': 2,
  'short-write': 1,
  misread: 1,
  'lying-sync': 1,
}

/** A disk that is not what it was: its machine may never be one of the cluster's again. */
const DAMAGE: Weights = {
  'bit-rot': 1,
  'wrong-length': 1,
  'lost-write': 1,
  'misdirected-write': 1,
  'missing-file': 1,
  'missing-directory': 1,
  'stale-file': 1,
  'wiped-disk': 1,
  'journal-rot': 2,
  'forged-entry': 2,
  'wiped-in-blackout': 1,
}

/** On more disks than a minority, in runs that go beyond the budget. */
const CATASTROPHES: Weights = { 'helical-damage': 2, 'common-damage': 2 }

const CLOCKS: Weights = { 'wall-jump': 2, 'wall-strobe': 1, 'clock-rate': 2 }

const KINDS: Readonly<Record<Profile, Weights>> = {
  all: { ...DISKS, ...NETWORK, ...PAUSES, ...CRASHES, ...CLOCKS },
  crash: { ...CRASHES, 'slow-disk': 1, 'sync-error': 1 },
  disk: { ...DISKS, crash: 2, 'crash-at-effect': 2, 'crash-in-recovery': 2, blackout: 1 },
  network: NETWORK,
  pause: { ...PAUSES, 'slow-disk': 1, isolate: 1, 'wall-jump': 1, 'clock-rate': 1 },
  clock: { ...CLOCKS, pause: 1, isolate: 1, crash: 1, transfer: 1 },
  calm: {},
  beyond: { ...DISKS, ...NETWORK, ...PAUSES, ...CRASHES, ...CLOCKS, ...CATASTROPHES, 'clock-rate-beyond': 3 },
}

/** Of the kinds that a profile has, so many in eight are on. */
const EIGHTHS_ON = 4
const KINDS_LEAST = 5
const FIRST_FAULT_MS = 4000
/** Lasting damage happens in the last part of the faults. */
const DAMAGE_FROM_PERCENT = 70
/** In 100 seeds, how many have it; and how much of it at the most. */
const DAMAGED_PERCENT: Readonly<Record<Profile, number>> = {
  all: 25,
  crash: 0,
  disk: 75,
  network: 0,
  pause: 0,
  clock: 0,
  calm: 0,
  beyond: 50,
}
const DAMAGE_MOST = 3

/** Sequences with a script. In 100 seeds, how many have some; and how many at the most. */
const DIRECTED: Weights = { 'deaf-handover': 1 }
const DIRECTED_PERCENT: Readonly<Record<Profile, number>> = {
  all: 25,
  crash: 25,
  disk: 0,
  network: 50,
  pause: 0,
  clock: 0,
  calm: 0,
  beyond: 25,
}
const DIRECTED_MOST = 4

/** The kinds that happen in one seed, each as often as its weight says. */
function kindsOf(prng: Prng, profile: Profile): FaultKind[] {
  const weights = Object.entries(KINDS[profile]) as [FaultKind, number][]
  const drawn = weights.map(([kind, weight]) => ({ kind, weight, order: prng.below(8 << 20) }))
  drawn.sort((a, b) => a.order - b.order)
  const on = drawn.filter(({ order }, i) => i < KINDS_LEAST || order < EIGHTHS_ON << 20)
  return on.flatMap(({ kind, weight }) => Array.from({ length: weight }, () => kind))
}

export function faultsOf(prng: Prng, nodes: number, durationMs: number, profile: Profile): Fault[] {
  const kinds = kindsOf(prng, profile)
  const faults: Fault[] = []
  if (kinds.length === 0) return faults
  const meanMs = 250 + prng.below(1250)
  for (let atMs = FIRST_FAULT_MS; ; ) {
    atMs += prng.below(4) === 0 ? prng.below(100) : prng.below(2 * meanMs)
    if (atMs >= durationMs) return faults
    const kind = kinds[prng.below(kinds.length)]!
    faults.push(faultOf(prng, kind, atMs, nodes))
  }
}

/** Damage to disks that lasts, if this seed has any. */
export function damageOf(prng: Prng, nodes: number, durationMs: number, profile: Profile): Fault[] {
  if (prng.below(100) >= DAMAGED_PERCENT[profile]) return []
  const weights = Object.entries(DAMAGE) as [FaultKind, number][]
  const kinds = weights.flatMap(([kind, weight]) => Array.from({ length: weight }, () => kind))
  const from = Math.floor((durationMs * DAMAGE_FROM_PERCENT) / 100)
  return Array.from({ length: 1 + prng.below(DAMAGE_MOST) }, () =>
    faultOf(prng, kinds[prng.below(kinds.length)]!, from + prng.below(durationMs - from), nodes),
  )
}

/** What happens in an order that is no accident, if this seed has any of it. */
export function directedOf(prng: Prng, nodes: number, durationMs: number, profile: Profile): Fault[] {
  if (prng.below(100) >= DIRECTED_PERCENT[profile]) return []
  const kinds = Object.entries(DIRECTED) as [FaultKind, number][]
  const weighted = kinds.flatMap(([kind, weight]) => Array.from({ length: weight }, () => kind))
  return Array.from({ length: 1 + prng.below(DIRECTED_MOST) }, () => {
    const kind = weighted[prng.below(weighted.length)]!
    return faultOf(prng, kind, FIRST_FAULT_MS + prng.below(Math.max(1, durationMs - FIRST_FAULT_MS)), nodes)
  })
}

function faultOf(prng: Prng, kind: FaultKind, atMs: number, nodes: number): Fault {
  const node = (): number => 1 + prng.below(nodes)
  const target: Target = prng.below(3) === 0 ? 'leader' : node()
  const power = prng.below(2) === 0
  const downMs = prng.below(3) === 0 ? prng.below(50) : prng.below(4000)
  const forMs = prng.below(3) === 0 ? prng.below(300) : prng.below(5000)
  return FAULTS[kind].draw({ prng, nodes, atMs, target, power, downMs, forMs, node })
}
