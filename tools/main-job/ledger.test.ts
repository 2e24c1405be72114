import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Ledger } from './ledger.ts'

function ledger(): Ledger {
  const it = new Ledger(6, 2, Uint32Array.from([0, 0, 0, 1, 1, 1]))
  it.sent(6)
  for (let line = 0; line < 6; line++) it.acknowledge(line)
  return it
}

test('a good run is clean', () => {
  const it = ledger()
  for (let line = 0; line < 3; line++) it.saw(0, line, line, true)
  for (let line = 3; line < 6; line++) it.saw(1, line - 3, line, true)
  assert.deepEqual(it.verdict(), {
    sent: 6,
    acknowledged: 6,
    read: 6,
    lost: 0,
    duplicated: 0,
    outOfOrder: 0,
    wrong: 0,
    redelivered: 0,
  })
})

test('each way to be wrong is seen', () => {
  const lost = ledger()
  lost.saw(0, 0, 0, true)
  assert.equal(lost.verdict().lost, 5)

  const duplicated = ledger()
  duplicated.saw(0, 0, 0, true)
  duplicated.saw(0, 1, 0, true)
  assert.equal(duplicated.verdict().duplicated, 1)

  const disordered = ledger()
  disordered.saw(0, 0, 1, true)
  disordered.saw(0, 1, 0, true)
  assert.equal(disordered.verdict().outOfOrder, 1)

  const redelivered = ledger()
  redelivered.saw(0, 0, 0, true)
  redelivered.saw(0, 0, 0, true)
  assert.deepEqual([redelivered.verdict().redelivered, redelivered.verdict().wrong], [1, 0])

  const changed = ledger()
  changed.saw(0, 0, 0, true)
  changed.saw(0, 0, 1, true)
  assert.equal(changed.verdict().wrong, 1)

  const gap = ledger()
  gap.saw(0, 1, 0, true)
  assert.equal(gap.verdict().wrong, 1)

  const garbled = ledger()
  garbled.saw(0, 0, 0, false)
  assert.equal(garbled.verdict().wrong, 1)
})
