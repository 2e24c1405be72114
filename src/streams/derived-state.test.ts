import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Entry, payloadOf } from '../storage/index.ts'
import { DerivedState } from './derived-state.ts'
import { batchOf, rig } from './shard-harness.test.ts'

/** Leadership, three data entries, and two cuts behind the last of them. */
function logWithCuts(): Entry[] {
  const { shard, partition, answers } = rig()
  for (const [i, time] of [90, 20, 30].entries()) {
    partition.produce(batchOf(10, { id: 1, sequence: 10 * i }, time), 'none', answers, 0)
    shard.turn()
    shard.commit()
  }
  for (const offset of [10, 20]) {
    shard.requestCut({ index: 2 + offset / 10, offset }, 4)
    shard.cut()
  }
  return shard.log
}

function stateAfter(entries: readonly Entry[], state = new DerivedState(16, 0, 0)): DerivedState {
  for (const entry of entries) state.apply(entry, payloadOf(entry))
  return state
}

test('derived state: who is placed at the start with a state that knows later cuts is ahead of the log until it has them', () => {
  const log = logWithCuts()
  const leader = stateAfter(log)
  const follower = new DerivedState(16, 0, 0)
  follower.restore(leader.snapshot())
  const ahead = log.slice(1).map((entry) => {
    follower.apply(entry, payloadOf(entry))
    return follower.aheadOfLog
  })
  assert.deepEqual(ahead, [true, true, true, true, false])
  assert.deepEqual(follower.snapshot(), leader.snapshot())
})

test('derived state: what a cut takes is in the index no more', () => {
  const log = logWithCuts()
  assert.equal(stateAfter(log.slice(0, 4)).times.nextFrom(90, 0), 0)
  const { times } = stateAfter(log)
  // All is in one span, which stays as long as a record of it does.
  assert.equal(times.nextFrom(90, 20), 20)
  assert.equal(times.cutAt, log.length)
})

test('derived state: snapshots of earlier versions are read, and the log goes on from there', () => {
  const data = logWithCuts().slice(0, 4)
  const now = stateAfter(data).snapshot()
  const producersEnd = now.length - 36 - (12 + 24)
  const maxima = Buffer.alloc(36)
  for (const [i, value] of [256 << 10, 500, 99, 0].entries()) maxima.writeDoubleLE(value, 8 * i)
  const of = (version: number, parts: readonly Buffer[]): DerivedState => {
    const state = new DerivedState(16, 0, 0)
    const bytes = Buffer.concat(parts)
    bytes[0] = version
    state.restore(bytes)
    return state
  }
  const head = now.subarray(0, 12)
  const producers = now.subarray(12, producersEnd)
  const compactions = now.subarray(producersEnd + 36)
  const earlier = [
    of(4, [head, producers, maxima, compactions]),
    of(3, [head, producers, maxima]),
    of(2, [head.subarray(0, 4), producers, maxima]),
  ]
  for (const state of earlier) {
    assert.deepEqual(state.times.spans(), [{ from: 0, to: Number.POSITIVE_INFINITY, maximum: 99 }])
    assert.deepEqual(state.producers.committedMarks(1).length, 3)
    const again = new DerivedState(16, 0, 0)
    again.restore(state.snapshot())
    assert.deepEqual(again.snapshot(), state.snapshot())
  }
  const unknown = Buffer.from(now)
  unknown[0] = 6
  assert.throws(() => new DerivedState(16, 0, 0).restore(unknown), /a snapshot of version 6/)
})
