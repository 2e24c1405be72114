import assert from 'node:assert/strict'
import { test } from 'node:test'
import { kafkajsDecode } from './clients-harness.test.ts'
import {
  baseOffsetOf,
  baseSequenceOf,
  batchesIn,
  Codec,
  canCompress,
  codecOf,
  emptiedBatch,
  encodeBatch,
  filterBatch,
  forEachRecord,
  hollowBatches,
  lastOffsetOf,
  maxTimestampOf,
  producerIdOf,
  RecordsError,
  recordCountOf,
  STORED_BATCH,
  sumOf,
  validateBatch,
} from './index.ts'

const CODECS = Object.values(Codec).filter((codec) => canCompress(codec))

function batchOf(codec: Codec): Buffer {
  const records = ['a', 'b', 'a', 'c'].map((key, i) => ({
    key: Buffer.from(key),
    value: i === 1 ? null : Buffer.from(`value ${i}`),
    timestamp: 1000 + 10 * i,
    headers: [{ key: 'h', value: Buffer.from(`${i}`) }],
  }))
  const producer = { producerId: 7, producerEpoch: 1, baseSequence: 40 }
  return encodeBatch(records, { timestamp: 0, baseOffset: 70, codec, ...producer })
}

test('a batch with fewer records keeps offsets, sequence, codec and what its records are', () => {
  for (const codec of CODECS) {
    const filtered = filterBatch(batchOf(codec), ({ offset }) => offset === 70 || offset === 72)!
    const found: unknown[] = []
    forEachRecord(filtered, 0, (record) => {
      const headers = record.headers().map(({ value }) => `${value}`)
      found.push([record.offset, `${record.key}`, `${record.value}`, record.timestamp, ...headers])
    })
    assert.deepEqual(found, [
      [70, 'a', 'value 0', 1000, '0'],
      [72, 'a', 'value 2', 1020, '2'],
    ])
    assert.deepEqual(
      [baseOffsetOf(filtered, 0), lastOffsetOf(filtered, 0), recordCountOf(filtered, 0), codecOf(filtered, 0)],
      [70, 73, 2, codec],
    )
    assert.deepEqual([maxTimestampOf(filtered, 0), baseSequenceOf(filtered, 0)], [1020, 40])
    assert.equal(filtered.readUInt32BE(17), sumOf(filtered, 0))
    assert.deepEqual(batchesIn(Buffer.concat([filtered, filtered]))!.length, 2)
  }
})

test('all or none: the same bytes, or nothing', () => {
  const batch = batchOf(Codec.gzip)
  assert.equal(
    filterBatch(batch, () => true),
    batch,
  )
  assert.equal(
    filterBatch(batch, () => false),
    null,
  )
  const emptied = emptiedBatch(batch)
  assert.deepEqual([emptied.length, recordCountOf(emptied, 0), codecOf(emptied, 0)], [61, 0, Codec.none])
  assert.deepEqual([baseOffsetOf(emptied, 0), lastOffsetOf(emptied, 0), producerIdOf(emptied, 0)], [70, 73, 7])
  assert.deepEqual([baseSequenceOf(emptied, 0), emptied.readUInt32BE(17)], [40, sumOf(emptied, 0)])
  forEachRecord(emptied, 0, () => assert.fail('a record'))
})

test('kafkajs reads what is left', async () => {
  const filtered = filterBatch(batchOf(Codec.gzip), ({ offset }) => offset > 71)!
  const { records } = await kafkajsDecode(filtered)
  assert.deepEqual(
    records.map(({ key, value }) => [`${key}`, `${value}`]),
    [
      ['a', 'value 2'],
      ['c', 'value 3'],
    ],
  )
})

test('what is no batch is left alone by whoever asks', () => {
  assert.equal(batchesIn(Buffer.alloc(60)), null)
  assert.equal(batchesIn(Buffer.alloc(100)), null)
  const broken = batchOf(Codec.snappy)
  broken.fill(0xff, 61)
  assert.throws(() => filterBatch(broken, () => true), RecordsError)
})

test('hollow batches stand for offsets of which nothing is left, and are whole stored batches of nobody', () => {
  const batch = batchOf(Codec.none)
  assert.deepEqual(hollowBatches(70, batch), [])
  for (const from of [0, 69]) {
    const [hollow, ...more] = hollowBatches(from, batch)
    assert.equal(more.length, 0)
    assert.deepEqual([baseOffsetOf(hollow!, 0), lastOffsetOf(hollow!, 0), recordCountOf(hollow!, 0)], [from, 69, 0])
    assert.deepEqual([producerIdOf(hollow!, 0), baseSequenceOf(hollow!, 0)], [-1, -1])
    assert.equal(validateBatch(hollow!, 0, STORED_BATCH), null)
    assert.notEqual(validateBatch(hollow!, 0, { maxBytes: 1 << 20, zstdAllowed: true }), null)
  }
  const filtered = filterBatch(batch, ({ offset }) => offset === 72)!
  assert.equal(validateBatch(filtered, 0, STORED_BATCH), null)
  filtered.writeInt32BE(-2, 57)
  filtered.writeUInt32BE(sumOf(filtered, 0), 17)
  assert.equal(validateBatch(filtered, 0, STORED_BATCH), 'count')
})
