/** One file under the reader: pieces of it, sums over ranges of it, and the entry that starts at a place. */
import { isExhausted, PlatformError } from '../../platform/index.ts'
import { crc32c } from '../../stdx/index.ts'
import { decodeEntry, ENTRY_BYTES_MAX, ENTRY_HEADER_BYTES, type Entry, type EntryDefect } from '../entry.ts'
import type { Procedure } from '../procedure.ts'
import { WINDOW_BYTES, WindowReader } from '../window-reader.ts'
import { hex32 } from './items.ts'

/** What the disk answers about this file. That the process or the machine is out of something says nothing about any file. */
export function isTrouble(error: unknown): error is PlatformError {
  return error instanceof PlatformError && !isExhausted(error)
}

export class Source extends WindowReader {
  #asked = 0

  /** Where the last view began: what a disk that fails was asked for. */
  get asked(): number {
    return this.#asked
  }

  get path(): string {
    return this.file.path
  }

  override view(position: number, length: number): Procedure<Buffer> {
    this.#asked = position
    return super.view(position, length)
  }

  /** CRC-32C of [from, to), a window at a time, however long it is. */
  *sum(from: number, to: number, seed = 0): Procedure<number> {
    let crc = seed
    for (let at = from; at < to; ) {
      const piece = yield* this.view(at, Math.min(WINDOW_BYTES, to - at))
      if (piece.length === 0) break
      crc = crc32c(piece, crc)
      at += piece.length
    }
    return crc
  }

  /** The entry at `position` that ends at `end` or before, or what is wrong with the bytes there. */
  *entry(position: number, end: number): Procedure<Entry | EntryDefect> {
    const head = yield* this.view(position, Math.min(ENTRY_HEADER_BYTES, end - position))
    if (head.length < ENTRY_HEADER_BYTES) return 'short'
    const length = head.readUInt32LE(0)
    if (length < ENTRY_HEADER_BYTES || length > ENTRY_BYTES_MAX) return 'length'
    if (length > end - position) return 'short'
    return decodeEntry(yield* this.view(position, length))
  }

  /** In words, for a defect that `entry` has found at the same place. */
  *explain(position: number, end: number, defect: EntryDefect): Procedure<{ expected: string; found: string }> {
    const head = yield* this.view(position, Math.min(ENTRY_HEADER_BYTES, end - position))
    const length = head.length < 4 ? 0 : head.readUInt32LE(0)
    switch (defect) {
      case 'short': {
        const needed = head.length < ENTRY_HEADER_BYTES ? 'a header of 64 bytes' : `an entry of ${length} bytes`
        return { expected: needed, found: `${end - position} bytes` }
      }
      case 'length':
        return {
          expected: `a length from 64 to ${ENTRY_BYTES_MAX}, and 64 less for the payload`,
          found: `length ${length}`,
        }
      case 'crc': {
        const sum = yield* this.sum(position + 8, position + length)
        return { expected: `${length} bytes with the sum ${hex32(head.readUInt32LE(4))}`, found: `sum ${hex32(sum)}` }
      }
      case 'version':
        return { expected: 'an entry of version 1', found: `version ${head[8]}` }
      case 'kind':
        return { expected: 'a kind of 1 to 4 or 16', found: `kind ${head[9]}` }
      default:
        return { expected: 'term, index, stamp and offset below 2^53', found: 'a larger one, under a right sum' }
    }
  }
}

/** Looking for what comes after a damaged place means believing lengths that may be damaged too: this much, and no more. */
export const GIVEN_UP =
  'what lies behind the damage claims lengths that add up to many times the file: not every place was tried'

export class Budget {
  #left: number

  constructor(fileBytes: number) {
    this.#left = 8 * fileBytes + (64 << 20)
  }

  get exhausted(): boolean {
    return this.#left < 0
  }

  /** False when too much was spent. */
  spend(bytes: number): boolean {
    this.#left -= bytes
    return this.#left >= 0
  }
}
