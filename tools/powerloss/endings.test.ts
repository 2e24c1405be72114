import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RecoveredLine, TraceLine } from '../check-trace.ts'
import { endingsIn, notReached, REACHABLE, sum } from './endings.ts'

const recovered = (line: Partial<RecoveredLine>): TraceLine => ({
  t: 1,
  node: 1,
  type: 'recovered',
  ending: 'clean end',
  fresh: false,
  segments: 1,
  blocks: 3,
  ...line,
})

test('power loss can reach every row of the table that is not damage, and a journal without a block', () => {
  assert.deepEqual([...REACHABLE].sort(), ['clean end', 'empty', 'handed over', 'next block', 'torn last block'])
})

test('a recovery counts for the row that ended it and for those that it went through', () => {
  const endings = endingsIn([
    recovered({ ending: 'torn last block', segments: 2 }),
    recovered({}),
    recovered({ ending: 'empty', segments: 0, blocks: 0 }),
    { t: 2, node: 1, type: 'journaled', shard: 16, term: 1, index: 1 },
  ])
  assert.deepEqual(endings, { 'torn last block': 1, 'next block': 2, 'handed over': 1, 'clean end': 1, empty: 1 })
  assert.deepEqual(notReached(endings), [])
})

test('a new directory recovers nothing, and what nobody met is named', () => {
  const endings = endingsIn([recovered({ fresh: true, ending: 'empty', segments: 0, blocks: 0 }), recovered({})])
  assert.deepEqual(notReached(endings), ['empty', 'handed over', 'torn last block'])
  assert.deepEqual(notReached(sum([endings, { empty: 1, 'handed over': 2 }])), ['torn last block'])
})
