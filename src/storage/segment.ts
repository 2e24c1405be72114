/**
 * One file of a shard's log: what is known of it in memory, and reading entries out of it.
 *
 * Whatever is read is verified before anybody sees it: each entry's own sum, that it is this shard's, and that it follows the
 * one before it. A bad one is an error with a place, and never stepped over. A sector that the drive gives up on (EIO) is bad like one
 * that it misreads: there are peers to repair both from.
 */
import { dirname } from 'node:path'
import type { Disk, DiskFile } from '../platform/index.ts'
import { TypedError } from '../stdx/index.ts'
import { makeFolder, readFile } from './atomic-file.ts'
import { decodeEntry, ENTRY_BYTES_MAX, ENTRY_HEADER_BYTES, type Entry, nextOffsetAfter } from './entry.ts'
import { StorageError } from './errors.ts'
import { isNotFound, isUnreadable } from './identity.ts'
import { cleanedIndexFile, cleanedSegmentFile, shardIndexFile, shardSegmentFile } from './layout.ts'
import { call, type Procedure } from './procedure.ts'
import {
  decodeSegmentIndex,
  decodeShardSegmentHeader,
  type SegmentSummary,
  SHARD_SEGMENT_HEADER_BYTES,
  type ShardSegmentHeader,
} from './segment-format.ts'
import { SparseIndex } from './sparse-index.ts'
import { maxTimestampOf } from './timestamps.ts'
import { newerFormat } from './versions.ts'

const READ_BYTES_MIN = 64 << 10
/** What a drive gives up on is a sector of a few KiB. */
const READ_BYTES_NARROW = 4 << 10
const INDEX_FILE_BYTES_MAX = 64 << 20

export interface DecodedIndex {
  readonly summary: SegmentSummary
  readonly index: SparseIndex
}

export class Segment {
  readonly shard: number
  readonly firstIndex: number
  /** The cleaning that made it; null for one with all that was committed. */
  readonly generation: number | null
  readonly path: string
  readonly indexPath: string
  /** Null until its header was read. */
  firstOffset: number | null
  /** Valid bytes, header included; null until asked of a segment from before this start. */
  bytes: number | null
  index = new SparseIndex()
  /** `index` has points from the segment's start on, not only for what was written since this start. */
  indexed = false
  /** Of all its entries as far as known. */
  maxTimestamp = -1
  /** `maxTimestamp` is of all of them, not only of those that were written since this start. */
  timestampKnown = false
  /** Wall clock, from its header; null until that was read, 0 when it does not say. */
  createdMs: number | null = null
  /** Some of these were looked for and cannot be read: it is damaged, until it is repaired. */
  numbersLost = false
  /** Below the log's start: its file is gone or going, and a read that began earlier may not find it. */
  dropped = false
  /** Of a cleaned segment: after its last batch. */
  nextOffset: number | null = null
  /** As found in the sealed file when its index was completed; null before. */
  lastIndexFound: number | null = null

  constructor(shard: number, directory: string, firstIndex: number, generation: number | null = null) {
    this.shard = shard
    this.firstIndex = firstIndex
    this.generation = generation
    this.path =
      generation === null
        ? shardSegmentFile(directory, firstIndex)
        : cleanedSegmentFile(directory, firstIndex, generation)
    this.indexPath =
      generation === null ? shardIndexFile(directory, firstIndex) : cleanedIndexFile(directory, firstIndex, generation)
    this.firstOffset = null
    this.bytes = null
  }
}

export interface SegmentRead {
  readonly segment: Segment
  readonly file: DiskFile
  readonly position: number
  /** Where the valid bytes end. */
  readonly end: number
  readonly maxBytes: number
}

/**
 * Entries from the first that `wanted` accepts, until `maxBytes` are reached: at least that one, if there is one. Damage behind it
 * ends the answer, and is met by whoever asks for what comes next.
 */
export function* readEntries(request: SegmentRead, wanted: (entry: Entry) => boolean): Procedure<Entry[]> {
  const entries: Entry[] = []
  let bytes = 0
  for (let chunk: Entry[] | null = null, reader = new ChunkReader(request); ; ) {
    try {
      chunk = yield* reader.next()
    } catch (error) {
      if (entries.length === 0 || !isDamage(error)) throw error
      return entries
    }
    if (chunk === null) return entries
    for (const entry of chunk) {
      if (entries.length === 0 && !wanted(entry)) continue
      if (entries.length > 0 && bytes + entry.bytes.length > request.maxBytes) return entries
      entries.push(entry)
      bytes += entry.bytes.length
    }
    if (bytes >= request.maxBytes) return entries
  }
}

