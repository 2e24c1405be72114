/**
 * The low-water mark of a partition by key: of every key the latest record is kept, and a reader of all that is left ends with the
 * same map as one that has read everything.
 *
 *     cleaned                    dirty: sealed, never cleaned      in use, or too young
 *     ├── 20 MiB ───────────────┼── 12 MiB ─┼── 12 MiB ─┤ floor ├── 3 MiB ─┤
 *                                 24 / 44 ≥ min.cleanable.dirty.ratio: it is worth it
 *
 * The leader decides where the floor is, as an entry of the log (cut.ts in replication); every replica cleans below it by itself
 * (cleaning.ts in storage). Which records stay follows from the log alone. Clocks only put things off: `min.compaction.lag.ms`
 * keeps young records out of it, and a tombstone stays for `delete.retention.ms` after it has come below a floor, so that readers
 * of what is left learn that the key is gone. Where nothing new comes, and so no floor, the last one is decided again then.
 *
 * What was decided is part of the partition's state: a replica that was interrupted goes on, and a new leader knows since when
 * each tombstone has been there.
 */
import type { Compaction } from '../replication/index.ts'
import { type LogStart, type SegmentFacts, youngestIn } from '../storage/index.ts'
import type { PartitionSettings } from './partition-settings.ts'
import type { RetainedLog } from './retention.ts'

/** Floors whose tombstones still have their grace; more are not remembered, which puts their end off. */
const GRACES_MAX = 32

interface Grace {
  readonly floorOffset: number
  readonly sinceMs: number
}

/** What keeps the floor where it is. */
export type FloorWait =
  /** All that is not cleaned is in the file that takes the next records. */
  | { readonly for: 'segment-in-use' }
  /** The youngest record of the oldest file that is not cleaned is too young. */
  | { readonly for: 'min.compaction.lag.ms'; readonly youngestMs: number }
  /** Somebody needs the entries as they are. */
  | { readonly for: 'pin' }
  /** Too little of what could be cleaned was never cleaned: this share. */
  | { readonly for: 'min.cleanable.dirty.ratio'; readonly dirty: number }

/** Where the floor should be, or why it stays where it is. */
export type FloorLook =
  | { readonly floor: LogStart; readonly waits: null }
  | { readonly floor: null; readonly waits: FloorWait }

const PINNED: FloorWait = { for: 'pin' }

export function floorDue(log: RetainedLog, settings: PartitionSettings, wallMs: number): FloorLook {
  const { maxCompactionLagMs, minDirtyRatio } = settings
  let [cleanedBytes, dirtyBytes] = [0, 0]
  let oldestMs = Number.POSITIVE_INFINITY
  let floor: LogStart | null = null
  let stopped: FloorWait = { for: 'segment-in-use' }
  for (const [i, segment] of log.segments.entries()) {
    if (segment.cleaned === true) {
      cleanedBytes += segment.bytes
      continue
    }
    const next = log.segments[i + 1]
    if (!segment.sealed || next === undefined) break
    const waits = next.firstIndex > log.heldFrom ? PINNED : youth(youngestIn(log.segments, i), settings, wallMs)
    if (waits !== null) {
      stopped = waits
      break
    }
    dirtyBytes += segment.bytes
    oldestMs = Math.min(oldestMs, oldestIn(segment))
    floor = { index: next.firstIndex, offset: next.firstOffset }
  }
  if (floor === null || floor.offset <= log.start.offset) return { floor: null, waits: stopped }
  // All of it is in the file that holds the last floor, of which nobody knows how much was cleaned.
  if (dirtyBytes === 0) return { floor: null, waits: stopped }
  const dirty = dirtyBytes / (cleanedBytes + dirtyBytes)
  if (dirty >= minDirtyRatio || wallMs - oldestMs > maxCompactionLagMs) return { floor, waits: null }
  return { floor: null, waits: { for: 'min.cleanable.dirty.ratio', dirty } }
}

/** Null: they are old enough to be compacted. */
function youth(youngestMs: number, { minCompactionLagMs }: PartitionSettings, wallMs: number): FloorWait | null {
  const isYoung = minCompactionLagMs > 0 && wallMs - youngestMs < minCompactionLagMs
  return isYoung ? { for: 'min.compaction.lag.ms', youngestMs } : null
}

