/**
 * What a leader sends to a follower that is behind the log's start.
 *
 * A machine whose state says all that its log does is sent as it is, and stands where it is.
 *
 * Where the log itself is what counts (a partition's records), no state stands for it. The follower is *placed at the start*:
 * what it is sent stands just before the log's first entry, and every entry follows. What a machine derives from the log needs
 * entries that are gone, so that comes along, as the leader has it now, at index A:
 *
 *                  start                    A
 *      ── cut ──┤   │ entries follow        │
 *         place ┘   └── derived state has ──┘ seen these: the machine passes over them (`aheadOfLog`)
 *
 * What compaction has left below the start is too large to come along: the follower fetches it before it takes its place.
 *
 * Entries up to A are committed, so the follower will get the very same ones, and until it has them nobody elects it.
 */
import type { PlatformError } from '../platform/index.ts'
import type { Entry, ShardCheckpoint, ShardLog, StorageError } from '../storage/index.ts'
import type { Raft } from './raft.ts'
import { placeOf, type Snapshot } from './snapshot.ts'

export interface TakingCollaborators {
  readonly raft: Raft
  readonly shardLog: ShardLog
  readonly capture: () => ShardCheckpoint
  /** This node's own log could not be read. */
  readonly readFailed: (error: StorageError | PlatformError) => void
  /** A snapshot was taken, and Raft has it. */
  readonly taken: (snapshot: Snapshot) => void
}

export class SnapshotTaking {
  readonly #with: TakingCollaborators
  /** Looking up what stands just before the log's start. */
  #reading = false

  constructor(collaborators: TakingCollaborators) {
    this.#with = collaborators
  }

  ofState(): void {
    const { epochs, configuration, state, ...captured } = this.#with.capture()
    this.#give({ ...placeOf(captured), epochs, configuration, cleanedFrom: null, state })
  }

  /** The first entry says where it stands: whose sum it follows, and at which offset. It may be on the disk only. */
  atStart(): void {
    const { raft, shardLog, readFailed } = this.#with
    const { startIndex } = raft.log
    const first = raft.log.entry(startIndex)
    if (first !== undefined) return this.#before(first)
    if (this.#reading) return
    this.#reading = true
    shardLog.readFromIndex(startIndex, 1, (error, entries) => {
      this.#reading = false
      if (error !== null && error.code !== 'BELOW_LOG_START') readFailed(error)
      else if (raft.role !== 'leader') return
      else if (entries[0]?.index === raft.log.startIndex) this.#before(entries[0])
      else this.atStart() // It was cut again meanwhile.
    })
  }

  #before(first: Entry): void {
    const { raft, capture } = this.#with
    const index = first.index - 1
    const { startOffset } = raft.log
    const { epochs, configuration, state } = capture()
    this.#give({
      index,
      entryTerm: raft.log.termAt(index),
      crc: first.previousCrc,
      nextOffset: first.firstOffset,
      // Not below that of the entry at the place, which is gone.
      stamp: first.stamp - 1,
      epochs: epochs.filter(({ firstIndex }) => firstIndex <= index),
      configuration,
      cleanedFrom: startOffset < first.firstOffset ? startOffset : null,
      state,
    })
  }

  #give(snapshot: Snapshot): void {
    this.#with.raft.snapshotTaken(snapshot)
    this.#with.taken(snapshot)
  }
}
