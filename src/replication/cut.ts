/**
 * The low-water mark of a log whose machine can say all it knows in one snapshot (consumer groups, the cluster's metadata).
 *
 * Such a log must not grow for ever: what it decided is in the machine's state, so entries below the state are only needed by
 * followers that are a little behind, to whom a few entries are cheaper than the whole state. When the log has grown by more
 * than the state is large, its start moves up, and the work stays proportional to what is written.
 *
 *     start                       keep            applied
 *      │  cut                      │ snapshotKeepEntries │
 *      └──────────────────────────►└─────────────────────┘
 *
 * **Only the leader decides a cut, as an entry in the log.** Replicas that each decided for themselves would answer "where does
 * the log start" differently, and after a change of leader the start could go back: a reader would be told that what was gone
 * is there. As an entry, it takes effect at the same index everywhere, and only once it is committed.
 *
 * The entry says the offset beside the index: a replica whose memory has let go of the entry at the new start could not tell.
 * And the offset may lie inside that entry, where somebody asked for that very record to be the first.
 */
import { type Entry, type LogStart, readU64, writeU64 } from '../storage/index.ts'

export type { LogStart } from '../storage/index.ts'

/** Written into logs: never renumber. */
export const CutReason = {
  /** What is cut is in the machine's state. */
  snapshot: 1,
  /** It is older than records are to be kept. */
  retentionTime: 2,
  /** The log is larger than it is to be. */
  retentionBytes: 3,
  /** Somebody asked for it. */
  request: 4,
  /** Newer records with the same keys stand above: see `Compaction`. */
  compaction: 5,
} as const
export type CutReason = (typeof CutReason)[keyof typeof CutReason]

const REASONS: readonly CutReason[] = Object.values(CutReason)

const CUT_BYTES = 17
/** Places remembered at which the log may be cut. */
const PLACES_MAX = 32
/** Grown by so many times what would have been enough, a log no longer waits for followers that are slow. */
const PATIENCE = 4

/** Payload of a cut: u64 startIndex, u64 startOffset, u8 reason. */
export function encodeCut({ index, offset }: LogStart, reason: CutReason): Buffer {
  const bytes = Buffer.alloc(CUT_BYTES)
  writeU64(bytes, index, 0)
  writeU64(bytes, offset, 8)
  bytes[16] = reason
  return bytes
}

/** Null for a payload that no leader of ours makes. */
export function decodeCut(payload: Buffer): LogStart | null {
  if (payload.length !== CUT_BYTES) return null
  const [index, offset] = [readU64(payload, 0), readU64(payload, 8)]
  return index < 1 || offset < 0 ? null : { index, offset }
}

/** Null for one that this version does not know. */
export function cutReasonOf(payload: Buffer): CutReason | null {
  return REASONS.find((reason) => reason === payload[CUT_BYTES - 1]) ?? null
}

/**
 * A decision to compact: the log's start *offset* stays, and every replica cleans, in its own time, what lies below the floor. Its
 * log's start index follows when that is done.
 */
export interface Compaction {
  /** The first entry that stays as it was committed, and its first offset. */
  readonly floor: LogStart
  /** Tombstones below this offset have been there for their grace. */
  readonly tombstonesBelow: number
  /** The leader's wall clock. Tombstones below this floor begin their grace now; nothing else believes it. */
  readonly decidedMs: number
}

const COMPACTION_BYTES = 41

/** Payload of a cut: u64 floorIndex, u64 floorOffset, u8 reason, u64 tombstonesBelow, u64 decidedMs, u64 reserved. */
export function encodeCompaction({ floor, tombstonesBelow, decidedMs }: Compaction): Buffer {
  const bytes = Buffer.alloc(COMPACTION_BYTES)
  encodeCut(floor, CutReason.compaction).copy(bytes)
  writeU64(bytes, tombstonesBelow, CUT_BYTES)
  writeU64(bytes, Math.max(0, Math.floor(decidedMs)), CUT_BYTES + 8)
  return bytes
}

/** Null for any other payload of a cut. */
export function decodeCompaction(payload: Buffer): Compaction | null {
  if (payload.length !== COMPACTION_BYTES || payload[CUT_BYTES - 1] !== CutReason.compaction) return null
  const floor = { index: readU64(payload, 0), offset: readU64(payload, 8) }
  const [tombstonesBelow, decidedMs] = [readU64(payload, CUT_BYTES), readU64(payload, CUT_BYTES + 8)]
  if (floor.index < 1 || floor.offset < 0 || tombstonesBelow < 0 || decidedMs < 0) return null
  return { floor, tombstonesBelow, decidedMs }
}

export interface CutOptions {
  readonly everyBytes: number
  readonly keepEntries: number
}

/** Of a log since its start was moved last. */
export interface Growth {
  readonly grownBytes: number
  /** With so much it is moved again, unless a follower that is a little behind needs what would go. */
  readonly enoughBytes: number
}

/** Watches what is applied, on every replica, and knows for the leader whether and where the log should be cut. */
export class CutPlanner {
  readonly #options: CutOptions
  readonly #stride: number
  /** Ascending: where entries begin, every so many entries. */
  #places: LogStart[]
  #grownBytes: number
  #stateBytes = 0

  /** `from`: the entry after the state that a start begins with. `behind`: how many entries the log holds before it. */
  constructor(options: CutOptions, from: LogStart, behind: number) {
    this.#options = options
    this.#stride = Math.max(1, options.keepEntries >> 2)
    this.#places = [from]
    // How large those entries are is not known: if there is something to cut, it is cut once too early.
    this.#grownBytes = behind > options.keepEntries ? options.everyBytes : 0
  }

  applied({ index, firstOffset, bytes }: Entry): void {
    this.#grownBytes += bytes.length
    if (index < this.#places.at(-1)!.index + this.#stride) return
    if (this.#places.length === PLACES_MAX) this.#places.shift()
    this.#places.push({ index, offset: firstOffset })
  }

  stateTaken(bytes: number): void {
    this.#stateBytes = bytes
  }

  get growth(): Growth {
    return { grownBytes: this.#grownBytes, enoughBytes: Math.max(this.#options.everyBytes, this.#stateBytes) }
  }

  cut(): void {
    this.#grownBytes = 0
  }

  /** The log has become another one. */
  restart(from: LogStart): void {
    this.#places = [from]
    this.#grownBytes = 0
  }

  /** Where the log should start from now on; null: where it does. `neededFrom`: the first entry that a follower waits for. */
  due(appliedIndex: number, startIndex: number, neededFrom: number): LogStart | null {
    const { grownBytes, enoughBytes } = this.growth
    if (grownBytes < enoughBytes) return null
    const waits = grownBytes < PATIENCE * enoughBytes
    return this.#highest(
      Math.min(appliedIndex + 1 - this.#options.keepEntries, waits ? neededFrom : appliedIndex),
      startIndex,
    )
  }

  /** As much as can be, if anything came since the last cut. */
  most(appliedIndex: number, startIndex: number): LogStart | null {
    return this.#grownBytes === 0 ? null : this.#highest(appliedIndex, startIndex)
  }

  #highest(limit: number, startIndex: number): LogStart | null {
    const place = this.#places.findLast(({ index }) => index <= limit)
    return place === undefined || place.index <= startIndex ? null : place
  }
}
