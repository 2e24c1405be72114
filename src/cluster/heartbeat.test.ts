/** Stories of beats: what happened, in which order, and what the table says then. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Heartbeat } from './heartbeat.ts'

const OPTIONS = { heartbeatIntervalMs: 100, electionTimeoutMs: 1000 }

function ticks(heartbeat: Heartbeat, from: number, to: number, each: (now: number) => void = () => {}): number[] {
  const silentAt: number[] = []
  for (let now = from; now <= to; now += 100) {
    if (heartbeat.tick(now).silent.length > 0) silentAt.push(now)
    each(now)
  }
  return silentAt
}

test('a peer is alive from its first beat, not from the handshake', () => {
  const heartbeat = new Heartbeat(OPTIONS)
  assert.equal(heartbeat.alive(2), false)
  const first = heartbeat.peerUp(2, 'a', 0)
  assert.deepEqual(first, { node: 2, number: 1 })
  assert.equal(heartbeat.alive(2), false)
  heartbeat.beatReceived(2, 3)
  assert.equal(heartbeat.alive(2), true)
})

test('answeredAt is when the answered beat was sent, not when the answer came', () => {
  const heartbeat = new Heartbeat(OPTIONS)
  heartbeat.peerUp(2, 'a', 500)
  assert.equal(heartbeat.answeredAt(2), Number.NEGATIVE_INFINITY)
  heartbeat.beatReplied(2, 1, 530, 1000, 1000)
  assert.equal(heartbeat.answeredAt(2), 500)
  assert.equal(heartbeat.roundTripMs(2), 30)
})

test('an answer to a later beat answers the earlier ones; late, double and invented answers prove nothing', () => {
  const heartbeat = new Heartbeat(OPTIONS)
  heartbeat.peerUp(2, 'a', 0)
  heartbeat.tick(100)
  heartbeat.tick(200)
  heartbeat.beatReplied(2, 2, 250, 0, 0)
  assert.equal(heartbeat.answeredAt(2), 100)
  heartbeat.beatReplied(2, 1, 260, 0, 0)
  heartbeat.beatReplied(2, 2, 260, 0, 0)
  heartbeat.beatReplied(2, 99, 260, 0, 0)
  heartbeat.beatReplied(3, 1, 260, 0, 0)
  assert.equal(heartbeat.answeredAt(2), 100)
  heartbeat.beatReplied(2, 3, 270, 0, 0)
  assert.equal(heartbeat.answeredAt(2), 200)
})

test('silence is noticed within an interval of the election timeout, and named once', () => {
  const heartbeat = new Heartbeat(OPTIONS)
  heartbeat.tick(0)
  heartbeat.peerUp(2, 'a', 50)
  heartbeat.beatReceived(2, 55)
  const silentAt = ticks(heartbeat, 100, 3000)
  assert.deepEqual(silentAt, [1100])
  assert.equal(heartbeat.alive(2), false)
  heartbeat.beatReceived(2, 3050)
  assert.equal(heartbeat.alive(2), true)
})

test('a peer that never sends a beat after the handshake is silent too', () => {
  const heartbeat = new Heartbeat(OPTIONS)
  heartbeat.tick(0)
  heartbeat.peerUp(2, 'a', 0)
  assert.deepEqual(ticks(heartbeat, 100, 2000), [1000])
})

test('a closed session is evidence at once, and a new one starts from nothing', () => {
  const heartbeat = new Heartbeat(OPTIONS)
  heartbeat.peerUp(2, 'a', 0)
  heartbeat.beatReceived(2, 1)
  heartbeat.beatReplied(2, 1, 2, 0, 0)
  heartbeat.peerDown(2)
  assert.equal(heartbeat.alive(2), false)
  assert.equal(heartbeat.answeredAt(2), Number.NEGATIVE_INFINITY)
  heartbeat.peerUp(2, 'b', 10)
  assert.equal(heartbeat.incarnationOf(2), 'b')
  assert.equal(heartbeat.alive(2), false)
  assert.equal(heartbeat.answeredAt(2), Number.NEGATIVE_INFINITY)
})

test('a node that was paused itself suspects nobody before it has read what waited (the story in the file)', () => {
  const heartbeat = new Heartbeat(OPTIONS)
  heartbeat.peerUp(1, 'a', 0)
  heartbeat.peerUp(3, 'a', 0)
  ticks(heartbeat, 100, 900, (now) => {
    heartbeat.beatReceived(1, now)
    heartbeat.beatReceived(3, now)
  })
  // Stopped at 950, on again at 6000: the tick comes first.
  const late = heartbeat.tick(6000)
  assert.equal(late.pausedMs, 5100)
  assert.deepEqual(late.silent, [])
  assert.equal(heartbeat.alive(1), true)
  assert.equal(late.settled, false)
  // Then the sockets are read: node 1 was well, node 3 had died meanwhile.
  heartbeat.beatReceived(1, 6001)
  const silentAt: number[] = []
  const settledAt: number[] = []
  for (let now = 6100; now <= 7500; now += 100) {
    const { silent, settled, pausedMs } = heartbeat.tick(now)
    assert.equal(pausedMs, 0)
    for (const { node } of silent) silentAt.push(node, now)
    if (settled) settledAt.push(now)
    heartbeat.beatReceived(1, now + 1)
  }
  assert.deepEqual(silentAt, [3, 6800])
  assert.equal(settledAt[0], 6300)
  assert.equal(heartbeat.alive(1), true)
  assert.equal(heartbeat.alive(3), false)
})

test('when all were asleep, nobody is suspected: a beat needs the other side to wake first', () => {
  const heartbeat = new Heartbeat(OPTIONS)
  heartbeat.tick(0)
  heartbeat.peerUp(1, 'a', 0)
  heartbeat.beatReceived(1, 50)
  // Long turns: no beat can arrive between one tick and the next.
  for (const now of [5000, 5300, 5600]) assert.deepEqual(heartbeat.tick(now).silent, [])
  heartbeat.beatReceived(1, 5700)
  assert.deepEqual(ticks(heartbeat, 5800, 6500), [])
})

test('a loop that is always late still comes to decisions', () => {
  const heartbeat = new Heartbeat(OPTIONS)
  heartbeat.tick(0)
  heartbeat.peerUp(2, 'a', 0)
  heartbeat.beatReceived(2, 10)
  const settled: boolean[] = []
  let silentAt = 0
  for (let now = 400; now <= 4000 && silentAt === 0; now += 400) {
    const tick = heartbeat.tick(now)
    settled.push(tick.settled)
    if (tick.silent.length > 0) silentAt = now
  }
  // Two intervals of attention per tick: slower than the clock, and sure.
  assert.equal(silentAt, 2400)
  assert.deepEqual(settled, [false, false, false, true, false, false])
})

test('the offset of the wall clocks, give or take half a round trip', () => {
  const heartbeat = new Heartbeat(OPTIONS)
  heartbeat.peerUp(2, 'a', 1000)
  // The peer's clock is 5000 ahead; it answered at the middle of a round trip of 20 ms.
  heartbeat.beatReplied(2, 1, 1020, 75_010, 70_020)
  assert.deepEqual(heartbeat.clockOffset(2), { offsetMs: 5000, errorMs: 10 })
})

test('beats that nobody answers are not remembered without end', () => {
  const heartbeat = new Heartbeat(OPTIONS)
  heartbeat.peerUp(2, 'a', 0)
  ticks(heartbeat, 100, 100_000, (now) => heartbeat.beatReceived(2, now))
  heartbeat.beatReplied(2, 1, 100_001, 0, 0)
  assert.equal(heartbeat.answeredAt(2), Number.NEGATIVE_INFINITY)
  heartbeat.beatReplied(2, 1001, 100_001, 0, 0)
  assert.equal(heartbeat.answeredAt(2), 100_000)
})
