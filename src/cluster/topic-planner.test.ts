import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { record } from './cluster-testing.ts'
import {
  type CreateTopicRequest,
  decodeCommand,
  PARTITIONS_MAX,
  type TopicResult,
  topicNameDefect,
} from './commands.ts'
import { Metadata, nodeChange } from './metadata.ts'
import { MetadataDraft } from './metadata-draft.ts'
import { TOPIC_SETTINGS, topicSettingDefect } from './topic-config.ts'
import { createOnce, deleteOnce, type PlanContext, planCreation, planDeletion, planFinish } from './topic-planner.ts'

const ALL_UP: PlanContext = { isUp: () => true, expectedNodes: 3, patient: false }

function draftOf(nodes = [1, 2, 3], metadata = new Metadata()): MetadataDraft {
  for (const node of nodes) {
    const { key, value } = nodeChange(record(node))
    metadata.set(key, value)
  }
  return new MetadataDraft(metadata)
}

function ask(more: Partial<CreateTopicRequest>): CreateTopicRequest & { id: string } {
  const name = 'orders'
  return { name, id: 'a'.repeat(32), partitions: -1, replicationFactor: -1, configs: {}, validateOnly: false, ...more }
}

function answer(more: Partial<CreateTopicRequest>, draft = draftOf()): string {
  const result = planCreation(ask(more), draft, ALL_UP)
  assert.notEqual(result, 'wait')
  return result === 'wait' ? result : (result.error?.code ?? 'created')
}

test('names follow Kafka’s rules', () => {
  for (const name of ['a', 'A.b_c-9', '...', 'x'.repeat(249)]) assert.equal(topicNameDefect(name), null)
  for (const name of ['', '.', '..', 'a b', 'ä', 'a/b', 'a\n', 'x'.repeat(250)])
    assert.notEqual(topicNameDefect(name), null)
})

test('what is asked for wrongly is refused by name', () => {
  assert.equal(answer({ name: 'a b' }), 'INVALID_TOPIC_NAME')
  assert.equal(answer({ name: '__consumer_offsets' }), 'INVALID_TOPIC_NAME')
  assert.equal(answer({ name: '__consumer_offsets', internal: true }), 'created')
  for (const partitions of [0, -2, PARTITIONS_MAX + 1]) assert.equal(answer({ partitions }), 'INVALID_PARTITIONS')
  for (const replicationFactor of [0, -2, 4, 40_000]) {
    assert.equal(answer({ replicationFactor }), 'INVALID_REPLICATION_FACTOR')
  }
  assert.equal(answer({ configs: { 'retention.ms': 'soon' } }), 'INVALID_CONFIG')
  assert.equal(answer({ configs: { 'unclean.leader.election.enable': 'true' } }), 'INVALID_CONFIG')
  assert.equal(answer({ configs: { constructor: '1' } }), 'INVALID_CONFIG')
  assert.equal(answer({ configs: { 'retention.ms': null } }), 'created')
})

test('settings are checked as Kafka checks them', () => {
  const good = {
    'cleanup.policy': 'compact, delete',
    'retention.ms': '-1',
    'segment.bytes': '14',
    'compression.type': 'producer',
  }
  for (const [name, value] of Object.entries(good)) assert.equal(topicSettingDefect(name, value), null)
  const bad = {
    'cleanup.policy': '',
    'compression.type': 'zstd',
    'delete.retention.ms': '-1',
    'max.compaction.lag.ms': '0',
    'max.message.bytes': '2147483648',
    'message.timestamp.type': 'createtime',
    'min.cleanable.dirty.ratio': '1.1',
    'min.compaction.lag.ms': '-1',
    'min.insync.replicas': '0',
    'retention.bytes': '9223372036854775808',
    'retention.ms': '1e3',
    'segment.bytes': '13',
    'segment.jitter.ms': '-1',
    'segment.ms': '0',
  }
  assert.deepEqual(Object.keys(bad).sort(), Object.keys(TOPIC_SETTINGS).sort())
  for (const [name, value] of Object.entries(bad)) assert.match(topicSettingDefect(name, value)!, new RegExp(name))
  for (const [name, { defaultValue }] of Object.entries(TOPIC_SETTINGS)) {
    assert.equal(topicSettingDefect(name, defaultValue), null)
  }
})

