/**
 * The small scopes that are explored, each to its end: what a change must pass, and what runs at night.
 *
 * No scope has everything at once, for states multiply. *Contested* ones begin with empty disks, and every node may campaign in
 * every term. *Led* ones begin where most of life is spent: term 1 has its leader, whose first entry is committed everywhere; a
 * proposal and a second term make three entries and everything that can go wrong between them, with one misfortune at a time.
 */
import type { Bounds } from './bounds.ts'

export interface Scope {
  readonly name: string
  readonly bounds: Bounds
}

const NOTHING: Bounds = {
  terms: 1,
  proposals: 0,
  crashes: 0,
  lostSessions: 0,
  resignations: 0,
  cuts: 0,
  network: 'ordered',
  preVote: false,
  messagesMax: Number.POSITIVE_INFINITY,
  writesMax: Number.POSITIVE_INFINITY,
  lostMessages: 0,
  duplicates: 0,
  overtakings: 0,
  campaigns: 0,
}
const TWO_TERMS: Bounds = { ...NOTHING, terms: 2, proposals: 1, led: true }

export function boundsOf(change: Partial<Bounds>): Bounds {
  return { ...NOTHING, ...change }
}

/** Raft §5.4.2, Figure 8: two that led before left different entries behind, and the third knows of neither. */
export const FIGURE_8: Bounds = {
  ...NOTHING,
  terms: 2,
  disks: [[1], [2], []],
  singleEntryAppends: true,
  messagesMax: 4,
  writesMax: 2,
}

export const QUICK: readonly Scope[] = [
  { name: 'one term, contested', bounds: NOTHING },
  { name: 'one term, contested, asked for first', bounds: { ...NOTHING, preVote: true, campaigns: 2 } },
  { name: 'one term, a proposal, a crash', bounds: { ...NOTHING, proposals: 1, crashes: 1 } },
  { name: 'one term, a crash, no order', bounds: { ...NOTHING, network: 'unordered', crashes: 1 } },
  { name: 'a cut, a snapshot, a crash', bounds: { ...NOTHING, cuts: 1, crashes: 1 } },
  { name: 'a cut, a snapshot, a session lost', bounds: { ...NOTHING, cuts: 1, lostSessions: 1 } },
  { name: 'two terms, contested', bounds: { ...NOTHING, terms: 2 } },
  { name: 'two terms, three entries', bounds: TWO_TERMS },
  { name: 'two terms, asked for first', bounds: { ...TWO_TERMS, preVote: true, campaigns: 2 } },
  { name: 'two terms, a crash', bounds: { ...TWO_TERMS, proposals: 0, crashes: 1 } },
]

export const NIGHTLY: readonly Scope[] = [
  { name: 'three entries, a message lost', bounds: { ...TWO_TERMS, lostMessages: 1 } },
  { name: 'three entries, a message twice', bounds: { ...TWO_TERMS, duplicates: 1 } },
  { name: 'three entries, a message too early', bounds: { ...TWO_TERMS, overtakings: 1 } },
  { name: 'three entries, a session lost', bounds: { ...TWO_TERMS, lostSessions: 1 } },
  { name: 'three entries, a crash', bounds: { ...TWO_TERMS, crashes: 1 } },
  { name: 'three entries, a leader resigns', bounds: { ...TWO_TERMS, resignations: 1 } },
  { name: 'a crash, a message lost', bounds: { ...TWO_TERMS, crashes: 1, lostMessages: 1 } },
  { name: 'a crash, a message twice', bounds: { ...TWO_TERMS, crashes: 1, duplicates: 1 } },
  { name: 'two terms, a cut, a crash', bounds: { ...TWO_TERMS, proposals: 0, cuts: 1, crashes: 1 } },
  { name: 'two terms, a cut, a session lost', bounds: { ...TWO_TERMS, proposals: 0, cuts: 1, lostSessions: 1 } },
  {
    name: 'a snapshot in pieces, a crash, a session lost',
    bounds: { ...NOTHING, cuts: 1, crashes: 1, lostSessions: 1, snapshotChunkBytes: 40 },
  },
  { name: 'figure 8', bounds: FIGURE_8 },
]
