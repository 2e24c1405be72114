import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { VarintCursor, varintBytes, varlongBytes, writeVarint, writeVarlong } from './varint.ts'

/** The dumb twin: zigzag and seven-bit groups in arbitrary precision. */
function plain(value: bigint): Buffer {
  let raw = value >= 0n ? value * 2n : -value * 2n - 1n
  const bytes: number[] = []
  for (; raw >= 0x80n; raw >>= 7n) bytes.push(Number(raw & 0x7fn) | 0x80)
  bytes.push(Number(raw))
  return Buffer.from(bytes)
}

const int32 = fc.oneof(fc.integer(), fc.constantFrom(0, -1, 63, 64, -64, -65, 2 ** 31 - 1, -(2 ** 31)))
const safe = fc.oneof(
  fc.maxSafeInteger(),
  fc.constantFrom(
    0,
    -1,
    2 ** 27,
    2 ** 28,
    -(2 ** 28),
    2 ** 34,
    2 ** 35,
    Number.MAX_SAFE_INTEGER,
    Number.MIN_SAFE_INTEGER,
  ),
)

test('a varint is what the definition says, in both directions', () => {
  fc.assert(
    fc.property(int32, (value) => {
      const expected = plain(BigInt(value))
      const into = Buffer.alloc(10)
      const end = writeVarint(into, value, 0)
      assert.deepEqual(into.subarray(0, end), expected)
      assert.equal(varintBytes(value), expected.length)
      const cursor = new VarintCursor(expected, 0, expected.length)
      assert.equal(cursor.readVarint(), value)
      assert.equal(cursor.at, expected.length)
    }),
  )
})

test('a varlong is what the definition says, in both directions', () => {
  fc.assert(
    fc.property(safe, (value) => {
      const expected = plain(BigInt(value))
      const into = Buffer.alloc(12)
      const end = writeVarlong(into, value, 0)
      assert.deepEqual(into.subarray(0, end), expected)
      assert.equal(varlongBytes(value), expected.length)
      const cursor = new VarintCursor(expected, 0, expected.length)
      assert.equal(cursor.readVarlong(), value)
      assert.equal(cursor.at, expected.length)
    }),
  )
})

test('numbers that end too early, never end, or are no safe integers read as NaN', () => {
  const cursor = (bytes: number[]) => new VarintCursor(Buffer.from(bytes), 0, bytes.length)
  assert.ok(Number.isNaN(cursor([]).readVarint()))
  assert.ok(Number.isNaN(cursor([0x80, 0x80]).readVarint()))
  assert.ok(Number.isNaN(cursor([0xff, 0xff, 0xff, 0xff, 0x10]).readVarint()))
  assert.ok(Number.isNaN(cursor([0x80, 0x80, 0x80, 0x80, 0x80, 0x01]).readVarint()))
  assert.ok(Number.isNaN(cursor([0xff, 0xff]).readVarlong()))
  assert.ok(Number.isNaN(cursor(new Array(11).fill(0x80)).readVarlong()))
  const large = plain(2n ** 60n)
  assert.ok(Number.isNaN(new VarintCursor(large, 0, large.length).readVarlong()))
})
