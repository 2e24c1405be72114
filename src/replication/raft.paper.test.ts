/**
 * One test per sentence of "In Search of an Understandable Consensus Algorithm" (extended version, 2014), in its order, and of
 * the thesis where we go beyond the paper. What is told better as a story is one (`testdata/`).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EntryKind } from '../storage/index.ts'
import type { Message } from './messages.ts'
import { diskWithTerms, type HarnessNode, ProtocolHarness, SHARD } from './protocol-harness.test.ts'

function harnessOf(
  count: number,
  logs: Record<number, readonly number[]> = {},
  learners: readonly number[] = [],
): ProtocolHarness {
  const voters = Array.from({ length: count }, (_, i) => i + 1)
  const harness = new ProtocolHarness({ voters, learners })
  const term = Math.max(0, ...Object.values(logs).flat())
  for (const id of [...voters, ...learners]) harness.add(id, diskWithTerms(logs[id] ?? [], term))
  return harness
}

function stabilize(harness: ProtocolHarness): void {
  for (let round = 0; round < 50; round++) {
    for (const flight of [...harness.flights]) if (harness.flights.includes(flight)) harness.deliver(flight)
    for (const node of harness.running()) while (node.writes.length > 0) harness.sync(node.id)
  }
}

function elect(harness: ProtocolHarness, id: number): HarnessNode {
  harness.act(id, (raft) => raft.campaign())
  stabilize(harness)
  assert.equal(harness.node(id).raft.role, 'leader')
  return harness.node(id)
}

function propose(harness: ProtocolHarness, id: number, text: string): void {
  const payload = [Buffer.from(text)]
  harness.act(
    id,
    (raft) => void raft.propose({ kind: EntryKind.data, recordCount: 1, payload, stamp: raft.log.lastIndex + 1 }),
  )
}

/** What the node says in answer, once everything it writes is synced. */
function answers(harness: ProtocolHarness, from: number, to: number, message: Message): Message[] {
  harness.flights = []
  harness.act(to, (raft) => raft.step(from, message))
  while (harness.node(to).writes.length > 0) harness.sync(to)
  return harness.flights.filter((flight) => flight.from === to && flight.to === from).map((flight) => flight.message)
}

function vote(term: number, lastIndex: number, lastTerm: number): Message {
  return { type: 'vote', shard: SHARD, term, lastIndex, lastTerm, transfer: false }
}

test('§5.1: if one server’s current term is smaller than the other’s, it updates its term to the larger value', () => {
  const harness = harnessOf(3)
  answers(harness, 2, 1, vote(7, 0, 0))
  assert.equal(harness.node(1).raft.term, 7)
})

test('§5.1: if a candidate or leader discovers that its term is out of date, it immediately reverts to follower state', () => {
  const harness = harnessOf(3)
  const leader = elect(harness, 1)
  const rejected = { previousIndex: 0, hintIndex: 0, hintTerm: 0 }
  answers(harness, 2, 1, { type: 'append-reply', shard: SHARD, term: 9, received: 0, journaled: 0, rejected })
  assert.deepEqual([leader.raft.role, leader.raft.term], ['follower', 9])
})

test('§5.1: if a server receives a request with a stale term number, it rejects the request', () => {
  const harness = harnessOf(3, { 1: [5], 2: [5], 3: [5] })
  const [reply] = answers(harness, 2, 1, vote(4, 9, 4))
  assert.deepEqual(reply, { type: 'vote-reply', shard: SHARD, term: 5, granted: false })
  const append: Message = {
    type: 'append',
    shard: SHARD,
    term: 4,
    previousIndex: 1,
    previousTerm: 5,
    commit: 1,
    entries: [],
  }
  const [answer] = answers(harness, 2, 1, append)
  assert.deepEqual(answer, { type: 'moved', shard: SHARD, term: 5 })
  assert.equal(harness.node(1).raft.commit, 0)
})

test('§5.2: when servers start up, they begin as followers', () => {
  const harness = harnessOf(3)
  for (const { raft } of harness.running())
    assert.deepEqual([raft.role, raft.leader, raft.needsTick], ['follower', null, true])
})

test('§5.2: a follower increments its current term, votes for itself and asks the others in parallel', () => {
  const harness = harnessOf(3)
  elect(harness, 2)
  assert.deepEqual([harness.node(2).disk.term, harness.node(2).disk.vote], [1, 2])
})

test('§5.2: each server will vote for at most one candidate in a given term, on a first-come-first-served basis', () => {
  const harness = harnessOf(3)
  const [first] = answers(harness, 2, 1, vote(3, 0, 0))
  const [second] = answers(harness, 3, 1, vote(3, 0, 0))
  const [again] = answers(harness, 2, 1, vote(3, 0, 0))
  assert.deepEqual(
    [first, second, again].map((reply) => reply?.type === 'vote-reply' && reply.granted),
    [true, false, true],
  )
})

test('§5.2: a candidate wins if it receives votes from a majority; a sole voter needs nobody', () => {
  const harness = harnessOf(1)
  harness.act(1, (raft) => raft.tick())
  assert.equal(harness.node(1).raft.role, 'leader')
  assert.equal(harness.node(1).raft.commit, 0)
  harness.sync(1)
  assert.equal(harness.node(1).raft.commit, 1)
})

