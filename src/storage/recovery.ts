/**
 * Where does the journal end, and is what lies before the end whole?
 *
 * After a crash the last block may be half there: its sync never returned, nobody was told anything about it, and cutting it is
 * right. But "the sum does not match" is also what a rotten sector looks like in the middle of promised data, and cutting
 * there silently forgets entries that a quorum counted (Alagappan et al., "Protocol-Aware Recovery", FAST '18, found nearly
 * every system of our kind doing it). The two differ in what lies *around* the bad place, because of one rule of the writer:
 *
 *     Block n+1 is written only after block n was synced.
 *
 *     … │ n−1 ok │ n bad │ nothing                 n was in flight: torn, never acknowledged
 *     … │ n−1 ok │ n bad │ n+1 ok                  n was synced once: damage
 *     … │ n−1 ok │ n bad │ … later segment n+9     the same, further away
 *
 * An opening never writes into an old segment. It starts a new one, whose first block is the last good block n once more, and
 * whose header says so (`firstSequence` n): from then on whatever the old segment holds from n on is superseded. So the kept
 * tail is synced again before it is trusted, without overwriting the only copy. That matters after a *failed* sync: the kernel
 * has marked the pages clean, they read well, and are not on the disk (Rebello et al., "Can Applications Recover from fsync
 * Failures?", ATC '20).
 *
 * The first table below is the whole decision about a place in the journal, the second that about the directory. Each combination of
 * observations meets exactly one row; a test walks them all.
 */
import { assert } from '../stdx/index.ts'

/** What lies at the place where block `n` would start. */
export type Here =
  /** A block that verifies, with the sequence n and the segment's incarnation. */
  | 'expected'
  /** A block that verifies, from before n: the file's earlier life. */
  | 'older'
  /** No block starts here: zeros, other bytes, or the end of the file. */
  | 'nothing'
  /** A block starts here and does not verify. */
  | 'broken'
  /** A block that verifies and has no business here: sequence above n, or n of another incarnation. */
  | 'unexpected'

/** The next segment in service. */
export type Successor =
  | 'none'
  /** It starts with n. */
  | 'continues'
  /** It starts above n. */
  | 'gap'

/** What lies outside the journal and says that a block was synced. */
export type Proof =
  | 'none'
  /** The checkpoint was written when n was on the disk. */
  | 'checkpoint'
  /** It is written down of the segment that was in service last that it held n, or a later one, and nothing before it did. */
  | 'entered'

export interface Observations {
  readonly here: Here
  readonly successor: Successor
  /** A block that verifies, with a sequence of n or above, lies behind this place or in a later file. */
  readonly beyond: boolean
  /** Who says that n was synced. */
  readonly proved: Proof
}

export type Verdict = 'take' | 'hand-over' | 'end' | 'cut' | 'damage'

export interface Row {
  readonly label: string
  readonly here: readonly Here[] | '*'
  readonly successor: readonly Successor[] | '*'
  readonly beyond: boolean | '*'
  readonly proved: readonly Proof[] | '*'
  readonly verdict: Verdict
}

export const RECOVERY_TABLE: readonly Row[] = [
  /*
   * The next segment starts with n. Either this one was full, or an opening wrote n again over there: what follows here, if
   * anything, is the block that it superseded.
   */
  { label: 'handed over', here: '*', successor: ['continues'], beyond: '*', proved: '*', verdict: 'hand-over' },
  /* The ordinary case: the next block of the journal. */
  { label: 'next block', here: ['expected'], successor: ['none', 'gap'], beyond: '*', proved: '*', verdict: 'take' },
  /*
   * A later segment exists and starts above n, so n was synced, and it is not here: a write that never reached the platter,
   * a rotten sector, or a segment file that somebody removed.
   */
  {
    label: 'block missing before a later segment',
    here: ['older', 'nothing', 'broken', 'unexpected'],
    successor: ['gap'],
    beyond: '*',
    proved: '*',
    verdict: 'damage',
  },
  /* Verifies, yet stands where it was never written: a misdirected write, or files of two journals mixed. */
  {
    label: 'misplaced block',
    here: ['unexpected'],
    successor: ['none'],
    beyond: '*',
    proved: '*',
    verdict: 'damage',
  },
  /* Lost or rotten: a later block proves that n was synced before it. */
  {
    label: 'bad block before a good one',
    here: ['older', 'nothing', 'broken'],
    successor: ['none'],
    beyond: true,
    proved: '*',
    verdict: 'damage',
  },
  /* Nothing behind it, but the checkpoint was written when n was on the disk. */
  {
    label: 'journal shorter than the checkpoint knows',
    here: ['older', 'nothing', 'broken'],
    successor: ['none'],
    beyond: false,
    proved: ['checkpoint'],
    verdict: 'damage',
  },
  /*
   * Nothing behind it, and the checkpoint is from before n; but a segment whose first own block was n, or later, had that synced, and
   * it was written down (terms.ts). So its file is gone, or its header or first block is rotten: a file that a power loss keeps from
   * coming into service has never been written down. Without this the journal would seem to end with the segment before, or to be
   * empty where that one was freed already, and whatever had been promised since would be forgotten without a sound.
   */
  {
    label: 'journal ends before the segment that was in service',
    here: ['older', 'nothing', 'broken'],
    successor: ['none'],
    beyond: false,
    proved: ['entered'],
    verdict: 'damage',
  },
  /*
   * Block n was being written when the power went, in part: its sync never returned. What was synced and then rots looks the same only
   * for the moment in which nothing follows it yet: a journal at rest writes an empty block (journal.ts).
   */
  { label: 'torn last block', here: ['broken'], successor: ['none'], beyond: false, proved: ['none'], verdict: 'cut' },
  /* Nobody was writing, or nothing of it arrived. */
  {
    label: 'clean end',
    here: ['older', 'nothing'],
    successor: ['none'],
    beyond: false,
    proved: ['none'],
    verdict: 'end',
  },
]

