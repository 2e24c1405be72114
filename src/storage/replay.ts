/**
 * From the journal's entries, in the order in which they were written, to each shard's log.
 *
 * The journal is never rewritten, so it also holds what a shard has since replaced: a follower that took entries from a leader
 * that lost, and then others from the one that won (Raft §5.3). The rule is one sentence: *an entry with index i replaces every
 * entry of its shard from i on.*
 *
 *     written   5a 6a 7a 6b 7b 8b         log   5a 6b 7b 8b
 *
 * It also holds what a follower had when a snapshot took the place of its log (Raft §7). The checkpoint with the snapshot names
 * the block up to which that reaches, and of what lies before nothing counts but votes:
 *
 *     written   5a 6a 7a │ 51 52          log   (snapshot at 50) 51 52
 *
 * Only what is left at the end is judged: it must follow the checkpoint without a hole, and each entry must name its
 * predecessor's sum. Judging on the way would refuse healthy journals, because the predecessor of an entry that was replaced
 * may have been recycled.
 */
import type { ShardCheckpoint } from './checkpoint-format.ts'
import { type Entry, EntryKind } from './entry.ts'
import { KEEP_THE_DIRECTORY, StorageError } from './errors.ts'
import { decodeHardState, type HardState, laterOf } from './hard-state.ts'

export interface RecoveredShard {
  readonly term: number
  /** 0 for nobody. */
  readonly vote: number
  readonly checkpoint: ShardCheckpoint | null
  /** Contiguous and chain-verified, from the index after the checkpoint's (or from 1). */
  readonly entries: Entry[]
  /** It has lost what it had acknowledged. */
  readonly recovering: boolean
}

interface ShardReplay {
  hardState: HardState
  /** Contiguous; what the rule above has left. */
  entries: Entry[]
}

export class Replay {
  readonly #shards = new Map<number, ShardReplay>()
  readonly #removed: ReadonlySet<number>
  readonly #journalAfter: ReadonlyMap<number, number>
  #highestStamp = 0

  /**
   * Entries of `removed` shards are passed over: their removal is committed, and ids are never used again. So are a shard's
   * entries in blocks up to `journalAfter`, which a snapshot replaced.
   */
  constructor(removed: ReadonlySet<number>, journalAfter: ReadonlyMap<number, number> = new Map()) {
    this.#removed = removed
    this.#journalAfter = journalAfter
  }

  get highestStamp(): number {
    return this.#highestStamp
  }

  /** Whether the entry, of block `sequence`, counts; null if no writer of ours makes such a one. */
  take(entry: Entry, sequence: number): boolean | null {
    if (this.#removed.has(entry.shard)) return false
    const shard = this.#shardOf(entry.shard)
    if (entry.kind === EntryKind.hardState) {
      const state = decodeHardState(entry)
      if (state === null) return null
      shard.hardState = laterOf(shard.hardState, state)
      return true
    }
    if (entry.index < 1) return null
    if (entry.stamp > this.#highestStamp) this.#highestStamp = entry.stamp
    if (sequence <= (this.#journalAfter.get(entry.shard) ?? 0)) return false
    const first = shard.entries[0]
    if (first === undefined || entry.index <= first.index) {
      shard.entries = [entry]
      return true
    }
    const next = first.index + shard.entries.length
    if (entry.index > next) {
      // Legal only if the checkpoint covers the hole (a replica that was given a later state): `finish` looks.
      shard.entries = [entry]
      return true
    }
    shard.entries.length = entry.index - first.index
    shard.entries.push(entry)
    return true
  }

  /** `unknownRecover`: a shard that no checkpoint has seen was opened as one that recovers. */
  finish(
    checkpoints: ReadonlyMap<number, ShardCheckpoint>,
    unknownRecover = false,
  ): Map<number, RecoveredShard> | StorageError {
    const recovered = new Map<number, RecoveredShard>()
    for (const [id, checkpoint] of checkpoints)
      this.#shardOf(id).hardState = laterOf(this.#shardOf(id).hardState, checkpoint)
    for (const [id, { hardState, entries }] of this.#shards) {
      const checkpoint = checkpoints.get(id) ?? null
      const broken = verifyLog(id, entries, checkpoint)
      if (broken !== null) return broken
      const after = checkpoint === null ? entries : entries.filter(({ index }) => index > checkpoint.index)
      // A record of votes alone is no state to start from.
      const empty =
        checkpoint === null || checkpoint.index + checkpoint.configuration.length + checkpoint.state.length === 0
      const state = empty ? null : checkpoint
      const recovering = checkpoint === null ? unknownRecover : checkpoint.recovering === true
      recovered.set(id, { term: hardState.term, vote: hardState.vote, checkpoint: state, entries: after, recovering })
    }
    return recovered
  }

  #shardOf(id: number): ShardReplay {
    let shard = this.#shards.get(id)
    if (shard === undefined) {
      shard = { hardState: { term: 0, vote: 0 }, entries: [] }
      this.#shards.set(id, shard)
    }
    return shard
  }
}

/** `entries` are contiguous; what is checked is where they start and that each follows its predecessor's sum. */
function verifyLog(shard: number, entries: readonly Entry[], checkpoint: ShardCheckpoint | null): StorageError | null {
  const anchor = { index: checkpoint?.index ?? 0, crc: checkpoint?.crc ?? 0, term: checkpoint?.entryTerm ?? 0 }
  const broken = (index: number, reason: string): StorageError =>
    new StorageError(
      { code: 'LOG_BROKEN', shard, index, reason },
      `the journal's entries of shard ${shard} do not form a log at index ${index}: ${reason}. ${KEEP_THE_DIRECTORY}`,
    )
  const first = entries[0]
  if (first !== undefined && first.index > anchor.index + 1) {
    return broken(anchor.index + 1, `the checkpoint ends at ${anchor.index} and the journal starts with ${first.index}`)
  }
  let previous: { index: number; crc: number; term: number } | null = null
  for (const entry of entries) {
    if (entry.index === anchor.index && entry.crc !== anchor.crc)
      return broken(entry.index, 'another entry than in the checkpoint')
    if (entry.index === anchor.index + 1) previous = anchor
    if (entry.index > anchor.index) {
      if (previous !== null && entry.previousCrc !== previous.crc)
        return broken(entry.index, 'it follows another entry')
      if (previous !== null && entry.term < previous.term)
        return broken(entry.index, 'its term is below its predecessor’s')
      previous = entry
    }
  }
  return null
}
