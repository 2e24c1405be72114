/**
 * What is known to be damaged in one shard's log, and the step that puts a repaired file in its place.
 *
 * Damage is known in memory only. It stays on the disk until it is repaired, so whoever starts anew finds it again: by reading it,
 * or by scrubbing. Nothing here makes a log shorter; a damaged file stays where it is, and readable where it can be read, until
 * another one with the same range is whole and on the disk. Then it goes to the quarantine.
 *
 *     61.log  ──rename──►  quarantine/16-00…61-7f3a91c2.log
 *     61.log.repair  ──rename──►  61.log
 *          crash between the two: 61.log is missing, which is damage like any other
 *
 * Other replicas may have cut theirs since, and give back only what counts: from the log's start on, which is the new file's name. A
 * checkpoint may name the old one as the one in use, and an opening keeps nothing behind that one. So the old one stays where it is,
 * and damaged, until a checkpoint knows the new one:
 *
 *     61.log.repair  ──rename──►  70.log    ─ checkpoint ─►    61.log  ──rename──►  quarantine
 *          crash before the checkpoint: 70.log goes, and 61.log is as damaged as it was
 *
 * A file's range goes from its first index to before the next one's, or to the end of what was written: so a file that is missing
 * is a hole behind the one before it, and repaired with it. Only where the hole is at the front there is none before.
 */
import { basename, join } from 'node:path'
import type { Disk } from '../platform/index.ts'
import { TypedError } from '../stdx/index.ts'
import { makeFolder } from './atomic-file.ts'
import type { Background } from './background.ts'
import { StorageError } from './errors.ts'
import type { StorageEvent } from './events.ts'
import { isOfCleanedSegment, segmentNumberIn } from './layout.ts'
import type { LogStart } from './log-start.ts'
import { call, type Procedure } from './procedure.ts'
import type { Room } from './room.ts'
import { isDamage, openSegment, readHeader, type Segment } from './segment.ts'
import { type RepairRange, SegmentRepair } from './segment-repair.ts'
import type { SegmentWriter } from './segment-writer.ts'
import { removeFiles } from './shard-folders.ts'

export interface LogDamage {
  readonly shard: number
  readonly file: string
  readonly position: number
  readonly reason: string
}

export interface LogRepairsOptions {
  readonly shard: number
  readonly directory: string
  /** Where damaged files go. */
  readonly quarantine: string
}

export interface LogRepairsCollaborators {
  readonly disk: Disk
  readonly background: Background
  readonly room: Room
  readonly trace: (event: StorageEvent) => void
  /** `Random.below`. */
  readonly below: (bound: number) => number
  /** There is something to repair that was not known before. */
  readonly damageFound: (shard: number) => void
  /** The next checkpoint has something to say of this shard, and is to come soon. */
  readonly checkpointDue: (shard: number) => void
}

/** Under the name of another segment, in the place of `old`. */
interface Renamed {
  readonly old: Segment
  readonly segment: Segment
  readonly lastIndex: number
}

/** The log begins with a hole: its first file is not there. */
const FRONT = 0
/** What compaction has left: no other replica has the same bytes, so all of it is fetched anew (part-arrival.ts). */
const CLEANED = -1

/** `moot`: nobody needs it any more. `more`: the log has grown meanwhile, and the repair with it. */
export type SwapOutcome = 'done' | 'moot' | 'more'

export class LogRepairs {
  readonly #options: LogRepairsOptions
  readonly #writer: SegmentWriter
  readonly #start: () => LogStart
  readonly #the: LogRepairsCollaborators
  /** By the first index of the file. */
  readonly #damages = new Map<number, LogDamage>()
  /** Until they are in the quarantine, whatever has become of the log. */
  readonly #damagedFiles = new Set<string>()
  /** What becomes of its files is nobody's business any more. */
  #closed = false
  /** Of those that are damaged still: replaced in memory, and not in a checkpoint yet. */
  #renamed: Renamed[] = []

  constructor(
    options: LogRepairsOptions,
    writer: SegmentWriter,
    start: () => LogStart,
    collaborators: LogRepairsCollaborators,
  ) {
    this.#options = options
    this.#writer = writer
    this.#start = start
    this.#the = collaborators
  }

  /** The log is closed, and may be removed: a file that is gone is no damage, and none is to be made again. */
  close(): void {
    this.#closed = true
  }

