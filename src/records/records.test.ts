import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  kafkajsDecode,
  kafkajsEncode,
  type PlainProducer,
  type PlainRecord,
  platformaticDecode,
  platformaticEncode,
} from './clients-harness.test.ts'
import {
  baseOffsetOf,
  baseSequenceOf,
  Codec,
  canCompress,
  crcOf,
  encodeBatch,
  encodeKeyedBatch,
  forEachKeyedChange,
  forEachRecord,
  isAppendTime,
  type KeyedChange,
  maxTimestampOf,
  maxTimestampOfRecords,
  producerEpochOf,
  producerIdOf,
  RecordsError,
  recordCountOf,
  setBaseOffset,
  setLeaderEpoch,
  setMaxTimestamp,
  splitBatches,
  stampAppendTime,
  sumOf,
  validateBatch,
} from './index.ts'
import { fuzz } from './record-batch.fuzz.ts'

const LIMITS = { maxBytes: 1 << 20, zstdAllowed: true }
const plainObjects = { noNullPrototype: true }
const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array))
const header = fc.record({ key: fc.string().filter((key) => !(key in {})), value: bytes }, plainObjects)
const record: fc.Arbitrary<PlainRecord> = fc.record(
  {
    key: fc.option(bytes),
    value: fc.option(bytes),
    timestamp: fc.integer({ min: 0, max: 2 ** 42 }),
    headers: fc.uniqueArray(header, { maxLength: 3, selector: (one) => one.key }),
  },
  plainObjects,
)
/** The zigzag of @platformatic/kafka is wrong for timestamp deltas beyond 31 bits (it shifts 64-bit numbers by 31). */
const nearRecords = fc
  .array(record, { minLength: 1, maxLength: 20 })
  .map((list) => list.map((one) => ({ ...one, timestamp: 2 ** 40 + (one.timestamp % 2 ** 30) })))
const records = fc.array(record, { minLength: 1, maxLength: 20 })
const producer: fc.Arbitrary<PlainProducer | null> = fc.option(
  fc.record({ id: fc.integer({ min: 0, max: 2 ** 50 }), epoch: fc.nat(32767), sequence: fc.nat() }),
)

function decode(batch: Buffer): PlainRecord[] {
  const decoded: PlainRecord[] = []
  forEachRecord(batch, 0, (view) => {
    decoded.push({
      key: view.key && Buffer.from(view.key),
      value: view.value && Buffer.from(view.value),
      timestamp: view.timestamp,
      headers: view.headers().map(({ key, value }) => ({ key, value: Buffer.from(value!) })),
    })
  })
  return decoded
}

function byHeaderKey(list: PlainRecord[]): PlainRecord[] {
  // A JavaScript object puts integer-like keys first, so kafkajs does not keep the order of such headers.
  const order = (a: { key: string }, b: { key: string }) => (a.key < b.key ? -1 : 1)
  return list.map((one) => ({ ...one, headers: [...one.headers].sort(order) }))
}

function checkHeader(batch: Buffer, sent: PlainRecord[], by: PlainProducer | null): void {
  assert.equal(validateBatch(batch, 0, LIMITS), null)
  assert.equal(recordCountOf(batch, 0), sent.length)
  assert.equal(producerIdOf(batch, 0), by?.id ?? -1)
  if (by) assert.deepEqual([producerEpochOf(batch, 0), baseSequenceOf(batch, 0)], [by.epoch, by.sequence])
}

test('golden: what kafkajs encodes, we validate and read', async () => {
  await fc.assert(
    fc.asyncProperty(records, producer, fc.constantFrom(0 as const, 1 as const), async (sent, by, codec) => {
      const batch = await kafkajsEncode(sent, codec, by)
      checkHeader(batch, sent, by)
      assert.deepEqual(byHeaderKey(decode(batch)), byHeaderKey(sent))
      if (codec === 0) assert.equal(maxTimestampOfRecords(batch, 0), maxTimestampOf(batch, 0))
    }),
    { numRuns: 60 },
  )
})

test('golden: what @platformatic/kafka encodes, we validate and read, with every codec it has here', () => {
  const codecs = [Codec.none, Codec.gzip, Codec.snappy, Codec.lz4, Codec.zstd].filter(canCompress)
  fc.assert(
    fc.property(nearRecords, producer, fc.constantFrom(...codecs), (sent, by, codec) => {
      const batch = platformaticEncode(sent, codec, by)
      checkHeader(batch, sent, by)
      assert.deepEqual(decode(batch), sent)
    }),
    { numRuns: 100 },
  )
})

