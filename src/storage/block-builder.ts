/**
 * Lays the entries of one block out for one `writev`.
 *
 * Handing 256 small slices to `writev` was measured to cost more than copying them into one buffer; from a few KiB up the
 * copy costs more. So small entries are copied, large ones go as they are, and the order is kept:
 *
 *     entries    s s s L s s L
 *     pieces     [header s s s] [L] [s s] [L] [padding]
 *
 * The block's sum is over all of it, but of a large entry the sum is known already: it carries its own, and two sums combine
 * without a look at the bytes. At 16 KiB the second pass over them was measured to cost a fifth of the whole write and sync.
 *
 * One block is in flight at a time, so one buffer serves them all. It must not be touched until the write has completed.
 */
import { crc32c } from '../stdx/index.ts'
import { crcThrough, type Entry } from './entry.ts'
import {
  BLOCK_ALIGNMENT,
  BLOCK_HEADER_BYTES,
  BLOCK_SUM_FROM,
  blockFootprint,
  sealBlock,
  writeBlockHeader,
} from './journal-format.ts'

/** Entries from this size on are not copied. */
const COPY_BELOW_BYTES = 8 << 10
const BUFFER_BYTES = 256 << 10
/** A turn that needed more than this gets a buffer of its own, which is not kept. */
const BUFFER_BYTES_MAX = 4 << 20

export class BlockBuilder {
  #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  readonly #incarnation: Buffer
  readonly #padding = Buffer.alloc(BLOCK_ALIGNMENT)

  constructor(incarnation: string) {
    this.#incarnation = Buffer.from(incarnation, 'hex')
  }

  /** Pieces whose lengths add up to a multiple of the alignment. `bodyBytes` is the sum of the entries' lengths. */
  build(entries: readonly Entry[], bodyBytes: number, sequence: number): Uint8Array[] {
    let copiedBytes = 0
    for (const { bytes } of entries) if (bytes.length < COPY_BELOW_BYTES) copiedBytes += bytes.length
    const buffer = this.#bufferOf(blockFootprint(copiedBytes) + BLOCK_ALIGNMENT)
    writeBlockHeader(buffer, 0, this.#incarnation, { sequence, bodyBytes, entryCount: entries.length })
    const pieces: Uint8Array[] = []
    // Copied and not yet a piece: [from, at) of the buffer.
    let from = 0
    let at = BLOCK_HEADER_BYTES
    let crc = 0
    for (const entry of entries) {
      const { bytes } = entry
      if (bytes.length < COPY_BELOW_BYTES) {
        buffer.set(bytes, at)
        at += bytes.length
        continue
      }
      if (at > from) {
        crc = crc32c(buffer.subarray(from === 0 ? BLOCK_SUM_FROM : from, at), crc)
        pieces.push(buffer.subarray(from, at))
      }
      from = at
      crc = crcThrough(crc, entry)
      pieces.push(bytes)
    }
    const padding = blockFootprint(bodyBytes) - BLOCK_HEADER_BYTES - bodyBytes
    if (at > from) {
      crc = crc32c(buffer.subarray(from === 0 ? BLOCK_SUM_FROM : from, at), crc)
      buffer.fill(0, at, at + padding)
      pieces.push(buffer.subarray(from, at + padding))
    } else if (padding > 0) pieces.push(this.#padding.subarray(0, padding))
    sealBlock(buffer, crc)
    return pieces
  }

  /** The same for a body whose bytes are at hand, which an opening writes again. */
  rebuild(body: Buffer, entryCount: number, sequence: number): Uint8Array[] {
    const block = Buffer.alloc(blockFootprint(body.length))
    writeBlockHeader(block, 0, this.#incarnation, { sequence, bodyBytes: body.length, entryCount })
    body.copy(block, BLOCK_HEADER_BYTES)
    sealBlock(block, crc32c(block.subarray(BLOCK_SUM_FROM, BLOCK_HEADER_BYTES + body.length)))
    return [block]
  }

  #bufferOf(bytes: number): Buffer {
    if (bytes <= this.#buffer.length) return this.#buffer
    const buffer = Buffer.allocUnsafeSlow(bytes * 2)
    if (buffer.length <= BUFFER_BYTES_MAX) this.#buffer = buffer
    return buffer
  }
}
