/**
 * Term and vote of a shard (Raft §5.2: what a server must remember before it answers). They ride in the journal as an entry of
 * their own kind, so that a vote shares the block, the sync and the sum with everything else of that turn.
 *
 * A shard's hard states are ordered: the term never falls, and within a term the vote goes from nobody to one candidate, once.
 * So of two hard states of a shard the later one can be told from the values alone, whatever file each was found in.
 */
import { assert } from '../stdx/index.ts'
import { type Entry, EntryKind, encodeEntry, payloadOf } from './entry.ts'

export interface HardState {
  readonly term: number
  /** The node voted for in `term`; 0 for nobody yet. */
  readonly vote: number
}

export function encodeHardState(shard: number, term: number, vote: number): Entry {
  assert(vote >= 0 && vote <= 0xffff_ffff, () => `vote for node ${vote}`)
  const payload = Buffer.alloc(4)
  payload.writeUInt32LE(vote, 0)
  const kind = EntryKind.hardState
  const draft = { kind, shard, term, index: 0, stamp: 0, firstOffset: 0, recordCount: 0, previousCrc: 0 }
  return encodeEntry({ ...draft, payload: [payload] })
}

/** Null when the entry, whole as it is, is not one that `encodeHardState` makes. */
export function decodeHardState(entry: Entry): HardState | null {
  if (entry.kind !== EntryKind.hardState || entry.index !== 0) return null
  const payload = payloadOf(entry)
  return payload.length === 4 ? { term: entry.term, vote: payload.readUInt32LE(0) } : null
}

/** Whether `state` says nothing that `other` does not already say. */
export function atMost(state: HardState, other: HardState): boolean {
  return state.term < other.term || (state.term === other.term && (state.vote === 0 || other.vote !== 0))
}

export function laterOf(a: HardState, b: HardState): HardState {
  return atMost(a, b) ? b : a
}
