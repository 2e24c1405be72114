/**
 * One compaction of one shard's log on this replica: of every key the latest record stays (LFS's cleaner, Rosenblum and Ousterhout
 * 1992, with a key in place of an inode; the two passes are Kafka's LogCleaner).
 *
 *     cleaned so far          committed, below the floor           above the floor: not looked at
 *     a1  b2  c3          │   b4  a5  d6  b7                   │   a8 …
 *                         └── 1. key ──► latest offset: a5 d6 b7
 *     2. c3  a5  d6  b7       what no entry of the map is newer than
 *
 * The map is bounded, by bytes. Where it is full, the floor is: entries behind it are left for the next time. It holds whole keys
 * and no digests of them, so that no two keys are ever taken for one.
 *
 * A tombstone (a record without value) is the latest of its key like any other, and goes when it is below the horizon that the leader
 * has set: everything older of its key has gone with it or before it. A record without key is replaced by nothing, and nothing goes on
 * doubt: a batch is kept whole that cannot be read, or that would, packed anew, be too large. Such a batch may hold what a tombstone
 * behind it deletes, so from there on tombstones stay.
 *
 * Reading goes through the shard's log as everybody's does, verified and in small pieces behind other work. The log may be cut
 * meanwhile; then what was to be read is gone, and the cleaning is begun again.
 */
import {
  baseOffsetOf,
  batchesIn,
  Codec,
  codecOf,
  emptiedBatch,
  filterBatch,
  forEachRecord,
  isControl,
  lastOffsetOf,
  producerIdOf,
  RecordsError,
  type RecordView,
  recordCountOf,
} from '../records/index.ts'
import type { CleanedPart } from './cleaned-part.ts'
import type { CleanedWriter } from './cleaned-writer.ts'
import { type Entry, type EntryDraft, EntryKind, nextOffsetAfter, payloadOf } from './entry.ts'
import type { LogStart } from './log-start.ts'
import { call, type Procedure } from './procedure.ts'

/**
 * Read, and looked through, in one go of the event loop. What is looked through is counted unpacked, and an entry may hold many
 * batches; one batch is never divided, as little as when its producer sent it.
 */
const CHUNK_BYTES = 256 << 10
/** What a key costs in the map besides its bytes, about. */
const KEY_OVERHEAD_BYTES = 64

export interface CleaningRequest {
  /** Where compaction may go up to, as the leader has decided: the entry and its first offset. */
  readonly floor: LogStart
  /** Tombstones below this offset have stayed for their grace, as far as the leader can know. */
  readonly tombstonesBelow: number
  /** So long they have to have been shown here without what they delete. */
  readonly graceMs: number
  /** The batch that ends there is the last one of this producer: its sequence must stay to be seen. */
  readonly keepsSequence: (producerId: number, lastOffset: number) => boolean
}

/** What a checkpoint is to name. */
export interface CleaningResult {
  readonly floorIndex: number
  readonly part: CleanedPart
  readonly bytesRead: number
  readonly recordsKept: number
  readonly recordsDropped: number
  /** It was cleaned elsewhere, and has come from another replica. */
  readonly hasArrived: boolean
  /** Of the request. */
  readonly tombstonesBelow: number
  /** Of the records kept: what a later horizon would drop. */
  readonly tombstonesKept: number
}

export interface CleaningSource {
  readonly firstIndex: number
  readonly firstOffset: number
  readonly lastIndex: number
  readFromIndex(index: number, maxBytes: number, done: EntriesDone): void
  readFromOffset(offset: number, maxBytes: number, done: EntriesDone): void
}
type EntriesDone = (error: Error | null, entries: Entry[]) => void

export interface CleaningOptions {
  readonly generation: number
  readonly mapBytes: number
  /** What an entry may grow to where less is left of it: not every codec packs as tightly as the producer's did. */
  readonly grownBytesMax: number
  /** Resumes when so many bytes more may be worked on; an error where the log was closed or replaced. */
  readonly pause: (bytes: number) => Procedure<void>
}

export class Cleaning {
  readonly #request: CleaningRequest
  readonly #source: CleaningSource
  readonly #writer: CleanedWriter
  readonly #options: CleaningOptions
  readonly #latest = new Map<string, number>()
  #latestBytes = 0
  #floorOffset = 0
  /** Unpacked, since the last pause. */
  #worked = 0
  #bytesRead = 0
  #kept = 0
  #dropped = 0
  #tombstones = 0
  /** Something was kept whole, whatever is in it. */
  #keptWhole = false

  constructor(request: CleaningRequest, source: CleaningSource, writer: CleanedWriter, options: CleaningOptions) {
    this.#request = request
    this.#source = source
    this.#writer = writer
    this.#options = options
  }

