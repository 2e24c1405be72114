import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { fuzz } from './entry.fuzz.ts'
import {
  decodeEntry,
  detachEntry,
  ENTRY_HEADER_BYTES,
  type Entry,
  EntryKind,
  encodeEntry,
  nextOffsetAfter,
  payloadOf,
  readU64,
  writeU64,
} from './entry.ts'
import { atMost, decodeHardState, encodeHardState, laterOf } from './hard-state.ts'
import { chain, follow } from './harness.test.ts'
import { maxTimestampOf } from './timestamps.ts'

test('entry: decodes what was encoded, wherever it stands', () => {
  const entry = follow(7, null, 3, Buffer.from('payload'), 4)
  const source = Buffer.concat([Buffer.alloc(13, 0xff), entry.bytes, Buffer.alloc(5, 0xee)])
  const decoded = decodeEntry(source, 13)
  assert.ok(typeof decoded === 'object')
  assert.deepEqual({ ...decoded, bytes: Buffer.from(decoded.bytes) }, { ...entry, bytes: entry.bytes })
  assert.equal(payloadOf(decoded).toString(), 'payload')
  assert.equal(nextOffsetAfter(decoded), 4)
  assert.notEqual(detachEntry(decoded).bytes.buffer, source.buffer)
})

test('entry: every flipped bit is noticed', () => {
  const { bytes } = follow(7, null, 3, Buffer.from('x'.repeat(20)))
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    const decoded = decodeEntry(flipped)
    assert.equal(typeof decoded, 'string', `bit ${bit}`)
  }
})

test('entry: cut anywhere it is short', () => {
  const { bytes } = follow(7, null, 3, Buffer.from('x'.repeat(20)))
  for (let length = 0; length < bytes.length; length++) assert.equal(decodeEntry(bytes.subarray(0, length)), 'short')
})

test('entry: 64-bit fields hold every safe integer and nothing above', () => {
  const bytes = Buffer.alloc(8)
  for (const value of [0, 1, 0xffff_ffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER]) {
    writeU64(bytes, value, 0)
    assert.equal(readU64(bytes, 0), value)
  }
  bytes.writeBigUInt64LE(2n ** 53n)
  assert.equal(readU64(bytes, 0), -1)
})

test('hard state: survives its entry, and the later of two is known', () => {
  const entry = encodeHardState(16, 9, 2)
  const decoded = decodeEntry(entry.bytes) as Entry
  assert.deepEqual(decodeHardState(decoded), { term: 9, vote: 2 })
  assert.equal(decodeHardState(follow(16, null, 1, Buffer.alloc(4))), null)
  assert.ok(atMost({ term: 1, vote: 2 }, { term: 2, vote: 0 }))
  assert.ok(atMost({ term: 2, vote: 0 }, { term: 2, vote: 1 }))
  assert.ok(!atMost({ term: 2, vote: 1 }, { term: 2, vote: 0 }))
  assert.deepEqual(laterOf({ term: 2, vote: 1 }, { term: 2, vote: 0 }), { term: 2, vote: 1 })
})

test('timestamps: the highest of all batches of an entry; −1 without any', () => {
  const batch = (timestamp: bigint, bytes: number): Buffer => {
    const header = Buffer.alloc(61 + bytes)
    header.writeInt32BE(header.length - 12, 8)
    header.writeBigInt64BE(timestamp, 35)
    return header
  }
  const payload = Buffer.concat([batch(1000n, 3), batch(1_700_000_000_123n, 0), batch(5n, 100)])
  assert.equal(maxTimestampOf(follow(1, null, 1, payload, 3)), 1_700_000_000_123)
  assert.equal(maxTimestampOf(follow(1, null, 1, batch(-1n, 0))), -1)
  assert.equal(maxTimestampOf(follow(1, null, 1, Buffer.alloc(10))), -1)
  const none = {
    kind: EntryKind.leadership,
    shard: 1,
    term: 1,
    index: 1,
    stamp: 0,
    firstOffset: 0,
    recordCount: 0,
    previousCrc: 0,
  }
  assert.equal(maxTimestampOf(encodeEntry({ ...none, payload: [payload] })), -1)
})

test('entry: a chain names its predecessors', () => {
  const entries = chain(3, 4)
  for (let i = 1; i < entries.length; i++) assert.equal(entries[i]!.previousCrc, entries[i - 1]!.crc)
  assert.equal(entries[0]!.bytes.length, ENTRY_HEADER_BYTES + 100)
})

test('entry: mutated bytes never decode to something else', () => fuzz(1, 2000))
