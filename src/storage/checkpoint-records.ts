/**
 * What the checkpoint's file says of each shard, and what it will say next.
 *
 * A record only ever moves on. Whoever is asked for a shard's state may remember less than the file does: a replica that was opened at
 * what the file says, or one that was put at a snapshot whose log starts further down where it came from. And a vote may be in the
 * journal before the replica's own state is captured again. So of two terms, votes and starts it is always the later one that stands:
 * going back would give a vote twice, or ask for entries that are cut.
 */
import { assert } from '../stdx/index.ts'
import type { ShardCheckpoint, ShardLogPosition, StoredShard } from './checkpoint-format.ts'
import type { CleanedPart } from './cleaned-part.ts'
import { type HardState, laterOf } from './hard-state.ts'
import { type Install, placeOfInstall } from './installs.ts'
import { type LogStart, laterStart } from './log-start.ts'

export interface RecordsStart {
  readonly stored: Map<number, StoredShard>
  readonly hardStates: Map<number, HardState>
  readonly highestStamp: number
}

const NOTHING = { index: 0, entryTerm: 0, crc: 0, nextOffset: 0, stamp: 0, startIndex: 1, startOffset: 0, epochs: [] }
const NO_BYTES = Buffer.alloc(0)

const startOf = ({ startIndex: index, startOffset: offset }: ShardCheckpoint): LogStart => ({ index, offset })

export class CheckpointRecords {
  readonly #stored: Map<number, StoredShard>
  /** Latest of every shard whose hard state was appended since its record was made. */
  readonly #hardStates: Map<number, HardState>
  #highestStamp: number

  constructor({ stored, hardStates, highestStamp }: RecordsStart) {
    this.#stored = stored
    this.#hardStates = hardStates
    this.#highestStamp = highestStamp
  }

  get all(): ReadonlyMap<number, StoredShard> {
    return this.#stored
  }

  of(shard: number): StoredShard | undefined {
    return this.#stored.get(shard)
  }

  get highestStamp(): number {
    return this.#highestStamp
  }

  noteStamp(stamp: number): void {
    if (stamp > this.#highestStamp) this.#highestStamp = stamp
  }

  /** Appended to the journal. */
  noteHardState(shard: number, state: HardState): void {
    const known = this.#hardStates.get(shard)
    this.#hardStates.set(shard, known === undefined ? state : laterOf(known, state))
  }

  delete(shard: number): void {
    this.#stored.delete(shard)
    this.#hardStates.delete(shard)
  }

  /** Never behind what a record or the journal already says, whatever the driver remembers; null if it says nothing new. */
  neverBack(state: ShardCheckpoint): ShardCheckpoint | null {
    const { shard, index } = state
    assert(
      state.startIndex <= index + 1,
      () => `shard ${shard} starts at ${state.startIndex}, beyond its end at ${index}`,
    )
    const { term, vote }: HardState = laterOf(state, this.#hardStates.get(shard) ?? state)
    const stored = this.#stored.get(shard)?.state
    if (stored === undefined) return { ...state, term, vote }
    if (index < stored.index) return null
    // A snapshot's log starts behind it on this disk, wherever it starts where it came from.
    const start = laterStart(startOf(stored), startOf(state))
    const later = laterOf({ term, vote }, stored)
    return { ...state, term: later.term, vote: later.vote, startIndex: start.index, startOffset: start.offset }
  }

  /** What was captured, and its log synced up to there. */
  put(state: ShardCheckpoint, log: ShardLogPosition | null, cleaned: CleanedPart | null): void {
    const { shard } = state
    this.#stored.set(shard, { state, log, journalAfter: this.#stored.get(shard)?.journalAfter ?? 0, cleaned })
  }

  /** The snapshot instead of what there was, its votes excepted. */
  place(install: Install): void {
    const { state, journalAfter, cleaned } = install
    const { shard } = state
    const known = this.#stored.get(shard)?.state
    const { term, vote } = known === undefined ? state : laterOf(state, known)
    const { index: startIndex, offset: startOffset } = placeOfInstall(install)
    // If it has recovered meanwhile, the next capture says so.
    const recovering = state.recovering === true || known?.recovering === true
    const placed = { ...state, term, vote, startIndex, startOffset, recovering }
    this.#stored.set(shard, { state: placed, log: null, journalAfter: journalAfter!, cleaned })
    this.noteStamp(state.stamp)
  }

  /** Votes of shards that had nothing else to say. `recovering`: a shard that no file has known may have promised more than it knows. */
  carryHardStates(gone: ReadonlyMap<number, unknown>, recovering: boolean): void {
    for (const [shard, hardState] of this.#hardStates) {
      if (gone.has(shard)) continue
      const stored = this.#stored.get(shard)
      const unknown = { shard, ...NOTHING, term: 0, vote: 0, configuration: NO_BYTES, state: NO_BYTES, recovering }
      const { state, log, journalAfter, cleaned } = stored ?? {
        state: unknown,
        log: null,
        journalAfter: 0,
        cleaned: null,
      }
      const { term, vote } = laterOf(state, hardState)
      if (term !== state.term || vote !== state.vote || stored === undefined)
        this.#stored.set(shard, { state: { ...state, term, vote }, log, journalAfter, cleaned })
    }
    this.#hardStates.clear()
  }

  /** Nothing before this block is left of the journal: it need not be told any more what of it does not count. */
  journalBegins(journalFrom: number): void {
    for (const [shard, stored] of this.#stored)
      if (stored.journalAfter > 0 && stored.journalAfter < journalFrom)
        this.#stored.set(shard, { ...stored, journalAfter: 0 })
  }
}
