/** What was wrong once and is fixed stays fixed. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { scenarioOf } from '../scenario/swarm.ts'
import { simulate } from '../simulation.ts'
import { readRegression, readRegressions, writeRegression } from './regressions.ts'

for (const { file, scenario } of readRegressions()) {
  test(`regression ${file}`, async () => {
    assert.equal((await simulate(scenario)).violation?.message, undefined)
  })
}

test('a written scenario is read as it was', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-regression-'))
  try {
    const scenario = scenarioOf(7)
    const path = writeRegression(directory, 'seed-7', { found: 'x', property: 'p', scenario })
    assert.deepEqual(readRegression(path), { file: path, found: 'x', property: 'p', scenario })
    writeFileSync(join(directory, 'other.json'), '{"found":"nothing"}')
    assert.throws(() => readRegressions(directory), /holds no scenario/)
  } finally {
    rmSync(directory, { recursive: true })
  }
})
