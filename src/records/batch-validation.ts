/**
 * What a batch must fulfil before a leader may number it, in the order in which Kafka asks (`ProduceRequest.validateRecords`,
 * `UnifiedLog.analyzeAndValidateRecords`, `LogValidator.validateBatch`), so that a client with two defects hears of the same
 * one.
 *
 * Two depths. The header's checks and the CRC cover every batch. The records themselves are walked only where that is cheap:
 * an uncompressed batch costs some 20 ns per record, and the walk proves that the count is true (a lie would leave holes in
 * the offsets) and finds the true maximum timestamp (kafkajs sorts timestamps as strings, and platformatic may send a first
 * one that is not the smallest). A compressed batch is taken at its word: unpacking every batch on the event loop would cost
 * more than everything else together. What a lie there can spoil is bounded: a count that no codec gets into so few bytes is refused,
 * readers of the records detect a wrong one when they unpack, and a wrong maximum timestamp misleads only a lookup by time.
 */
import { CODEC_MAX } from './codecs.ts'
import {
  attributesOf,
  BATCH_HEADER_BYTES,
  BATCH_MAGIC,
  BATCH_OVERHEAD_BYTES,
  BatchAttributes,
  baseOffsetOf,
  baseSequenceOf,
  baseTimestampOf,
  batchBytesOf,
  crcOf,
  lastOffsetDeltaOf,
  magicOf,
  maxTimestampOf,
  producerEpochOf,
  producerIdOf,
  recordCountOf,
  sumOf,
} from './record-batch.ts'
import { VarintCursor } from './varint.ts'

export type BatchDefect =
  /** The bytes end before the batch does: there is no batch in them. */
  | 'short'
  /** A length that no batch can have. */
  | 'length'
  /** An older format of Kafka's. */
  | 'magic'
  /** No format of Kafka's. */
  | 'magic-unknown'
  /** A producer numbers from 0; anything else was not meant to be sent. */
  | 'base-offset'
  | 'too-large'
  | 'crc'
  | 'count'
  | 'last-offset-delta'
  /** Only the broker writes control batches. */
  | 'control'
  /** Only the broker may claim append time. */
  | 'append-time'
  | 'codec'
  /** zstd from a client that speaks a protocol version older than zstd. */
  | 'codec-too-new'
  | 'producer-id'
  | 'producer-epoch'
  | 'sequence'
  | 'timestamp'
  /** The records of an uncompressed batch are not what the header says. */
  | 'records'

export interface BatchLimits {
  /** Of one whole batch (`max.message.bytes`). */
  readonly maxBytes: number
  /** False for produce requests below version 7. */
  readonly zstdAllowed: boolean
  /** A log had it before: it has an offset, and may have the time at which it was appended, and less than it began with. */
  readonly stored?: boolean
}

/** For batches that were in a log: what was accepted under earlier limits is accepted again. */
export const STORED_BATCH: BatchLimits = Object.freeze({
  maxBytes: Number.POSITIVE_INFINITY,
  zstdAllowed: true,
  stored: true,
})

/** Behind length and offset, the least that any format of Kafka's has (a message of magic 0 without key and value). */
const LEAST_BYTES = BATCH_OVERHEAD_BYTES + 14

/** A record has 7 bytes at the least, and deflate makes no more than 1,032 bytes out of one. Offsets differ, so no codec gets near it. */
const RECORDS_PER_BYTE_MAX = 147

/** What is wrong with the batch at `at`, or null. The header accessors are safe to use after 'too-large' and later ones. */
export function validateBatch(buffer: Buffer, at: number, limits: BatchLimits): BatchDefect | null {
  if (buffer.length - at < BATCH_OVERHEAD_BYTES) return 'short'
  const bytes = batchBytesOf(buffer, at)
  if (bytes < LEAST_BYTES) return 'length'
  // The magic byte stands at the same place in all versions of the format: an old client hears what is wrong.
  if (buffer.length - at > 16) {
    const magic = magicOf(buffer, at)
    if (magic < 0 || magic > BATCH_MAGIC) return 'magic-unknown'
    if (magic < BATCH_MAGIC) return 'magic'
  }
  if (bytes < BATCH_HEADER_BYTES) return 'length'
  if (buffer.length - at < bytes) return 'short'
  const baseOffset = baseOffsetOf(buffer, at)
  if (limits.stored === true ? !(baseOffset >= 0 && Number.isSafeInteger(baseOffset)) : baseOffset !== 0)
    return 'base-offset'
  if (bytes > limits.maxBytes) return 'too-large'
  if (sumOf(buffer, at) !== crcOf(buffer, at)) return 'crc'
  const count = recordCountOf(buffer, at)
  const lastOffsetDelta = lastOffsetDeltaOf(buffer, at)
  if (limits.stored === true) {
    // Compaction leaves holes, and batches without a record.
    if (count < 0) return 'count'
    if (lastOffsetDelta < Math.max(count - 1, 0)) return 'last-offset-delta'
  } else {
    if (count <= 0) return 'count'
    if (lastOffsetDelta !== count - 1) return 'last-offset-delta'
  }
  const attributes = attributesOf(buffer, at)
  if ((attributes & BatchAttributes.control) !== 0) return 'control'
  if ((attributes & BatchAttributes.appendTime) !== 0 && limits.stored !== true) return 'append-time'
  const codec = attributes & BatchAttributes.codecMask
  if (codec > CODEC_MAX) return 'codec'
  if (codec === CODEC_MAX && !limits.zstdAllowed) return 'codec-too-new'
  if (codec !== 0 && limits.stored !== true && count > bytes * RECORDS_PER_BYTE_MAX) return 'count'
  const producerId = producerIdOf(buffer, at)
  if (producerId !== -1) {
    if (producerId < 0 || !Number.isSafeInteger(producerId)) return 'producer-id'
    if (producerEpochOf(buffer, at) < 0) return 'producer-epoch'
    if (baseSequenceOf(buffer, at) < 0) return 'sequence'
  }
  if (!Number.isSafeInteger(baseTimestampOf(buffer, at))) return 'timestamp'
  if (!Number.isSafeInteger(maxTimestampOf(buffer, at))) return 'timestamp'
  return null
}

/**
 * The true maximum timestamp of an *uncompressed* batch whose header is valid; NaN when its records are not exactly `count`
 * well-formed ones with offset deltas 0, 1, 2 …
 */
export function maxTimestampOfRecords(buffer: Buffer, at: number): number {
  const end = at + batchBytesOf(buffer, at)
  const count = recordCountOf(buffer, at)
  const cursor = new VarintCursor(buffer, at + BATCH_HEADER_BYTES, end)
  let maxDelta = Number.NEGATIVE_INFINITY
  for (let i = 0; i < count; i++) {
    const length = cursor.readVarint()
    const recordEnd = cursor.at + length
    if (!(length >= 6 && recordEnd <= end)) return Number.NaN // Five one-byte varints and the attributes at the least.
    cursor.at++
    const timestampDelta = cursor.readVarlong()
    if (Number.isNaN(timestampDelta)) return Number.NaN
    if (timestampDelta > maxDelta) maxDelta = timestampDelta
    if (cursor.readVarint() !== i) return Number.NaN
    if (cursor.at > recordEnd) return Number.NaN
    cursor.at = recordEnd
  }
  const maxTimestamp = baseTimestampOf(buffer, at) + maxDelta
  return cursor.at === end && Number.isSafeInteger(maxTimestamp) ? maxTimestamp : Number.NaN
}
