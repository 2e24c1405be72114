/**
 * Attacks on replication and snapshots, which bring the conditions of certain defects about in every seed. What they leave open is
 * drawn from the seed, as always.
 */
import type { ProducerScenario } from '../scenario/clients.ts'
import type { Fault, Tuning } from '../scenario/scenario.ts'
import type { Attack } from './mutant.ts'

const TUNING: Tuning = {
  heartbeatIntervalMs: 100,
  electionTimeoutMs: 1000,
  appendBytesMax: 16 << 10,
  inFlightBytesMax: 64 << 10,
  catchUpBytes: 4 << 10,
  snapshotEveryBytes: 16 << 10,
  snapshotKeepEntries: 5,
}

const TINY: Tuning = { ...TUNING, snapshotEveryBytes: 1 << 10, snapshotKeepEntries: 0 }

/** Every rare path is taken, snapshots instead of the log and snapshots that are sent again from their start among them. */
const EVERY_SITE = { activePermille: 1000, firePermille: 100 }

/** Small states and small tails, so that snapshots are on the way all the time. */
export const MANY_SNAPSHOTS: Attack = { called: 'many snapshots', options: { tuning: TINY } }

/** Chunks are sent again when others have arrived. */
export const MANY_CHUNKS: Attack = {
  called: 'many chunks',
  options: { tuning: { ...TINY, snapshotChunkBytes: 256 }, buggify: EVERY_SITE },
}

/** Topics come and go, and followers are given snapshots for whatever they have missed. */
export const MANY_DELETIONS: Attack = {
  called: 'many deletions',
  options: {
    tuning: TINY,
    buggify: EVERY_SITE,
    administrators: [0, 1].map((i) => ({ name: `admin-${i}`, topics: 2, intervalMs: 200 })),
  },
}

/** When a directed fault happens, again and again: each needs the cluster whole. */
const ROUNDS_MS = Array.from({ length: 11 }, (_, i) => 6000 + 5000 * i)
/** Of the shards that are led: after the metadata and one of registers. */
const FIRST_PARTITION_PLACE = 2

const ONE_PARTITION = {
  topics: [{ name: 'topic-0', partitions: 1 }],
  administrators: [],
  groups: [],
  registers: { shards: 1, keys: 1, clients: 1, intervalMs: 400 },
  networkUs: [100, 1000],
  diskUs: [50, 200],
  // Sessions that end in the middle of it would spoil it.
  buggify: { activePermille: 0, firePermille: 0 },
} as const

/** Long leases, and producers without patience, who find the new leader while readers stay with the old one. */
export const DEAF_HANDOVERS: Attack = {
  called: 'deaf handovers',
  options: {
    ...ONE_PARTITION,
    nodes: 3,
    replication: 3,
    producers: producersOf(4, { idempotent: true, acks: -1, timeoutMs: 300 }),
    consumers: [0, 1, 2, 3].map((i) => ({ name: `consumer-${i}`, fetchBytes: 50_000, rewindPermille: 0 })),
    tuning: { ...TUNING, heartbeatIntervalMs: 250, electionTimeoutMs: 2500 },
    faults: ROUNDS_MS.map((atMs, i) => ({
      kind: 'deaf-handover',
      atMs,
      shard: FIRST_PARTITION_PLACE,
      to: 1 + (i % 3),
      forMs: 2500,
    })),
  },
}

/**
 * Again and again node 1 leads, with node 2 is cut off from the rest, writes what node 2 alone acknowledges, and leads once more
 * when the three others have led in between. What node 2 had acknowledged is then said again.
 */
export const LEADS_AGAIN: Attack = {
  called: 'leads again',
  options: {
    nodes: 5,
    replication: 5,
    core: { order: [1, 2, 3, 4, 5], outsiders: ['as-it-is', 'as-it-is', 'as-it-is', 'as-it-is', 'as-it-is'] },
    faults: leadsAgain(),
  },
}

function leadsAgain(): Fault[] {
  const rates = { losePermille: 0, repeatPermille: 1, latePermille: 0, lateMs: 5 }
  const faults: Fault[] = [{ kind: 'disorder', atMs: 4000, from: 2, to: 1, ...rates, forMs: 55_000 }]
  for (let atMs = 5000; atMs < 58_000; atMs += 6000) {
    for (let shard = 0; shard < 16; shard++) faults.push({ kind: 'transfer', atMs, shard, to: 1 })
    const sides = [0, 0, 1, 1, 1]
    const apart = { shape: 'uniform', order: [1, 2, 3, 4, 5], sides, clientsToo: false, forMs: 4000 } as const
    faults.push({ kind: 'partition', atMs: atMs + 1000, ...apart })
  }
  return faults
}

function producersOf(
  count: number,
  what: Pick<ProducerScenario, 'idempotent' | 'acks' | 'timeoutMs'>,
): ProducerScenario[] {
  return Array.from({ length: count }, (_, i) => ({
    name: `producer-${i}`,
    intervalMs: 100,
    recordsMax: 2,
    valueBytes: 40,
    inFlightMax: 5,
    ...what,
  }))
}