test('§5.2: a candidate that hears from a leader of its term returns to follower state', () => {
  const harness = harnessOf(3)
  harness.act(2, (raft) => raft.tick())
  assert.equal(harness.node(2).raft.role, 'candidate')
  harness.act(2, (raft) =>
    raft.step(1, { type: 'append', shard: SHARD, term: 1, previousIndex: 0, previousTerm: 0, commit: 0, entries: [] }),
  )
  assert.deepEqual([harness.node(2).raft.role, harness.node(2).raft.leader], ['follower', 1])
})

test('§5.3: a committed entry is applied in log order, on every server', () => {
  const harness = harnessOf(3)
  elect(harness, 1)
  for (const text of ['a', 'b', 'c']) propose(harness, 1, text)
  stabilize(harness)
  for (const node of harness.running())
    assert.deepEqual(
      node.committed.map((entry) => entry.index),
      [1, 2, 3, 4],
    )
})

test('§5.3: a leader never overwrites or deletes entries in its log, and followers’ logs come to equal it', () => {
  const harness = harnessOf(3, { 1: [1, 2, 2], 2: [1, 1, 1, 1], 3: [1] })
  const before = harness
    .node(1)
    .raft.log.slice(1)
    .map((entry) => entry.crc)
  elect(harness, 1)
  for (const { raft } of harness.running()) {
    assert.deepEqual(
      raft.log.slice(1, Number.POSITIVE_INFINITY, 3).map((entry) => entry.crc),
      before,
    )
    assert.equal(raft.commit, 4)
  }
})

test('§5.4.1: a voter denies its vote if its own log is more up-to-date than that of the candidate', () => {
  // The voter's log ends at index 3 in term 2.
  const cases: [index: number, term: number, granted: boolean][] = [
    [3, 2, true],
    [4, 2, true],
    [1, 3, true],
    [2, 2, false],
    [9, 1, false],
  ]
  for (const [lastIndex, lastTerm, granted] of cases) {
    const harness = harnessOf(3, { 1: [1, 1, 2] })
    const [reply] = answers(harness, 2, 1, vote(5, lastIndex, lastTerm))
    assert.ok(reply?.type === 'vote-reply')
    assert.equal(reply.granted, granted, `log that ends at ${lastIndex} in term ${lastTerm}`)
  }
})

test('§5.4.2: only log entries from the leader’s current term are committed by counting replicas', () => {
  const harness = harnessOf(3, { 1: [1, 2], 2: [1, 2], 3: [1, 2] })
  harness.act(1, (raft) => raft.campaign())
  for (let i = 0; i < 4 && harness.node(1).raft.role !== 'leader'; i++) {
    for (const flight of [...harness.flights]) harness.deliver(flight)
    for (const node of harness.running())
      while (node.writes.length > 0 && node.raft.role !== 'leader') harness.sync(node.id)
  }
  const { raft } = harness.node(1)
  assert.equal(raft.role, 'leader')
  harness.act(1, (leader) =>
    leader.step(2, { type: 'append-reply', shard: SHARD, term: raft.term, received: 2, journaled: 2, rejected: null }),
  )
  assert.equal(raft.commit, 0)
  harness.act(1, (leader) =>
    leader.step(2, { type: 'append-reply', shard: SHARD, term: raft.term, received: 3, journaled: 3, rejected: null }),
  )
  assert.equal(raft.commit, 0, 'the leader’s own disk does not hold it, one follower is no quorum')
  harness.sync(1)
  assert.deepEqual([raft.commit, raft.settled], [3, true])
})

test('§8: a leader commits a no-op entry at the start of its term', () => {
  const harness = harnessOf(3)
  elect(harness, 1)
  assert.equal(harness.node(3).committed[0]?.kind, EntryKind.leadership)
})

test('thesis §4.2.3: a server that hears from a live leader does not take the term of a candidate', () => {
  const harness = harnessOf(3)
  elect(harness, 1)
  assert.deepEqual(answers(harness, 3, 2, vote(9, 9, 9)), [])
  assert.equal(harness.node(2).raft.term, 1)
  assert.deepEqual(answers(harness, 3, 1, vote(9, 9, 9)), [])
  assert.equal(harness.node(1).raft.role, 'leader')
})

test('thesis §4.2.1: a learner’s acknowledgement and vote count for nothing', () => {
  const harness = harnessOf(3, {}, [4])
  elect(harness, 1)
  harness.crash(2)
  harness.crash(3)
  propose(harness, 1, 'a')
  stabilize(harness)
  assert.equal(harness.node(4).raft.journaledIndex, 2)
  assert.equal(harness.node(1).raft.commit, 1)
})

test('thesis §9.6: a pre-vote changes neither term nor vote, at either side', () => {
  const harness = harnessOf(3)
  const [reply] = answers(harness, 2, 1, { type: 'pre-vote', shard: SHARD, term: 8, lastIndex: 0, lastTerm: 0 })
  assert.deepEqual(reply, { type: 'pre-vote-reply', shard: SHARD, term: 0, granted: true })
  assert.deepEqual([harness.node(1).raft.term, harness.node(1).raft.vote], [0, 0])
})
