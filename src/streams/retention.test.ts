import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CutReason } from '../replication/index.ts'
import { Prng } from '../stdx/index.ts'
import type { SegmentFacts } from '../storage/index.ts'
import { partitionSettings } from './partition-settings.ts'
import { type RetainedLog, RetentionRounds, retentionCut } from './retention.ts'
import { batchOf, ManualClock, rig } from './shard-harness.test.ts'

const NEVER = Number.POSITIVE_INFINITY
const DAY = 86_400_000

/** Ten entries of a record each per segment, 100 bytes. */
function segment(i: number, maxTimestamp: number, sealed = true): SegmentFacts {
  return { firstIndex: 1 + 10 * i, firstOffset: 10 * i, bytes: 100, maxTimestamp, createdMs: 5000 + i, sealed }
}

function logOf(times: readonly number[], rest: Partial<RetainedLog> = {}): RetainedLog {
  const segments = times.map((time, i) => segment(i, time, i + 1 < times.length))
  const end = { index: 1 + 10 * times.length, offset: 10 * times.length }
  return { segments, start: { index: 1, offset: 0 }, end, heldFrom: Number.MAX_SAFE_INTEGER, ...rest }
}

const at = (index: number, offset: number, reason: number): unknown => ({ start: { index, offset }, reason })

test('retention by age: segments whose youngest record is too old go, from the front, the one in use included', () => {
  const byAge = { retentionMs: 100, retentionBytes: NEVER }
  const log = logOf([1000, 1050, 1020])
  assert.equal(retentionCut(log, byAge, 1100), null)
  assert.deepEqual(retentionCut(log, byAge, 1101), at(11, 10, CutReason.retentionTime))
  // 1020 is older than 1050, and stays behind it.
  assert.deepEqual(retentionCut(log, byAge, 1125), at(11, 10, CutReason.retentionTime))
  assert.deepEqual(retentionCut(log, byAge, 1151), at(31, 30, CutReason.retentionTime))
  assert.equal(retentionCut(log, byAge, -5), null)
})

test('retention by age: records without a time are as old as the segment that follows theirs', () => {
  const byAge = { retentionMs: 100, retentionBytes: NEVER }
  const log = logOf([-1, -1])
  assert.equal(retentionCut(log, byAge, 5101), null)
  assert.deepEqual(retentionCut(log, byAge, 5102), at(11, 10, CutReason.retentionTime))
  assert.deepEqual(retentionCut(log, byAge, 9e15), at(11, 10, CutReason.retentionTime))
  // When a cleaned file was made says nothing of its records: what was left before a later file was begun is as old as that.
  const cleaned = [0, 1].map((i) => ({ ...segment(i, -1), createdMs: 0, cleaned: true }))
  const compacted = logOf([], { segments: [...cleaned, segment(2, 5000), segment(3, 6000, false)] })
  assert.equal(retentionCut(compacted, byAge, 5102), null)
  assert.deepEqual(retentionCut(compacted, byAge, 5103), at(31, 30, CutReason.retentionTime))
  // Elections alone are not worth a cut, and stand in nobody's way.
  const elections = { ...segment(0, -1), firstOffset: 10 }
  const segments = [elections, segment(1, 1000)]
  const behind = { start: { index: 1, offset: 10 }, end: { index: 21, offset: 20 } }
  assert.equal(retentionCut(logOf([], { ...behind, segments }), byAge, 1100), null)
  assert.deepEqual(retentionCut(logOf([], { ...behind, segments }), byAge, 1101), at(21, 20, CutReason.retentionTime))
})

test('retention by size: the oldest go as long as what stays is not less than the limit', () => {
  const bySize = (retentionBytes: number) => ({ retentionMs: NEVER, retentionBytes })
  const log = logOf([1, 2, 3, 4])
  assert.equal(retentionCut(log, bySize(301), 0), null)
  assert.deepEqual(retentionCut(log, bySize(300), 0), at(11, 10, CutReason.retentionBytes))
  assert.deepEqual(retentionCut(log, bySize(150), 0), at(21, 20, CutReason.retentionBytes))
  assert.deepEqual(retentionCut(log, bySize(1), 0), at(31, 30, CutReason.retentionBytes))
  assert.deepEqual(retentionCut(log, bySize(0), 0), at(41, 40, CutReason.retentionBytes))
})

test('retention: what lies below the start is gone already, and a pin holds what is above it', () => {
  const bySize = { retentionMs: NEVER, retentionBytes: 100 }
  const start = { index: 25, offset: 24 }
  assert.equal(retentionCut(logOf([1, 2, 3, 4], { start }), { ...bySize, retentionBytes: 101 }, 0), null)
  assert.deepEqual(retentionCut(logOf([1, 2, 3, 4], { start }), bySize, 0), at(31, 30, CutReason.retentionBytes))
  assert.deepEqual(retentionCut(logOf([1, 2, 3, 4], { heldFrom: 21 }), bySize, 0), at(21, 20, CutReason.retentionBytes))
  assert.equal(retentionCut(logOf([1, 2, 3, 4], { heldFrom: 10 }), bySize, 0), null)
})

