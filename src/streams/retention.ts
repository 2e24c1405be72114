/**
 * The low-water mark of a partition by age and by size: which records need not be kept any longer.
 *
 * What goes, goes by whole segments, from the front, as in Kafka:
 *
 *     by age    a segment goes when its youngest record is older than `retention.ms`;
 *     by size   the oldest goes as long as what stays is not less than `retention.bytes`.
 *
 *      1.log      31.log     61.log     91.log (in use)           retention.bytes
 *      ├── 9 MiB ─┼── 9 MiB ─┼── 9 MiB ─┼─ 2 MiB ─┤                   = 18 MiB:  1.log goes, 31.log stays
 *
 * The segment in use goes, too, when everything in it is too old. Ages are told by the records' own timestamps and this node's
 * wall clock: whoever writes times from the future keeps a segment that long, and a clock that is years ahead expires
 * everything. That is Kafka's rule; it is a policy about old data, and the only place where a wall clock decides anything.
 *
 * A leader decides, and says so in the log (cut.ts). Segments differ from replica to replica, so each removes its own files once
 * they lie below the start.
 */
import type { Clock } from '../platform/index.ts'
import { type Compaction, CutReason, type Shard } from '../replication/index.ts'
import { type LogStart, type SegmentFacts, youngestIn } from '../storage/index.ts'
import { type Compactions, type FloorWait, floorDue } from './compaction.ts'
import type { StoredLog } from './low-water.ts'
import type { PartitionSettings } from './partition-settings.ts'

export interface RetentionLimits {
  /** Infinite: none. */
  readonly retentionMs: number
  readonly retentionBytes: number
}

export interface RetainedLog {
  /** Oldest first; see `inTheLog`. */
  readonly segments: readonly SegmentFacts[]
  readonly start: LogStart
  /** Behind the last entry that the segments hold. */
  readonly end: LogStart
  /** Nothing from this index on may go. */
  readonly heldFrom: number
}

export interface RetentionCut {
  readonly start: LogStart
  readonly reason: CutReason
}

/** Where the log should start; null: where it does. */
export function retentionCut(log: RetainedLog, limits: RetentionLimits, wallMs: number): RetentionCut | null {
  const { segments } = log
  const startAfter = (i: number): LogStart => {
    const next = segments[i + 1]
    return next === undefined ? log.end : { index: next.firstIndex, offset: next.firstOffset }
  }
  const mayGo = (i: number): boolean => i < segments.length && startAfter(i).index <= log.heldFrom
  let gone = 0
  let reason: CutReason = CutReason.retentionTime
  while (mayGo(gone) && wallMs - youngestIn(segments, gone) > limits.retentionMs) gone++
  let total = 0
  for (let i = gone; i < segments.length; i++) total += segments[i]!.bytes
  while (mayGo(gone) && total - segments[gone]!.bytes >= limits.retentionBytes) {
    total -= segments[gone++]!.bytes
    reason = CutReason.retentionBytes
  }
  if (gone === 0) return null
  const start = startAfter(gone - 1)
  // Entries without records alone are not worth a cut, which is one itself.
  return start.offset > log.start.offset ? { start, reason } : null
}

/** Those below the start are going already. */
export function inTheLog(segments: readonly SegmentFacts[], start: LogStart): readonly SegmentFacts[] {
  // Cleaned ones lie below the start's index, and go from the list as soon as they lie below its offset.
  const first = segments.findLastIndex(({ firstIndex, cleaned }) => cleaned !== true && firstIndex <= start.index)
  return first <= 0 ? segments : segments.filter(({ cleaned }, i) => cleaned === true || i >= first)
}

function storedIn(segments: readonly SegmentFacts[], floorWaits: FloorWait | null): StoredLog {
  const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0)
  return { bytes, oldestMs: segments[0]?.maxTimestamp ?? -1, floorWaits }
}

/** The leader's look at one partition, now and then. */
export class RetentionCheck {
  readonly #shard: Shard
  readonly #clock: Clock
  readonly #compactions: Compactions
  #looking = false
  /** What the last look has found; null: there was none, or this node did not lead. */
  stored: StoredLog | null = null

