import assert from 'node:assert/strict'
import test from 'node:test'
import type { DiskCall } from '../platform/memory/index.ts'
import { HostWorld, SHARD } from './host-harness.test.ts'
import type { Message } from './messages.ts'

const ALL = [1, 2, 3]

function trio(options: ConstructorParameters<typeof HostWorld>[0] = {}): HostWorld {
  const world = new HostWorld(options)
  world.start(ALL, ALL)
  return world
}

test('a new shard is led by its first voter at once; what it commits is applied everywhere', () => {
  const world = trio()
  assert.equal(world.electLeader().id, 1)
  assert.ok(world.clock.now() < 50, `an election after ${world.clock.now()} ms waited for somebody's patience`)
  world.put('a', '1')
  world.put('a', '2')
  world.put('b', '3')
  world.untilSame()
  assert.deepEqual(world.node(3).machine.map, { a: '2', b: '3' })
  assert.deepEqual(
    world.node(1).replica.epochs.map(({ term }) => term),
    [1],
  )
})

test('an idle shard costs nothing: no message, no write, no timer', () => {
  const world = trio()
  world.put('a', '1')
  world.untilSame()
  world.pass(2000)
  const sent = [...world.sent.values()].reduce((a, b) => a + b)
  const queued = world.nodes.map(({ storage }) => storage.journalQueuedBytes)
  world.pass(60_000)
  assert.equal(
    [...world.sent.values()].reduce((a, b) => a + b),
    sent,
  )
  assert.deepEqual(queued, [0, 0, 0])
  assert.equal(world.clock.nextMs, null, 'something still wants to run')
})

test('memory is bounded where shard logs are slower than the journal: who is behind takes no more until they have caught up', () => {
  const world = new HostWorld()
  world.storageOptions = { shardLogsBufferBytesMax: 4000 }
  world.start(ALL, ALL)
  const leader = world.electLeader()
  const write = ({ operation, path }: DiskCall): boolean => operation === 'write' && path.startsWith('/data/shards/')
  for (const id of ALL) world.disk(id).condition = { troubleWith: (call) => (write(call) ? { kind: 'hold' } : null) }
  let puts = 0
  while (leader.replica.hasRoom && puts < 1000) world.put(`key ${puts++}`, 'x'.repeat(500))
  assert.ok(puts > 10 && puts < 100, `${puts} puts were taken`)
  world.pass(1000)
  for (const { holdsAppends, storage } of world.nodes) {
    assert.ok(holdsAppends)
    assert.ok(storage.unwrittenBytes < 20_000, `${storage.unwrittenBytes} bytes`)
  }
  let room = false
  leader.replica.onRoom(() => {
    room = true
  })
  for (const id of ALL) {
    world.disk(id).condition = null
    world.disk(id).release()
  }
  world.until(() => room, 'room')
  world.until(() => world.nodes.every(({ holdsAppends }) => !holdsAppends), 'appends are taken again')
  world.put('after', 'the backlog')
  world.untilSame()
})

test('a follower that takes nothing is sent no more, over all shards, until it takes something', () => {
  const world = trio()
  world.put('a', '1')
  world.untilSame()
  const before = world.node(3).replica.lastIndex
  world.queuedBytes.set(3, 64 << 20)
  for (let i = 0; i < 20; i++) world.put(`key ${i}`, 'x'.repeat(20_000))
  world.pass(1000)
  assert.equal(world.node(3).replica.lastIndex, before)
  assert.equal(world.electLeader().id, 1)
  world.queuedBytes.set(3, (64 << 20) - 1)
  world.pass(200)
  world.untilSame()
})

