/**
 * The records inside a batch.
 *
 *     length varint · attributes i8 · timestamp delta varlong · offset delta varint
 *     key length varint (−1: null) · key · value length varint (−1: null) · value
 *     header count varint · ( key length varint · key · value length varint (−1: null) · value )*
 *
 * A walk hands out one view that moves from record to record: it and its slices are valid during the call, so a reader that
 * wants to keep a key copies it, and one that counts or searches allocates nothing.
 */

import { codecFrom, DECOMPRESSED_BYTES_MAX, decompress } from './codecs.ts'
import { RecordsError } from './errors.ts'
import {
  BATCH_HEADER_BYTES,
  baseOffsetOf,
  baseTimestampOf,
  batchBytesOf,
  codecOf,
  isAppendTime,
  maxTimestampOf,
  recordCountOf,
} from './record-batch.ts'
import { VarintCursor } from './varint.ts'

export interface RecordHeader {
  readonly key: string
  readonly value: Buffer | null
}

export class RecordView {
  offset = 0
  timestamp = 0
  key: Buffer | null = null
  value: Buffer | null = null
  headerCount = 0
  #bytes: Buffer
  #start = 0
  #headersAt = 0
  #end = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Parsed at each call; most readers never ask. */
  headers(): RecordHeader[] {
    const cursor = new VarintCursor(this.#bytes, this.#headersAt, this.#end)
    const headers: RecordHeader[] = []
    for (let i = 0; i < this.headerCount; i++) {
      const key = readBytes(cursor)
      const value = readBytes(cursor)
      if (key === undefined || key === null || value === undefined) throw invalid(i, 'a header that does not parse')
      headers.push({ key: key.toString(), value })
    }
    return headers
  }

  /** The record's own bytes, its length included: all in it is relative to its batch's header. */
  raw(): Buffer {
    return this.#bytes.subarray(this.#start, this.#end)
  }

  /** Moves to the record at the cursor; false when there is none that parses. */
  read(cursor: VarintCursor, baseOffset: number, baseTimestamp: number): boolean {
    const start = cursor.at
    const length = cursor.readVarint()
    const end = cursor.at + length
    if (!(length >= 6 && end <= cursor.end)) return false
    cursor.at++ // The record's attributes: no bit of them has a meaning.
    const timestampDelta = cursor.readVarlong()
    const offsetDelta = cursor.readVarint()
    if (Number.isNaN(timestampDelta) || !(offsetDelta >= 0)) return false
    const key = readBytes(cursor)
    const value = readBytes(cursor)
    if (key === undefined || value === undefined) return false
    const headerCount = cursor.readVarint()
    if (!(headerCount >= 0) || cursor.at > end) return false
    this.offset = baseOffset + offsetDelta
    this.timestamp = baseTimestamp + timestampDelta
    this.key = key
    this.value = value
    this.headerCount = headerCount
    this.#start = start
    this.#headersAt = cursor.at
    this.#end = end
    cursor.at = end
    return true
  }
}

/** Null for a null, undefined for bytes that do not parse. */
function readBytes(cursor: VarintCursor): Buffer | null | undefined {
  const length = cursor.readVarint()
  if (length === -1) return null
  if (!(length >= 0 && cursor.at + length <= cursor.end)) return undefined
  const from = cursor.at
  cursor.at = from + length
  return cursor.bytes.subarray(from, cursor.at)
}

/**
 * Calls `visit` with each record of the batch at `at`, until it returns false. Unpacks first where the batch is compressed.
 * Throws a `RecordsError` when the records do not unpack or parse; those before the damage have been visited then.
 */
export function forEachRecord(
  batch: Buffer,
  at: number,
  // biome-ignore lint/suspicious/noConfusingVoidType: a visitor that never stops should not have to say so.
  visit: (record: RecordView) => boolean | void,
  limitBytes = DECOMPRESSED_BYTES_MAX,
): void {
  const end = at + batchBytesOf(batch, at)
  const codec = codecFrom(codecOf(batch, at))
  const baseOffset = baseOffsetOf(batch, at)
  const appendTime = isAppendTime(batch, at) ? maxTimestampOf(batch, at) : null
  const baseTimestamp = baseTimestampOf(batch, at)
  const count = recordCountOf(batch, at)
  const packed = codec !== 0
  const bytes = packed ? decompress(codec, batch.subarray(at + BATCH_HEADER_BYTES, end), limitBytes) : batch
  const cursor = packed
    ? new VarintCursor(bytes, 0, bytes.length)
    : new VarintCursor(bytes, at + BATCH_HEADER_BYTES, end)
  const view = new RecordView(bytes)
  for (let i = 0; i < count; i++) {
    if (!view.read(cursor, baseOffset, baseTimestamp)) throw invalid(i, `record ${i} of ${count} that does not parse`)
    if (appendTime !== null) view.timestamp = appendTime
    if (visit(view) === false) return
  }
  if (cursor.at !== cursor.end) throw invalid(count, `bytes behind the last of ${count} records`)
}

function invalid(recordIndex: number, what: string): RecordsError {
  return new RecordsError({ code: 'RECORD_INVALID', recordIndex }, `the batch has ${what}`)
}
