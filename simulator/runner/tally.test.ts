/** Sums, medians, and what was never hit. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HitTable } from './hits.ts'
import { brokenOutcome, type Outcome } from './job.ts'
import { median, percentile, Tally } from './tally.ts'

function outcome(seed: number, more: Partial<Outcome> = {}): Outcome {
  return { ...brokenOutcome(seed, '', ''), violation: null, simulatedMs: 60_000, acknowledged: 10 * seed, ...more }
}

test('a median is the lower one of two in the middle', () => {
  assert.equal(median([]), 0)
  assert.equal(median([5]), 5)
  assert.equal(median([9, 1]), 1)
  assert.equal(median([9, 1, 4]), 4)
  assert.equal(percentile([], 5), 0)
  assert.equal(percentile([3, 1, 2], 5), 1)
  const hundred = Array.from({ length: 100 }, (_, i) => 99 - i)
  assert.deepEqual([percentile(hundred, 5), percentile(hundred, 10)], [4, 9])
})

test('outcomes are summed, and violations are kept with their seeds', () => {
  const tally = new Tally()
  tally.add(outcome(1, { hits: { faults: { crash: 2, cut: 0 } } }))
  const deeds = { 'register read': 3, 'register refused': 9, 'register unequal': 2, 'register written': 4 }
  tally.add(outcome(2, { hits: { faults: { crash: 1 }, branches: { torn: 4 }, 'deeds of clients': deeds } }))
  tally.add(outcome(3, { violation: { property: 'p', message: 'm\n    at f (file:///somewhere/f.js:1:2)' } }))
  const data = tally.toJSON()
  assert.equal(data.ran, 3)
  assert.equal(data.simulatedMs, 180_000)
  assert.equal(data.acknowledged, 60)
  assert.equal(data.medianAcknowledged, 20)
  assert.equal(data.medianFaults, 1)
  assert.deepEqual([data.p5Operations, data.medianOperations, data.p5Faults], [10, 29, 0])
  assert.deepEqual(data.hits, { branches: { torn: 4 }, 'deeds of clients': deeds, faults: { crash: 3, cut: 0 } })
  assert.deepEqual(data.failures, [{ seed: 3, property: 'p', message: 'm' }])
  assert.equal(data.violations, 1)
})

test('what is known and was never hit is named', () => {
  const hits = new HitTable()
  hits.add({ faults: { crash: 3, cut: 0 }, sites: { early: 0 } })
  assert.deepEqual(hits.missing('crash'), ['faults/cut', 'sites/early'])
  hits.add({ faults: { cut: 1 }, sites: { early: 1 } })
  assert.deepEqual(hits.missing('crash'), [])
  // A campaign of all faults knows more kinds than it has met.
  assert.ok(hits.missing('all').includes('faults/blackout'))
})
