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
 *
 * The front goes when a checkpoint has said so. A cut moves the start up, at once for readers; whole segments below it are
 * removed when there is time. An installed snapshot is the extreme: the log stands at its index and has nothing at all.
 *
 *     1.log   31.log   61.log   91.log          start = 70: 1.log and 31.log go
 *     └── removed ──┘    ▲ start
 */

import type { PlatformError } from '../platform/index.ts'
import { assert, TypedError } from '../stdx/index.ts'
import type { ShardLogPosition } from './checkpoint-format.ts'
import type { CleanedPart } from './cleaned-part.ts'
import type { CleaningResult } from './cleaning.ts'
import type { Entry } from './entry.ts'
import { StorageError } from './errors.ts'
import { LogCleaner } from './log-cleaner.ts'
import { LogRepairs, type SwapOutcome } from './log-repairs.ts'
import { type LogStart, laterStart } from './log-start.ts'
import type { Procedure } from './procedure.ts'
import { isFull, type RoomWork } from './room.ts'
import { damaged, Segment } from './segment.ts'
import { type SegmentFacts, segmentFacts, withCleaned } from './segment-facts.ts'
import type { SegmentRepair } from './segment-repair.ts'
import { type SegmentLimits, SegmentWriter } from './segment-writer.ts'
import type { ShardLogCollaborators, ShardLogOptions, ShardLogStart } from './shard-log-options.ts'
import { type ReadDone, ShardReader } from './shard-reader.ts'
import { entriesFromIndex, entriesFromOffset, UnwrittenEntries } from './unwritten-entries.ts'
import { UselessFiles } from './useless-files.ts'

/** One write carries no more, so that reads find a gap between two. */
const WRITE_BYTES_MAX = 4 << 20

export type FactsDone = (error: StorageError | PlatformError | null, segments: readonly SegmentFacts[]) => void

/** How a log is to be synced for whoever asks. */
interface SyncManner {
  /** So much of what is the journal's, on a disk that is low, must stay its own; less than all where room comes of it. */
  readonly journalShare: number
  /** Before the backlog of all other logs. */
  readonly urgent: boolean
}

interface SyncWaiter extends SyncManner {
  readonly index: number
  readonly done: (position: ShardLogPosition | null) => void
}

interface Swap {
  readonly repair: SegmentRepair
  readonly done: (error: Error | null, outcome?: SwapOutcome) => void
}

interface Replacement {
  readonly start: LogStart
  readonly done: () => void
}

export class ShardLog {
  /** Called when entries up to `index` are with the operating system. */
  onWritten: ((index: number) => void) | null = null
  /** Called when the log starts at `floorIndex` because what lies below is cleaned, and a checkpoint on the disk says so. */
  onCleaned: ((floorIndex: number) => void) | null = null
  /** Compaction of this log, and what it has left. */
  readonly cleaner: LogCleaner

  readonly #options: ShardLogOptions
  readonly #collaborators: ShardLogCollaborators
  readonly #writer: SegmentWriter
  readonly #reader: ShardReader
  /** What of it is damaged. */
  readonly repairs: LogRepairs
  #swap: Swap | null = null
  readonly #unwritten: UnwrittenEntries
  /** Work until everything is written up to here. */
  #flushThrough = 0
  readonly #syncs: SyncWaiter[] = []
  readonly #waitingForFacts: FactsDone[] = []
  #start: LogStart
  readonly #useless: UselessFiles
  /** The last job was a removal: where both are due, a write comes next. */
  #removes = false
  /** The last write was refused: whatever may go goes before the next. */
  #refused = false
  #replacement: Replacement | null = null
  #state: 'idle' | 'working' | 'failed' | 'closed' = 'idle'
  #onIdle: (() => void) | null = null
  /** What it is working on. */
  #job: RoomWork | null = null

