/**
 * The header of a record batch v2, the unit in which Kafka's clients send, store and fetch records.
 *
 *      0  i64  baseOffset            set by the leader, in place
 *      8  i32  length                of everything after this field
 *     12  i32  partitionLeaderEpoch  set by the leader, in place
 *     16  i8   magic                 2
 *     17  u32  crc                   CRC-32C of everything from byte 21 to the end
 *     21  i16  attributes            bits 0–2 codec, 3 append time, 4 transactional, 5 control, 6 delete horizon
 *     23  i32  lastOffsetDelta       count − 1 in whatever a producer sends; compaction may leave fewer records
 *     27  i64  baseTimestamp         the records' timestamps are deltas to it (which may be negative)
 *     35  i64  maxTimestamp
 *     43  i64  producerId            −1: not idempotent, and then nothing may be read out of the next two
 *     51  i16  producerEpoch
 *     53  i32  baseSequence
 *     57  i32  count
 *     61       records               one after the other, compressed as a whole when there is a codec
 *
 * Big-endian. The two fields that a leader decides stand in front of the summed range: a batch is accepted, numbered, stored,
 * replicated and served without being copied, parsed or summed again. That is the property the whole produce path leans on,
 * and the reason why the header is read by plain functions over (buffer, at) instead of being turned into an object.
 *
 * The functions trust their caller that a whole header lies at `at`; `validateBatch` is what establishes that. 64-bit fields
 * come as numbers: exact for every value that `validateBatch` lets pass.
 */
import { crc32c } from '../stdx/index.ts'

/** Bytes before the first record. */
export const BATCH_HEADER_BYTES = 61
/** baseOffset and length: what `length` does not count. */
export const BATCH_OVERHEAD_BYTES = 12
export const BATCH_MAGIC = 2
/** Where the range under the CRC starts. */
export const BATCH_SUMMED_AT = 21

export const BatchAttributes = {
  codecMask: 0x07,
  appendTime: 0x08,
  transactional: 0x10,
  control: 0x20,
  deleteHorizon: 0x40,
} as const

export function readI64(from: Buffer, at: number): number {
  return from.readInt32BE(at) * 0x1_0000_0000 + from.readUInt32BE(at + 4)
}

export function writeI64(into: Buffer, value: number, at: number): void {
  const high = Math.floor(value / 0x1_0000_0000)
  into.writeInt32BE(high, at)
  into.writeUInt32BE(value - high * 0x1_0000_0000, at + 4)
}

export function baseOffsetOf(batch: Buffer, at: number): number {
  return readI64(batch, at)
}

/** The whole batch, from its base offset to its last record. */
export function batchBytesOf(batch: Buffer, at: number): number {
  return BATCH_OVERHEAD_BYTES + batch.readInt32BE(at + 8)
}

export function leaderEpochOf(batch: Buffer, at: number): number {
  return batch.readInt32BE(at + 12)
}

export function magicOf(batch: Buffer, at: number): number {
  return batch.readInt8(at + 16)
}

export function crcOf(batch: Buffer, at: number): number {
  return batch.readUInt32BE(at + 17)
}

export function attributesOf(batch: Buffer, at: number): number {
  return batch.readInt16BE(at + 21)
}

export function codecOf(batch: Buffer, at: number): number {
  return batch[at + 22]! & BatchAttributes.codecMask
}

export function isTransactional(batch: Buffer, at: number): boolean {
  return (batch[at + 22]! & BatchAttributes.transactional) !== 0
}

export function isControl(batch: Buffer, at: number): boolean {
  return (batch[at + 22]! & BatchAttributes.control) !== 0
}

export function isAppendTime(batch: Buffer, at: number): boolean {
  return (batch[at + 22]! & BatchAttributes.appendTime) !== 0
}

export function lastOffsetDeltaOf(batch: Buffer, at: number): number {
  return batch.readInt32BE(at + 23)
}

export function lastOffsetOf(batch: Buffer, at: number): number {
  return baseOffsetOf(batch, at) + lastOffsetDeltaOf(batch, at)
}

export function baseTimestampOf(batch: Buffer, at: number): number {
  return readI64(batch, at + 27)
}

export function maxTimestampOf(batch: Buffer, at: number): number {
  return readI64(batch, at + 35)
}

export function producerIdOf(batch: Buffer, at: number): number {
  return readI64(batch, at + 43)
}

export function producerEpochOf(batch: Buffer, at: number): number {
  return batch.readInt16BE(at + 51)
}

export function baseSequenceOf(batch: Buffer, at: number): number {
  return batch.readInt32BE(at + 53)
}

export function recordCountOf(batch: Buffer, at: number): number {
  return batch.readInt32BE(at + 57)
}

export function setBaseOffset(batch: Buffer, at: number, offset: number): void {
  writeI64(batch, offset, at)
}

export function setLeaderEpoch(batch: Buffer, at: number, epoch: number): void {
  batch.writeInt32BE(epoch, at + 12)
}

/** Computes the sum that the batch should carry. */
export function sumOf(batch: Buffer, at: number): number {
  return crc32c(batch.subarray(at + BATCH_SUMMED_AT, at + batchBytesOf(batch, at)))
}

/** Corrects a maximum timestamp that lies, and sums anew. */
export function setMaxTimestamp(batch: Buffer, at: number, timestamp: number): void {
  writeI64(batch, timestamp, at + 35)
  batch.writeUInt32BE(sumOf(batch, at), at + 17)
}

/** Makes all records carry the time at which the leader took them (`message.timestamp.type=LogAppendTime`), and sums anew. */
export function stampAppendTime(batch: Buffer, at: number, timestamp: number): void {
  batch[at + 22] = batch[at + 22]! | BatchAttributes.appendTime
  setMaxTimestamp(batch, at, timestamp)
}

/**
 * The whole batches in `bytes`, as slices. A batch that is cut off at the end is left out, as Kafka's consumers do with the
 * tail of a fetch. Returns null where the bytes cannot be a sequence of batches.
 */
export function splitBatches(bytes: Buffer): Buffer[] | null {
  const batches: Buffer[] = []
  let at = 0
  while (bytes.length - at >= BATCH_OVERHEAD_BYTES) {
    const length = batchBytesOf(bytes, at)
    if (length < BATCH_HEADER_BYTES) return null
    if (bytes.length - at < length) break
    if (magicOf(bytes, at) !== BATCH_MAGIC) return null
    batches.push(bytes.subarray(at, at + length))
    at += length
  }
  return batches
}
