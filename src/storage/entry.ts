/**
 * An entry: one unit of a shard's log, the same bytes from the leader's memory to the journal, the wire, the followers and
 * the shard log. It is built once, by the leader, and never re-encoded.
 *
 *      0  u32  length         of the whole entry, header included
 *      4  u32  crc            CRC-32C of everything from byte 8 to the end
 *      8  u8   version        of this format: 1
 *      9  u8   kind           see EntryKind
 *     10  u16  reserved       0
 *     12  u32  shard
 *     16  u64  term           the leader's generation
 *     24  u64  index          position in the shard's log, from 1, without holes
 *     32  u64  stamp          Lamport time
 *     40  u64  firstOffset    offset of the first record; of the next record to come for entries that have none
 *     48  u32  recordCount
 *     52  u32  previousCrc    crc of the entry with index − 1: a chain, so an entry after the wrong predecessor is detected
 *     56  u32  payloadLength
 *     60  u32  reserved       0
 *     64       payload        whole Kafka record batches v2 for data, else by kind
 *
 * Little-endian. 64-bit fields hold safe integers (below 2^53). An entry found in the wrong file, at the wrong place or after
 * the wrong predecessor does not verify, because the sum covers shard, term, index and the predecessor's sum.
 * The bytes with a worked example: docs/formats/entry.md.
 */
import { assert, crc32c, crc32cCombine } from '../stdx/index.ts'

export const ENTRY_HEADER_BYTES = 64
export const ENTRY_VERSION = 1
/** Nothing we write is longer, so nothing longer is believed. */
export const ENTRY_BYTES_MAX = 128 << 20
/** Offsets that one entry can span. */
export const ENTRY_RECORDS_MAX = 0xffff_ffff

/** Written into logs: never renumber. */
export const EntryKind = {
  /** A new leader's first entry: commits what its predecessors left (Raft §8). No records. */
  leadership: 1,
  /** Who replicates the shard. No records. */
  configuration: 2,
  /** Record batches. */
  data: 3,
  /** The log start moves up. No records. */
  cut: 4,
  /** Not part of a log: term and vote of a shard, in the journal only. Index 0; the payload is the vote as u32. */
  hardState: 16,
} as const
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind]

export interface Entry {
  readonly kind: EntryKind
  readonly shard: number
  readonly term: number
  readonly index: number
  readonly stamp: number
  readonly firstOffset: number
  readonly recordCount: number
  readonly previousCrc: number
  readonly crc: number
  /** The whole entry, header and payload. Immutable from the moment the entry exists. */
  readonly bytes: Buffer
}

export interface EntryDraft {
  readonly kind: EntryKind
  readonly shard: number
  readonly term: number
  readonly index: number
  readonly stamp: number
  readonly firstOffset: number
  readonly recordCount: number
  readonly previousCrc: number
  /** Concatenated into the payload. */
  readonly payload: readonly Uint8Array[]
}

/** Builds the entry; `bytes` is a fresh buffer that shares nothing with the payload handed in. */
export function encodeEntry(draft: EntryDraft): Entry {
  let payloadLength = 0
  for (const part of draft.payload) payloadLength += part.length
  const length = ENTRY_HEADER_BYTES + payloadLength
  assert(length <= ENTRY_BYTES_MAX, () => `entry of ${length} bytes, limit ${ENTRY_BYTES_MAX}`)
  assert(draft.recordCount <= ENTRY_RECORDS_MAX, () => `entry of ${draft.recordCount} records`)
  const bytes = Buffer.allocUnsafeSlow(length)
  bytes.writeUInt32LE(length, 0)
  bytes[8] = ENTRY_VERSION
  bytes[9] = draft.kind
  bytes.writeUInt16LE(0, 10)
  bytes.writeUInt32LE(draft.shard, 12)
  writeU64(bytes, draft.term, 16)
  writeU64(bytes, draft.index, 24)
  writeU64(bytes, draft.stamp, 32)
  writeU64(bytes, draft.firstOffset, 40)
  bytes.writeUInt32LE(draft.recordCount, 48)
  bytes.writeUInt32LE(draft.previousCrc, 52)
  bytes.writeUInt32LE(payloadLength, 56)
  bytes.writeUInt32LE(0, 60)
  let at = ENTRY_HEADER_BYTES
  for (const part of draft.payload) {
    bytes.set(part, at)
    at += part.length
  }
  const crc = crc32c(bytes.subarray(8))
  bytes.writeUInt32LE(crc, 4)
  const { kind, shard, term, index, stamp, firstOffset, recordCount, previousCrc } = draft
  return { kind, shard, term, index, stamp, firstOffset, recordCount, previousCrc, crc, bytes }
}