test('what many shards read for a follower that comes back is bounded, however many of them asked at once', () => {
  const world = new HostWorld({ peerQueueBytesMax: 40_000, catchUpBytes: 40_000, tailCacheBytes: 1 })
  const shards = Array.from({ length: 20 }, (_, i) => 100 + i)
  const all = [SHARD, ...shards]
  world.start(ALL, ALL)
  for (const { id } of world.nodes) for (const shard of shards) world.node(id).open(shard, ALL)
  world.until(() => all.every((shard) => world.node(1).host.replica(shard)?.standing.settled === true), 'leaders')
  world.crash(3)
  let written = 0
  let asked = 0
  for (const shard of shards)
    for (let i = 0; i < 30; i++) {
      asked++
      world
        .node(1)
        .machines.get(shard)!
        .put({ [`k${i}`]: 'x'.repeat(20_000) }, () => written++)
      world.until(() => written === asked, 'a put')
    }
  world.start([3])
  for (const shard of all) world.node(3).open(shard, ALL)
  // What is appended waits before the follower; everything else goes at once.
  let waiting: { from: number; message: Message; bytes: number }[] = []
  let most = 0
  const count = (): void => {
    const bytes = waiting.reduce((sum, each) => sum + each.bytes, 0)
    most = Math.max(most, bytes)
    world.queuedBytes.set(3, bytes)
  }
  world.lost = (from, to, message) => {
    if (to !== 3 || message.type !== 'append' || message.entries.length === 0) return false
    waiting.push({ from, message, bytes: message.entries.reduce((sum, { bytes }) => sum + bytes.length, 0) })
    count()
    return true
  }
  const caughtUp = (): boolean =>
    all.every((shard) => world.node(3).host.replica(shard)!.lastIndex === world.node(1).host.replica(shard)!.lastIndex)
  for (let round = 0; round < 5000 && !caughtUp(); round++) {
    world.pass(20)
    const taken = waiting
    waiting = []
    count()
    for (const { from, message } of taken) world.node(3).host.message(from, message)
  }
  assert.ok(caughtUp(), 'it has not caught up')
  assert.ok(most < 4 * 40_000, `${most} bytes were queued`)
})

test('a follower that takes nothing is told the beginning of a leadership, and what is small of a shard that is quiet', () => {
  const world = trio()
  world.put('a', '1')
  world.untilSame()
  for (const node of [2, 3]) world.queuedBytes.set(node, 64 << 20)
  world.put('small', 'x')
  world.node(1).host.transfer(SHARD, 2)
  world.until(() => world.leader?.id === 2 && world.leader.replica.standing.settled, 'another leader')
  let written = false
  world.node(2).machine.put({ large: 'x'.repeat(20_000) }, () => {
    written = true
  })
  world.queuedBytes.set(1, 64 << 20)
  world.pass(1000)
  assert.equal(written, false)
  world.queuedBytes.clear()
  world.pass(200)
  assert.equal(written, true)
})

test('a log that waits for room on a full disk holds nothing up: what makes room comes the same way', () => {
  const world = new HostWorld()
  world.storageOptions = { shardLogsBufferBytesMax: 4000 }
  world.start(ALL, ALL)
  const leader = world.electLeader()
  for (const id of ALL)
    world.disk(id).fault = (operation, path) =>
      operation === 'write' && path.startsWith('/data/shards/') ? 'ENOSPC' : null
  for (let i = 0; i < 100; i++) world.put(`key ${i}`, 'x'.repeat(500))
  assert.ok(leader.replica.hasRoom)
  assert.ok(leader.storage.unwrittenBytes > 50_000)
})

test('all lose power and come back: everything acknowledged is there, in term and order', () => {
  const world = trio()
  for (let i = 0; i < 50; i++) world.put(`k${i % 7}`, String(i))
  const before = world.electLeader().machine.map
  for (const id of ALL) world.crash(id)
  world.start(ALL, ALL)
  assert.ok(world.electLeader().replica.standing.term > 1)
  world.put('after', 'the storm')
  world.untilSame()
  for (const { machine } of world.nodes) assert.deepEqual(machine.map, { ...before, after: 'the storm' })
})

test('restarts from checkpoints and journals alike, again and again', () => {
  const world = trio()
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < 20; i++) world.put(`r${round}`, String(i))
    let taken = 0
    for (const { storage } of world.nodes) if (round % 2 === 0) storage.checkpoint(() => taken++)
    if (round % 2 === 0) world.until(() => taken === 3, 'checkpoints')
    for (const id of ALL) world.crash(id)
    world.start(ALL, ALL)
  }
  world.electLeader()
  world.untilSame()
  assert.deepEqual(world.node(2).machine.map, { r0: '19', r1: '19', r2: '19', r3: '19' })
})

test('the leader dies: the others go on without what was not acknowledged, with what was', () => {
  const world = trio()
  world.put('a', '1')
  world.crash(1)
  const leader = world.electLeader()
  assert.notEqual(leader.id, 1)
  world.put('b', '2')
  world.start([1], ALL)
  world.untilSame()
  assert.deepEqual(world.node(1).machine.map, { a: '1', b: '2' })
})