test('what we encode, kafkajs and @platformatic/kafka read', async () => {
  await fc.assert(
    fc.asyncProperty(records, fc.nat(), fc.constantFrom(Codec.none, Codec.gzip), async (sent, baseOffset, codec) => {
      const batch = encodeBatch(sent, { timestamp: 0, baseOffset, codec })
      assert.deepEqual(decode(batch), sent)
      const theirs = await kafkajsDecode(batch)
      assert.equal(theirs.firstOffset, String(baseOffset))
      assert.deepEqual(byHeaderKey(theirs.records), byHeaderKey(sent))
      const others = platformaticDecode(batch)
      assert.equal(others.firstOffset, baseOffset)
      assert.deepEqual(others.records, sent)
    }),
    { numRuns: 60 },
  )
})

test('what we compress, @platformatic/kafka unpacks where it knows the codec', () => {
  const sent = [{ key: Buffer.from('k'), value: Buffer.alloc(100_000, 'tide'), timestamp: 5, headers: [] }]
  for (const codec of [Codec.gzip, Codec.lz4, Codec.snappy, Codec.zstd].filter(canCompress)) {
    const batch = encodeBatch(sent, { timestamp: 0, codec })
    assert.ok(batch.length < 20_000)
    assert.deepEqual(decode(batch), sent)
    // It reads raw snappy blocks of its own kind and xerial's alike.
    assert.deepEqual(platformaticDecode(batch).records, sent)
  }
})

test('base offset and leader epoch are set in place, outside the sum', () => {
  const batch = encodeBatch([{ key: null, value: Buffer.from('v') }], { timestamp: 1 })
  setBaseOffset(batch, 0, 2 ** 40 + 7)
  setLeaderEpoch(batch, 0, 12)
  assert.equal(baseOffsetOf(batch, 0), 2 ** 40 + 7)
  assert.equal(validateBatch(batch, 0, LIMITS), 'base-offset')
  setBaseOffset(batch, 0, 0)
  assert.equal(validateBatch(batch, 0, LIMITS), null)
})

test('append time replaces every timestamp and a corrected maximum is summed', () => {
  const batch = encodeBatch(
    [
      { key: null, value: null },
      { key: null, value: null, timestamp: 9 },
    ],
    { timestamp: 1 },
  )
  setMaxTimestamp(batch, 0, 77)
  assert.equal(validateBatch(batch, 0, LIMITS), null)
  stampAppendTime(batch, 0, 5000)
  assert.ok(isAppendTime(batch, 0))
  assert.deepEqual(
    decode(batch).map((one) => one.timestamp),
    [5000, 5000],
  )
  assert.equal(validateBatch(batch, 0, LIMITS), 'append-time')
})

test('each defect is named', () => {
  const sound = () =>
    encodeBatch([{ key: null, value: Buffer.from('value') }], {
      timestamp: 1,
      producerId: 4,
      producerEpoch: 0,
      baseSequence: 0,
    })
  const withSum = (change: (batch: Buffer) => void) => {
    const batch = sound()
    change(batch)
    batch.writeUInt32BE(sumOf(batch, 0), 17)
    return validateBatch(batch, 0, LIMITS)
  }
  assert.equal(validateBatch(sound(), 0, LIMITS), null)
  assert.equal(validateBatch(Buffer.alloc(5), 0, LIMITS), 'short')
  assert.equal(validateBatch(sound().subarray(0, 63), 0, LIMITS), 'short')
  assert.equal(validateBatch(sound(), 0, { maxBytes: 20, zstdAllowed: true }), 'too-large')
  const set = (at: number, value: number, size: 1 | 2 | 4) => (batch: Buffer) => void batch.writeIntBE(value, at, size)
  const unsummed = sound()
  unsummed[65] = unsummed[65]! ^ 1
  assert.equal(validateBatch(unsummed, 0, LIMITS), 'crc')
  const old = sound()
  old[16] = 1
  assert.equal(validateBatch(old, 0, LIMITS), 'magic')
  assert.equal(validateBatch(old.subarray(0, 40), 0, LIMITS), 'magic', 'an old format, cut off')
  for (const magic of [3, 127, -1]) {
    old.writeInt8(magic, 16)
    assert.equal(validateBatch(old, 0, LIMITS), 'magic-unknown')
  }
  const short = sound()
  short.writeInt32BE(20, 8)
  assert.equal(validateBatch(short, 0, LIMITS), 'length')
  for (const length of [-1, 0, 13]) {
    old.writeInt32BE(length, 8)
    assert.equal(validateBatch(old, 0, LIMITS), 'length', 'before anything is made of the magic')
  }
  assert.equal(withSum(set(4, 1, 4)), 'base-offset')
  assert.equal(withSum(set(57, 0, 4)), 'count')
  assert.equal(withSum(set(57, 2, 4)), 'last-offset-delta')
  const compressed = (count: number) =>
    withSum((batch) => {
      set(21, 1, 2)(batch)
      set(57, count, 4)(batch)
      set(23, count - 1, 4)(batch)
    })
  assert.equal(compressed(5000), null, 'not unpacked, so believed')
  assert.equal(compressed(0x7fff_ffff), 'count', 'no codec gets so much into so little')
  assert.equal(withSum(set(21, 0x20, 2)), 'control')
  assert.equal(withSum(set(21, 0x08, 2)), 'append-time')
  assert.equal(withSum(set(21, 5, 2)), 'codec')
  assert.equal(withSum(set(43, -5, 4)), 'producer-id')
  assert.equal(withSum(set(51, -1, 2)), 'producer-epoch')
  assert.equal(withSum(set(53, -1, 4)), 'sequence')
  assert.equal(withSum(set(35, 0x7fffffff, 4)), 'timestamp')
  const zstd = sound()
  zstd.writeInt16BE(4, 21)
  zstd.writeUInt32BE(sumOf(zstd, 0), 17)
  assert.equal(validateBatch(zstd, 0, { maxBytes: 1000, zstdAllowed: false }), 'codec-too-new')
})