export type EntryDefect = 'short' | 'length' | 'crc' | 'version' | 'kind' | 'range'

/**
 * Decodes the entry that starts at `at`, or says what is wrong with the bytes there. `short`: the bytes end before the
 * entry does. The entry's `bytes` is a slice of `source`: copy it (`detach`) if the source must not be kept alive.
 */
export function decodeEntry(source: Buffer, at = 0): Entry | EntryDefect {
  if (source.length - at < ENTRY_HEADER_BYTES) return 'short'
  const length = source.readUInt32LE(at)
  if (length < ENTRY_HEADER_BYTES || length > ENTRY_BYTES_MAX) return 'length'
  if (source.length - at < length) return 'short'
  const bytes = source.subarray(at, at + length)
  const crc = bytes.readUInt32LE(4)
  if (crc32c(bytes.subarray(8)) !== crc) return 'crc'
  if (bytes[8] !== ENTRY_VERSION) return 'version'
  const kind = bytes[9] as EntryKind
  if (!((kind >= 1 && kind <= 4) || kind === EntryKind.hardState)) return 'kind'
  if (bytes.readUInt32LE(56) !== length - ENTRY_HEADER_BYTES) return 'length'
  const term = readU64(bytes, 16)
  const index = readU64(bytes, 24)
  const stamp = readU64(bytes, 32)
  const firstOffset = readU64(bytes, 40)
  if (term < 0 || index < 0 || stamp < 0 || firstOffset < 0) return 'range'
  return {
    kind,
    shard: bytes.readUInt32LE(12),
    term,
    index,
    stamp,
    firstOffset,
    recordCount: bytes.readUInt32LE(48),
    previousCrc: bytes.readUInt32LE(52),
    crc,
    bytes,
  }
}

/** The same entry with bytes of its own, which keep no larger buffer alive. */
export function detachEntry(entry: Entry): Entry {
  const bytes = Buffer.allocUnsafeSlow(entry.bytes.length)
  bytes.set(entry.bytes)
  return { ...entry, bytes }
}

/** The sum of what `crc` is the sum of and the entry behind it, from the sum that the entry carries: its payload is not read. */
export function crcThrough(crc: number, entry: Entry): number {
  const { bytes } = entry
  return crc32cCombine(crc32c(bytes.subarray(0, 8), crc), entry.crc, bytes.length - 8)
}

export function payloadOf(entry: Entry): Buffer {
  return entry.bytes.subarray(ENTRY_HEADER_BYTES)
}

/** Where the next entry's records start. */
export function nextOffsetAfter(entry: Entry): number {
  return entry.firstOffset + entry.recordCount
}

export function writeU64(into: Buffer, value: number, at: number): void {
  into.writeUInt32LE(value % 0x1_0000_0000, at)
  into.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4)
}

/** −1 for a value beyond the safe integers, which nothing of ours ever wrote. */
export function readU64(from: Buffer, at: number): number {
  const high = from.readUInt32LE(at + 4)
  return high > 0x1f_ffff ? -1 : high * 0x1_0000_0000 + from.readUInt32LE(at)
}