  constructor(
    options: ShardLogOptions,
    { start, position, sealed, inUseMissing, index, cleaned, cleanedMissing }: ShardLogStart,
    collaborators: ShardLogCollaborators,
  ) {
    this.#options = options
    this.#collaborators = collaborators
    this.#start = start
    const { shard, directory } = options
    this.#useless = new UselessFiles(collaborators.disk, directory)
    const segments = sealed.map((firstIndex) => new Segment(shard, directory, firstIndex))
    const damageMet = (error: unknown): void => this.repairs.note(error)
    this.#writer = new SegmentWriter(options, position, segments, { ...collaborators, damageMet })
    this.cleaner = new LogCleaner({ ...options, mapBytes: options.cleaningMapBytes }, cleaned, this, collaborators)
    this.cleaner.onUseless = (useless) => {
      this.#useless.add(useless)
      this.#work()
    }
    const [startOf, cleanedOf] = [() => this.#start, () => this.cleaner.view]
    this.#reader = new ShardReader(shard, this.#writer.segments, startOf, cleanedOf, { ...collaborators, damageMet })
    this.repairs = new LogRepairs(options, this.#writer, () => this.#start, collaborators)
    this.#unwritten = new UnwrittenEntries(position?.lastIndex ?? index)
    const inUse = this.#writer.segments.at(-1)
    if (inUseMissing && inUse !== undefined) this.repairs.note(damaged(inUse, 0, 'the file is missing'))
    const lost = this.cleaner.view.segments.find(({ path }) => path === cleanedMissing)
    if (lost !== undefined) this.repairs.note(damaged(lost, 0, 'the file is missing'))
    const first = this.#writer.segments[0]
    if (first !== undefined && first.firstIndex > start.index) this.repairs.noteFront('the first file is missing')
  }

  get shard(): number {
    return this.#options.shard
  }

  get lastIndex(): number {
    return this.#unwritten.lastIndex
  }

  /** Highest index that the operating system has; not necessarily synced. */
  get writtenIndex(): number {
    return this.#unwritten.writtenIndex
  }

  get bufferedBytes(): number {
    return this.#unwritten.bytes
  }

  /** Lowest index that can be read; one above `lastIndex` when there is none. */
  get firstIndex(): number {
    return this.#start.index
  }

  /** Lowest offset that can be read; the next to come when there is none. */
  get firstOffset(): number {
    return this.#start.offset
  }

  /** When segments are left from now on; undefined: as the storage was opened with. */
  configure(limits: Partial<SegmentLimits>): void {
    const { segmentBytes = this.#options.segmentBytes } = limits
    this.cleaner.segmentBytes = segmentBytes
    this.#writer.limits = { segmentMs: Number.POSITIVE_INFINITY, segmentJitterMs: 0, ...limits, segmentBytes }
  }

  /** In files, and still to be written; null: of files from before this start it is not known yet. */
  get storedBytes(): number | null {
    let stored = this.#unwritten.bytes + this.cleaner.storedBytes
    for (const { bytes, numbersLost } of this.#writer.segments) {
      if (bytes === null && !numbersLost) return null
      stored += bytes ?? 0
    }
    return stored
  }

  /** What the log's files hold, oldest first, together with what is still to be written. `done` in a later turn. */
  segments(done: FactsDone): void {
    this.#waitingForFacts.push(done)
    // Once for all who ask meanwhile: after a start it may take a while.
    if (this.#waitingForFacts.length > 1) return
    this.#reader.learn((error) => {
      // Written, and not yet taken from the buffer, while the writer syncs.
      const buffered = this.#unwritten.entries.filter(({ index }) => index > this.#writer.lastIndex)
      const committed = error === null ? segmentFacts(this.#writer.segments, buffered) : []
      const { floorOffset, segments } = this.cleaner.view
      const facts = withCleaned(segments, committed, { index: this.#start.index, offset: floorOffset })
      for (const waiting of this.#waitingForFacts.splice(0)) waiting(error, facts)
    })
  }

  /**
   * Committed entries, in order. Those that the files already hold (a start begins at the checkpoint's index, which the files
   * may be ahead of) are passed over. `cutsTo`: of an entry that moves the log's start there.
   */
  append(entry: Entry, cutsTo = 0): void {
    // A part that reached further than what was applied waits for this.
    if (this.cleaner.finished?.floorIndex === entry.index + 1)
      this.#collaborators.clock.endOfTurn(() => this.#collaborators.checkpointDue(this.shard))
    if (entry.index <= this.lastIndex) return
    assert(this.#state !== 'closed' && this.#replacement === null, 'append to a shard log that is closed or replaced')
    assert(entry.shard === this.shard, () => `entry of shard ${entry.shard} for the log of ${this.shard}`)
    if (cutsTo > 0) this.#writer.cutComes(entry.index, cutsTo)
    this.#unwritten.add(entry)
    const crowded = this.#collaborators.buffered(entry.bytes.length)
    const full =
      this.#unwritten.bytes >= this.#options.flushBytes || this.#collaborators.chance('storage/flush-shard-log')
    if (crowded || full) this.flush()
  }

  /** Writes what is buffered, in the background. */
  flush(): void {
    this.#flushThrough = this.lastIndex
    this.#work()
  }

  /**
   * Writes up to `index` and syncs. `done` gets a position at or beyond it; null when nothing was ever written.
   */
  sync(
    index: number,
    done: (position: ShardLogPosition | null) => void,
    manner: SyncManner = { journalShare: 1, urgent: false },
  ): void {
    assert(index <= this.lastIndex, () => `sync of ${index}, the log of shard ${this.shard} ends at ${this.lastIndex}`)
    this.#syncs.push({ index, done, ...manner })
    this.#flushThrough = Math.max(this.#flushThrough, index)
    if (manner.urgent) this.#job?.hasten()
    this.#work()
  }

  /**
   * Entries from `index` on, written or not; none only if the log ends before it. Below `firstIndex`: `BELOW_LOG_START`.
   * `done` in a later turn.
   */
  readFromIndex(index: number, maxBytes: number, done: ReadDone): void {
    const { entries, lastIndex, writtenIndex } = this.#unwritten
    if (index > lastIndex) this.#answer([], done)
    else if (index > writtenIndex && index >= this.#start.index)
      this.#answer(entriesFromIndex(entries, index, maxBytes), done)
    else this.#reader.fromIndex(index, maxBytes, done)
  }

  /**
   * The first entry is the one that holds `offset`, or, where none does, the next that has records. Below `firstOffset`:
   * `OFFSET_BELOW_LOG_START`.
   */
  readFromOffset(offset: number, maxBytes: number, done: ReadDone): void {
    const { entries: unwritten } = this.#unwritten
    const first = unwritten[0]
    const from = Math.max(this.#start.offset, this.cleaner.view.floorOffset)
    if (first !== undefined && offset >= Math.max(first.firstOffset, from)) {
      this.#answer(entriesFromOffset(unwritten, offset, maxBytes), done)
      return
    }
    this.#reader.fromOffset(offset, maxBytes, (error, entries) => {
      if (error !== null || entries.length > 0 || first === undefined) return done(error, entries)
      // Only entries without records lay between the offset and the end of the files as they were.
      done(null, entriesFromOffset(unwritten, Math.max(offset, this.cleaner.view.floorOffset), maxBytes))
    })
  }

  /** An index before which every record is older than `timestamp`: where to begin to look for the first that is not. */
  indexForTimestamp(timestamp: number, done: (error: Error | null, index: number) => void): void {
    this.#reader.indexForTimestamp(timestamp, this.writtenIndex + 1, done)
  }

  /**
   * A checkpoint on the disk says that the log starts here, and is synced up to `position`. The start never moves back. `cleaned`:
   * what the checkpoint names for what lies below.
   */
  cut(start: LogStart, position: ShardLogPosition | null, cleaned: CleaningResult | null = null): void {
    this.#start = laterStart(start, this.#start)
    if (cleaned === null) this.cleaner.startsAt(this.#start.offset)
    else this.cleaner.named(cleaned, this.#start.offset)
    if (position !== null) {
      this.#discard(this.#writer.cut(this.#start.index, position.firstIndex))
      this.#discard(this.repairs.named(position.firstIndex))
    }
    this.#useless.tryAgain()
    this.#work()
    this.repairs.cleanedReplaced(this.cleaner.view.segments)
    if (cleaned !== null) this.onCleaned?.(cleaned.floorIndex)
  }

  /**
   * A checkpoint on the disk says that a snapshot is the log up to before `start`, where it now begins and ends. What was
   * buffered goes unwritten: all of it lies below, or, in a replica that recovers, comes again.
   */
  replace(start: LogStart, cleaned: CleanedPart | null, done: () => void): void {
    assert(this.#state !== 'closed', 'replaced after it was closed')
    this.cleaner.replace(cleaned)
    this.repairs.cleanedReplaced(this.cleaner.view.segments)
    this.#replacement = { start, done }
    this.#job?.hasten()
    this.#work()
  }

  /** Ascending; the last one is in use and holds what `position` says. */
  get files(): { readonly segments: readonly Segment[]; readonly position: ShardLogPosition | null } {
    return this.#writer
  }

  /** Puts a complete repair in the place of what it repairs. */
  completeRepair(repair: SegmentRepair, done: Swap['done']): void {
    assert(this.#swap === null, () => `two repairs at once of the log of shard ${this.shard}`)
    this.#swap = { repair, done }
    this.#work()
  }

  #discard(segments: readonly Segment[]): void {
    this.#useless.add(segments)
    if (segments.length === 0) return
    const { index: firstIndex } = this.#start
    this.#collaborators.trace({ type: 'shard-log-cut', shard: this.shard, firstIndex, segments: segments.length })
  }

  /**
   * Finishes what is in flight and lets the files go. What is only buffered stays in the journal, and what the disk has no room
   * for: whoever waits for a sync of that is told that there is none.
   */
  close(done: () => void): void {
    this.repairs.close()
    this.cleaner.close(() => this.#close(done))
  }

  #close(done: () => void): void {
    if (this.#state === 'working') {
      this.#onIdle = () => this.#close(done)
      this.#job?.giveUp()
      return
    }
    this.#state = 'closed'
    for (const waiter of this.#syncs.splice(0)) waiter.done(null)
    // Who waits for these goes on: what the log would have become is for nobody any more.
    const [replacement, swap] = [this.#replacement, this.#swap]
    this.#replacement = null
    this.#swap = null
    replacement?.done()
    swap?.done(null, 'moot')
    this.#writer.close(done)
  }

  #answer(entries: Entry[], done: ReadDone): void {
    this.#collaborators.clock.endOfTurn(() => done(null, entries))
  }

  #work(): void {
    if (this.#state !== 'idle' || !this.#hasWork()) return
    this.#state = 'working'
    // What is tried again is chosen again: a removal that came meanwhile makes the room that a write waits for.
    const next = (): Procedure<() => void> => this.#nextJob()
    let over = false
    const ended = (error: Error | null, tell?: () => void): void => {
      over = true
      if (error !== null && !isFull(error)) return this.#fail(error)
      this.#state = 'idle'
      if (error === null) {
        tell!()
        this.#work()
      }
      if (this.#state === 'idle') {
        const onIdle = this.#onIdle
        this.#onIdle = null
        onIdle?.()
      }
    }
    const urgent = this.#replacement !== null || this.#syncs.some((sync) => sync.urgent)
    const job = this.#collaborators.room.run(`the log of shard ${this.shard}`, next, ended, urgent)
    if (over) return
    this.#job = job
    // Whoever closes it does so between two jobs as well.
    if (this.#onIdle !== null) job.giveUp()
  }

  #hasWork(): boolean {
    if (this.#replacement !== null || this.#swap !== null || this.#useless.any) return true
    if (this.#syncs.some(({ index }) => index <= this.writtenIndex)) return true
    return this.#flushThrough > this.writtenIndex
  }

  /** What it returns is said once the job is over. */
  #nextJob(): Procedure<() => void> {
    if (this.#replacement !== null) return this.#beginAnew(this.#replacement)
    const due = this.#syncs.filter(({ index }) => index <= this.writtenIndex)
    if (due.length > 0) return this.#syncFiles(due)
    if (this.#swap !== null) return this.#swapIn(this.#swap)
    // By turns: writes come on and on, and a removal makes the room that they wait for; but a checkpoint waits for them.
    const mayWrite = this.#flushThrough > this.writtenIndex && !this.#refused
    this.#removes = this.#useless.any && (!this.#removes || !mayWrite)
    return this.#removes ? this.#removeSome() : this.#writeSome()
  }

  *#beginAnew({ start, done }: Replacement): Procedure<() => void> {
    const segments = yield* this.#writer.abandon()
    this.#replacement = null
    this.#start = start
    this.#flushThrough = start.index - 1
    this.#collaborators.buffered(-this.#unwritten.beginAfter(start.index - 1))
    this.#discard(segments)
    this.#discard(this.repairs.beganAnew())
    // A checkpoint that went without this log: nobody waits for these any more.
    const waiters = this.#syncs.splice(0)
    return () => {
      done()
      for (const waiter of waiters) waiter.done(null)
    }
  }

  *#removeSome(): Procedure<() => void> {
    yield* this.#useless.removeSome(this.#writer.segments, (segments) => this.repairs.keepDamaged(segments))
    return () => {}
  }

  /** What fails on the way leaves the log as damaged as it was. */
  *#swapIn({ repair, done }: Swap): Procedure<() => void> {
    this.#swap = null
    try {
      const outcome = yield* this.repairs.swap(repair)
      return () => done(null, outcome)
    } catch (error) {
      if (!(error instanceof TypedError) || error.code === 'SHARD_LOG_FAILED') throw error
      return () => done(error)
    }
  }

  *#syncFiles(due: readonly SyncWaiter[]): Procedure<() => void> {
    const position = yield* this.#writer.sync()
    for (const waiter of due) this.#syncs.splice(this.#syncs.indexOf(waiter), 1)
    return () => {
      for (const { done } of due) done(position)
    }
  }

  *#writeSome(): Procedure<() => void> {
    const journalShare = this.#syncs.reduce((least, sync) => Math.min(least, sync.journalShare), 1)
    this.#refused = true
    yield* this.#collaborators.room.leaveToJournal(journalShare)
    const written = yield* this.#writer.write(this.#unwritten.next(WRITE_BYTES_MAX))
    this.#refused = false
    const bytes = this.#unwritten.wrote(written)
    this.#collaborators.buffered(-bytes)
    const { shard, writtenIndex } = this
    return () => {
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