export function meets(row: Row, seen: Observations): boolean {
  return (
    (row.here === '*' || row.here.includes(seen.here)) &&
    (row.successor === '*' || row.successor.includes(seen.successor)) &&
    (row.beyond === '*' || row.beyond === seen.beyond) &&
    (row.proved === '*' || row.proved.includes(seen.proved))
  )
}

export function decide(seen: Observations): Row {
  const rows = RECOVERY_TABLE.filter((row) => meets(row, seen))
  assert(rows.length === 1, () => `${rows.length} rows for ${JSON.stringify(seen)}`)
  return rows[0]!
}

/*
 * What a start makes of the directory as a whole. Each of the small files is kept twice; `lost` means both copies.
 *
 * The journal and the checkpoint say what this disk has promised. If one of them is damaged, part of that is forgotten, and nobody
 * knows which part: a start that went on as if nothing had happened could vote twice, or elect somebody who lacks what it had
 * acknowledged. Where there are other replicas, and a bound of all terms is known, the disk can still come back as what it is: a
 * replica that has forgotten (resetting.ts).
 */

export interface Directory {
  /** The checkpoint, both copies. */
  readonly checkpoint: 'whole' | 'lost'
  /** The journal after it, read twice. */
  readonly journal: 'whole' | 'damaged'
  /** The bound of all terms (terms.ts). */
  readonly terms: 'known' | 'lost'
  /** A start has begun to put damage aside and has not come to the end. */
  readonly resetting: boolean
  /** There are other replicas of what is here. */
  readonly peers: boolean
}

export type StartVerdict = 'start' | 'reset' | 'refuse'

export interface StartRow {
  readonly label: string
  readonly seen: { readonly [name in keyof Directory]: Directory[name] | '*' }
  readonly verdict: StartVerdict
}

export const START_TABLE: readonly StartRow[] = [
  /* The ordinary case. A directory without a bound is from before there was one, or both its copies rotted: it is made anew. */
  {
    label: 'whole',
    seen: { checkpoint: 'whole', journal: 'whole', terms: '*', resetting: false, peers: '*' },
    verdict: 'start',
  },
  /* The journal is in the quarantine or on its way there: what reads well now is not what was promised. */
  {
    label: 'interrupted reset',
    seen: { checkpoint: '*', journal: '*', terms: 'known', resetting: true, peers: true },
    verdict: 'reset',
  },
  /* Rot, a lost or misdirected write, a missing file: below the durable point, for else it would have been cut. */
  {
    label: 'damaged journal',
    seen: { checkpoint: 'whole', journal: 'damaged', terms: 'known', resetting: false, peers: true },
    verdict: 'reset',
  },
  /* Nobody knows from which block on the journal counts, so it counts for nothing, whole as it may be. */
  {
    label: 'no checkpoint',
    seen: { checkpoint: 'lost', journal: '*', terms: 'known', resetting: false, peers: true },
    verdict: 'reset',
  },
  /* Without a bound no term is known in which this disk certainly has not voted. */
  {
    label: 'damaged journal, no bound of terms',
    seen: { checkpoint: 'whole', journal: 'damaged', terms: 'lost', resetting: false, peers: '*' },
    verdict: 'refuse',
  },
  {
    label: 'no checkpoint, no bound of terms',
    seen: { checkpoint: 'lost', journal: '*', terms: 'lost', resetting: false, peers: '*' },
    verdict: 'refuse',
  },
  /* The only copy there is: somebody may know how to read what is left of it. */
  {
    label: 'damaged journal of a node that is alone',
    seen: { checkpoint: 'whole', journal: 'damaged', terms: 'known', resetting: false, peers: false },
    verdict: 'refuse',
  },
  {
    label: 'no checkpoint, of a node that is alone',
    seen: { checkpoint: 'lost', journal: '*', terms: 'known', resetting: false, peers: false },
    verdict: 'refuse',
  },
  /* Begun with peers, and started without: whoever did that is told. */
  {
    label: 'interrupted reset of a node that is alone',
    seen: { checkpoint: '*', journal: '*', terms: 'known', resetting: true, peers: false },
    verdict: 'refuse',
  },
]

/** Null: no start can see this. */
export function decideStart(seen: Directory): StartRow | null {
  const names = Object.keys(seen) as (keyof Directory)[]
  const rows = START_TABLE.filter((row) =>
    names.every((name) => row.seen[name] === '*' || row.seen[name] === seen[name]),
  )
  assert(rows.length <= 1, () => `${rows.length} rows for ${JSON.stringify(seen)}`)
  return rows[0] ?? null
}
