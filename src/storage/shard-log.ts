/**
 * The long-lived log of one shard.
 *
 * The journal makes an entry durable; the shard log makes it findable. It gets committed entries only, some time after they
 * were acknowledged, and writes them in large sequential pieces in the background: nobody waits for it, and since nothing
 * above the high-water mark is ever in it, Raft never takes anything back from it.
 *
 *     append ──► buffer ──(512 KiB, or asked)──► write ──► onWritten: the tail may be released
 *                                                  └──(checkpoint)──► sync: the journal may be released
 *
 * One piece of work per shard is in flight at a time. What was written and not synced is lost in a power failure, and that is
 * no loss: until a checkpoint has said otherwise, under a sync, the journal still has it. A start takes the log to be as long
 * as the checkpoint says and writes over the rest.
 */

import type { Clock, Disk } from '../platform/index.ts'
import { assert } from '../stdx/index.ts'
import type { Background } from './background.ts'
import type { ShardLogPosition } from './checkpoint-format.ts'
import { type Entry, nextOffsetAfter } from './entry.ts'
import { StorageError } from './errors.ts'
import type { StorageEvent } from './events.ts'
import { type Procedure, run } from './procedure.ts'
import { Segment } from './segment.ts'
import { SegmentWriter } from './segment-writer.ts'
import { type ReadDone, ShardReader } from './shard-reader.ts'

/** One write carries no more, so that reads find a gap between two. */
const WRITE_BYTES_MAX = 4 << 20

export interface ShardLogOptions {
  readonly shard: number
  /** The shard's folder. */
  readonly directory: string
  readonly segmentBytes: number
  readonly flushBytes: number
}

export interface ShardLogCollaborators {
  readonly disk: Disk
  readonly clock: Clock
  readonly background: Background
  readonly trace: (event: StorageEvent) => void
  readonly fatal: (error: StorageError) => void
  /** So many more bytes are buffered (or fewer); true while the sum over all shards is above its limit. */
  readonly buffered: (bytes: number) => boolean
}

interface SyncWaiter {
  readonly index: number
  readonly done: (position: ShardLogPosition | null) => void
}

export class ShardLog {
  /** Called when entries up to `index` are with the operating system. */
  onWritten: ((index: number) => void) | null = null

  readonly #options: ShardLogOptions
  readonly #collaborators: ShardLogCollaborators
  readonly #writer: SegmentWriter
  readonly #reader: ShardReader
  /** Appended and not yet written, contiguous; the first `#flying` of them are being written. */
  #buffer: Entry[] = []
  #bufferBytes = 0
  /** Invariant: writtenIndex ≤ lastIndex, and the buffer holds exactly what lies between. */
  #lastIndex: number
  #writtenIndex: number
  /** Work until the buffer is written up to here. */
  #flushThrough = 0
  readonly #syncs: SyncWaiter[] = []
  #state: 'idle' | 'working' | 'failed' | 'closed' = 'idle'
  #onIdle: (() => void) | null = null

  /** `sealed`: first indexes of the segments before the one in `position`. */
  constructor(
    options: ShardLogOptions,
    start: { position: ShardLogPosition | null; sealed: number[] },
    collaborators: ShardLogCollaborators,
  ) {
    this.#options = options
    this.#collaborators = collaborators
    const { shard, directory } = options
    const sealed = start.sealed.map((firstIndex) => new Segment(shard, directory, firstIndex))
    this.#writer = new SegmentWriter(options, start.position, sealed, collaborators)
    this.#reader = new ShardReader(shard, this.#writer.segments, collaborators)
    this.#lastIndex = start.position?.lastIndex ?? 0
    this.#writtenIndex = this.#lastIndex
  }

  get shard(): number {
    return this.#options.shard
  }

  get lastIndex(): number {
    return this.#lastIndex
  }

  /** Highest index that the operating system has; not necessarily synced. */
  get writtenIndex(): number {
    return this.#writtenIndex
  }

  get bufferedBytes(): number {
    return this.#bufferBytes
  }

  /** Lowest index in the files, or the first to come. */
  get startIndex(): number {
    return this.#writer.segments[0]?.firstIndex ?? this.#buffer[0]?.index ?? this.#lastIndex + 1
  }

