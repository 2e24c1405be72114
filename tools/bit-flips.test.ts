/** The campaign's small form, and that it notices what it is there to notice. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { campaign, directory, regionsOf } from './bit-flips/flips.ts'

test('bit flips: a few in every region of every file are harmless or repaired', () => {
  const tally = campaign(300, 7)
  const outcomes = new Set(Object.values(tally).flatMap((row) => Object.keys(row)))
  for (const expected of ['harmless', 'rewritten', 'repaired', 'recovers']) assert.ok(outcomes.has(expected), expected)
})

test('bit flips: every kind of file is among the regions', () => {
  const kinds = new Set(regionsOf(directory().files).map(({ name }) => name.split(/[: ]/)[0]))
  assert.deepEqual([...kinds].sort(), [
    'checkpoint',
    'checkpoint.copy',
    'cleaned',
    'identity',
    'identity.copy',
    'index',
    'journal',
    'segment',
    'terms',
    'terms.copy',
  ])
})
