import assert from 'node:assert/strict'
import { test } from 'node:test'
import { codes, create, formed, remove, request } from './asking-harness.test.ts'
import { record, type TestNode, World } from './cluster-testing.ts'

test('the first leader mints the id and registers who is there, in one entry', () => {
  const world = formed()
  assert.equal(world.log.length, 2, 'leadership, then everything')
  const id = world.node(1).cluster.clusterId
  assert.match(id!, /^[A-Za-z0-9_-]{22}$/)
  for (const { cluster, told } of world.nodes.values()) {
    assert.equal(cluster.clusterId, id)
    assert.equal(told[0], 'cluster')
    assert.deepEqual(
      cluster.nodes(),
      [1, 2, 3].map((node) => ({ ...record(node), up: true })),
    )
  }
})

test('a later leader mints nothing and finds everybody registered', () => {
  const world = formed()
  world.elect(2)
  assert.equal(world.log.length, 3)
  const id = world.node(1).cluster.clusterId
  assert.equal(world.node(3).cluster.clusterId, id)
})

test('a topic created on a follower is there when the answer comes, on every node in the end', () => {
  const world = formed()
  const box = create(world.node(3).cluster, request('orders'))
  assert.equal(box.results, null)
  world.clock.settle()
  assert.deepEqual(codes(box), [null])
  const topic = world.node(3).cluster.topic('orders')!
  assert.equal(box.results![0]!.topic, topic)
  assert.equal(topic.partitions.length, 4)
  assert.deepEqual(
    topic.partitions.map(({ shard }) => shard),
    [16, 17, 18, 19],
  )
  const leaders = [1, 2, 3].map((id) => topic.partitions.filter(({ replicas }) => replicas[0]!.node === id).length)
  assert.deepEqual(leaders.sort(), [1, 1, 2])
  for (const { cluster, told } of world.nodes.values()) {
    assert.deepEqual(cluster.topicById(topic.id), topic)
    assert.deepEqual(told.slice(1), ['+orders/0@16', '+orders/1@17', '+orders/2@18', '+orders/3@19'])
  }
})

test('the answer waits until the local metadata shows it', () => {
  const world = formed()
  world.slow.add(3)
  const box = create(world.node(3).cluster, request('orders'))
  world.clock.settle()
  assert.equal(box.results, null)
  assert.equal(world.node(1).cluster.topic('orders')?.name, 'orders')
  world.resume()
  assert.deepEqual(codes(box), [null])
  assert.equal(world.node(3).cluster.topic('orders')?.name, 'orders')
})

test('commands park while there is no controller, and go on with the next one', () => {
  const world = new World([1, 2, 3])
  const box = create(world.node(2).cluster, request('early'))
  world.clock.advance(3000)
  assert.equal(box.results, null)
  world.elect(3)
  assert.deepEqual(codes(box), [null])
})

test('without a controller the refusal says that nothing was done', () => {
  const world = new World([1, 2, 3])
  const box = create(world.node(2).cluster, request('early'))
  world.clock.advance(5001)
  assert.deepEqual(codes(box), ['NO_CONTROLLER'])
})

test('leadership lost under way: the command is brought to the next controller', () => {
  const world = formed()
  world.stalled = true
  const own = create(world.node(1).cluster, request('mine'))
  const forwarded = create(world.node(2).cluster, request('yours'))
  world.clock.settle()
  assert.equal(own.results, null)
  world.depose(1)
  world.elect(2)
  world.clock.advance(200)
  assert.deepEqual(codes(own), [null])
  assert.deepEqual(codes(forwarded), [null])
})

test('a refusal, too, waits until a quorum knows its giver as the leader', () => {
  const world = formed()
  create(world.node(2).cluster, request('orders'))
  world.clock.settle()
  world.stalled = true
  const creation = create(world.node(1).cluster, request('orders'))
  const deletion = remove(world.node(1).cluster, 'nothing')
  world.clock.settle()
  assert.equal(creation.results, null)
  assert.equal(deletion.results, null)
  world.depose(1)
  world.elect(2)
  world.clock.advance(200)
  assert.deepEqual(codes(creation), ['TOPIC_EXISTS'])
  assert.deepEqual(codes(deletion), ['UNKNOWN_TOPIC'])
})

