import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeCompaction } from '../replication/index.ts'
import type { SegmentFacts } from '../storage/index.ts'
import { Compactions, floorDue } from './compaction.ts'
import { PARTITION_SETTINGS_DEFAULTS, partitionSettings } from './partition-settings.ts'
import type { RetainedLog } from './retention.ts'
import { batchOf, rig } from './shard-harness.test.ts'

const NOW = 1_700_000_000_000
const LAZY = { ...PARTITION_SETTINGS_DEFAULTS, compacted: true, minDirtyRatio: 0.5 }

/** `c`: cleaned, `d`: sealed and dirty, `u`: in use; a hundred bytes and ten records each, a second apart. */
function logOf(kinds: string, rest: Partial<RetainedLog> = {}): RetainedLog {
  const segments = [...kinds].map((kind, i): SegmentFacts => {
    const numbers = {
      firstIndex: 1 + 10 * i,
      firstOffset: 10 * i,
      bytes: 100,
      maxTimestamp: NOW + 1000 * i,
      createdMs: 0,
    }
    return { ...numbers, sealed: kind !== 'u', cleaned: kind === 'c' }
  })
  const end = { index: 1 + 10 * kinds.length, offset: 10 * kinds.length }
  return { segments, start: { index: 1, offset: 0 }, end, heldFrom: Number.MAX_SAFE_INTEGER, ...rest }
}

const floorOf = (...args: Parameters<typeof floorDue>): unknown => floorDue(...args).floor
const after = (segments: number): unknown => ({ index: 1 + 10 * segments, offset: 10 * segments })

test('the floor: whole sealed segments, when enough of the log is dirty', () => {
  assert.deepEqual(floorOf(logOf('ddu'), LAZY, NOW), after(2))
  assert.equal(floorOf(logOf('ccdu'), LAZY, NOW), null)
  assert.deepEqual(floorOf(logOf('ccddu'), LAZY, NOW), after(4))
  assert.equal(floorOf(logOf('u'), LAZY, NOW), null)
  assert.equal(floorOf(logOf('ccu'), { ...LAZY, minDirtyRatio: 0 }, NOW), null)
})

test('the floor: young records, pins, and records that wait too long', () => {
  const lag = { ...LAZY, minCompactionLagMs: 5000 }
  assert.deepEqual(floorOf(logOf('dddu'), lag, NOW + 6000), after(2))
  assert.equal(floorOf(logOf('dddu'), lag, NOW + 4999), null)
  assert.deepEqual(floorOf(logOf('dddu', { heldFrom: 11 }), LAZY, NOW), after(1))
  // Records without a time are as young as the file that follows theirs.
  const { segments: timed, ...of } = logOf('ddu')
  const timeless = {
    ...of,
    segments: timed.map((segment, i) => ({ ...segment, maxTimestamp: -1, createdMs: NOW + i })),
  }
  assert.equal(floorOf(timeless, lag, NOW + 5000), null)
  assert.deepEqual(floorOf(timeless, lag, NOW + 5001), after(1))
  const patient = { ...LAZY, maxCompactionLagMs: 10_000 }
  // Where it is not known when a file was begun, its youngest record tells.
  assert.equal(floorOf(logOf('ccdu'), patient, NOW + 12_000), null)
  assert.deepEqual(floorOf(logOf('ccdu'), patient, NOW + 12_001), after(3))
  // A file that was begun long before its youngest record came holds records that have waited for as long.
  const { segments, ...rest } = logOf('ccdu')
  const begun = { ...rest, segments: segments.map((segment) => ({ ...segment, createdMs: NOW - 8000 })) }
  assert.equal(floorOf(begun, patient, NOW + 2000), null)
  assert.deepEqual(floorOf(begun, patient, NOW + 2001), after(3))
  // Records from before the file are as old as they say.
  const older = { ...rest, segments: segments.map((segment) => ({ ...segment, createdMs: NOW + 60_000 })) }
  assert.deepEqual(floorOf(older, patient, NOW + 12_001), after(3))
})

