/**
 * One shard on this node: a Raft that decides, a machine that follows, and the shard log that keeps what is decided.
 *
 *      machine.draft ─► raft.propose ─► journal + wire ─► persisted / append-reply ─► commit
 *                                                                                      │
 *                              shard log ◄─ (only committed entries move) ◄────────────┼──► machine.apply
 *                                  └─► written: the in-memory tail may shrink          └──► machine.applied: answers leave
 *
 * Nothing here waits: the host calls `turn` once per event-loop turn for each replica with something to do, and takes out
 * what must be journaled and sent.
 */
import type { PlatformError } from '../platform/index.ts'
import {
  type Entry,
  encodeHardState,
  nextOffsetAfter,
  type RecoveredShard,
  type ShardCheckpoint,
  type ShardLog,
  type StorageError,
} from '../storage/index.ts'
import type { HostEvent } from './host-events.ts'
import type { LamportClock } from './lamport.ts'
import type { NodeId, ShardId } from './messages.ts'
import type { Raft } from './raft.ts'
import type { Epoch, Shard, Standing, StateMachine } from './state-machine.ts'
import type { Wire } from './wire.ts'

export interface ReplicaCollaborators {
  readonly raft: Raft
  readonly shardLog: ShardLog
  readonly lamport: LamportClock
  readonly wire: Wire
  readonly trace: (event: HostEvent) => void
  /** Puts this replica on the list of the turn in progress. */
  readonly schedule: (replica: Replica) => void
  readonly standingChanged: (replica: Replica, standing: Standing) => void
  /** False while the node as a whole must not take more. */
  readonly nodeHasRoom: () => boolean
  /** Somebody waits for this replica's room: `offerRoom` when there is some. */
  readonly awaitsRoom: (replica: Replica) => void
  readonly readFailed: (error: StorageError | PlatformError) => void
}

export interface ReplicaOptions {
  readonly shard: ShardId
  /** Entries proposed and not yet committed may take this many bytes before `hasRoom` turns false. */
  readonly uncommittedBytesMax: number
  /** One read of the shard log for a follower that is far behind. */
  readonly catchUpBytes: number
  /** What the shard log holds may stay in memory for those who read along, up to this much. */
  readonly tailCacheBytes: number
}

/** What one turn wants written: filled by `turn`, taken by the host. */
export interface JournalBatch {
  readonly entries: Entry[]
  readonly persists: { readonly replica: Replica; readonly sequence: number }[]
}

/** The last applied entry: where a checkpoint of the machine's state stands. */
interface Applied {
  readonly index: number
  readonly term: number
  readonly crc: number
  readonly nextOffset: number
  readonly stamp: number
}

const NOTHING_APPLIED: Applied = { index: 0, term: 0, crc: 0, nextOffset: 0, stamp: 0 }

export class Replica implements Shard {
  readonly id: ShardId
  readonly raft: Raft
  readonly #options: ReplicaOptions
  readonly #with: ReplicaCollaborators
  #machine: StateMachine | null = null
  #standing: Standing = { role: 'follower', term: 0, leader: null, settled: false }
  #applied: Applied
  #proposalRequested = false
  #awaitingRoom: (() => void)[] = []
  /** Highest index that the shard log has written: what lies above must stay in memory. */
  #written: number
  #tailCacheBytes: number
  /** Something happened that the last checkpoint does not have. */
  #changed: boolean
  /** On the host's list of this turn. */
  scheduled = false

