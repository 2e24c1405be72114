/**
 * The storage of one node: what is told to it and acknowledged is found again after a crash.
 *
 *     append ──► journal ─────────────── durable: acknowledged
 *     commit ──► shard log ───────────── findable, in the background
 *     now and then: checkpoint ───────── the journal may forget
 *
 * Opening gives, per shard, the checkpoint's state and the log after it. Whatever goes wrong below a promise that was already
 * given (a failed sync, a full disk under the journal) ends in `fatal`, once, and from then on no call is answered.
 */
import type { Platform, PlatformError } from '../platform/index.ts'
import { assert } from '../stdx/index.ts'
import { Background } from './background.ts'
import { Caretaker } from './caretaker.ts'
import type { ShardCheckpoint } from './checkpoint-format.ts'
import { Checkpointer, type CheckpointSource } from './checkpointer.ts'
import type { CleanedPart } from './cleaned-part.ts'
import { CleaningTurns } from './cleaning-turns.ts'
import { type Entry, EntryKind } from './entry.ts'
import type { StorageError } from './errors.ts'
import type { StorageEvent } from './events.ts'
import { decodeHardState } from './hard-state.ts'
import { encodeIdentity, type Identity, otherCluster } from './identity.ts'
import { Journal } from './journal.ts'
import type { JournalSegment } from './journal-segment.ts'
import { identityFile, quarantineDirectory, shardDirectory } from './layout.ts'
import { type Claim, claimDirectory, type Opened, openDirectory } from './opening.ts'
import { call, type Procedure, run } from './procedure.ts'
import type { RecoveredShard } from './replay.ts'
import { Room } from './room.ts'
import { namesIn, removeFiles, removeFolder } from './shard-folders.ts'
import { ShardLog } from './shard-log.ts'
import { EMPTY_LOG, type ShardLogStart } from './shard-log-options.ts'
import { TermCeiling } from './terms.ts'
import { replaceTwins } from './twin-files.ts'

export type { CheckpointSource } from './checkpointer.ts'

export interface StorageOptions {
  readonly directory: string
  readonly nodeId: number
  /** Hash of `--cluster`; '' for a node that was started alone or joins. */
  readonly clusterHash: string
  /** There are other replicas of what is here, so what is damaged beyond repair can be got back (resetting.ts). */
  readonly hasPeers?: boolean
  readonly journalSegmentBytes?: number
  readonly shardSegmentBytes?: number
  /** Buffered bytes of a shard that are written without being asked for. */
  readonly shardLogFlushBytes?: number
  /** Buffered bytes of all shards together at which all are written: thousands of shards with little each add up. */
  readonly shardLogsBufferBytesMax?: number
  /** What the map of keys of a compaction may take; one runs at a time. */
  readonly cleaningMapBytes?: number
  /** How fast compaction may read; 0, and by default: as fast as it can. */
  readonly cleaningBytesPerSecond?: number
}

export interface StorageCollaborators {
  readonly platform: Platform
  readonly trace: (event: StorageEvent) => void
  /** Nothing can be trusted any more: stop the node (exit code 70). Called once. */
  readonly fatal: (error: StorageError) => void
  /** Background work was refused for lack of room: it waits for `tryAgain`. */
  readonly full?: () => void
}

const JOURNAL_SEGMENT_BYTES = 32 << 20
const SHARD_SEGMENT_BYTES = 256 << 20
const SHARD_LOG_FLUSH_BYTES = 512 << 10
const SHARD_LOGS_BUFFER_BYTES_MAX = 32 << 20
/** So many times what has all logs written may be unwritten: more than once, or nobody would have begun to write it. */
const UNWRITTEN_BUFFERS = 4
const CLEANING_MAP_BYTES = 32 << 20

export type OpenDone = (error: StorageError | PlatformError | null, storage?: Storage) => void

export class Storage {
  /** The directory was empty before this start. */
  readonly fresh: boolean
  /** By shard; what the journal and the checkpoint held. */
  readonly recovered: Map<number, RecoveredShard>
  /** Highest Lamport stamp in anything recovered. */
  readonly highestStamp: number
  readonly caretaker: Caretaker

