import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type AlterTopicRequest, decodeCommand, type SettingChange } from './commands.ts'
import { Metadata, topicChange } from './metadata.ts'
import { MetadataDraft } from './metadata-draft.ts'
import { planAlteration } from './topic-alteration.ts'

const set = (name: string, value: string | null): SettingChange => ({ name, operation: 'set', value })

function metadataWith(configs: Record<string, string>): Metadata {
  const metadata = new Metadata()
  const topic = { name: 'tides', id: '1'.repeat(32), partitions: [], configs, internal: false, newProducersFrom: 0 }
  for (const one of [topic, { ...topic, name: '__groups', id: '2'.repeat(32), internal: true }]) {
    const { key, value } = topicChange(one)
    metadata.set(key, value)
  }
  return metadata
}

function alter(configs: Record<string, string>, changes: SettingChange[], rest: Partial<AlterTopicRequest> = {}) {
  const draft = new MetadataDraft(metadataWith(configs))
  const result = planAlteration({ name: 'tides', changes, replace: false, validateOnly: false, ...rest }, draft)
  return { error: result.error?.code ?? null, configs: draft.topic('tides')!.configs, changes: draft.changes().length }
}

test('alterations: set, delete, append, subtract, and nothing where nothing changes', () => {
  const before = { 'retention.ms': '5', 'cleanup.policy': 'delete' }
  assert.deepEqual(alter(before, [set('retention.bytes', '9')]).configs, { ...before, 'retention.bytes': '9' })
  assert.deepEqual(alter(before, [{ name: 'retention.ms', operation: 'delete', value: null }]).configs, {
    'cleanup.policy': 'delete',
  })
  const appended = alter(before, [{ name: 'cleanup.policy', operation: 'append', value: 'compact,delete' }])
  assert.equal(appended.configs['cleanup.policy'], 'delete,compact')
  const less = alter({ 'cleanup.policy': 'delete,compact' }, [
    { name: 'cleanup.policy', operation: 'subtract', value: 'delete' },
  ])
  assert.equal(less.configs['cleanup.policy'], 'compact')
  assert.equal(alter(before, [set('retention.ms', '5')]).changes, 0)
  assert.deepEqual(alter(before, [set('segment.ms', '7')], { replace: true }).configs, { 'segment.ms': '7' })
  assert.equal(alter(before, [set('retention.ms', '6')], { validateOnly: true }).changes, 0)
})

test('alterations: more in-sync replicas than a majority are refused, unless they were there before', () => {
  const replicas = [1, 2, 3].map((node) => ({ node, disk: 'd' }))
  const before = { 'min.insync.replicas': '3' }
  const { key, value } = topicChange({
    ...{ name: 'tides', id: '1'.repeat(32), configs: before, internal: false, newProducersFrom: 0 },
    partitions: [{ shard: 16, replicas }],
  })
  const metadata = new Metadata()
  metadata.set(key, value)
  const code = (...changes: SettingChange[]): string | null => {
    const request = { name: 'tides', changes, replace: false, validateOnly: true }
    return planAlteration(request, new MetadataDraft(metadata)).error?.code ?? null
  }
  assert.equal(code(set('min.insync.replicas', '3')), 'INVALID_CONFIG')
  assert.equal(code(set('min.insync.replicas', '2')), null)
  assert.equal(code(set('retention.ms', '5')), null)
  assert.equal(code(set('min.compaction.lag.ms', '5'), set('max.compaction.lag.ms', '4')), 'INVALID_CONFIG')
  assert.equal(code(set('min.compaction.lag.ms', '5'), set('max.compaction.lag.ms', '5')), null)
})

test('alterations: one that is wrong changes nothing', () => {
  const wrong: [SettingChange[], string][] = [
    [[set('retention.bytes', '1'), set('retention.ms', 'soon')], 'INVALID_CONFIG'],
    [[set('no.such.setting', '1')], 'INVALID_CONFIG'],
    [[set('file.delete.delay.ms', '1')], 'INVALID_CONFIG'],
    [[{ name: '__proto__', operation: 'delete', value: null }], 'INVALID_CONFIG'],
    [[set('retention.ms', null)], 'INVALID_REQUEST'],
    [[set('retention.ms', '1'), set('retention.ms', '2')], 'INVALID_REQUEST'],
    [[{ name: 'retention.ms', operation: 'append', value: '2' }], 'INVALID_CONFIG'],
    [[{ name: 'cleanup.policy', operation: 'subtract', value: 'delete' }], 'INVALID_CONFIG'],
  ]
  for (const [changes, code] of wrong) {
    const answer = alter({ 'retention.ms': '5' }, changes)
    assert.deepEqual([answer.error, answer.changes, answer.configs], [code, 0, { 'retention.ms': '5' }])
  }
  assert.equal(alter({}, [], { name: 'nobody' }).error, 'UNKNOWN_TOPIC')
  assert.equal(alter({}, [], { name: '__groups' }).error, 'INVALID_REQUEST')
})

test('alterations: what comes over the wire is looked at', () => {
  const good = {
    type: 'alter-topics',
    request: 'a'.repeat(32),
    since: 4,
    topics: [{ name: 'a', changes: [set('b', null)], replace: true, validateOnly: true }],
  }
  assert.deepEqual(decodeCommand(Buffer.from(JSON.stringify(good))), good)
  for (const broken of [
    { ...good, request: 'a' },
    { ...good, since: -1 },
    { ...good, topics: [{ ...good.topics[0], replace: 1 }] },
    { ...good, topics: [{ ...good.topics[0], changes: [{ name: 'x', operation: 'twist', value: null }] }] },
    { ...good, topics: [{ ...good.topics[0], changes: [{ name: 'x', operation: 'set', value: 4 }] }] },
  ])
    assert.equal(decodeCommand(Buffer.from(JSON.stringify(broken))), null)
})
