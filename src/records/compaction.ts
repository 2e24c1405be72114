/**
 * A batch with fewer records: what compaction leaves of one.
 *
 *     offset     70    71    72    73                        70          72
 *     key        a     b     a     c      b, c are newer     a     ·     a     ·
 *                └── lastOffsetDelta = 3 ──┘   elsewhere     └── lastOffsetDelta = 3 ──┘
 *
 * What is relative to the header (offset and timestamp deltas) stays true as long as the header's bases stay, so a record that
 * stays is copied byte by byte. The batch keeps its base offset, its last offset and its sequence: readers step over the holes, and
 * a producer's numbering reads as if nothing had gone. Only count, sum, length and the largest timestamp are new.
 *
 * A batch without any record is legal, too. It is kept where it is the last one of an idempotent producer, as in Kafka: it still
 * says where that producer's numbering stands.
 */
import { Codec, canCompress, codecFrom, compress } from './codecs.ts'
import {
  BATCH_HEADER_BYTES,
  BATCH_OVERHEAD_BYTES,
  BatchAttributes,
  batchBytesOf,
  codecOf,
  isAppendTime,
  recordCountOf,
  sumOf,
  writeI64,
} from './record-batch.ts'
import { forEachRecord, type RecordView } from './records.ts'

/**
 * The batch with only the records that `keeps` accepts: the same bytes if that is all of them, null if it is none. Throws a
 * `RecordsError` when the records cannot be read.
 */
export function filterBatch(batch: Buffer, keeps: (record: RecordView) => boolean): Buffer | null {
  const kept: Buffer[] = []
  let maxTimestamp = Number.NEGATIVE_INFINITY
  forEachRecord(batch, 0, (record) => {
    if (!keeps(record)) return true
    kept.push(record.raw())
    maxTimestamp = Math.max(maxTimestamp, record.timestamp)
    return true
  })
  if (kept.length === recordCountOf(batch, 0)) return batch
  if (kept.length === 0) return null
  const codec = codecFrom(codecOf(batch, 0))
  // Where this runtime cannot pack it as its producer did, it stays unpacked: every reader knows that.
  const packs = canCompress(codec)
  const records = Buffer.concat(kept)
  const filtered = withRecords(batch, packs ? compress(codec, records) : records, kept.length)
  if (!packs) setCodec(filtered, Codec.none)
  if (!isAppendTime(batch, 0)) writeI64(filtered, maxTimestamp, 35)
  return summed(filtered)
}

/** The batch's header without a record. */
export function emptiedBatch(batch: Buffer): Buffer {
  const emptied = withRecords(batch, Buffer.alloc(0), 0)
  setCodec(emptied, Codec.none)
  return summed(emptied)
}

/** Offset, sequence and times as they were. */
function withRecords(batch: Buffer, records: Buffer, count: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(BATCH_HEADER_BYTES + records.length)
  batch.copy(bytes, 0, 0, BATCH_HEADER_BYTES)
  records.copy(bytes, BATCH_HEADER_BYTES)
  bytes.writeInt32BE(bytes.length - BATCH_OVERHEAD_BYTES, 8)
  bytes.writeInt32BE(count, 57)
  return bytes
}

function setCodec(batch: Buffer, codec: Codec): void {
  batch[22] = (batch[22]! & ~BatchAttributes.codecMask) | codec
}

function summed(batch: Buffer): Buffer {
  batch.writeUInt32BE(sumOf(batch, 0), 17)
  return batch
}

/** Back to back, each a slice of the payload; null for a payload that is anything else. */
export function batchesIn(payload: Buffer): Buffer[] | null {
  const batches: Buffer[] = []
  for (let at = 0; at < payload.length; ) {
    if (payload.length - at < BATCH_HEADER_BYTES) return null
    const bytes = batchBytesOf(payload, at)
    if (bytes < BATCH_HEADER_BYTES || bytes > payload.length - at) return null
    batches.push(payload.subarray(at, at + bytes))
    at += bytes
  }
  return batches
}
