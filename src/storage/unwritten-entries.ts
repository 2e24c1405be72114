/**
 * The end of a shard's log that the operating system does not have yet.
 *
 *      files                 memory
 *     ─────────────────────┤ 41 42 43 44 45 ├
 *            writtenIndex ─┘              └─ lastIndex
 *
 * Entries come at the end, as they are applied, and go at the front, as they are written. What was handed to a reader stays as it was
 * when entries go: a read in flight may find its answer there that it does not find in the files it began with.
 */
import { assert } from '../stdx/index.ts'
import { type Entry, nextOffsetAfter } from './entry.ts'

export class UnwrittenEntries {
  #entries: Entry[] = []
  #bytes = 0
  /** Invariant: writtenIndex ≤ lastIndex, and the entries are exactly those between. */
  #lastIndex: number
  #writtenIndex: number

  constructor(writtenIndex: number) {
    this.#lastIndex = this.#writtenIndex = writtenIndex
  }

  get entries(): readonly Entry[] {
    return this.#entries
  }

  get bytes(): number {
    return this.#bytes
  }

  get lastIndex(): number {
    return this.#lastIndex
  }

  get writtenIndex(): number {
    return this.#writtenIndex
  }

  add(entry: Entry): void {
    const { index, bytes } = entry
    assert(this.#lastIndex === 0 || index === this.#lastIndex + 1, () => `entry ${index} after ${this.#lastIndex}`)
    this.#entries.push(entry)
    this.#bytes += bytes.length
    this.#lastIndex = index
  }

  /** What to write next: at least one entry, and no more than `maxBytes` with the others. */
  next(maxBytes: number): readonly Entry[] {
    let bytes = 0
    let count = 0
    while (count < this.#entries.length && (count === 0 || bytes < maxBytes))
      bytes += this.#entries[count++]!.bytes.length
    return this.#entries.slice(0, count)
  }

  /** The first of them are with the operating system. Returns their bytes. */
  wrote(written: readonly Entry[]): number {
    let bytes = 0
    for (const entry of written) bytes += entry.bytes.length
    this.#bytes -= bytes
    this.#entries = this.#entries.slice(written.length)
    this.#writtenIndex = written.at(-1)!.index
    return bytes
  }

  /** The log ends at `index` and has nothing unwritten. Returns the bytes that go. */
  beginAfter(index: number): number {
    const bytes = this.#bytes
    this.#entries = []
    this.#bytes = 0
    this.#lastIndex = this.#writtenIndex = index
    return bytes
  }
}

/** Of consecutive entries those from `index` on, until `maxBytes` are reached: at least one. */
export function entriesFromIndex(entries: readonly Entry[], index: number, maxBytes: number): Entry[] {
  return take(entries, index - entries[0]!.index, maxBytes)
}

/** From the one on that holds `offset`, or, where none does, the next that has records. */
export function entriesFromOffset(entries: readonly Entry[], offset: number, maxBytes: number): Entry[] {
  const at = entries.findIndex((entry) => entry.recordCount > 0 && nextOffsetAfter(entry) > offset)
  return at < 0 ? [] : take(entries, at, maxBytes)
}

function take(entries: readonly Entry[], at: number, maxBytes: number): Entry[] {
  let bytes = 0
  let end = at
  while (end < entries.length) {
    bytes += entries[end]!.bytes.length
    if (end > at && bytes > maxBytes) break
    end++
  }
  return entries.slice(at, end)
}
