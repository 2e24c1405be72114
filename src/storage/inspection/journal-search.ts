/**
 * Blocks in a journal file: the one at a place, the next good one behind a place, and what the rest of the file is.
 *
 * A block can only start at a multiple of 4096, so whoever looks for one passes over everything else.
 */
import {
  BLOCK_ALIGNMENT,
  BLOCK_HEADER_BYTES,
  type BlockHeader,
  blockFootprint,
  isBlockMagic,
  peekBlockHeader,
} from '../journal-format.ts'
import type { Procedure } from '../procedure.ts'
import type { Here } from '../recovery.ts'
import { glimpse, hex32, type Rest } from './items.ts'
import type { Budget, Source } from './source.ts'

export interface Observed {
  readonly here: Here
  /** As it stands in the file; null where no header is readable. */
  readonly header: BlockHeader | null
  readonly crc: number
  /** What there is, for people. */
  readonly found: string
}

export interface Expected {
  readonly incarnation: string
  readonly sequence: number
}

export function* observeBlock(
  source: Source,
  position: number,
  { incarnation, sequence }: Expected,
): Procedure<Observed> {
  const head = yield* source.view(position, BLOCK_HEADER_BYTES)
  const nothing = { header: null, crc: 0 }
  if (!isBlockMagic(head, 0)) return { ...nothing, here: 'nothing', found: glimpse(head) }
  const header = peekBlockHeader(head, 0)
  if (header === null) return { ...nothing, here: 'broken', found: 'a block with a header that cannot be' }
  const crc = head.readUInt32LE(4)
  const name = `block ${header.sequence}`
  const end = position + BLOCK_HEADER_BYTES + header.bodyBytes
  if (end > source.size) {
    return { header, crc, here: 'broken', found: `${name} of ${header.bodyBytes} bytes, beyond the end of the file` }
  }
  const sum = yield* source.sum(position + 8, end)
  if (sum !== crc)
    return { header, crc, here: 'broken', found: `${name} with the sum ${hex32(crc)} over bytes of ${hex32(sum)}` }
  if (header.sequence < sequence) return { header, crc, here: 'older', found: `${name}, of the file's earlier life` }
  if (header.sequence > sequence || header.incarnation !== incarnation) {
    return { header, crc, here: 'unexpected', found: `${name} of incarnation ${header.incarnation}` }
  }
  return { header, crc, here: 'expected', found: name }
}

export interface Place {
  readonly position: number
  readonly header: BlockHeader
}

export interface Survey {
  /** The first block that verifies, with the sequence asked for or a higher one. */
  readonly good: Place | null
  readonly rest: { bytes: number; is: Rest }
  /** Blocks with a lower sequence: from when the file was another segment. */
  readonly older: { readonly count: number; readonly first: number; readonly last: number }
}

const ZEROS = Buffer.alloc(BLOCK_ALIGNMENT)

/** Looks through the file from `position` on. Stops at the first good block; `rest` is of what lies before it. */
export function* survey(source: Source, position: number, sequence: number, budget: Budget): Procedure<Survey> {
  let nonZero = false
  const older = { count: 0, first: 0, last: 0 }
  for (let at = position; at < source.size; at += BLOCK_ALIGNMENT) {
    const page = yield* source.view(at, BLOCK_ALIGNMENT)
    if (page.length === 0) break
    if (page.equals(ZEROS.subarray(0, page.length))) continue
    nonZero = true
    const header = peekBlockHeader(page, 0)
    if (header === null) continue
    if (header.sequence < sequence) {
      if (older.count++ === 0) older.first = header.sequence
      older.last = header.sequence
      continue
    }
    const end = at + BLOCK_HEADER_BYTES + header.bodyBytes
    if (end > source.size || !budget.spend(header.bodyBytes)) continue
    if ((yield* source.sum(at + 8, end)) !== page.readUInt32LE(4)) continue
    return { good: { position: at, header }, rest: restOf(at - position, nonZero), older }
  }
  return { good: null, rest: restOf(source.size - position, nonZero), older }
}

function restOf(bytes: number, nonZero: boolean): { bytes: number; is: Rest } {
  return { bytes: Math.max(0, bytes), is: bytes <= 0 ? 'none' : nonZero ? 'earlier life' : 'zeros' }
}

/** The rest of a file, for people. */
export function restInWords({ rest, older }: Survey): string {
  if (rest.is === 'none') return 'the file is full'
  if (rest.is === 'zeros') return 'the rest is zeros, written ahead'
  if (older.count === 0) return "the rest is left from the file's earlier life"
  const range = older.first === older.last ? `block ${older.first}` : `blocks ${older.first}–${older.last}`
  return `the rest is left from the file's earlier life (${range})`
}

export function blockEnd(position: number, { bodyBytes }: BlockHeader, size: number): number {
  return Math.min(size, position + blockFootprint(bodyBytes))
}
