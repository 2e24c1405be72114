import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LeaderTable } from './leader-table.ts'

function table(): { leaders: LeaderTable; log: string[] } {
  const log: string[] = []
  const leaders = new LeaderTable({
    changed: (shard, leader) =>
      log.push(leader === null ? `${shard}: nobody` : `${shard}: ${leader.node} in ${leader.term}`),
    conflict: (shard, term, nodes) => log.push(`${shard}: conflict in ${term} of ${nodes.join(' and ')}`),
  })
  return { leaders, log }
}

test('the highest term wins, in whatever order the news come', () => {
  const { leaders, log } = table()
  leaders.leads(2, 16, 5)
  leaders.leads(1, 16, 4)
  leaders.leads(2, 16, 5)
  leaders.leads(3, 16, 7)
  assert.deepEqual(leaders.leaderOf(16), { node: 3, term: 7 })
  assert.deepEqual(log, ['16: 2 in 5', '16: 3 in 7'])
})

test('a leader that stops is forgotten, but its term is not', () => {
  const { leaders, log } = table()
  leaders.leads(2, 16, 5)
  leaders.leadsNoLonger(2, 16, 5)
  assert.equal(leaders.leaderOf(16), null)
  leaders.leads(1, 16, 4)
  leaders.leads(2, 16, 5)
  assert.equal(leaders.leaderOf(16), null)
  leaders.leads(2, 16, 6)
  assert.deepEqual(log, ['16: 2 in 5', '16: nobody', '16: 2 in 6'])
})

test('that a leader stopped counts only against its own term', () => {
  const { leaders } = table()
  leaders.leads(3, 16, 6)
  leaders.leadsNoLonger(2, 16, 5)
  leaders.leadsNoLonger(2, 16, 6)
  assert.deepEqual(leaders.leaderOf(16), { node: 3, term: 6 })
  leaders.leadsNoLonger(2, 17, 9)
  leaders.leads(1, 17, 8)
  assert.equal(leaders.leaderOf(17), null)
})

test('the first list of a restarted node voids what its predecessor led', () => {
  const { leaders } = table()
  leaders.replace(2, [
    { shard: 16, term: 3 },
    { shard: 17, term: 3 },
    { shard: 18, term: 3 },
  ])
  leaders.leads(1, 18, 4)
  leaders.replace(2, [{ shard: 17, term: 5 }])
  assert.equal(leaders.leaderOf(16), null)
  assert.deepEqual(leaders.leaderOf(17), { node: 2, term: 5 })
  assert.deepEqual(leaders.leaderOf(18), { node: 1, term: 4 })
  assert.deepEqual(leaders.ledBy(2), [{ shard: 17, term: 5 }])
})

test('two leaders of one term are reported, and the first stays', () => {
  const { leaders, log } = table()
  leaders.leads(1, 16, 3)
  leaders.leads(2, 16, 3)
  assert.deepEqual(log, ['16: 1 in 3', '16: conflict in 3 of 1 and 2'])
  assert.deepEqual(leaders.leaderOf(16), { node: 1, term: 3 })
})

test('a removed shard is gone', () => {
  const { leaders, log } = table()
  leaders.leads(1, 16, 3)
  leaders.forget(16)
  leaders.forget(16)
  assert.equal(leaders.leaderOf(16), null)
  assert.deepEqual(log, ['16: 1 in 3', '16: nobody'])
})
