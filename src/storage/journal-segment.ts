/**
 * What is known of one segment of the journal while its blocks may still be needed: which shards it holds something of, and
 * up to where. A segment may be reused once the checkpoint says, for each of them, at least as much.
 */
import type { Entry } from './entry.ts'
import { atMost, decodeHardState, type HardState, laterOf } from './hard-state.ts'

interface Held {
  /** Highest index of the shard's entries in the segment, replaced ones included; 0 if it has none. */
  maxIndex: number
  hardState: HardState
}

/** What a checkpoint has to say about a shard for the journal to forget it. */
export interface Covered extends HardState {
  readonly index: number
}

export class JournalSegment {
  readonly number: number
  readonly path: string
  readonly firstSequence: number
  /** Of the last block in it, as far as written. */
  lastSequence: number
  /** The file's length, used or not. */
  bytes: number
  readonly #held = new Map<number, Held>()

  constructor(number: number, path: string, bytes: number, firstSequence: number) {
    this.number = number
    this.path = path
    this.bytes = bytes
    this.firstSequence = firstSequence
    this.lastSequence = firstSequence - 1
  }

  note(entry: Entry): void {
    let held = this.#held.get(entry.shard)
    if (held === undefined) {
      held = { maxIndex: 0, hardState: { term: 0, vote: 0 } }
      this.#held.set(entry.shard, held)
    }
    if (entry.index > held.maxIndex) held.maxIndex = entry.index
    else if (entry.index === 0) held.hardState = laterOf(held.hardState, decodeHardState(entry) ?? held.hardState)
  }

  /** The shard's entries here no longer count: written again further on, or replaced by a snapshot. */
  forgetEntries(shard: number): void {
    const held = this.#held.get(shard)
    if (held !== undefined) held.maxIndex = 0
  }

  /** Shards that still need this segment, given what a checkpoint covers. */
  *heldBy(covered: (shard: number) => Covered | null): Generator<number> {
    for (const [shard, held] of this.#held) {
      const cover = covered(shard)
      if (cover === null || cover.index < held.maxIndex || !atMost(held.hardState, cover)) yield shard
    }
  }
}