test('more in-sync replicas than a majority are refused, with the value that is possible', () => {
  const created = (value: string, more: Partial<CreateTopicRequest> = {}): string =>
    answer({ configs: { 'min.insync.replicas': value }, ...more })
  assert.deepEqual(
    ['1', '2', '3'].map((value) => created(value)),
    ['created', 'created', 'INVALID_CONFIG'],
  )
  assert.equal(created('2', { replicationFactor: 1 }), 'INVALID_CONFIG')
  assert.equal(created('2', { replicationFactor: 2 }), 'created')
  assert.equal(created('2', { assignments: [{ partition: 0, replicas: [1] }] }), 'INVALID_CONFIG')
  const draft = draftOf()
  const result = planCreation(ask({ configs: { 'min.insync.replicas': '3' } }), draft, ALL_UP)
  assert.match(result === 'wait' ? '' : result.error!.message!, /value 3 .* must be at most 2, the majority of 3/)
  assert.equal(draft.topic('orders'), undefined)
})

test('a compaction that may begin only after it must is refused', () => {
  const [least, most] = ['min.compaction.lag.ms', 'max.compaction.lag.ms'] as const
  assert.equal(answer({ configs: { [least]: '5000', [most]: '5000' } }), 'created')
  assert.equal(answer({ configs: { [least]: '5000' } }), 'created')
  assert.equal(answer({ configs: { [least]: '5000', [most]: '4999' } }), 'INVALID_CONFIG')
  const result = planCreation(ask({ configs: { [least]: '5000', [most]: '1000' } }), draftOf(), ALL_UP)
  assert.match(
    result === 'wait' ? '' : result.error!.message!,
    /value 5000 .*min.* must be at most max.*, which is 1000/,
  )
})

test('a placement by the client is taken as it is, or refused', () => {
  const draft = draftOf()
  const assignments = [
    { partition: 1, replicas: [3, 1] },
    { partition: 0, replicas: [2, 3] },
  ]
  const result = planCreation(ask({ assignments }), draft, ALL_UP)
  assert.ok(result !== 'wait' && result.error === null)
  assert.deepEqual(
    result.topic!.partitions.map(({ replicas }) => replicas.map(({ node }) => node)),
    [
      [2, 3],
      [3, 1],
    ],
  )
  const refused = (...replicas: { partition: number; replicas: number[] }[]): string =>
    answer({ assignments: replicas })
  assert.equal(refused({ partition: 1, replicas: [1] }), 'INVALID_ASSIGNMENT')
  assert.equal(refused({ partition: 0, replicas: [] }), 'INVALID_ASSIGNMENT')
  assert.equal(refused({ partition: 0, replicas: [1, 1] }), 'INVALID_ASSIGNMENT')
  assert.equal(refused({ partition: 0, replicas: [9] }), 'INVALID_ASSIGNMENT')
  assert.equal(refused({ partition: 0, replicas: [1] }, { partition: 1, replicas: [1, 2] }), 'INVALID_ASSIGNMENT')
  assert.equal(answer({ assignments, partitions: 2 }), 'INVALID_REQUEST')
})

test('the cluster’s own topics are not deleted by clients', () => {
  const draft = draftOf()
  answer({ name: '__consumer_offsets', internal: true }, draft)
  const result = planDeletion({ name: '__consumer_offsets', id: null }, draft)
  assert.equal(result.error?.code, 'INVALID_REQUEST')
})

