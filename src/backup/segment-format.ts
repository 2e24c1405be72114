/**
 * A segment of a backup: record batches of one partition, one after the other, as its log had them.
 *
 *     header (64 bytes) │ batches … │ footer (40 bytes)
 *
 *      0  8 bytes  magic          "TMBACKUP"            0  u32  magic         "TMBE" read as little-endian
 *      8  u16      version        1                     4  u32  crc           CRC-32C of everything before the footer
 *     10  u16      reserved       0                     8  u64  nextOffset    after the last record
 *     12  u32      partition                           16  u64  bytes         of the batches
 *     16  16 bytes topic id                            24  f64  maxTimestamp  the largest of the batches'
 *     32  u64      number         as in the name       32  u32  records
 *     40  u64      baseOffset     of the first batch   36  u32  footerCrc     CRC-32C of the 36 bytes before
 *     48  u32      previousCrc    of the partition's previous segment, 0 for the first
 *     52  8 bytes  reserved       0
 *     60  u32      headerCrc      CRC-32C of the 60 bytes before
 *
 * Little-endian. Each file says by itself whose it is, so that a run that was killed before it wrote its manifest has not
 * copied for nothing; and names its predecessor's sum, so that a file of an older or another backup is not taken for this one's.
 * With a worked example: docs/formats/backup.md.
 */
import { crc32c } from '../stdx/index.ts'

export const SEGMENT_HEADER_BYTES = 64
export const SEGMENT_FOOTER_BYTES = 40
export const SEGMENT_VERSION = 1
/** As many as the footer can say. */
export const SEGMENT_RECORDS_MAX = 0xffff_ffff
const MAGIC = Buffer.from('TMBACKUP', 'latin1')
const FOOTER_MAGIC = 0x45424d54

export interface SegmentHeader {
  readonly partition: number
  /** 32 hexadecimal digits. */
  readonly topicId: string
  readonly number: number
  readonly baseOffset: number
  readonly previousCrc: number
}

export interface SegmentFooter {
  readonly crc: number
  readonly nextOffset: number
  readonly bytes: number
  readonly maxTimestamp: number
  readonly records: number
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES)
  MAGIC.copy(bytes)
  bytes.writeUInt16LE(SEGMENT_VERSION, 8)
  bytes.writeUInt32LE(header.partition, 12)
  bytes.write(header.topicId, 16, 16, 'hex')
  bytes.writeBigUInt64LE(BigInt(header.number), 32)
  bytes.writeBigUInt64LE(BigInt(header.baseOffset), 40)
  bytes.writeUInt32LE(header.previousCrc, 48)
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 60)), 60)
  return bytes
}

export type SegmentDefect = 'short' | 'magic' | 'version' | 'crc' | 'range'

export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | SegmentDefect {
  if (bytes.length < SEGMENT_HEADER_BYTES) return 'short'
  if (!bytes.subarray(0, 8).equals(MAGIC)) return 'magic'
  if (crc32c(bytes.subarray(0, 60)) !== bytes.readUInt32LE(60)) return 'crc'
  if (bytes.readUInt16LE(8) !== SEGMENT_VERSION) return 'version'
  const [number, baseOffset] = [bytes.readBigUInt64LE(32), bytes.readBigUInt64LE(40)]
  if (!(isSafe(number) && isSafe(baseOffset))) return 'range'
  return {
    partition: bytes.readUInt32LE(12),
    topicId: bytes.toString('hex', 16, 32),
    number: Number(number),
    baseOffset: Number(baseOffset),
    previousCrc: bytes.readUInt32LE(48),
  }
}

export function encodeSegmentFooter(footer: SegmentFooter): Buffer {
  const bytes = Buffer.alloc(SEGMENT_FOOTER_BYTES)
  bytes.writeUInt32LE(FOOTER_MAGIC, 0)
  bytes.writeUInt32LE(footer.crc, 4)
  bytes.writeBigUInt64LE(BigInt(footer.nextOffset), 8)
  bytes.writeBigUInt64LE(BigInt(footer.bytes), 16)
  bytes.writeDoubleLE(footer.maxTimestamp, 24)
  bytes.writeUInt32LE(footer.records, 32)
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 36)), 36)
  return bytes
}

export function decodeSegmentFooter(bytes: Buffer): SegmentFooter | SegmentDefect {
  if (bytes.length < SEGMENT_FOOTER_BYTES) return 'short'
  if (bytes.readUInt32LE(0) !== FOOTER_MAGIC) return 'magic'
  if (crc32c(bytes.subarray(0, 36)) !== bytes.readUInt32LE(36)) return 'crc'
  const [nextOffset, length] = [bytes.readBigUInt64LE(8), bytes.readBigUInt64LE(16)]
  const maxTimestamp = bytes.readDoubleLE(24)
  if (!(isSafe(nextOffset) && isSafe(length) && Number.isSafeInteger(maxTimestamp))) return 'range'
  return {
    crc: bytes.readUInt32LE(4),
    nextOffset: Number(nextOffset),
    bytes: Number(length),
    maxTimestamp,
    records: bytes.readUInt32LE(32),
  }
}

function isSafe(value: bigint): boolean {
  return value <= BigInt(Number.MAX_SAFE_INTEGER)
}

/** The name of a file comes from its number alone: what a cluster calls its topics never becomes a path. */
export function segmentName(number: number): string {
  return `${String(number).padStart(8, '0')}.batches`
}

export function partialName(number: number): string {
  return `${String(number).padStart(8, '0')}.partial`
}

export function segmentNumberOf(name: string): { readonly number: number; readonly sealed: boolean } | null {
  const match = /^(\d{8,15})\.(batches|partial)$/.exec(name)
  return match === null ? null : { number: Number(match[1]), sealed: match[2] === 'batches' }
}