test('an answer that never comes is a time-out, not a refusal', () => {
  const world = formed()
  world.stalled = true
  const box = create(world.node(2).cluster, request('orders'))
  world.clock.advance(5001)
  assert.deepEqual(codes(box), ['TIMED_OUT'])
})

test('creations of one batch see each other', () => {
  const world = formed()
  const { cluster } = world.node(1)
  const first = create(cluster, request('a'), request('a'), request('b'))
  const second = create(cluster, request('b'), request('c'))
  world.clock.settle()
  assert.deepEqual(codes(first), [null, 'TOPIC_EXISTS', null])
  assert.deepEqual(codes(second), ['TOPIC_EXISTS', null])
  const shards = [...cluster.topics()].flatMap(({ partitions }) => partitions.map(({ shard }) => shard))
  assert.equal(new Set(shards).size, shards.length)
})

test('at the first start a creation waits for the nodes that are expected', () => {
  const world = new World([1, 2], [1, 2, 3])
  world.elect(1)
  const box = create(world.node(2).cluster, request('early', { replicationFactor: 3 }))
  const byDefault = create(world.node(2).cluster, request('default'))
  world.clock.advance(500)
  assert.equal(box.results, null)
  world.add(3, [1, 2, 3])
  world.resume()
  assert.deepEqual(codes(box), [null])
  assert.deepEqual(codes(byDefault), [null])
  for (const name of ['early', 'default']) {
    for (const { replicas } of world.node(2).cluster.topic(name)!.partitions) assert.equal(replicas.length, 3)
  }
})

test('nodes that do not come are a refusal in the end, and more than there will ever be at once', () => {
  const world = new World([1, 2], [1, 2, 3])
  world.elect(1)
  const patient = create(world.node(2).cluster, request('t', { replicationFactor: 3 }))
  const hopeless = create(world.node(2).cluster, request('t', { replicationFactor: 4 }))
  world.clock.settle()
  assert.deepEqual(codes(hopeless), ['INVALID_REPLICATION_FACTOR'])
  world.clock.advance(4500)
  assert.deepEqual(codes(patient), ['INVALID_REPLICATION_FACTOR'])
  assert.match(patient.results![0]!.error!.message, /needs 3 nodes, the cluster has 2/)
})

test('with one node of three down, topics are still created, three replicas each', () => {
  const world = formed()
  world.isolate(3)
  const box = create(world.node(2).cluster, request('orders', { partitions: 6 }))
  world.clock.settle()
  assert.deepEqual(codes(box), [null])
  for (const { replicas } of world.node(2).cluster.topic('orders')!.partitions) assert.equal(replicas.length, 3)
  world.heal(3)
  assert.equal(world.node(3).told.filter((line) => line.startsWith('+orders')).length, 6)
})

test('a removal is told to the hosts, and its shards are known to be free for ever', () => {
  const world = formed()
  const { cluster, told } = world.node(2)
  create(cluster, request('orders', { partitions: 1 }))
  world.clock.settle()
  assert.equal(cluster.wasRemoved(16), false)
  assert.equal(cluster.wasRemoved(17), false, 'never given out: nobody knows what it will be')
  const box = remove(cluster, 'orders', 'nothing')
  world.clock.settle()
  assert.deepEqual(codes(box), [null, 'UNKNOWN_TOPIC'])
  assert.deepEqual(told.slice(1), ['+orders/0@16', '-orders/0@16'])
  assert.deepEqual(
    world.events.filter(({ node }) => node === 2).map(({ event }) => event.type),
    ['cluster-formed', 'node-registered', 'node-registered', 'node-registered', 'topic-created', 'topic-removed'],
  )
  assert.equal(cluster.wasRemoved(16), true)
  assert.equal(cluster.wasRemoved(1), false)
  assert.equal(cluster.wasRemoved(2), false, 'no topic’s')
  create(cluster, request('orders', { partitions: 1 }))
  world.clock.settle()
  assert.equal(cluster.topic('orders')!.partitions[0]!.shard, 17)
})