test('the floor: what it waits for', () => {
  const waits = (...args: Parameters<typeof floorDue>): unknown => floorDue(...args).waits
  const lag = { ...LAZY, minCompactionLagMs: 5000 }
  assert.deepEqual(waits(logOf('u'), LAZY, NOW), { for: 'segment-in-use' })
  assert.deepEqual(waits(logOf('ccu'), LAZY, NOW), { for: 'segment-in-use' })
  assert.deepEqual(waits(logOf('cdu'), lag, NOW + 5999), { for: 'min.compaction.lag.ms', youngestMs: NOW + 1000 })
  assert.deepEqual(waits(logOf('du', { heldFrom: 10 }), LAZY, NOW), { for: 'pin' })
  assert.deepEqual(waits(logOf('cccdu'), LAZY, NOW), { for: 'min.cleanable.dirty.ratio', dirty: 0.25 })
  assert.equal(waits(logOf('ddu'), LAZY, NOW), null)
  // Of the file that holds the floor nothing is counted, and before it there may be nothing left.
  const { segments, ...rest } = logOf('du', { start: { index: 1, offset: 5 } })
  const holder = { ...segments[0]!, firstOffset: 5, bytes: 0 }
  assert.deepEqual(waits({ ...rest, segments: [holder, segments[1]!] }, LAZY, NOW), { for: 'segment-in-use' })
})

test('settings: a segment is left before its records have waited too long', () => {
  const configs = { 'cleanup.policy': 'compact', 'max.compaction.lag.ms': '5000', 'min.cleanable.dirty.ratio': '0.25' }
  const settings = partitionSettings(configs)
  assert.deepEqual([settings.segmentMs, settings.minDirtyRatio, settings.deleteRetentionMs], [5000, 0.25, 86_400_000])
  assert.equal(partitionSettings({ 'max.compaction.lag.ms': '5000' }).segmentMs, 604_800_000)
})

test('tombstones go when they have been below a floor for their grace, whoever decides by then', () => {
  const first = new Compactions()
  const decide = (compactions: Compactions, at: number, segments: number, wallMs: number): number => {
    const floor = { index: 1 + 10 * segments, offset: 10 * segments }
    const compaction = compactions.draft(floor, 1000, wallMs, Number.MAX_SAFE_INTEGER)
    compactions.decided(at, compaction)
    return compaction.tombstonesBelow
  }
  assert.equal(decide(first, 100, 1, NOW), 0)
  assert.equal(decide(first, 101, 2, NOW + 500), 0)
  const bytes = Buffer.alloc(first.snapshotBytes)
  assert.equal(first.write(bytes, 0), bytes.length)
  const heir = new Compactions()
  assert.equal(heir.read(bytes, 0), bytes.length)
  assert.deepEqual([heir.floor, heir.decidedAt], [first.floor, 101])
  for (const compactions of [first, heir]) {
    assert.equal(decide(compactions, 102, 3, NOW + 1200), 10)
    assert.equal(decide(compactions, 103, 4, NOW + 1200), 10, 'what is gone does not come back')
    // An entry that the state, sent along by a leader, knows already.
    assert.equal(compactions.floor.index, 41)
    compactions.decided(102, { floor: { index: 999, offset: 999 }, tombstonesBelow: 999, decidedMs: NOW })
    assert.equal(compactions.floor.index, 41)
  }
})

test('a partition decides, cleans when it is committed, and goes on after a restart', () => {
  const { shard, partition, answers } = rig({ settings: { compacted: true, minDirtyRatio: 0 } })
  for (let i = 0; i < 3; i++) {
    partition.produce(batchOf(2), 'quorum-journal', answers, i)
    shard.turn()
    shard.commit()
  }
  shard.files = [...logOf('du').segments]
  partition.checkRetention()
  const compaction = shard.compactions.at(-1)!
  assert.deepEqual(compaction.floor, after(1))
  shard.commitCompaction()
  assert.deepEqual(shard.cleanings.at(-1)!.floor, after(1))
  const asked = shard.compactions.length
  partition.checkRetention()
  assert.equal(shard.compactions.length, asked, 'it is on its way')
  const before = shard.cleanings.length
  partition.restore(partition.snapshot())
  assert.deepEqual(shard.cleanings.slice(before).at(-1)?.floor, after(1))
})

