/** Replicas whose disk has lost what they had promised, on real storage: they come back by themselves, and never as liars. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { HostWorld, SHARD } from './host-harness.test.ts'
import type { NodeId } from './messages.ts'

const ALL = [1, 2, 3]

function trio(ids = ALL): HostWorld {
  const world = new HostWorld({})
  world.start(ids, ids)
  for (let i = 0; i < 10; i++) world.put(`k${i}`, String(i))
  world.untilSame()
  return world
}

/** Its term has ended the leadership of whoever led: writes until one is acknowledged. */
function putOnceLed(world: HostWorld, key: string, value: string): void {
  const highest = (): number => Math.max(...world.nodes.map(({ replica }) => replica.raft.term))
  world.until(() => world.leader?.replica.standing.term === highest(), 'a leader of the highest term')
  world.put(key, value)
}

/** The first block of what the node wrote in its journal: later ones prove that it was synced. */
function rot(world: HostWorld, id: NodeId): void {
  const { platter } = world.disk(id)
  const { path } = platter.files('/data/journal')[0]!
  platter.overwrite(path, 4096 + 50, Buffer.from('rotten'))
}

test('recovering: a replica with a damaged journal comes back by itself, in a term in which it never voted', () => {
  const world = trio()
  const { term } = world.electLeader().replica.standing
  world.crash(3)
  rot(world, 3)
  world.put('meanwhile', 'x')
  world.start([3])
  const replica = world.node(3).open(SHARD, ALL)
  assert.equal(replica.raft.recovering, true)
  assert.ok(replica.raft.term > term + 100, `term ${replica.raft.term} after ${term}`)
  assert.equal(replica.raft.vote, 0)
  putOnceLed(world, 'after', 'y')
  world.until(() => !replica.raft.recovering, 'it recovers')
  world.untilSame()
  assert.equal(world.node(3).machine.map.k3, '3')
  assert.ok(world.disk(3).platter.files('/data/quarantine').length > 0, 'what was there is kept')
})

test('recovering: it is a voter again afterwards, and soon a restart does not make it recover once more', () => {
  const world = trio()
  world.crash(3)
  rot(world, 3)
  world.start([3])
  world.node(3).open(SHARD, ALL)
  putOnceLed(world, 'after', 'y')
  world.until(() => !world.node(3).replica.raft.recovering, 'it recovers')
  world.untilSame()
  world.pass(1000)
  world.crash(3)
  world.start([3])
  world.node(3).open(SHARD, ALL)
  assert.equal(world.node(3).replica.raft.recovering, false)
  world.crash(1)
  putOnceLed(world, 'with the vote of node 3', 'z')
  world.untilSame([2, 3])
})

test('recovering: a crash on the way does not end it', () => {
  const world = trio()
  for (const id of [1, 2, 3]) world.crash(id)
  rot(world, 3)
  for (let round = 0; round < 4; round++) {
    world.start([3])
    world.node(3).open(SHARD, ALL)
    assert.equal(world.node(3).replica.raft.recovering, true, `in round ${round}`)
    world.pass(50 * round)
    world.crash(3)
  }
  world.start(ALL, ALL)
  putOnceLed(world, 'after', 'y')
  world.until(() => !world.node(3).replica.raft.recovering, 'it recovers')
  world.untilSame()
})

test('recovering: it elects nobody that lacks what it may have acknowledged', () => {
  const world = trio()
  // Node 2 misses what nodes 1 and 3 commit.
  const leader = world.electLeader().id
  const [behind, rotten] = ALL.filter((id) => id !== leader) as [NodeId, NodeId]
  world.crash(behind)
  world.put('acknowledged', 'by two')
  world.until(() => world.node(rotten).machine.map.acknowledged === 'by two', 'the follower has it')
  world.crash(leader)
  world.crash(rotten)
  rot(world, rotten)
  world.start([behind, rotten], null)
  for (const id of [behind, rotten]) world.node(id).open(SHARD, ALL)
  world.pass(30_000)
  assert.equal(world.leader, null, 'somebody leads without what was acknowledged')
  assert.equal(world.node(rotten).replica.standing.role, 'follower')
  world.start([leader])
  world.node(leader).open(SHARD, ALL)
  putOnceLed(world, 'and on', 'it goes')
  world.untilSame()
  for (const { machine } of world.nodes) assert.equal(machine.map.acknowledged, 'by two')
})

test('recovering: its acknowledgements count, since they speak of what it has now', () => {
  const world = trio()
  const leader = world.electLeader().id
  const [rotten, down] = ALL.filter((id) => id !== leader) as [NodeId, NodeId]
  world.crash(rotten)
  rot(world, rotten)
  world.start([rotten])
  world.node(rotten).open(SHARD, ALL)
  putOnceLed(world, 'one', '1')
  world.until(() => !world.node(rotten).replica.raft.recovering, 'it recovers')
  world.crash(down)
  putOnceLed(world, 'two', '2')
  world.untilSame(world.nodes.map(({ id }) => id))
})