  *run(): Procedure<CleaningResult> {
    const floor = yield* this.#mapKeys()
    this.#floorOffset = floor.offset
    yield* this.#rewrite(floor.index)
    const segments = yield* this.#writer.finish()
    const part = { floorOffset: floor.offset, generation: this.#options.generation, segments }
    const counts = { recordsKept: this.#kept, recordsDropped: this.#dropped, tombstonesKept: this.#tombstones }
    const { tombstonesBelow } = this.#request
    return { floorIndex: floor.index, part, tombstonesBelow, bytesRead: this.#bytesRead, ...counts, hasArrived: false }
  }

  /** Pass 1. Where the map is full, or the floor that was asked for. */
  *#mapKeys(): Procedure<LogStart> {
    const { floor } = this.#request
    for (let next = this.#source.firstIndex; next < floor.index; ) {
      const entries = yield* call<Entry[]>((done) => this.#source.readFromIndex(next, CHUNK_BYTES, done))
      for (const entry of entries) {
        if (entry.index >= floor.index) break
        if (this.#latestBytes >= this.#options.mapBytes) return { index: entry.index, offset: entry.firstOffset }
        yield* this.#noteKeys(entry)
      }
      next = entries.at(-1)!.index + 1
    }
    return floor
  }

  *#noteKeys(entry: Entry): Procedure<void> {
    this.#bytesRead += entry.bytes.length
    if (entry.kind !== EntryKind.data) return
    for (const batch of batchesIn(payloadOf(entry)) ?? []) {
      this.#worked += batch.length
      if (!isControl(batch, 0)) this.#noteKeysOf(batch)
      if (this.#worked >= CHUNK_BYTES) yield* this.#pause()
    }
  }

  #noteKeysOf(batch: Buffer): void {
    const keys: [key: string, offset: number][] = []
    const read = whatCanBeRead(() => {
      forEachRecord(batch, 0, (record) => {
        this.#worked += unpackedBytesOf(batch, record)
        if (record.key !== null) keys.push([record.key.toString('latin1'), record.offset])
      })
      return true
    })
    // Of a batch that cannot be read to its end nothing replaces anything.
    if (read === null) return
    for (const [key, offset] of keys) {
      if (!this.#latest.has(key)) this.#latestBytes += key.length + KEY_OVERHEAD_BYTES
      this.#latest.set(key, offset)
    }
  }

  /** Pass 2: what was cleaned before, and what lies between there and the floor. */
  *#rewrite(floorIndex: number): Procedure<void> {
    for (let next = this.#source.firstOffset; ; ) {
      const entries = yield* call<Entry[]>((done) => this.#source.readFromOffset(next, CHUNK_BYTES, done))
      for (const entry of entries) {
        if (entry.index >= floorIndex) return
        const draft = yield* this.#filter(entry)
        if (draft !== null) yield* this.#writer.add(draft)
        next = nextOffsetAfter(entry)
      }
      if (entries.length === 0) return
    }
  }

  *#pause(): Procedure<void> {
    const bytes = this.#worked
    this.#worked = 0
    yield* this.#options.pause(bytes)
  }

  /** It spans what is left of it, so that whoever looks for an offset in a hole finds the next record at once. */
  *#filter(entry: Entry): Procedure<EntryDraft | null> {
    this.#bytesRead += entry.bytes.length
    if (entry.kind !== EntryKind.data) return null
    const { kind, shard, term, index, stamp } = entry
    const payload = payloadOf(entry)
    const batches = batchesIn(payload)
    // Not for us to judge: it was committed like this.
    if (batches === null) {
      this.#keptWhole = true
      return { ...entry, previousCrc: 0, payload: [payload] }
    }
    const left: Buffer[] = []
    let room = Math.max(0, this.#options.grownBytesMax - payload.length)
    for (const batch of batches) {
      this.#worked += batch.length
      const filtered = this.#filterBatch(batch, room)
      room += batch.length - (filtered?.length ?? 0)
      if (filtered !== null) left.push(filtered)
      if (this.#worked >= CHUNK_BYTES) yield* this.#pause()
    }
    if (left.length === 0) return null
    const firstOffset = baseOffsetOf(left[0]!, 0)
    const recordCount = lastOffsetOf(left.at(-1)!, 0) + 1 - firstOffset
    return { kind, shard, term, index, stamp, firstOffset, recordCount, previousCrc: 0, payload: left }
  }

  /** It may grow by `room`. */
  #filterBatch(batch: Buffer, room: number): Buffer | null {
    const count = recordCountOf(batch, 0)
    let left: Buffer | null = null
    if (isControl(batch, 0)) left = batch
    else if (count > 0) {
      const filtered = whatCanBeRead(() => ({ batch: filterBatch(batch, (record) => this.#stays(batch, record)) }))
      const fits = filtered !== null && (filtered.batch?.length ?? 0) - batch.length <= room
      left = fits ? filtered.batch : batch
      if (!fits) this.#keptWhole = true
    }
    const kept = left === null ? 0 : recordCountOf(left, 0)
    this.#kept += kept
    this.#dropped += count - kept
    if (left !== null) return left
    const [producerId, lastOffset] = [producerIdOf(batch, 0), lastOffsetOf(batch, 0)]
    const numbers = producerId !== -1 && this.#request.keepsSequence(producerId, lastOffset)
    // With nothing behind it, readers would wait below the log's end for what is gone.
    const ends = lastOffset + 1 === this.#floorOffset
    return numbers || ends ? emptiedBatch(batch) : null
  }

  #stays(batch: Buffer, record: RecordView): boolean {
    this.#worked += unpackedBytesOf(batch, record)
    const { key, value, offset } = record
    if (key === null) return true
    const latest = this.#latest.get(key.toString('latin1'))
    if (latest !== undefined && latest > offset) return false
    if (value !== null) return true
    if (offset >= this.#request.tombstonesBelow) this.#tombstones++
    else if (!this.#keptWhole) return false
    return true
  }
}

/** What there was to unpack: an unpacked batch is counted as a whole. */
function unpackedBytesOf(batch: Buffer, { key, value }: RecordView): number {
  return codecOf(batch, 0) === Codec.none ? 0 : (key?.length ?? 0) + (value?.length ?? 0)
}

/** Null for a batch that its producer has compressed into nonsense, before the topic was compacted. */
function whatCanBeRead<T>(read: () => T): T | null {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof RecordsError)) throw error
    return null
  }
}