test('a compaction that was decided is not begun where the topic is compacted no longer, and is when it is again', () => {
  const { shard, partition, answers } = rig({ settings: { compacted: true, minDirtyRatio: 0 } })
  partition.produce(batchOf(2), 'quorum-journal', answers, 0)
  shard.turn()
  shard.commit()
  shard.files = [...logOf('du').segments]
  partition.checkRetention()
  partition.configure({ ...partition.settings, compacted: false })
  shard.commitCompaction()
  assert.equal(shard.cleanings.length, 0)
  partition.configure({ ...partition.settings, compacted: true })
  assert.deepEqual(shard.cleanings.at(-1)!.floor, after(1))
})

test('the payload of a decision is told from that of a cut', () => {
  assert.equal(decodeCompaction(Buffer.alloc(17)), null)
  assert.equal(decodeCompaction(Buffer.alloc(41)), null)
})

test('an idle partition decides its last floor again when the grace of its tombstones is over', () => {
  const settings = { compacted: true, minDirtyRatio: 0, deleteRetentionMs: 60_000 }
  const { shard, clock, partition, answers } = rig({ settings })
  for (let i = 0; i < 3; i++) {
    partition.produce(batchOf(2), 'quorum-journal', answers, i)
    shard.turn()
    shard.commit()
  }
  shard.files = [...logOf('du').segments]
  partition.checkRetention()
  shard.commitCompaction()
  const { floor } = shard.compactions.at(-1)!
  const looks = (): number => {
    const before = shard.compactions.length
    partition.checkRetention()
    return shard.compactions.length - before
  }
  clock.advance(60_000)
  assert.equal(looks(), 0, 'not before the log starts at it')
  shard.startIndex = floor.index
  shard.files = [...logOf('cu').segments]
  clock.advance(-1)
  assert.equal(looks(), 0)
  clock.advance(1)
  shard.shownBelow = floor.offset - 1
  assert.equal(looks(), 0, 'not before the leader has shown it for as long')
  shard.shownBelow = floor.offset
  assert.equal(looks(), 1)
  assert.deepEqual(shard.compactions.at(-1), { floor, tombstonesBelow: floor.offset, decidedMs: clock.wall() })
  const cleanings = shard.cleanings.length
  shard.cleansAtOnce = false
  shard.commitCompaction()
  partition.checkRetention()
  assert.equal(shard.cleanings.length, cleanings + 2, 'until it is done')
  shard.cleansAtOnce = true
  partition.checkRetention()
  partition.checkRetention()
  assert.equal(shard.cleanings.length, cleanings + 3, 'and not again')
  assert.equal(shard.cleanings.at(-1)!.tombstonesBelow, floor.offset)
  clock.advance(600_000)
  assert.equal(looks(), 0)
  partition.restore(partition.snapshot())
  assert.equal(shard.cleanings.length, cleanings + 3, 'not at every start')
})

test('a leader that finds no floor due any more says so: nobody is waited for', () => {
  const { shard, partition, answers } = rig({ settings: { compacted: true, minDirtyRatio: 0 } })
  partition.produce(batchOf(2), 'quorum-journal', answers, 0)
  shard.turn()
  shard.commit()
  const looks = (): readonly number[] => {
    const before = [shard.compactions.length, shard.floorsNotDue] as const
    partition.checkRetention()
    return [shard.compactions.length - before[0], shard.floorsNotDue - before[1]]
  }
  shard.files = [...logOf('du').segments]
  assert.deepEqual(looks(), [1, 0])
  partition.configure({ ...partition.settings, compacted: false, retentionMs: Number.POSITIVE_INFINITY })
  assert.deepEqual(looks(), [0, 1])
  shard.files = [...logOf('u').segments]
  partition.configure({ ...partition.settings, compacted: true })
  assert.deepEqual(looks(), [0, 1])
  shard.startOffset = shard.committedOffset
  assert.deepEqual(looks(), [0, 1])
})