test('recovering: of a shard of which nothing is left it is no new replica', () => {
  const world = trio()
  const { term } = world.electLeader().replica.standing
  world.crash(3)
  const { platter } = world.disk(3)
  for (const path of ['/data/checkpoint', '/data/checkpoint.copy']) platter.overwrite(path, 20, Buffer.from('rotten'))
  world.start([3])
  assert.equal(world.node(3).storage.recovered.size, 0)
  const replica = world.node(3).open(SHARD, ALL)
  assert.equal(replica.raft.recovering, true)
  assert.ok(replica.raft.term > term)
  // And so it is after another start, as long as nobody has said that all is known.
  world.crash(3)
  world.start([3])
  assert.equal(world.node(3).open(SHARD, ALL).raft.recovering, true)
  putOnceLed(world, 'after', 'y')
  world.until(() => !world.node(3).replica.raft.recovering, 'it recovers')
  world.untilSame()
  world.node(3).storage.allKnown()
  world.until(() => world.node(3).storage.unknownFrom === 0, 'nothing is unknown any more')
  assert.equal(world.node(3).open(SHARD + 1, ALL).raft.recovering, false, 'a new one is new')
})

test('recovering: it ends with a snapshot behind which nothing comes', () => {
  const world = new HostWorld({ snapshotEveryBytes: 1000, snapshotKeepEntries: 0, snapshotChunkBytes: 64 })
  world.start(ALL, ALL)
  for (let i = 0; i < 10; i++) world.put(`k${i}`, String(i))
  world.untilSame()
  world.crash(3)
  rot(world, 3)
  world.start([3])
  world.node(3).open(SHARD, ALL)
  // Node 3 ends the old leadership, and is away while the next one cuts its log behind everything.
  putOnceLed(world, 'after', 'y')
  for (const id of [1, 2]) world.cut(id, 3)
  for (let i = 0; i < 50; i++) world.put(`k${i % 7}`, String(i))
  assert.equal(world.node(3).replica.raft.recovering, true)
  for (const id of [1, 2]) world.heal(id, 3)
  world.until(() => !world.node(3).replica.raft.recovering, 'it recovers')
  assert.ok(world.sent.get('snapshot')! > 0)
  world.untilSame()
})

test('recovering: where a quorum has lost it, nobody leads', () => {
  const world = trio()
  for (const id of ALL) world.crash(id)
  rot(world, 1)
  rot(world, 2)
  world.start(ALL, ALL)
  world.pass(30_000)
  assert.equal(world.leader, null)
})

test('recovering: of two replicas the other has all that was committed, and is elected; the one that recovers is not', () => {
  for (const rotten of [1, 2]) {
    const other = 3 - rotten
    const world = trio([1, 2])
    world.crash(rotten)
    rot(world, rotten)
    world.start([rotten])
    const replica = world.node(rotten).open(SHARD, [1, 2])
    assert.ok(replica.raft.recovering)
    putOnceLed(world, 'after', 'y')
    assert.equal(world.leader!.id, other)
    world.until(() => !replica.raft.recovering, 'it recovers')
    world.untilSame()
    assert.equal(world.node(rotten).machine.map.k3, '3')
  }
  const world = trio([1, 2])
  for (const id of [1, 2]) world.crash(id)
  for (const id of [1, 2]) rot(world, id)
  world.start([1, 2], [1, 2])
  world.pass(30_000)
  assert.equal(world.leader, null, 'nobody has all for certain')
})

test('recovering: of two, the other is elected also where it lost what it had sent before its own disk had it', () => {
  let lost = 0
  for (let round = 1; round <= 4; round++) {
    const world = trio([1, 2])
    for (let i = 0; i < round; i++) world.put(`more ${i}`, 'x'.repeat(i * 700))
    world.untilSame()
    world.crash(2)
    rot(world, 2)
    // From the moment in which node 1 leads, its syncs do not return.
    const { push } = world.events
    world.events.push = (...seen) => {
      const leads = ({ node, event }: (typeof seen)[number]): boolean =>
        node === 1 && event.type === 'standing-changed' && event.role === 'leader'
      if (seen.some(leads)) world.stuck.add(1)
      return push.apply(world.events, seen)
    }
    world.start([2])
    const replica = world.node(2).open(SHARD, [1, 2])
    world.until(() => world.stuck.has(1), 'node 1 leads')
    const { term } = world.node(1).replica.raft
    world.until(() => replica.raft.log.lastTerm === term && replica.raft.journaledIndex === replica.lastIndex, 'sent')
    assert.ok(replica.raft.recovering)
    world.crash(1)
    world.stuck.delete(1)
    world.events.push = push
    world.start([1])
    const again = world.node(1).open(SHARD, [1, 2])
    if (again.lastIndex < replica.lastIndex) lost++
    putOnceLed(world, 'after', 'y')
    world.untilSame()
    assert.equal(world.node(2).machine.map.k3, '3')
  }
  assert.ok(lost > 0, 'the power loss never took it')
})

test('recovering: a checkpoint says that it has ended with the state up to which it has, not before', () => {
  const world = trio()
  world.crash(3)
  rot(world, 3)
  world.start([3])
  world.node(3).open(SHARD, ALL)
  // In the moment in which Raft knows and the machine does not: what a disk's answer between the two would have captured.
  const captured: { readonly index: number; readonly recovering?: boolean; readonly commit: number }[] = []
  const push = world.events.push.bind(world.events)
  world.events.push = (...items) => {
    const { replica } = world.node(3)
    for (const { node, event } of items)
      if (node === 3 && event.type === 'replica-recovered')
        captured.push({ ...replica.capture(), commit: replica.raft.commit })
    return push(...items)
  }
  // What commits needs node 3: it hears of it with the sync of what it has just been sent.
  world.lost = (_from, to, message) => to !== 3 && message.type === 'append'
  world.until(() => captured.length > 0, 'it recovers')
  world.lost = () => false
  for (const { index, recovering, commit } of captured) assert.ok(recovering === true || index >= commit)
  world.untilSame()
  assert.equal(world.node(3).replica.capture().recovering, false)
})
