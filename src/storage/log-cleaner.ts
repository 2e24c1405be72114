/**
 * The cleaned part of one shard's log, and the way from one to the next:
 *
 *     wanted ──► cleaning (in the background, one per node) ──► finished: files that nothing names
 *                                                                   │ the next checkpoint names them, and the floor
 *                                                                   ▼
 *                                            named: readers see them, what they replace goes
 *
 * A crash anywhere leaves the old part or the new one, because a single record of the checkpoint says which; files that it does
 * not name are removed at the next opening.
 *
 * A part may also come from another replica (part-arrival.ts): where this one is behind its floor, or has lost something below. For
 * whoever reads, and for the checkpoint, that is a cleaning like any other.
 */
import type { Clock, Disk } from '../platform/index.ts'
import { assert, TypedError } from '../stdx/index.ts'
import type { Background } from './background.ts'
import { type CleanedPart, cleanedFrom, cleanedSegments } from './cleaned-part.ts'
import { CleanedWriter } from './cleaned-writer.ts'
import { Cleaning, type CleaningRequest, type CleaningResult, type CleaningSource } from './cleaning.ts'
import { StorageError } from './errors.ts'
import type { StorageEvent } from './events.ts'
import type { LogStart } from './log-start.ts'
import { PartArrival } from './part-arrival.ts'
import { call, type Procedure, run } from './procedure.ts'
import type { Room } from './room.ts'
import { SeenFloors } from './seen-floors.ts'
import type { Segment } from './segment.ts'

/** Where the reader looks for what lies below the floor. */
export interface CleanedView {
  readonly floorOffset: number
  readonly segments: readonly Segment[]
}

export interface CleanerCollaborators {
  readonly disk: Disk
  readonly clock: Clock
  readonly background: Background
  readonly room: Room
  readonly trace: (event: StorageEvent) => void
  readonly chance: (site: string) => boolean
  /** Calls when it is this log's turn to be cleaned; `over` when it was. */
  readonly cleaningTurn: (start: (over: () => void) => void) => void
  /** Resumes when so many bytes more may be worked on. */
  readonly cleaningPause: (bytes: number, resume: () => void) => void
  /** A checkpoint is to name what was cleaned. */
  readonly checkpointDue: (shard: number) => void
}

export interface CleanerOptions {
  readonly shard: number
  readonly directory: string
  readonly segmentBytes: number
  readonly mapBytes: number
}

const NO_PART: CleanedView = { floorOffset: 0, segments: [] }
const SMALL_MAP_BYTES = 512
/** Of an entry with less in it: well below what one may have, and what a restore takes at once. */
const GROWN_BYTES_MAX = 32 << 20
/** A cleaning that finds the log cut under it is begun again. */
const ATTEMPTS_MAX = 3
/** After somebody has asked for a piece of the part it stays as it is, so that he can have the rest. */
const HELD_MS = 10_000

export class LogCleaner {
  /** Segments that nothing needs any more. */
  onUseless: (segments: readonly Segment[]) => void = () => {}
  segmentBytes: number
  readonly #options: CleanerOptions
  readonly #source: CleaningSource
  readonly #with: CleanerCollaborators
  #part: CleanedPart | null
  #view: CleanedView = NO_PART
  #generation: number
  #wanted: CleaningRequest | null = null
  #attempts = 0
  #state: 'idle' | 'queued' | 'working' | 'receiving' | 'closed' = 'idle'
  /** The turn that it is queued for. */
  #turn: object | null = null
  /** What is being worked on is for nobody any more. */
  #disowned = false
  #finished: CleaningResult | null = null
  #receive: { readonly floor: LogStart; readonly begin: (arrival: PartArrival | null) => void } | null = null
  #arrival: PartArrival | null = null
  #heldUntilMs = 0
  #started = 0
  readonly #seen = new SeenFloors()
  /** What the cleaned part was cleaned with last, by this process, and whether it left any tombstone. */
  #tombstonesBelow = 0
  #tombstonesLeft: boolean | null = null
  #onIdle: (() => void) | null = null

  constructor(
    options: CleanerOptions,
    part: CleanedPart | null,
    source: CleaningSource,
    collaborators: CleanerCollaborators,
  ) {
    this.#options = options
    this.segmentBytes = options.segmentBytes
    this.#source = source
    this.#with = collaborators
    this.#part = part
    this.#generation = part?.generation ?? 0
    if (part === null) return
    this.#view = this.#viewOf(part)
    this.#seen.note(part.floorOffset, collaborators.clock.now())
  }

  get part(): CleanedPart | null {
    return this.#part
  }

  /** Another object whenever it says something else. */
  get view(): CleanedView {
    return this.#view
  }

  /** For the checkpoint that is captured now. */
  get finished(): CleaningResult | null {
    return this.#finished
  }

