import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CutReason } from '../replication/index.ts'
import type { SegmentFacts } from '../storage/index.ts'
import { KafkaError } from './errors.ts'
import type { HoldRequest } from './log-holds.ts'
import { partitionSettings } from './partition-settings.ts'
import { batchOf, type Rig, rig } from './shard-harness.test.ts'

/** Entries 2 to 5 hold five records each; one file an entry. */
function filled(configs: Record<string, string> = {}): Rig {
  const one = rig({ settings: partitionSettings({ 'retention.ms': '-1', 'retention.bytes': '0', ...configs }) })
  for (let i = 0; i < 4; i++) {
    one.partition.produce(batchOf(5), 'quorum-journal', one.answers, 0)
    one.shard.turn()
  }
  one.shard.commit()
  one.shard.files = Array.from(
    { length: 5 },
    (_, i): SegmentFacts => ({
      firstIndex: i + 1,
      firstOffset: Math.max(0, i - 1) * 5,
      bytes: 100,
      maxTimestamp: 5,
      createdMs: 1,
      sealed: i < 4,
    }),
  )
  return one
}

type Told = [number, number, string | null]

function hold({ partition }: Rig, offset: number, more: Partial<HoldRequest> = {}): Told[] {
  const told: Told[] = []
  const request = { holder: 'a', name: 'a backup', offset, leaseMs: 30_000, ...more }
  partition.hold(request, (error, message, logStart) => told.push([error, logStart, message]))
  return told
}

const heldFrom = ({ shard }: Rig): number | undefined => shard.lowWaterMark.heldBy?.index

/** Where retention wants the log to start. */
function wanted({ shard, partition }: Rig): number | undefined {
  shard.cuts.length = 0
  partition.checkRetention()
  return shard.cuts.at(-1)?.start.index
}

const HELD = [[KafkaError.NONE, 0, null]]

test('holds: retention leaves what is needed, says for whom, and goes on when the lease has ended', () => {
  const one = filled()
  assert.deepEqual(hold(one, 7), HELD)
  assert.equal(heldFrom(one), 3)
  assert.equal(wanted(one), 3)
  const name = 'held by a backup (until it ends, or 30 s after its last sign) at entry 3'
  assert.deepEqual(one.partition.holds, [{ kind: 'pin', text: name }])
  one.clock.advance(29_999)
  assert.equal(heldFrom(one), 3)
  one.shard.cuts.length = 0
  one.clock.advance(1)
  assert.equal(heldFrom(one), undefined)
  assert.equal(one.shard.cuts.at(-1)?.start.index, 6, 'what waited goes at once')
  assert.equal(one.clock.timers, 0)
})

test('holds: compaction leaves its floor below them', () => {
  const one = filled({ 'cleanup.policy': 'compact', 'retention.bytes': '-1', 'min.cleanable.dirty.ratio': '0' })
  hold(one, 12)
  one.partition.checkRetention()
  assert.equal(one.shard.compactions.at(-1)?.floor.index, 4)
  one.partition.endHold('a')
  assert.equal(one.shard.compactions.at(-1)?.floor.index, 5)
})

test('holds: renewed in time they go on, from where the holder has come to; an end is told once', () => {
  const one = filled()
  hold(one, 0)
  assert.equal(heldFrom(one), 2)
  one.clock.advance(20_000)
  assert.deepEqual(hold(one, 10, { leaseMs: 20_000 }), HELD)
  assert.equal(heldFrom(one), 4)
  assert.deepEqual([one.shard.pins.size, one.clock.timers], [1, 1])
  one.clock.advance(19_999)
  assert.equal(heldFrom(one), 4)
  hold(one, 2, { holder: 'b', name: 'another backup' })
  assert.equal(heldFrom(one), 2, 'the lowest')
  one.partition.endHold('b')
  assert.equal(heldFrom(one), 4)
  one.clock.advance(1)
  one.shard.cuts.length = 0
  one.partition.endHold('a')
  assert.deepEqual([heldFrom(one), one.shard.cuts.length], [undefined, 0])
})

