/** Short runs of the simulator itself: it is deterministic, it holds on a few seeds, and it finds what is broken. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { MUTANTS } from './mutants.ts'
import { type Scenario, scenarioOf } from './scenario.ts'
import { simulate } from './simulation.ts'

const SHORT_MS = 9000
const REGRESSIONS = 'simulator/regressions'

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

for (const name of ['lying-sync', 'lost-writes']) {
  test(`the mutant ${name} is found`, async () => {
    const mutant = MUTANTS.find((each) => each.name === name)!
    const found: string[] = []
    for (let seed = 1; seed <= 5 && found.length === 0; seed++) {
      const { violation } = await simulate(scenarioOf(seed, 'crash', SHORT_MS), mutant.options())
      if (violation !== null) found.push(violation.property)
    }
    assert.equal(found.length, 1)
  })
}

for (const file of readdirSync(REGRESSIONS).filter((name) => name.endsWith('.json'))) {
  test(`regression ${file}`, async () => {
    const { scenario } = JSON.parse(readFileSync(join(REGRESSIONS, file), 'utf8')) as { scenario: Scenario }
    assert.equal((await simulate(scenario)).violation?.message, undefined)
  })
}