test('each topic of a request is decided on once, whatever became of it since', () => {
  const draft = draftOf()
  const byName = { name: 'orders', id: null }
  const codeOf = (result: TopicResult | 'wait'): string | null => {
    assert.notEqual(result, 'wait')
    return result === 'wait' ? result : (result.error?.code ?? null)
  }
  const create = (request: string, place: number, id: string): string | null =>
    codeOf(createOnce({ ...ask({}), id: id.repeat(32) }, request, place, draft, ALL_UP))
  assert.equal(codeOf(deleteOnce(byName, 'r1', 0, draft)), 'UNKNOWN_TOPIC')
  assert.equal(create('r2', 0, 'a'), null)
  assert.equal(codeOf(deleteOnce(byName, 'r1', 0, draft)), 'UNKNOWN_TOPIC', 'as before')
  assert.equal(create('r2', 0, 'a'), null, 'its own')
  assert.equal(create('r2', 1, 'b'), 'TOPIC_EXISTS', 'another place is another creation')
  assert.equal(create('r3', 0, 'c'), 'TOPIC_EXISTS')
  assert.equal(codeOf(deleteOnce(byName, 'r4', 0, draft)), null)
  assert.equal(create('r2', 0, 'a'), 'TIMED_OUT', 'created, and gone')
  assert.equal(create('r3', 0, 'c'), 'TOPIC_EXISTS', 'as before')
  assert.equal(create('r5', 0, 'd'), null)
  assert.equal(codeOf(deleteOnce(byName, 'r4', 0, draft)), null, 'as before')
  assert.equal(create('r2', 0, 'a'), 'TIMED_OUT', 'what is there now is somebody else’s')
  assert.equal(draft.topic('orders')!.id, 'd'.repeat(32))
})

test('the record of what was done is never in another entry than what was done', () => {
  const draft = draftOf()
  createOnce(ask({}), 'r1', 0, draft, ALL_UP)
  createOnce(ask({}), 'r2', 0, draft, ALL_UP)
  deleteOnce({ name: 'orders', id: null }, 'r3', 0, draft)
  assert.deepEqual(
    draft.changes().map(({ key, joined }) => (joined ? `+ ${key}` : key)),
    ['ids/shard', 'topic/orders', '+ outcome/0', 'outcome/1', 'topic/orders', '+ outcome/2'],
  )
})

test('who only asks what would be is answered anew each time', () => {
  const draft = draftOf()
  const trial = ask({ validateOnly: true })
  const first = createOnce(trial, 'r1', 0, draft, ALL_UP)
  assert.ok(first !== 'wait' && first.error === null)
  assert.deepEqual(draft.changes(), [])
  assert.equal(answer({}, draft), 'created')
  const second = createOnce(trial, 'r1', 0, draft, ALL_UP)
  assert.ok(second !== 'wait' && second.error?.code === 'TOPIC_EXISTS')
})

test('a topic knows which producers cannot have written to an earlier one of its name', () => {
  const draft = draftOf()
  draft.takeProducerIds(1000)
  assert.equal(answer({ name: 'orders' }, draft), 'created')
  assert.equal(draft.topic('orders')?.newProducersFrom, 1, 'nothing was ever deleted')
  assert.equal(planDeletion({ name: 'orders', id: null }, draft).error, null)
  draft.takeProducerIds(1000)
  assert.equal(answer({ name: 'orders' }, draft), 'created')
  assert.equal(draft.topic('orders')?.newProducersFrom, 1001)
  const metadata = new Metadata()
  for (const { key, value } of draft.changes()) metadata.set(key, value)
  const later = draftOf([1, 2, 3], metadata)
  assert.equal(answer({ name: 'parcels' }, later), 'created', 'of names that are gone nothing is kept')
  assert.equal(later.topic('parcels')?.newProducersFrom, 1001)
})

test('what is refused leaves no trace in the draft', () => {
  const draft = draftOf()
  answer({ configs: { nonsense: '1' }, partitions: 3 }, draft)
  answer({ replicationFactor: 9 }, draft)
  assert.deepEqual(draft.changes(), [])
})