test('holds: what is not in the log, and what makes no sense, is refused in words', () => {
  const one = filled()
  assert.deepEqual(hold(one, 20), HELD)
  assert.equal(heldFrom(one), 6, 'all that is still to come')
  const outside = (offset: number) => [
    [KafkaError.OFFSET_OUT_OF_RANGE, 0, `offset ${offset}: the log goes from 0 to 20`],
  ]
  assert.deepEqual(hold(one, 21), outside(21))
  assert.deepEqual(hold(one, -1), outside(-1))
  assert.equal(heldFrom(one), 6)
  for (const wrong of [
    { leaseMs: 60_001 },
    { leaseMs: -1 },
    { name: '' },
    { name: 'x'.repeat(81) },
    { name: '\x1b[2J' },
  ])
    assert.equal(hold(one, 5, wrong)[0]![0], KafkaError.INVALID_REQUEST)
  one.partition.deleteRecords(7, 1000, () => {})
  assert.deepEqual(one.shard.cuts.at(-1), { start: { index: 3, offset: 7 }, reason: CutReason.request })
  one.shard.cut()
  assert.deepEqual(hold(one, 6), [[KafkaError.OFFSET_OUT_OF_RANGE, 7, 'offset 6: the log goes from 7 to 20']])
})

test('holds: a log that is cut while its entry is looked up is not held', () => {
  const one = filled()
  one.shard.slowReads = true
  const [first, second] = [hold(one, 2), hold(one, 12, { holder: 'b' })]
  one.partition.deleteRecords(-1, 1000, () => {})
  one.shard.cuts[0] = { start: { index: 3, offset: 5 }, reason: CutReason.request }
  one.shard.cut()
  assert.deepEqual(first, [])
  one.shard.finishReads()
  assert.equal(first[0]![0], KafkaError.OFFSET_OUT_OF_RANGE)
  assert.deepEqual(second, [[KafkaError.NONE, 5, null]])
  assert.equal(heldFrom(one), 4)
  const late = hold(one, 12)
  one.shard.depose(2)
  one.shard.finishReads()
  assert.equal(late[0]![0], KafkaError.NOT_LEADER_OR_FOLLOWER)
  assert.equal(one.shard.pins.size, 0)
})

test('holds: another leader knows nothing of them until they are renewed there', () => {
  const one = filled()
  hold(one, 0)
  one.shard.depose(2)
  assert.deepEqual([one.shard.pins.size, one.clock.timers], [0, 0])
  assert.deepEqual(hold(one, 0), [[KafkaError.NOT_LEADER_OR_FOLLOWER, -1, null]])
  one.shard.elect(3)
  assert.equal(hold(one, 0)[0]![0], KafkaError.NOT_LEADER_OR_FOLLOWER, 'not settled yet')
  one.shard.settle()
  assert.equal(heldFrom(one), undefined)
  assert.deepEqual(hold(one, 0), HELD)
  one.shard.sure = false
  assert.equal(hold(one, 0)[0]![0], KafkaError.NOT_LEADER_OR_FOLLOWER)
  one.shard.sure = true
  one.partition.remove()
  assert.deepEqual([one.shard.pins.size, one.clock.timers], [0, 0])
})

test('holds: whoever renews is told whether there was a gap', () => {
  const one = filled()
  const renewed = (offset: number, holder = 'a'): boolean | undefined => {
    let told: boolean | undefined
    const request = { holder, name: 'a backup', offset, leaseMs: 30_000 }
    one.partition.hold(request, (_error, _message, _logStart, was) => (told = was))
    return told
  }
  assert.deepEqual([renewed(0), renewed(0, 'b'), renewed(5), renewed(5)], [false, false, true, true])
  one.clock.advance(29_999)
  assert.equal(renewed(5), true)
  one.clock.advance(30_000)
  assert.equal(renewed(5), false, 'the lease had ended')
  assert.deepEqual([renewed(21), renewed(5)], [false, true], 'what is refused leaves it as it was')
  one.shard.depose(2)
  one.shard.elect(3)
  one.shard.settle()
  assert.deepEqual([renewed(5), renewed(5)], [false, true], 'another led meanwhile')
})

test('holds: sixteen at most; whoever has one can renew it', () => {
  const one = filled()
  for (let i = 0; i < 16; i++) assert.deepEqual(hold(one, i, { holder: `${i}` }), HELD)
  const full = 'held by 16 already, which is the limit; wait for one to end'
  assert.deepEqual(hold(one, 1), [[KafkaError.POLICY_VIOLATION, 0, full]])
  assert.deepEqual(hold(one, 1, { holder: '7' }), HELD)
  one.partition.endHold('3')
  assert.deepEqual(hold(one, 1), HELD)
  assert.equal(one.shard.pins.size, 16)
})

test('holds: where there is no room for records none is given, and those that there are end', () => {
  const one = filled()
  hold(one, 0)
  one.shard.refusal = 'the disk is low'
  assert.deepEqual(hold(one, 5), [[KafkaError.KAFKA_STORAGE_ERROR, 0, 'nothing is held: the disk is low']])
  assert.equal(heldFrom(one), 2)
  assert.equal(wanted(one), 6)
  assert.equal(heldFrom(one), undefined)
})
