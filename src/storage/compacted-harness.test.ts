/** A small log with five keys, and what compaction leaves of it: for tests of cleaning, and of what becomes of cleaned files. */
import { encodeBatch } from '../records/index.ts'
import type { CleanedPart } from './cleaned-part.ts'
import { type Entry, nextOffsetAfter } from './entry.ts'
import { follow, type World } from './harness.test.ts'
import type { ShardLog } from './shard-log.ts'
import type { Storage } from './storage.ts'

export const KEYS = 5
export const CUT_AT = 25
export const FLOOR = { index: CUT_AT + 1, offset: CUT_AT }

/** Thirty entries of one record each, over five keys, in files of a few entries. */
export function historyOf(shard: number): Entry[] {
  const entries: Entry[] = []
  for (let i = 0; i < 30; i++) {
    const record = { key: Buffer.from(`key ${i % KEYS}`), value: Buffer.from(`${i} ${'v'.repeat(1000)}`) }
    entries.push(follow(shard, entries.at(-1) ?? null, 1, encodeBatch([record], { timestamp: 0, baseOffset: i }), 1))
  }
  return entries
}

/** Offsets: of every key below the floor the latest, and everything above. */
export const LEFT = Array.from({ length: 30 - CUT_AT + KEYS }, (_, i) => CUT_AT - KEYS + i)

export function clean(log: ShardLog): void {
  log.cleaner.want({ floor: FLOOR, tombstonesBelow: 0, graceMs: 0, keepsSequence: () => false })
}

export function offsetsIn(world: World, log: ShardLog, end = 30): number[] {
  const offsets: number[] = []
  for (let next = 0; next < end; next = offsets.at(-1)! + 1) {
    const entries = world.await<Entry[]>((done) => log.readFromOffset(next, 3000, done))
    for (const { firstOffset } of entries) offsets.push(firstOffset)
  }
  return offsets
}

/** Below the floor, as a peer that has cleaned it sends it. */
export function sentBelowFloor(world: World, log: ShardLog): Entry[] {
  const entries: Entry[] = []
  for (let next = 0; ; next = nextOffsetAfter(entries.at(-1)!)) {
    const read = world.await<Entry[]>((done) => log.readFromOffset(next, 3000, done))
    const below = read.filter(({ index }) => index < FLOOR.index)
    entries.push(...below)
    if (below.length < read.length) return entries
  }
}

/** Everything is asked for at once, and comes in its order: how far it gets depends on how many turns there are. */
export function takePart(
  storage: Storage,
  shard: number,
  entries: readonly Entry[],
  then: (part: CleanedPart) => void,
): void {
  storage.caretaker.receivePart(shard, FLOOR, (arrival) => {
    const next = (from: number): void => {
      if (from < entries.length)
        arrival!.add(entries.slice(from, from + 2), (error) => error === null && next(from + 2))
      else arrival!.finish((error, part) => error === null && then(part!))
    }
    next(0)
  })
}
