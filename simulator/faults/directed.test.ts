/** Directed faults come to their last act, and the product as it is does not mind. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEAF_HANDOVERS } from '../mutants/attacks-replication.ts'
import { scenarioOf } from '../scenario/swarm.ts'
import { simulate } from '../simulation.ts'

const SHORT_MS = 20_000

test('deaf handovers: another leader is elected while the old one hears nobody, and reads stay linearizable', async () => {
  const { options } = DEAF_HANDOVERS
  const faults = options!.faults!.filter(({ atMs }) => atMs < SHORT_MS)
  const result = await simulate({ ...scenarioOf(1, 'all', SHORT_MS), ...options, faults })
  assert.equal(result.violation?.message, undefined)
  assert.ok((result.faults.get('deaf-handover') ?? 0) > 0)
  assert.ok(result.timeline.some((line) => line.includes('hears no peer from now on')))
})
