/**
 * Takes checkpoints, and with each lets the journal forget what it covers.
 *
 *     capture the active shards  ──►  sync their logs up to there  ──►  replace the file  ──►  free journal segments
 *     (one turn: one moment)          (background)                      (atomic)               (wholly covered ones)
 *
 * The order is the point: the file may only say what the shard logs have under a sync, and the journal may only forget what
 * the file says under a sync.
 *
 * A snapshot from another replica goes the same way: it stands in the file instead of what this node would have captured,
 * with no log behind it (installs.ts).
 *
 * A segment is held by every shard of which it has an entry above the shard's index in the checkpoint, or a newer vote. Votes
 * hold nothing for long: each checkpoint carries the latest hard state of every shard, active or not. Entries might: a shard
 * that cannot commit (its quorum is gone) keeps a tail that no checkpoint covers, and the journal is freed in order. Such a
 * tail is appended to the journal once more, and the old copy no longer counts.
 */

import type { Clock, Disk } from '../platform/index.ts'
import { assert } from '../stdx/index.ts'
import { encodeCheckpoint, type ShardCheckpoint, type ShardLogPosition } from './checkpoint-format.ts'
import { CheckpointRecords, type RecordsStart } from './checkpoint-records.ts'
import { type CleanedPart, cleanedFrom } from './cleaned-part.ts'
import type { CleaningResult } from './cleaning.ts'
import type { Entry } from './entry.ts'
import { StorageError } from './errors.ts'
import type { StorageEvent } from './events.ts'
import type { HardState } from './hard-state.ts'
import { type Install, type InstallDone, Installs } from './installs.ts'
import type { Journal } from './journal.ts'
import type { Covered, JournalSegment } from './journal-segment.ts'
import { checkpointFile } from './layout.ts'
import { Removals } from './removals.ts'
import { isFull, type Room } from './room.ts'
import type { ShardLog } from './shard-log.ts'
import { replaceTwins } from './twin-files.ts'

/** Closed segments that may wait for a shard that lags before its tail is written again. */
const SEGMENTS_BEFORE_CARRY = 2
/** A longer tail is no forgotten one: its shard is pushed back on, and moves. */
const CARRIED_BYTES_MAX = 16 << 20
/** Of what is the journal's on a disk that is low, what stays its own while logs are written for a checkpoint that frees some of its files. */
const JOURNAL_SHARE = 0.5

/** The driver's side of a checkpoint. All three are called in one turn, and see one moment. */
export interface CheckpointSource {
  /** Shards whose state changed since they were captured last. */
  activeShards(): Iterable<number>
  /** `index` ≤ the shard's high-water mark = its applied index; everything up to it was handed to the shard's log. */
  capture(shard: number): ShardCheckpoint
  /** Entries of the shard's log above that index, all of them, as handed to `append`. */
  tail?(shard: number): readonly Entry[]
}

export interface CheckpointerCollaborators {
  readonly disk: Disk
  readonly clock: Clock
  readonly room: Room
  readonly journal: Journal
  readonly logs: ReadonlyMap<number, ShardLog>
  readonly trace: (event: StorageEvent) => void
  readonly fatal: (error: StorageError) => void
  /** Segments that the checkpoint on disk no longer needs. */
  readonly freed: (segments: JournalSegment[]) => void
  /** `Random.chance`. */
  readonly chance: (site: string) => boolean
  /** A shard that no checkpoint has seen is one that recovers. */
  readonly unknownRecover: () => boolean
}

/** A checkpoint on its way to the disk. `freed`: so many of the oldest segments go when it is there. */
interface Composed {
  readonly pieces: readonly Uint8Array[]
  readonly shards: number
  readonly journalFrom: number
  readonly freed: number
}

const EVERYTHING: Covered = { index: Number.MAX_SAFE_INTEGER, term: Number.MAX_SAFE_INTEGER, vote: 1 }

export class Checkpointer {
  readonly #options: { readonly directory: string; readonly diskIncarnation: string }
  readonly #the: CheckpointerCollaborators
  readonly #records: CheckpointRecords
  readonly #removals: Removals
  #source: CheckpointSource | null = null
  #running = false
  /** A file is on its way to the disk, or waits for room there. */
  #writing = false
  #stopped = false
  #onStopped: (() => void) | null = null
  readonly #installs: Installs
  /** Shards of which the next checkpoint has something to say, whatever the driver thinks of them. */
  readonly #due = new Set<number>()
  /**
   * Of the shards that are captured, those that the file must have: their tails are at the journal's end, and it is to say what lies
   * below; or they say of others that they are gone, and so will the file.
   */
  readonly #needed = new Set<number>()
  /** Somebody waits for the checkpoint that is being taken: it goes without other logs that are not synced yet. */
  #hurried = false
  #hurry: (() => void) | null = null
  /** It takes removals up, said by these shards' states. */
  readonly #saying = new Set<number>()
  /** What the checkpoint that is being taken is to name. */
  readonly #namings = new Map<number, CleaningResult>()
  /** Asked for while one was running: those waiting for the next. */
  #next: (() => void)[] | null = null

