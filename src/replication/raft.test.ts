import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EntryKind } from '../storage/index.ts'
import { ProtocolHarness } from './protocol-harness.test.ts'
import { fuzz } from './raft.fuzz.ts'

test('raft: random walks keep every promise', () => {
  fuzz(1, 60)
})

test('harness: a power loss takes what was not synced, and only that', () => {
  const harness = new ProtocolHarness({ voters: [1] })
  harness.add(1)
  harness.act(1, (raft) => raft.tick())
  assert.equal(harness.node(1).raft.role, 'leader')
  assert.equal(harness.node(1).raft.settled, false)
  harness.sync(1)
  assert.equal(harness.node(1).raft.settled, true)
  harness.act(
    1,
    (raft) => void raft.propose({ kind: EntryKind.data, recordCount: 1, payload: [Buffer.from('a')], stamp: 2 }),
  )
  harness.crash(1)
  harness.restart(1)
  const { raft } = harness.node(1)
  assert.deepEqual([raft.role, raft.term, raft.vote, raft.log.lastIndex], ['follower', 1, 1, 1])
})
