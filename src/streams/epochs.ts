/**
 * Leader epochs: how a client and a log notice that they talk about different histories (KIP-101, KIP-320).
 *
 * A partition's leader epoch is the Raft term of its shard, and the shard knows the first offset of each term:
 *
 *      term        1         3              4
 *      offset      0 ─────── 120 ────────── 121 ──► end
 *
 * A client that read offset 130 from the leader of term 1 asks where term 1 ended: 120. It is beyond that, so what it read was
 * not kept. (Only uncommitted records can be lost so, and those we never show; the question is answered all the same.)
 */
import type { Epoch } from '../replication/index.ts'
import { KafkaError } from './errors.ts'

export interface EpochEnd {
  readonly leaderEpoch: number
  readonly endOffset: number
}

const UNKNOWN: EpochEnd = { leaderEpoch: -1, endOffset: -1 }

/** −1 in a request means: do not check. */
export const NO_LEADER_EPOCH = -1

/** What a request that names the epoch it believes in deserves from a replica in `term`. */
export function checkLeaderEpoch(requested: number, term: number): 0 | 74 | 75 {
  if (requested === NO_LEADER_EPOCH || requested === term) return KafkaError.NONE
  return requested < term ? KafkaError.FENCED_LEADER_EPOCH : KafkaError.UNKNOWN_LEADER_EPOCH
}

/** The largest epoch that is not above the requested one, and where it ended; (−1, −1) where no answer can be true. */
export function epochEndIn(epochs: readonly Epoch[], requested: number, endOffset: number): EpochEnd {
  if (requested < 0 || epochs.length === 0) return UNKNOWN
  let floor = -1
  while (floor + 1 < epochs.length && epochs[floor + 1]!.term <= requested) floor++
  const next = epochs[floor + 1]
  // A term above all that this log has seen: this replica cannot know where it ends.
  if (next === undefined && epochs[floor]!.term !== requested) return UNKNOWN
  return {
    leaderEpoch: floor === -1 ? requested : epochs[floor]!.term,
    endOffset: next === undefined ? endOffset : Math.min(next.firstOffset, endOffset),
  }
}

/** The epoch in which the record at `offset` was, or will be, written; −1 in an empty log. */
export function epochOfOffset(epochs: readonly Epoch[], offset: number): number {
  let low = 0
  let high = epochs.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (epochs[middle]!.firstOffset <= offset) low = middle + 1
    else high = middle
  }
  return low === 0 ? -1 : epochs[low - 1]!.term
}
