/**
 * One shard on this node: a Raft that decides, a machine that follows, and the shard log that keeps what is decided.
 *
 *      machine.draft ─► raft.propose ─► journal + wire ─► persisted / append-reply ─► commit
 *                                                                                      │
 *                              shard log ◄─ (only committed entries move) ◄────────────┼──► machine.apply
 *                                  └─► written: the in-memory tail may shrink          └──► machine.applied: answers leave
 *
 * A follower that is behind the log's start is given the machine's state instead (`snapshot-sending.ts`). Here it becomes
 * durable in one step, in place of the log and the state that were there, and only then known to Raft and to the machine.
 *
 * Nothing here waits: the host calls `turn` once per event-loop turn for each replica with something to do, and takes out
 * what must be journaled and sent.
 */
import type { PlatformError } from '../platform/index.ts'
import { assert, crc32c } from '../stdx/index.ts'
import {
  type CleaningRequest,
  type Entry,
  EntryKind,
  encodeHardState,
  isLater,
  laterStart,
  nextOffsetAfter,
  payloadOf,
  type RecoveredShard,
  type SegmentFacts,
  type SegmentLimits,
  type ShardCheckpoint,
} from '../storage/index.ts'
import {
  type Compaction,
  CutReason,
  cutReasonOf,
  decodeCompaction,
  decodeCut,
  encodeCompaction,
  encodeCut,
  type LogStart,
} from './cut.ts'
import { LogReading } from './log-reading.ts'
import { type LowWaterMark, LowWaterMarks } from './low-water-mark.ts'
import type { NodeId, Outgoing, ShardId } from './messages.ts'
import type { Raft } from './raft.ts'
import type { JournalBatch, ReplicaCollaborators, ReplicaOptions } from './replica-options.ts'
import { placeOf, type Snapshot, type SnapshotPlace } from './snapshot.ts'
import { SnapshotTaking } from './snapshot-taking.ts'
import type { Epoch, Shard, Standing, StateMachine } from './state-machine.ts'

const NOTHING_APPLIED = { index: 0, entryTerm: 0, crc: 0, stamp: 0 } as const

export class Replica implements Shard {
  readonly id: ShardId
  readonly raft: Raft
  readonly reading: LogReading
  readonly #options: ReplicaOptions
  readonly #with: ReplicaCollaborators
  #machine: StateMachine | null = null
  #standing: Standing = { role: 'follower', term: 0, leader: null, settled: false }
  /** The last applied entry: where a checkpoint of the machine's state stands. */
  #applied: SnapshotPlace
  #proposalRequested = false
  #awaitingRoom: (() => void)[] = []
  /** Highest index that the shard log has written: what lies above must stay in memory. */
  #written: number
  #tailCacheBytes: number
  /** Something happened that the last checkpoint does not have. */
  #changed: boolean
  #recovering: boolean
  readonly #marks: LowWaterMarks
  readonly #taking: SnapshotTaking
  /** On the host's list of this turn. */
  scheduled = false

  constructor(options: ReplicaOptions, recovered: RecoveredShard | null, collaborators: ReplicaCollaborators) {
    this.id = options.shard
    this.raft = collaborators.raft
    this.#options = options
    this.#with = collaborators
    const checkpoint = recovered?.checkpoint ?? null
    this.#applied = checkpoint === null ? { ...NOTHING_APPLIED, nextOffset: options.baseOffset } : placeOf(checkpoint)
    const { index, nextOffset } = this.#applied
    const from = { index: index + 1, offset: nextOffset }
    this.reading = this.#logReading()
    this.#marks = new LowWaterMarks(options.cut, from, from.index - this.startIndex, collaborators.chance)
    this.#taking = this.#snapshotTaking()
    this.#recovering = this.raft.recovering
    this.#written = collaborators.shardLog.writtenIndex
    this.#tailCacheBytes = options.tailCacheBytes
    this.#changed = checkpoint === null || (recovered !== null && recovered.entries.length > 0)
    collaborators.shardLog.onWritten = (index) => {
      this.#written = Math.max(this.#written, index)
      this.trim(this.#tailCacheBytes)
      // Whoever waits for room may have some now.
      collaborators.schedule(this)
    }
    collaborators.shardLog.onCleaned = (floorIndex) => this.#cleaned(floorIndex)
  }

  #logReading(): LogReading {
    const { raft, shardLog, logDamaged, logUnread, storageFailed } = this.#with
    return new LogReading({
      ...{ raft, shardLog, storageFailed },
      applied: () => this.#applied,
      damaged: () => logDamaged(this),
      exhausted: () => logUnread(this),
    })
  }

