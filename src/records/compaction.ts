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
  baseOffsetOf,
  batchBytesOf,
  codecOf,
  isAppendTime,
  recordCountOf,
  setBaseOffset,
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
  const own = codecFrom(codecOf(batch, 0))
  // Where this runtime cannot pack it as its producer did: every reader knows gzip, and unpacked 1 MiB may be 128.
  const codec = canCompress(own) ? own : Codec.gzip
  const filtered = withRecords(batch, compress(codec, Buffer.concat(kept)), kept.length)
  setCodec(filtered, codec)
  if (!isAppendTime(batch, 0)) writeI64(filtered, maxTimestamp, 35)
  return summed(filtered)
}

/** The batch's header without a record. */
export function emptiedBatch(batch: Buffer): Buffer {
  const emptied = withRecords(batch, Buffer.alloc(0), 0)
  setCodec(emptied, Codec.none)
  return summed(emptied)
}

/**
 * Stands for the offsets from `baseOffset` up to before `batch`, of which compaction has left nothing, where offsets have to be
 * dense: batches with neither records nor a producer. (One reaches no further than its last offset's delta, an i32.)
 */
export function hollowBatches(baseOffset: number, batch: Buffer): Buffer[] {
  const hollows: Buffer[] = []
  for (let base = baseOffset; base < baseOffsetOf(batch, 0); ) {
    const count = Math.min(baseOffsetOf(batch, 0) - base, 0x7fff_ffff)
    const hollow = emptiedBatch(batch)
    setBaseOffset(hollow, 0, base)
    hollow.writeInt32BE(count - 1, 23)
    hollow.fill(0xff, 43, 57) // No producer: id, epoch and sequence are −1.
    hollows.push(summed(hollow))
    base += count
  }
  return hollows
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
