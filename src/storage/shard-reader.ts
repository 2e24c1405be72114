/**
 * Reads committed entries back out of a shard's files, by index, by offset and by time.
 *
 * Segments from before this start are not opened until somebody asks for what is in them; then their header and index are
 * read once and kept for the few that were used last.
 *
 * Sums tell whether what is there is right, not whether all of it is there: a file that is missing, or was cut at the end of an
 * entry, leaves only whole ones. So a sealed segment must end where the next one starts, and the first entry of an answer must
 * be the one that was asked for. A reader that stepped over a hole would lose records without anybody noticing. Damage that a read
 * meets is told, so that it is repaired (log-repairs.ts). The read is answered with it where it lies in what was asked for; what a
 * damaged header or a missing file would have said of the rest is found another way.
 *
 * The log's start may move up under a read. A read keeps the list of segments that it began with: what it finds in them was
 * committed all the same, and a file that it finds gone is answered as if it had been asked for later, as below the start.
 *
 * Below the floor (cleaned-part.ts) an offset may be in a hole: then the answer begins with the next batch there is. When another
 * cleaning has replaced what was being read, or a file on the way to it was cut, the same question is asked of what is there now.
 */
import type { Clock, Disk, DiskFile, PlatformError } from '../platform/index.ts'
import type { Background } from './background.ts'
import { type Entry, nextOffsetAfter } from './entry.ts'
import { StorageError } from './errors.ts'
import { isNotFound } from './identity.ts'
import type { CleanedView } from './log-cleaner.ts'
import type { LogStart } from './log-start.ts'
import { call, type Procedure, run } from './procedure.ts'
import {
  completeIndex,
  damaged,
  isDamage,
  openSegment,
  readEntries,
  readFirstOffset,
  readNumbers,
  type Segment,
} from './segment.ts'
import { SHARD_SEGMENT_HEADER_BYTES } from './segment-format.ts'
import { SparseIndex } from './sparse-index.ts'

/** Sealed segments whose index is kept in memory, per shard. */
const INDEXES_MAX = 8

export type ReadDone = (error: StorageError | PlatformError | null, entries: Entry[]) => void

type Body = (segment: Segment, file: DiskFile, end: number) => Procedure<Entry[]>

export class ShardReader {
  readonly #shard: number
  /** Ascending; the last one is in use. The writer's own list, which changes under us. */
  readonly #segments: readonly Segment[]
  readonly #start: () => LogStart
  readonly #cleaned: () => CleanedView
  readonly #disk: Disk
  readonly #background: Background
  readonly #damageMet: (error: unknown) => void
  /** Sealed segments with an index in memory, the most recently used last. */
  #indexed: Segment[] = []

  constructor(
    shard: number,
    segments: readonly Segment[],
    start: () => LogStart,
    cleaned: () => CleanedView,
    collaborators: { disk: Disk; clock: Clock; background: Background; damageMet: (error: unknown) => void },
  ) {
    this.#shard = shard
    this.#segments = segments
    this.#start = start
    this.#cleaned = cleaned
    this.#disk = collaborators.disk
    this.#background = collaborators.background
    this.#damageMet = collaborators.damageMet
  }

  fromIndex(index: number, maxBytes: number, done: ReadDone): void {
    this.#run(this.#fromIndex(index, maxBytes), (error, entries) => done(error, entries ?? []))
  }

  fromOffset(offset: number, maxBytes: number, done: ReadDone): void {
    this.#run(this.#fromOffset(offset, maxBytes), (error, entries) => done(error, entries ?? []))
  }

  /** `otherwise` when every record in the files is older. */
  indexForTimestamp(timestamp: number, otherwise: number, done: (error: Error | null, index: number) => void): void {
    this.#run(this.#forTimestamp(timestamp, otherwise), (error, index) => done(error, index ?? otherwise))
  }