  #snapshotTaking(): SnapshotTaking {
    const { raft, shardLog } = this.#with
    return new SnapshotTaking({
      raft,
      shardLog,
      readFailed: (error) => this.reading.failed(error),
      capture: () => this.capture(),
      taken: ({ index, state }) => {
        this.#with.trace({ type: 'snapshot-taken', shard: this.id, index, bytes: state.length })
        this.#with.schedule(this)
      },
    })
  }

  /** The machine needs its shard and the shard its machine: here the knot is tied. */
  attach(machine: StateMachine, checkpoint: ShardCheckpoint | null): void {
    this.#machine = machine
    if (machine.cutBySnapshot === true) this.raft.stateSaysAll()
    if (checkpoint !== null) machine.restore(checkpoint.state)
    const { term, vote } = this.raft
    this.#with.trace({ type: 'replica-opened', shard: this.id, term, vote })
    // Recovery synced what it found before anybody was to rely on it.
    if (this.raft.journaledIndex > 0) this.#noteJournaled()
    this.#with.schedule(this)
  }

  get standing(): Standing {
    return this.#standing
  }

  get lastIndex(): number {
    return this.raft.log.lastIndex
  }

  get endOffset(): number {
    return this.raft.log.endOffset
  }

  /** What is committed is applied in the same turn, so for everybody outside the two are one. */
  get commitIndex(): number {
    return this.#applied.index
  }

  get committedOffset(): number {
    return this.#applied.nextOffset
  }

  get startIndex(): number {
    return this.raft.log.startIndex
  }

  get startOffset(): number {
    return this.raft.log.startOffset
  }

  get epochs(): readonly Epoch[] {
    return this.raft.log.epochs
  }

  get #start(): LogStart {
    return { index: this.startIndex, offset: this.startOffset }
  }

  get lowWaterMark(): LowWaterMark {
    return this.#marks.mark(this.raft.role === 'leader' && this.#machine?.cutBySnapshot === true)
  }

  requestCut(start: LogStart, reason: CutReason): void {
    assert(
      start.index <= this.commitIndex + 1 && start.offset <= this.committedOffset,
      () => `shard ${this.id}: a cut at ${start.index} is asked for, committed up to ${this.commitIndex}`,
    )
    if (this.raft.role !== 'leader') return
    this.#marks.requests.ask(start, reason)
    this.#with.schedule(this)
  }

  requestCompaction(compaction: Compaction | null): void {
    if (this.raft.role !== 'leader') return
    this.#marks.requests.askCompaction(compaction)
    if (compaction !== null) this.#with.schedule(this)
  }

  clean(request: CleaningRequest): boolean {
    const { cleaner } = this.#with.shardLog
    if (cleaner.hasDone(request)) return true
    cleaner.want(request)
    return false
  }

  shownFor(ms: number): number {
    return this.#with.shardLog.cleaner.shownFor(ms)
  }

  /** Only now: what lies below the floor is on this node's disk, cleaned, and a checkpoint says so. */
  #cleaned(floorIndex: number): void {
    const floor = laterStart(this.#start, { index: floorIndex, offset: this.startOffset })
    if (!isLater(floor, this.#start)) return
    this.raft.cutTo(floor)
    this.#marks.moved(floor, CutReason.compaction)
    // Readers find in the files what newer records have replaced no longer; the tail must not say otherwise for longer.
    this.raft.log.releaseUpTo(Math.min(floorIndex - 1, this.#written, this.#applied.index))
  }

  pin(name: string, index: number): () => void {
    return this.#marks.requests.pin(name, index)
  }

  /** Of this node's log; null: not known yet, and looked up. */
  get storedBytes(): number | null {
    return this.reading.storedBytes
  }

  segments(done: (error: PlatformError | null, segments: readonly SegmentFacts[]) => void): void {
    this.reading.segments(done)
  }

  configureLog(limits: Partial<SegmentLimits>): void {
    this.#with.shardLog.configure(limits)
  }

  get hasRoom(): boolean {
    const isFull = this.raft.uncommittedBytes >= this.#options.uncommittedBytesMax || this.#machine?.isFull === true
    return !isFull && this.#with.nodeHasRoom()
  }

  get refusal(): string | null {
    return this.#with.refusal(this)
  }

  /** The log is the data itself: it takes whatever clients have, and nobody can say that it will be small. */
  get holdsRecords(): boolean {
    return this.#machine?.cutBySnapshot !== true
  }

  onRoom(callback: () => void): void {
    this.#awaitingRoom.push(callback)
    this.#with.awaitsRoom(this)
  }

  /** There is room: calls those who wait for it. */
  offerRoom(): void {
    const waiting = this.#awaitingRoom
    this.#awaitingRoom = []
    for (const callback of waiting) callback()
  }

  leadsNow(): boolean {
    return this.raft.leadsNow()
  }

  requestProposal(): void {
    this.#proposalRequested = true
    this.#with.schedule(this)
  }

  readCommitted(
    offset: number,
    maxBytes: number,
    done: (error: PlatformError | null, entries: readonly Entry[]) => void,
  ): readonly Entry[] | null {
    return this.reading.fromOffset(offset, maxBytes, done)
  }

  /**
   * Nobody has some of its entries any more. Where the state says all that they did, it stands for them, and the log starts where the
   * state stands, as if it had come as a snapshot. False: it does not, or the log starts there.
   */
  startAtState(): boolean {
    const start = { index: this.#applied.index + 1, offset: this.#applied.nextOffset }
    if (this.#machine?.cutBySnapshot !== true || start.index <= this.startIndex) return false
    this.raft.cutTo(laterStart(start, this.#start))
    this.#marks.moved(this.#start, CutReason.snapshot)
    this.#changed = true
    return true
  }

  /** What could not be read can be: whoever waits for it is to be looked after. */
  logRepaired(): void {
    this.raft.logRepaired()
    this.#with.schedule(this)
  }

  /** Everything that this turn holds for this replica: propose, then take out what Raft wants done. */
  turn(journal: JournalBatch): void {
    if (this.#proposalRequested) this.#propose()
    this.#drain(journal)
    if (this.#proposeCut()) this.#drain(journal)
  }

  #drain(journal: JournalBatch): void {
    while (this.raft.hasReady()) {
      const ready = this.raft.ready()
      if (ready.hardState !== null)
        journal.entries.push(encodeHardState(this.id, ready.hardState.term, ready.hardState.vote))
      for (const entry of ready.entries) journal.entries.push(entry)
      if (ready.persistSequence !== 0) {
        journal.persists.push({ replica: this, sequence: ready.persistSequence })
        this.#changed = true
      }
      for (const outgoing of ready.messages) this.#send(outgoing)
      if (ready.committed.length > 0) this.#apply(ready.committed)
      if (ready.standingChanged) this.#changeStanding()
      for (const read of ready.reads) this.#readFor(read.peer, read.fromIndex)
      if (ready.snapshotWanted) this.#takeSnapshot()
      if (ready.install !== null) journal.installs.push({ replica: this, snapshot: ready.install })
    }
  }

  #send({ to, message }: Outgoing): void {
    // Whoever asks for votes has given itself its own.
    if (message.type === 'vote' || (message.type === 'vote-reply' && message.granted)) {
      const vote = message.type === 'vote' ? this.#options.self : to
      this.#with.trace({ type: 'vote-told', shard: this.id, term: message.term, vote })
    }
    this.#with.wire.send(to, message)
  }

  #propose(): void {
    const machine = this.#machine
    if (this.raft.role === 'leader' && this.raft.transferringTo !== null) {
      // A handover waits until its heir has everything: proposing on would keep it waiting. Ticks bring us back here.
      machine?.defer?.()
      return
    }
    this.#proposalRequested = false
    // A machine that led until a moment ago has its waiters failed by `roleChanged`.
    if (this.raft.role !== 'leader' || machine === null) return
    const stamp = this.#with.lamport.tick()
    const draft = machine.draft({ term: this.raft.term, firstOffset: this.raft.log.endOffset, stamp })
    if (draft === null) return
    const { kind, recordCount, payload } = draft
    machine.appended(this.raft.propose({ kind, recordCount, payload, stamp }))
  }

  /** True if there is something new to hand out. */
  #proposeCut(): boolean {
    const { raft } = this
    const cut = this.#marks.due(raft, this.#applied.index, this.#machine?.cutBySnapshot === true)
    const compaction = cut === null ? this.#marks.compactionDue(raft, this.#applied.index) : null
    if (cut === null && compaction === null) return false
    const payload = [cut === null ? encodeCompaction(compaction!) : encodeCut(cut.start, cut.reason)]
    const entry = raft.propose({ kind: EntryKind.cut, recordCount: 0, payload, stamp: this.#with.lamport.tick() })
    this.#marks.proposed(raft.term, entry.index)
    return true
  }

  #apply(entries: readonly Entry[]): void {
    const machine = this.#machine!
    for (const entry of entries) {
      const cutsTo = entry.kind === EntryKind.cut ? (decodeCut(payloadOf(entry))?.index ?? 0) : 0
      this.#with.shardLog.append(entry, cutsTo)
      this.#applied = {
        index: entry.index,
        entryTerm: entry.term,
        crc: entry.crc,
        nextOffset: nextOffsetAfter(entry),
        stamp: entry.stamp,
      }
      machine.apply(entry)
      this.#marks.applied(entry)
      if (entry.kind === EntryKind.cut) this.#cut(entry)
      if (entry.index % this.#options.stateSumEvery === 0 && machine.aheadOfLog !== true) this.#sumState(entry.index)
    }
    this.#changed = true
    const { index, nextOffset } = this.#applied
    this.#with.trace({
      type: 'committed',
      shard: this.id,
      term: this.raft.term,
      index,
      offset: nextOffset,
      entries: entries.length,
    })
    machine.applied()
  }

  #sumState(index: number): void {
    this.#with.trace({ type: 'state-summed', shard: this.id, index, sum: crc32c(this.#machine!.snapshot()) })
  }

  /** Low-water mark, by snapshot. Never back: what a snapshot has replaced here may start higher than the cut says. */
  #cut(entry: Entry): void {
    // The machine has it cleaned, and the log follows then.
    if (decodeCompaction(payloadOf(entry)) !== null) return
    const cutsTo = decodeCut(payloadOf(entry))
    assert(
      cutsTo !== null && cutsTo.index <= entry.index,
      () => `shard ${this.id}: entry ${entry.index} cuts the log where it does not reach`,
    )
    this.#marks.cutApplied()
    const start = laterStart(cutsTo, this.#start)
    if (!isLater(start, this.#start)) return
    this.raft.cutTo(start)
    const reason = cutReasonOf(payloadOf(entry))
    this.#marks.moved(start, reason)
    this.#with.trace({ type: 'log-cut', shard: this.id, ...start, reason })
  }

  #takeSnapshot(): void {
    if (this.#machine?.cutBySnapshot === true) this.#taking.ofState()
    else this.#taking.atStart()
  }

  /** Everything that was handed to the journal before is on its way; nothing of this shard's log follows until this is done. */
  install(snapshot: Snapshot): void {
    const { index, nextOffset, state } = snapshot
    const { term, vote, recovering } = this.raft
    const epochs = snapshot.epochs.slice(-1)
    const start = { startIndex: index + 1, startOffset: snapshot.cleanedFrom ?? nextOffset }
    this.#with.installSnapshot(this, { ...snapshot, ...start, shard: this.id, term, vote, epochs, recovering }, () => {
      this.#applied = placeOf(snapshot)
      this.#written = index
      this.#changed = true
      this.#marks.restart({ index: index + 1, offset: nextOffset })
      this.raft.snapshotInstalled()
      this.#machine!.restore(state)
      const bytes = state.length
      this.#with.trace({
        type: 'snapshot-applied',
        shard: this.id,
        term: this.raft.term,
        index,
        offset: nextOffset,
        bytes,
      })
      this.#noteJournaled()
      this.#machine!.applied()
      this.#with.schedule(this)
    })
  }

  #changeStanding(): void {
    const { role, term, leader, settled, recovering } = this.raft
    this.#standing = { role, term, leader, settled }
    // A checkpoint is to say so soon: as long as none does, a start begins again, and whoever loses something by then finds no voter here.
    if (this.#recovering && !recovering) {
      this.#changed = true
      this.#with.recovered()
    }
    this.#recovering = recovering
    if (role !== 'leader') this.#marks.requests.drop()
    this.#machine?.roleChanged(this.#standing)
    this.#with.standingChanged(this, this.#standing)
  }

  #readFor(peer: NodeId, fromIndex: number): void {
    const { term } = this.raft
    this.#with.readBegun(peer)
    this.reading.forFollower(fromIndex, this.#options.catchUpBytes, (entries) => {
      this.#with.readEnded(peer)
      // None, if the log was cut while it was read: the peer will be found to need a snapshot.
      if (this.raft.term !== term) return
      this.raft.entriesRead(peer, entries)
      this.#with.schedule(this)
    })
  }

  persisted(sequence: number): void {
    this.raft.persisted(sequence)
    this.#noteJournaled()
    this.#machine?.journaled?.(this.raft.journaledIndex)
    this.#with.schedule(this)
  }

  #noteJournaled(): void {
    const { journaledIndex: index, log } = this.raft
    // Where the disk is behind what the others have committed, the log may be cut above that by now, and its term forgotten.
    if (index < log.startIndex - 1) return
    this.#with.trace({ type: 'journaled', shard: this.id, term: log.termAt(index), index })
  }

  /** Shrinks the in-memory tail to `cacheBytes`; only what the shard log has written may go. */
  trim(cacheBytes: number): void {
    this.#tailCacheBytes = cacheBytes
    this.#letGo(this.#with.chance('replication/tail-let-go') ? 0 : cacheBytes)
  }

  #letGo(cacheBytes: number): void {
    const { log } = this.raft
    const limit = Math.min(this.#written, this.#applied.index)
    let upTo = log.anchorIndex
    let bytes = log.bytes
    while (bytes > cacheBytes && upTo < limit) bytes -= log.entry(++upTo)!.bytes.length
    if (upTo > log.anchorIndex) log.releaseUpTo(upTo)
  }

  /**
   * What a checkpoint does not cover: entries above the applied one, all in memory, that were handed to the journal. Later ones are not
   * to come before the term that goes with them.
   */
  uncommittedTail(): readonly Entry[] {
    const { log, handedOutIndex } = this.raft
    return log.slice(this.#applied.index + 1, Number.POSITIVE_INFINITY, handedOutIndex)
  }

  get changedSinceCheckpoint(): boolean {
    return this.#changed
  }

  checkpoint(): ShardCheckpoint {
    this.#changed = false
    return this.capture()
  }

  capture(): ShardCheckpoint {
    const state = this.#machine === null ? Buffer.alloc(0) : this.#machine.snapshot()
    this.#marks.stateTaken(state.length)
    return {
      shard: this.id,
      // A vote that is still on its way to the journal may be in the checkpoint: it only binds this node earlier.
      term: this.raft.term,
      vote: this.raft.vote,
      ...this.#applied,
      startIndex: this.startIndex,
      startOffset: this.startOffset,
      epochs: this.raft.log.epochs.filter((epoch) => epoch.firstIndex <= this.#applied.index),
      configuration: Buffer.from(JSON.stringify({ voters: this.raft.voters, learners: this.raft.learners })),
      state,
      // Of the applied state: Raft's own may be a step ahead of it.
      recovering: this.#recovering,
    }
  }
}
