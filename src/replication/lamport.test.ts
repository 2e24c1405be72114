import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { LamportClock } from './lamport.ts'

test('every local event has a larger stamp than the one before, above what the disk held', () => {
  const clock = new LamportClock(41)
  assert.equal(clock.stamp, 41)
  assert.equal(clock.tick(), 42)
  assert.equal(clock.tick(), 43)
  assert.equal(new LamportClock().tick(), 1)
})

test('a message puts the receiver above the sender, and never back', () => {
  const clock = new LamportClock(10)
  clock.observe(99)
  assert.equal(clock.stamp, 100)
  clock.observe(5)
  assert.equal(clock.stamp, 101)
  clock.observe(101)
  assert.equal(clock.stamp, 102)
})

test('whatever could have caused an event has the smaller stamp', () => {
  const NODES = 4
  const step = fc.record({ node: fc.nat(NODES - 1), to: fc.option(fc.nat(NODES - 1)) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const clocks = Array.from({ length: NODES }, () => new LamportClock())
      /** Largest stamp among everything that could have caused the next event of each node. */
      const causes = clocks.map(() => 0)
      for (const { node, to } of steps) {
        const stamp = clocks[node]!.tick()
        assert.ok(stamp > causes[node]!)
        causes[node] = stamp
        if (to === null || to === node) continue
        clocks[to]!.observe(stamp)
        assert.ok(clocks[to]!.stamp > stamp)
        causes[to] = Math.max(causes[to]!, stamp)
      }
    }),
    { numRuns: 200 },
  )
})