/** The oldest time that is known of a file without reading it: when it was begun, or, where all in it is older, of its youngest record. */
function oldestIn({ createdMs, maxTimestamp }: SegmentFacts): number {
  const known = [createdMs > 0 ? createdMs : -1, maxTimestamp].filter((ms) => ms >= 0)
  return Math.min(Number.POSITIVE_INFINITY, ...known)
}

/** What the log has decided so far. */
export class Compactions {
  /** The entry that says so. */
  #decidedAt = 0
  #floor: LogStart = { index: 0, offset: 0 }
  #tombstonesBelow = 0
  #graces: Grace[] = []

  /** Index of the last entry that decided something; a state that was sent along may know of one that is still to come. */
  get decidedAt(): number {
    return this.#decidedAt
  }

  /** The last one; its index is 0 where nothing was ever decided. */
  get floor(): LogStart {
    return this.#floor
  }

  get tombstonesBelow(): number {
    return this.#tombstonesBelow
  }

  /**
   * The leader's: a decision for this floor, at this time. `shownBelow`: what lies below readers have been shown as it is, cleaned, for the
   * grace; they read from the leader, which may have got round to a floor long after it was decided.
   */
  draft(floor: LogStart, deleteRetentionMs: number, wallMs: number, shownBelow: number): Compaction {
    let tombstonesBelow = this.#tombstonesBelow
    for (const { floorOffset, sinceMs } of this.#graces)
      if (wallMs - sinceMs >= deleteRetentionMs && floorOffset <= shownBelow)
        tombstonesBelow = Math.max(tombstonesBelow, floorOffset)
    return { floor, tombstonesBelow, decidedMs: wallMs }
  }

  /** The same floor once more, for the tombstones below it whose grace is over; null: there are none. */
  again(deleteRetentionMs: number, wallMs: number, shownBelow: number): Compaction | null {
    const compaction = this.draft(this.#floor, deleteRetentionMs, wallMs, shownBelow)
    return compaction.tombstonesBelow > this.#tombstonesBelow ? compaction : null
  }

  decided(entryIndex: number, { floor, tombstonesBelow, decidedMs }: Compaction): void {
    if (entryIndex <= this.#decidedAt) return
    this.#decidedAt = entryIndex
    if (floor.index < this.#floor.index) return
    this.#tombstonesBelow = Math.max(this.#tombstonesBelow, tombstonesBelow)
    this.#graces = this.#graces.filter(({ floorOffset }) => floorOffset > this.#tombstonesBelow)
    if (floor.index === this.#floor.index) return
    this.#floor = floor
    // The newest but one goes: its tombstones wait for the newest.
    if (this.#graces.length === GRACES_MAX) this.#graces.splice(-1)
    this.#graces.push({ floorOffset: floor.offset, sinceMs: decidedMs })
  }

  get snapshotBytes(): number {
    return 36 + this.#graces.length * 16
  }

  /** decided at, floor's index, its offset, tombstones below f64 each · count u32 · ( floor offset, since f64 each )*. */
  write(into: Buffer, from: number): number {
    let at = into.writeDoubleLE(this.#decidedAt, from)
    at = into.writeDoubleLE(this.#floor.index, at)
    at = into.writeDoubleLE(this.#floor.offset, at)
    at = into.writeDoubleLE(this.#tombstonesBelow, at)
    at = into.writeUInt32LE(this.#graces.length, at)
    for (const { floorOffset, sinceMs } of this.#graces) {
      at = into.writeDoubleLE(floorOffset, at)
      at = into.writeDoubleLE(sinceMs, at)
    }
    return at
  }

  read(from: Buffer, start: number): number {
    this.#decidedAt = from.readDoubleLE(start)
    this.#floor = { index: from.readDoubleLE(start + 8), offset: from.readDoubleLE(start + 16) }
    this.#tombstonesBelow = from.readDoubleLE(start + 24)
    this.#graces = []
    let at = start + 36
    for (let left = from.readUInt32LE(start + 32); left > 0; left--, at += 16)
      this.#graces.push({ floorOffset: from.readDoubleLE(at), sinceMs: from.readDoubleLE(at + 8) })
    return at
  }

  /** Of a state that says nothing of it. */
  forget(): void {
    this.#decidedAt = 0
    this.#floor = { index: 0, offset: 0 }
    this.#tombstonesBelow = 0
    this.#graces = []
  }
}