test('a leader that is cut off answers nobody, steps down, and follows', () => {
  const world = trio()
  world.put('a', '1')
  world.cut(1, 2)
  world.cut(1, 3)
  const outcomes: unknown[] = []
  world.node(1).machine.put({ a: 'alone' }, (outcome) => outcomes.push(outcome))
  world.until(() => world.node(2).replica.standing.settled || world.node(3).replica.standing.settled, 'another leader')
  world.pass(3000)
  assert.deepEqual(outcomes, ['lost'])
  assert.equal(world.node(1).replica.leadsNow(), false)
  world.heal(1, 2)
  world.heal(1, 3)
  world.put('b', '2')
  world.untilSame()
  assert.deepEqual(world.node(1).machine.map, { a: '1', b: '2' })
})

test('messages for a shard that this node learns of later are kept for it', () => {
  const world = new HostWorld()
  world.start(ALL)
  world.node(1).open(SHARD, ALL)
  world.node(2).open(SHARD, ALL)
  // Two of three elect and commit; the third has heard of the shard only by messages.
  world.until(() => world.node(1).replica.standing.settled, 'a leader')
  let answered = false
  world.node(1).machine.put({ a: '1' }, () => {
    answered = true
  })
  world.until(() => answered, 'a commit by two')
  world.node(3).open(SHARD, ALL)
  world.until(() => world.node(3).machine.map.a === '1', 'the third catches up, although nothing else happens')
})

test('what was said in a session that is over is not kept: its sender may have led then, and not since', () => {
  const world = new HostWorld()
  world.start(ALL)
  world.node(1).open(SHARD, ALL)
  world.node(2).open(SHARD, ALL)
  world.until(() => world.node(1).replica.standing.settled, 'a leader')
  const appends = world.sent.get('append') ?? 0
  assert.ok(appends > 0)
  world.node(3).host.peerDown(1)
  world.node(3).host.peerUp(1)
  world.node(3).open(SHARD, ALL)
  assert.equal(world.node(3).replica.raft.leader, null)
  assert.equal(world.node(3).replica.raft.term, 0)
})

test('a campaign that comes before the shard is answered as soon as the shard is there', () => {
  const world = new HostWorld()
  world.start(ALL)
  world.node(1).open(SHARD, ALL)
  world.pass(5)
  assert.equal(world.node(1).replica.standing.role === 'leader', false)
  const from = world.clock.now()
  world.node(2).open(SHARD, ALL)
  world.until(() => world.node(1).replica.standing.settled, 'a leader')
  assert.ok(world.clock.now() - from < 50, 'the vote was given at once')
})

test('uncommitted bytes have a limit: no room, and room again when the quorum has caught up', () => {
  const world = trio({ uncommittedBytesMax: 10_000 })
  world.put('a', '1')
  world.stuck.add(2)
  world.stuck.add(3)
  const { machine, replica } = world.node(1)
  let answered = 0
  let rooms = 0
  for (let i = 0; i < 4; i++) {
    machine.put({ [`big${i}`]: 'x'.repeat(4000) }, () => answered++)
    world.pass(1)
  }
  assert.equal(replica.hasRoom, false)
  replica.onRoom(() => rooms++)
  world.pass(100)
  assert.deepEqual([answered, rooms], [0, 0])
  world.unstick(2)
  world.until(() => rooms === 1, 'room')
  assert.equal(replica.hasRoom, true)
  assert.equal(answered, 4)
  world.unstick(3)
  world.untilSame()
})

test('what a machine has to hold back counts: no room, and room again when it has been able to propose', () => {
  const world = trio()
  world.put('a', '1')
  const { machine, replica } = world.node(1)
  let rooms = 0
  machine.isFull = true
  assert.equal(replica.hasRoom, false)
  replica.onRoom(() => rooms++)
  machine.put({ b: '2' })
  world.pass(100)
  assert.equal(rooms, 0)
  machine.isFull = false
  machine.put({ c: '3' })
  world.until(() => rooms === 1, 'room')
})

test('the journal has a limit too: followers leave appends with the senders until it is below', () => {
  const world = trio({ journalQueueBytesMax: 6000 })
  world.put('a', '1')
  world.stuck.add(3)
  const { machine } = world.node(1)
  for (let i = 0; i < 4; i++) {
    machine.put({ [`big${i}`]: 'x'.repeat(4000) })
    world.pass(1)
  }
  assert.equal(world.node(3).holdsAppends, true)
  assert.equal(world.node(2).holdsAppends, false)
  world.unstick(3)
  world.untilSame()
  world.put('after', '1')
  world.untilSame()
  assert.equal(world.node(3).holdsAppends, false)
})

