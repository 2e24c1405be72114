/** The record batches in an entry's payload, as far as they can be read: what a header says, and the records behind it. */
import {
  BATCH_HEADER_BYTES,
  BATCH_MAGIC,
  baseOffsetOf,
  baseSequenceOf,
  baseTimestampOf,
  batchBytesOf,
  type Codec,
  codecName,
  codecOf,
  crcOf,
  forEachRecord,
  magicOf,
  maxTimestampOf,
  producerEpochOf,
  producerIdOf,
  RecordsError,
  type RecordView,
  recordCountOf,
  sumOf,
} from '../../records/index.ts'
import { type Entry, EntryKind, payloadOf } from '../entry.ts'
import { hex32 } from './items.ts'

/** What one batch may unpack to here: a reader that looks at records needs no larger ones. */
const UNPACKED_BYTES_MAX = 32 << 20

export interface BatchSummary {
  readonly baseOffset: number
  readonly records: number
  readonly bytes: number
  readonly codec: string
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  /** Null for a batch whose sum is right. */
  readonly defect: string | null
  readonly batch: Buffer
}

/** Ends at the first bytes that are no batch; the entry's own sum vouches for them, so they were written so. */
export function* batchesOf(entry: Entry): Generator<BatchSummary> {
  if (entry.kind !== EntryKind.data) return
  const payload = payloadOf(entry)
  for (let at = 0; payload.length - at >= BATCH_HEADER_BYTES; ) {
    const bytes = batchBytesOf(payload, at)
    if (bytes < BATCH_HEADER_BYTES || bytes > payload.length - at || magicOf(payload, at) !== BATCH_MAGIC) return
    const sum = sumOf(payload, at)
    const bits = codecOf(payload, at)
    yield {
      baseOffset: baseOffsetOf(payload, at),
      records: recordCountOf(payload, at),
      bytes,
      codec: codecName(bits as Codec),
      baseTimestamp: baseTimestampOf(payload, at),
      maxTimestamp: maxTimestampOf(payload, at),
      producerId: producerIdOf(payload, at),
      producerEpoch: producerEpochOf(payload, at),
      baseSequence: baseSequenceOf(payload, at),
      defect: sum === crcOf(payload, at) ? null : `sum ${hex32(crcOf(payload, at))} over bytes of ${hex32(sum)}`,
      batch: payload.subarray(at, at + bytes),
    }
    at += bytes
  }
}

/** Null when all were read, else why not. The view is valid during the call. */
export function recordsOf({ batch }: BatchSummary, visit: (record: RecordView) => boolean): string | null {
  try {
    forEachRecord(batch, 0, visit, UNPACKED_BYTES_MAX)
    return null
  } catch (error) {
    if (!(error instanceof RecordsError)) throw error
    return error.message
  }
}
