import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CutReason } from '../replication/index.ts'
import { heldBy, holdsOn, movedBy, retainedBy, type StoredLog } from './low-water.ts'
import { type PartitionSettings, partitionSettings } from './partition-settings.ts'
import { batchOf, rig } from './shard-harness.test.ts'

const DAY = 86_400_000

const kept = (...args: Parameters<typeof retainedBy>): unknown => heldBy(retainedBy(...args))

test('low-water marks say in words what moved them and what holds them', () => {
  const settings = (configs: Record<string, string>): PartitionSettings =>
    partitionSettings({ 'retention.ms': '-1', ...configs })
  assert.equal(kept(settings({}), null, 0), 'everything is kept')
  assert.equal(kept(settings({ 'retention.ms': `${7 * DAY}` }), null, 0), 'retention.ms 7 d')
  assert.equal(
    kept(settings({ 'retention.ms': `${7 * DAY}` }), { bytes: 5, oldestMs: 1000, floorWaits: null }, 1000 + 3.5 * DAY),
    'retention.ms 7 d: the oldest file’s youngest record is 3 d old',
  )
  assert.equal(
    kept(settings({ 'retention.ms': `${7 * DAY}` }), { bytes: 5, oldestMs: 1.5 * DAY, floorWaits: null }, 0),
    'retention.ms 7 d: the oldest file’s youngest record is dated 1 d ahead',
  )
  assert.equal(
    kept(settings({ 'retention.bytes': `${1 << 30}` }), { bytes: 870_000_000, oldestMs: -1, floorWaits: null }, 0),
    'retention.bytes: 81 % of 1 GiB',
  )
  assert.equal(
    kept(settings({ 'retention.ms': '90000', 'retention.bytes': '1500' }), null, 0),
    'retention.ms 1 min; retention.bytes: 1.5 KiB',
  )
  assert.equal(movedBy({ moved: null, heldBy: null, floorWaitsFor: null, untilSnapshot: null }), null)
  const start = { index: 5, offset: 9 }
  assert.equal(
    movedBy({
      moved: { start, reason: CutReason.retentionBytes },
      heldBy: null,
      floorWaitsFor: null,
      untilSnapshot: null,
    }),
    'retention.bytes',
  )
  assert.equal(
    movedBy({ moved: { start, reason: null }, heldBy: null, floorWaitsFor: null, untilSnapshot: null }),
    'a newer version',
  )
  const pin = { name: 'backup X', index: 123 }
  const free = { moved: null, heldBy: null, floorWaitsFor: null, untilSnapshot: null }
  assert.equal(heldBy(holdsOn({ ...free, heldBy: pin })), 'held by backup X at entry 123')
  const floorWaitsFor = { name: 'node 3', index: 40 }
  const waiting = 'compaction waits for node 3, which lacks entry 40'
  assert.equal(heldBy(holdsOn({ ...free, floorWaitsFor })), waiting)
  const untilSnapshot = { grownBytes: 3 << 19, enoughBytes: 4 << 20 }
  const growing = 'snapshot: the log has grown by 1.5 MiB of 4 MiB since the last one'
  assert.equal(heldBy(holdsOn({ ...free, untilSnapshot })), growing)
  assert.equal(heldBy(holdsOn(free)), null)
})

test('compaction says what it waits for', () => {
  const configs = { 'cleanup.policy': 'compact', 'min.compaction.lag.ms': '3600000' }
  const said = (floorWaits: StoredLog['floorWaits']): unknown =>
    retainedBy(partitionSettings(configs), { bytes: 5, oldestMs: -1, floorWaits }, DAY).map(({ kind, text }) => [
      kind,
      text,
    ])
  assert.deepEqual(said({ for: 'segment-in-use' }), [
    ['segment-in-use', 'compaction: what is not compacted is in the file in use'],
  ])
  assert.deepEqual(said({ for: 'min.compaction.lag.ms', youngestMs: DAY - 180_000 }), [
    [
      'min.compaction.lag.ms',
      'compaction: the youngest record of the next file is 3 min old, min.compaction.lag.ms is 1 h',
    ],
  ])
  assert.deepEqual(said({ for: 'min.cleanable.dirty.ratio', dirty: 0.499 }), [
    ['min.cleanable.dirty.ratio', 'compaction: 49 % of the files not in use is not compacted, at 50 % it begins'],
  ])
  assert.deepEqual(said(null), [['compaction', 'compaction is under way']])
})

test('low-water marks: the leader knows what keeps its records, others do not', () => {
  const { shard, partition, clock, answers } = rig({ lead: false })
  assert.equal(heldBy(partition.holds), null)
  shard.elect(1)
  shard.settle()
  partition.produce(batchOf(2, undefined, clock.wall()), 'quorum-journal', answers, 0)
  shard.turn()
  shard.commit()
  shard.files = [
    { firstIndex: 1, firstOffset: 0, bytes: 100, maxTimestamp: clock.wall() - DAY, createdMs: 1, sealed: false },
  ]
  partition.checkRetention()
  assert.equal(heldBy(partition.holds), 'retention.ms 7 d: the oldest file’s youngest record is 1 d old')
  const release = shard.pin('a backup', 2)
  assert.equal(heldBy(partition.holds), 'held by a backup at entry 2')
  release()
  shard.startOffset = shard.committedOffset
  partition.checkRetention()
  assert.equal(heldBy(partition.holds), null, 'nothing is left')
  shard.depose(2)
  assert.equal(heldBy(partition.holds), null)
})
