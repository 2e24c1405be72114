/**
 * The writing end of a shard's log: the segment in use, and the step from one to the next.
 *
 * A segment that is left is synced, gets its index beside it, and is never written again. A new one's name is made durable
 * before anything can refer to it.
 *
 * A cut removes whole segments only, and never the one in use. A log that is cut often and grows slowly would keep a segment
 * of full size for the little that counts in it, so the entry of a cut that reaches into the segment in use begins a new one:
 * the old one can go with the next cut, or, when all that was before is cut, with this one. (Where that entry was written
 * before a crash, the cut itself has the segment left.)
 *
 * A segment is also left for its age. That is counted on the wall clock, by which its records count too, and decides nothing
 * but where one file ends and the next begins.
 *
 * A segment that turns out to be damaged when it is to be written on is left as well, as it is: what follows needs no more of it
 * than its last entry's sum, which is known.
 */

import type { Clock, Disk, DiskFile } from '../platform/index.ts'
import { assert, crc32c } from '../stdx/index.ts'
import { replaceFile } from './atomic-file.ts'
import type { ShardLogPosition } from './checkpoint-format.ts'
import { type Entry, nextOffsetAfter } from './entry.ts'
import type { StorageEvent } from './events.ts'
import { call, type Procedure } from './procedure.ts'
import { completeIndex, createFile, damaged, isDamage, openSegment, readHeader, Segment } from './segment.ts'
import { encodeSegmentIndex, encodeShardSegmentHeader, SHARD_SEGMENT_HEADER_BYTES } from './segment-format.ts'
import type { SegmentRepair } from './segment-repair.ts'
import { SparseIndex } from './sparse-index.ts'
import { maxTimestampOf } from './timestamps.ts'

/** Smaller entries are copied into one buffer: see block-builder.ts. */
const COPY_BELOW_BYTES = 8 << 10
/** Synced at the latest: a checkpoint that found a journal's worth unsynced would stall the journal while it syncs. */
const UNSYNCED_BYTES_MAX = 4 << 20

/** When a segment is left. */
export interface SegmentLimits {
  readonly segmentBytes: number
  /** Infinite: never for its age. */
  readonly segmentMs: number
  /** Each segment is left at a random age this much below `segmentMs`, so that not all shards begin new ones at once. */
  readonly segmentJitterMs: number
}

export interface WriterCollaborators {
  readonly disk: Disk
  readonly clock: Clock
  readonly trace: (event: StorageEvent) => void
  readonly chance: (site: string) => boolean
  /** `Random.below`. */
  readonly below: (bound: number) => number
  /** The segment in use is not what was written. */
  readonly damageMet: (error: unknown) => void
}

/** Of a jitter: the draw is a share of it. */
const JITTER_STEPS = 1 << 20

export class SegmentWriter {
  /** Ascending; the last one is in use, the others are sealed. Shared with the reader. */
  readonly segments: Segment[]

  limits: SegmentLimits
  readonly #options: { readonly shard: number; readonly directory: string }
  readonly #disk: Disk
  readonly #with: WriterCollaborators
  /** The end of what was written to the segment in use. */
  #position: ShardLogPosition | null
  #file: DiskFile | null = null
  /** The end of the segment that was left last: what the disk is known to have while the next one has no entry. */
  #left: ShardLogPosition | null = null
  /** A write failed, and bytes of it may lie behind the end. */
  #torn = false
  /** Written since the last sync. */
  #unsyncedBytes = 0
  #leaveSegment = false
  /** Entries to come that cut the log below `start`, ascending. */
  #cutEntries: { readonly index: number; readonly start: number }[] = []
  /** How much of the jitter counts for the segment in use, of `JITTER_STEPS`; null until it matters. */
  #jitterDraw: number | null = null

  constructor(
    options: { shard: number; directory: string; segmentBytes: number },
    position: ShardLogPosition | null,
    sealed: Segment[],
    collaborators: WriterCollaborators,
  ) {
    this.#options = options
    this.limits = { segmentBytes: options.segmentBytes, segmentMs: Number.POSITIVE_INFINITY, segmentJitterMs: 0 }
    this.#disk = collaborators.disk
    this.#with = collaborators
    this.#position = position
    this.segments = sealed
    if (position === null) return
    const segment = new Segment(options.shard, options.directory, position.firstIndex)
    segment.firstOffset = position.firstOffset
    segment.bytes = position.bytes
    segment.maxTimestamp = position.maxTimestamp
    segment.timestampKnown = true
    sealed.push(segment)
  }

  /** The end of what was written; null when there is no segment in use. */
  get position(): ShardLogPosition | null {
    return this.#position
  }

