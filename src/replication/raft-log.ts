/**
 * A shard's log as Raft sees it: every index from the log's start to its end, of which only the tail is in memory.
 *
 *     index   1 ............... 95 | 96 ... 103
 *             in the shard log     | in memory: the tail
 *                    anchor = 95 ──┘          └── lastIndex
 *
 * Raft asks three things of the part that is not in memory: its term at any index (the consistency check of §5.3 and the
 * search for where two logs part), and the checksum and offset at the point where the tail begins (to chain the next entry).
 * The first is a table of epochs, one row per term and not per entry, searched by halving; the others are the *anchor*.
 * So a follower can be any distance behind without a disk being asked about it.
 *
 * Only committed entries are ever released from memory (`releaseUpTo`), and only what is not committed is ever truncated, so
 * truncation never meets the anchor.
 */

import { assert } from '../stdx/index.ts'
import type { Entry, EntryKind } from '../storage/index.ts'
import { encodeEntry, isLater, nextOffsetAfter } from '../storage/index.ts'
import type { LogStart } from './cut.ts'
import type { ShardId } from './messages.ts'
import type { Epoch } from './state-machine.ts'

/** The last entry before the tail, as far as the tail needs it. All zero for a log that starts in memory. */
export interface LogAnchor {
  readonly index: number
  readonly term: number
  readonly crc: number
  readonly nextOffset: number
}

export interface LogOrigin {
  readonly shard: ShardId
  readonly anchor: LogAnchor
  /** Of the log up to and including the anchor. */
  readonly epochs: readonly Epoch[]
  /** What follows the anchor, without holes, its chain verified. */
  readonly entries: readonly Entry[]
  /** Where the log was cut; by default it never was. */
  readonly start?: LogStart
}

export interface EntryContent {
  readonly kind: EntryKind
  readonly recordCount: number
  readonly payload: readonly Uint8Array[]
  readonly stamp: number
}

/** Before the first entry. */
export const ORIGIN: LogAnchor = Object.freeze({ index: 0, term: 0, crc: 0, nextOffset: 0 })
const NEVER_CUT: LogStart = Object.freeze({ index: 1, offset: 0 })
export const NO_ENTRIES: readonly Entry[] = Object.freeze([])

/** Released slots at the front of the array before it is worth copying the rest down. */
const COMPACT_MIN = 256

export class RaftLog {
  readonly shard: ShardId
  /** Slots before `#head` were released and hold undefined: releasing is O(1), copying down is paid once per doubling. */
  #slots: (Entry | undefined)[] = []
  #head = 0
  #epochs: Epoch[]
  #anchor: LogAnchor
  #bytes = 0
  #lastIndex: number
  #lastTerm: number
  #lastCrc: number
  #endOffset: number
  #start: LogStart

  constructor(origin: LogOrigin) {
    const { anchor } = origin
    this.shard = origin.shard
    this.#start = origin.start ?? NEVER_CUT
    this.#anchor = anchor
    this.#epochs = [...origin.epochs]
    this.#lastIndex = anchor.index
    this.#lastTerm = anchor.term
    this.#lastCrc = anchor.crc
    this.#endOffset = anchor.nextOffset
    const known = this.#epochs.at(-1)
    assert(
      (known?.term ?? 0) === anchor.term,
      () => `the epochs end in term ${known?.term}, the anchor is of ${anchor.term}`,
    )
    for (const entry of origin.entries) this.append(entry)
  }

  /** The lowest index that can be had from here, in memory or not; of the one before, the term is still known. */
  get startIndex(): number {
    return this.#start.index
  }

  get startOffset(): number {
    return this.#start.offset
  }

  /** Last index that is not in memory. */
  get anchorIndex(): number {
    return this.#anchor.index
  }

  /** First index in memory, if the tail is not empty. */
  get firstIndex(): number {
    return this.#anchor.index + 1
  }

  get lastIndex(): number {
    return this.#lastIndex
  }

  get lastTerm(): number {
    return this.#lastTerm
  }

  get lastCrc(): number {
    return this.#lastCrc
  }