test('records that are not what the header says are found by the walk', () => {
  const batch = encodeBatch(
    [
      { key: null, value: Buffer.from('a') },
      { key: null, value: Buffer.from('b') },
    ],
    { timestamp: 3 },
  )
  assert.equal(maxTimestampOfRecords(batch, 0), 3)
  const fewer = Buffer.from(batch)
  fewer.writeInt32BE(1, 57)
  assert.ok(Number.isNaN(maxTimestampOfRecords(fewer, 0)))
  const more = Buffer.from(batch)
  more.writeInt32BE(3, 57)
  assert.ok(Number.isNaN(maxTimestampOfRecords(more, 0)))
  assert.throws(
    () => decode(more),
    (error) => error instanceof RecordsError && error.code === 'RECORD_INVALID',
  )
})

test('a batch that is cut off at the end of a fetch is left out', () => {
  const batch = encodeBatch([{ key: null, value: Buffer.from('a') }], { timestamp: 3 })
  const two = Buffer.concat([batch, batch])
  assert.equal(splitBatches(two)?.length, 2)
  assert.equal(splitBatches(two.subarray(0, two.length - 1))?.length, 1)
  assert.equal(splitBatches(Buffer.alloc(100)), null)
})

test('keyed changes come back in order', () => {
  const change = fc.record({ key: fc.string({ unit: 'grapheme' }), value: fc.option(bytes) }, plainObjects)
  fc.assert(
    fc.property(fc.array(change, { minLength: 1 }), fc.array(change, { minLength: 1 }), (first, second) => {
      const payload = Buffer.concat([encodeKeyedBatch(first, 10, 1), encodeKeyedBatch(second, 20, 1)])
      const seen: KeyedChange[] = []
      forEachKeyedChange(payload, (key, value) => void seen.push({ key, value: value && Buffer.from(value) }))
      assert.deepEqual(seen, [...first, ...second])
    }),
  )
  assert.throws(() => forEachKeyedChange(Buffer.from('no batch at all, but long enough'), () => {}), RecordsError)
})

test('fuzz: damaged batches end in a defect, a typed error or an answer', () => {
  fuzz(1, 400)
})

test('the example in docs/formats/record-batch.md is a batch, byte by byte', () => {
  const page = readFileSync('docs/formats/record-batch.md', 'utf8')
  const example = page.slice(page.indexOf('## Example')).split('```')[1]!
  const hex = example.split('\n').map((line) => /^[0-9a-f]{4}: ((?:[0-9a-f]{2} )+)/.exec(`${line} `)?.[1] ?? '')
  const batch = Buffer.from(hex.join('').replaceAll(' ', ''), 'hex')
  assert.equal(baseOffsetOf(batch, 0), 40)
  assert.equal(sumOf(batch, 0), crcOf(batch, 0))
  assert.deepEqual(decode(batch), [
    {
      key: Buffer.from('moon'),
      value: Buffer.from('full'),
      timestamp: 1700000000000,
      headers: [{ key: 'by', value: Buffer.from('1') }],
    },
    { key: Buffer.from('sun'), value: null, timestamp: 1700000000250, headers: [] },
  ])
})