  /** Of the segment in use; 0 when there is none. */
  get lastIndex(): number {
    return this.#position?.lastIndex ?? 0
  }

  /** The entry `index`, still to be written, cuts the log below `start`. */
  cutComes(index: number, start: number): void {
    this.#cutEntries.push({ index, start })
  }

  /** Writes a run of entries from the front, as many as go into one segment; returns those written. */
  *write(entries: readonly Entry[]): Procedure<readonly Entry[]> {
    const first = entries[0]!
    if (this.#position !== null && this.#file === null) yield* this.#openAgain()
    if (yield* this.#isToBeLeft(first)) yield* this.#seal()
    if (this.#position === null) yield* this.#create(first)
    const start = this.#position!
    const segment = this.segments.at(-1)!
    const room = this.limits.segmentBytes - start.bytes
    const nextCut = this.#cutEntries[0]?.index
    let count = 0
    let bytes = 0
    while (count < entries.length && (count === 0 || (bytes < room && entries[count]!.index !== nextCut)))
      bytes += entries[count++]!.bytes.length
    const written = count === entries.length ? entries : entries.slice(0, count)
    const pieces = gather(written)
    const file = this.#file!
    yield* this.#mend(file, start)
    this.#torn = true
    yield* call<void>((done) => file.write(pieces, start.bytes, done))
    this.#torn = false
    this.#note(segment, start, written, pieces)
    this.#unsyncedBytes += this.#position!.bytes - start.bytes
    if (this.#unsyncedBytes >= UNSYNCED_BYTES_MAX) yield* this.sync()
    return written
  }

  *#isToBeLeft({ index }: Entry): Procedure<boolean> {
    const position = this.#position
    let cut = false
    while (this.#cutEntries.length > 0 && this.#cutEntries[0]!.index <= index) {
      const { index: at, start } = this.#cutEntries.shift()!
      cut ||= at === index && position !== null && position.firstIndex < start
    }
    // A segment without entries is not left: the next one would have its name.
    if (position === null || position.lastIndex < position.firstIndex) return false
    // Remembered, as this attempt to leave it may fail and be made again.
    if (cut) this.#leaveSegment = true
    if (this.#leaveSegment || position.bytes >= this.limits.segmentBytes) return true
    return (yield* this.#isOld()) || this.#with.chance('storage/roll-shard-log')
  }

  *#isOld(): Procedure<boolean> {
    const { segmentMs, segmentJitterMs } = this.limits
    if (segmentMs === Number.POSITIVE_INFINITY) return false
    const segment = this.segments.at(-1)!
    if (segment.createdMs === null) {
      yield* this.#tolerant(readHeader(segment, this.#file!))
    }
    const now = this.#wall()
    // Its age is not known: it counts from now.
    if (segment.createdMs === null || segment.createdMs === 0) segment.createdMs = now
    if (segmentJitterMs > 0) this.#jitterDraw ??= this.#with.below(JITTER_STEPS)
    const jitter = (Math.min(segmentJitterMs, segmentMs) * (this.#jitterDraw ?? 0)) / JITTER_STEPS
    return now - segment.createdMs >= segmentMs - jitter
  }

  /** A clock before 1970 has no place in the header. */
  #wall(): number {
    return Math.max(0, Math.floor(this.#with.clock.wall()))
  }

  /**
   * How far the log is written. Between two attempts to go on (there was no room) the next segment may not be there yet, or have
   * nothing in it: then the one before says it, as if it had not been left.
   */
  #told(): ShardLogPosition | null {
    const position = this.#position
    return position === null || position.lastIndex < position.firstIndex ? this.#left : position
  }

  /** The length of a segment that was left is its file's: nothing may lie behind its end. */
  *#mend(file: DiskFile, { bytes }: ShardLogPosition): Procedure<void> {
    if (!this.#torn) return
    yield* call<void>((done) => file.truncate(bytes, done))
    this.#torn = false
  }

  /** Syncs what was written and says how far that is. */
  *sync(): Procedure<ShardLogPosition | null> {
    const position = this.#told()
    if (this.#unsyncedBytes > 0) {
      yield* call<void>((done) => this.#file!.datasync(done))
      this.#unsyncedBytes = 0
    }
    return position
  }

  /**
   * Takes the segments that lie wholly below the new start off the list, but none from `keepFrom` on: there lies the segment
   * that the checkpoint names as the one in use. We may have left it since, with all that it holds below the start, but an
   * opening will look for it.
   */
  cut(startIndex: number, keepFrom: number): Segment[] {
    const holder = this.segments.findLastIndex(({ firstIndex }) => firstIndex <= startIndex)
    const named = this.segments.findIndex(({ firstIndex }) => firstIndex >= keepFrom)
    if (this.#position !== null && this.#position.firstIndex < startIndex) this.#leaveSegment = true
    return this.#drop(Math.max(0, Math.min(holder, named)))
  }

  /** Takes all segments off the list: the next entry, whichever it is, begins a new one. */
  *abandon(): Procedure<Segment[]> {
    const file = this.#file
    this.#file = null
    this.#position = null
    this.#left = null
    this.#torn = false
    this.#unsyncedBytes = 0
    this.#leaveSegment = false
    this.#cutEntries = []
    this.#jitterDraw = null
    // Nobody waits for what was in it.
    if (file !== null) yield* call<void>((done) => file.close(() => done(null)))
    return this.#drop(this.segments.length)
  }

  #drop(count: number, dropped = this.segments.splice(0, count)): Segment[] {
    for (const segment of dropped) segment.dropped = true
    return dropped
  }

  close(done: () => void): void {
    const file = this.#file
    this.#file = null
    if (file === null) done()
    else file.close(() => done())
  }

  #note(segment: Segment, start: ShardLogPosition, written: readonly Entry[], pieces: readonly Uint8Array[]): void {
    const last = written.at(-1)!
    let { bytes, maxTimestamp, segmentCrc } = start
    for (const piece of pieces) segmentCrc = crc32c(piece, segmentCrc)
    for (const entry of written) {
      segment.index.add(entry, bytes, maxTimestamp)
      maxTimestamp = Math.max(maxTimestamp, maxTimestampOf(entry))
      bytes += entry.bytes.length
    }
    segment.bytes = bytes
    segment.maxTimestamp = maxTimestamp
    const { firstIndex, firstOffset } = start
    const [lastIndex, nextOffset, lastCrc] = [last.index, nextOffsetAfter(last), last.crc]
    this.#position = { firstIndex, firstOffset, bytes, lastIndex, nextOffset, maxTimestamp, segmentCrc, lastCrc }
  }

  /** Nobody writes to the segment in use any more until it is opened again, as whatever then has its name. */
  *release(): Procedure<void> {
    const file = this.#file
    if (file === null) return
    yield* call<void>((done) => file.datasync(done))
    this.#file = null
    this.#unsyncedBytes = 0
    yield* call<void>((done) => file.close(() => done(null)))
  }

  /** A repaired file has taken the place of `old`, or, null, of a hole at the front. The segment in use is released. */
  *exchange(old: Segment | null, segment: Segment, repair: SegmentRepair): Procedure<void> {
    const at = old === null ? 0 : this.segments.indexOf(old)
    assert(at >= 0, () => `${segment.path} replaces what is not part of the log`)
    this.segments.splice(at, old === null ? 0 : 1, segment)
    if (old !== null) old.dropped = old.path !== segment.path
    if (at < this.segments.length - 1) {
      // Atomically: the scrubber may be looking at the one that is there.
      yield* replaceFile(this.#disk, segment.indexPath, [repair.indexFile()])
      segment.index = new SparseIndex()
      segment.indexed = false
      return
    }
    segment.lastIndexFound = null
    const { firstIndex, firstOffset } = segment
    const position = this.#position!
    assert(
      segment.bytes === position.bytes || firstIndex !== position.firstIndex,
      () => `${segment.path} was ${position.bytes} bytes long and is ${segment.bytes}`,
    )
    const { segmentCrc } = repair
    this.#position = { ...position, firstIndex, firstOffset: firstOffset!, bytes: segment.bytes!, segmentCrc }
  }

  *#openAgain(): Procedure<void> {
    const file = yield* this.#tolerant(this.#reopen())
    this.#file = file
    if (file !== null) return
    // Without any entry nothing is lost with it, and the next file has its name.
    const { firstIndex, lastIndex } = this.#position!
    if (lastIndex < firstIndex) this.#drop(0, this.segments.splice(-1))
    else this.#left = this.#position
    this.#torn = false
    this.#position = null
    this.#leaveSegment = false
    this.#jitterDraw = null
  }

  /** Null: it met damage, and told so. */
  *#tolerant<T>(procedure: Procedure<T>): Procedure<T | null> {
    try {
      return yield* procedure
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#with.damageMet(error)
      return null
    }
  }

  /** The segment in use, at the first write since this start: what lies behind the checkpoint's end is dropped. */
  *#reopen(): Procedure<DiskFile> {
    const file = yield* openSegment(this.#disk, this.segments.at(-1)!, 'write')
    yield* this.#orClose(file, this.#cutBehindEnd(file))
    return file
  }

  *#cutBehindEnd(file: DiskFile): Procedure<void> {
    const size = yield* call<number>((done) => file.size(done))
    if (size < this.#position!.bytes) throw damaged(this.segments.at(-1)!, size, 'the file is shorter than was written')
    yield* call<void>((done) => file.truncate(this.#position!.bytes, done))
  }

  /** A step that fails may be made again, and opens the file anew. */
  *#orClose(file: DiskFile, step: Procedure<void>): Procedure<void> {
    try {
      yield* step
    } catch (error) {
      yield* call<void>((done) => file.close(() => done(null)))
      throw error
    }
  }

  /** Not synced: a lost or torn index fails its sum and is built again. */
  *#writeIndex({ indexPath }: Segment, bytes: Buffer): Procedure<void> {
    const index = yield* createFile(this.#disk, indexPath)
    yield* this.#orClose(index, this.#fill(index, bytes))
    yield* call<void>((done) => index.close(() => done(null)))
  }

  *#create(first: Entry): Procedure<void> {
    const { shard, directory } = this.#options
    const segment = new Segment(shard, directory, first.index)
    const { previousCrc, index: firstIndex, firstOffset } = first
    const createdMs = this.#wall()
    const header = encodeShardSegmentHeader({ shard, previousCrc, firstIndex, firstOffset, createdMs })
    const file = yield* createFile(this.#disk, segment.path)
    yield* this.#orClose(file, this.#begin(file, header))
    segment.firstOffset = firstOffset
    segment.bytes = SHARD_SEGMENT_HEADER_BYTES
    segment.indexed = true
    segment.timestampKnown = true
    segment.createdMs = createdMs
    this.segments.push(segment)
    this.#file = file
    this.#unsyncedBytes = SHARD_SEGMENT_HEADER_BYTES
    this.#position = {
      firstIndex,
      firstOffset,
      bytes: SHARD_SEGMENT_HEADER_BYTES,
      lastIndex: firstIndex - 1,
      nextOffset: firstOffset,
      maxTimestamp: -1,
      segmentCrc: crc32c(header),
      lastCrc: previousCrc,
    }
  }

  *#begin(file: DiskFile, header: Uint8Array): Procedure<void> {
    yield* call<void>((done) => file.truncate(0, done))
    yield* call<void>((done) => file.write([header], 0, done))
    yield* call<void>((done) => this.#disk.syncDirectory(this.#options.directory, done))
  }

  *#seal(): Procedure<void> {
    const position = this.#position!
    const segment = this.segments.at(-1)!
    const file = this.#file!
    yield* this.#mend(file, position)
    yield* call<void>((done) => file.datasync(done))
    this.#unsyncedBytes = 0
    if (!segment.indexed) yield* this.#tolerant(completeIndex(this.#disk, segment, file, false))
    const { shard } = this.#options
    const { firstIndex, lastIndex, nextOffset, bytes: segmentBytes, maxTimestamp, segmentCrc, lastCrc } = position
    const summary = { shard, firstIndex, lastIndex, nextOffset, segmentBytes, maxTimestamp, segmentCrc, lastCrc }
    assert(segment.bytes === segmentBytes, () => `${segment.path} is ${segment.bytes} bytes long, not ${segmentBytes}`)
    if (segment.indexed) {
      yield* this.#writeIndex(segment, encodeSegmentIndex(summary, segment.index))
      // From now on it is whoever reads in it who has it in memory.
      segment.index = new SparseIndex()
      segment.indexed = false
    }
    yield* call<void>((done) => file.close(() => done(null)))
    this.#file = null
    this.#position = null
    this.#left = position
    this.#leaveSegment = false
    this.#jitterDraw = null
    this.#with.trace({ type: 'shard-segment-sealed', shard, firstIndex, lastIndex, bytes: segmentBytes })
  }

  *#fill(index: DiskFile, bytes: Uint8Array): Procedure<void> {
    yield* call<void>((done) => index.truncate(0, done))
    yield* call<void>((done) => index.write([bytes], 0, done))
  }
}

/** The entries' bytes in order, small ones together. */
function gather(entries: readonly Entry[]): Uint8Array[] {
  let copied = 0
  for (const { bytes } of entries) if (bytes.length < COPY_BELOW_BYTES) copied += bytes.length
  const buffer = Buffer.allocUnsafeSlow(copied)
  const pieces: Uint8Array[] = []
  let [from, at] = [0, 0]
  for (const { bytes } of entries) {
    if (bytes.length < COPY_BELOW_BYTES) {
      buffer.set(bytes, at)
      at += bytes.length
      continue
    }
    if (at > from) pieces.push(buffer.subarray(from, at))
    from = at
    pieces.push(bytes)
  }
  if (at > from) pieces.push(buffer.subarray(from, at))
  return pieces
}
