/**
 * Reads committed entries back out of a shard's files, by index, by offset and by time.
 *
 * Segments from before this start are not opened until somebody asks for what is in them; then their header and index are
 * read once and kept for the few that were used last.
 */
import type { Clock, Disk, DiskFile, PlatformError } from '../platform/index.ts'
import type { Background } from './background.ts'
import { type Entry, nextOffsetAfter } from './entry.ts'
import { StorageError } from './errors.ts'
import { call, type Procedure, run } from './procedure.ts'
import { completeIndex, readEntries, readFirstOffset, type Segment } from './segment.ts'
import { SHARD_SEGMENT_HEADER_BYTES } from './segment-format.ts'
import { SparseIndex } from './sparse-index.ts'

/** Sealed segments whose index is kept in memory, per shard. */
const INDEXES_MAX = 8

export type ReadDone = (error: StorageError | PlatformError | null, entries: Entry[]) => void

type Body<T> = (segment: Segment, file: DiskFile, end: number) => Procedure<T>

export class ShardReader {
  readonly #shard: number
  /** Ascending; the last one is in use. The writer's own list. */
  readonly #segments: readonly Segment[]
  readonly #disk: Disk
  readonly #background: Background
  /** Sealed segments with an index in memory, the most recently used last. */
  #indexed: Segment[] = []

  constructor(
    shard: number,
    segments: readonly Segment[],
    collaborators: { disk: Disk; clock: Clock; background: Background },
  ) {
    this.#shard = shard
    this.#segments = segments
    this.#disk = collaborators.disk
    this.#background = collaborators.background
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

  #run<T>(procedure: Procedure<T>, done: (error: StorageError | PlatformError | null, value?: T) => void): void {
    this.#background.read((finished) =>
      run(procedure, (error, value) => {
        finished()
        done(error as StorageError | PlatformError | null, value)
      }),
    )
  }

  *#fromIndex(index: number, maxBytes: number): Procedure<Entry[]> {
    const at = this.#segments.findLastIndex(({ firstIndex }) => firstIndex <= index)
    if (at < 0) throw this.#belowStart(index)
    const entries = yield* this.#within(at, function* (segment, file, end) {
      const position = segment.index.positionOfIndex(index, SHARD_SEGMENT_HEADER_BYTES)
      return yield* readEntries({ segment, file, position, end, maxBytes }, (entry) => entry.index >= index)
    })
    return entries ?? []
  }

  *#fromOffset(offset: number, maxBytes: number): Procedure<Entry[]> {
    // The last segment that starts at or below the offset; the first one for an offset from before the log.
    let [low, high] = [0, this.#segments.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if ((yield* this.#firstOffsetOf(this.#segments[middle]!)) <= offset) low = middle
      else high = middle - 1
    }
    for (let at = low; at < this.#segments.length; at++) {
      const entries = yield* this.#within(at, function* (segment, file, end) {
        const position = segment.index.positionOfOffset(offset, SHARD_SEGMENT_HEADER_BYTES)
        const wanted = (entry: Entry): boolean => entry.recordCount > 0 && nextOffsetAfter(entry) > offset
        return yield* readEntries({ segment, file, position, end, maxBytes }, wanted)
      })
      if (entries !== null && entries.length > 0) return entries
    }
    return []
  }

  *#forTimestamp(timestamp: number, otherwise: number): Procedure<number> {
    for (let at = 0; at < this.#segments.length; at++) {
      yield* this.#within(at, null)
      const segment = this.#segments[at]!
      if (segment.maxTimestamp >= timestamp) return segment.index.indexOfTimestamp(timestamp, segment.firstIndex)
    }
    return otherwise
  }

  /** Opens a segment, completes its index, and reads in it as it is at this moment. */
  *#within<T>(at: number, body: Body<T> | null): Procedure<T | null> {
    const segment = this.#segments[at]!
    const file = yield* call<DiskFile>((done) => this.#disk.open(segment.path, 'read', done))
    try {
      const sealed = at < this.#segments.length - 1
      if (!segment.indexed) yield* completeIndex(this.#disk, segment, file, sealed)
      if (sealed) this.#remember(segment)
      return body === null ? null : yield* body(segment, file, segment.bytes!)
    } finally {
      yield* call<void>((done) => file.close(() => done(null)))
    }
  }

  *#firstOffsetOf(segment: Segment): Procedure<number> {
    if (segment.firstOffset !== null) return segment.firstOffset
    const file = yield* call<DiskFile>((done) => this.#disk.open(segment.path, 'read', done))
    try {
      return yield* readFirstOffset(segment, file)
    } finally {
      yield* call<void>((done) => file.close(() => done(null)))
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

  #belowStart(index: number): StorageError {
    const start = this.#segments[0]?.firstIndex ?? 0
    const details = { code: 'BELOW_LOG_START', shard: this.#shard, index, start } as const
    return new StorageError(details, `entry ${index} of shard ${this.#shard} is below the start of its log, ${start}`)
  }
}