test('who waits for the room of a shard that is removed is not left waiting', () => {
  const world = trio({ uncommittedBytesMax: 1000 })
  world.put('a', '1')
  world.stuck.add(2)
  world.stuck.add(3)
  const { host, machine, replica } = world.node(1)
  machine.put({ big: 'x'.repeat(4000) })
  world.pass(1)
  let rooms = 0
  replica.onRoom(() => rooms++)
  host.remove(SHARD, SHARD + 1)
  world.pass(100)
  assert.equal(rooms, 1)
})

test('resigning hands every leadership over, loses nothing, and is quick', () => {
  const world = trio()
  world.put('a', '1')
  const { host, replica } = world.node(1)
  const from = world.clock.now()
  let resigned = false
  host.resign(3000, () => {
    resigned = true
  })
  world.until(() => resigned, 'handed over')
  assert.ok(world.clock.now() - from < 200, `took ${world.clock.now() - from} ms`)
  assert.notEqual(replica.standing.role, 'leader')
  world.put('b', '2')
  world.untilSame()
  assert.notEqual(world.electLeader().id, 1)
})

test('resigning without anybody to hand over to ends at once; with a deaf heir after the patience', () => {
  const alone = new HostWorld()
  alone.start([1], [1])
  alone.put('a', '1')
  let resigned = false
  alone.node(1).host.resign(3000, () => {
    resigned = true
  })
  alone.until(() => resigned, 'nobody to wait for')
  assert.ok(alone.clock.now() < 1000)

  const world = trio()
  world.put('a', '1')
  world.lost = (_from, _to, message) => message.type === 'append' || message.type === 'campaign-now'
  world.node(1).machine.put({ b: '2' })
  world.pass(1)
  const from = world.clock.now()
  let ended = false
  world.node(1).host.resign(500, () => {
    ended = true
  })
  world.until(() => ended, 'patience')
  assert.ok(world.clock.now() - from >= 500)
})

test('what was asked for during a transfer that fails is proposed after it, by itself', () => {
  const world = trio()
  world.put('a', '1')
  world.untilSame()
  // The heir never gets far enough to be told to campaign, so the leadership stays.
  world.lost = (_from, to, message) => to === 2 && message.type === 'append'
  world.node(1).machine.put({ b: '2' })
  world.pass(5)
  world.node(1).host.transfer(SHARD, 2)
  world.pass(5)
  const outcomes: unknown[] = []
  world.node(1).machine.put({ c: '3' }, (outcome) => outcomes.push(outcome))
  world.pass(100)
  assert.deepEqual(outcomes, [], 'nothing new while the leadership is on its way')
  world.pass(3000)
  assert.deepEqual(outcomes, [null])
  assert.equal(world.electLeader().id, 1)
})

test('a follower that is far behind is fed from the shard log when the tail has let go', () => {
  const world = trio({ tailCacheBytes: 64 << 10, catchUpBytes: 32 << 10 })
  world.put('a', '1')
  world.untilSame()
  world.crash(3)
  for (let i = 0; i < 60; i++) world.put(`k${i % 10}`, `${i} ${'x'.repeat(8000)}`)
  let taken = 0
  for (const { storage } of world.nodes) storage.checkpoint(() => taken++)
  world.until(() => taken === 2, 'checkpoints')
  const { log } = world.electLeader().replica.raft
  assert.ok(log.anchorIndex > 20, `the tail still holds entries from ${log.anchorIndex + 1} on`)
  world.start([3], ALL)
  world.untilSame()
  assert.equal(Object.keys(world.node(3).machine.map).length, 11)
  assert.deepEqual(world.node(3).machine.map, world.node(1).machine.map)
})

test('readers are given committed entries from memory and from the shard log alike', () => {
  const world = trio({ tailCacheBytes: 64 << 10 })
  for (let i = 0; i < 40; i++) world.put('k', `${i} ${'x'.repeat(8000)}`)
  let taken = false
  world.node(1).storage.checkpoint(() => {
    taken = true
  })
  world.until(() => taken, 'a checkpoint')
  const { replica } = world.node(1)
  const offsets: number[] = []
  let at = 0
  while (at < replica.committedOffset) {
    let entries = replica.readCommitted(at, 20_000, (error, later) => {
      assert.equal(error, null)
      entries = later
    })
    if (entries === null) world.until(() => entries !== null, 'a read')
    assert.ok(entries!.length > 0)
    for (const { firstOffset, recordCount } of entries!) {
      if (recordCount === 0) continue
      offsets.push(firstOffset)
      at = firstOffset + recordCount
    }
  }
  assert.deepEqual(
    offsets,
    Array.from({ length: 40 }, (_, i) => i),
  )
  assert.deepEqual(
    replica.readCommitted(at, 1000, () => {}),
    [],
  )
})