  get damages(): readonly LogDamage[] {
    return [...this.#damages.values()]
  }

  /** Damage, by whoever met it; anything else is none of ours. */
  note(error: unknown): void {
    if (!isDamage(error) || this.#closed) return
    const { file, position, reason } = error.details
    const key = isOfCleanedSegment(basename(file)) ? CLEANED : (segmentNumberIn(basename(file)) ?? FRONT)
    this.#note(key, { shard: this.#options.shard, file, position, reason })
  }

  /** What is known now, for `isSound` to be told of. */
  damageOf({ firstIndex }: Segment): LogDamage | null {
    return this.#damages.get(firstIndex) ?? null
  }

  /**
   * The file was read up to `end`, and is what it should be: damage that was `known` before, and lies there, was the reading's fault. What
   * was met since, or lies behind, is another matter.
   */
  isSound(segment: Segment, known: LogDamage | null, end: number): void {
    if (this.damageOf(segment) !== known || (known !== null && known.position >= end)) return
    segment.numbersLost = false
    this.#damages.delete(segment.firstIndex)
    this.#damagedFiles.delete(segment.path)
  }

  /** All of what compaction has left was read, and is what was written. */
  cleanedIsSound(known: LogDamage | null): void {
    if (known === null || this.cleanedDamage !== known) return
    this.#damages.delete(CLEANED)
    this.#damagedFiles.delete(known.file)
  }

  get cleanedDamage(): LogDamage | null {
    return this.#damages.get(CLEANED) ?? null
  }

  /** This is what compaction has left now. */
  cleanedReplaced(segments: readonly Segment[]): void {
    const damage = this.#damages.get(CLEANED)
    if (damage !== undefined && !segments.some(({ path }) => path === damage.file)) this.#damages.delete(CLEANED)
  }

  /** Of files that are to be removed: those that are damaged go to the quarantine instead. Answers the names of the others. */
  *keepDamaged(segments: readonly Segment[]): Procedure<string[]> {
    const others: string[] = []
    for (const segment of segments) {
      if (this.#damagedFiles.has(segment.path)) yield* this.#quarantine(segment)
      else others.push(basename(segment.path))
      this.#damagedFiles.delete(segment.path)
    }
    return others
  }

  noteFront(reason: string): void {
    const { shard, directory: file } = this.#options
    this.#note(FRONT, { shard, file, position: 0, reason })
  }

  #note(firstIndex: number, damage: LogDamage): void {
    if (this.#damages.has(firstIndex)) return
    this.#damages.set(firstIndex, damage)
    this.#damagedFiles.add(damage.file)
    this.#the.trace({ type: 'shard-log-damaged', ...damage })
    this.#the.damageFound(damage.shard)
  }

  /**
   * What can be repaired next, of files that are not `tried`: the highest first, since a file is told to be right by the one behind it.
   */
  *next(tried: ReadonlySet<string>): Procedure<SegmentRepair | null> {
    for (const firstIndex of [...this.#damages.keys()].sort((a, b) => b - a)) {
      if (this.#renamed.some(({ old }) => old.firstIndex === firstIndex)) continue
      try {
        const range = yield* this.#rangeOf(firstIndex)
        if (range === 'unknown' || (range !== null && tried.has(range.file))) continue
        if (range !== null) return new SegmentRepair(range, this.#options.directory, () => !this.#closed, this.#the)
        this.#damages.delete(firstIndex)
      } catch (error) {
        // The file that would tell is damaged itself, and has its turn when this is called again.
        if (!isDamage(error)) throw error
        this.note(error)
      }
    }
    return null
  }

  /** Null: it was cut, or holds nothing that was written. `unknown`: the writer is just about to begin the next file. */
  *#rangeOf(firstIndex: number): Procedure<RepairRange | null | 'unknown'> {
    if (firstIndex === CLEANED) return 'unknown'
    const { segments, position } = this.#writer
    const { shard, directory } = this.#options
    const start = this.#start().index
    const at = segments.findIndex((segment) => segment.firstIndex === firstIndex)
    const target = segments[at] ?? null
    const next = target === null ? segments[0] : segments[at + 1]
    if (target === null && (firstIndex !== FRONT || next === undefined || next.firstIndex <= start)) return null
    const from = target === null ? start : Math.max(target.firstIndex, start)
    const file = target?.path ?? directory
    const createdMs = target === null ? 0 : yield* this.#createdMs(target)
    if (next === undefined) {
      if (position === null) return 'unknown'
      const { lastIndex, lastCrc } = position
      return lastIndex < from ? null : { shard, firstIndex: from, lastIndex, lastCrc, createdMs, target, file }
    }
    const lastIndex = next.firstIndex - 1
    if (lastIndex < from) return null
    const lastCrc = yield* this.#previousCrcOf(next)
    return { shard, firstIndex: from, lastIndex, lastCrc, createdMs, target, file }
  }

  *#previousCrcOf(segment: Segment): Procedure<number> {
    const file = yield* openSegment(this.#the.disk, segment)
    try {
      return (yield* readHeader(segment, file)).previousCrc
    } finally {
      yield* call<void>((done) => file.close(() => done(null)))
    }
  }

  *#createdMs(segment: Segment): Procedure<number> {
    if (segment.createdMs !== null) return segment.createdMs
    try {
      yield* this.#previousCrcOf(segment)
    } catch (error) {
      if (!isDamage(error)) throw error
    }
    return segment.createdMs ?? 0
  }

  /** One piece of the log's work: nothing else changes its files meanwhile, but a cut may take them off its list. */
  *swap(repair: SegmentRepair): Procedure<SwapOutcome> {
    const { target } = repair.range
    const key = target?.firstIndex ?? FRONT
    const range = target === null || !target.dropped ? yield* this.#rangeOf(key) : null
    if (range === null || range === 'unknown' || range.target !== target || range.lastIndex < repair.lastIndex) {
      yield* repair.remove()
      if (range === null) this.#damages.delete(key)
      return 'moot'
    }
    if (range.lastIndex > repair.lastIndex) {
      repair.extendTo(range.lastIndex, range.lastCrc)
      return 'more'
    }
    const { disk } = this.#the
    const { shard, directory } = this.#options
    const { segments } = this.#writer
    yield* repair.seal()
    if (segments.at(-1) === target) yield* this.#synced(target.path, this.#writer.release())
    const segment = repair.segment()
    const renamed = target !== null && target.path !== segment.path
    const quarantined = target === null || renamed ? null : yield* this.#quarantine(target)
    yield* call<void>((done) => disk.rename(repair.path, segment.path, done))
    yield* this.#synced(
      directory,
      call<void>((done) => disk.syncDirectory(directory, done)),
    )
    if (target !== null && !renamed) this.#damagedFiles.delete(target.path)
    const { lastIndex } = repair
    // One that is on the list still is named by a checkpoint, whatever of it counts: it stays, whole.
    if (target === null ? lastIndex < this.#start().index : target.dropped) {
      this.#damages.delete(key)
      yield* removeFiles(disk, directory, [basename(segment.path)])
      return 'moot'
    }
    yield* this.#writer.exchange(target, segment, repair)
    if (renamed) {
      this.#renamed.push({ old: target, segment, lastIndex })
      this.#the.checkpointDue(shard)
    } else this.#isRepaired(key, segment, lastIndex, quarantined)
    return 'done'
  }

  /** A sync that fails ends the log here as everywhere: asked again it says yes to what it has lost. */
  *#synced(file: string, sync: Procedure<void>): Procedure<void> {
    const { shard } = this.#options
    try {
      yield* sync
    } catch (cause) {
      const reason = (cause as Error).message
      const message = `the log of shard ${shard} could not be synced (${file}): ${reason}`
      throw new StorageError({ code: 'SHARD_LOG_FAILED', shard, file, operation: 'sync', reason }, message, { cause })
    }
  }

  /** A checkpoint on the disk names this segment as the one in use. Answers the files that are needed no more. */
  named(inUse: number): Segment[] {
    const [known, unknown] = [this.#renamed, [] as Renamed[]]
    this.#renamed = unknown
    const over: Segment[] = []
    for (const renamed of known) {
      const { old, segment, lastIndex } = renamed
      if (inUse < segment.firstIndex) unknown.push(renamed)
      else {
        this.#isRepaired(old.firstIndex, segment, lastIndex, null)
        over.push(old)
      }
    }
    return over
  }

  /** The log begins anew: nothing of it is damaged any more, whatever was repaired. Answers the files that are on no list. */
  beganAnew(): Segment[] {
    const over = this.#renamed.map(({ old }) => old)
    this.#renamed = []
    for (const { firstIndex } of over) this.#damages.delete(firstIndex)
    return over
  }

  #isRepaired(key: number, { path: file, firstIndex, bytes }: Segment, lastIndex: number, quarantined: string | null) {
    this.#damages.delete(key)
    const { shard } = this.#options
    this.#the.trace({ type: 'shard-log-repaired', shard, file, firstIndex, lastIndex, bytes: bytes!, quarantined })
  }

  /** Null: there was nothing. */
  *#quarantine({ path, firstIndex, generation }: Segment): Procedure<string | null> {
    const { disk, below } = this.#the
    const { quarantine, shard } = this.#options
    const suffix = below(1 << 30)
      .toString(16)
      .padStart(8, '0')
    const aside = join(quarantine, `${shard}-${firstIndex}-${suffix}.${generation === null ? 'log' : 'cleaned'}`)
    yield* makeFolder(disk, quarantine)
    try {
      yield* call<void>((done) => disk.rename(path, aside, done))
    } catch (error) {
      if (!(error instanceof TypedError) || error.code !== 'DISK_NOT_FOUND') throw error
      return null
    }
    yield* call<void>((done) => disk.syncDirectory(quarantine, done))
    return aside
  }
}
