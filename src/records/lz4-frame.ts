/**
 * How large an LZ4 frame becomes, without unpacking it: the decompressor we use has no limit of its own.
 *
 *     magic · FLG BD [content size] [dictionary id] HC · ( block size · block · [checksum] )* · 0 · [checksum]
 *
 * The content size in the header is optional and may lie, so the blocks are what counts. A block of n bytes gives at most the
 * frame's maximum block size and at most 255·n, which settles nearly every frame at a glance. Only where that bound is above
 * the limit are the sequences of a block walked: each is a token, literals, and a match, and their lengths add up to the exact
 * size (https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md).
 */
import { RecordsError } from './errors.ts'

const MAGIC = 0x184d2204
const UNCOMPRESSED = 0x8000_0000

/** The frame, cut to its own end, if it unpacks to at most `limitBytes`. Throws a `RecordsError` else. */
export function assertLz4WithinLimit(bytes: Buffer, limitBytes: number): Buffer {
  if (bytes.length < 7 || bytes.readUInt32LE(0) !== MAGIC) throw damaged('does not start with a frame header')
  const flags = bytes[4]!
  const blockBytesMax = 1 << (8 + 2 * ((bytes[5]! >> 4) & 7))
  const blockChecksumBytes = flags & 0x10 ? 4 : 0
  let at = 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0)
  let total = 0
  for (;;) {
    if (at + 4 > bytes.length) throw damaged('ends inside a block size')
    const field = bytes.readUInt32LE(at)
    at += 4
    if (field === 0) break
    const blockBytes = field % UNCOMPRESSED
    const blockEnd = at + blockBytes
    if (blockEnd + blockChecksumBytes > bytes.length) throw damaged('ends inside a block')
    if (field >= UNCOMPRESSED) total += blockBytes
    else {
      const bound = Math.min(blockBytesMax, 255 * blockBytes)
      total += total + bound <= limitBytes ? bound : exactBlockBytes(bytes, at, blockEnd)
    }
    if (total > limitBytes) {
      throw new RecordsError(
        { code: 'DECOMPRESSED_TOO_LARGE', codec: 'lz4', limitBytes },
        `lz4 bytes decompress to more than the limit of ${limitBytes} bytes`,
      )
    }
    at = blockEnd + blockChecksumBytes
  }
  const end = at + (flags & 0x04 ? 4 : 0)
  if (end > bytes.length) throw damaged('ends inside the checksum')
  return end === bytes.length ? bytes : bytes.subarray(0, end)
}

function exactBlockBytes(bytes: Buffer, from: number, end: number): number {
  let total = 0
  let at = from
  while (at < end) {
    const token = bytes[at++]!
    let literals = token >> 4
    if (literals === 15) {
      let more: number
      do {
        more = at < end ? bytes[at]! : 0
        at++
        literals += more
      } while (more === 255)
    }
    total += literals
    at += literals
    if (at >= end) break // The last sequence has no match.
    at += 2
    let match = (token & 15) + 4
    if (match === 19) {
      let more: number
      do {
        more = at < end ? bytes[at]! : 0
        at++
        match += more
      } while (more === 255)
    }
    total += match
  }
  return total
}

function damaged(what: string): RecordsError {
  return new RecordsError({ code: 'DECOMPRESSION_FAILED', codec: 'lz4' }, `the lz4 frame ${what}`)
}
