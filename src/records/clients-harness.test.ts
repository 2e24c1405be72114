/**
 * Other people's encoders and decoders of record batches, for the tests: the ones inside kafkajs and @platformatic/kafka.
 * What they write is our golden input; what we write they must read.
 */
import { createRequire } from 'node:module'
import { createRecordsBatch, Reader, readRecordsBatch } from 'plt-kafka-2.12'
import type { Codec } from './codecs.ts'

const require = createRequire(import.meta.url)

export interface PlainRecord {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly timestamp: number
  readonly headers: readonly { readonly key: string; readonly value: Buffer }[]
}

export interface PlainProducer {
  readonly id: number
  readonly epoch: number
  readonly sequence: number
}

export const CODEC_NAMES = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

/** kafkajs brings gzip alone. */
export async function kafkajsEncode(
  records: readonly PlainRecord[],
  codec: 0 | 1,
  producer: PlainProducer | null,
): Promise<Buffer> {
  const { RecordBatch } = require('kafkajs/src/protocol/recordBatch/v0/index.js')
  const Record = require('kafkajs/src/protocol/recordBatch/record/v0/index.js')
  const firstTimestamp = records[0]!.timestamp
  const encoder = await RecordBatch({
    compression: codec,
    firstTimestamp,
    maxTimestamp: Math.max(...records.map((record) => record.timestamp)),
    lastOffsetDelta: records.length - 1,
    ...(producer ? { producerId: producer.id, producerEpoch: producer.epoch, firstSequence: producer.sequence } : {}),
    records: records.map((record, offsetDelta) =>
      Record({
        offsetDelta,
        timestampDelta: record.timestamp - firstTimestamp,
        key: record.key,
        value: record.value,
        headers: groupHeaders(record),
      }),
    ),
  })
  return Buffer.from(encoder.buffer)
}

function groupHeaders(record: PlainRecord): Record<string, Buffer[]> {
  const headers: Record<string, Buffer[]> = {}
  for (const { key, value } of record.headers) headers[key] = [...(headers[key] ?? []), value]
  return headers
}

export async function kafkajsDecode(batch: Buffer): Promise<{ firstOffset: string; records: PlainRecord[] }> {
  const Decoder = require('kafkajs/src/protocol/decoder.js')
  const decode = require('kafkajs/src/protocol/recordBatch/v0/decoder.js')
  const decoded = await decode(new Decoder(batch))
  return {
    firstOffset: decoded.firstOffset,
    records: decoded.records.map(
      (record: { key: Buffer; value: Buffer; timestamp: string; headers: Record<string, Buffer | Buffer[]> }) => ({
        key: record.key,
        value: record.value,
        timestamp: Number(record.timestamp),
        headers: Object.entries(record.headers).flatMap(([key, value]) =>
          [value].flat().map((one) => ({ key, value: one })),
        ),
      }),
    ),
  }
}

export function platformaticEncode(
  records: readonly PlainRecord[],
  codec: Codec,
  producer: PlainProducer | null,
): Buffer {
  const messages = records.map((record) => ({
    topic: 't',
    partition: 0,
    key: record.key,
    value: record.value,
    timestamp: BigInt(record.timestamp),
    headers: new Map(record.headers.map(({ key, value }) => [Buffer.from(key), value])),
  }))
  const options: Record<string, unknown> = { compression: CODEC_NAMES[codec] }
  if (producer) {
    options.producerId = BigInt(producer.id)
    options.producerEpoch = producer.epoch
    options.sequences = { getWithDefault: () => producer.sequence }
  }
  const writer = createRecordsBatch(messages as never, options as never) as unknown as { buffer: Buffer }
  return Buffer.from(writer.buffer)
}

export function platformaticDecode(batch: Buffer): { firstOffset: number; records: PlainRecord[] } {
  const decoded = readRecordsBatch(Reader.from(batch) as never) as unknown as {
    firstOffset: bigint
    firstTimestamp: bigint
    records: { timestampDelta: bigint; key: Buffer | null; value: Buffer | null; headers: [Buffer, Buffer][] }[]
  }
  return {
    firstOffset: Number(decoded.firstOffset),
    records: decoded.records.map((record) => ({
      key: record.key,
      value: record.value,
      timestamp: Number(decoded.firstTimestamp + record.timestampDelta),
      headers: record.headers.map(([key, value]) => ({ key: key.toString(), value })),
    })),
  }
}
