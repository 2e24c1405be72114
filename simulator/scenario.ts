/**
 * What one seed stands for: a cluster, its clients, and everything that will happen to them, as plain data.
 *
 * Each option is drawn from a generator of its own name, so that a new one does not change what the others become for a seed
 * (swarm testing: many runs that are odd in different ways find more than one that is odd in all). The list of faults is part
 * of it, which makes a failing run something that can be written down, cut down, and run again.
 */
import { Prng } from '../src/stdx/index.ts'

export type Direction = 'both' | 'in' | 'out'

/** A node by its id, or whoever leads the first partition at that moment. */
export type Target = number | 'leader'

export type Fault =
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
  | { readonly kind: 'restart'; readonly atMs: number; readonly target: Target; readonly downMs: number }
  | { readonly kind: 'pause'; readonly atMs: number; readonly target: Target; readonly forMs: number }
  | {
      readonly kind: 'isolate'
      readonly atMs: number
      readonly target: Target
      readonly direction: Direction
      readonly clientsToo: boolean
      readonly forMs: number
    }
  | { readonly kind: 'cut'; readonly atMs: number; readonly from: number; readonly to: number; readonly forMs: number }
  | { readonly kind: 'reset'; readonly atMs: number; readonly a: number; readonly b: number }
  | {
      readonly kind: 'slow-network'
      readonly atMs: number
      readonly target: Target
      readonly factor: number
      readonly forMs: number
    }
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
  | { readonly kind: 'wall-jump'; readonly atMs: number; readonly target: Target; readonly byMs: number }

export type FaultKind = Fault['kind']

export interface Scenario {
  readonly seed: number
  readonly nodes: number
  readonly replication: number
  readonly topics: readonly { readonly name: string; readonly partitions: number }[]
  readonly producers: readonly {
    readonly name: string
    readonly idempotent: boolean
    readonly intervalMs: number
    readonly recordsMax: number
    readonly valueBytes: number
    readonly inFlightMax: number
  }[]
  readonly consumers: readonly { readonly name: string; readonly fetchBytes: number; readonly rewindPermille: number }[]
  /** Faults happen until then; the clients go on, all heals, and what must be true in the end is checked. */
  readonly durationMs: number
  readonly networkUs: readonly [number, number]
  readonly diskUs: readonly [number, number]
  readonly journalSegmentBytes: number
  readonly shardSegmentBytes: number
  readonly shardLogFlushBytes: number
  readonly tailCacheBytes: number
  readonly faults: readonly Fault[]
}

export type Profile = 'all' | 'crash' | 'network' | 'pause' | 'calm'

const KINDS: Readonly<Record<Profile, readonly FaultKind[]>> = {
  all: [
    'crash',
    'crash',
    'crash-at-effect',
    'crash-at-effect',
    'blackout',
    'restart',
    'pause',
    'isolate',
    'isolate',
    'cut',
    'cut',
    'reset',
    'slow-network',
    'slow-disk',
    'sync-error',
    'wall-jump',
  ],
  crash: ['crash', 'crash-at-effect', 'blackout', 'restart', 'sync-error', 'slow-disk'],
  network: ['isolate', 'cut', 'reset', 'slow-network'],
  pause: ['pause', 'slow-disk', 'wall-jump', 'isolate'],
  calm: [],
}