  constructor(
    options: { directory: string; diskIncarnation: string },
    start: RecordsStart & { readonly removed: ReadonlyMap<number, number> },
    collaborators: CheckpointerCollaborators,
  ) {
    this.#options = options
    this.#the = collaborators
    this.#installs = new Installs(collaborators)
    this.#records = new CheckpointRecords(start)
    this.#removals = new Removals(start.removed)
  }

  set source(source: CheckpointSource) {
    this.#source = source
  }

  get hasSource(): boolean {
    return this.#source !== null
  }

  get busy(): boolean {
    return this.#running || this.#installs.size > 0
  }

  /** The low-water mark of the journal: how many closed segments are still there, and a shard that needs the oldest. */
  get journalKept(): { readonly segments: number; readonly heldBy: number | null } {
    const { closedSegments } = this.#the.journal
    const holder = closedSegments[0]?.heldBy((shard) => this.#covered(shard)).next()
    return { segments: closedSegments.length, heldBy: holder?.done === false ? holder.value : null }
  }

  /** Appended to the journal. */
  noteHardState(shard: number, state: HardState): void {
    this.#records.noteHardState(shard, state)
  }

  noteStamp(stamp: number): void {
    this.#records.noteStamp(stamp)
  }

  /** The next one has something to say of this shard, and is to come soon. */
  noteDue(shard: number): void {
    this.#due.add(shard)
    this.take(() => {})
  }

  /** `saidBy`: the shard whose state says so. */
  remove(shard: number, saidBy: number): void {
    this.#removals.begin(shard, saidBy)
    this.#installs.drop(shard)
    this.noRoom()
  }

  /**
   * A log waits for room, or one did. What is removed makes some, so neither its checkpoint nor the one before waits for such logs: only
   * for the one that says what is removed.
   */
  noRoom(): void {
    if (!this.#running || !this.#the.room.awaited || (this.#saying.size === 0 && !this.#removals.anyLeaving)) return
    this.#hurried = true
    this.#hurry?.()
  }

  /** The removed shard has no files any more. */
  swept(shard: number): void {
    this.#removals.swept(shard)
  }

  isInstalling(shard: number): boolean {
    return this.#installs.has(shard)
  }

  /**
   * `done` in the turn in which the shard's log stands at the snapshot's index, before the next checkpoint is captured:
   * that one must find whatever the driver makes of it.
   */
  install(state: ShardCheckpoint, cleaned: CleanedPart | null, done: InstallDone): void {
    this.#installs.begin(state, cleaned, done, () => {
      // A shard without a log has no quorum here: it must not wait for the backlog of all others.
      this.#hurried ||= this.#running
      this.#hurry?.()
      this.take(() => {})
    })
  }

