import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkLeaderEpoch, epochEndIn, epochOfOffset } from './epochs.ts'

const epochs = [
  { term: 1, firstIndex: 1, firstOffset: 0 },
  { term: 3, firstIndex: 9, firstOffset: 120 },
  { term: 4, firstIndex: 12, firstOffset: 121 },
]

test('the end of an epoch is where the next one in the log starts', () => {
  const end = (requested: number) => {
    const { leaderEpoch, endOffset } = epochEndIn(epochs, requested, 150)
    return [leaderEpoch, endOffset]
  }
  assert.deepEqual(end(1), [1, 120])
  assert.deepEqual(end(2), [1, 120])
  assert.deepEqual(end(3), [3, 121])
  assert.deepEqual(end(4), [4, 150])
  assert.deepEqual(end(5), [-1, -1])
  assert.deepEqual(end(0), [0, 0])
  assert.deepEqual(end(-1), [-1, -1])
  assert.deepEqual(epochEndIn([], 1, 0), { leaderEpoch: -1, endOffset: -1 })
  assert.deepEqual(epochEndIn(epochs, 3, 120), { leaderEpoch: 3, endOffset: 120 })
})

test('the epoch of an offset', () => {
  assert.deepEqual(
    [0, 119, 120, 121, 500].map((offset) => epochOfOffset(epochs, offset)),
    [1, 1, 3, 4, 4],
  )
  assert.equal(epochOfOffset([], 0), -1)
})

test('an older epoch is fenced, a newer one unknown, −1 not checked', () => {
  assert.deepEqual(
    [checkLeaderEpoch(-1, 4), checkLeaderEpoch(4, 4), checkLeaderEpoch(3, 4), checkLeaderEpoch(5, 4)],
    [0, 0, 74, 75],
  )
})
