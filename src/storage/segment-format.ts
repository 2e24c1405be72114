/**
 * A shard log's bytes: entries, verbatim, behind one header. Nothing but committed entries is ever here, so nothing is ever
 * taken back, and a segment that has been left is never written again.
 *
 * Segment, `<first index>.log`:
 *
 *      0  8 B  magic         "TIDESHRD"
 *      8  u32  crc           CRC-32C of bytes 12 to 63
 *     12  u16  version
 *     14  u16  readableFrom
 *     16  u32  shard
 *     20  u32  previousCrc   of the first entry: the chain from the segment before
 *     24  u64  firstIndex
 *     32  u64  firstOffset   of the first entry
 *     40  u64  createdMs     wall clock; 0 for unknown. Only ages are told by it: of rolling, retention, compaction
 *     48 16 B  reserved      0
 *     64       entries
 *
 * Cleaned segment, `<first index>-<generation>.cleaned`: what compaction has left of committed entries. The same header, but
 *
 *      0  8 B  magic         "TIDECLND"
 *     20  u32  previousCrc   0: the chain of sums is the file's own
 *     48  u64  generation    the cleaning that made it
 *
 * and entries whose indexes and offsets ascend with holes.
 *
 * Index, `<first index>.index`, beside a segment that was left; rebuilt from the segment when it is lost:
 *
 *      0  8 B  magic         "TIDEINDX"
 *      8  u32  crc           CRC-32C of everything from byte 12 on
 *     12  u16  version
 *     14  u16  readableFrom
 *     16  u32  shard
 *     20  u32  pointCount
 *     24  u64  firstIndex
 *     32  u64  lastIndex
 *     40  u64  nextOffset    after the last entry
 *     48  u64  segmentBytes
 *     56  f64  maxTimestamp  of the segment; −1 for none
 *     64  u32  segmentCrc    CRC-32C of the whole segment file
 *     68  u32  lastCrc       of the last entry
 *     72       points: u64 index, u64 firstOffset, u64 position, f64 maxTimestampBefore
 *
 * The bytes with a worked example: docs/formats/shard-log.md.
 */
import { crc32c } from '../stdx/index.ts'
import { readU64, writeU64 } from './entry.ts'
import { POINT_BYTES, SparseIndex } from './sparse-index.ts'
import { readable, writeVersions } from './versions.ts'

export const SHARD_SEGMENT_HEADER_BYTES = 64
const INDEX_HEADER_BYTES = 72
const SEGMENT_MAGIC = Buffer.from('TIDESHRD', 'latin1')
const CLEANED_MAGIC = Buffer.from('TIDECLND', 'latin1')
const INDEX_MAGIC = Buffer.from('TIDEINDX', 'latin1')

export interface ShardSegmentHeader {
  readonly shard: number
  readonly previousCrc: number
  readonly firstIndex: number
  readonly firstOffset: number
  /** Wall clock, milliseconds; 0 when nobody knows. */
  readonly createdMs: number
  /** Of a cleaned segment: the cleaning that made it; absent for entries as they were committed. */
  readonly generation?: number
}

export function encodeShardSegmentHeader(header: ShardSegmentHeader): Buffer {
  const bytes = Buffer.alloc(SHARD_SEGMENT_HEADER_BYTES)
  const magic = header.generation === undefined ? SEGMENT_MAGIC : CLEANED_MAGIC
  magic.copy(bytes, 0)
  writeVersions(bytes, 12)
  bytes.writeUInt32LE(header.shard, 16)
  bytes.writeUInt32LE(header.previousCrc, 20)
  writeU64(bytes, header.firstIndex, 24)
  writeU64(bytes, header.firstOffset, 32)
  writeU64(bytes, header.createdMs, 40)
  if (header.generation !== undefined) writeU64(bytes, header.generation, 48)
  bytes.writeUInt32LE(crc32c(bytes.subarray(12)), 8)
  return bytes
}

export type FileDefect = 'short' | 'magic' | 'newer' | 'crc' | 'range'

