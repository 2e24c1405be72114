/**
 * Reads everything that nobody reads, so that damage is found while there is somebody to repair it from.
 *
 * A record that nobody has asked for in a year may have rotted on this disk, and on the next one; when somebody asks, the last
 * copy has rotted too (Schroeder et al., "Understanding Latent Sector Errors", FAST '10: scrubbing finds most of them first). So
 * the shards' files are read over and over, at the pace of whoever calls `step`:
 *
 *     every entry         by its own sum and the one before it
 *     every file's end    by the header of the next one, or by what the writer remembers: a file may also be whole, and another
 *     index beside it     against what was just read; a wrong one says nothing that the file does not say, and is built again
 *     cleaned segments    by the length and the sum that the checkpoint knows
 *     identity, checkpoint, and their copies: what is wrong is put aside and written again, this node knows what
 *                         belongs there
 *
 * A step reads a MiB at the most, when nothing else is to be done.
 */
import type { Disk, DiskFile } from '../platform/index.ts'
import { crc32c } from '../stdx/index.ts'
import { replaceFile } from './atomic-file.ts'
import type { Background } from './background.ts'
import type { ShardLogPosition } from './checkpoint-format.ts'
import { CleanedScrub } from './cleaned-scrub.ts'
import { crcThrough, type Entry, nextOffsetAfter } from './entry.ts'
import type { StorageEvent } from './events.ts'
import type { LogDamage } from './log-repairs.ts'
import { call, type Procedure, run } from './procedure.ts'
import {
  ChunkReader,
  damaged,
  type IndexFound,
  indexBeside,
  isDamage,
  openSegment,
  readHeader,
  readSegment,
  type Segment,
} from './segment.ts'
import { encodeSegmentIndex, type SegmentSummary, SHARD_SEGMENT_HEADER_BYTES } from './segment-format.ts'
import type { ShardLog } from './shard-log.ts'
import { SparseIndex } from './sparse-index.ts'
import { maxTimestampOf } from './timestamps.ts'

const CHUNK_BYTES = 1 << 20

export interface ScrubberCollaborators {
  readonly disk: Disk
  readonly background: Background
  readonly trace: (event: StorageEvent) => void
  readonly logs: ReadonlyMap<number, ShardLog>
  /** Looks at the files that are kept twice and writes anew what is wrong; says how many bytes it read. */
  readonly scrubTwins: () => Procedure<number>
}

/** Bytes that were read; `passDone`: with them everything that there was at the beginning of the pass. */
export type StepDone = (bytes: number, passDone: boolean) => void

export class Scrubber {
  readonly #the: ScrubberCollaborators
  /** Of this pass: shards that are still to be looked at; null between two passes. */
  #shards: number[] | null = null
  #file: SegmentScrub | CleanedScrub | null = null
  /** Of the shard at hand: cleaned segments that are still to be looked at; null: not begun. */
  #cleaned: Segment[] | null = null
  #cleanedSound = true
  #cleanedKnown: LogDamage | null = null
  /** Of the shard at hand: the next file begins here or above. */
  #from = 0
  #files = 0
  #bytes = 0

  constructor(collaborators: ScrubberCollaborators) {
    this.#the = collaborators
  }

