import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { chain, SMALL, World } from './harness.test.ts'
import { encodeHardState } from './hard-state.ts'
import { fuzz } from './storage.fuzz.ts'

test('a fresh directory opens, and what is acknowledged is found again', () => {
  const world = new World()
  const storage = world.open()
  assert.equal(storage.fresh, true)
  const entries = chain(16, 5)
  let done = false
  storage.append([encodeHardState(16, 1, 2), ...entries], () => {
    done = true
  })
  assert.ok(storage.journalQueuedBytes > 0)
  world.clock.settle()
  assert.ok(done)
  assert.equal(storage.journalQueuedBytes, 0)
  world.powerLoss()
  const again = world.open()
  assert.equal(again.fresh, false)
  assert.deepEqual(again.identity, storage.identity)
  const shard = again.recovered.get(16)!
  assert.deepEqual([shard.term, shard.vote, shard.checkpoint], [1, 2, null])
  assert.deepEqual(shard.entries.map(({ crc }) => crc), entries.map(({ crc }) => crc))
  assert.equal(again.highestStamp, 5)
})

for (let seed = 1; seed <= 30; seed++) {
  test(`crashes at random moments: seed ${seed}`, () => fuzz(seed, 6))
}
