/** Cuts and snapshots through the whole of replication, with real storage on disks in memory. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { HostWorld, SHARD } from './host-harness.test.ts'
import type { Message } from './messages.ts'

const ALL = [1, 2, 3]
const TINY = { snapshotEveryBytes: 2000, snapshotKeepEntries: 5, snapshotChunkBytes: 64 }

function trio(options: ConstructorParameters<typeof HostWorld>[0] = {}): HostWorld {
  const world = new HostWorld({ ...TINY, ...options })
  world.start(ALL, ALL)
  return world
}

function putMany(world: HostWorld, from: number, count: number): void {
  for (let i = from; i < from + count; i++) world.put(`k${i % 7}`, String(i))
}

function checkpointAll(world: HostWorld): void {
  let left = world.nodes.length
  for (const { storage } of world.nodes) storage.checkpoint(() => left--)
  world.until(() => left === 0, 'checkpoints')
}

test('a log whose machine says it all is cut again and again, at the same place everywhere', () => {
  const world = trio()
  putMany(world, 0, 200)
  world.untilSame()
  const starts = world.nodes.map(({ replica }) => [replica.startIndex, replica.startOffset])
  assert.ok(starts[0]![0]! > 150, `the log of ${world.node(1).replica.lastIndex} entries starts at ${starts[0]}`)
  assert.deepEqual(starts, [starts[0], starts[0], starts[0]])
  checkpointAll(world)
  for (const id of ALL) world.crash(id)
  world.start(ALL, ALL)
  for (const { replica } of world.nodes) assert.deepEqual([replica.startIndex, replica.startOffset], starts[0])
  putMany(world, 200, 1)
  world.untilSame()
})

test('a log of which nobody has all entries starts where the state stands, on this replica alone', () => {
  const world = trio({ snapshotEveryBytes: 4 << 20 })
  putMany(world, 0, 100)
  world.untilSame()
  const leader = world.electLeader()
  const { replica } = world.node(leader.id === 3 ? 2 : 3)
  assert.equal(replica.startIndex, 1)
  assert.ok(replica.startAtState())
  assert.equal(replica.startIndex, replica.commitIndex + 1)
  assert.ok(!replica.startAtState(), 'it does')
  assert.equal(leader.replica.startIndex, 1)
  checkpointAll(world)
  for (const id of ALL) world.crash(id)
  world.start(ALL, ALL)
  putMany(world, 100, 20)
  world.untilSame()
  assert.ok(world.node(leader.id === 3 ? 2 : 3).replica.startIndex > 100)
})

test('a log that nobody cuts is as it was', () => {
  const world = trio({ snapshotEveryBytes: 4 << 20 })
  putMany(world, 0, 100)
  assert.equal(world.electLeader().replica.startIndex, 1)
})

test('a follower that was away is given the state, goes on from there, restarts and leads', () => {
  const world = trio()
  putMany(world, 0, 5)
  world.untilSame()
  world.crash(3)
  putMany(world, 5, 200)
  world.start([3], ALL)
  const { replica } = world.node(3)
  assert.ok(world.node(1).replica.startIndex > replica.lastIndex)
  putMany(world, 205, 3)
  world.untilSame()
  assert.equal(world.node(3).replica, replica)
  assert.ok(replica.startIndex > 100)
  assert.ok(world.sent.get('snapshot')! > 1, 'in several chunks')
  for (const id of ALL) world.crash(id)
  world.start([2, 3], ALL)
  world.electLeader()
  world.node(2).host.transfer(16, 3)
  world.until(() => world.node(3).replica.standing.settled, 'node 3 leads')
  world.put('after', 'all')
  world.start([1], ALL)
  world.untilSame()
  assert.equal(world.node(1).machine.map.after, 'all')
})

test('what a running machine had and the snapshot does not have is gone', () => {
  const world = trio()
  world.put('doomed', '1')
  world.put('kept', '1')
  world.untilSame()
  const { machine } = world.node(3)
  world.cut(1, 3)
  world.cut(2, 3)
  let deleted = false
  world.electLeader().machine.put({ doomed: null }, () => {
    deleted = true
  })
  world.until(() => deleted, 'a deletion')
  putMany(world, 0, 200)
  machine.heard.length = 0
  world.heal(1, 3)
  world.heal(2, 3)
  world.pass(500)
  world.untilSame()
  assert.equal(machine.map.doomed, undefined)
  assert.ok(machine.heard.includes('-doomed'))
  assert.ok(!machine.heard.some((line) => line === 'restored' || line.startsWith('kept')))
})

test('the leader of a tail that nobody else has is cut off, and the tail is replaced', () => {
  const world = trio()
  world.put('a', '1')
  world.untilSame()
  const old = world.electLeader()
  const others = ALL.filter((id) => id !== old.id)
  for (const id of others) world.cut(old.id, id)
  for (let i = 0; i < 30; i++) {
    old.machine.put({ [`alone${i}`]: 'x' })
    world.pass(5)
  }
  world.until(() => world.leader !== null && world.leader !== old, 'another leader')
  world.pass(2000)
  for (let i = 0; i < 120; i++) {
    let done = false
    const leader = world.nodes.find((node) => node !== old && node.replica.standing.settled)!
    leader.machine.put({ [`k${i % 7}`]: String(i) }, () => {
      done = true
    })
    world.until(() => done, 'a put')
  }
  for (const id of others) world.heal(old.id, id)
  world.pass(2000)
  world.untilSame()
  assert.ok(old.replica.startIndex > 30)
  // The tail stands in its journal and must not come back.
  for (const id of ALL) world.crash(id)
  world.start(ALL, ALL)
  putMany(world, 0, 2)
  world.untilSame()
  assert.ok(!Object.keys(world.node(old.id).machine.map).some((key) => key.startsWith('alone')))
})

test('power fails at any moment of a transfer or an installation: the follower starts with the old state or the new', () => {
  let installed = 0
  for (let steps = 0; steps < 120; steps += 3) {
    const world = trio()
    putMany(world, 0, 5)
    world.untilSame()
    world.crash(3)
    putMany(world, 5, 60)
    world.start([3], ALL)
    const before = world.node(3).replica.lastIndex
    for (let step = 0; step < steps && world.clock.nextMs !== null; step++) world.clock.step()
    world.crash(3)
    world.start([3], ALL)
    const { lastIndex, startIndex } = world.node(3).replica
    assert.ok(lastIndex >= before)
    if (startIndex > 1) installed++
    putMany(world, 65, 1)
    world.untilSame()
  }
  assert.ok(installed > 3 && installed < 37, `${installed} of 40 were installed`)
})

test('the leader fails in the middle of a transfer: the next one takes over', () => {
  for (let steps = 4; steps < 100; steps += 12) {
    const world = trio()
    putMany(world, 0, 5)
    world.untilSame()
    world.crash(3)
    putMany(world, 5, 60)
    world.start([3], ALL)
    for (let step = 0; step < steps && world.clock.nextMs !== null; step++) world.clock.step()
    const { id } = world.electLeader()
    world.crash(id)
    world.electLeader(id)
    putMany(world, 65, 30)
    world.start([id], ALL)
    world.untilSame()
  }
})

test('a snapshot that is sent is held once, and let go when nobody needs it', () => {
  const world = trio()
  putMany(world, 0, 5)
  world.untilSame()
  world.crash(3)
  putMany(world, 5, 60)
  world.start([3], ALL)
  world.until(() => world.node(3).replica.startIndex > 1, 'an installation')
  putMany(world, 65, 1)
  world.untilSame()
  const transfers = [...world.electLeader().replica.raft.progress.values()].map(({ state, transfer }) => [
    state,
    transfer,
  ])
  assert.deepEqual(transfers, [
    ['replicate', null],
    ['replicate', null],
  ])
})

test('the files of what was cut are removed', () => {
  const world = trio()
  putMany(world, 0, 30)
  checkpointAll(world)
  const early = world.node(1).replica.startIndex
  putMany(world, 30, 400)
  world.untilSame()
  checkpointAll(world)
  const log = world.node(1).storage.openShardLog(16)
  assert.equal(log.firstIndex, world.node(1).replica.startIndex)
  assert.ok(log.firstIndex > early + 300)
  let answer: unknown = null
  log.readFromIndex(early, 1000, (error) => {
    answer = error?.code
  })
  world.until(() => answer !== null, 'an answer')
  assert.equal(answer, 'BELOW_LOG_START')
})

test('what a disk that was stuck has at last, and the log was cut above, is nothing to tell of', () => {
  const world = trio({ snapshotEveryBytes: 4500, appendBytesMax: 300 })
  putMany(world, 0, 3)
  world.untilSame()
  const { id: old } = world.electLeader()
  const [next, stuck] = ALL.filter((id) => id !== old) as [number, number]
  world.crash(stuck)
  putMany(world, 3, 20)
  world.node(old).host.transfer(SHARD, next)
  world.until(() => world.leader?.id === next, 'another leads')
  putMany(world, 23, 5)
  // A message at a time, and from the second that has entries on nothing of it is on the disk; but it is committed, applied and cut.
  const passed = new Set<Message>()
  let [free, appends] = [0, 0]
  world.lost = (from, to, message) => {
    if (to !== stuck || passed.delete(message)) return false
    if (message.type === 'append' && message.entries.length > 0 && ++appends > 1) world.stuck.add(stuck)
    free = Math.max(free, world.clock.now()) + 1
    world.clock.after(free - world.clock.now(), () => {
      passed.add(message)
      world.send(from, to, message)
    })
    return true
  }
  world.start([stuck], ALL)
  const { replica } = world.node(stuck)
  world.until(() => replica.lastIndex === world.node(next).replica.lastIndex, 'all of it in memory')
  world.lost = () => false
  putMany(world, 28, 200)
  world.untilSame()
  assert.ok(replica.raft.log.epochs[0]!.firstIndex > replica.raft.journaledIndex + 10)
  world.unstick(stuck)
  world.until(() => replica.raft.journaledIndex === replica.lastIndex, 'its disk has all of it')
  putMany(world, 228, 5)
  world.untilSame()
})
