import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FetchWaits } from './fetch-wait.ts'
import { batchOf, ManualClock, rig } from './shard-harness.test.ts'

function owner(): { seen: boolean[]; fetchReady(expired: boolean): void } {
  const seen: boolean[] = []
  return { seen, fetchReady: (expired) => void seen.push(expired) }
}

test('a parked fetch is told once, at the end of the turn in which enough was committed', () => {
  const { shard, partition, answers, clock } = rig()
  const waits = new FetchWaits(clock)
  const one = owner()
  const large = owner()
  waits.park(one, [partition], 1, 500)
  waits.park(large, [partition], 150, 500)
  partition.produce(batchOf(1), 'none', answers, 0)
  shard.turn()
  clock.turn()
  assert.deepEqual(one.seen, [])
  shard.commit()
  assert.deepEqual(one.seen, [])
  clock.turn()
  assert.deepEqual([one.seen, large.seen, waits.parked], [[false], [], 1])
  for (let i = 0; i < 2; i++) {
    partition.produce(batchOf(1), 'none', answers, 0)
    shard.turn()
    shard.commit()
  }
  clock.turn()
  assert.deepEqual([one.seen, large.seen, waits.parked, clock.timers], [[false], [false], 0, 0])
})

test('a parked fetch is told when leadership is lost and when a partition is deleted', () => {
  for (const event of ['depose', 'remove'] as const) {
    const { shard, partition, clock } = rig()
    const waits = new FetchWaits(clock)
    const one = owner()
    waits.park(one, [partition], 1_000_000, 500)
    if (event === 'depose') shard.depose(2)
    else partition.remove()
    clock.turn()
    assert.deepEqual(one.seen, [false])
  }
})

test('deadlines: one timer per distinct wait, everyone in time', () => {
  const clock = new ManualClock()
  const waits = new FetchWaits(clock)
  const idle = { listen: () => {}, unlisten: () => {} }
  const owners = Array.from({ length: 6 }, owner)
  for (const one of owners.slice(0, 3)) {
    waits.park(one, [idle], 1, 100)
    clock.advance(10)
  }
  const parked = owners.slice(3).map((one) => waits.park(one, [idle], 1, 40))
  assert.equal(clock.timers, 2)
  parked[1]!.cancel()
  parked[1]!.cancel()
  clock.advance(39)
  assert.deepEqual(
    owners.map((one) => one.seen.length),
    [0, 0, 0, 0, 0, 0],
  )
  clock.advance(1)
  assert.deepEqual(
    owners.map((one) => one.seen.length),
    [0, 0, 0, 1, 0, 1],
  )
  clock.advance(30)
  assert.deepEqual(
    owners.map((one) => one.seen.length),
    [1, 0, 0, 1, 0, 1],
  )
  clock.advance(20)
  assert.deepEqual(
    owners.map((one) => one.seen),
    [[true], [true], [true], [true], [], [true]],
  )
  assert.deepEqual([waits.parked, clock.timers], [0, 0])
})

test('a fetch may be parked again from within the answer, and a closed node answers all', () => {
  const clock = new ManualClock()
  const waits = new FetchWaits(clock)
  const idle = { listen: () => {}, unlisten: () => {} }
  let times = 0
  const again = { fetchReady: () => void (++times < 3 && waits.park(again, [idle], 1, 100)) }
  waits.park(again, [idle], 1, 100)
  clock.advance(1000)
  assert.equal(times, 3)
  const one = owner()
  waits.park(one, [idle], 1, 100)
  waits.close()
  assert.deepEqual([one.seen, waits.parked, clock.timers], [[true], 0, 0])
})
