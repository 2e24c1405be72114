/**
 * The journal's bytes.
 *
 *     segment file   │ header page │ block │ block │ … │ rest: zeros, or what the file's earlier life left │
 *                    0           4096
 *
 * Everything starts at a multiple of 4096, the unit in which the page cache and most disks write. A power loss in the middle
 * of writing block n+1 therefore cannot touch a byte of block n, which was promised; and whoever looks for blocks behind a
 * damaged place knows where they can start.
 *
 * Segment header (64 bytes used, the page is padded with zeros):
 *
 *      0  8 B  magic            "TIDEJRNL"
 *      8  u32  crc              CRC-32C of bytes 12 to 63
 *     12  u16  version
 *     14  u16  readableFrom
 *     16 16 B  diskIncarnation  whose journal this is
 *     32  8 B  incarnation      random, drawn at each opening of the journal; every block in the segment repeats it
 *     40  u64  number           of the segment: must be the one in its name, else the header is from an earlier life
 *     48  u64  firstSequence    of the first block
 *     56  u32  alignment        4096
 *     60  u32  reserved         0
 *
 * Block (one write, one sync):
 *
 *      0  u32  magic            "TMBK"
 *      4  u32  crc              CRC-32C of everything from byte 8 to the end of the body
 *      8  u16  version
 *     10  u16  reserved         0
 *     12  u32  bodyBytes
 *     16  8 B  incarnation
 *     24  u64  sequence         by one more than the block before it
 *     32  u32  entryCount
 *     36  u32  reserved         0
 *     40       body             entries, verbatim, back to back; then zeros up to the alignment
 *
 * The bytes with a worked example: docs/formats/journal.md.
 */
import { assert, crc32c } from '../stdx/index.ts'
import { readU64, writeU64 } from './entry.ts'
import { FORMAT_VERSION, readable, writeVersions } from './versions.ts'

export const BLOCK_ALIGNMENT = 4096
export const SEGMENT_HEADER_BYTES = 64
export const BLOCK_HEADER_BYTES = 40
/** What a block's sum covers begins behind the sum. */
export const BLOCK_SUM_FROM = 8
/** No block is longer: its body is one call's entries, or calls up to a few MiB. A longer length is not believed. */
export const BLOCK_BODY_BYTES_MAX = 1 << 30

const SEGMENT_MAGIC = Buffer.from('TIDEJRNL', 'latin1')
/** "TMBK", read as a little-endian number. */
export const BLOCK_MAGIC = 0x4b424d54

export interface SegmentHeader {
  /** 16 bytes as hex. */
  readonly diskIncarnation: string
  /** 8 bytes as hex. */
  readonly incarnation: string
  readonly number: number
  readonly firstSequence: number
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const page = Buffer.alloc(BLOCK_ALIGNMENT)
  SEGMENT_MAGIC.copy(page, 0)
  writeVersions(page, 12)
  page.write(header.diskIncarnation, 16, 16, 'hex')
  page.write(header.incarnation, 32, 8, 'hex')
  writeU64(page, header.number, 40)
  writeU64(page, header.firstSequence, 48)
  page.writeUInt32LE(BLOCK_ALIGNMENT, 56)
  page.writeUInt32LE(crc32c(page.subarray(12, SEGMENT_HEADER_BYTES)), 8)
  return page
}

export type SegmentHeaderDefect = 'short' | 'magic' | 'newer' | 'crc' | 'range'

export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | SegmentHeaderDefect {
  if (bytes.length < SEGMENT_HEADER_BYTES) return 'short'
  if (!bytes.subarray(0, 8).equals(SEGMENT_MAGIC)) return 'magic'
  if (crc32c(bytes.subarray(12, SEGMENT_HEADER_BYTES)) !== bytes.readUInt32LE(8)) return 'crc'
  if (!readable(bytes, 12)) return 'newer'
  const number = readU64(bytes, 40)
  const firstSequence = readU64(bytes, 48)
  if (number < 0 || firstSequence < 0 || bytes.readUInt32LE(56) !== BLOCK_ALIGNMENT) return 'range'
  const diskIncarnation = bytes.toString('hex', 16, 32)
  return { diskIncarnation, incarnation: bytes.toString('hex', 32, 40), number, firstSequence }
}

export interface BlockHeader {
  readonly incarnation: string
  readonly sequence: number
  readonly bodyBytes: number
  readonly entryCount: number
}

/** All but the sum, which `sealBlock` adds when the body is known. */
export function writeBlockHeader(
  into: Buffer,
  at: number,
  incarnation: Buffer,
  header: Omit<BlockHeader, 'incarnation'>,
): void {
  assert(header.bodyBytes <= BLOCK_BODY_BYTES_MAX, () => `block of ${header.bodyBytes} bytes`)
  into.writeUInt32LE(BLOCK_MAGIC, at)
  into.writeUInt32LE(0, at + 4)
  into.writeUInt16LE(FORMAT_VERSION, at + 8)
  into.writeUInt16LE(0, at + 10)
  into.writeUInt32LE(header.bodyBytes, at + 12)
  incarnation.copy(into, at + 16, 0, 8)
  writeU64(into, header.sequence, at + 24)
  into.writeUInt32LE(header.entryCount, at + 32)
  into.writeUInt32LE(0, at + 36)
}

/** `crc` is the sum of everything from `BLOCK_SUM_FROM` to the end of the body. */
export function sealBlock(block: Buffer, crc: number): void {
  block.writeUInt32LE(crc, 4)
}

export function isBlockMagic(bytes: Buffer, at: number): boolean {
  return bytes.length - at >= 4 && bytes.readUInt32LE(at) === BLOCK_MAGIC
}

/** The header's fields as they stand, believed only once `blockVerifies`; null when no block starts here. */
export function peekBlockHeader(bytes: Buffer, at: number): BlockHeader | null {
  if (bytes.length - at < BLOCK_HEADER_BYTES || !isBlockMagic(bytes, at)) return null
  const sequence = readU64(bytes, at + 24)
  const bodyBytes = bytes.readUInt32LE(at + 12)
  if (sequence < 0 || bodyBytes > BLOCK_BODY_BYTES_MAX) return null
  const incarnation = bytes.toString('hex', at + 16, at + 24)
  return { incarnation, sequence, bodyBytes, entryCount: bytes.readUInt32LE(at + 32) }
}

/** `bytes` holds header and body from `at` on. */
export function blockVerifies(bytes: Buffer, at: number, bodyBytes: number): boolean {
  const end = at + BLOCK_HEADER_BYTES + bodyBytes
  return end <= bytes.length && crc32c(bytes.subarray(at + BLOCK_SUM_FROM, end)) === bytes.readUInt32LE(at + 4)
}

/** Bytes that a block with this body takes in the file. */
export function blockFootprint(bodyBytes: number): number {
  return alignUp(BLOCK_HEADER_BYTES + bodyBytes)
}

export function alignUp(bytes: number): number {
  return Math.ceil(bytes / BLOCK_ALIGNMENT) * BLOCK_ALIGNMENT
}
