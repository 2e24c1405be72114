/**
 * The highest record timestamp of an entry, read from the headers of the record batches (v2) in its payload: the only thing
 * that this layer looks at there, because "which segment may hold the record of ten o'clock" is asked of the files.
 *
 *     0 baseOffset i64 · 8 batchLength i32 · … · 35 maxTimestamp i64 · …      big-endian, batches back to back
 */
import { type Entry, EntryKind, payloadOf } from './entry.ts'

const BATCH_HEADER_BYTES = 61
const BATCH_LENGTH_AT = 8
/** `batchLength` counts from here. */
const BATCH_LENGTH_FROM = 12
const MAX_TIMESTAMP_AT = 35

/** −1 when the entry has no records, or none that carry a timestamp. */
export function maxTimestampOf(entry: Entry): number {
  if (entry.kind !== EntryKind.data) return -1
  const payload = payloadOf(entry)
  let max = -1
  let at = 0
  while (payload.length - at >= BATCH_HEADER_BYTES) {
    const timestamp =
      payload.readInt32BE(at + MAX_TIMESTAMP_AT) * 0x1_0000_0000 + payload.readUInt32BE(at + MAX_TIMESTAMP_AT + 4)
    if (timestamp > max) max = timestamp
    const length = payload.readInt32BE(at + BATCH_LENGTH_AT)
    if (length < BATCH_HEADER_BYTES - BATCH_LENGTH_FROM) break
    at += BATCH_LENGTH_FROM + length
  }
  return max
}
