/** Entries that travel in pieces of a fixed size, wherever one of them happens to end. */
import { decodeEntry, ENTRY_HEADER_BYTES, type Entry } from '../storage/index.ts'

/** Of one answer: it travels on the connection that carries the beats. */
export const PIECE_BYTES = 1 << 20

export interface Pieces {
  readonly entries: Entry[]
  /** The beginning of one whose end is still to come. */
  readonly rest: Buffer
  /** What is no entry. */
  readonly defect: string | null
}

export function entriesIn(bytes: Buffer): Pieces {
  const entries: Entry[] = []
  let at = 0
  while (bytes.length - at >= ENTRY_HEADER_BYTES) {
    const entry = decodeEntry(bytes, at)
    if (entry === 'short') break
    if (typeof entry === 'string') return { entries, rest: bytes, defect: entry }
    entries.push(entry)
    at += entry.bytes.length
  }
  return { entries, rest: bytes.subarray(at), defect: null }
}