test('many shards share the turns: one block of the journal for what a turn brings to all of them', () => {
  const world = new HostWorld()
  world.start(ALL)
  const shards = Array.from({ length: 40 }, (_, i) => 100 + i)
  for (const node of world.nodes)
    for (const shard of shards) node.open(shard, [...ALL.slice(shard % 3), ...ALL.slice(0, shard % 3)])
  world.until(
    () => shards.every((shard) => world.nodes.some(({ host }) => host.replica(shard)!.standing.settled)),
    'leaders of all',
  )
  const leads = world.nodes.map(
    ({ host }) => shards.filter((shard) => host.replica(shard)!.standing.role === 'leader').length,
  )
  assert.deepEqual(leads.sort(), [13, 13, 14])
  let answered = 0
  for (const node of world.nodes) {
    for (const shard of shards)
      if (node.host.replica(shard)!.standing.settled) node.machines.get(shard)!.put({ a: '1' }, () => answered++)
  }
  world.until(() => answered === shards.length, 'all answers')
  world.crash(1)
  world.until(
    () => shards.every((shard) => world.nodes.some(({ host }) => host.replica(shard)!.standing.settled)),
    'leaders after a death',
  )
})

test('a log that begins above offset 0 does so on every replica, also after crashes without and with a checkpoint', () => {
  const origin = { baseOffset: 1000, startOffset: 1001 }
  const world = new HostWorld()
  const places = () => world.nodes.map(({ replica }) => [replica.startOffset, replica.committedOffset])
  world.start(ALL, ALL, origin)
  assert.deepEqual(places(), Array(3).fill([1001, 1000]))
  world.put('a', '1')
  world.untilSame()
  const end = world.node(1).replica.committedOffset
  assert.ok(end > 1000)
  assert.equal(world.node(1).replica.epochs[0]!.firstOffset, 1000)
  for (let round = 0; round < 2; round++) {
    for (const id of ALL) world.crash(id)
    world.start(ALL, ALL, origin)
    world.electLeader()
    world.untilSame()
    assert.deepEqual(places(), Array(3).fill([1001, end]))
    let taken = 0
    for (const { storage } of world.nodes) storage.checkpoint(() => taken++)
    world.until(() => taken === 3, 'checkpoints')
  }
})

test('a floor of compaction waits for a follower that lags, and not for one that is away', () => {
  const world = trio()
  for (let i = 0; i < 20; i++) world.put(`k${i}`, '1')
  world.untilSame()
  const leader = world.electLeader()
  const lagging = ALL.find((id) => id !== leader.id)!
  world.stuck.add(lagging)
  for (let i = 0; i < 10; i++) world.put(`k${i}`, '2')
  const { replica } = leader
  const decided = (): boolean => {
    const before = replica.lastIndex
    const floor = { index: replica.commitIndex, offset: replica.committedOffset }
    replica.requestCompaction({ floor, tombstonesBelow: 0, decidedMs: 1 })
    world.pass(200)
    return replica.lastIndex > before
  }
  assert.equal(decided(), false)
  assert.equal(replica.lowWaterMark.floorWaitsFor?.name, `node ${lagging}`)
  assert.ok(replica.lowWaterMark.floorWaitsFor!.index > 20)
  world.crash(lagging)
  assert.equal(decided(), true)
  assert.equal(replica.lowWaterMark.floorWaitsFor, null)
})

test('what a checkpoint carries of a tail was handed to the journal before, and so was the term that goes with it', () => {
  const world = new HostWorld()
  world.start(ALL, ALL)
  const leader = world.electLeader()
  const { host, storage, replica } = world.node(ALL.find((id) => id !== leader.id)!)
  let handed = replica.lastIndex
  const append = storage.append.bind(storage)
  storage.append = (entries, done) => {
    for (const { index } of entries) handed = Math.max(handed, index)
    append(entries, done)
  }
  let steppedOnly = 0
  const message = host.message.bind(host)
  host.message = (from, received) => {
    message(from, received)
    const last = replica.uncommittedTail().at(-1)?.index ?? 0
    assert.ok(last <= handed, `entry ${last} is carried, ${handed} is the last one that was handed over`)
    if (replica.lastIndex > handed) steppedOnly++
  }
  for (let i = 0; i < 20; i++) world.put(`k${i}`, 'v')
  world.untilSame()
  assert.ok(steppedOnly > 10)
})
