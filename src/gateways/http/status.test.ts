import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type KnownNode, mergeStatus, type NodeStatus, type Placement, type ReplicaStatus } from './status.ts'

const COUNTERS = {
  recordsIn: 0,
  bytesIn: 0,
  recordsOut: 0,
  bytesOut: 0,
  journalSyncs: 0,
  journalBytes: 0,
  kafkaConnections: 0,
}

function known(id: number, up = true): KnownNode {
  return {
    id,
    up,
    kafka: `127.0.0.1:${9000 + id}`,
    http: `127.0.0.1:${9100 + id}`,
    peer: `127.0.0.1:${9200 + id}`,
    rack: null,
  }
}

function replica(changes: Partial<ReplicaStatus>): ReplicaStatus {
  return {
    shard: 16,
    topic: 'orders',
    partition: 0,
    role: 'follower',
    recovering: false,
    term: 1,
    leader: null,
    startOffset: 0,
    highWatermark: 0,
    endOffset: 0,
    commitIndex: 0,
    lastIndex: 0,
    journaledIndex: 0,
    storedBytes: 512,
    startMovedBy: null,
    startHeldBy: null,
    startHoldKinds: [],
    ...changes,
  }
}

function report(node: number, shards: readonly ReplicaStatus[], changes: Partial<NodeStatus> = {}): NodeStatus {
  return {
    node,
    version: '0.1.0',
    cluster: 'c',
    kafka: `127.0.0.1:${9000 + node}`,
    http: null,
    peer: `127.0.0.1:${9200 + node}`,
    rack: null,
    diskIncarnation: '00',
    uptimeMs: 1000 * node,
    memoryBytes: 1_000_000,
    disk: { freeBytes: null, totalBytes: null, reserveBytes: 0, low: null, stuckMs: 0 },
    ready: true,
    waitingFor: null,
    files: { found: 0, repaired: 0, rewritten: 0, damages: [], scrub: { bytesPerSecond: 0, bytes: 0, passes: 0 } },
    counters: COUNTERS,
    journal: { segments: 0, heldBy: null },
    shards,
    ...changes,
  }
}

const ORDERS: Placement = { shard: 16, topic: 'orders', partition: 0, replicas: [1, 2, 3] }
const THREE = [known(1), known(2), known(3)]

/** The one shard of a cluster in which node i says `says[i - 1]`; null: no answer. */
function merged(says: readonly (Partial<ReplicaStatus> | null)[], nodes: readonly KnownNode[] = THREE) {
  const reports = says.flatMap((status, i) => (status === null ? [] : [report(i + 1, [replica(status)])]))
  const status = mergeStatus(nodes, reports, [ORDERS], 1)
  return { status, shard: status.shards[0]! }
}

test('a healthy shard: the leader speaks for it, followers for themselves', () => {
  const { status, shard } = merged([
    {
      role: 'leader',
      leader: 1,
      term: 4,
      startOffset: 10,
      highWatermark: 90,
      endOffset: 100,
      commitIndex: 9,
      lastIndex: 12,
      journaledIndex: 11,
      storedBytes: 700,
      startMovedBy: 'request',
      startHeldBy: 'everything is kept',
    },
    {
      leader: 1,
      term: 4,
      startOffset: 10,
      highWatermark: 80,
      endOffset: 95,
      commitIndex: 8,
      lastIndex: 11,
      journaledIndex: 10,
    },
    { leader: 1, term: 4, highWatermark: 85, endOffset: 100, commitIndex: 8, lastIndex: 12, journaledIndex: 12 },
  ])
  assert.deepEqual(shard, {
    shard: 16,
    topic: 'orders',
    partition: 0,
    leader: 1,
    term: 4,
    startOffset: 10,
    highWatermark: 90,
    endOffset: 100,
    storedBytes: 700,
    startMovedBy: 'request',
    startHeldBy: 'everything is kept',
    replicas: [
      { node: 1, role: 'leader', journaledIndex: 11, commitIndex: 9, lag: 1 },
      { node: 2, role: 'follower', journaledIndex: 10, commitIndex: 8, lag: 2 },
      { node: 3, role: 'follower', journaledIndex: 12, commitIndex: 8, lag: 0 },
    ],
  })
  assert.equal(status.cluster, 'c')
  assert.deepEqual(
    status.nodes.map(({ node, leads, replicas, uptimeMs }) => ({ node, leads, replicas, uptimeMs })),
    [
      { node: 1, leads: 1, replicas: 1, uptimeMs: 1000 },
      { node: 2, leads: 0, replicas: 1, uptimeMs: 2000 },
      { node: 3, leads: 0, replicas: 1, uptimeMs: 3000 },
    ],
  )
})