  /**
   * Sees to it that the numbers of all segments are known: of each once, and from the files beside them where possible. After a
   * start that may be thousands, and nobody waits for it, so it goes behind everybody's reads, one segment at a time.
   */
  learn(done: (error: StorageError | PlatformError | null) => void): void {
    this.#background.write((finished) =>
      run(this.#learnOne(), (error, more) => {
        finished()
        if (error === null && more === true) this.learn(done)
        else this.#answer(error, (met) => done(met))
      }),
    )
  }

  /** False: there is none left. */
  *#learnOne(): Procedure<boolean> {
    const segments = this.#segments.slice()
    for (const [at, segment] of segments.entries()) {
      const known = segment.timestampKnown && segment.createdMs !== null && segment.bytes !== null
      if (segment.dropped || segment.numbersLost || known) continue
      try {
        const sealed = at + 1 < segments.length
        const file = yield* this.#open(segment)
        let told = false
        try {
          told = yield* readNumbers(this.#disk, segment, file, sealed)
        } finally {
          yield* call<void>((done) => file.close(() => done(null)))
        }
        if (!told) yield* this.#within(segments, at, null)
      } catch (error) {
        if (segment.dropped) return true
        if (!isDamage(error)) throw error
        segment.numbersLost = true
        this.#damageMet(error)
      }
      return true
    }
    return false
  }

  #run<T>(procedure: Procedure<T>, done: (error: StorageError | PlatformError | null, value?: T) => void): void {
    this.#background.read((finished) =>
      run(procedure, (error, value) => {
        finished()
        this.#answer(error, (met) => done(met, value))
      }),
    )
  }

  #answer(error: Error | null, done: (error: StorageError | PlatformError | null) => void): void {
    if (error !== null) this.#damageMet(error)
    done(error as StorageError | PlatformError | null)
  }

  *#fromIndex(index: number, maxBytes: number): Procedure<Entry[]> {
    const segments = this.#segments.slice()
    const at = segments.findLastIndex(({ firstIndex }) => firstIndex <= index)
    if (at < 0 || index < this.#start().index) throw this.#belowStart(index)
    return yield* this.#within(segments, at, function* (segment, file, end) {
      const position = segment.index.positionOfIndex(index, SHARD_SEGMENT_HEADER_BYTES)
      const read = yield* readEntries({ segment, file, position, end, maxBytes }, (entry) => entry.index >= index)
      // Whoever asks knows that the log has this entry.
      if (read[0]?.index !== index) throw damaged(segment, position, `entry ${index} is not where it belongs`)
      return read
    })
  }

  *#fromOffset(offset: number, maxBytes: number): Procedure<Entry[]> {
    for (;;) {
      const start = this.#start()
      if (offset < start.offset) throw this.#offsetBelowStart(offset)
      const cleaned = this.#cleaned()
      const { floorOffset } = cleaned
      try {
        const found = offset < floorOffset ? yield* this.#fromCleaned(cleaned.segments, offset, maxBytes) : null
        return found ?? (yield* this.#fromCommitted(Math.max(offset, floorOffset), maxBytes))
      } catch (error) {
        if (cleaned === this.#cleaned() && start === this.#start()) throw error
      }
    }
  }

  /** Null: there is nothing from the offset on. */
  *#fromCleaned(segments: readonly Segment[], offset: number, maxBytes: number): Procedure<Entry[] | null> {
    const at = segments.findIndex(({ nextOffset }) => nextOffset! > offset)
    if (at < 0) return null
    return yield* this.#within(segments, at, function* (segment, file, end) {
      const position = segment.index.positionOfOffset(offset, SHARD_SEGMENT_HEADER_BYTES)
      const wanted = (entry: Entry): boolean => nextOffsetAfter(entry) > offset
      const read = yield* readEntries({ segment, file, position, end, maxBytes }, wanted)
      if (read.length === 0) throw damaged(segment, end, `nothing from offset ${offset} on`)
      return read
    })
  }

  *#fromCommitted(offset: number, maxBytes: number): Procedure<Entry[]> {
    const segments = this.#segments.slice()
    // The last segment that starts at or below the offset, of those that say where they start; the others are met on the way from there.
    let [low, high] = [0, segments.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      let [at, starts] = [middle, yield* this.#firstOffsetOf(segments[middle]!)]
      while (starts === null && at < high) starts = yield* this.#firstOffsetOf(segments[++at]!)
      if (starts !== null && starts <= offset) low = at
      else high = middle - 1
    }
    const first = segments[low]
    if (low === 0 && first !== undefined && ((yield* this.#firstOffsetOf(first)) ?? 0) > offset)
      throw this.#belowStart(first.firstIndex - 1)
    for (let at = low; at < segments.length; at++) {
      const entries = yield* this.#within(segments, at, function* (segment, file, end) {
        const position = segment.index.positionOfOffset(offset, SHARD_SEGMENT_HEADER_BYTES)
        const wanted = (entry: Entry): boolean => entry.recordCount > 0 && nextOffsetAfter(entry) > offset
        const read = yield* readEntries({ segment, file, position, end, maxBytes }, wanted)
        // Offsets have no holes.
        if (read.length > 0 && read[0]!.firstOffset > offset)
          throw damaged(segment, position, `offset ${offset} is not where it belongs`)
        return read
      })
      if (entries.length > 0) return entries
    }
    return []
  }

  *#forTimestamp(timestamp: number, otherwise: number): Procedure<number> {
    const segments = this.#segments.slice()
    for (const [at, segment] of segments.entries()) {
      if (segment.dropped) continue
      yield* this.#within(segments, at, null)
      if (segment.maxTimestamp < timestamp) continue
      return Math.max(this.#start().index, segment.index.indexOfTimestamp(timestamp, segment.firstIndex))
    }
    return otherwise
  }

  /**
   * Opens a segment, completes its index, and reads in it as it is at this moment. Nothing may be missing behind it where `body` finds
   * nothing in it, or, null, is about to pass over it.
   */
  *#within(segments: readonly Segment[], at: number, body: Body | null): Procedure<Entry[]> {
    const segment = segments[at]!
    const next = segments[at + 1]
    const file = yield* this.#open(segment)
    try {
      const isCleaned = segment.generation !== null
      const sealed = next !== undefined || isCleaned
      if (!segment.indexed) yield* completeIndex(this.#disk, segment, file, sealed)
      if (sealed) this.#remember(segment)
      const hole = isCleaned || next === undefined ? null : holeBetween(segment, next)
      if (hole !== null) this.#damageMet(hole)
      const entries = body === null ? [] : yield* body(segment, file, segment.bytes!)
      if (hole !== null && entries.length === 0) throw hole
      return entries
    } finally {
      yield* call<void>((done) => file.close(() => done(null)))
    }
  }

  /** Null: the file is damaged there, or is not. */
  *#firstOffsetOf(segment: Segment): Procedure<number | null> {
    if (segment.firstOffset !== null) return segment.firstOffset
    try {
      const file = yield* this.#open(segment)
      try {
        return yield* readFirstOffset(segment, file)
      } finally {
        yield* call<void>((done) => file.close(() => done(null)))
      }
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#damageMet(error)
      return null
    }
  }

  /** A file that is open stays readable when its name is removed. */
  *#open(segment: Segment): Procedure<DiskFile> {
    try {
      return yield* openSegment(this.#disk, segment)
    } catch (error) {
      throw segment.dropped && isNotFound(error) ? this.#belowStart(segment.firstIndex) : error
    }
  }

  #remember(segment: Segment): void {
    this.#indexed = this.#indexed.filter((other) => other !== segment)
    this.#indexed.push(segment)
    if (this.#indexed.length <= INDEXES_MAX) return
    const oldest = this.#indexed.shift()!
    oldest.index = new SparseIndex()
    oldest.indexed = false
  }

  /** Cut, or, at or above the start, missing. */
  #belowStart(index: number): StorageError {
    const shard = this.#shard
    const start = this.#start().index
    if (index < start) {
      const details = { code: 'BELOW_LOG_START', shard, index, start } as const
      return new StorageError(details, `entry ${index} of shard ${shard} is below the start of its log, ${start}`)
    }
    const reason = 'the file before it is missing'
    const file = this.#segments[0]?.path ?? `the folder of shard ${shard}`
    const details = { code: 'SHARD_LOG_MISSING', shard, file, reason } as const
    return new StorageError(details, `the log of shard ${shard} has no entry ${index} before ${file}: ${reason}`)
  }

  #offsetBelowStart(offset: number): StorageError {
    const start = this.#start().offset
    const details = { code: 'OFFSET_BELOW_LOG_START', shard: this.#shard, offset, start } as const
    return new StorageError(details, `offset ${offset} of shard ${this.#shard} is below the start of its log, ${start}`)
  }
}

/** A whole file ends with the entry before the next one's first. */
function holeBetween(segment: Segment, next: Segment): StorageError | null {
  const { lastIndexFound, bytes } = segment
  if (lastIndexFound === null || lastIndexFound === next.firstIndex - 1) return null
  return damaged(segment, bytes ?? 0, `the next segment starts with entry ${next.firstIndex}`)
}
