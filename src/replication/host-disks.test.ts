/** Disks that are low or stuck: who leads, who is spared, and what is refused (docs/decisions/0007). */
import assert from 'node:assert/strict'
import test from 'node:test'
import { HostWorld, SHARD } from './host-harness.test.ts'

const ALL = [1, 2, 3]

function trio(holdsRecords: boolean): HostWorld {
  const world = new HostWorld()
  world.holdsRecords = holdsRecords
  world.start(ALL, ALL)
  world.put('a', '1')
  world.untilSame()
  return world
}

test('a leader whose disk is stuck gives up at once, does not campaign, and may lead again when it answers', () => {
  const world = trio(true)
  const { id } = world.electLeader()
  world.stuck.add(id)
  world.node(id).machine.put({ b: '2' }, () => {})
  world.pass(100)
  world.stuckDisks.add(id)
  const before = world.clock.now()
  world.node(id).host.disksChanged()
  assert.deepEqual(world.steppedDown, [[id, 'disk-stuck']])
  const next = world.electLeader(id)
  assert.ok(world.clock.now() - before < 200, `a new leader after ${world.clock.now() - before} ms`)
  world.put('c', '3')
  // The only other two cannot be reached: it would campaign for ever.
  for (const other of ALL.filter((each) => each !== id)) world.cut(id, other)
  const { term } = world.node(id).replica.raft
  world.pass(20_000)
  assert.deepEqual([world.node(id).replica.raft.term, world.node(id).replica.standing.role], [term, 'follower'])
  world.stuckDisks.delete(id)
  world.unstick(id)
  for (const other of ALL.filter((each) => each !== id)) world.heal(id, other)
  world.untilSame()
  world.node(next.id).host.transfer(SHARD, id)
  world.until(() => world.leader?.id === id, 'it leads again')
})

test('a sole voter whose disk is stuck goes on leading: nobody else could', () => {
  const world = new HostWorld()
  world.start([1], [1])
  world.put('a', '1')
  world.stuckDisks.add(1)
  world.node(1).host.disksChanged()
  assert.equal(world.node(1).replica.standing.role, 'leader')
})

test('nobody hands leadership to a node whose disk is stuck', () => {
  const world = trio(true)
  const { id } = world.electLeader()
  const [stuck, well] = ALL.filter((each) => each !== id)
  world.stuckDisks.add(stuck!)
  world.node(id).host.resign(1000, () => {})
  assert.equal(world.node(id).replica.raft.transferringTo, well)
})

test('a low leader hands partitions over, refuses records until then, and keeps what is no data', () => {
  const world = trio(true)
  const { id, replica } = world.electLeader()
  const other = ALL.find((each) => each !== id)!
  world.low(id, other)
  assert.equal(replica.refusal, `node ${id} is low`)
  const next = world.electLeader(id)
  assert.ok(next.id !== other, 'the heir has room')
  assert.equal(
    next.replica.refusal,
    `the disks of nodes ${[id, other].sort().join(' and ')} are low, and without there is no quorum: writes are refused until there is more; reads, deletes and administration go on`,
  )
  world.low()
  assert.equal(next.replica.refusal, null)

  const state = trio(false)
  const leader = state.electLeader().id
  state.low(leader)
  state.pass(3000)
  assert.equal(state.electLeader().id, leader)
})

test('a low follower is spared records that a quorum has without it, and has all when there is room', () => {
  const world = trio(true)
  const { id, replica } = world.electLeader()
  const low = ALL.find((each) => each !== id)!
  const { lastIndex } = world.node(low).replica
  world.low(low)
  assert.equal(replica.refusal, null)
  for (let i = 0; i < 20; i++) world.put(`k${i}`, 'v')
  world.pass(1000)
  assert.equal(world.node(low).replica.lastIndex, lastIndex)
  assert.equal(world.node(low).replica.standing.leader, id)
  world.low()
  world.untilSame()
})

test('a low follower without which there is no quorum takes what is under way, and its leader no more', () => {
  const world = trio(true)
  const { id, replica } = world.electLeader()
  const [low, gone] = ALL.filter((each) => each !== id)
  world.low(low!)
  world.put('b', '2')
  world.crash(gone!)
  assert.match(replica.refusal ?? '', new RegExp(`^the disk of node ${low} is low`))
  // What is no record is not asked: it commits out of the follower's reserve.
  world.put('c', '3')
  world.untilSame([id, low!])
  world.start([gone!], ALL)
  world.pass(500)
  assert.equal(replica.refusal, null)
})

test('a low follower gets all of what is no data', () => {
  const world = trio(false)
  const low = ALL.find((each) => each !== world.electLeader().id)!
  world.low(low)
  world.put('b', '2')
  world.untilSame()
})

test('a node that has not said how its disk is, is sent no records that a quorum does without', () => {
  const world = trio(true)
  const { id } = world.electLeader()
  const [heard, unheard] = ALL.filter((each) => each !== id)
  world.unheardDisks.add(unheard!)
  const before = world.node(unheard!).replica.lastIndex
  world.put('b', '2')
  world.pass(1000)
  assert.equal(world.node(unheard!).replica.lastIndex, before)
  assert.equal(world.node(id).replica.refusal, null, 'no reason to refuse anything')
  // Neither is known: they are the quorum.
  world.unheardDisks.add(heard!)
  world.put('c', '3')
  world.untilSame()
  world.unheardDisks.clear()
  world.put('d', '4')
  world.untilSame()
})

test('a stuck disk is none that a low one could be spared for: records are refused, not left waiting', () => {
  const world = trio(true)
  const { id, replica } = world.electLeader()
  const [low, stuck] = ALL.filter((each) => each !== id)
  world.low(low!)
  assert.equal(replica.refusal, null)
  world.stuckDisks.add(stuck!)
  world.node(id).host.disksChanged()
  assert.match(replica.refusal ?? 'none', /without there is no quorum/)
})