test('commands survive the wire, and nothing else passes', () => {
  const attempt = { request: '0f'.repeat(16), since: 7 }
  const create = {
    type: 'create-topics',
    ...attempt,
    topics: [ask({ assignments: [{ partition: 0, replicas: [1] }] })],
    patienceMs: 4000,
  }
  const commands = [
    create,
    { type: 'delete-topics', ...attempt, topics: [{ name: 'a', id: null }] },
    { type: 'allocate-producer-ids', count: 1000 },
  ]
  for (const command of commands) {
    assert.deepEqual(decodeCommand(Buffer.from(JSON.stringify(command))), command)
  }
  const wrong = [
    null,
    [],
    { type: 'allocate-producer-ids', count: 1e9 },
    { type: 'allocate-producer-ids', count: -1 },
    { type: 'delete-topics', ...attempt, topics: [{ name: 1, id: null }] },
    { type: 'delete-topics', ...attempt, request: 'short', topics: [] },
    { type: 'delete-topics', ...attempt, since: -1, topics: [] },
    { ...create, topics: [{ ...create.topics[0], id: 'short' }] },
    { ...create, topics: [{ ...create.topics[0], configs: { a: 1 } }] },
  ]
  for (const command of wrong) assert.equal(decodeCommand(Buffer.from(JSON.stringify(command))), null)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => assert.equal(decodeCommand(Buffer.from(bytes)), null)),
    { numRuns: 50 },
  )
  fc.assert(
    fc.property(fc.object(), (object) => {
      decodeCommand(Buffer.from(JSON.stringify({ ...create, ...object })))
    }),
    { numRuns: 50 },
  )
})

test('a topic to be restored knows its offsets, is asked for again without harm, and is opened once', () => {
  const restored = [
    { baseOffset: 10, startOffset: 12, endOffset: 40 },
    { baseOffset: 0, startOffset: 0, endOffset: 0 },
  ]
  const draft = draftOf()
  const configs = { 'retention.ms': '5' }
  assert.equal(answer({ restored, configs }, draft), 'created')
  const topic = draft.topic('orders')!
  assert.deepEqual([topic.restoring, topic.partitions.map((partition) => partition.restored)], [true, restored])
  assert.equal(answer({ restored, configs }, draft), 'created', 'the same again')
  assert.equal(draft.topic('orders'), topic)
  for (const other of [restored.slice(1), [restored[0]!, { ...restored[1]!, endOffset: 1 }]])
    assert.equal(answer({ restored: other, configs }, draft), 'TOPIC_EXISTS')
  assert.equal(answer({ restored, configs: { 'retention.ms': '6' } }, draft), 'TOPIC_EXISTS')
  assert.equal(answer({ restored }, draft), 'TOPIC_EXISTS')
  assert.equal(answer({}, draft), 'TOPIC_EXISTS')
  assert.equal(answer({ restored: [] }), 'INVALID_REQUEST')
  assert.equal(answer({ restored: [{ baseOffset: 5, startOffset: 4, endOffset: 9 }] }), 'INVALID_REQUEST')

  // Through the log and back, as every node sees it.
  const metadata = new Metadata()
  const applied = () => {
    for (const { key, value } of draft.changes()) metadata.set(key, value)
    return metadata.topics.get('orders')!
  }
  assert.deepEqual(applied(), topic)
  assert.equal(planFinish({ name: 'orders', id: 'b'.repeat(32) }, draft).error?.code, 'UNKNOWN_TOPIC')
  for (let i = 0; i < 2; i++) assert.equal(planFinish({ name: 'orders', id: topic.id }, draft).error, null)
  const { restoring: _over, ...open } = topic
  assert.deepEqual(applied(), open)
  assert.equal(answer({ restored, configs }, draft), 'TOPIC_EXISTS')
})

test('commands of a restore that are none are not believed', () => {
  const since = { request: 'a'.repeat(32), since: 0 }
  const creation = (restored: unknown) =>
    decodeCommand(
      Buffer.from(
        JSON.stringify({ type: 'create-topics', ...since, patienceMs: 0, topics: [{ ...ask({}), restored }] }),
      ),
    )
  assert.notEqual(creation([{ baseOffset: 1, startOffset: 1, endOffset: 2 }]), null)
  for (const wrong of [{}, [null], [{ baseOffset: -1, startOffset: 1, endOffset: 2 }], [{ baseOffset: 1 }]])
    assert.equal(creation(wrong), null)
  const finish = (topics: unknown) => decodeCommand(Buffer.from(JSON.stringify({ type: 'finish-restore', topics })))
  assert.notEqual(finish([{ name: 'a', id: 'b'.repeat(32) }]), null)
  for (const wrong of [{}, [{ name: 'a' }], [{ name: 1, id: 'b'.repeat(32) }]]) assert.equal(finish(wrong), null)
})
