/** Who uses the cluster in a scenario, beside the readers; and how a seed draws them, each option from a generator of its own. */
import type { Prng } from '../../src/stdx/index.ts'

export interface ProducerScenario {
  readonly name: string
  readonly idempotent: boolean
  readonly intervalMs: number
  readonly recordsMax: number
  readonly valueBytes: number
  readonly inFlightMax: number
  readonly acks?: -1 | 0 | 1
  /** Patience with an answer. */
  readonly timeoutMs?: number
  /** Of 1000 requests, how many are walked away from. */
  readonly abandonPermille?: number
  readonly compressed?: boolean
}

export interface GroupScenario {
  readonly name: string
  readonly members: number
  readonly staticMembers: boolean
  readonly pollMs: number
  readonly pollsPerCommit: number
  /** A seat stays as it is for about so long. */
  readonly stayMs: number
}

export interface AdministratorScenario {
  readonly name: string
  readonly topics: number
  readonly intervalMs: number
}

export interface RestorerScenario {
  readonly name: string
  readonly intervalMs: number
}

export interface RegistersScenario {
  readonly shards: number
  /** Per shard. */
  readonly keys: number
  readonly clients: number
  readonly intervalMs: number
}

/** A topic whose oldest records go. */
export interface ShrinkingScenario {
  readonly name: string
  readonly configs: Readonly<Record<string, string>>
  /** Some of it goes without being asked for: by age or by size. */
  readonly byItself: boolean
  readonly intervalMs: number
  /** How often somebody deletes records; null: nobody does. */
  readonly deleteEveryMs: number | null
}

/** A topic of few keys, which is compacted. */
export interface CompactedScenario {
  readonly name: string
  readonly configs: Readonly<Record<string, string>>
  readonly intervalMs: number
}

export type Draw = (name: string) => Prng

function pick<T>(draw: Draw, name: string, from: readonly T[]): T {
  return from[draw(name).below(from.length)]!
}

const LARGE_BYTES = 40_000
/**
 * In a minute without faults, what is sent by those who wait for a quorum comes to so many records at the least. Faults leave a third of it
 * in the worst of runs, and a run that acknowledges little proves little (§5: 1,000 operations per seed).
 */
const RECORDS_LEAST = 2400
/** One or two nodes are often down, all of them, and simulated at a fraction of what others cost. */
const SMALL_NODES = 2
const RECORDS_LEAST_SMALL = 5000

export function producersOf(draw: Draw, nodes: number): ProducerScenario[] {
  return busyEnough(drawnProducers(draw), nodes <= SMALL_NODES ? RECORDS_LEAST_SMALL : RECORDS_LEAST)
}

function drawnProducers(draw: Draw): ProducerScenario[] {
  return Array.from({ length: 2 + draw('producers').below(3) }, (_, i) => {
    const prng = draw(`producer ${i}`)
    const idempotent = i === 0 || prng.below(3) > 0
    // Few and large, or many and small: what they send in all must stay affordable.
    const large = i > 0 && draw(`large values ${i}`).below(8) === 0
    return {
      name: `producer-${i}`,
      idempotent,
      intervalMs: (100 + prng.below(200)) * (large ? 4 : 1),
      recordsMax: 1 + prng.below(large ? 2 : 8),
      valueBytes: large ? LARGE_BYTES : prng.below(4) === 0 ? 2000 : 40,
      inFlightMax: 1 + prng.below(5),
      acks: idempotent ? -1 : pick(draw, `acks ${i}`, [-1, -1, 1, 1, 0] as const),
      // Less than an answer takes on many of the networks: a storm of retries.
      timeoutMs: pick(draw, `patience ${i}`, [4000, 4000, 4000, 4000, 300, 60]),
      abandonPermille: pick(draw, `abandon ${i}`, [0, 0, 0, 10, 60]),
      compressed: pick(draw, `compressed ${i}`, [false, false, true]),
    }
  })
}

/** Larger batches where all would be too little: they cost less than more of them. */
function busyEnough(producers: readonly ProducerScenario[], least: number): ProducerScenario[] {
  const counts = ({ acks, valueBytes }: ProducerScenario): boolean => acks === -1 && valueBytes < LARGE_BYTES
  const planned = producers.filter(counts).reduce((sum, each) => sum + recordsPerMinute(each), 0)
  if (planned >= least) return [...producers]
  // A batch has one record to `recordsMax`, so the mean is what grows by this factor.
  const factor = least / planned
  return producers.map((each) =>
    counts(each) ? { ...each, recordsMax: Math.ceil(factor * (each.recordsMax + 1) - 1) } : each,
  )
}

function recordsPerMinute({ intervalMs, recordsMax }: ProducerScenario): number {
  return (60_000 / intervalMs) * ((recordsMax + 1) / 2)
}

