import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { NodeError } from '../../src/node.ts'
import { StorageError } from '../../src/storage/index.ts'
import { CODES_OF_FAILED_CALLS, CODES_WITHOUT_PEERS } from './codes.ts'
import { DiskTroubles, reasonOf } from './troubles.ts'

const FILE = '/tidemark/journal/00000000000000000001.log'

function failed(code: 'JOURNAL_FAILED' | 'JOURNAL_DAMAGED', message = `${FILE} is not well`): StorageError {
  if (code === 'JOURNAL_FAILED')
    return new StorageError({ code, file: FILE, operation: 'sync', reason: 'DISK_FAILED' }, message)
  return new StorageError({ code, file: FILE, position: 0, sequence: 1, label: '' }, message)
}

function stopped(cause: Error): NodeError {
  return new NodeError({ code: 'STOPPED_TO_PROTECT_DATA', exitCode: 70 }, `stops: ${cause.message}`, { cause })
}

test('only an error that fits is excused, as the reason of a stop too', () => {
  const troubles = new DiskTroubles('/tidemark')
  assert.equal(troubles.excuse(failed('JOURNAL_FAILED'), 'stopped'), null, 'nothing ails it')
  const ailment = troubles.begin({ fault: 'sync-error', codes: CODES_OF_FAILED_CALLS })
  assert.equal(troubles.excuse(stopped(failed('JOURNAL_FAILED')), 'stopped'), ailment)
  assert.equal(troubles.excuse(failed('JOURNAL_DAMAGED'), 'refused'), null, 'another code')
  assert.equal(troubles.excuse(new TypeError(`x of undefined in ${FILE}`), 'stopped'), null, 'no typed error')
  assert.equal(troubles.excuse(failed('JOURNAL_FAILED', 'something is not well'), 'stopped'), null, 'no file is named')
  assert.deepEqual([...ailment.outcomes], [['stopped', 1]])
})

test('what is over excuses the process that felt it, and none after it; damage is never over', () => {
  const troubles = new DiskTroubles('/tidemark')
  const passing = troubles.begin({ fault: 'sync-error', codes: CODES_OF_FAILED_CALLS, lies: true })
  assert.equal(troubles.mayLosePower, false)
  troubles.end(passing)
  assert.equal(troubles.mayLosePower, true)
  assert.equal(troubles.excuse(failed('JOURNAL_FAILED'), 'stopped'), passing)
  troubles.started()
  assert.equal(troubles.excuse(failed('JOURNAL_FAILED'), 'stopped'), null)
  assert.equal(troubles.isDamaged, false)
  const lasting = troubles.begin({ fault: 'bit-rot', codes: CODES_WITHOUT_PEERS, damage: 'lost' })
  troubles.started()
  assert.equal(troubles.isDamaged, true)
  assert.equal(troubles.excuse(failed('JOURNAL_DAMAGED'), 'refused'), lasting)
})

test('the first ailment that has something to say about a call decides', () => {
  const troubles = new DiskTroubles('/tidemark')
  const call = { operation: 'write', path: FILE, position: 0, bytes: 10 } as const
  const none = new Set<string>()
  assert.equal(troubles.troubleWith(call), null)
  troubles.begin({ fault: 'a', codes: none, troubleWith: () => null })
  const second = troubles.begin({ fault: 'b', codes: none, troubleWith: () => ({ kind: 'lose' }) })
  troubles.begin({ fault: 'c', codes: none, troubleWith: () => ({ kind: 'hold' }) })
  assert.deepEqual(troubles.troubleWith(call), { kind: 'lose' })
  troubles.end(second)
  assert.deepEqual(troubles.troubleWith(call), { kind: 'hold' })
})

test('the reason of a stop is what caused it', () => {
  const cause = failed('JOURNAL_FAILED')
  assert.equal(reasonOf(stopped(cause)), cause)
  assert.equal(reasonOf(stopped(new RangeError('x'))), null)
  assert.equal(reasonOf(new RangeError('x')), null)
})
