/**
 * What the codec costs: run it (`node dist/src/gateways/kafka/codec.bench.js`), read a table.
 *
 * The bar is the hot pair: 50,000 one-record Produce requests a second leave at most 3 µs for decoding one and encoding its
 * answer. The twin's column is what an interpreter of the same table takes, which is why the codec compiles.
 */
import { apis } from './api-table.ts'
import { decodeByTable, encodeByTable } from './codec.fuzz.ts'
import type { Codec } from './codec.ts'
import type { DraftOf, MessageDefinition } from './message-definition.ts'
import { Reader, Writer } from './primitives.ts'
import { readRequestHeader, writeRequest, writeResponse } from './request-header.ts'

/** Nanoseconds per call, the best of five trials of 40 ms. */
function time(run: (i: number) => void): number {
  let best = Number.POSITIVE_INFINITY
  for (let trial = 0; trial < 5; trial++) {
    const start = process.hrtime.bigint()
    let elapsed = 0
    let rounds = 0
    while (elapsed < 40e6) {
      for (let i = 0; i < 64; i++) run(i)
      rounds += 64
      elapsed = Number(process.hrtime.bigint() - start)
    }
    best = Math.min(best, elapsed / rounds)
  }
  return best
}

const records = Buffer.alloc(180, 7)
const uuid = '0123456789abcdef0123456789abcdef'
const topicData = [{ name: 'orders', partitionData: [{ index: 3, records }] }]
const partitionResponses = [{ index: 3, errorCode: 0, baseOffset: 123_456_789, logAppendTimeMs: -1, logStartOffset: 0 }]
const fetchPartitions = (count: number) =>
  Array.from({ length: count }, (_, partition) => ({
    partition,
    fetchOffset: 1e9 + partition,
    partitionMaxBytes: 1 << 20,
  }))
const fetchedPartitions = (count: number, slices: readonly Buffer[]) =>
  Array.from({ length: count }, (_, partitionIndex) => ({
    partitionIndex,
    errorCode: 0,
    highWatermark: 1e9,
    lastStableOffset: 1e9,
    logStartOffset: 0,
    abortedTransactions: null,
    records: slices,
  }))

function pair(version: number): void {
  const client = new Writer()
  writeRequest(client, apis.produce, version, 1, 'bench-client', { acks: -1, timeoutMs: 30_000, topicData })
  const frame = client.takeBuffer()
  const reader = new Reader(frame)
  const writer = new Writer(1 << 16)
  let seen = 0
  const cost = time((i) => {
    reader.reset(frame, 4, frame.length)
    const header = readRequestHeader(reader)
    const request = apis.produce.request.decode(reader, header.apiVersion)
    const topic = request.topicData[0]!
    seen += topic.partitionData[0]!.records!.length
    writeResponse(writer, apis.produce, version, header.correlationId, {
      responses: [{ name: topic.name, partitionResponses }],
    })
    if (i === 0) writer.take()
  })
  if (seen === 0) throw new Error('nothing was decoded')
  console.log(`Produce v${version}, header + request decoded, response frame encoded: ${(cost / 1000).toFixed(2)} µs`)
}

function row<D extends MessageDefinition>(label: string, codec: Codec<D>, version: number, message: DraftOf<D>): void {
  const bytes = codec.encodeToBuffer(message, version)
  const value = codec.decodeFrom(bytes, version)
  const writer = new Writer(1 << 16)
  const reader = new Reader(bytes)
  const decode = time(() => codec.decode(reader.reset(bytes, 0, bytes.length), version))
  const encode = time((i) => {
    codec.encode(writer, message, version)
    if (i === 0) writer.take()
  })
  const twinDecode = time(() => decodeByTable(codec.definition, version, bytes))
  const twinEncode = time(() => encodeByTable(codec.definition, version, value))
  const cells = [decode, twinDecode, encode, twinEncode].map((ns) => `${Math.round(ns)}`.padStart(8))
  console.log(`${label.padEnd(34)} ${String(bytes.length).padStart(7)} B ${cells.join(' ')}`)
}

pair(7)
pair(11)
console.log(`\n${'nanoseconds'.padEnd(44)}   decode   (twin)   encode   (twin)`)
row('Produce request v7', apis.produce.request, 7, { acks: -1, timeoutMs: 1, topicData })
row('Produce request v11', apis.produce.request, 11, { acks: -1, timeoutMs: 1, topicData })
row('Produce response v7', apis.produce.response, 7, { responses: [{ name: 'orders', partitionResponses }] })
row('Produce response v11', apis.produce.response, 11, { responses: [{ name: 'orders', partitionResponses }] })
const asked = { maxWaitMs: 500, minBytes: 1 }
row('Fetch request v11, 1 partition', apis.fetch.request, 11, {
  ...asked,
  topics: [{ topic: 'orders', partitions: fetchPartitions(1) }],
})
row('Fetch request v16, 1 partition', apis.fetch.request, 16, {
  ...asked,
  topics: [{ topicId: uuid, partitions: fetchPartitions(1) }],
})
row('Fetch request v16, 16 partitions', apis.fetch.request, 16, {
  ...asked,
  topics: [{ topicId: uuid, partitions: fetchPartitions(16) }],
})
const one = fetchedPartitions(1, [records])
row('Fetch response v16, 1 partition', apis.fetch.response, 16, {
  throttleTimeMs: 0,
  responses: [{ topicId: uuid, partitions: one }],
})
const megabyte = fetchedPartitions(16, [Buffer.alloc(65_536)])
row('Fetch response v16, 16 × 64 KiB', apis.fetch.response, 16, {
  throttleTimeMs: 0,
  responses: [{ topicId: uuid, partitions: megabyte }],
})
row('Heartbeat request v4', apis.heartbeat.request, 4, {
  groupId: 'group',
  generationId: 4,
  memberId: 'client-0123456789abcdef',
})