  readonly #options: StorageOptions
  readonly #platform: Platform
  readonly #trace: (event: StorageEvent) => void
  readonly #onFatal: (error: StorageError) => void
  readonly #onFull: () => void
  readonly #opened: Opened
  readonly #claim: Claim
  readonly #background: Background
  readonly #room: Room
  readonly #journal: Journal
  readonly #checkpointer: Checkpointer
  readonly #terms: TermCeiling
  readonly #logs = new Map<number, ShardLog>()
  readonly #cleanings: CleaningTurns
  #identity: Identity
  /** In the shard logs' buffers, all together, and whether that was above the limit when it last changed. */
  #bufferedBytes = 0
  #crowded = false
  #state: 'open' | 'failed' | 'closing' = 'open'
  #finishClosing: (() => void) | null = null

  static open(options: StorageOptions, collaborators: StorageCollaborators, done: OpenDone): void {
    run(Storage.#open(options, collaborators), (error, storage) =>
      done(error as StorageError | PlatformError | null, storage),
    )
  }

  static *#open(options: StorageOptions, collaborators: StorageCollaborators): Procedure<Storage> {
    const { platform, trace } = collaborators
    const started = platform.clock.now()
    const background = new Background((site) => platform.random.chance(site))
    const claim = yield* claimDirectory(platform.disk, options.directory)
    try {
      const journalSegmentBytes = options.journalSegmentBytes ?? JOURNAL_SEGMENT_BYTES
      const opened = yield* openDirectory(
        { ...options, journalSegmentBytes, hasPeers: options.hasPeers === true },
        { platform, background, trace },
      )
      const storage = new Storage(options, collaborators, opened, claim, background)
      yield* storage.#rewriteLastBlock()
      const { segments, blocks, entries, bytes, ending } = opened.scan
      const [shards, milliseconds] = [opened.recovered.size, platform.clock.now() - started]
      const counts = { segments: segments.length, blocks, entries, bytes, shards }
      trace({ type: 'recovery-done', fresh: opened.fresh, ...counts, ending, milliseconds })
      return storage
    } catch (error) {
      yield* call<void>((done) => claim.release(() => done(null)))
      throw error
    }
  }

  private constructor(
    options: StorageOptions,
    collaborators: StorageCollaborators,
    opened: Opened,
    claim: Claim,
    background: Background,
  ) {
    const { platform, trace } = collaborators
    this.#options = options
    this.#platform = platform
    this.#trace = trace
    this.#onFatal = collaborators.fatal
    this.#opened = opened
    this.#claim = claim
    this.#background = background
    this.#identity = opened.identity
    this.fresh = opened.fresh
    this.recovered = opened.recovered
    this.highestStamp = opened.highestStamp
    const { identity, incarnation, segment, older, nextSequence, supply, checkpoint, highestStamp } = opened
    const { diskIncarnation } = identity
    const { clock, disk } = platform
    const chance = (site: string): boolean => platform.random.chance(site)
    const fatal = (error: StorageError): void => this.#fatal(error)
    const segmentBytes = options.journalSegmentBytes ?? JOURNAL_SEGMENT_BYTES
    this.#room = new Room({
      ...{ disk, background, trace, directory: options.directory },
      unwrittenBytes: () => this.#bufferedBytes,
      refused: () => this.#refused(),
    })
    supply.onFull = () => this.#refused()
    supply.onFailed = fatal
    this.#onFull = collaborators.full ?? (() => {})
    this.#journal = new Journal(
      { diskIncarnation, incarnation, segmentBytes, segment, older, nextSequence },
      {
        ...{ clock, supply, trace, fatal, chance },
        segmentClosed: () => this.#segmentClosed(),
        segmentEntered: (firstSequence) => this.#terms.journalEntered(firstSequence),
      },
    )
    this.#terms = new TermCeiling(options.directory, opened.terms, { disk, room: this.#room, fatal })
    const hardStates = new Map([...opened.recovered].map(([shard, { term, vote }]) => [shard, { term, vote }]))
    // A checkpoint may have come to the disk before the bound of what it says.
    for (const { term } of hardStates.values()) if (term > opened.terms.ceiling) this.#terms.admits(term, () => {})
    this.#cleanings = new CleaningTurns(options.cleaningBytesPerSecond ?? 0, clock)
    this.#checkpointer = new Checkpointer(
      { directory: options.directory, diskIncarnation },
      { stored: new Map(checkpoint.shards), removed: checkpoint.removed, hardStates, highestStamp },
      {
        disk,
        clock,
        room: this.#room,
        journal: this.#journal,
        logs: this.#logs,
        trace,
        fatal,
        freed: (gone) => this.#recycle(gone),
        chance,
        unknownRecover: () => this.#terms.unknownFrom > 0,
      },
    )
    this.caretaker = new Caretaker(options.directory, {
      disk,
      background,
      trace,
      logs: this.#logs,
      identity: () => this.#identity,
      rewriteTerms: () => this.#terms.rewrite(),
      checkpoint: () => this.checkpoint(),
    })
  }

  get identity(): Identity {
    return this.#identity
  }

  /** Handed to `append` and not yet durable. */
  get journalQueuedBytes(): number {
    return this.#journal.queuedBytes
  }

  /** Committed, and still to be written by the shard logs: it stays in memory. */
  get unwrittenBytes(): number {
    return this.#bufferedBytes
  }

  /**
   * The shard logs are slower than the journal, and have so much to write that no more is to come until they have caught up. Not where they
   * wait for room: what makes some comes as everything does.
   */
  get isBehind(): boolean {
    return this.#bufferedBytes >= UNWRITTEN_BUFFERS * this.#bufferBytesMax && !this.#room.awaited
  }

  get #bufferBytesMax(): number {
    return this.#options.shardLogsBufferBytesMax ?? SHARD_LOGS_BUFFER_BYTES_MAX
  }

  /** A shard of which nothing was recovered begins in this term, as one that recovers; 0: it is new. */
  get unknownFrom(): number {
    return this.#terms.unknownFrom
  }

  /** Every shard that this disk may have forgotten is open by now: from the next checkpoint on nothing is unknown. */
  allKnown(): void {
    const { unknownFrom: term } = this.#terms
    if (term === 0) return
    // It may have to go without one that is not synced, or is being given a snapshot: that this one recovers it says all the same.
    for (const shard of this.#logs.keys()) this.#checkpointer.noteHardState(shard, { term, vote: 0 })
    this.checkpoint(() => this.#terms.allKnown())
  }

  get journalKept(): { readonly segments: number; readonly heldBy: number | null } {
    return this.#checkpointer.journalKept
  }

  /** The block that is on its way to the disk, 0 when there is none. */
  get journalBlockInFlight(): number {
    return this.#journal.blockInFlight
  }

  /** Background work waits for the disk to have room. */
  get awaitsRoom(): boolean {
    return this.#room.awaited
  }

  /** What waits for room is tried again. */
  tryAgain(): void {
    if (this.#state === 'open') this.#room.tryAgain()
  }

  /** Called now and then. A journal at rest gives what it wrote last a successor, so that nobody ever takes rot for a torn write. */
  proveJournalEnd(): void {
    if (this.#state === 'open') this.#journal.proveEnd()
  }

  /** The disk is low: keep nothing that is not needed now, let go of what a checkpoint can free, and leave the journal its last bytes. */
  saveSpace(save: boolean, journalBytes = 0): void {
    const { supply } = this.#opened
    this.#room.journalBytes = save ? journalBytes : 0
    if (supply.saving === save) return
    supply.saving = save
    if (save) this.#segmentClosed()
  }

  /** Makes the cluster's id part of this disk's identity. */
  setClusterId(id: string, done: (error: StorageError | PlatformError | null) => void): void {
    const { clusterId } = this.#identity
    const file = identityFile(this.#options.directory)
    if (clusterId !== null) {
      this.#platform.clock.endOfTurn(() => done(clusterId === id ? null : otherCluster(clusterId, id, file)))
      return
    }
    const identity = { ...this.#identity, clusterId: id }
    this.#inBackground(replaceTwins(this.#platform.disk, file, [encodeIdentity(identity)]), (error) => {
      if (error === null) this.#identity = identity
      done(error as StorageError | PlatformError | null)
    })
  }

  /**
   * One call per turn of the event loop, with everything of that turn: entries of any shards in the order of their logs, and
   * hard states. `done` when all of it is on the disk; calls complete in their order. Never, once the storage has failed.
   */
  append(entries: readonly Entry[], done: () => void): void {
    if (this.#state === 'failed') return
    let highestTerm = 0
    for (const entry of entries) {
      const { kind, shard } = entry
      assert(
        kind === EntryKind.hardState || !this.#checkpointer.isInstalling(shard),
        () => `entry ${entry.index} of shard ${shard} while a snapshot is installed`,
      )
      highestTerm = Math.max(highestTerm, entry.term)
      if (kind === EntryKind.hardState) this.#checkpointer.noteHardState(shard, decodeHardState(entry)!)
      else this.#checkpointer.noteStamp(entry.stamp)
    }
    if (!this.#terms.admits(highestTerm, () => this.#journal.release())) this.#journal.hold()
    this.#journal.append(entries, done)
    if (this.#platform.random.chance('storage/checkpoint-now'))
      this.#platform.clock.endOfTurn(() => this.#segmentClosed())
  }

  /** The shard's long-lived log; made at its first write. */
  openShardLog(shard: number): ShardLog {
    const open = this.#logs.get(shard)
    if (open !== undefined) return open
    const options = this.#options
    const { disk, clock, random } = this.#platform
    const log = new ShardLog(
      {
        shard,
        directory: shardDirectory(options.directory, shard),
        segmentBytes: options.shardSegmentBytes ?? SHARD_SEGMENT_BYTES,
        flushBytes: options.shardLogFlushBytes ?? SHARD_LOG_FLUSH_BYTES,
        cleaningMapBytes: options.cleaningMapBytes ?? CLEANING_MAP_BYTES,
        quarantine: quarantineDirectory(options.directory),
      },
      this.#startOf(shard),
      {
        disk,
        clock,
        background: this.#background,
        room: this.#room,
        trace: this.#trace,
        fatal: (error) => this.#fatal(error),
        buffered: (bytes) => this.#buffered(bytes),
        chance: (site) => random.chance(site),
        below: (bound) => random.below(bound),
        cleaningTurn: (start) => this.#cleanings.take(start),
        cleaningPause: (bytes, resume) => this.#cleanings.pause(bytes, resume),
        checkpointDue: (due) => {
          if (this.#state === 'open' && this.#checkpointer.hasSource) this.#checkpointer.noteDue(due)
        },
        damageFound: (damaged) => clock.endOfTurn(() => this.caretaker.onDamage(damaged)),
      },
    )
    this.#logs.set(shard, log)
    return log
  }

  /** As the last start found it: nobody but its log changes a shard's files. */
  #startOf(shard: number): ShardLogStart {
    const stored = this.#opened.checkpoint.shards.get(shard)
    if (stored === undefined) return EMPTY_LOG
    const { startIndex, startOffset, index } = stored.state
    const start = { index: startIndex, offset: startOffset }
    const found = this.#opened.logs.get(shard) ?? { sealed: [], inUseMissing: false, cleanedMissing: null }
    return { start, position: stored.log, ...found, index, cleaned: stored.cleaned }
  }

  setCheckpointSource(source: CheckpointSource): void {
    this.#checkpointer.source = source
    if (this.#opened.older.length > 0) this.#platform.clock.endOfTurn(() => this.#segmentClosed())
  }

  /** Takes a checkpoint now. */
  checkpoint(done: () => void = () => {}): void {
    if (this.#state !== 'failed') this.#checkpointer.take(done)
  }

  /**
   * Puts the shard at `checkpoint`, which its log does not reach, atomically: after a crash there is the old state or the new
   * one. (The files of a replica that recovers may reach further than what it still knows of its log.) `cleaned`: what compaction has
   * left below, as it has arrived (`ShardLog.cleaner.receive`). Entries of the shard that were handed to `append` before do not count any more, those after `done` do, and until then
   * there must be none. After `done` the shard's log stands at the checkpoint's index. A shard that is removed meanwhile answers
   * `SHARD_REMOVED`.
   */
  installSnapshot(
    checkpoint: ShardCheckpoint,
    done: (error: StorageError | null) => void,
    cleaned: CleanedPart | null = null,
  ): void {
    if (this.#state === 'failed') return
    const { shard, index, recovering } = checkpoint
    if (this.#checkpointer.refuses(shard, done)) return
    const { lastIndex } = this.openShardLog(shard)
    assert(
      recovering === true || index > lastIndex,
      () => `a snapshot of shard ${shard} at ${index}, its log reaches ${lastIndex}`,
    )
    this.#checkpointer.install(checkpoint, cleaned, (error) => {
      if (this.#state !== 'failed') done(error)
    })
  }

  /**
   * Once the committed removal of the shard is applied: its files go, and its id never comes back. `saidBy`: the shard to whose log that
   * entry belongs.
   */
  removeShard(shard: number, saidBy: number, done: () => void = () => {}): void {
    const log = this.#logs.get(shard)
    this.#logs.delete(shard)
    this.recovered.delete(shard)
    this.#checkpointer.remove(shard, saidBy)
    const folder = shardDirectory(this.#options.directory, shard)
    const { disk, clock } = this.#platform
    const removeAll = function* (): Procedure<void> {
      yield* removeFiles(disk, folder, yield* namesIn(disk, folder))
      yield* removeFolder(disk, folder)
    }
    const afterCheckpoint = (): void =>
      this.#inBackground(removeAll(), (error) => {
        if (error === null) this.#checkpointer.swept(shard)
        this.#trace({ type: 'shard-removed', shard })
        done()
      })
    // The caller may be half-way through the entry that removes it, and through a turn whose entries are not appended yet.
    const afterClose = (): void => clock.endOfTurn(() => this.checkpoint(afterCheckpoint))
    if (log === undefined) afterClose()
    else {
      log.close(() => {
        this.#bufferedBytes -= log.bufferedBytes
        afterClose()
      })
    }
  }

  /** Waits for what was appended, takes a checkpoint if there is a source, and releases the directory. */
  close(done: () => void): void {
    assert(this.#state !== 'closing', 'closed twice')
    const failed = this.#state === 'failed'
    const finish = (): void => {
      if (this.#state === 'closing') return
      this.#finishClosing = null
      this.#state = 'closing'
      this.#room.giveUp()
      // What is being removed in the background may have a name that the next opening lists.
      const release = (): void =>
        this.#background.whenIdle((finished) => {
          finished()
          this.#claim.release(done)
        })
      const logs = [...this.#logs.values()]
      const next = (): void => {
        const log = logs.pop()
        if (log !== undefined) log.close(next)
        else this.#journal.close(() => this.#terms.close(release))
      }
      this.#checkpointer.stop(next)
    }
    // On a full disk there is no checkpoint to wait for; the journal has everything.
    if (failed || this.#room.awaited || !(this.#checkpointer.hasSource || this.#checkpointer.busy)) {
      finish()
      return
    }
    // If it fails on the way, no checkpoint will tell us so.
    this.#finishClosing = finish
    this.#journal.append([], () => this.checkpoint(() => this.#finishClosing?.()))
  }

  *#rewriteLastBlock(): Procedure<void> {
    const { scan, superseded } = this.#opened
    const { last } = scan
    if (last === null) return
    yield* call<void>((done) => this.#journal.rewrite(last, done))
    this.#recycle(superseded)
  }

  /** Above the limit everything is written; whoever appends meanwhile writes its own. */
  #buffered(bytes: number): boolean {
    this.#bufferedBytes += bytes
    const crowded = this.#bufferedBytes >= this.#bufferBytesMax
    if (crowded && !this.#crowded) for (const log of this.#logs.values()) log.flush()
    this.#crowded = crowded
    return crowded
  }

  #refused(): void {
    for (const { path } of this.#opened.supply.surrender())
      this.#background.write((finished) => this.#platform.disk.remove(path, () => finished()))
    this.#onFull()
    this.#checkpointer.noRoom()
    this.#finishClosing?.()
  }

  #segmentClosed(): void {
    if (this.#state === 'open' && this.#checkpointer.hasSource) this.checkpoint()
  }

  /** Files that nothing needs: kept for the segments to come, or removed. */
  #recycle(segments: readonly JournalSegment[]): void {
    let recycled = 0
    for (const { path, bytes } of segments) {
      if (this.#opened.supply.offer({ path, bytes })) recycled++
      else this.#background.write((finished) => this.#platform.disk.remove(path, () => finished()))
    }
    if (segments.length > 0)
      this.#trace({ type: 'segments-freed', numbers: segments.map(({ number }) => number), recycled })
  }

  #inBackground<T>(procedure: Procedure<T>, done: (error: Error | null, value?: T) => void): void {
    this.#background.write((finished) =>
      run(procedure, (error, value) => {
        finished()
        done(error, value)
      }),
    )
  }

  #fatal(error: StorageError): void {
    if (this.#state === 'failed') return
    this.#state = 'failed'
    this.#onFatal(error)
    this.#finishClosing?.()
  }
}