test('validateOnly answers as if, and changes nothing', () => {
  const world = formed()
  const box = create(world.node(2).cluster, request('orders', { validateOnly: true, partitions: 5 }))
  world.clock.settle()
  assert.deepEqual(codes(box), [null])
  assert.equal(box.results![0]!.topic!.partitions.length, 5)
  assert.deepEqual([...world.node(1).cluster.topics()], [])
})

test('a restarted node opens its replicas from the snapshot, then goes on with the log', () => {
  const world = formed()
  create(world.node(1).cluster, request('one', { partitions: 1 }))
  world.clock.settle()
  const snapshot = world.node(2).replica.machine!.snapshot()
  create(world.node(1).cluster, request('two', { partitions: 1 }))
  world.clock.settle()
  remove(world.node(1).cluster, 'one')
  world.clock.settle()
  world.nodes.delete(2)
  const again = world.add(2, [1, 2, 3], 'disk-2', snapshot)
  assert.deepEqual(again.told, ['cluster', '+one/0@16', 'snapshot'])
  again.replica.catchUp()
  assert.deepEqual(again.told.slice(3), ['+two/0@17', '-one/0@16'])
  assert.deepEqual(again.cluster.nodes(), world.node(1).cluster.nodes())
})

test('what came and went before a later snapshot is not told, and known to be free', () => {
  const world = formed()
  const { cluster, replica } = world.node(1)
  const early = replica.machine!.snapshot()
  for (const name of ['one', 'two']) {
    create(cluster, request(name, { partitions: 1 }))
    world.clock.settle()
  }
  remove(cluster, 'one')
  world.clock.settle()
  world.nodes.delete(2)
  const again = world.add(2, [1, 2, 3], 'disk-2', early)
  assert.equal(again.cluster.wasRemoved(16), false)
  again.told.length = 0
  again.replica.machine!.restore(replica.machine!.snapshot())
  assert.deepEqual(again.told, ['+two/0@17', 'snapshot'])
  assert.equal(again.cluster.wasRemoved(16), true)
})

test('replicas belong to a disk: under another one nothing is opened and the node is told to stop', () => {
  const world = formed()
  create(world.node(1).cluster, request('orders', { partitions: 1 }))
  world.clock.settle()
  world.nodes.delete(2)
  const wiped = world.add(2, [1, 2, 3], 'another-disk')
  wiped.replica.catchUp()
  assert.equal(wiped.told.filter((line) => line.startsWith('+')).length, 0)
  const evicted = wiped.told.find((line) => line.startsWith('evicted'))!
  assert.match(evicted, /an empty directory under an id the cluster knows/)
  assert.match(evicted, /disk-2.*another-disk/)
})

test('an empty directory under a known id is turned away, naming both', () => {
  const world = formed()
  const hello = { ...world.node(1).mesh.helloOf(2)!, diskIncarnation: 'fresh' }
  const refusal = world.node(1).cluster.admit(hello)
  assert.equal(refusal?.code, 'UNKNOWN_DISK')
  assert.match(refusal.message, /disk-2.*fresh.*tidemark backup.*tidemark restore/)
  assert.equal(world.node(1).cluster.admit(world.node(1).mesh.helloOf(2)!), null)
})

test('recovered entries that are not yet known to be committed already guard the door', () => {
  const world = formed()
  const restarted = new World([1], [1, 2, 3]).node(1).cluster
  const hello = { ...world.node(1).mesh.helloOf(2)!, diskIncarnation: 'fresh' }
  assert.equal(restarted.admit(hello), null)
  restarted.recall(world.log)
  assert.equal(restarted.admit(hello)?.code, 'UNKNOWN_DISK')
})

