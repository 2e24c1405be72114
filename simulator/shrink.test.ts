/** The shrinker against predicates that know what they need. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Scenario } from './scenario/scenario.ts'
import { scenarioOf } from './scenario/swarm.ts'
import { type ShrinkOptions, shrink, withNodes } from './shrink.ts'

const PATIENT: ShrinkOptions = { triesMax: 10_000, enough: () => false, progress: () => {} }

/** A large one with five nodes. */
function large(): Scenario {
  let seed = 1
  while (scenarioOf(seed).nodes !== 5 || scenarioOf(seed).faults.length < 20) seed++
  return scenarioOf(seed)
}

test('what is not needed goes: faults, clients, nodes, time', async () => {
  const scenario = large()
  const needed = scenario.faults.filter(({ kind }) => kind === 'wall-jump' || kind === 'cut').slice(0, 2)
  const smaller = await shrink(
    scenario,
    async (candidate) => candidate.nodes >= 3 && needed.every((fault) => candidate.faults.includes(fault)),
    PATIENT,
  )
  const last = Math.max(...needed.map(({ atMs }) => atMs))
  assert.deepEqual(smaller.faults, needed)
  assert.ok(smaller.durationMs > last && smaller.durationMs < Math.max(2 * last, 4000))
  assert.equal(smaller.producers.length, 1)
  assert.equal(smaller.consumers.length, 1)
  assert.equal(smaller.topics.length, 1)
  assert.equal(smaller.producers[0]!.recordsMax, 1)
})

test('what always fails shrinks to next to nothing', async () => {
  const smaller = await shrink(large(), async () => true, PATIENT)
  assert.equal(smaller.nodes, 1)
  assert.equal(smaller.replication, 1)
  assert.deepEqual(smaller.faults, [])
  assert.equal(smaller.durationMs, 2000)
})

test('what no smaller form shows stays as it is', async () => {
  const scenario = large()
  assert.equal(await shrink(scenario, async () => false, PATIENT), scenario)
})

test('tries are bounded, and the best so far counts', async () => {
  let tries = 0
  const count = async (): Promise<boolean> => ++tries > 0
  const smaller = await shrink(large(), count, { ...PATIENT, triesMax: 5 })
  assert.equal(tries, 5)
  assert.ok(smaller.durationMs < large().durationMs)
  assert.equal((await shrink(large(), count, { ...PATIENT, enough: () => true })).durationMs, large().durationMs)
})

test('faults of machines that are gone go with them', () => {
  const scenario: Scenario = {
    ...large(),
    faults: [
      { kind: 'blackout', atMs: 1, downMs: [1, 2, 3, 4, 5] },
      { kind: 'crash', atMs: 2, target: 5, power: true, silent: false, downMs: 1 },
      { kind: 'crash', atMs: 3, target: 'leader', power: true, silent: false, downMs: 1 },
      { kind: 'cut', atMs: 4, from: 1, to: 4, forMs: 1 },
    ],
  }
  const { nodes, faults } = withNodes(scenario, 3)
  assert.equal(nodes, 3)
  assert.deepEqual(faults, [{ kind: 'blackout', atMs: 1, downMs: [1, 2, 3] }, scenario.faults[2]])
})