export function scenarioOf(seed: number, profile: Profile = 'all', durationMs = 40_000): Scenario {
  const draw = (name: string): Prng => new Prng(`${seed}/scenario/${name}`)
  const pick = <T>(name: string, from: readonly T[]): T => from[draw(name).below(from.length)]!
  const nodes = pick('nodes', [3, 3, 3, 3, 5, 1])
  const topics = Array.from({ length: 1 + draw('topics').below(2) }, (_, i) => ({
    name: `topic-${i}`,
    partitions: 1 + draw(`partitions ${i}`).below(3),
  }))
  const producers = Array.from({ length: 2 + draw('producers').below(3) }, (_, i) => {
    const prng = draw(`producer ${i}`)
    return {
      name: `producer-${i}`,
      idempotent: i === 0 || prng.below(3) > 0,
      intervalMs: 10 + prng.below(60),
      recordsMax: 1 + prng.below(8),
      valueBytes: prng.below(4) === 0 ? 2000 : 40,
      inFlightMax: 1 + prng.below(5),
    }
  })
  const consumers = Array.from({ length: 1 + draw('consumers').below(2) }, (_, i) => {
    const prng = draw(`consumer ${i}`)
    return {
      name: `consumer-${i}`,
      fetchBytes: pick(`fetch bytes ${i}`, [2_000, 50_000, 1 << 20]),
      rewindPermille: prng.below(8),
    }
  })
  const networkBase = pick('network', [100, 300, 1_000, 5_000])
  const diskBase = pick('disk', [50, 200, 1_000, 4_000])
  return {
    seed,
    nodes,
    replication: Math.min(nodes, 3),
    topics,
    producers,
    consumers,
    durationMs,
    networkUs: [networkBase, networkBase * pick('network jitter', [2, 10])],
    diskUs: [diskBase, diskBase * pick('disk jitter', [2, 10])],
    journalSegmentBytes: pick('journal segment', [128 << 10, 512 << 10, 4 << 20]),
    shardSegmentBytes: pick('shard segment', [32 << 10, 256 << 10, 4 << 20]),
    shardLogFlushBytes: pick('flush', [1 << 10, 16 << 10, 256 << 10]),
    tailCacheBytes: pick('tail cache', [64 << 10, 1 << 20]),
    faults: faultsOf(draw('faults'), nodes, durationMs, KINDS[profile]),
  }
}

/** Faults start after the cluster has had a moment to form, and come in bursts. */
const FIRST_FAULT_MS = 3000

function faultsOf(prng: Prng, nodes: number, durationMs: number, kinds: readonly FaultKind[]): Fault[] {
  const faults: Fault[] = []
  if (kinds.length === 0) return faults
  const meanMs = 300 + prng.below(2200)
  for (let atMs = FIRST_FAULT_MS; ; ) {
    atMs += prng.below(4) === 0 ? prng.below(100) : prng.below(2 * meanMs)
    if (atMs >= durationMs) return faults
    faults.push(faultOf(prng, kinds[prng.below(kinds.length)]!, atMs, nodes))
  }
}

function faultOf(prng: Prng, kind: FaultKind, atMs: number, nodes: number): Fault {
  const node = (): number => 1 + prng.below(nodes)
  const target: Target = prng.below(3) === 0 ? 'leader' : node()
  const power = prng.below(2) === 0
  const downMs = prng.below(3) === 0 ? prng.below(50) : prng.below(4000)
  const forMs = prng.below(3) === 0 ? prng.below(300) : prng.below(5000)
  switch (kind) {
    case 'crash':
      return { kind, atMs, target, power, silent: prng.below(3) === 0, downMs }
    case 'crash-at-effect':
      return { kind, atMs, target, effects: 1 + prng.below(prng.below(2) === 0 ? 20 : 400), power, downMs }
    case 'blackout':
      return { kind, atMs, downMs: Array.from({ length: nodes }, () => prng.below(1500)) }
    case 'restart':
      return { kind, atMs, target, downMs }
    case 'pause':
      return { kind, atMs, target, forMs }
    case 'isolate': {
      const direction = (['both', 'both', 'in', 'out'] as const)[prng.below(4)]!
      return { kind, atMs, target, direction, clientsToo: prng.below(2) === 0, forMs }
    }
    case 'cut': {
      const from = node()
      return { kind, atMs, from, to: 1 + ((from + prng.below(Math.max(1, nodes - 1))) % nodes), forMs }
    }
    case 'reset':
      return { kind, atMs, a: node(), b: prng.below(nodes + 1) }
    case 'slow-network':
      return { kind, atMs, target, factor: 2 + prng.below(100), forMs }
    case 'slow-disk':
      return { kind, atMs, target, factor: 2 + prng.below(200), forMs }
    case 'sync-error':
      return { kind, atMs, target, power, downMs }
    case 'wall-jump':
      return { kind, atMs, target, byMs: (prng.below(2) === 0 ? -1000 : 1000) * prng.below(400 * 24 * 3600) }
  }
}