test('producer ids come in blocks, and no two nodes get the same', () => {
  const world = formed()
  const taken: number[] = []
  const take = (node: TestNode, count: number): void => {
    node.cluster.allocateProducerIds(count, (error, first) => {
      assert.equal(error, null)
      for (let i = 0; i < count; i++) taken.push(first + i)
    })
  }
  for (const node of world.nodes.values()) for (const count of [1, 1, 700, 1500]) take(node, count)
  world.clock.settle()
  for (const node of world.nodes.values()) take(node, 3)
  world.clock.settle()
  assert.equal(taken.length, 3 * (1 + 1 + 700 + 1500 + 3))
  assert.equal(new Set(taken).size, taken.length)
  assert.ok(taken.every((id) => id > 0))
})

test('listeners hear once per turn', () => {
  const world = formed()
  let heard = 0
  const stop = world.node(2).cluster.onChange(() => {
    heard++
  })
  create(world.node(1).cluster, request('orders', { partitions: 3 }))
  world.clock.settle()
  assert.ok(heard >= 1 && heard <= 2, `${heard}`)
  world.isolate(3)
  world.clock.settle()
  const before = heard
  stop()
  world.heal(3)
  world.clock.settle()
  assert.equal(heard, before)
})

test('who leads is not told of a node that is down', () => {
  const world = formed()
  create(world.node(1).cluster, request('orders', { partitions: 1 }))
  world.clock.settle()
  const { cluster, mesh } = world.node(2)
  mesh.leaders.leads(3, 16, 7)
  assert.deepEqual(cluster.leaderOf(16), { node: 3, term: 7 })
  assert.equal(cluster.controller(), 1)
  world.isolate(3)
  assert.equal(cluster.leaderOf(16), null)
  world.isolate(1)
  assert.equal(cluster.controller(), null)
})

test('signs of life: all answer, one dies while it is asked, one says nothing', () => {
  const world = formed()
  const { cluster, mesh } = world.node(1)
  const hear = (...nodes: number[]): { done: boolean } => {
    const box = { done: false }
    cluster.hearFrom(nodes, 100, () => {
      box.done = true
    })
    assert.equal(box.done, false, 'never before the call returns')
    return box
  }
  for (const nodes of [[], [1], [2, 3, 2]]) {
    const heard = hear(...nodes)
    world.clock.settle()
    assert.equal(heard.done, true, `${nodes}`)
  }
  mesh.leaders.leads(3, 16, 7)
  assert.deepEqual(cluster.leaderOf(16), { node: 3, term: 7 })
  const dying = hear(2, 3)
  world.isolate(3)
  world.clock.settle()
  assert.equal(dying.done, true)
  assert.equal(cluster.leaderOf(16), null)
  world.muted.add(2)
  const asleep = hear(2)
  world.clock.settle()
  assert.equal(asleep.done, false)
  world.clock.advance(100)
  assert.equal(asleep.done, true)
  assert.equal(cluster.isUp(2), true, 'silence is no evidence yet')
})

test('in calm, leaders go back to where placement meant them to be, one a second', () => {
  const world = formed()
  create(world.node(1).cluster, request('orders', { partitions: 6 }))
  world.clock.settle()
  const { cluster, mesh, told } = world.node(1)
  for (const { shard } of cluster.topic('orders')!.partitions) mesh.leaders.leads(1, shard, 2)
  const elsewhere = cluster.topic('orders')!.partitions.filter(({ replicas }) => replicas[0]!.node !== 1)
  const transfers = (): string[] => told.filter((line) => line.startsWith('transfer'))
  world.isolate(2)
  world.heal(2)
  world.clock.advance(2900)
  assert.deepEqual(transfers(), [])
  world.clock.advance(2000)
  assert.ok(transfers().length >= 1 && transfers().length <= 2)
  world.clock.advance(4000)
  assert.deepEqual(
    transfers().sort(),
    elsewhere.map(({ shard, replicas }) => `transfer ${shard} to ${replicas[0]!.node}`).sort(),
  )
})