export function groupsOf(draw: Draw): GroupScenario[] {
  return Array.from({ length: pick(draw, 'groups', [0, 0, 1, 1, 2]) }, (_, i) => ({
    name: `group-${i}`,
    members: pick(draw, `group members ${i}`, [1, 2, 2, 3]),
    staticMembers: pick(draw, `static members ${i}`, [false, false, true]),
    pollMs: pick(draw, `group poll ${i}`, [150, 300, 600]),
    pollsPerCommit: pick(draw, `polls per commit ${i}`, [1, 2, 5]),
    stayMs: pick(draw, `group stay ${i}`, [3000, 8000, 20_000]),
  }))
}

export function administratorsOf(draw: Draw): AdministratorScenario[] {
  return Array.from({ length: pick(draw, 'administrators', [0, 1, 1, 2]) }, (_, i) => ({
    name: `admin-${i}`,
    topics: pick(draw, `administrated topics ${i}`, [1, 2]),
    intervalMs: pick(draw, `administration ${i}`, [400, 800, 1500]),
  }))
}

export function restorersOf(draw: Draw): RestorerScenario[] {
  return Array.from({ length: pick(draw, 'restorers', [0, 0, 1]) }, (_, i) => ({
    name: `restorer-${i}`,
    intervalMs: pick(draw, `restoring ${i}`, [200, 400, 800]),
  }))
}

export function registersOf(draw: Draw): RegistersScenario {
  return {
    shards: pick(draw, 'register shards', [1, 1, 2]),
    keys: pick(draw, 'registers', [1, 2, 3]),
    clients: pick(draw, 'register clients', [1, 2, 3]),
    intervalMs: pick(draw, 'register interval', [100, 200, 400]),
  }
}

/** The share of a shrinking topic in what a disk can do, so bounded, is about a third. */
const DISK_CALLS_PER_ENTRY = 16

/**
 * Files of a few entries, so that there is always one to let go. Each costs a dozen calls of the disk: one that is asked for more
 * than it can do falls behind for as long as it is, and checkpoints and snapshots behind it.
 */
export function shrinkingOf(draw: Draw, [fastUs, slowUs]: readonly [number, number]): ShrinkingScenario | null {
  if (draw('shrinking').below(3) === 0) return null
  const retentionBytes = pick(draw, 'retention bytes', ['-1', '2000', '20000'])
  const retentionMs = pick(draw, 'retention ms', ['-1', '-1', '2000', '10000'])
  const byItself = retentionBytes !== '-1' || retentionMs !== '-1'
  const segments = {
    'segment.bytes': pick(draw, 'segment bytes', ['600', '3000', '20000']),
    'segment.ms': pick(draw, 'segment ms', ['700', '5000', '604800000']),
    'segment.jitter.ms': pick(draw, 'segment jitter', ['0', '300']),
  }
  return {
    name: 'shrinking',
    configs: { ...segments, 'retention.bytes': retentionBytes, 'retention.ms': retentionMs },
    byItself,
    intervalMs: Math.max(
      pick(draw, 'shrinking interval', [100, 250]),
      Math.ceil((DISK_CALLS_PER_ENTRY * (fastUs + slowUs)) / 2000),
    ),
    deleteEveryMs: pick(draw, 'deletions', byItself ? [null, 700, 3000] : [700, 3000]),
  }
}

/** Small files and little patience, so that there is always something to clean; what a disk can do bounds it, as above. */
export function compactedOf(draw: Draw, [fastUs, slowUs]: readonly [number, number]): CompactedScenario | null {
  if (draw('compacted').below(2) === 0) return null
  const retention = {
    'retention.bytes': pick(draw, 'compacted retention bytes', ['-1', '2000', '10000']),
    'retention.ms': pick(draw, 'compacted retention ms', ['-1', '3000', '10000']),
  }
  const policy = pick(draw, 'cleanup policy', ['compact', 'compact', 'compact,delete'])
  return {
    name: 'compacted',
    configs: {
      ...(policy === 'compact' ? {} : retention),
      'cleanup.policy': policy,
      'segment.bytes': pick(draw, 'compacted segment bytes', ['600', '3000', '20000']),
      'segment.ms': pick(draw, 'compacted segment ms', ['700', '5000', '604800000']),
      'min.cleanable.dirty.ratio': pick(draw, 'dirty ratio', ['0', '0.3', '0.5']),
      'min.compaction.lag.ms': pick(draw, 'compaction lag', ['0', '0', '1500']),
      'delete.retention.ms': pick(draw, 'delete retention', ['1000', '5000', '20000']),
    },
    intervalMs: Math.max(
      pick(draw, 'compacted interval', [60, 150]),
      Math.ceil((DISK_CALLS_PER_ENTRY * (fastUs + slowUs)) / 2000),
    ),
  }
}
