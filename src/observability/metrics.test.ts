import assert from 'node:assert/strict'
import test from 'node:test'
import { Metrics, type MetricsSources } from './metrics.ts'
import type { NodeEvent } from './node-event.ts'

type ShardView = ReturnType<MetricsSources['shards']> extends Iterable<infer S> ? S : never

const SHARD: ShardView = {
  shard: 16,
  topic: 'orders',
  partition: 2,
  role: 'leader',
  term: 7,
  highWatermark: 40,
  startOffset: 5,
  endOffset: 44,
  storedBytes: 900,
  startMovedBy: 'retention.bytes',
  startHoldKinds: ['segment-in-use', 'retention.ms'],
}

const HELD = { segments: 3, heldBy: 16 }

/** `name{labels}` → value, as a scraper reads it. */
async function scrape(metrics: Metrics): Promise<Map<string, number>> {
  const { contentType, text } = await metrics.text()
  assert.match(contentType, /^text\/plain; version=0\.0\.4/)
  const values = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const at = line.lastIndexOf(' ')
    values.set(line.slice(0, at), Number(line.slice(at + 1)))
  }
  return values
}

function metricsOf(shards: ShardView[] = [], journal: ReturnType<MetricsSources['journal']> = HELD): Metrics {
  const disk = { freeBytes: 99, reserveBytes: 100, low: 'low', stuckMs: 0 }
  return new Metrics({
    shards: () => shards,
    journal: () => journal,
    backlog: () => ({ journalQueuedBytes: 77, unwrittenBytes: 88 }),
    memoryBytes: () => 1234,
    disk: () => disk,
    damagedRanges: () => 2,
  })
}

test('events are counted, states are read when somebody asks', async () => {
  const shards = [SHARD]
  const metrics = metricsOf(shards)
  const note = (layer: NodeEvent['layer'], event: object): void =>
    metrics.note({ layer, event } as unknown as NodeEvent)
  note('storage', { type: 'journal-synced', microseconds: 800, bytes: 4096, entries: 3 })
  note('storage', { type: 'journal-synced', microseconds: 90_000, bytes: 512, entries: 1 })
  note('streams', { type: 'stream-appended', shard: 16, index: 1, firstOffset: 0, records: 10, bytes: 900 })
  note('streams', { type: 'stream-refused', shard: 16, error: 2, reason: 'crc' })
  note('streams', { type: 'stream-duplicate', shard: 16 })
  note('replication', { type: 'campaign-started', shard: 16, term: 2 })
  note('replication', { type: 'leader-stepped-down', shard: 16, term: 2, reason: 'quorum-silent' })
  note('cluster', { type: 'peer-down', node: 2, reason: 'x' })
  note('kafka', { type: 'connected', remote: 'a' })
  note('kafka', { type: 'connected', remote: 'b' })
  note('kafka', { type: 'disconnected', remote: 'a', reason: 'x' })
  note('kafka', { type: 'fetched', records: 4, bytes: 300 })
  const values = await scrape(metrics)
  const expected: [string, number][] = [
    ['tidemark_journal_sync_seconds_count', 2],
    ['tidemark_journal_sync_seconds_bucket{le="0.001"}', 1],
    ['tidemark_journal_bytes_total', 4608],
    ['tidemark_journal_entries_total', 4],
    ['tidemark_records_in_total', 10],
    ['tidemark_bytes_in_total', 900],
    ['tidemark_batches_refused_total{error="2"}', 1],
    ['tidemark_batches_duplicate_total', 1],
    ['tidemark_campaigns_total', 1],
    ['tidemark_leaders_stepped_down_total{reason="quorum-silent"}', 1],
    ['tidemark_sessions_lost_total', 1],
    ['tidemark_kafka_connections', 1],
    ['tidemark_memory_bytes', 1234],
    ['tidemark_disk_free_bytes', 99],
    ['tidemark_disk_reserve_bytes', 100],
    ['tidemark_disk_low', 1],
    ['tidemark_disk_stuck', 0],
    ['tidemark_high_water_mark{topic="orders",partition="2"}', 40],
    ['tidemark_low_water_mark{topic="orders",partition="2"}', 5],
    ['tidemark_end_offset{topic="orders",partition="2"}', 44],
    ['tidemark_stored_bytes{topic="orders",partition="2"}', 900],
    ['tidemark_low_water_mark_moved_by{topic="orders",partition="2",reason="retention.bytes"}', 1],
    ['tidemark_low_water_mark_held_by{topic="orders",partition="2",reason="segment-in-use"}', 1],
    ['tidemark_low_water_mark_held_by{topic="orders",partition="2",reason="retention.ms"}', 1],
    ['tidemark_journal_segments', 3],
    ['tidemark_journal_queued_bytes', 77],
    ['tidemark_unwritten_bytes', 88],
    ['tidemark_journal_held_by{shard="16",topic="orders",partition="2"}', 1],
    ['tidemark_term{topic="orders",partition="2"}', 7],
    ['tidemark_leads{topic="orders",partition="2"}', 1],
  ]
  for (const [name, value] of expected) assert.equal(values.get(name), value, name)
  assert.deepEqual(metrics.totals, {
    recordsIn: 10,
    bytesIn: 900,
    recordsOut: 4,
    bytesOut: 300,
    journalSyncs: 2,
    journalBytes: 4608,
    kafkaConnections: 1,
  })
  // A shard that is gone is not shown for ever.
  shards.length = 0
  assert.equal((await scrape(metrics)).has('tidemark_term{topic="orders",partition="2"}'), false)
  const free = await scrape(metricsOf(shards, { segments: 0, heldBy: null }))
  assert.deepEqual(
    [...free.keys()].filter((name) => /held_by/.test(name)),
    [],
  )
})

test('nodes that share a process do not share numbers', async () => {
  const [one, two] = [metricsOf(), metricsOf()]
  one.note({ layer: 'kafka', event: { type: 'connected', remote: 'a' } })
  assert.equal((await scrape(one)).get('tidemark_kafka_connections'), 1)
  assert.equal((await scrape(two)).get('tidemark_kafka_connections'), 0)
})

test('every metric has a name of ours, a help and a unit where it has one', async () => {
  const { text } = await metricsOf([SHARD]).text()
  const names = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)]
  assert.ok(names.length >= 15)
  for (const [, name, type] of names) {
    assert.match(name!, /^tidemark_[a-z_]+$/)
    assert.match(text, new RegExp(`^# HELP ${name} \\S`, 'm'))
    if (type === 'counter') assert.match(name!, /_total$/)
    if (type === 'histogram') assert.match(name!, /_seconds$/)
  }
})

test('what nobody counts changes nothing', async () => {
  const metrics = metricsOf()
  const before = (await metrics.text()).text
  metrics.note({ layer: 'kafka', event: { type: 'listening', host: 'h', port: 1 } })
  assert.equal((await metrics.text()).text, before)
})
