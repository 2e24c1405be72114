/** What workloads remember, and how they judge answers by it: right ones pass, wrong ones do not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { encodeBatch } from '../../src/records/index.ts'
import { Prng } from '../../src/stdx/index.ts'
import { recordsFrom } from './consumer.ts'
import { LatestValues } from './latest-values.ts'
import { OwnTopic } from './own-topic.ts'
import { RecordTimes } from './record-times.ts'
import { asGzip, gzipStored } from './stored-gzip.ts'

function times(...known: readonly number[]): RecordTimes {
  const all = new RecordTimes()
  known.forEach((time, offset) => {
    all.learn(offset, time)
  })
  return all
}

test('lookups by time: the first record that is old enough, however the times lie', () => {
  const prng = new Prng('times')
  for (let round = 0; round < 200; round++) {
    const known = Array.from({ length: prng.below(12) }, () => prng.below(20))
    for (let asked = 0; asked < 21; asked++)
      assert.equal(
        times(...known).firstAt(asked),
        known.findIndex((time) => time >= asked),
      )
  }
})

test('lookups by time: wrong answers are told apart from late knowledge', () => {
  const known = times(5, 9, 7, 8, 12)
  assert.equal(known.defectOf(10, 5, 4, 12), null)
  assert.match(known.defectOf(10, 5, 3, 8)!, /first record at 10 is 4/)
  assert.match(known.defectOf(10, 5, 4, 11)!, /record 4 is of 12/)
  assert.match(known.defectOf(10, 5, -1, -1)!, /first record at 10 is 4/)
  // Nothing that was known is old enough: there may be something behind, or not.
  assert.equal(known.defectOf(13, 5, -1, -1), null)
  assert.equal(known.defectOf(13, 5, 6, 14), null)
  assert.match(known.defectOf(13, 5, 6, 11)!, /said to be of 11/)
  assert.match(known.defectOf(13, 5, 2, 14)!, /record 2 is of 7/)
  // Record 4 was read after the question was asked.
  assert.equal(known.defectOf(10, 4, -1, -1), null)
})

test('an own topic: what may be shown, and what may be in it', () => {
  const topic = new OwnTopic('t')
  assert.equal(topic.defectOf(null), null)
  assert.match(topic.defectOf('x')!, /should be absent/)
  assert.equal(topic.created('first', '1000'), null)
  const old = topic.nextBatch(1, 0)
  topic.written(old.value)
  assert.equal(topic.defectOfRecords(old.batch, 1), null)
  assert.equal(topic.defectOfRecords(Buffer.alloc(0), 1), null, 'the answer ends before the mark')
  assert.match(topic.defectOfRecords(Buffer.alloc(0), 0)!, /was acknowledged, and nothing is there/)
  assert.match(topic.created('again', '1000')!, /exists as first/)
  topic.deleted()
  assert.match(topic.created('first', '1000')!, /id of an earlier one/)
  topic.deleted()
  assert.equal(topic.created('second', '1000'), null)
  assert.match(topic.defectOf('first')!, /which was deleted/)
  assert.match(topic.defectOfRecords(old.batch, 1)!, /another incarnation/)
  topic.wentAstray(old.value)
  assert.equal(topic.defectOfRecords(old.batch, 1), null, 'what was sent by name may have come late')
})

test('an own topic: only the process that answered is bound by it', () => {
  const topic = new OwnTopic('t')
  const at = { host: 'node-1', port: 9092 }
  topic.shownBy(at, 7)
  assert.equal(topic.isShownBy(at, 7), true)
  assert.equal(topic.isShownBy(at, 8), false)
  assert.equal(topic.isShownBy({ ...at, host: 'node-2' }, 7), false)
  topic.shownBy(at, 0)
  assert.equal(topic.isShownBy(at, 0), false)
})

test('stored gzip is gzip, whatever its length, and a batch of it is one', () => {
  for (const length of [0, 1, 0xffff, 0x10000, 200_000]) {
    const bytes = Buffer.alloc(length, 'tidemark')
    assert.ok(gunzipSync(gzipStored(bytes)).equals(bytes))
  }
  const records = ['a', 'b'].map((value) => ({ key: null, value: Buffer.from(value) }))
  const batch = asGzip(encodeBatch(records, { timestamp: 1 }))
  assert.deepEqual(
    recordsFrom(batch, 0).map(({ value }) => value),
    ['a', 'b'],
  )
})

test('latest values: what a cut log must still show, and what it need not', () => {
  const values = new LatestValues(1000, true)
  for (const [offset, key, value] of [
    [0, 'a', 'a0'],
    [1, 'b', 'b0'],
    [2, 'a', 'a1'],
    [3, 'c', 'c0'],
  ] as const) {
    values.sent(key, value)
    assert.equal(values.acknowledged({ offset, key, value }, 0), null)
  }
  const reading = values.begin(0)
  assert.equal(values.read(reading, { offset: 3, key: 'c', value: 'c0' }), null)
  assert.match(values.finish(reading, 10)!, /nothing of that key is found/)
  assert.match(values.finish(reading, 10, 2)!, /a = a1 at offset 2/)
  assert.equal(values.finish(reading, 10, 3), null)
})