  constructor(shard: Shard, clock: Clock, compactions: Compactions) {
    this.#shard = shard
    this.#clock = clock
    this.#compactions = compactions
  }

  /** `settings` again when the answer is there: it took its time. Null: this node does not lead any more. */
  check(settings: () => PartitionSettings | null): void {
    const now = settings()
    const shard = this.#shard
    if (this.#looking || now === null) return
    const retains = now.retentionMs !== Number.POSITIVE_INFINITY || now.retentionBytes !== Number.POSITIVE_INFINITY
    if (shard.startOffset === shard.committedOffset || (!retains && !now.compacted)) {
      this.stored = null
      shard.requestCompaction(null)
      return
    }
    this.#looking = true
    shard.segments((error, segments) => {
      this.#looking = false
      const limits = settings()
      if (error !== null || limits === null) return
      const { startIndex, startOffset, commitIndex, committedOffset } = shard
      const log = {
        segments: inTheLog(segments, { index: startIndex, offset: startOffset }),
        start: { index: startIndex, offset: startOffset },
        end: { index: commitIndex + 1, offset: committedOffset },
        heldFrom: shard.lowWaterMark.heldBy?.index ?? Number.MAX_SAFE_INTEGER,
      }
      const wallMs = this.#clock.wall()
      const cut = retentionCut(log, limits, wallMs)
      if (cut !== null) shard.requestCut(cut.start, cut.reason)
      const look = limits.compacted ? floorDue(log, limits, wallMs) : null
      this.stored = storedIn(log.segments, look?.waits ?? null)
      shard.requestCompaction(look === null ? null : this.#compactionDue(look.floor, limits, wallMs))
    })
  }

  #compactionDue(floor: LogStart | null, { deleteRetentionMs }: PartitionSettings, wallMs: number): Compaction | null {
    const compactions = this.#compactions
    const decided = compactions.floor.index
    const shownBelow = this.#shard.shownFor(deleteRetentionMs)
    if (floor !== null && floor.index > decided) return compactions.draft(floor, deleteRetentionMs, wallMs, shownBelow)
    // Until it has come to be the log's start, what was decided is on its way.
    if (floor !== null || decided !== this.#shard.startIndex) return null
    return compactions.again(deleteRetentionMs, wallMs, shownBelow)
  }
}

/** Parts into which the partitions of a node are divided, so that not all are looked at in one moment. */
const PARTS = 10

/**
 * Looks at every partition once in about `checkMs`. Steps are of random length, so that replicas do not cut, and then remove
 * files, all at the same time.
 */
export class RetentionRounds {
  readonly #checkMs: number
  readonly #clock: Clock
  readonly #below: (bound: number) => number
  readonly #partitions: () => Iterable<{ checkRetention(): void }>
  #waiting: { checkRetention(): void }[] = []
  #partSize = 0
  #timer: { cancel(): void } | null = null

  constructor(
    options: { readonly checkMs: number },
    collaborators: {
      readonly clock: Clock
      readonly below: (bound: number) => number
      readonly partitions: () => Iterable<{ checkRetention(): void }>
    },
  ) {
    this.#checkMs = options.checkMs
    this.#clock = collaborators.clock
    this.#below = collaborators.below
    this.#partitions = collaborators.partitions
  }

  /** Does nothing when it runs already. */
  start(): void {
    if (this.#timer !== null) return
    const stepMs = this.#checkMs / PARTS
    const delayMs = stepMs / 2 + (stepMs * this.#below(1024)) / 1024
    this.#timer = this.#clock.after(delayMs, () => {
      this.#timer = null
      this.#step()
    })
  }

  #step(): void {
    if (this.#waiting.length === 0) {
      this.#waiting = [...this.#partitions()]
      this.#partSize = Math.ceil(this.#waiting.length / PARTS)
      // The next partition starts it again.
      if (this.#partSize === 0) return
    }
    for (const partition of this.#waiting.splice(0, this.#partSize)) partition.checkRetention()
    this.start()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
  }
}