  get storedBytes(): number {
    let stored = 0
    for (const { bytes } of this.#part?.segments ?? []) stored += bytes
    return stored
  }

  /** The latest request counts. Where the log starts at its floor already, only tombstones can be left to go. */
  want(request: CleaningRequest): void {
    this.#wanted = request
    this.#attempts = 0
    this.#begin()
  }

  /** The floor's offset of what this replica has shown for so long. */
  shownFor(ms: number): number {
    return this.#seen.shownFor(ms, this.#with.clock.now())
  }

  /** Nothing of it is left to do. */
  hasDone({ floor, tombstonesBelow }: CleaningRequest): boolean {
    if (floor.index > this.#source.firstIndex) return false
    if (this.#part === null || this.#part.segments.length === 0) return true
    return this.#tombstonesLeft === false || tombstonesBelow <= this.#tombstonesBelow
  }

  /**
   * `begin` once nothing else is being done here: what was is given up. The arrival is to be finished or abandoned. What is finished
   * is adopted, or goes with a snapshot. Null: the log is closed, or somebody else has asked.
   */
  receive(floor: LogStart, begin: (arrival: PartArrival | null) => void): void {
    if (this.#state === 'receiving' || this.#state === 'closed' || this.#receive !== null) return begin(null)
    this.#receive = { floor, begin }
    this.#disown()
    this.#begin()
  }

  /** What is being worked on is for nobody any more; other logs' cleanings are not waited for. */
  #disown(): void {
    if (this.#state === 'working') this.#disowned = true
    if (this.#state !== 'queued') return
    this.#turn = null
    this.#state = 'idle'
  }

  /** A part that has arrived takes the place of what lies below its floor; not where the log has come to start above that meanwhile. */
  adopt(part: CleanedPart, floor: LogStart): void {
    assert(this.#finished === null, 'a part arrives where another one waits for its checkpoint')
    if (floor.index < this.#source.firstIndex) {
      const { shard, directory } = this.#options
      this.onUseless(cleanedSegments(shard, directory, part))
      return
    }
    this.#started = this.#with.clock.now()
    const nothing = { bytesRead: 0, recordsKept: 0, recordsDropped: 0, tombstonesBelow: 0, tombstonesKept: 0 }
    this.#finished = { floorIndex: floor.index, part, ...nothing, hasArrived: true }
    this.#with.checkpointDue(this.#options.shard)
  }

  /** Somebody is reading the part, a piece at a time. */
  hold(): void {
    this.#heldUntilMs = this.#with.clock.now() + HELD_MS
  }

  #beginReceiving(): void {
    const { floor, begin } = this.#receive!
    this.#receive = null
    this.#state = 'receiving'
    const { shard } = this.#options
    const writer = this.#writer()
    const over = (part: CleanedPart | null): void => {
      this.#arrival = null
      if (part === null) this.onUseless(writer.segments)
      this.#ended(() => {})
    }
    const pause = (bytes: number): Procedure<void> => this.#pause(bytes)
    this.#arrival = new PartArrival({ shard, generation: this.#generation, floor, pause, over }, writer)
    begin(this.#arrival)
  }

  #begin(): void {
    const wanted = this.#wanted
    if (this.#state !== 'idle' || this.#finished !== null) return
    if (this.#receive !== null) return this.#beginReceiving()
    if (wanted === null || this.#with.clock.now() < this.#heldUntilMs) return
    const { firstIndex, lastIndex } = this.#source
    // A replica that was placed at the start of a log knows of floors that its log does not reach yet; it is asked again.
    if (wanted.floor.index > lastIndex) return
    if (wanted.floor.index <= firstIndex && !this.#hasTombstonesFor(wanted)) return
    this.#state = 'queued'
    const turn = {}
    this.#turn = turn
    this.#with.cleaningTurn((over) => {
      if (this.#turn !== turn) return over()
      this.#turn = null
      this.#state = 'working'
      // What was wanted meanwhile.
      const latest = this.#wanted!
      const request = { ...latest, tombstonesBelow: this.#tombstonesThatMayGo(latest) }
      const writer = this.#writer()
      this.#started = this.#with.clock.now()
      run(this.#clean(request, writer), (error, result) => {
        if (error === null && !this.#disowned) {
          this.#finished = result!
          if (this.#wanted === latest && result!.floorIndex >= latest.floor.index) this.#wanted = null
        } else {
          if (!this.#disowned) this.#failed(error!)
          this.onUseless(writer.segments)
        }
        this.#ended(over)
        if (this.#finished !== null) this.#with.checkpointDue(this.#options.shard)
      })
    })
  }

  /** The log starts at this floor, and below it there are tombstones that nothing keeps any more, or may be. */
  #hasTombstonesFor(wanted: CleaningRequest): boolean {
    const { floor } = wanted
    const part = this.#part
    if (part === null || part.segments.length === 0 || this.#tombstonesLeft === false) return false
    const isAtFloor = floor.index === this.#source.firstIndex && floor.offset === part.floorOffset
    const from = Math.max(this.#tombstonesBelow, part.segments[0]!.firstOffset)
    return isAtFloor && this.#tombstonesThatMayGo(wanted) > from
  }

  #tombstonesThatMayGo({ tombstonesBelow, graceMs }: CleaningRequest): number {
    return Math.min(tombstonesBelow, this.shownFor(graceMs))
  }

  #writer(): CleanedWriter {
    const { shard, directory } = this.#options
    const { segmentBytes } = this
    return new CleanedWriter({ shard, directory, generation: ++this.#generation, segmentBytes }, this.#with)
  }

  *#clean(request: CleaningRequest, writer: CleanedWriter): Procedure<CleaningResult> {
    const small = this.#with.chance('storage/small-cleaning-map')
    const cleaning = new Cleaning(request, this.#source, writer, {
      generation: this.#generation,
      mapBytes: small ? SMALL_MAP_BYTES : this.#options.mapBytes,
      grownBytesMax: GROWN_BYTES_MAX,
      pause: (bytes) => this.#pause(bytes),
    })
    try {
      return yield* cleaning.run()
    } catch (error) {
      yield* writer.abandon()
      throw error
    }
  }

  *#pause(bytes: number): Procedure<void> {
    yield* call<void>((done) => this.#with.cleaningPause(bytes, () => done(null)))
    yield* this.#with.room.leaveToJournal()
    const { shard } = this.#options
    if (this.#disowned) throw new StorageError({ code: 'CLEANING_ABANDONED', shard }, `shard ${shard} has another log`)
  }

  #failed(error: Error): void {
    const { shard } = this.#options
    this.#with.trace({ type: 'shard-cleaning-failed', shard, reason: error.message })
    const cut =
      error instanceof TypedError && (error.code === 'BELOW_LOG_START' || error.code === 'OFFSET_BELOW_LOG_START')
    // Whatever else it was: the leader decides again, when there is more to clean.
    if (!cut || ++this.#attempts >= ATTEMPTS_MAX) this.#wanted = null
  }

  #ended(over: () => void): void {
    over()
    const closing = this.#onIdle
    this.#disowned = false
    this.#state = closing === null ? 'idle' : 'closed'
    this.#onIdle = null
    if (closing === null) this.#begin()
    else closing()
  }

  /** A checkpoint on the disk names it. */
  named(result: CleaningResult, startOffset: number): void {
    if (this.#finished !== result) return
    this.#finished = null
    const { part, floorIndex: firstIndex, bytesRead, recordsKept, recordsDropped, hasArrived } = result
    this.#tombstonesBelow = result.tombstonesBelow
    this.#tombstonesLeft = hasArrived ? null : result.tombstonesKept > 0
    const before = this.#view.segments
    this.#take(part)
    this.#seen.note(part.floorOffset, this.#with.clock.now())
    this.#drop(before)
    const [segments, bytes] = [part.segments.length, this.storedBytes]
    const milliseconds = this.#with.clock.now() - this.#started
    const { shard } = this.#options
    if (hasArrived) this.#with.trace({ type: 'cleaned-part-adopted', shard, firstIndex, segments, bytes })
    else
      this.#with.trace({
        ...{ type: 'shard-log-cleaned', shard, firstIndex, segments, bytes },
        ...{ bytesRead, recordsKept, recordsDropped, milliseconds },
      })
    this.startsAt(startOffset)
    this.#begin()
  }

  /** What lies wholly below the log's start offset goes. */
  startsAt(startOffset: number): void {
    const part = this.#part
    if (part === null) return
    const left = cleanedFrom(part, startOffset)
    if (left === part) return
    const gone = part.segments.length - left.segments.length
    const { segments, floorOffset } = this.#view
    this.#part = left
    this.#view = { floorOffset, segments: segments.slice(gone) }
    this.#drop(segments.slice(0, gone))
  }

  /** The log has become another one. */
  replace(part: CleanedPart | null): void {
    const { shard, directory } = this.#options
    const before = [...this.#view.segments]
    // Files that nothing ever named.
    if (this.#finished !== null) before.push(...cleanedSegments(shard, directory, this.#finished.part))
    this.#wanted = null
    this.#finished = null
    this.#disown()
    this.#arrival?.abandon()
    this.#part = part
    this.#tombstonesBelow = 0
    this.#tombstonesLeft = null
    this.#seen.forget()
    if (part !== null) this.#seen.note(part.floorOffset, this.#with.clock.now())
    this.#view = part === null ? NO_PART : this.#viewOf(part)
    this.#generation = Math.max(this.#generation, part?.generation ?? 0)
    this.#drop(before)
    this.#begin()
  }

  close(done: () => void): void {
    this.#wanted = null
    const receive = this.#receive
    this.#receive = null
    receive?.begin(null)
    if (this.#state === 'receiving') {
      this.#onIdle = done
      this.#arrival!.abandon()
      return
    }
    this.#disown()
    if (this.#state === 'working') {
      this.#onIdle = done
      return
    }
    this.#state = 'closed'
    done()
  }

  #take(part: CleanedPart): void {
    this.#part = part
    this.#view = this.#viewOf(part)
  }

  #viewOf(part: CleanedPart): CleanedView {
    const { shard, directory } = this.#options
    return { floorOffset: part.floorOffset, segments: cleanedSegments(shard, directory, part) }
  }

  #drop(segments: readonly Segment[]): void {
    if (segments.length === 0) return
    for (const segment of segments) segment.dropped = true
    this.onUseless(segments)
  }
}