test('two leaders: the higher term is right, whatever the order of the reports', () => {
  const old = { role: 'leader', leader: 1, term: 4, endOffset: 500, lastIndex: 50 } as const
  const young = { role: 'leader', leader: 2, term: 5, endOffset: 120, highWatermark: 100, lastIndex: 12 } as const
  const follower = { leader: 2, term: 5 } as const
  for (const says of [
    [old, young, follower],
    [old, young, null],
  ]) {
    const { shard } = merged(says)
    assert.deepEqual([shard.leader, shard.term, shard.endOffset], [2, 5, 120])
  }
})

test('the leader does not answer: a follower that knows it is believed before one that does not', () => {
  const { shard, status } = merged([
    { term: 5, leader: null },
    null,
    { term: 5, leader: 2, highWatermark: 7, endOffset: 9 },
  ])
  assert.deepEqual([shard.leader, shard.term, shard.highWatermark], [2, 5, 7])
  assert.deepEqual(
    shard.replicas.map(({ role, lag }) => [role, lag]),
    [
      ['follower', null],
      ['unknown', null],
      ['follower', null],
    ],
  )
  const silent = status.nodes[1]!
  assert.deepEqual(
    [silent.up, silent.uptimeMs, silent.memoryBytes, silent.counters, silent.leads],
    [true, null, null, null, 1],
  )
})

test('a leader that is known to be down leads nothing, although its followers still name it', () => {
  const follower = { term: 5, leader: 2, highWatermark: 7 }
  const { shard, status } = merged([follower, null, follower], [known(1), known(2, false), known(3)])
  assert.deepEqual([shard.leader, shard.term, shard.highWatermark], [null, 5, 7])
  assert.equal(status.nodes[1]!.leads, 0)
  assert.equal(status.nodes[1]!.replicas, 1)
})

test('an election: a candidate with a higher term has no leader to name, and marks stay where they were', () => {
  const { shard } = merged([
    { role: 'candidate', term: 6, endOffset: 80, highWatermark: 80 },
    { term: 5, highWatermark: 90 },
    null,
  ])
  assert.deepEqual([shard.leader, shard.term, shard.highWatermark, shard.endOffset], [null, 6, 90, 90])
})

test('nobody answers for a shard, and a placement outruns the nodes', () => {
  const { shard } = merged([null, null, null])
  assert.deepEqual(
    [shard.leader, shard.term, shard.startOffset, shard.highWatermark, shard.endOffset],
    [null, 0, 0, 0, 0],
  )
  const status = mergeStatus([known(1)], [report(1, [])], [{ ...ORDERS, replicas: [1, 9] }], null)
  assert.deepEqual(
    status.shards[0]!.replicas.map(({ node, role }) => [node, role]),
    [
      [1, 'unknown'],
      [9, 'unknown'],
    ],
  )
  assert.equal(status.controller, null)
})

test('a cluster that is being formed has no name until some node knows it', () => {
  assert.equal(mergeStatus(THREE, [report(1, [], { cluster: null })], [], null).cluster, null)
  assert.equal(mergeStatus(THREE, [report(1, [], { cluster: null }), report(2, [])], [], null).cluster, 'c')
})
