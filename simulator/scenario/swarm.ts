/**
 * From a seed to a scenario.
 *
 * Each option is drawn from a generator of its own name, so that a new one does not change what the others become for a seed
 * (swarm testing: many runs that are odd in different ways find more than one that is odd in all).
 */
import { Prng } from '../../src/stdx/index.ts'
import type { NetworkOptions } from '../network/delays.ts'
import {
  administratorsOf,
  compactedOf,
  type Draw,
  groupsOf,
  producersOf,
  registersOf,
  restorersOf,
  shrinkingOf,
} from './clients.ts'
import type { Outsider, Profile, Scenario, Tuning } from './scenario.ts'
import { damageOf, directedOf, faultsOf } from './schedule.ts'

/** Simulated time with faults. */
export const DURATION_MS = 60_000

const NODES = [3, 3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 4, 4, 2, 1, 1, 6, 7] as const
const OUTSIDERS: readonly Outsider[] = ['as-it-is', 'down', 'cut-off', 'paused']

/** Of a slow parcel: one in 64 is slower. */
const HALF_LIVES_SLOW = 6
const ROUND_TRIPS_MIN = 3
/** Two calls of a disk on average: a read of a log takes two such pairs. */
const SLOW_DISK_US = 10_000

export function scenarioOf(seed: number, profile: Profile = 'all', durationMs = DURATION_MS): Scenario {
  const draw = (name: string): Prng => new Prng(`${seed}/scenario/${name}`)
  const pick = <T>(name: string, from: readonly T[]): T => from[draw(name).below(from.length)]!
  const nodes = pick('nodes', NODES)
  const topics = Array.from({ length: 1 + draw('topics').below(2) }, (_, i) => ({
    name: `topic-${i}`,
    partitions: 1 + draw(`partitions ${i}`).below(3),
  }))
  const consumers = Array.from({ length: 1 + draw('consumers').below(2) }, (_, i) => {
    const prng = draw(`consumer ${i}`)
    return {
      name: `consumer-${i}`,
      fetchBytes: pick(`fetch bytes ${i}`, [2_000, 50_000, 1 << 20]),
      rewindPermille: prng.below(8),
      probePermille: pick(`probes ${i}`, [0, 20, 60]),
    }
  })
  const beyond = profile === 'beyond' || (profile === 'all' && draw('beyond').below(12) === 0)
  const networkBase = pick('network', [100, 300, 1_000, 5_000])
  const networkUs = [networkBase, networkBase * pick('network jitter', [2, 10])] as const
  const network = {
    skewPercent: pick('network skew', [0, 50, 400]),
    exponential: draw('exponential').below(2) === 0,
    rarePer100k: pick('rare delays', [0, 0, 5, 30]),
  }
  const diskBase = pick('disk', [50, 200, 1_000, 4_000])
  const diskUs = [diskBase, diskBase * pick('disk jitter', [2, 10])] as const
  const shrinking = shrinkingOf(draw, diskUs)
  const compacted = compactedOf(draw, diskUs)
  return {
    seed,
    nodes,
    replication: Math.min(nodes, pick('replication', [3, 3, 3, 3, 3, 1, 2, 4, 5])),
    topics,
    producers: producersOf(draw, nodes),
    consumers,
    groups: groupsOf(draw),
    administrators: administratorsOf(draw),
    registers: registersOf(draw),
    ...(shrinking === null ? {} : { shrinking }),
    ...(compacted === null ? {} : { compacted }),
    restorers: restorersOf(draw),
    durationMs,
    ...(beyond ? { beyond } : {}),
    network,
    buggify: {
      activePermille: pick('buggify sites', [0, 250, 250, 250]),
      firePermille: pick('buggify', [250, 60, 10]),
    },
    tuning: tuningOf(draw, nodes, slowTravelMs(networkUs, network), diskUs),
    core: { order: shuffled(draw('core'), nodes), outsiders: outsidersOf(draw('outsiders'), nodes) },
    networkUs,
    diskUs,
    journalSegmentBytes: pick('journal segment', [128 << 10, 512 << 10, 4 << 20]),
    shardSegmentBytes: pick('shard segment', [32 << 10, 256 << 10, 4 << 20]),
    shardLogFlushBytes: pick('flush', [1 << 10, 16 << 10, 256 << 10]),
    shardLogsBufferBytesMax: pick('logs buffer', [16 << 10, 256 << 10, 32 << 20, 32 << 20]),
    tailCacheBytes: pick('tail cache', [64 << 10, 1 << 20]),
    diskReserveBytes: pick('disk reserve', [4 << 20, 16 << 20]),
    sectors: pick('sectors', [
      { tornPermille: 0, garbledPermille: 0 },
      { tornPermille: 50, garbledPermille: 50 },
      { tornPermille: 300, garbledPermille: 300 },
    ]),
    faults: [
      ...faultsOf(draw('faults'), nodes, durationMs, beyond ? 'beyond' : profile),
      ...directedOf(draw('directed'), nodes, durationMs, beyond ? 'beyond' : profile),
      ...damageOf(draw('damage'), nodes, durationMs, beyond ? 'beyond' : profile),
    ].sort((a, b) => a.atMs - b.atMs),
  }
}

