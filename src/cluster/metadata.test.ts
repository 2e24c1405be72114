import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { KeyedChange } from '../records/index.ts'
import { AssertionFailed } from '../stdx/index.ts'
import { record } from './cluster-testing.ts'
import {
  clusterChange,
  FIRST_PARTITION_SHARD,
  idsChange,
  loadOf,
  Metadata,
  nodeChange,
  type Topic,
  topicChange,
  topicRemoval,
} from './metadata.ts'
import { MetadataDraft } from './metadata-draft.ts'

function topic(name: string, firstShard: number, nodes: readonly number[][], id = name.padEnd(32, '0')): Topic {
  return {
    name,
    id,
    partitions: nodes.map((replicas, i) => ({
      shard: firstShard + i,
      replicas: replicas.map((node) => ({ node, disk: `disk-${node}` })),
    })),
    configs: { 'retention.ms': '-1' },
    internal: false,
    newProducersFrom: 1,
  }
}

function apply(metadata: Metadata, ...changes: KeyedChange[]): void {
  for (const { key, value } of changes) metadata.set(key, value)
}

test('what is written is what is read', () => {
  const metadata = new Metadata()
  const node = { ...record(7), http: null, rack: 'r1' }
  const orders = topic('orders', 16, [[7], [7]])
  apply(
    metadata,
    clusterChange('c'),
    nodeChange(node),
    idsChange('shard', 18),
    idsChange('producer', 5001),
    idsChange('deletion', 3001),
    topicChange(orders),
  )
  assert.equal(metadata.clusterId, 'c')
  assert.deepEqual([...metadata.nodes.values()], [node])
  assert.deepEqual(metadata.topics.get('orders'), orders)
  assert.deepEqual(metadata.topicById(orders.id), orders)
  assert.deepEqual(metadata.partitionOf(17), { topic: orders, index: 1 })
  assert.equal(metadata.nextShardId, 18)
  assert.equal(metadata.nextProducerId, 5001)
  assert.equal(metadata.deletionProducerId, 3001)
  metadata.clear()
  assert.equal(metadata.deletionProducerId, metadata.nextProducerId)
  assert.equal(metadata.clusterId, null)
  assert.equal(metadata.nextShardId, FIRST_PARTITION_SHARD)
  assert.equal(metadata.topics.size + metadata.nodes.size, 0)
})

test('removing or replacing a topic leaves nothing of it behind', () => {
  const metadata = new Metadata()
  const first = topic('orders', 16, [[1], [1]])
  const second = topic('orders', 18, [[1]], 'f'.repeat(32))
  apply(metadata, topicChange(first))
  assert.deepEqual(metadata.set('topic/orders', topicChange(second).value), {
    type: 'topic',
    topic: second,
    before: first,
  })
  assert.equal(metadata.topicById(first.id), undefined)
  assert.equal(metadata.partitionOf(16), undefined)
  assert.equal(metadata.partitionOf(18)?.index, 0)
  const { key, value } = topicRemoval('orders')
  assert.deepEqual(metadata.set(key, value), { type: 'topic-removed', topic: second })
  assert.equal(metadata.partitionOf(18), undefined)
})

test('a value that this version cannot read stops the node, with the key in the message', () => {
  const defects: [string, unknown, RegExp][] = [
    ['topic/t', { v: 2 }, /topic\/t has format version 2, this node reads 1: run a newer Tidemark/],
    ['node/1', { v: 1, id: 1, diskIncarnation: 5 }, /node\/1: diskIncarnation is 5, expected text/],
    ['node/1', { v: 1, ...record(2) }, /node\/1 holds node 2/],
    ['ids/shard', { v: 1, next: -1 }, /next is -1/],
    ['wonders/7', { v: 1, next: 1 }, /unknown to this version/],
    ['topic/t', [], /not an object/],
    ['topic/t', { v: 1, ...topic('u', 16, [[1]]) }, /holds topic u/],
  ]
  for (const [key, value, message] of defects) {
    assert.throws(
      () => new Metadata().set(key, Buffer.from(JSON.stringify(value))),
      (error) => error instanceof AssertionFailed && message.test(error.message),
    )
  }
  assert.throws(() => new Metadata().set('cluster', Buffer.from('{')), /cluster is not JSON/)
  assert.throws(() => new Metadata().set('cluster', null), /cannot be deleted/)
})

test('load counts replicas and preferred leaders', () => {
  const load = loadOf([
    topic('a', 16, [
      [1, 2],
      [2, 1],
    ]),
    topic('b', 18, [[1, 3]]),
  ])
  assert.deepEqual(load.get(1), { leaders: 2, replicas: 3 })
  assert.deepEqual(load.get(3), { leaders: 0, replicas: 1 })
})

const step = fc.oneof(
  fc.record({
    type: fc.constant('put' as const),
    name: fc.constantFrom('a', 'b', 'c'),
    partitions: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({ type: fc.constant('remove' as const), name: fc.constantFrom('a', 'b', 'c') }),
)

test('a draft says beforehand what the metadata says after its changes', () => {
  fc.assert(
    fc.property(fc.array(fc.array(step, { maxLength: 6 }), { maxLength: 6 }), (batches) => {
      const metadata = new Metadata()
      for (const batch of batches) {
        const draft = new MetadataDraft(metadata)
        for (const command of batch) {
          if (command.type === 'remove') draft.removeTopic(command.name)
          else {
            draft.takeProducerIds(command.partitions)
            const first = draft.takeShardIds(command.partitions)
            const nodes = Array.from({ length: command.partitions }, (_, i) => [(first + i) % 3])
            draft.putTopic(topic(command.name, first, nodes, String(first).padStart(32, '0')))
          }
        }
        const load = draft.clone().load()
        assert.deepEqual(new Map([...draft.load()].sort()), new Map([...load].sort()))
        const foreseen = ['a', 'b', 'c'].map((name) => draft.topic(name))
        apply(metadata, ...draft.changes())
        assert.deepEqual(
          foreseen,
          ['a', 'b', 'c'].map((name) => metadata.topics.get(name)),
        )
        assert.equal(metadata.nextShardId, draft.nextShardId)
        assert.equal(metadata.deletionProducerId, draft.deletionProducerId)
        const counted = [...loadOf(metadata.topics.values())].sort()
        assert.deepEqual([...draft.load()].sort(), counted)
      }
    }),
    { numRuns: 100 },
  )
})
