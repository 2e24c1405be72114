/**
 * Faults in the place of those that every seed has drawn, for mutants that need one thing to happen and nothing else in its way.
 *
 * A fault that the budget or the moment does not allow is passed over, so each is tried at several times and places; the first
 * that can be done is done, since a replica set has few machines that may be damaged.
 */
import type { Fault, Scenario } from '../scenario/scenario.ts'

/** When lasting damage comes in all scenarios: topics that need every machine exist by then. */
const TIMES_MS = [42_000, 44_000, 46_000, 48_000, 50_000, 52_000, 54_000, 56_000, 58_000]

/** For what passes: again and again. */
const ROUNDS_MS = Array.from({ length: 12 }, (_, i) => 5000 + 4500 * i)

const ON_THREE: Partial<Scenario> = {
  nodes: 3,
  replication: 3,
  core: { order: [1, 2, 3], outsiders: ['as-it-is', 'as-it-is', 'as-it-is'] },
}

/** Three machines, of which one may be damaged, and nothing but this, at each of the times. */
function onThree(faultAt: (atMs: number, i: number) => Fault, timesMs = TIMES_MS): Partial<Scenario> {
  return { ...ON_THREE, faults: timesMs.map(faultAt) }
}

export const JOURNAL_ROT = onThree((atMs, pick) => ({
  kind: 'journal-rot',
  atMs,
  target: 'leader',
  pick,
  shape: 'noise',
  downMs: 100,
}))

/** The journal's last file among them: nothing in the folder says that it was there. */
export const JOURNAL_FILES_GONE = onThree((atMs, pick) => ({
  kind: 'missing-file',
  atMs,
  target: 'leader',
  files: 'journal',
  pick,
  downMs: 100,
}))

export const FORGED_ENTRIES = onThree((atMs, pick) => ({
  kind: 'forged-entry',
  atMs,
  target: 'leader',
  pick,
  downMs: 100,
}))

/** One machine: it has nobody to hand its partitions to, and must refuse. */
export const LOW_DISKS: Partial<Scenario> = {
  nodes: 1,
  replication: 1,
  core: { order: [1], outsiders: ['as-it-is'] },
  faults: ROUNDS_MS.map((atMs) => ({ kind: 'disk-low', atMs, target: 1, leftPercent: 60, forMs: 3000 })),
}

export const STUCK_JOURNALS = onThree(
  (atMs) => ({ kind: 'stuck-disk', atMs, target: 'leader', operation: 'datasync', forMs: 3000, journal: true }),
  ROUNDS_MS,
)

/** One node after the other is away for so long that a log that is always compacted goes on without it. */
export const AWAY_IN_TURN = onThree(
  (atMs, i) => ({ kind: 'crash', atMs, target: 1 + (i % 3), power: false, silent: false, downMs: 3500 }),
  ROUNDS_MS,
)

/** In files that nobody may ask for again. */
export const COLD_ROT = onThree((atMs, pick) => ({
  kind: 'bit-rot',
  atMs,
  target: 1,
  pick: pick * 7919,
  downMs: null,
  files: 'shard-log',
  shape: 'noise',
}))

/**
 * Node 1 is away while the others commit. Then node 3 loses its journal, and when node 1 is back, node 2 is away: these two can elect
 * somebody who lacks what was committed, or wait.
 */
export const ROT_BEHIND_A_QUORUM: Partial<Scenario> = {
  ...ON_THREE,
  faults: [
    { kind: 'crash', atMs: 42_000, target: 1, power: false, silent: false, downMs: 3000 },
    { kind: 'journal-rot', atMs: 44_800, target: 3, pick: 1, shape: 'noise', downMs: 100 },
    { kind: 'crash', atMs: 44_900, target: 2, power: false, silent: false, downMs: 8000 },
  ],
  beyond: true,
}

/** All are back before anybody's patience ends, and nobody knows a leader. */
export const WIPED_IN_BLACKOUT = onThree((atMs, pick) => ({
  kind: 'wiped-in-blackout',
  atMs,
  target: 1 + (pick % 3),
  pick,
  downMs: [0, 0, 0],
}))