  /**
   * Committed entries, in order. Those that the files already hold (a start begins at the checkpoint's index, which the files
   * may be ahead of) are passed over.
   */
  append(entry: Entry): void {
    if (entry.index <= this.#lastIndex) return
    assert(this.#state !== 'closed', 'append to a closed shard log')
    assert(entry.shard === this.shard, () => `entry of shard ${entry.shard} for the log of ${this.shard}`)
    assert(
      this.#lastIndex === 0 || entry.index === this.#lastIndex + 1,
      () => `entry ${entry.index} after ${this.#lastIndex}`,
    )
    this.#buffer.push(entry)
    this.#bufferBytes += entry.bytes.length
    this.#lastIndex = entry.index
    const crowded = this.#collaborators.buffered(entry.bytes.length)
    if (crowded || this.#bufferBytes >= this.#options.flushBytes) this.flush()
  }

  /** Writes what is buffered, in the background. */
  flush(): void {
    this.#flushThrough = this.#lastIndex
    this.#work()
  }

  /** Writes up to `index` and syncs. `done` gets a position at or beyond it; null when nothing was ever written. */
  sync(index: number, done: (position: ShardLogPosition | null) => void): void {
    assert(
      index <= this.#lastIndex,
      () => `sync of ${index}, the log of shard ${this.shard} ends at ${this.#lastIndex}`,
    )
    this.#syncs.push({ index, done })
    this.#flushThrough = Math.max(this.#flushThrough, index)
    this.#work()
  }

  /** Entries from `index` on, written or not; none only if the log ends before it. `done` in a later turn. */
  readFromIndex(index: number, maxBytes: number, done: ReadDone): void {
    const first = this.#buffer[0]
    if (index > this.#lastIndex) this.#answer([], done)
    else if (first !== undefined && index >= first.index)
      this.#answer(take(this.#buffer, index - first.index, maxBytes), done)
    else this.#reader.fromIndex(index, maxBytes, done)
  }

  /** The first entry is the one that holds `offset`, or, where none does, the next that has records. */
  readFromOffset(offset: number, maxBytes: number, done: ReadDone): void {
    const first = this.#buffer[0]
    if (first !== undefined && offset >= first.firstOffset) {
      const at = this.#buffer.findIndex((entry) => entry.recordCount > 0 && nextOffsetAfter(entry) > offset)
      this.#answer(at < 0 ? [] : take(this.#buffer, at, maxBytes), done)
      return
    }
    const buffered = this.#buffer
    this.#reader.fromOffset(offset, maxBytes, (error, entries) => {
      if (error !== null || entries.length > 0 || first === undefined) return done(error, entries)
      // Only entries without records lay between the offset and the end of the files as they were.
      const at = buffered.findIndex((entry) => entry.recordCount > 0 && nextOffsetAfter(entry) > offset)
      done(null, at < 0 ? [] : take(buffered, at, maxBytes))
    })
  }

  /** An index before which every record is older than `timestamp`: where to begin to look for the first that is not. */
  indexForTimestamp(timestamp: number, done: (error: Error | null, index: number) => void): void {
    this.#reader.indexForTimestamp(timestamp, this.#buffer[0]?.index ?? this.#lastIndex + 1, done)
  }

  /** Finishes what is in flight and lets the files go. What is only buffered stays in the journal. */
  close(done: () => void): void {
    if (this.#state === 'working') {
      this.#onIdle = () => this.close(done)
      return
    }
    this.#state = 'closed'
    this.#writer.close(done)
  }

  #answer(entries: Entry[], done: ReadDone): void {
    this.#collaborators.clock.endOfTurn(() => done(null, entries))
  }

  #work(): void {
    if (this.#state !== 'idle') return
    const due = this.#syncs.filter(({ index }) => index <= this.#writtenIndex)
    if (due.length === 0 && (this.#buffer.length === 0 || this.#flushThrough <= this.#writtenIndex)) return
    this.#state = 'working'
    this.#collaborators.background.write((finished) => {
      const job = due.length > 0 ? this.#syncFiles(due) : this.#writeSome()
      run(job, (error, tell) => {
        finished()
        if (error !== null) return this.#fail(error)
        this.#state = 'idle'
        tell!()
        this.#work()
        if (this.#state === 'idle') {
          const onIdle = this.#onIdle
          this.#onIdle = null
          onIdle?.()
        }
      })
    })
  }

  /** Returns what to say once this job is over. */
  *#syncFiles(due: readonly SyncWaiter[]): Procedure<() => void> {
    const position = yield* this.#writer.sync()
    for (const waiter of due) this.#syncs.splice(this.#syncs.indexOf(waiter), 1)
    return () => {
      for (const { done } of due) done(position)
    }
  }

  *#writeSome(): Procedure<() => void> {
    let bytes = 0
    let count = 0
    while (count < this.#buffer.length && (count === 0 || bytes < WRITE_BYTES_MAX))
      bytes += this.#buffer[count++]!.bytes.length
    const entries = this.#buffer.slice(0, count)
    const written = yield* this.#writer.write(entries)
    const last = written.at(-1)!
    bytes = 0
    for (const entry of written) bytes += entry.bytes.length
    this.#bufferBytes -= bytes
    this.#collaborators.buffered(-bytes)
    // A new array: reads in flight keep the one they began with.
    this.#buffer = this.#buffer.slice(written.length)
    this.#writtenIndex = last.index
    return () => {
      const [shard, writtenIndex] = [this.shard, last.index]
      this.#collaborators.trace({ type: 'shard-log-written', shard, bytes, entries: written.length, writtenIndex })
      this.onWritten?.(writtenIndex)
    }
  }

  #fail(cause: Error): void {
    this.#state = 'failed'
    const file = this.#writer.segments.at(-1)?.path ?? this.#options.directory
    const error =
      cause instanceof StorageError
        ? cause
        : new StorageError(
            { code: 'SHARD_LOG_FAILED', shard: this.shard, file, operation: 'write', reason: cause.message },
            `the log of shard ${this.shard} could not be written (${file}): ${cause.message}`,
            { cause },
          )
    this.#collaborators.trace({ type: 'storage-failed', code: error.code, message: error.message })
    this.#collaborators.fatal(error)
    this.#onIdle?.()
  }
}

/** Entries from position `at` on until `maxBytes` are reached: at least one. */
function take(entries: readonly Entry[], at: number, maxBytes: number): Entry[] {
  let bytes = 0
  let end = at
  while (end < entries.length) {
    bytes += entries[end]!.bytes.length
    if (end > at && bytes > maxBytes) break
    end++
  }
  return entries.slice(at, end)
}
