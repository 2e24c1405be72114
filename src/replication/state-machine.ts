/**
 * What a shard's log drives: partitions of streams, consumer groups, the cluster's metadata, tables, your own.
 *
 * The same entries in the same order on every replica; `apply` must be a function of the state and the entry alone.
 */
import type { PlatformError } from '../platform/index.ts'
import type { CleaningRequest, Entry, EntryKind, LogStart, SegmentFacts, SegmentLimits } from '../storage/index.ts'
import type { Compaction, CutReason } from './cut.ts'
import type { LowWaterMark } from './low-water-mark.ts'
import type { NodeId, ShardId } from './messages.ts'

export type Role = 'leader' | 'follower' | 'candidate' | 'learner'

export interface StateMachine {
  /** The state says all that the log does, so the log may be cut below it (`cut.ts`). */
  readonly cutBySnapshot?: boolean
  /**
   * The state was restored from a leader's that was further than the log is here (snapshot-taking.ts): until it
   * has caught up, its state is not the one of its index.
   */
  readonly aheadOfLog?: boolean
  /**
   * Leader only, at the end of an event-loop turn in which `shard.requestProposal()` was called: what this turn brought, as
   * one entry, or null. The records start at `context.firstOffset`.
   */
  draft(context: DraftContext): Draft | null
  /**
   * Leader only, instead of `draft`: leadership is being handed over, and what this turn brought has to wait for the outcome.
   * Bytes that are valid only until the end of the turn must be copied.
   */
  defer?(): void
  /** So much waits for that by now that nobody is to bring more: as if the log had no room. */
  readonly isFull?: boolean
  /** The draft just taken is entry `index` of the log, not yet durable anywhere. */
  appended(entry: Entry): void
  /** This node's own journal holds the log, synced, up to `index`. */
  journaled?(index: number): void
  /** The entry is at or below the high-water mark. Every entry of the log, in order, on every replica. */
  apply(entry: Entry): void
  /** All entries that this turn committed were applied: the place to answer those who wait. */
  applied(): void
  /**
   * The role, term or known leader changed. A machine that stops leading drops what it knows of uncommitted entries and
   * fails its waiters; the entries may still commit.
   */
  roleChanged(standing: Standing): void
  /** The state after the last applied entry; `restore` of it gives the same state, whatever was there before. */
  snapshot(): Buffer
  /**
   * At a start, or on a machine that runs: a follower that was behind the log's start continues from the state of its leader.
   * `applied` is called after the latter. The bytes are not to be kept.
   */
  restore(snapshot: Buffer): void
}

export interface DraftContext {
  readonly term: number
  readonly firstOffset: number
  readonly stamp: number
}

export interface Draft {
  readonly kind: EntryKind
  readonly recordCount: number
  readonly payload: readonly Uint8Array[]
}

export interface Standing {
  readonly role: Role
  readonly term: number
  /** Who leads in `term`, as far as known. */
  readonly leader: NodeId | null
  /** Leader only: an entry of the own term is committed, so the marks are true (Raft §8). */
  readonly settled: boolean
}

/** A shard as its state machine and the layers above see it. */
export interface Shard {
  readonly id: ShardId
  readonly standing: Standing
  /** Calls `draft` at the end of this turn. */
  requestProposal(): void
  /** Why this leader takes no records now, in a sentence for clients; null: it does. What must always be written is not asked. */
  readonly refusal: string | null
  /** False while the limits on uncommitted bytes, or the machine's own, are reached: push back to the sockets until `onRoom` fires. */
  readonly hasRoom: boolean
  onRoom(callback: () => void): void
  /**
   * True if this node led the shard, settled, at some moment not before this call: a quorum answered beats recently enough
   * (monotonic clock) that no other leader can have been elected, short of a reset that only the followers have seen. Enough to
   * show committed records, not for linearizable reads (docs/decisions/0002).
   */
  leadsNow(): boolean
  /** Highest index, and offset after the last record, in this replica's log. */
  readonly lastIndex: number
  readonly endOffset: number
  /** The high-water mark: as an index, and as the offset of the first record that may not be shown. */
  readonly commitIndex: number
  readonly committedOffset: number
  /** Lowest index and offset still in the log. */
  readonly startIndex: number
  readonly startOffset: number
  readonly lowWaterMark: LowWaterMark
  /**
   * Leader: the log is to start there from now on, as soon as that is committed. Not below where it starts, not beyond the mark,
   * and dropped when leadership is lost. `start.offset` lies in the entry at `start.index`, or is that of the next to come.
   */
  requestCut(start: LogStart, reason: CutReason): void
  /** Leader: what lies below a floor is to be compacted, if all who follow hold it; dropped where that is not so. Null: none is due. */
  requestCompaction(compaction: Compaction | null): void
  /** It is committed: this replica cleans what lies below the floor, when there is time. True: nothing of it is left to do. */
  clean(request: CleaningRequest): boolean
  /** The offset below which readers of this replica have been shown the log as compaction has left it for so long. */
  shownFor(ms: number): number
  /**
   * Nothing from `index` on is cut while this node leads, until the answer is called, but by a command (`CutReason.request`). `name`
   * says who needs it.
   */
  pin(name: string, index: number): () => void
  /** What the files of this node hold of the log, oldest first. */
  segments(done: (error: PlatformError | null, segments: readonly SegmentFacts[]) => void): void
  /** When files of this node's log are left; what is not said is as the node was started. */
  configureLog(limits: Partial<SegmentLimits>): void
  /** First index and offset of every term in the log, ascending. */
  readonly epochs: readonly Epoch[]
  /**
   * Committed entries from the one that holds `offset` on, until `maxBytes` are reached (at least one if there is one at or
   * below the mark). From memory synchronously (returned) where possible, else null and `done` is called later.
   */
  readCommitted(
    offset: number,
    maxBytes: number,
    done: (error: PlatformError | null, entries: readonly Entry[]) => void,
  ): readonly Entry[] | null
}

export interface Epoch {
  readonly term: number
  readonly firstIndex: number
  readonly firstOffset: number
}
