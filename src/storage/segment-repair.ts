/**
 * A file of a shard's log on its way from another replica, beside the damaged one that it will replace.
 *
 *     61.log           damaged: still there, and what can be read of it is
 *     61.log.repair    the same entries, from a peer: verified one by one as they come
 *     91.log           whole; its header names the sum of entry 90
 *
 * Committed entries are the same bytes on every replica, and each carries the sum of the one before it. So the sum of the last one
 * fixes all of them: whoever sent the range, and whatever happened to it on the way, if the last entry is the one that our own
 * next file (or our own memory) names, the range is what was lost. Nothing is taken on the peer's word.
 */
import { dirname } from 'node:path'
import type { Disk, DiskFile } from '../platform/index.ts'
import { crc32c } from '../stdx/index.ts'
import type { Background } from './background.ts'
import { crcThrough, type Entry, nextOffsetAfter } from './entry.ts'
import { StorageError } from './errors.ts'
import { repairFile, shardSegmentFile } from './layout.ts'
import { call, type Procedure, run } from './procedure.ts'
import type { Room } from './room.ts'
import { createFile, Segment } from './segment.ts'
import { encodeSegmentIndex, encodeShardSegmentHeader, SHARD_SEGMENT_HEADER_BYTES } from './segment-format.ts'
import { SparseIndex } from './sparse-index.ts'
import { maxTimestampOf } from './timestamps.ts'

/** Entries that one file of a log must hold again. */
export interface RepairRange {
  readonly shard: number
  readonly firstIndex: number
  readonly lastIndex: number
  /** `crc` of the entry at `lastIndex`, as this replica knows it from elsewhere. */
  readonly lastCrc: number
  /** For the header of the new file; 0 when the damaged one does not say. */
  readonly createdMs: number
  /** The damaged file; null: it is missing, and no name stands for it. */
  readonly target: Segment | null
  /** As its damage is told. */
  readonly file: string
}

export type RepairDone = (error: StorageError | Error | null) => void

export class SegmentRepair {
  readonly range: RepairRange
  readonly path: string
  readonly #directory: string
  readonly #isWanted: () => boolean
  readonly #disk: Disk
  readonly #background: Background
  readonly #room: Room
  #lastIndex: number
  #lastCrc: number
  #file: DiskFile | null = null
  #first: Entry | null = null
  #previous: Entry | null = null
  #bytes = 0
  #segmentCrc = 0
  #maxTimestamp = -1
  readonly #index = new SparseIndex()

  /** `directory`: the shard's folder, which is not to be made again when nobody wants its log any more. */
  constructor(
    range: RepairRange,
    directory: string,
    isWanted: () => boolean,
    collaborators: { disk: Disk; background: Background; room: Room },
  ) {
    this.range = range
    this.path = repairFile(shardSegmentFile(directory, range.firstIndex))
    this.#directory = directory
    this.#isWanted = isWanted
    this.#disk = collaborators.disk
    this.#background = collaborators.background
    this.#room = collaborators.room
    this.#lastIndex = range.lastIndex
    this.#lastCrc = range.lastCrc
  }

  get nextIndex(): number {
    return this.#previous === null ? this.range.firstIndex : this.#previous.index + 1
  }

  get lastIndex(): number {
    return this.#lastIndex
  }

  get complete(): boolean {
    return this.nextIndex > this.#lastIndex
  }

  get segmentCrc(): number {
    return this.#segmentCrc
  }

  /** The log has grown meanwhile: so much more is wanted. */
  extendTo(lastIndex: number, lastCrc: number): void {
    this.#lastIndex = lastIndex
    this.#lastCrc = lastCrc
  }