export function decodeShardSegmentHeader(bytes: Buffer): ShardSegmentHeader | FileDefect {
  if (bytes.length < SHARD_SEGMENT_HEADER_BYTES) return 'short'
  const magic = bytes.subarray(0, 8)
  const cleaned = magic.equals(CLEANED_MAGIC)
  if (!cleaned && !magic.equals(SEGMENT_MAGIC)) return 'magic'
  if (crc32c(bytes.subarray(12, SHARD_SEGMENT_HEADER_BYTES)) !== bytes.readUInt32LE(8)) return 'crc'
  if (!readable(bytes, 12)) return 'newer'
  const firstIndex = readU64(bytes, 24)
  const firstOffset = readU64(bytes, 32)
  const createdMs = readU64(bytes, 40)
  if (firstIndex < 1 || firstOffset < 0 || createdMs < 0) return 'range'
  const [shard, previousCrc] = [bytes.readUInt32LE(16), bytes.readUInt32LE(20)]
  const header = { shard, previousCrc, firstIndex, firstOffset, createdMs }
  if (!cleaned) return header
  const generation = readU64(bytes, 48)
  return generation < 1 ? 'range' : { ...header, generation }
}

/** What is known of a segment that was left. */
export interface SegmentSummary {
  readonly shard: number
  readonly firstIndex: number
  readonly lastIndex: number
  readonly nextOffset: number
  readonly segmentBytes: number
  readonly maxTimestamp: number
  readonly segmentCrc: number
  readonly lastCrc: number
}

export function encodeSegmentIndex(summary: SegmentSummary, index: SparseIndex): Buffer {
  const bytes = Buffer.alloc(INDEX_HEADER_BYTES + index.count * POINT_BYTES)
  INDEX_MAGIC.copy(bytes, 0)
  writeVersions(bytes, 12)
  bytes.writeUInt32LE(summary.shard, 16)
  bytes.writeUInt32LE(index.count, 20)
  writeU64(bytes, summary.firstIndex, 24)
  writeU64(bytes, summary.lastIndex, 32)
  writeU64(bytes, summary.nextOffset, 40)
  writeU64(bytes, summary.segmentBytes, 48)
  bytes.writeDoubleLE(summary.maxTimestamp, 56)
  bytes.writeUInt32LE(summary.segmentCrc, 64)
  bytes.writeUInt32LE(summary.lastCrc, 68)
  const { points } = index
  for (let i = 0, at = INDEX_HEADER_BYTES; i < points.length; i += 4, at += POINT_BYTES) {
    for (let column = 0; column < 3; column++) writeU64(bytes, points[i + column]!, at + column * 8)
    bytes.writeDoubleLE(points[i + 3]!, at + 24)
  }
  bytes.writeUInt32LE(crc32c(bytes.subarray(12)), 8)
  return bytes
}

export function decodeSegmentIndex(bytes: Buffer): { summary: SegmentSummary; index: SparseIndex } | FileDefect {
  if (bytes.length < INDEX_HEADER_BYTES) return 'short'
  if (!bytes.subarray(0, 8).equals(INDEX_MAGIC)) return 'magic'
  if (crc32c(bytes.subarray(12)) !== bytes.readUInt32LE(8)) return 'crc'
  if (!readable(bytes, 12)) return 'newer'
  const count = bytes.readUInt32LE(20)
  if (bytes.length !== INDEX_HEADER_BYTES + count * POINT_BYTES) return 'range'
  const summary: SegmentSummary = {
    shard: bytes.readUInt32LE(16),
    firstIndex: readU64(bytes, 24),
    lastIndex: readU64(bytes, 32),
    nextOffset: readU64(bytes, 40),
    segmentBytes: readU64(bytes, 48),
    maxTimestamp: bytes.readDoubleLE(56),
    segmentCrc: bytes.readUInt32LE(64),
    lastCrc: bytes.readUInt32LE(68),
  }
  if (summary.firstIndex < 1 || summary.lastIndex < summary.firstIndex || summary.segmentBytes < 0) return 'range'
  const points: number[] = []
  for (let at = INDEX_HEADER_BYTES; at < bytes.length; at += POINT_BYTES) {
    const [index, offset, position] = [readU64(bytes, at), readU64(bytes, at + 8), readU64(bytes, at + 16)]
    if (index < 0 || offset < 0 || position < 0) return 'range'
    points.push(index, offset, position, bytes.readDoubleLE(at + 24))
  }
  return { summary, index: new SparseIndex(points) }
}
