/**
 * How a replica's log is read: by consumers, by followers that are behind, and by replicas that have lost something.
 *
 *      files     cleaned │ sealed │ sealed │ in use       up to what the shard log has written
 *      memory                          ├─ tail ───────────────┬─────────────┤
 *                                                        high-water mark    last
 *
 * What the tail holds is answered at once, everything else from the files. Nobody but a follower of the leader is shown anything above
 * the high-water mark. A read that meets damage says so to its caller, and to whoever has it repaired.
 */
import { isExhausted, type PlatformError } from '../platform/index.ts'
import type { Entry, LogStart, SegmentFacts, ShardLog, StorageError } from '../storage/index.ts'
import type { Raft } from './raft.ts'
import type { SnapshotPlace } from './snapshot.ts'

export interface ReadingCollaborators {
  readonly raft: Raft
  readonly shardLog: ShardLog
  /** The last applied entry. */
  readonly applied: () => SnapshotPlace
  /** Damage in files of this log, repaired behind our back; until then somebody else should lead. */
  readonly damaged: () => void
  /** It cannot be read at the moment. */
  readonly exhausted: () => void
  readonly storageFailed: (error: StorageError | PlatformError) => void
}

export class LogReading {
  readonly #with: ReadingCollaborators
  #looksUpBytes = false

  constructor(collaborators: ReadingCollaborators) {
    this.#with = collaborators
  }

  /** For consumers; see `Shard.readCommitted`. */
  fromOffset(
    offset: number,
    maxBytes: number,
    done: (error: PlatformError | null, entries: readonly Entry[]) => void,
  ): readonly Entry[] | null {
    const { raft, shardLog, applied } = this.#with
    const { index: commitIndex, nextOffset } = applied()
    if (offset >= nextOffset) return []
    const index = raft.log.indexAtOffset(offset)
    if (index > 0) return raft.log.slice(index, maxBytes, commitIndex)
    shardLog.readFromOffset(offset, maxBytes, (error, entries) => {
      if (error !== null) this.failed(error)
      done(error as PlatformError | null, entries ?? [])
    })
    return null
  }

  /**
   * Committed entries from `index` on, for a replica that has lost them; none when this log starts above. Null: this replica does not
   * reach up to there.
   */
  forRepair(
    index: number,
    maxBytes: number,
    done: (error: Error | null, entries: readonly Entry[] | null) => void,
  ): void {
    const { raft, shardLog, applied } = this.#with
    const { log } = raft
    if (index > applied().index) return done(null, null)
    if (index < log.startIndex) return done(null, [])
    if (index > log.anchorIndex) return done(null, log.slice(index, maxBytes, applied().index))
    shardLog.readFromIndex(index, maxBytes, (error, entries) => {
      if (error !== null) this.failed(error)
      const { index: commitIndex } = applied()
      done(error, entries?.filter((entry) => entry.index <= commitIndex) ?? null)
    })
  }

  /** For a follower that is behind the tail, committed or not; none where the log was cut meanwhile, or cannot be read. */
  forFollower(fromIndex: number, maxBytes: number, done: (entries: readonly Entry[]) => void): void {
    this.#with.shardLog.readFromIndex(fromIndex, maxBytes, (error, entries) => {
      if (error !== null) this.failed(error)
      done(entries ?? [])
    })
  }

  /**
   * Records below `floor` as this replica has them, `offset` or the next that there are, for one that is to have the same; what it is
   * read from stays as long as it is held. Null: this replica has not come to start there. What it has between its own floor and a higher
   * one is not cleaned: beside a tombstone there may be what it deletes, and nobody would look for that below a floor again.
   */
  readBelow(
    floor: LogStart,
    offset: number,
    maxBytes: number,
    done: (error: Error | null, entries: readonly Entry[] | null) => void,
  ): void {
    const { raft, shardLog } = this.#with
    if (floor.index > raft.log.startIndex) return done(null, null)
    const from = Math.max(offset, raft.log.startOffset)
    if (from >= floor.offset) return done(null, [])
    shardLog.readFromOffset(from, maxBytes, (error, entries) => {
      if (error !== null) this.failed(error)
      done(
        error,
        (entries ?? []).filter((entry) => entry.index < floor.index),
      )
    })
  }

  /** Somebody reads what lies below the floor, a piece at a time: it is cleaned again later. */
  hold(): void {
    this.#with.shardLog.cleaner.hold()
  }

  get startOffset(): number {
    return this.#with.raft.log.startOffset
  }

  /** The floor, and of which cleaning what lies below is; a null floor where this log was never compacted. */
  get cleaned(): { readonly floor: LogStart | null; readonly generation: number } {
    const { raft, shardLog } = this.#with
    const { part } = shardLog.cleaner
    if (part === null) return { floor: null, generation: 0 }
    return { floor: { index: raft.log.startIndex, offset: part.floorOffset }, generation: part.generation }
  }

  segments(done: (error: PlatformError | null, segments: readonly SegmentFacts[]) => void): void {
    this.#with.shardLog.segments((error, segments) => {
      if (error !== null) this.failed(error)
      done(error as PlatformError | null, segments)
    })
  }

  /** Of the files; null: not known yet, and looked up. */
  get storedBytes(): number | null {
    const { storedBytes } = this.#with.shardLog
    if (storedBytes === null && !this.#looksUpBytes) {
      this.#looksUpBytes = true
      this.segments(() => {
        this.#looksUpBytes = false
      })
    }
    return storedBytes
  }

  /** A read of these files. That the log was cut below a reader is no failure of theirs. */
  failed(error: StorageError | PlatformError): void {
    if (error.code === 'BELOW_LOG_START' || error.code === 'OFFSET_BELOW_LOG_START') return
    if (error.code === 'SHARD_LOG_DAMAGED' || error.code === 'SHARD_LOG_MISSING') this.#with.damaged()
    else if (isExhausted(error)) this.#with.exhausted()
    else this.#with.storageFailed(error)
  }
}