  /** The next entries of the range. `REPAIR_REFUSED`: they are not; nothing of them is kept. */
  add(entries: readonly Entry[], done: RepairDone): void {
    const wrong = this.#wrongWith(entries)
    this.#background.write((finished) =>
      run(wrong === null ? this.#write(entries) : refuse(wrong), (error) => {
        finished()
        done(error)
      }),
    )
  }

  /** Gives it up. */
  discard(done: () => void): void {
    this.#background.write((finished) =>
      run(this.remove(), () => {
        finished()
        done()
      }),
    )
  }

  *remove(): Procedure<void> {
    const file = this.#file
    this.#file = null
    if (file === null) return
    yield* call<void>((done) => file.close(() => done(null)))
    // What cannot be removed now the next opening removes.
    yield* call<void>((done) => this.#disk.remove(this.path, () => done(null)))
  }

  /** Makes it durable under its own name, and lets the file go. */
  *seal(): Procedure<void> {
    const file = this.#file!
    this.#file = null
    try {
      yield* call<void>((done) => file.datasync(done))
    } finally {
      yield* call<void>((done) => file.close(() => done(null)))
    }
    yield* call<void>((done) => this.#disk.syncDirectory(dirname(this.path), done))
  }

  /** As the log is to know it from now on. */
  segment(): Segment {
    const { shard, firstIndex, createdMs } = this.range
    const segment = new Segment(shard, this.#directory, firstIndex)
    segment.firstOffset = this.#first!.firstOffset
    segment.bytes = this.#bytes
    segment.index = this.#index
    segment.indexed = true
    segment.maxTimestamp = this.#maxTimestamp
    segment.timestampKnown = true
    segment.createdMs = createdMs
    segment.lastIndexFound = this.#previous!.index
    return segment
  }

  /** The bytes of the index beside it. */
  indexFile(): Buffer {
    const { shard, firstIndex } = this.range
    const last = this.#previous!
    const summary = {
      shard,
      firstIndex,
      lastIndex: last.index,
      nextOffset: nextOffsetAfter(last),
      segmentBytes: this.#bytes,
      maxTimestamp: this.#maxTimestamp,
      segmentCrc: this.#segmentCrc,
      lastCrc: last.crc,
    }
    return encodeSegmentIndex(summary, this.#index)
  }

  #wrongWith(entries: readonly Entry[]): StorageError | null {
    const { shard, firstIndex } = this.range
    let previous = this.#previous
    for (const entry of entries) {
      const expected = previous === null ? firstIndex : previous.index + 1
      let reason: string | null = null
      if (entry.shard !== shard || entry.index !== expected) reason = `it is entry ${entry.index} of ${entry.shard}`
      else if (previous !== null && entry.previousCrc !== previous.crc) reason = 'it follows another entry'
      else if (previous !== null && entry.firstOffset !== nextOffsetAfter(previous)) reason = 'a hole in the offsets'
      else if (entry.index === this.#lastIndex && entry.crc !== this.#lastCrc)
        reason = 'the range does not end with the entry that this log goes on from'
      else if (entry.index > this.#lastIndex) reason = 'it was not asked for'
      if (reason !== null) {
        const details = { code: 'REPAIR_REFUSED', shard, index: expected, reason } as const
        const what = `entry ${expected} of shard ${shard}, asked for to repair ${this.path}, is refused`
        return new StorageError(details, `${what}: ${reason}`)
      }
      previous = entry
    }
    return null
  }

  *#write(entries: readonly Entry[]): Procedure<void> {
    const first = entries[0]
    if (first === undefined) return
    yield* this.#room.leaveToJournal()
    if (!this.#isWanted()) {
      const { shard } = this.range
      throw new StorageError(
        { code: 'SHARD_REMOVED', shard },
        `the log of shard ${shard} was closed while it was repaired`,
      )
    }
    const pieces = entries.map(({ bytes }) => bytes)
    if (this.#file === null) {
      const { shard, firstIndex, createdMs } = this.range
      const { previousCrc, firstOffset } = first
      const header = encodeShardSegmentHeader({ shard, previousCrc, firstIndex, firstOffset, createdMs })
      const file = yield* createFile(this.#disk, this.path)
      this.#file = file
      yield* call<void>((done) => file.truncate(0, done))
      yield* call<void>((done) => file.write([header], 0, done))
      this.#first = first
      this.#bytes = SHARD_SEGMENT_HEADER_BYTES
      this.#segmentCrc = crc32c(header)
    }
    const file = this.#file
    yield* call<void>((done) => file.write(pieces, this.#bytes, done))
    for (const entry of entries) {
      this.#index.add(entry, this.#bytes, this.#maxTimestamp)
      this.#maxTimestamp = Math.max(this.#maxTimestamp, maxTimestampOf(entry))
      this.#segmentCrc = crcThrough(this.#segmentCrc, entry)
      this.#bytes += entry.bytes.length
      this.#previous = entry
    }
  }
}

// biome-ignore lint/correctness/useYield: a step that fails before it does anything.
function* refuse(error: StorageError): Procedure<void> {
  throw error
}