  /** Offset of the next record. */
  get endOffset(): number {
    return this.#endOffset
  }

  /** Of the entries in memory. */
  get bytes(): number {
    return this.#bytes
  }

  get epochs(): readonly Epoch[] {
    return this.#epochs
  }

  /** Builds the entry that comes next: its index, offset and chain follow from the log's end. Does not append it. */
  encodeNext(term: number, content: EntryContent): Entry {
    return encodeEntry({
      kind: content.kind,
      shard: this.shard,
      term,
      index: this.#lastIndex + 1,
      stamp: content.stamp,
      firstOffset: this.#endOffset,
      recordCount: content.recordCount,
      previousCrc: this.#lastCrc,
      payload: content.payload,
    })
  }

  append(entry: Entry): void {
    assert(entry.shard === this.shard, () => `entry of shard ${entry.shard} in the log of ${this.shard}`)
    assert(entry.index === this.#lastIndex + 1, () => `entry ${entry.index} after ${this.#lastIndex}`)
    assert(
      entry.term >= this.#lastTerm,
      () => `entry ${entry.index} of term ${entry.term} after one of ${this.#lastTerm}`,
    )
    assert(entry.previousCrc === this.#lastCrc, () => `entry ${entry.index} breaks the chain: it follows another entry`)
    assert(
      entry.firstOffset === this.#endOffset,
      () => `entry ${entry.index} starts at offset ${entry.firstOffset}, the log ends at ${this.#endOffset}`,
    )
    if (entry.term !== this.#lastTerm) {
      this.#epochs.push({ term: entry.term, firstIndex: entry.index, firstOffset: entry.firstOffset })
    }
    this.#slots.push(entry)
    this.#bytes += entry.bytes.length
    this.#lastIndex = entry.index
    this.#lastTerm = entry.term
    this.#lastCrc = entry.crc
    this.#endOffset = nextOffsetAfter(entry)
  }

  /** Removes `index` and everything after it. Returns how many bytes that were. */
  truncateFrom(index: number): number {
    assert(index > this.#anchor.index, () => `truncation from ${index}, released up to ${this.#anchor.index}`)
    assert(index <= this.#lastIndex, () => `truncation from ${index}, the log ends at ${this.#lastIndex}`)
    let removed = 0
    for (let at = this.#lastIndex; at >= index; at--) removed += this.#slots.pop()!.bytes.length
    this.#bytes -= removed
    while (this.#epochs.length > 0 && this.#epochs.at(-1)!.firstIndex >= index) this.#epochs.pop()
    const last = this.entry(index - 1)
    this.#lastIndex = index - 1
    this.#lastTerm = last === undefined ? this.#anchor.term : last.term
    this.#lastCrc = last === undefined ? this.#anchor.crc : last.crc
    this.#endOffset = last === undefined ? this.#anchor.nextOffset : nextOffsetAfter(last)
    return removed
  }

  /** The entry, if it is in memory. */
  entry(index: number): Entry | undefined {
    return index > this.#anchor.index && index <= this.#lastIndex
      ? this.#slots[this.#head + index - this.#anchor.index - 1]
      : undefined
  }

  /** From `from` on, all in memory, until `maxBytes` are reached; at least one if there is one. */
  slice(from: number, maxBytes = Number.POSITIVE_INFINITY, lastIndex = this.#lastIndex): readonly Entry[] {
    assert(from > this.#anchor.index, () => `entries from ${from}, released up to ${this.#anchor.index}`)
    if (from > lastIndex) return NO_ENTRIES
    const start = this.#head + from - this.#anchor.index - 1
    const limit = this.#head + lastIndex - this.#anchor.index
    let end = start + 1
    let bytes = this.#slots[start]!.bytes.length
    if (maxBytes === Number.POSITIVE_INFINITY) end = limit
    else {
      for (; end < limit; end++) {
        bytes += this.#slots[end]!.bytes.length
        if (bytes > maxBytes) break
      }
    }
    return this.#slots.slice(start, end) as Entry[]
  }

  /** The term of the entry at `index`, in memory or not; 0 before the log's start. */
  termAt(index: number): number {
    assert(index >= 0 && index <= this.#lastIndex, () => `term at ${index}, the log ends at ${this.#lastIndex}`)
    if (index === 0) return 0
    const row = this.#epochRow(index)
    assert(row >= 0, () => `term at ${index} was cut with the log's start`)
    return this.#epochs[row]!.term
  }

  /**
   * The highest index ≤ `index` whose term is ≤ `term`, or 0: the last place at which a log that has `term` at `index` can
   * agree with this one. One step skips a whole diverging term (§5.3).
   */
  lastIndexWithin(index: number, term: number): number {
    let at = Math.min(index, this.#lastIndex)
    let row = this.#epochRow(at)
    while (row >= 0 && this.#epochs[row]!.term > term) at = this.#epochs[row--]!.firstIndex - 1
    return at
  }

  /** In memory, the index of the entry that holds `offset`; −1 if it lies before the tail or after the end. */
  indexAtOffset(offset: number): number {
    if (offset < this.#anchor.nextOffset || offset >= this.#endOffset) return -1
    let low = this.#head
    let high = this.#slots.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if (nextOffsetAfter(this.#slots[middle]!) > offset) high = middle
      else low = middle + 1
    }
    return this.#anchor.index + 1 + low - this.#head
  }

  /** Forgets entries up to `index`, which the shard log holds. The caller sees to it that they are committed and applied. */
  releaseUpTo(index: number): void {
    const last = this.entry(index)
    if (last === undefined) return
    const count = index - this.#anchor.index
    for (let i = 0; i < count; i++) {
      this.#bytes -= this.#slots[this.#head]!.bytes.length
      this.#slots[this.#head++] = undefined
    }
    this.#anchor = { index, term: last.term, crc: last.crc, nextOffset: nextOffsetAfter(last) }
    if (this.#head >= COMPACT_MIN && this.#head * 2 >= this.#slots.length) {
      this.#slots = this.#slots.slice(this.#head)
      this.#head = 0
    }
  }

  /**
   * The log starts at `start` from now on, perhaps inside an entry. The table of epochs keeps the row of the entry before: whoever is sent the first
   * entry is asked whether it agrees on that one.
   */
  cutTo(start: LogStart): void {
    assert(isLater(start, this.#start), () => `cut to ${start.index}, the log starts at ${this.#start.index}`)
    assert(start.index <= this.#lastIndex + 1, () => `cut to ${start.index}, the log ends at ${this.#lastIndex}`)
    this.#start = start
    let gone = 0
    // Of what compaction has left below the start's index, clients may ask in which epoch it was written.
    const isGone = ({ firstIndex, firstOffset }: Epoch): boolean =>
      firstIndex < start.index && firstOffset <= start.offset
    while (gone + 1 < this.#epochs.length && isGone(this.#epochs[gone + 1]!)) gone++
    if (gone > 0) this.#epochs = this.#epochs.slice(gone)
  }

  /** A snapshot took the place of everything: the log is empty, and goes on after `anchor`. */
  reset(anchor: LogAnchor, epochs: readonly Epoch[], startOffset: number): void {
    this.#slots = []
    this.#head = 0
    this.#bytes = 0
    this.#anchor = anchor
    this.#epochs = [...epochs]
    this.#lastIndex = anchor.index
    this.#lastTerm = anchor.term
    this.#lastCrc = anchor.crc
    this.#endOffset = anchor.nextOffset
    this.#start = NEVER_CUT
    this.cutTo({ index: anchor.index + 1, offset: startOffset })
  }

  /** The epochs' row that holds `index`; −1 if it lies before the first. */
  #epochRow(index: number): number {
    let high = this.#epochs.length - 1
    if (high >= 0 && this.#epochs[high]!.firstIndex <= index) return high
    let low = 0
    while (low <= high) {
      const middle = (low + high) >>> 1
      if (this.#epochs[middle]!.firstIndex <= index) low = middle + 1
      else high = middle - 1
    }
    return high
  }
}
