import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import fc from 'fast-check'
import { crc32c, crc32cCombine, crc32cPortable } from './crc32c.ts'

test('crc32c: the check value of the standard, in one piece and in two', () => {
  const digits = Buffer.from('123456789')
  for (const sum of [crc32c, crc32cPortable]) {
    assert.equal(sum(digits), 0xe3069283)
    assert.equal(sum(digits.subarray(4), sum(digits.subarray(0, 4))), 0xe3069283)
    assert.equal(sum(Buffer.alloc(0)), 0)
  }
})

test('crc32c: both implementations agree, from any seed', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(0xffff_ffff), (bytes, seed) => {
      assert.equal(crc32c(bytes, seed), crc32cPortable(bytes, seed))
    }),
  )
})

test('crc32c: sums of two pieces combine to the sum of both', () => {
  const piece = fc.uint8Array({ maxLength: 300 })
  fc.assert(
    fc.property(piece, piece, (first, second) => {
      const combined = crc32cCombine(crc32c(first), crc32c(second), second.length)
      assert.equal(combined, crc32c(Buffer.concat([first, second])))
    }),
  )
  for (const length of [4095, 16 << 10, (1 << 20) + 7, 48 << 20]) {
    const [first, second] = [Buffer.from('before'), Buffer.alloc(length, 'behind')]
    assert.equal(crc32cCombine(crc32c(first), crc32c(second), length), crc32c(second, crc32c(first)), `${length}`)
  }
})
