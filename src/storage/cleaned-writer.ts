/**
 * Writes cleaned segments: ordinary entries behind a header of their own kind, with holes between them, chained within the file.
 *
 * Nobody reads them before the checkpoint names them, and it names only what is synced: each file before the next one is begun,
 * the names when all are there.
 */

import type { Clock, Disk, DiskFile } from '../platform/index.ts'
import { crc32c } from '../stdx/index.ts'
import { makeFolder } from './atomic-file.ts'
import type { Background } from './background.ts'
import type { CleanedSegment } from './cleaned-part.ts'
import { type Entry, type EntryDraft, encodeEntry, nextOffsetAfter } from './entry.ts'
import { call, type Procedure } from './procedure.ts'
import { Segment } from './segment.ts'
import { encodeSegmentIndex, encodeShardSegmentHeader, SHARD_SEGMENT_HEADER_BYTES } from './segment-format.ts'
import { maxTimestampOf } from './timestamps.ts'

/** From so many files of one part on they grow. */
const SEGMENTS_SOFT_MAX = 1024
const WRITE_BYTES = 1 << 20

export interface CleanedWriterOptions {
  readonly shard: number
  readonly directory: string
  readonly generation: number
  readonly segmentBytes: number
}

interface Open {
  readonly segment: Segment
  readonly file: DiskFile
  readonly firstOffset: number
  crc: number
  written: number
  maxTimestamp: number
  last: Entry
}

export class CleanedWriter {
  /** All that were begun: what is to be removed if they are never named. */
  readonly segments: Segment[] = []
  readonly #options: CleanedWriterOptions
  readonly #with: { readonly disk: Disk; readonly clock: Clock; readonly background: Background }
  readonly #done: CleanedSegment[] = []
  #sealedBytes = 0
  #open: Open | null = null
  #pieces: Buffer[] = []
  #pieceBytes = 0

  constructor(options: CleanedWriterOptions, collaborators: { disk: Disk; clock: Clock; background: Background }) {
    this.#options = options
    this.#with = collaborators
  }

  /** `draft.previousCrc` is this writer's affair. */
  *add(draft: EntryDraft): Procedure<void> {
    const open = this.#open
    if (open !== null && open.written + this.#pieceBytes >= this.#limitBytes()) yield* this.#seal()
    const previousCrc = this.#open?.last.crc ?? 0
    const entry = encodeEntry({ ...draft, previousCrc })
    if (this.#open === null) yield* this.#begin(entry)
    const into = this.#open!
    into.segment.index.add(entry, into.written + this.#pieceBytes, into.maxTimestamp)
    into.maxTimestamp = Math.max(into.maxTimestamp, maxTimestampOf(entry))
    into.last = entry
    this.#pieces.push(entry.bytes)
    this.#pieceBytes += entry.bytes.length
    if (this.#pieceBytes >= WRITE_BYTES) yield* this.#flush()
  }

  /** The more there are, the longer each: their number grows with the logarithm of what is written, however short they should be. */
  #limitBytes(): number {
    return Math.max(this.#options.segmentBytes, this.#sealedBytes / SEGMENTS_SOFT_MAX)
  }

  /** Everything is on the disk, names included. */
  *finish(): Procedure<CleanedSegment[]> {
    if (this.#open !== null) yield* this.#seal()
    const { directory } = this.#options
    if (this.segments.length > 0)
      yield* this.#inTurn((disk) => call<void>((done) => disk.syncDirectory(directory, done)))
    return this.#done
  }

  /** Given up: what there is, is for nobody. */
  *abandon(): Procedure<void> {
    const open = this.#open
    this.#open = null
    if (open !== null) yield* call<void>((done) => open.file.close(() => done(null)))
  }

  *#begin(first: Entry): Procedure<void> {
    const { shard, directory, generation } = this.#options
    const segment = new Segment(shard, directory, first.index, generation)
    const { index: firstIndex, firstOffset } = first
    const createdMs = Math.max(0, Math.floor(this.#with.clock.wall()))
    const header = encodeShardSegmentHeader({ shard, previousCrc: 0, firstIndex, firstOffset, createdMs, generation })
    const makesFolder = this.segments.length === 0
    this.segments.push(segment)
    const file = yield* this.#inTurn(function* (disk) {
      if (makesFolder) {
        // All of its entries may still be on their way to the first file.
        yield* makeFolder(disk, directory)
      }
      return yield* createEmpty(disk, segment.path)
    })
    this.#open = { segment, file, firstOffset, crc: 0, written: 0, maxTimestamp: -1, last: first }
    this.#pieces = [header]
    this.#pieceBytes = SHARD_SEGMENT_HEADER_BYTES
  }

  *#flush(): Procedure<void> {
    const open = this.#open!
    const pieces = this.#pieces
    this.#pieces = []
    if (pieces.length === 0) return
    yield* this.#inTurn(() => call<void>((done) => open.file.write(pieces, open.written, done)))
    for (const piece of pieces) open.crc = crc32c(piece, open.crc)
    open.written += this.#pieceBytes
    this.#pieceBytes = 0
  }

  *#seal(): Procedure<void> {
    yield* this.#flush()
    const { segment, file, firstOffset, crc, written: bytes, maxTimestamp, last } = this.#open!
    const { shard, generation } = this.#options
    const { firstIndex } = segment
    const nextOffset = nextOffsetAfter(last)
    const summary = {
      ...{ shard, firstIndex, lastIndex: last.index, nextOffset, segmentBytes: bytes, maxTimestamp },
      ...{ segmentCrc: crc, lastCrc: last.crc },
    }
    yield* this.#inTurn(() => call<void>((done) => file.datasync(done)))
    this.#open = null
    yield* this.#inTurn(function* (disk) {
      yield* call<void>((done) => file.close(() => done(null)))
      const index = yield* createEmpty(disk, segment.indexPath)
      try {
        // Not synced: a lost or torn index fails its sum and is built again.
        yield* call<void>((done) => index.write([encodeSegmentIndex(summary, segment.index)], 0, done))
      } finally {
        yield* call<void>((done) => index.close(() => done(null)))
      }
    })
    this.#sealedBytes += bytes
    this.#done.push({ firstIndex, generation, firstOffset, nextOffset, bytes, maxTimestamp, crc })
  }

  /** One piece of background work: others come in between two. */
  *#inTurn<T>(body: (disk: Disk) => Procedure<T>): Procedure<T> {
    const finished = yield* call<() => void>((done) => this.#with.background.write((over) => done(null, over)))
    try {
      return yield* body(this.#with.disk)
    } finally {
      finished()
    }
  }
}

/** A file that cannot be emptied is let go. */
function* createEmpty(disk: Disk, path: string): Procedure<DiskFile> {
  const file = yield* call<DiskFile>((done) => disk.open(path, 'create', done))
  try {
    yield* call<void>((done) => file.truncate(0, done))
    return file
  } catch (error) {
    yield* call<void>((done) => file.close(() => done(null)))
    throw error
  }
}