/** On the longest link that may be drawn, for a parcel that is slow without being rare: streams wait for their slowest one. */
function slowTravelMs([low, high]: readonly [number, number], { skewPercent, exponential }: NetworkOptions): number {
  const slowUs = exponential ? low + HALF_LIVES_SLOW * ((high - low) >> 2) : high
  return (slowUs * (100 + skewPercent)) / 100_000
}

/**
 * Larger clusters beat more slowly: what beats cost grows with the square of the nodes. An election timeout is some round trips
 * long, even on the slowest links (Raft §5.6): a cluster that is set up otherwise owes nobody a leader that lasts. Nor does one whose
 * followers are read for an entry at a time from a disk that takes a tenth of a second for it owe them that they catch up.
 */
function tuningOf(draw: Draw, nodes: number, travelMs: number, [fastUs, slowUs]: readonly [number, number]): Tuning {
  const pick = <T>(name: string, from: readonly T[]): T => from[draw(name).below(from.length)]!
  const drawnMs = nodes > 5 ? 300 : nodes > 3 ? 200 : pick('heartbeat', [60, 100, 150, 200, 250])
  const beats = pick('election timeout', [5, 6, 10, 10])
  const heartbeatIntervalMs = Math.max(drawnMs, Math.ceil((ROUND_TRIPS_MIN * 2 * travelMs) / beats))
  return {
    heartbeatIntervalMs,
    electionTimeoutMs: heartbeatIntervalMs * beats,
    appendBytesMax: pick('append', [1 << 10, 16 << 10, 256 << 10]),
    inFlightBytesMax: pick('in flight', [4 << 10, 64 << 10, 8 << 20]),
    catchUpBytes: Math.max(pick('catch up', [4 << 10, 1 << 20]), fastUs + slowUs > SLOW_DISK_US ? 64 << 10 : 0),
    peerQueueBytesMax: pick('peer queue', [16 << 10, 256 << 10, 64 << 20, 64 << 20]),
    snapshotEveryBytes: pick('snapshot every', [2 << 10, 16 << 10, 256 << 10, 4 << 20]),
    snapshotKeepEntries: pick('snapshot keeps', [0, 5, 100, 1000]),
    snapshotChunkBytes: pick('snapshot chunk', [512, 4 << 10, 128 << 10, 128 << 10]),
  }
}

function shuffled(prng: Prng, nodes: number): number[] {
  const order = Array.from({ length: nodes }, (_, i) => i + 1)
  for (let i = nodes - 1; i > 0; i--) {
    const j = prng.below(i + 1)
    ;[order[i], order[j]] = [order[j]!, order[i]!]
  }
  return order
}

function outsidersOf(prng: Prng, nodes: number): Outsider[] {
  return Array.from({ length: nodes }, () => OUTSIDERS[prng.below(OUTSIDERS.length)]!)
}
