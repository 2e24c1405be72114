import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scenarioOf } from './swarm.ts'

test('every seed sends so much that a run of it proves something', () => {
  for (let seed = 0; seed < 500; seed++) {
    const { producers, nodes } = scenarioOf(seed)
    let perMinute = 0
    for (const { acks, intervalMs, recordsMax } of producers)
      if (acks === -1) perMinute += (60_000 / intervalMs) * ((recordsMax + 1) / 2)
    assert.ok(perMinute >= (nodes > 2 ? 2400 : 5000), `${perMinute} records in seed ${seed}, ${nodes} nodes`)
    assert.ok(producers.every(({ recordsMax }) => recordsMax >= 1 && recordsMax <= 60))
  }
})