  constructor(options: ReplicaOptions, recovered: RecoveredShard | null, collaborators: ReplicaCollaborators) {
    this.id = options.shard
    this.raft = collaborators.raft
    this.#options = options
    this.#with = collaborators
    const checkpoint = recovered?.checkpoint ?? null
    this.#applied =
      checkpoint === null
        ? NOTHING_APPLIED
        : {
            index: checkpoint.index,
            term: checkpoint.entryTerm,
            crc: checkpoint.crc,
            nextOffset: checkpoint.nextOffset,
            stamp: checkpoint.stamp,
          }
    this.#written = collaborators.shardLog.writtenIndex
    this.#tailCacheBytes = options.tailCacheBytes
    this.#changed = checkpoint === null || (recovered !== null && recovered.entries.length > 0)
    collaborators.shardLog.onWritten = (index) => {
      this.#written = index
      this.trim(this.#tailCacheBytes)
    }
  }

  /** The machine needs its shard and the shard its machine: here the knot is tied. */
  attach(machine: StateMachine, checkpoint: ShardCheckpoint | null): void {
    this.#machine = machine
    if (checkpoint !== null) machine.restore(checkpoint.state)
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
    return 1
  }

  get startOffset(): number {
    return 0
  }

  get epochs(): readonly Epoch[] {
    return this.raft.log.epochs
  }

  get hasRoom(): boolean {
    return this.raft.uncommittedBytes < this.#options.uncommittedBytesMax && this.#with.nodeHasRoom()
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
    if (offset >= this.#applied.nextOffset) return []
    const { log } = this.raft
    const index = log.indexAtOffset(offset)
    if (index > 0) return log.slice(index, maxBytes, this.#applied.index)
    this.#with.shardLog.readFromOffset(offset, maxBytes, (error, entries) => {
      if (error !== null) this.#with.readFailed(error)
      done(error as PlatformError | null, entries ?? [])
    })
    return null
  }

  /** Everything that this turn holds for this replica: propose, then take out what Raft wants done. */
  turn(journal: JournalBatch): void {
    if (this.#proposalRequested) this.#propose()
    while (this.raft.hasReady()) {
      const ready = this.raft.ready()
      if (ready.hardState !== null)
        journal.entries.push(encodeHardState(this.id, ready.hardState.term, ready.hardState.vote))
      for (const entry of ready.entries) journal.entries.push(entry)
      if (ready.persistSequence !== 0) {
        journal.persists.push({ replica: this, sequence: ready.persistSequence })
        this.#changed = true
      }
      for (const outgoing of ready.messages) this.#with.wire.send(outgoing.to, outgoing.message)
      if (ready.committed.length > 0) this.#apply(ready.committed)
      if (ready.standingChanged) this.#changeStanding()
      for (const read of ready.reads) this.#readFor(read.peer, read.fromIndex)
    }
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

  #apply(entries: readonly Entry[]): void {
    const machine = this.#machine!
    for (const entry of entries) {
      this.#with.shardLog.append(entry)
      this.#applied = {
        index: entry.index,
        term: entry.term,
        crc: entry.crc,
        nextOffset: nextOffsetAfter(entry),
        stamp: entry.stamp,
      }
      machine.apply(entry)
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

  #changeStanding(): void {
    const { role, term, leader, settled } = this.raft
    this.#standing = { role, term, leader, settled }
    this.#machine?.roleChanged(this.#standing)
    this.#with.standingChanged(this, this.#standing)
  }

  #readFor(peer: NodeId, fromIndex: number): void {
    const { term } = this.raft
    this.#with.shardLog.readFromIndex(fromIndex, this.#options.catchUpBytes, (error, entries) => {
      if (error !== null) this.#with.readFailed(error)
      else if (this.raft.term === term) {
        this.raft.entriesRead(peer, entries ?? [])
        this.#with.schedule(this)
      }
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
    this.#with.trace({ type: 'journaled', shard: this.id, term: log.termAt(index), index })
  }

  /** Shrinks the in-memory tail to `cacheBytes`; only what the shard log has written may go. */
  trim(cacheBytes: number): void {
    this.#tailCacheBytes = cacheBytes
    const { log } = this.raft
    const limit = Math.min(this.#written, this.#applied.index)
    let upTo = log.anchorIndex
    let bytes = log.bytes
    while (bytes > cacheBytes && upTo < limit) bytes -= log.entry(++upTo)!.bytes.length
    if (upTo > log.anchorIndex) log.releaseUpTo(upTo)
  }

  /** What a checkpoint does not cover: entries above the applied one, all in memory. */
  uncommittedTail(): readonly Entry[] {
    return this.raft.log.slice(this.#applied.index + 1)
  }

  get changedSinceCheckpoint(): boolean {
    return this.#changed
  }

  capture(): ShardCheckpoint {
    this.#changed = false
    const { index, term, crc, nextOffset, stamp } = this.#applied
    return {
      shard: this.id,
      // A vote that is still on its way to the journal may be in the checkpoint: it only binds this node earlier.
      term: this.raft.term,
      vote: this.raft.vote,
      index,
      entryTerm: term,
      crc,
      nextOffset,
      stamp,
      startIndex: this.startIndex,
      startOffset: this.startOffset,
      epochs: this.raft.log.epochs.filter((epoch) => epoch.firstIndex <= index),
      configuration: Buffer.from(JSON.stringify({ voters: this.raft.voters, learners: this.raft.learners })),
      state: this.#machine === null ? Buffer.alloc(0) : this.#machine.snapshot(),
    }
  }
}