/** Makes `segment.index` complete: from the file beside it, or from the segment's own entries. */
export function* completeIndex(disk: Disk, segment: Segment, file: DiskFile, sealed: boolean): Procedure<void> {
  const size = segment.bytes ?? (yield* call<number>((done) => file.size(done)))
  if (sealed) {
    segment.bytes = size
    const found = yield* readIndexFile(disk, segment, size)
    if (found) return
  }
  const built = new SparseIndex()
  const growing = segment.index
  const start = { segment, file, position: SHARD_SEGMENT_HEADER_BYTES, end: size, maxBytes: 1 << 20 }
  let max = -1
  let lastIndex = segment.firstIndex - 1
  let position = start.position
  for (const reader = new ChunkReader(start); ; ) {
    const chunk = yield* reader.next()
    if (chunk === null) break
    for (const entry of chunk) {
      built.add(entry, position, max)
      max = Math.max(max, maxTimestampOf(entry))
      lastIndex = entry.index
      position += entry.bytes.length
    }
  }
  // Meanwhile the segment in use may have grown: its newer points stay. If it was sealed, they are in the index beside it.
  const whole = sealed || segment.index === growing
  segment.index = built.followedBy(segment.index)
  segment.maxTimestamp = Math.max(segment.maxTimestamp, max)
  segment.timestampKnown = true
  if (sealed) segment.lastIndexFound = lastIndex
  if (whole) segment.indexed = true
}

function* readIndexFile(disk: Disk, segment: Segment, size: number): Procedure<boolean> {
  const decoded = yield* indexBeside(disk, segment, size)
  if (typeof decoded === 'string') return false
  segment.index = decoded.index
  segment.maxTimestamp = decoded.summary.maxTimestamp
  segment.timestampKnown = true
  segment.lastIndexFound = decoded.summary.lastIndex
  segment.indexed = true
  return true
}

/** What is wrong with it: lost, unreadable, or of another segment. It says nothing that the segment does not say: it is built again. */
export type IndexFound = DecodedIndex | string

export function* indexBeside(disk: Disk, segment: Segment, size: number): Procedure<IndexFound> {
  try {
    const decoded = decodeSegmentIndex(yield* readFile(disk, segment.indexPath, INDEX_FILE_BYTES_MAX))
    if (typeof decoded === 'string') return `it is damaged (${decoded})`
    const { shard, firstIndex, segmentBytes } = decoded.summary
    const isOfThis = shard === segment.shard && firstIndex === segment.firstIndex && segmentBytes === size
    return isOfThis ? decoded : 'it is of another segment'
  } catch (error) {
    if (!(error instanceof TypedError)) throw error
    return error.message
  }
}

/**
 * The numbers of a segment from before this start, without keeping its index. False: its highest timestamp is not to be had
 * from the index beside it.
 */
export function* readNumbers(disk: Disk, segment: Segment, file: DiskFile, sealed: boolean): Procedure<boolean> {
  // First, for it is known whatever the header says.
  const bytes = segment.bytes ?? (yield* call<number>((done) => file.size(done)))
  if (sealed) segment.bytes = bytes
  if (segment.createdMs === null) yield* readHeader(segment, file)
  if (!sealed || segment.timestampKnown) return true
  const decoded = yield* indexBeside(disk, segment, bytes)
  if (typeof decoded === 'string') return false
  segment.maxTimestamp = decoded.summary.maxTimestamp
  segment.timestampKnown = true
  return true
}

/** First offset of the segment, from its header. */
export function* readFirstOffset(segment: Segment, file: DiskFile): Procedure<number> {
  return segment.firstOffset ?? (yield* readHeader(segment, file)).firstOffset
}

export function* readHeader(segment: Segment, file: DiskFile): Procedure<ShardSegmentHeader> {
  const bytes = Buffer.alloc(SHARD_SEGMENT_HEADER_BYTES)
  const count = yield* readSegment(segment, file, bytes, 0)
  const header = decodeShardSegmentHeader(bytes.subarray(0, count))
  if (header === 'newer') throw newerFormat(segment.path, bytes, 12)
  if (typeof header === 'string') throw damaged(segment, 0, `bad header (${header})`)
  const { shard, firstIndex, generation } = segment
  if (header.shard !== shard || header.firstIndex !== firstIndex || (header.generation ?? null) !== generation)
    throw damaged(segment, 16, 'another file’s header')
  segment.firstOffset = header.firstOffset
  segment.createdMs = header.createdMs
  return header
}

/** How many bytes there were. */
export function* readSegment(segment: Segment, file: DiskFile, into: Buffer, position: number): Procedure<number> {
  try {
    return yield* call<number>((done) => file.read(into, position, done))
  } catch (error) {
    throw isUnreadable(error) ? damaged(segment, position, 'the disk cannot read it') : error
  }
}

/** The folder may be gone with all that was in it, which is damage to be repaired and keeps nobody from writing. */
export function* createFile(disk: Disk, path: string): Procedure<DiskFile> {
  try {
    return yield* call<DiskFile>((done) => disk.open(path, 'create', done))
  } catch (error) {
    if (!isNotFound(error)) throw error
  }
  const folder = dirname(path)
  yield* makeFolder(disk, folder)
  return yield* call<DiskFile>((done) => disk.open(path, 'create', done))
}

/** A file that is not there is damage: names of a log are durable before anything refers to them. */
export function* openSegment(disk: Disk, segment: Segment, mode: 'read' | 'write' = 'read'): Procedure<DiskFile> {
  try {
    return yield* call<DiskFile>((done) => disk.open(segment.path, mode, done))
  } catch (error) {
    throw isNotFound(error) && !segment.dropped ? damaged(segment, 0, 'the file is missing') : error
  }
}

