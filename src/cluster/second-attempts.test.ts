import assert from 'node:assert/strict'
import { test } from 'node:test'
import { alter, codes, create, formed, remove, request } from './asking-harness.test.ts'
import type { World } from './cluster-testing.ts'
import type { TopicResult } from './commands.ts'
import { OUTCOMES_KEPT } from './outcomes.ts'

test('a controller that dies after logging a creation: the retry finds its own topic and succeeds', () => {
  const world = formed()
  world.muted.add(1)
  const box = create(world.node(2).cluster, request('orders'))
  world.clock.settle()
  assert.equal(box.results, null, 'created, and the answer lost')
  const id = world.node(2).cluster.topic('orders')!.id
  world.isolate(1)
  world.elect(3)
  world.clock.advance(100)
  assert.deepEqual(codes(box), [null])
  assert.equal(box.results![0]!.topic!.id, id)
})

test('a deletion whose answer was lost succeeds again, and spares what was created in between', () => {
  const world = formed()
  create(world.node(2).cluster, request('orders'))
  world.clock.settle()
  world.muted.add(1)
  const box = remove(world.node(2).cluster, 'orders')
  world.clock.settle()
  assert.equal(world.node(2).cluster.topic('orders'), undefined)
  create(world.node(1).cluster, request('orders'))
  world.clock.settle()
  world.isolate(1)
  world.elect(3)
  world.clock.advance(100)
  assert.deepEqual(codes(box), [null])
  assert.notEqual(world.node(2).cluster.topic('orders'), undefined)
})

test('a deletion whose answer was lost spares what was created in between, also where the node did not know the topic', () => {
  const world = formed()
  world.slow.add(3)
  create(world.node(1).cluster, request('orders'))
  world.clock.settle()
  world.muted.add(1)
  const box = remove(world.node(3).cluster, 'orders')
  world.clock.settle()
  assert.equal(world.node(2).cluster.topic('orders'), undefined)
  assert.equal(box.results, null, 'deleted, and the answer lost')
  create(world.node(1).cluster, request('orders'))
  world.clock.settle()
  world.isolate(1)
  world.elect(2)
  world.clock.advance(100)
  world.resume()
  assert.deepEqual(codes(box), [null])
  assert.notEqual(world.node(2).cluster.topic('orders'), undefined, 'what was created in between is spared')
})

test('an alteration whose answer was lost does not undo what somebody has changed since', () => {
  const world = formed()
  create(world.node(2).cluster, request('orders'))
  world.clock.settle()
  world.muted.add(1)
  const box = alter(world.node(2).cluster, 'orders', 'retention.ms', '1000')
  world.clock.settle()
  const retention = (): string | undefined => world.node(2).cluster.topic('orders')?.configs['retention.ms']
  assert.deepEqual([retention(), box.results], ['1000', null], 'altered, and the answer lost')
  alter(world.node(1).cluster, 'orders', 'retention.ms', '604800000')
  world.clock.settle()
  assert.equal(retention(), '604800000')
  world.isolate(1)
  world.elect(3)
  world.clock.advance(100)
  assert.deepEqual(codes(box), [null])
  assert.equal(retention(), '604800000')
})

/** Node 3 knows an earlier topic of that name. */
function behind(): World {
  const world = formed()
  create(world.node(1).cluster, request('orders'))
  world.clock.settle()
  world.slow.add(3)
  remove(world.node(1).cluster, 'orders')
  create(world.node(1).cluster, request('orders'))
  world.clock.settle()
  return world
}

test('a deletion by name through a node that is behind deletes what has the name now', () => {
  const world = behind()
  const box = remove(world.node(3).cluster, 'orders')
  world.clock.settle()
  world.resume()
  assert.deepEqual(codes(box), [null])
  assert.equal(world.node(1).cluster.topic('orders'), undefined)
})

test('a deletion by name through a node that is behind, and whose first attempt came to nothing, deletes what has the name', () => {
  const world = behind()
  const box = remove(world.node(3).cluster, 'orders')
  world.isolate(1)
  world.clock.settle()
  world.elect(2)
  world.clock.advance(100)
  world.resume()
  assert.deepEqual(codes(box), [null])
  assert.equal(world.node(2).cluster.topic('orders'), undefined, 'done means that it is gone')
})

test('a deletion by name through a node that is behind, and whose answer was lost, has deleted what had the name', () => {
  const world = behind()
  world.muted.add(1)
  const box = remove(world.node(3).cluster, 'orders')
  world.clock.settle()
  assert.equal(box.results, null)
  world.isolate(1)
  world.elect(2)
  world.clock.advance(100)
  world.resume()
  assert.deepEqual(codes(box), [null])
  assert.equal(world.node(2).cluster.topic('orders'), undefined, 'done means that it is gone')
})

test('of two deletions of one topic whose answers were lost, one has deleted it', () => {
  const world = formed()
  create(world.node(2).cluster, request('orders'))
  world.clock.settle()
  world.muted.add(1)
  const first = remove(world.node(2).cluster, 'orders')
  const second = remove(world.node(3).cluster, 'orders')
  world.clock.settle()
  assert.equal(world.node(2).cluster.topic('orders'), undefined)
  world.isolate(1)
  world.elect(3)
  world.clock.advance(100)
  assert.deepEqual([codes(first)![0], codes(second)![0]].sort(), ['UNKNOWN_TOPIC', null])
})