  step(done: StepDone): void {
    this.#the.background.whenIdle((finished) =>
      run(this.#step(), (error, outcome) => {
        finished()
        // Whatever fails here is met again by whoever needs the file.
        if (error !== null) this.#file = null
        const bytes = outcome ?? 0
        const passDone = this.#shards === null
        if (passDone) this.#the.trace({ type: 'scrubbed', files: this.#files, bytes: this.#bytes })
        done(bytes, passDone)
      }),
    )
  }

  *#step(): Procedure<number> {
    if (this.#shards === null) {
      this.#shards = [...this.#the.logs.keys()]
      this.#files = this.#bytes = this.#from = 0
      this.#bytes = yield* this.#the.scrubTwins()
      return this.#bytes
    }
    const shard = this.#shards[0]
    if (shard === undefined) {
      this.#shards = null
      return 0
    }
    const log = this.#the.logs.get(shard)
    // Removed, with the file at hand.
    if (log === undefined) this.#file = null
    else this.#file ??= this.#nextFile(log)
    if (log === undefined || this.#file === null) {
      this.#shards.shift()
      this.#from = 0
      this.#cleaned = null
      return 0
    }
    const scrub = this.#file
    let bytes = 0
    try {
      bytes = yield* scrub.step()
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#file = null
      if (scrub instanceof CleanedScrub) this.#cleanedSound = false
      if (!scrub.segment.dropped) log.repairs.note(error)
    }
    this.#bytes += bytes
    if (scrub.done) {
      this.#file = null
      this.#files++
      // Of one that is no part of the log any more nothing was read.
      if (scrub instanceof SegmentScrub && !scrub.segment.dropped)
        log.repairs.isSound(scrub.segment, scrub.known, scrub.end)
    }
    return bytes
  }

  #nextFile(log: ShardLog): SegmentScrub | CleanedScrub | null {
    return this.#nextCleaned(log) ?? this.#nextCommitted(log)
  }

  #nextCleaned({ cleaner, repairs }: ShardLog): CleanedScrub | null {
    if (this.#cleaned === null) {
      this.#cleaned = [...cleaner.view.segments]
      this.#cleanedSound = true
      this.#cleanedKnown = repairs.cleanedDamage
    }
    for (let segment = this.#cleaned.shift(); segment !== undefined; segment = this.#cleaned.shift()) {
      const { firstIndex, generation } = segment
      const expected = cleaner.part?.segments.find(
        (known) => known.firstIndex === firstIndex && known.generation === generation,
      )
      if (expected !== undefined) return new CleanedScrub(segment, expected, this.#the.disk)
      // Another cleaning has taken its place, and was not read.
      this.#cleanedSound = false
    }
    if (this.#cleanedSound) repairs.cleanedIsSound(this.#cleanedKnown)
    // Once: what is met while the other files are read is news.
    this.#cleanedSound = false
    return null
  }

  #nextCommitted(log: ShardLog): SegmentScrub | null {
    const { segments, position } = log.files
    const at = segments.findIndex(({ firstIndex }) => firstIndex >= this.#from)
    const segment = segments[at]
    // A segment in use without an end: the writer is just about to begin the next one.
    if (segment === undefined || (at + 1 === segments.length && position === null)) return null
    this.#from = segment.firstIndex + 1
    return new SegmentScrub(segment, segments[at + 1] ?? null, position, log.repairs.damageOf(segment), this.#the)
  }
}

/** One file of a log, a chunk at a time. */
class SegmentScrub {
  readonly segment: Segment
  /** Damage of it that was known when this began. */
  readonly known: LogDamage | null
  done = false
  readonly #next: Segment | null
  /** The end of the segment in use as it was when this began. */
  readonly #position: ShardLogPosition | null
  readonly #the: ScrubberCollaborators
  #reader: ChunkReader | null = null
  #at = SHARD_SEGMENT_HEADER_BYTES
  #last: Entry | null = null
  #segmentCrc = 0
  #maxTimestamp = -1
  readonly #index = new SparseIndex()

  constructor(
    segment: Segment,
    next: Segment | null,
    position: ShardLogPosition | null,
    known: LogDamage | null,
    collaborators: ScrubberCollaborators,
  ) {
    this.segment = segment
    this.known = known
    this.#next = next
    this.#position = position
    this.#the = collaborators
  }

  /** What lies before this was read: of a sealed file all that there is, its end among it. */
  get end(): number {
    return this.#next === null ? this.#at : Number.POSITIVE_INFINITY
  }

  /** Answers how many bytes it read. */
  *step(): Procedure<number> {
    const { segment } = this
    if (segment.dropped) {
      this.done = true
      return 0
    }
    const file = yield* openSegment(this.#the.disk, segment)
    try {
      this.#reader ??= yield* this.#begin(file)
      this.#reader.file = file
      const chunk = yield* this.#reader.next()
      if (chunk === null) {
        yield* this.#end(file)
        this.done = true
        return 0
      }
      const before = this.#at
      for (const entry of chunk) {
        this.#index.add(entry, this.#at, this.#maxTimestamp)
        this.#maxTimestamp = Math.max(this.#maxTimestamp, maxTimestampOf(entry))
        this.#segmentCrc = crcThrough(this.#segmentCrc, entry)
        this.#at += entry.bytes.length
        this.#last = entry
      }
      return this.#at - before
    } finally {
      yield* call<void>((done) => file.close(() => done(null)))
    }
  }

  *#begin(file: DiskFile): Procedure<ChunkReader> {
    const { segment } = this
    const header = Buffer.alloc(SHARD_SEGMENT_HEADER_BYTES)
    yield* readSegment(segment, file, header, 0)
    this.#segmentCrc = crc32c(header)
    const { previousCrc } = yield* readHeader(segment, file)
    const size = yield* call<number>((done) => file.size(done))
    const end = this.#next === null ? this.#position!.bytes : size
    if (size < end) throw damaged(segment, size, 'the file is shorter than was written')
    const position = SHARD_SEGMENT_HEADER_BYTES
    return new ChunkReader({ segment, file, position, end, maxBytes: CHUNK_BYTES }, previousCrc)
  }

  /** Each file says what the one before it must end with, and the writer what the last one must. */
  *#end(file: DiskFile): Procedure<void> {
    const { segment } = this
    const [last, next] = [this.#last, this.#next]
    const lastIndex = last?.index ?? segment.firstIndex - 1
    if (next === null) {
      const position = this.#position!
      if (lastIndex !== position.lastIndex || (last !== null && last.crc !== position.lastCrc))
        throw damaged(segment, this.#at, `it does not end with the entry ${position.lastIndex} that was written`)
      return
    }
    if (next.dropped || segment.dropped) return
    if (lastIndex !== next.firstIndex - 1 || last === null)
      throw damaged(segment, this.#at, `the next segment starts with entry ${next.firstIndex}`)
    const successor = yield* openSegment(this.#the.disk, next)
    try {
      // If that one's header is damaged, it is told when its own turn comes.
      const { previousCrc } = yield* readHeader(next, successor)
      if (previousCrc !== last.crc) throw damaged(segment, this.#at, 'the next segment follows another entry')
    } catch (error) {
      if (!isDamage(error) || error.details.file === segment.path) throw error
    } finally {
      yield* call<void>((done) => successor.close(() => done(null)))
    }
    yield* this.#checkIndex(last, yield* call<number>((done) => file.size(done)))
  }

  *#checkIndex(last: Entry, size: number): Procedure<void> {
    const { segment } = this
    const { shard, firstIndex } = segment
    const summary: SegmentSummary = {
      shard,
      firstIndex,
      lastIndex: last.index,
      nextOffset: nextOffsetAfter(last),
      segmentBytes: this.#at,
      maxTimestamp: this.#maxTimestamp,
      segmentCrc: this.#segmentCrc,
      lastCrc: last.crc,
    }
    const found: IndexFound = yield* indexBeside(this.#the.disk, segment, size)
    const wrong = typeof found === 'string' ? found : differenceOf(found.summary, summary)
    if (wrong === null || segment.dropped) return
    // Atomically: a reader may be looking at it.
    yield* replaceFile(this.#the.disk, segment.indexPath, [encodeSegmentIndex(summary, this.#index)])
    this.#the.trace({ type: 'file-repaired', file: segment.indexPath, reason: wrong, quarantined: null })
  }
}

function differenceOf(found: SegmentSummary, read: SegmentSummary): string | null {
  for (const name of Object.keys(read) as (keyof SegmentSummary)[])
    if (found[name] !== read[name]) return `its ${name} is ${found[name]}, that of the segment is ${read[name]}`
  return null
}
