/** What every source of randomness does. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Random } from '../random.ts'

export function randomContract(name: string, open: () => Random): void {
  test(`${name}: below stays in its bound and reaches all of it`, () => {
    const random = open()
    const seen = new Set<number>()
    for (let i = 0; i < 1000; i++) {
      const draw = random.below(7)
      assert.ok(Number.isInteger(draw) && draw >= 0 && draw < 7)
      seen.add(draw)
    }
    assert.equal(seen.size, 7)
    assert.equal(random.below(1), 0)
    assert.ok(random.below(0xffff_ffff) >= 0)
  })

  test(`${name}: bytes are as many as asked for, and differ`, () => {
    const random = open()
    assert.equal(random.bytes(0).length, 0)
    assert.equal(random.bytes(16).length, 16)
    assert.notDeepEqual(random.bytes(16), random.bytes(16))
  })

  test(`${name}: chance is false unless someone asked for it`, () => {
    const random = open()
    for (let i = 0; i < 100; i++) assert.equal(random.chance('some-site'), false)
  })
}