test('a creation whose answer was lost is not done again after somebody deleted the topic', () => {
  for (const taken of [false, true]) {
    const world = formed()
    world.muted.add(1)
    const box = create(world.node(2).cluster, request('orders'))
    world.clock.settle()
    const { id } = world.node(2).cluster.topic('orders')!
    const deletion = remove(world.node(1).cluster, 'orders')
    const another = taken ? create(world.node(1).cluster, request('orders')) : null
    world.clock.settle()
    assert.deepEqual(codes(deletion), [null])
    world.isolate(1)
    world.elect(3)
    world.clock.advance(100)
    // Neither "exists" for what it has created, nor "done" for what is somebody else's, nor a second topic of its id.
    assert.deepEqual(codes(box), ['TIMED_OUT'])
    assert.match(box.results![0]!.error!.message, /created, and deleted since/)
    assert.equal(world.node(2).cluster.topic('orders')?.id, another?.results?.[0]?.topic?.id)
    assert.equal(world.node(2).cluster.topicById(id), undefined)
  }
})

test('a refusal whose answer was lost stays one, and a creation that was refused is not carried out later', () => {
  const world = formed()
  create(world.node(2).cluster, request('orders'))
  world.clock.settle()
  world.muted.add(1)
  const box = create(world.node(2).cluster, request('orders'), request('more'))
  world.clock.settle()
  remove(world.node(1).cluster, 'orders')
  world.clock.settle()
  world.isolate(1)
  world.elect(3)
  world.clock.advance(100)
  assert.deepEqual(codes(box), ['TOPIC_EXISTS', null])
  assert.equal(world.node(2).cluster.topic('orders'), undefined)
  assert.equal(box.results![1]!.topic, world.node(2).cluster.topic('more'))
})

test('a first attempt that arrives after the second, late, does nothing more', () => {
  const world = formed()
  const { mesh } = world.node(2)
  const sent: { method: string; body: Uint8Array }[] = []
  const original = mesh.request.bind(mesh)
  mesh.request = (to, method, body, timeoutMs, done) => {
    sent.push({ method, body })
    original(to, method, body, timeoutMs, done)
  }
  const again = (): void => {
    const { method, body } = sent.at(-1)!
    original(1, method, body, 1000, () => {})
    world.clock.settle()
  }
  const creation = create(world.node(2).cluster, request('orders'))
  world.clock.settle()
  assert.deepEqual(codes(creation), [null])
  remove(world.node(1).cluster, 'orders')
  world.clock.settle()
  again()
  assert.equal(world.node(1).cluster.topic('orders'), undefined)
  const deletion = remove(world.node(2).cluster, 'orders')
  world.clock.settle()
  assert.deepEqual(codes(deletion), ['UNKNOWN_TOPIC'])
  create(world.node(1).cluster, request('orders'))
  world.clock.settle()
  again()
  assert.notEqual(world.node(1).cluster.topic('orders'), undefined)
})

test('what was decided is in the snapshot, too', () => {
  const world = formed()
  create(world.node(2).cluster, request('orders'))
  world.clock.settle()
  world.muted.add(1)
  const box = remove(world.node(2).cluster, 'orders')
  world.clock.settle()
  create(world.node(1).cluster, request('orders'))
  world.clock.settle()
  const snapshot = world.node(3).replica.machine!.snapshot()
  world.nodes.delete(3)
  world.add(3, [1, 2, 3], 'disk-3', snapshot)
  world.isolate(1)
  world.elect(3)
  world.clock.advance(100)
  assert.deepEqual(codes(box), [null])
  assert.notEqual(world.node(2).cluster.topic('orders'), undefined)
})

/** More than a controller remembers. */
function flood(world: World): void {
  const names = Array.from({ length: OUTCOMES_KEPT }, (_, i) => `nothing-${i}`)
  remove(world.node(1).cluster, ...names)
  world.clock.settle()
}

test('a node that is further behind than outcomes are remembered is told so, and asks again', () => {
  const world = formed()
  create(world.node(1).cluster, request('orders'))
  world.clock.settle()
  world.slow.add(3)
  flood(world)
  flood(world)
  const box = remove(world.node(3).cluster, 'orders')
  world.clock.advance(100)
  world.resume()
  assert.deepEqual(codes(box), [null])
})

test('a second attempt beyond what is remembered decides nothing, and says so', () => {
  const world = formed()
  create(world.node(2).cluster, request('orders'))
  world.clock.settle()
  world.muted.add(1)
  const box = remove(world.node(2).cluster, 'orders')
  world.clock.settle()
  create(world.node(1).cluster, request('orders'))
  flood(world)
  world.isolate(1)
  world.elect(3)
  world.clock.advance(100)
  assert.deepEqual(codes(box), ['TIMED_OUT'])
  assert.notEqual(world.node(2).cluster.topic('orders'), undefined)
})

test('who stays behind does not say "done" of what it cannot show', () => {
  const world = behind()
  const box = remove(world.node(3).cluster, 'orders')
  world.clock.advance(4000)
  assert.equal(box.results, null, 'this node cannot show it yet')
  world.clock.advance(1001)
  assert.deepEqual(codes(box), ['TIMED_OUT'])
  assert.equal(world.node(1).cluster.topic('orders'), undefined)
})

test('a deletion by id spares a later topic of the same name', () => {
  const world = formed()
  create(world.node(1).cluster, request('orders'))
  world.clock.settle()
  const { id } = world.node(3).cluster.topic('orders')!
  world.slow.add(3)
  remove(world.node(1).cluster, 'orders')
  create(world.node(1).cluster, request('orders'))
  world.clock.settle()
  const box: { results: TopicResult[] | null } = { results: null }
  world.node(3).cluster.deleteTopics([{ name: 'orders', id }], (results) => {
    box.results = results
  })
  world.clock.settle()
  world.resume()
  assert.deepEqual(codes(box), ['UNKNOWN_TOPIC'])
  assert.notEqual(world.node(1).cluster.topic('orders'), undefined)
})
