/**
 * Builds record batches. The broker is rarely the author of one: what producers send is stored as it came. Ours are the
 * batches of tables (consumer groups, metadata), control batches, and what tests and tools send.
 *
 * Two passes: the first adds up the sizes, the second writes into one buffer of exactly that size.
 */
import { assert } from '../stdx/index.ts'
import { Codec, compress } from './codecs.ts'
import {
  BATCH_HEADER_BYTES,
  BATCH_MAGIC,
  BATCH_OVERHEAD_BYTES,
  BatchAttributes,
  sumOf,
  writeI64,
} from './record-batch.ts'
import { varintBytes, varlongBytes, writeVarint, writeVarlong } from './varint.ts'

export interface RecordInput {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  /** Milliseconds since 1970; the batch's `timestamp` when absent. */
  readonly timestamp?: number
  readonly headers?: readonly { readonly key: string; readonly value: Uint8Array | null }[]
}

export interface BatchOptions {
  /** Of every record that has none of its own. */
  readonly timestamp: number
  readonly baseOffset?: number
  readonly leaderEpoch?: number
  readonly codec?: Codec
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly transactional?: boolean
  readonly control?: boolean
}

/** One batch of at least one record, summed. */
export function encodeBatch(records: readonly RecordInput[], options: BatchOptions): Buffer {
  assert(records.length > 0, 'a record batch holds at least one record')
  const baseTimestamp = records[0]!.timestamp ?? options.timestamp
  let maxTimestamp = baseTimestamp
  let recordsBytes = 0
  for (let i = 0; i < records.length; i++) {
    const timestamp = records[i]!.timestamp ?? options.timestamp
    if (timestamp > maxTimestamp) maxTimestamp = timestamp
    const body = bodyBytes(records[i]!, i, timestamp - baseTimestamp)
    recordsBytes += varintBytes(body) + body
  }
  const codec = options.codec ?? Codec.none
  let batch = Buffer.allocUnsafeSlow(BATCH_HEADER_BYTES + recordsBytes)
  let at = BATCH_HEADER_BYTES
  for (let i = 0; i < records.length; i++) {
    at = writeRecord(batch, at, records[i]!, i, (records[i]!.timestamp ?? options.timestamp) - baseTimestamp)
  }
  assert(at === batch.length, () => `a batch measured as ${batch.length} bytes took ${at}`)
  if (codec !== Codec.none) {
    const packed = compress(codec, batch.subarray(BATCH_HEADER_BYTES))
    batch = Buffer.allocUnsafeSlow(BATCH_HEADER_BYTES + packed.length)
    packed.copy(batch, BATCH_HEADER_BYTES)
  }
  let attributes: number = codec
  if (options.transactional) attributes |= BatchAttributes.transactional
  if (options.control) attributes |= BatchAttributes.control
  writeI64(batch, options.baseOffset ?? 0, 0)
  batch.writeInt32BE(batch.length - BATCH_OVERHEAD_BYTES, 8)
  batch.writeInt32BE(options.leaderEpoch ?? -1, 12)
  batch.writeInt8(BATCH_MAGIC, 16)
  batch.writeInt16BE(attributes, 21)
  batch.writeInt32BE(records.length - 1, 23)
  writeI64(batch, baseTimestamp, 27)
  writeI64(batch, maxTimestamp, 35)
  writeI64(batch, options.producerId ?? -1, 43)
  batch.writeInt16BE(options.producerEpoch ?? -1, 51)
  batch.writeInt32BE(options.baseSequence ?? -1, 53)
  batch.writeInt32BE(records.length, 57)
  batch.writeUInt32BE(sumOf(batch, 0), 17)
  return batch
}

function bodyBytes(record: RecordInput, offsetDelta: number, timestampDelta: number): number {
  const headers = record.headers ?? []
  let total = 1 + varlongBytes(timestampDelta) + varintBytes(offsetDelta)
  total += sizedBytes(record.key) + sizedBytes(record.value) + varintBytes(headers.length)
  for (const header of headers) {
    const keyBytes = Buffer.byteLength(header.key)
    total += varintBytes(keyBytes) + keyBytes + sizedBytes(header.value)
  }
  return total
}

function sizedBytes(bytes: Uint8Array | null): number {
  return bytes === null ? 1 : varintBytes(bytes.length) + bytes.length
}

function writeRecord(
  into: Buffer,
  from: number,
  record: RecordInput,
  offsetDelta: number,
  timestampDelta: number,
): number {
  const headers = record.headers ?? []
  let at = writeVarint(into, bodyBytes(record, offsetDelta, timestampDelta), from)
  into[at++] = 0
  at = writeVarlong(into, timestampDelta, at)
  at = writeVarint(into, offsetDelta, at)
  at = writeSized(into, record.key, at)
  at = writeSized(into, record.value, at)
  at = writeVarint(into, headers.length, at)
  for (const header of headers) {
    at = writeVarint(into, Buffer.byteLength(header.key), at)
    at += into.write(header.key, at)
    at = writeSized(into, header.value, at)
  }
  return at
}

function writeSized(into: Buffer, bytes: Uint8Array | null, from: number): number {
  if (bytes === null) return writeVarint(into, -1, from)
  const at = writeVarint(into, bytes.length, from)
  into.set(bytes, at)
  return at + bytes.length
}