  /** The shard's removal is in no file yet, or the journal may still have entries of it. */
  refuses(shard: number, done: InstallDone): boolean {
    if (!this.#removals.has(shard)) return false
    this.#installs.refuse(shard, done)
    return true
  }

  /** None is taken any more, asked for or not. `done` when none is being written: from then on the directory may be somebody else's. */
  stop(done: () => void): void {
    this.#stopped = true
    if (this.#writing) this.#onStopped = done
    else done()
  }

  /** Takes one; if one is being taken, another after it. `done` when what was removed before the call is gone from the file. */
  take(done: () => void): void {
    if (this.#stopped) return
    if (this.#running) {
      this.#tellAfterNext(done)
      return
    }
    this.#running = true
    this.#needed.clear()
    this.#saying.clear()
    let tell = done
    const { room, disk, clock, journal } = this.#the
    const started = clock.now()
    let installs = this.#installs.ready()
    this.#hurried = installs.length > 0
    if (installs.length === this.#installs.size) this.#takeUpRemovals()
    else if (this.#removals.anyLeaving) {
      this.#tellAfterNext(done)
      tell = () => {}
    }
    const captured = this.#capture()
    this.noRoom()
    this.#syncLogs(captured, (positions) => {
      if (this.#stopped) return
      // Not where a removal waits for the next one: the snapshot may be of the state that says so.
      if (this.#hurried && !this.#removals.anyLeaving) installs = this.#installs.ready()
      let composed: Composed | null = null
      const attempt = () => {
        composed ??= this.#compose(captured, installs, positions)
        return replaceTwins(disk, checkpointFile(this.#options.directory), composed.pieces)
      }
      const written = (error: Error | null): void => {
        this.#writing = false
        // Given up, with the storage: the journal has what the file would have said.
        if (error !== null && !isFull(error)) this.#fail(error)
        if (this.#stopped) return this.#onStopped?.()
        if (error !== null) return
        this.#written(composed!, captured.size + installs.length, started)
        this.#cutLogs(captured, positions)
        this.#installs.finish(installs, () => {
          this.#running = false
          const next = this.#next
          this.#next = null
          tell()
          if (next === null || this.#stopped) return
          this.take(() => {
            for (const waiting of next) waiting()
          })
        })
      }
      const write = (): void => {
        if (this.#stopped) return
        this.#writing = true
        room.run('the checkpoint', attempt, written, true)
      }
      // What is committed may not be on this disk yet. Were the file to speak of entries that the journal does not hold, those
      // that they replaced would stand behind it after a power loss, in a log that is none.
      if (journal.queuedBytes === 0) write()
      else journal.append([], write)
    })
  }

  #tellAfterNext(done: () => void): void {
    this.#next ??= []
    this.#next.push(done)
  }

  #cutLogs(
    captured: ReadonlyMap<number, ShardCheckpoint>,
    positions: ReadonlyMap<number, ShardLogPosition | null>,
  ): void {
    for (const [shard, { startIndex: index, startOffset: offset }] of captured)
      this.#the.logs.get(shard)?.cut({ index, offset }, positions.get(shard) ?? null, this.#namings.get(shard) ?? null)
    this.#namings.clear()
  }

  #takeUpRemovals(): void {
    for (const [shard, saidBy] of this.#removals.takeUp(this.#the.journal.sequenceBound)) {
      this.#needed.add(saidBy)
      this.#saying.add(saidBy)
      this.#records.delete(shard)
    }
  }

  #capture(): Map<number, ShardCheckpoint> {
    const captured = new Map<number, ShardCheckpoint>()
    const source = this.#source
    if (source === null) return captured
    const shards = new Set(source.activeShards())
    for (const shard of this.#due) if (this.#the.logs.has(shard)) shards.add(shard)
    this.#due.clear()
    for (const segment of this.#the.journal.closedSegments) {
      for (const shard of segment.heldBy((id) => this.#covered(id))) if (this.#the.logs.has(shard)) shards.add(shard)
    }
    for (const shard of shards) {
      // A shard that is being given a snapshot has nothing to say until it stands there.
      if (this.#removals.has(shard) || this.#installs.has(shard)) continue
      const state = this.#records.neverBack(this.#fromFloor(source.capture(shard)))
      if (state === null) continue
      captured.set(shard, state)
      this.noteStamp(state.stamp)
    }
    this.#carryTails(source, captured)
    return captured
  }

  /** What lies below the floor is in cleaned segments: the log starts there, and the same record names them. */
  #fromFloor(state: ShardCheckpoint): ShardCheckpoint {
    const finished = this.#the.logs.get(state.shard)?.cleaner.finished ?? null
    if (finished === null) return state
    if (finished.floorIndex > state.index + 1) {
      // What came from another replica may reach further than what is applied here: a later one names it.
      this.#due.add(state.shard)
      return state
    }
    this.#namings.set(state.shard, finished)
    return { ...state, startIndex: Math.max(state.startIndex, finished.floorIndex) }
  }

  #cleanedOf(shard: number, startOffset: number): CleanedPart | null {
    const log = this.#the.logs.get(shard)
    const named = log === undefined ? this.#records.of(shard)?.cleaned : log.cleaner.part
    const part = this.#namings.get(shard)?.part ?? named ?? null
    return part === null ? null : cleanedFrom(part, startOffset)
  }

  /**
   * Tails that hold the oldest of too many segments go to the journal's end. In the turn of the capture: the record covers
   * what is up to its index, the new copy what is above, and nothing lies between.
   */
  #carryTails(source: CheckpointSource, captured: Map<number, ShardCheckpoint>): void {
    const segments = [...this.#the.journal.closedSegments]
    const patience = this.#the.chance('storage/carry-tails') ? 0 : SEGMENTS_BEFORE_CARRY
    if (source.tail === undefined || segments.length <= patience) return
    for (const shard of segments[0]!.heldBy((id) => captured.get(id) ?? this.#covered(id))) {
      const index = captured.get(shard)?.index
      if (index === undefined) continue
      const entries = source.tail(shard).filter((entry) => entry.index > index)
      if (entries.reduce((sum, { bytes }) => sum + bytes.length, 0) > CARRIED_BYTES_MAX) continue
      this.#needed.add(shard)
      this.#the.journal.append(entries, () => {
        for (const segment of segments) segment.forgetEntries(shard)
      })
    }
  }

  /** Up to the captured index each; in a hurry those that are not, and need not be, are left to the next checkpoint. */
  #syncLogs(
    captured: Map<number, ShardCheckpoint>,
    done: (positions: Map<number, ShardLogPosition | null>) => void,
  ): void {
    const positions = new Map<number, ShardLogPosition | null>()
    let left = captured.size
    let over = false
    const look = (): void => {
      const isMissing = (shard: number): boolean => captured.has(shard) && !positions.has(shard)
      const mayGo = left === 0 || (this.#hurried && ![...this.#needed].some(isMissing))
      if (over || !mayGo) return
      over = true
      this.#hurry = null
      for (const shard of [...captured.keys()]) {
        if (positions.has(shard)) continue
        captured.delete(shard)
        this.#namings.delete(shard)
        this.#due.add(shard)
        // Nobody else may ask for the one in which it has its turn.
        this.#next ??= []
      }
      done(positions)
    }
    this.#hurry = look
    // With it go the journal's closed segments.
    const journalShare = this.#the.journal.closedSegments.length > 0 ? JOURNAL_SHARE : 1
    for (const [shard, { index }] of [...captured]) {
      const log = this.#the.logs.get(shard)
      if (log === undefined) {
        const position = this.#records.of(shard)?.log ?? null
        assert(
          index <= (position?.lastIndex ?? 0),
          () => `shard ${shard} captured at ${index}, its log was never opened`,
        )
        positions.set(shard, position)
        left--
        continue
      }
      const synced = (position: ShardLogPosition | null): void => {
        if (over) return
        positions.set(shard, position)
        left--
        look()
      }
      const share = this.#saying.has(shard) ? 0 : journalShare
      log.sync(index, synced, { journalShare: share, urgent: this.#needed.has(shard) })
    }
    look()
  }

  /** What the file is to say, decided once: whatever happens until it is written goes into the next. */
  #compose(
    captured: Map<number, ShardCheckpoint>,
    installs: readonly Install[],
    positions: Map<number, ShardLogPosition | null>,
  ): Composed {
    const { journal } = this.#the
    let passedOver = false
    for (const [shard, state] of captured) {
      // Removed meanwhile, with a log for which the disk had no room: the journal still has what the file does not say.
      if (this.#removals.has(shard) && (positions.get(shard)?.lastIndex ?? 0) < state.index) {
        passedOver = true
        continue
      }
      this.#records.put(state, positions.get(shard) ?? null, this.#cleanedOf(shard, state.startOffset))
    }
    for (const install of installs) {
      if (!this.#installs.isPending(install)) continue
      this.#records.place(install)
      journal.forgetEntries(install.state.shard)
    }
    this.#records.carryHardStates(this.#removals.gone, this.#the.unknownRecover())
    // What carried the tail of one that was passed over counted on its record. The next file says that it is gone.
    const freed = passedOver ? 0 : this.#freeable()
    const journalFrom = (journal.closedSegments[freed] ?? { firstSequence: journal.currentFirstSequence }).firstSequence
    this.#removals.forgetBelow(journalFrom)
    this.#records.journalBegins(journalFrom)
    const pieces = encodeCheckpoint({
      diskIncarnation: this.#options.diskIncarnation,
      journalFrom,
      journalThrough: journal.syncedSequence,
      highestStamp: this.#records.highestStamp,
      shards: this.#records.all,
      removed: this.#removals.gone,
    })
    return { pieces, shards: this.#records.all.size, journalFrom, freed }
  }

  #written({ pieces, shards, journalFrom, freed }: Composed, captured: number, started: number): void {
    const { journal, clock, trace } = this.#the
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    const milliseconds = clock.now() - started
    trace({ type: 'checkpointed', shards, captured, bytes, journalFrom, milliseconds })
    if (freed > 0) this.#the.freed(journal.forget(freed))
  }

  #covered(shard: number): Covered | null {
    if (this.#removals.gone.has(shard)) return EVERYTHING
    return this.#records.of(shard)?.state ?? null
  }

  /** How many closed segments, from the oldest on, nothing holds. */
  #freeable(): number {
    const segments = this.#the.journal.closedSegments
    const held = segments.findIndex((segment) => !segment.heldBy((shard) => this.#covered(shard)).next().done)
    return held < 0 ? segments.length : held
  }

  #fail(cause: Error): void {
    const file = checkpointFile(this.#options.directory)
    const error = new StorageError(
      { code: 'CHECKPOINT_FAILED', file, reason: cause.message },
      `the checkpoint could not be written (${file}): ${cause.message}`,
      { cause },
    )
    this.#the.trace({ type: 'storage-failed', code: error.code, message: error.message })
    this.#the.fatal(error)
  }
}
