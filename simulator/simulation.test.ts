/** Short runs of the simulator itself: it is deterministic, and it holds on a few seeds. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scenarioOf } from './scenario/swarm.ts'
import { simulate } from './simulation.ts'

const SHORT_MS = 9000

test('the same seed gives the same events, another one does not', async () => {
  const scenario = scenarioOf(2, 'all', SHORT_MS)
  const [one, two] = [await simulate(scenario), await simulate(scenario)]
  assert.equal(one.violation?.message, undefined)
  assert.equal(one.hash, two.hash)
  assert.equal(one.events, two.events)
  assert.notEqual(one.hash, (await simulate(scenarioOf(3, 'all', SHORT_MS))).hash)
})

test('a scenario is plain data', () => {
  const scenario = scenarioOf(11)
  assert.deepEqual(JSON.parse(JSON.stringify(scenario)), scenario)
})

for (const profile of ['crash', 'network', 'pause'] as const) {
  test(`a seed of ${profile} holds`, async () => {
    const result = await simulate(scenarioOf(5, profile, SHORT_MS))
    assert.equal(result.violation?.message, undefined)
    assert.ok(result.acknowledged > 0)
    assert.ok([...result.faults.values()].reduce((sum, hits) => sum + hits, 0) > 0)
  })
}
