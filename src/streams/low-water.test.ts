import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CutReason } from '../replication/index.ts'
import { heldBy, movedBy, retainedBy } from './low-water.ts'
import { partitionSettings } from './partition-settings.ts'
import { batchOf, rig } from './shard-harness.test.ts'

const DAY = 86_400_000

test('low-water marks say in words what moved them and what holds them', () => {
  const settings = (configs: Record<string, string>) => partitionSettings({ 'retention.ms': '-1', ...configs })
  assert.equal(retainedBy(settings({}), null, 0), 'everything is kept')
  assert.equal(retainedBy(settings({ 'retention.ms': `${7 * DAY}` }), null, 0), 'retention.ms 7 d')
  assert.equal(
    retainedBy(
      settings({ 'retention.ms': `${7 * DAY}` }),
      { bytes: 5, cleanedBytes: 0, oldestMs: 1000 },
      1000 + 3.5 * DAY,
    ),
    'retention.ms 7 d: the oldest file’s youngest record is 3 d old',
  )
  assert.equal(
    retainedBy(settings({ 'retention.bytes': `${1 << 30}` }), { bytes: 870_000_000, cleanedBytes: 0, oldestMs: -1 }, 0),
    'retention.bytes: 81 % of 1 GiB',
  )
  assert.equal(
    retainedBy(settings({ 'retention.ms': '90000', 'retention.bytes': '1500' }), null, 0),
    'retention.ms 1 min; retention.bytes: 1.5 KiB',
  )
  assert.equal(movedBy({ moved: null, heldBy: null, floorWaitsFor: null }), null)
  const start = { index: 5, offset: 9 }
  assert.equal(
    movedBy({ moved: { start, reason: CutReason.retentionBytes }, heldBy: null, floorWaitsFor: null }),
    'retention.bytes',
  )
  assert.equal(movedBy({ moved: { start, reason: null }, heldBy: null, floorWaitsFor: null }), 'a newer version')
  const pin = { name: 'backup X', index: 123 }
  assert.equal(heldBy({ moved: null, heldBy: pin, floorWaitsFor: null }), 'held by backup X at entry 123')
  const floorWaitsFor = { name: 'node 3', index: 40 }
  const waiting = 'compaction waits for node 3, which lacks entry 40'
  assert.equal(heldBy({ moved: null, heldBy: null, floorWaitsFor }), waiting)
})

test('low-water marks: the leader knows what keeps its records, others do not', () => {
  const { shard, partition, clock, answers } = rig({ lead: false })
  assert.equal(partition.keptBy, null)
  shard.elect(1)
  shard.settle()
  partition.produce(batchOf(2, undefined, clock.wall()), 'quorum-journal', answers, 0)
  shard.turn()
  shard.commit()
  shard.files = [
    { firstIndex: 1, firstOffset: 0, bytes: 100, maxTimestamp: clock.wall() - DAY, createdMs: 1, sealed: false },
  ]
  partition.checkRetention()
  assert.equal(partition.keptBy, 'retention.ms 7 d: the oldest file’s youngest record is 1 d old')
  const release = shard.pin('a backup', 2)
  assert.equal(partition.keptBy, 'held by a backup at entry 2')
  release()
  shard.depose(2)
  assert.equal(partition.keptBy, null)
})
