/**
 * Batches that a leader has numbered and that are no entry yet: what one turn takes becomes one entry at its end.
 *
 *      add ──► │ offsets 90–94 │ 95 │ 96–99 │ ──(end of turn)──► take: one entry of ten records
 *                                                └─────────────► keep: a handover of leadership holds it back, over turns
 *
 * They are slices of the requests, whose bytes are good until the turn ends; `keep` gives those that stay longer bytes of their own.
 */
import type { Draft } from '../replication/index.ts'
import { assert } from '../stdx/index.ts'
import { ENTRY_RECORDS_MAX, EntryKind } from '../storage/index.ts'

/** Sockets are pushed back above this. */
const BYTES_SOFT = 8 << 20
/** One turn's entry stays well below what an entry may be. */
const BYTES_MAX = 64 << 20

export class PendingBatches {
  #batches: Buffer[] = []
  /** The first so many have bytes of their own. */
  #kept = 0
  #bytes = 0
  #firstOffset = 0
  /** Where the next batch goes; of no meaning while there is none. */
  #nextOffset = 0

  get isEmpty(): boolean {
    return this.#batches.length === 0
  }

  /** Some of them are from an earlier turn. */
  get heldBack(): boolean {
    return this.#kept > 0
  }

  get isFull(): boolean {
    return this.#bytes >= BYTES_SOFT
  }

  /** Where the next batch goes in a log that ends at `endOffset`. */
  after(endOffset: number): number {
    return this.isEmpty ? endOffset : this.#nextOffset
  }

  /** Whether one entry can take so much more. */
  fits(bytes: number, offsets: number): boolean {
    const before = this.isEmpty ? 0 : this.#nextOffset - this.#firstOffset
    return this.#bytes + bytes <= BYTES_MAX && before + offsets <= ENTRY_RECORDS_MAX
  }

  /** `from`: what `after` said. The next batch goes to `nextOffset`. */
  add(batch: Buffer, from: number, nextOffset: number): void {
    if (this.isEmpty) this.#firstOffset = from
    this.#batches.push(batch)
    this.#bytes += batch.length
    this.#nextOffset = nextOffset
  }

  /** All of them, for a log that ends at `endOffset`. */
  take(endOffset: number): Draft {
    assert(endOffset === this.#firstOffset, () => `numbered from ${this.#firstOffset}, the log goes on at ${endOffset}`)
    const draft = {
      kind: EntryKind.data,
      recordCount: this.#nextOffset - this.#firstOffset,
      payload: this.#batches,
    }
    this.clear()
    return draft
  }

  /** The turn ends, and they stay. */
  keep(): void {
    const batches = this.#batches
    for (; this.#kept < batches.length; this.#kept++) batches[this.#kept] = Buffer.from(batches[this.#kept]!)
  }

  clear(): void {
    this.#batches = []
    this.#kept = 0
    this.#bytes = 0
  }
}