test('retention: nothing goes that a dumb reading of the rules would keep, and nothing stays', () => {
  const prng = new Prng('retention')
  for (let round = 0; round < 3000; round++) {
    const segments = Array.from({ length: 1 + prng.below(6) }, (_, i) => ({
      ...segment(i, prng.below(200)),
      bytes: 1 + prng.below(100),
    }))
    const limits = {
      retentionMs: prng.below(2) === 0 ? NEVER : prng.below(200),
      retentionBytes: prng.below(2) === 0 ? NEVER : prng.below(300),
    }
    const wall = 100 + prng.below(200)
    const log = logOf([], { segments, end: { index: 1 + 10 * segments.length, offset: 10 * segments.length } })
    let expected = 0
    for (let gone = 1; gone <= segments.length; gone++) {
      const aged = segments.slice(0, gone).every(({ maxTimestamp }) => wall - maxTimestamp > limits.retentionMs)
      const left = segments.slice(gone).reduce((sum, { bytes }) => sum + bytes, 0)
      if (aged || left >= limits.retentionBytes) expected = gone
    }
    const cut = retentionCut(log, limits, wall)
    assert.equal((cut?.start.offset ?? 0) / 10, expected)
    assert.equal((cut?.start.index ?? 1) - 1, expected * 10)
  }
})

test('retention: the leader asks for the cut, once it is settled, with the settings of that moment', () => {
  const { shard, partition, clock, answers } = rig({ lead: false, settings: { retentionMs: DAY } })
  shard.files = [segment(0, clock.wall() - 2 * DAY), segment(1, clock.wall(), false)]
  partition.checkRetention()
  shard.elect(1)
  partition.checkRetention()
  assert.deepEqual(shard.cuts, [])
  shard.settle()
  partition.checkRetention()
  assert.deepEqual(shard.cuts, [], 'an empty log has nothing to cut')
  for (let i = 0; i < 20; i++) partition.produce(batchOf(1), 'quorum-journal', answers, 0)
  shard.turn()
  shard.commit()
  partition.checkRetention()
  assert.deepEqual(shard.cuts, [at(11, 10, CutReason.retentionTime)])
  shard.cut()
  partition.checkRetention()
  assert.deepEqual(shard.cuts, [])
  // A topic that keeps more from now on, and less.
  shard.files = [segment(1, clock.wall() - 3 * DAY), segment(2, clock.wall(), false)]
  partition.configure({ ...partition.settings, retentionMs: 4 * DAY })
  assert.deepEqual(shard.cuts, [])
  partition.configure({ ...partition.settings, retentionMs: 2 * DAY })
  assert.deepEqual(shard.cuts, [at(21, 20, CutReason.retentionTime)])
})

test('retention: the topic’s settings reach the log of every replica', () => {
  const { shard, partition } = rig({ lead: false })
  assert.deepEqual(shard.limits, { segmentMs: 7 * DAY, segmentJitterMs: 0 })
  partition.configure(partitionSettings({ 'segment.bytes': '4096', 'segment.ms': '1000', 'segment.jitter.ms': '9' }))
  assert.deepEqual(shard.limits, { segmentBytes: 4096, segmentMs: 1000, segmentJitterMs: 9 })
})

test('settings: -1 is no limit, and without `delete` nothing is deleted', () => {
  const kept = partitionSettings({ 'retention.ms': '-1', 'retention.bytes': '5' })
  assert.deepEqual([kept.retentionMs, kept.retentionBytes], [NEVER, 5])
  const compacted = partitionSettings({ 'cleanup.policy': 'compact', 'retention.bytes': '5' })
  assert.deepEqual([compacted.retentionMs, compacted.retentionBytes, compacted.compacted], [NEVER, NEVER, true])
  const both = partitionSettings({ 'cleanup.policy': 'compact, delete' })
  assert.deepEqual([both.retentionMs, both.compacted, both.segmentBytes], [7 * DAY, true, null])
})

test('retention: every partition is looked at about once per round, at moments that differ', () => {
  const clock = new ManualClock()
  const prng = new Prng('rounds')
  const looks = new Map<number, number[]>()
  const partitions = Array.from({ length: 35 }, (_, i) => ({
    checkRetention: () => void looks.set(i, [...(looks.get(i) ?? []), clock.time]),
  }))
  const rounds = new RetentionRounds(
    { checkMs: 10_000 },
    { clock, below: (bound) => prng.below(bound), partitions: () => partitions },
  )
  assert.equal(clock.timers, 0)
  rounds.start()
  rounds.start()
  assert.equal(clock.timers, 1)
  clock.advance(100_000)
  for (const times of looks.values()) {
    assert.ok(times.length >= 8 && times.length <= 12, `${times}`)
    for (let i = 1; i < times.length; i++) assert.ok(times[i]! - times[i - 1]! <= 15_000)
  }
  assert.ok(new Set([...looks.values()].flat()).size > 80)
  rounds.stop()
  assert.equal(clock.timers, 0)
  partitions.length = 0
  rounds.start()
  clock.advance(20_000)
  assert.equal(clock.timers, 0, 'a node without partitions has no timer')
})

test('retention: answers that come late find another leader, or none', () => {
  const { shard, partition, clock, answers } = rig({ settings: { retentionMs: DAY } })
  for (let i = 0; i < 20; i++) partition.produce(batchOf(1), 'quorum-journal', answers, 0)
  shard.turn()
  shard.commit()
  const files = [segment(0, clock.wall() - 2 * DAY), segment(1, clock.wall(), false)]
  let late: (() => void) | null = null
  shard.segments = (done) => {
    late = () => done(null, files)
  }
  partition.checkRetention()
  shard.depose(2)
  late!()
  assert.deepEqual(shard.cuts, [])
})