/** Hands out the entries of one read after the other, verified; null at the end. */
export class ChunkReader {
  /** The same file may be opened anew between two chunks. */
  file: DiskFile
  readonly #request: SegmentRead
  /** Of the entry before the first; null: whatever it names. */
  readonly #previousCrc: number | null
  #position: number
  #previous: Entry | null = null
  #lengthNeeded = 0
  /** Some of the last read cannot be read: what lies before that can. */
  #narrow = false
  /** Met behind entries that were handed out. */
  #damage: StorageError | null = null

  constructor(request: SegmentRead, previousCrc: number | null = null) {
    this.#request = request
    this.file = request.file
    this.#previousCrc = previousCrc
    this.#position = request.position
  }

  *next(): Procedure<Entry[] | null> {
    const { file } = this
    const { segment, end, maxBytes } = this.#request
    for (;;) {
      if (this.#damage !== null) throw this.#damage
      if (this.#position >= end) return null
      const widest = Math.max(READ_BYTES_MIN, Math.min(maxBytes, 4 << 20) + READ_BYTES_MIN)
      const length = Math.max(this.#narrow ? READ_BYTES_NARROW : widest, this.#lengthNeeded)
      const buffer = Buffer.allocUnsafeSlow(Math.min(length, end - this.#position))
      const count = yield* this.#read(file, buffer)
      if (count === null) continue
      if (count < buffer.length) throw damaged(segment, this.#position + count, 'the file is shorter than was written')
      const entries = this.#decode(buffer)
      if (entries.length > 0) return entries
    }
  }

  /** Null: to be tried again, with less. */
  *#read(file: DiskFile, buffer: Buffer): Procedure<number | null> {
    try {
      return yield* readSegment(this.#request.segment, file, buffer, this.#position)
    } catch (error) {
      if (this.#narrow || buffer.length <= READ_BYTES_NARROW || !isDamage(error)) throw error
      this.#narrow = true
      return null
    }
  }

  /** What comes before damage is handed out first. */
  #decode(buffer: Buffer): Entry[] {
    const entries: Entry[] = []
    try {
      this.#decodeInto(entries, buffer)
    } catch (error) {
      if (entries.length === 0 || !isDamage(error)) throw error
      this.#damage = error
    }
    return entries
  }

  #decodeInto(entries: Entry[], buffer: Buffer): void {
    const { segment, end } = this.#request
    let at = 0
    while (at < buffer.length) {
      const entry = decodeEntry(buffer, at)
      const position = this.#position + at
      if (entry === 'short') {
        const length = buffer.length - at < 4 ? ENTRY_HEADER_BYTES : buffer.readUInt32LE(at)
        const needed = Math.max(length, ENTRY_HEADER_BYTES)
        if (needed > ENTRY_BYTES_MAX || position + needed > end)
          throw damaged(segment, position, 'an entry beyond the end')
        this.#lengthNeeded = needed
        break
      }
      if (typeof entry === 'string') throw damaged(segment, position, `bad entry (${entry})`)
      this.#verify(entry, position)
      this.#previous = entry
      entries.push(entry)
      at += entry.bytes.length
    }
    this.#position += at
  }

  #verify(entry: Entry, position: number): void {
    const { segment } = this.#request
    const previous = this.#previous
    if (entry.shard !== segment.shard) throw damaged(segment, position, `an entry of shard ${entry.shard}`)
    if (position === SHARD_SEGMENT_HEADER_BYTES && entry.index !== segment.firstIndex) {
      throw damaged(segment, position, `entry ${entry.index} where ${segment.firstIndex} belongs`)
    }
    if (previous === null) {
      if (this.#previousCrc !== null && entry.previousCrc !== this.#previousCrc)
        throw damaged(segment, position, `entry ${entry.index} follows another one than the header says`)
      return
    }
    const holes = segment.generation !== null
    if (holes ? entry.index <= previous.index : entry.index !== previous.index + 1)
      throw damaged(segment, position, `entry ${entry.index} after ${previous.index}`)
    if (entry.previousCrc !== previous.crc) throw damaged(segment, position, `entry ${entry.index} follows another one`)
    const expected = nextOffsetAfter(previous)
    if (holes ? entry.firstOffset < expected : entry.firstOffset !== expected)
      throw damaged(segment, position, holes ? 'offsets that go back' : 'a hole in the offsets')
  }
}

export function damaged(segment: Segment, position: number, reason: string): StorageError {
  const { shard, path } = segment
  return new StorageError(
    { code: 'SHARD_LOG_DAMAGED', shard, file: path, position, reason },
    `the log of shard ${shard} is damaged at byte ${position} of ${path}: ${reason}`,
  )
}

type DamageError = StorageError & {
  readonly details: { code: 'SHARD_LOG_DAMAGED'; shard: number; file: string; position: number; reason: string }
}

export function isDamage(error: unknown): error is DamageError {
  return error instanceof TypedError && error.code === 'SHARD_LOG_DAMAGED'
}
