import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CutReason } from '../replication/index.ts'
import { KafkaError } from './errors.ts'
import { ListOffset } from './partition-reader.ts'
import { partitionSettings } from './partition-settings.ts'
import { batchOf, type Rig, rig } from './shard-harness.test.ts'

function filled(entries = 4): Rig {
  const one = rig()
  for (let i = 0; i < entries; i++) {
    one.partition.produce(batchOf(5, undefined, 100 - 10 * i), 'quorum-journal', one.answers, 0)
    one.shard.turn()
  }
  one.shard.commit()
  return one
}

function asked({ partition }: Rig, before: number, timeoutMs = 1000): [number, number][] {
  const answers: [number, number][] = []
  partition.deleteRecords(before, timeoutMs, (error, lowWatermark) => answers.push([error, lowWatermark]))
  return answers
}

test('delete records: the start moves to that very record, and the answer waits until that is committed', () => {
  const one = filled()
  const answers = asked(one, 7)
  assert.deepEqual(one.shard.cuts, [{ start: { index: 3, offset: 7 }, reason: CutReason.request }])
  assert.deepEqual(answers, [])
  one.shard.cut()
  assert.deepEqual(answers, [[KafkaError.NONE, 7]])
  assert.deepEqual(asked(one, 6), [[KafkaError.NONE, 7]])
  assert.equal(one.clock.timers, 0)
  const read = (offset: number) => one.partition.read(offset, 1 << 20, true, -1, () => assert.fail('it waits'))!
  assert.deepEqual([read(6).error, read(6).logStartOffset], [KafkaError.OFFSET_OUT_OF_RANGE, 7])
  assert.deepEqual([read(7).error, read(7).slices.length], [KafkaError.NONE, 3])
})

test('delete records: up to the mark, beyond it, and nonsense', () => {
  const one = filled()
  assert.deepEqual(asked(one, 21), [[KafkaError.OFFSET_OUT_OF_RANGE, -1]])
  assert.deepEqual(asked(one, -2), [[KafkaError.OFFSET_OUT_OF_RANGE, -1]])
  assert.deepEqual(asked(one, 0), [[KafkaError.NONE, 0]])
  const all = asked(one, -1)
  assert.deepEqual(one.shard.cuts, [{ start: { index: 6, offset: 20 }, reason: CutReason.request }])
  one.shard.cut()
  assert.deepEqual(all, [[KafkaError.NONE, 20]])
  const compacted = rig({ settings: partitionSettings({ 'cleanup.policy': 'compact' }) })
  assert.deepEqual(asked(compacted, 0), [[KafkaError.POLICY_VIOLATION, -1]])
})

test('delete records: who does not lead, or leads no more, says so; whoever waits too long is told', () => {
  const one = filled()
  const lost = asked(one, 5)
  one.shard.depose(2)
  assert.deepEqual(lost, [[KafkaError.NOT_LEADER_OR_FOLLOWER, -1]])
  assert.deepEqual(asked(one, 5), [[KafkaError.NOT_LEADER_OR_FOLLOWER, -1]])
  const other = filled()
  other.shard.sure = false
  assert.deepEqual(asked(other, 5), [[KafkaError.NOT_LEADER_OR_FOLLOWER, -1]])
  other.shard.sure = true
  const late = asked(other, 5, 300)
  other.clock.advance(299)
  assert.deepEqual(late, [])
  other.clock.advance(2)
  assert.deepEqual(late, [[KafkaError.REQUEST_TIMED_OUT, -1]])
  other.shard.cut()
  assert.equal(late.length, 1)
})

test('delete records: an offset that has to be looked up on the disk, a pin, a partition that goes', () => {
  const one = filled()
  one.shard.slowReads = true
  const answers = asked(one, 12)
  assert.equal(one.shard.cuts.length, 0)
  one.shard.finishReads()
  assert.deepEqual(one.shard.cuts.at(-1)!.start, { index: 4, offset: 12 })
  one.shard.slowReads = false
  one.partition.remove()
  assert.deepEqual(answers, [[KafkaError.UNKNOWN_TOPIC_OR_PARTITION, -1]])
  const pinned = filled()
  pinned.shard.pin('a backup', 2)
  assert.deepEqual(asked(pinned, 7), [])
  assert.equal(pinned.shard.cuts.length, 1, 'a command is not held')
})

test('delete records: a read from the disk that comes back after them shows nothing of what they deleted', () => {
  const one = filled()
  one.shard.slowReads = true
  const errors: number[] = []
  const read = (offset: number): void =>
    assert.equal(
      one.partition.read(offset, 1 << 20, true, -1, ({ error }) => errors.push(error)),
      null,
    )
  read(6)
  read(7)
  one.partition.deleteRecords(-1, 1000, () => {})
  one.shard.cuts[0] = { start: { index: 3, offset: 7 }, reason: CutReason.request }
  one.shard.cut()
  one.shard.finishReads()
  assert.deepEqual(errors, [KafkaError.OFFSET_OUT_OF_RANGE, KafkaError.NONE])
})

test('list offsets: the largest time of what is left, where the start lies inside the batch that had it', () => {
  const one = filled()
  // Times ascend within a batch: 100…104, 90…94, and so on.
  const largest = (): number[] => {
    const found: number[] = []
    one.partition.listOffset(ListOffset.maxTimestamp, -1, (error, offset, timestamp) =>
      found.push(error, offset, timestamp),
    )
    return found
  }
  assert.deepEqual(largest(), [KafkaError.NONE, 4, 104])
  asked(one, 3)
  one.shard.cut()
  assert.deepEqual(largest(), [KafkaError.NONE, 4, 104])
  asked(one, 5)
  one.shard.cut()
  assert.deepEqual(largest(), [KafkaError.NONE, 9, 94])
  asked(one, -1)
  one.shard.cut()
  assert.deepEqual(largest(), [KafkaError.NONE, -1, -1])
})
