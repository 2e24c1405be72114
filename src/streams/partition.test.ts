import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  baseOffsetOf,
  crcOf,
  encodeBatch,
  hollowBatches,
  leaderEpochOf,
  maxTimestampOf,
  setBaseOffset,
  setMaxTimestamp,
  splitBatches,
  sumOf,
} from '../records/index.ts'
import { EntryKind, payloadOf } from '../storage/index.ts'
import { type FetchResult, ListOffset } from './partition-reader.ts'
import { batchOf, type Rig, rig } from './shard-harness.test.ts'

function read(on: Rig, offset: number, maxBytes = 1 << 20, atLeastOne = true) {
  const result = on.partition.read(offset, maxBytes, atLeastOne, -1, () => assert.fail('the answer was due at once'))
  assert.ok(result)
  return result
}

function offsetsIn(slices: readonly Buffer[]): number[] {
  return slices.flatMap((slice) => splitBatches(slice)!.map((batch) => baseOffsetOf(batch, 0)))
}

function listOffset(on: Rig, timestamp: number): [number, number, number] {
  let answer: [number, number, number] | null = null
  on.partition.listOffset(timestamp, -1, (error, offset, found) => {
    answer = [error, offset, found]
  })
  assert.ok(answer)
  return answer
}

test('produce: batches of one turn become one entry, numbered in place, answered when committed', () => {
  const { shard, partition, answers } = rig()
  partition.produce(batchOf(3), 'quorum-journal', answers, 0)
  partition.produce(batchOf(1), 'quorum-journal', answers, 1)
  partition.produce(batchOf(2), 'none', answers, 2)
  const entry = shard.turn()!
  assert.equal(entry.recordCount, 6)
  const batches = splitBatches(payloadOf(entry))!
  assert.deepEqual(
    batches.map((batch) => [baseOffsetOf(batch, 0), leaderEpochOf(batch, 0), sumOf(batch, 0) === crcOf(batch, 0)]),
    [
      [0, 1, true],
      [3, 1, true],
      [4, 1, true],
    ],
  )
  assert.deepEqual(answers.take(), [])
  shard.commit()
  assert.deepEqual(answers.take(), [
    [0, 0, 0],
    [1, 0, 3],
  ])
  partition.produce(batchOf(1), 'quorum-journal', answers, 7)
  assert.equal(shard.turn()!.firstOffset, 6)
  shard.commit()
  assert.deepEqual(answers.take(), [[7, 0, 6]])
})

test('produce: thousands of waiters are answered in order', () => {
  const { shard, partition, answers } = rig()
  for (let i = 0; i < 5000; i++) {
    partition.produce(batchOf(1), 'quorum-journal', answers, i)
    if (i % 3 === 0) shard.turn()
    if (i % 100 === 0) shard.commit(shard.log.length - 3)
  }
  shard.turn()
  shard.commit()
  assert.deepEqual(
    answers.take(),
    Array.from({ length: 5000 }, (_, i) => [i, 0, i]),
  )
})

test('produce: level leader-journal is answered by the own journal, or by a quorum without it', () => {
  const { shard, partition, answers } = rig()
  partition.produce(batchOf(1), 'leader-journal', answers, 0)
  const first = shard.turn()!
  partition.produce(batchOf(1), 'leader-journal', answers, 1)
  shard.turn()
  partition.journaled(first.index - 1)
  assert.deepEqual(answers.take(), [])
  partition.journaled(first.index)
  assert.deepEqual(answers.take(), [[0, 0, 0]])
  shard.commit()
  assert.deepEqual(answers.take(), [[1, 0, 1]])
})

test('produce: refusals have the codes that Kafka answers', () => {
  const { shard, partition, answers, events } = rig({ settings: { maxMessageBytes: 200 } })
  const corrupt = batchOf(1)
  corrupt[corrupt.length - 1]! ^= 1
  const two = Buffer.concat([batchOf(1), batchOf(1)])
  const control = encodeBatch([{ key: null, value: null }], { timestamp: 1, control: true })
  const transactional = encodeBatch([{ key: null, value: null }], {
    timestamp: 1,
    transactional: true,
    producerId: 1,
    producerEpoch: 0,
    baseSequence: 0,
  })
  const altered = (change: (batch: Buffer) => void): Buffer => {
    const batch = batchOf(1)
    change(batch)
    return batch
  }
  const cases: [Buffer, number][] = [
    [corrupt, 2],
    [batchOf(50), 10],
    [two, 87],
    [control, 87],
    [transactional, 48],
    [Buffer.alloc(0), 87],
    [Buffer.alloc(3), 87],
    [batchOf(1).subarray(0, -1), 87],
    [altered((batch) => batch.writeInt32BE(-1, 8)), 2],
    [altered((batch) => batch.writeInt8(1, 16)), 87],
    [altered((batch) => batch.writeInt8(3, 16)), 2],
  ]
  for (const [batch, error] of cases) {
    partition.produce(batch, 'quorum-journal', answers, 0)
    assert.deepEqual(answers.take(), [[0, error, -1]])
  }
  assert.equal(events.filter((event) => event.type === 'stream-refused').length, cases.length)
  assert.equal(shard.turn(), null)
})

test('produce: a disk without room refuses records, retriably and by name; what is in the log already is acknowledged again', () => {
  const on = rig()
  const { shard, partition, answers } = on
  const batch = (sequence: number): Buffer => batchOf(1, { id: 7, sequence })
  partition.produce(batch(0), 'quorum-journal', answers, 0)
  shard.turn()
  shard.commit()
  assert.deepEqual(answers.take(), [[0, 0, 0]])
  shard.refusal = "node 2's disk has 180 MiB left"
  partition.produce(batch(0), 'quorum-journal', answers, 1)
  partition.produce(batch(1), 'quorum-journal', answers, 2)
  partition.produce(batchOf(1), 'none', answers, 3)
  assert.deepEqual(
    answers.take().map(([slot, error]) => [slot, error]),
    [
      [1, 0],
      [2, 56],
      [3, 56],
    ],
  )
  assert.equal(shard.turn(), null)
  assert.equal(read(on, 0).error, 0)
  shard.refusal = null
  // The second must not overtake the first, which its producer sends again.
  partition.produce(batch(2), 'quorum-journal', answers, 4)
  partition.produce(batch(1), 'quorum-journal', answers, 5)
  shard.turn()
  shard.commit()
  const [early, again] = answers.take()
  assert.ok(early![0] === 4 && early![1] !== 0)
  assert.deepEqual([again![0], again![1]], [5, 0])
})

test('restore: a disk without room refuses what is restored, too, and takes it when there is some', () => {
  const { shard, partition, answers } = rig({ restored: { endOffset: 3, finished: () => false } })
  shard.refusal = "node 2's disk has 180 MiB left"
  partition.restoreBatches(batchOf(3), answers, 0)
  assert.deepEqual(answers.take(), [[0, 56, -1]])
  assert.equal(shard.turn(), null)
  shard.refusal = null
  partition.restoreBatches(batchOf(3), answers, 1)
  shard.turn()
  shard.commit()
  assert.deepEqual(answers.take(), [[1, 0, 0]])
})

/** Compressed, so its count is believed, as far as it is possible at all. */
function boasting(count: number): Buffer {
  const batch = encodeBatch([{ key: null, value: Buffer.alloc(1 << 20) }], { timestamp: 1 })
  batch.writeInt16BE(1, 21)
  batch.writeInt32BE(count - 1, 23)
  batch.writeInt32BE(count, 57)
  batch.writeUInt32BE(sumOf(batch, 0), 17)
  return batch
}

test('produce: offsets of one turn are no more than an entry can span', () => {
  const { shard, partition, answers } = rig({ settings: { maxMessageBytes: 2 << 20 } })
  const count = 150_000_000
  const fit = Math.floor(0xffff_ffff / count)
  for (let slot = 0; slot <= fit; slot++) partition.produce(boasting(count), 'quorum-journal', answers, slot)
  assert.equal(shard.turn()!.recordCount, fit * count)
  assert.deepEqual(answers.take(), [[fit, 7, -1]], 'one too many: to be sent again')
  shard.commit()
  partition.produce(boasting(count), 'quorum-journal', answers, 99)
  assert.equal(shard.turn()!.firstOffset, fit * count)
})

test('restore: holes that are wider than an entry take several', () => {
  const width = 0x7fff_ffff
  const batch = encodeBatch([{ key: null, value: null }], { timestamp: 1, baseOffset: 3 * width })
  const holes = hollowBatches(0, batch)
  assert.equal(holes.length, 3)
  const { shard, partition, answers } = rig({ restored: { endOffset: 3 * width + 1, finished: () => false } })
  partition.restoreBatches(Buffer.concat([...holes, batch]), answers, 0)
  assert.equal(answers.take()[0]![1], 42)
  partition.restoreBatches(Buffer.concat(holes.slice(0, 2)), answers, 1)
  partition.restoreBatches(Buffer.concat([...holes.slice(2), batch]), answers, 2)
  assert.deepEqual(answers.take(), [[2, 7, -1]], 'behind the ones of this turn')
  shard.turn()
  shard.commit()
  partition.restoreBatches(Buffer.concat([...holes.slice(2), batch]), answers, 3)
  shard.turn()
  shard.commit()
  assert.deepEqual(
    answers.take().map(([slot, error]) => [slot, error]),
    [
      [1, 0],
      [3, 0],
    ],
  )
})

test('produce: a compacted topic takes no record without a key', () => {
  const { partition, answers } = rig({ settings: { compacted: true } })
  partition.produce(
    encodeBatch([{ key: null, value: Buffer.from('v') }], { timestamp: 1 }),
    'quorum-journal',
    answers,
    0,
  )
  assert.deepEqual(answers.take(), [[0, 87, -1]])
  partition.produce(batchOf(2), 'quorum-journal', answers, 0)
  assert.equal(partition.waiting, 1)
})

test('produce: append-time topics stamp, and a maximum timestamp that lies is corrected', () => {
  const stamped = rig({ settings: { appendTime: true } })
  stamped.partition.produce(batchOf(1), 'quorum-journal', stamped.answers, 0)
  const entry = stamped.shard.turn()!
  stamped.shard.commit()
  assert.equal(stamped.answers.list[0]!.appendTime, stamped.clock.wall())
  assert.equal(maxTimestampOf(payloadOf(entry), 0), stamped.clock.wall())

  const lying = rig()
  const batch = batchOf(3)
  setMaxTimestamp(batch, 0, 999)
  lying.partition.produce(batch, 'quorum-journal', lying.answers, 0)
  const payload = payloadOf(lying.shard.turn()!)
  assert.equal(maxTimestampOf(payload, 0), 7)
  assert.equal(sumOf(payload, 0), crcOf(payload, 0))
})

test('leadership lost: everyone who waits is told to ask the next leader', () => {
  const { shard, partition, answers, events } = rig()
  partition.produce(batchOf(1), 'quorum-journal', answers, 0)
  partition.produce(batchOf(1), 'leader-journal', answers, 1)
  shard.turn()
  partition.produce(batchOf(1), 'quorum-journal', answers, 2)
  shard.depose(2)
  assert.deepEqual(
    answers.take().sort((a, b) => a[0] - b[0]),
    [
      [0, 6, -1],
      [1, 6, -1],
      [2, 6, -1],
    ],
  )
  assert.equal(shard.turn(), null)
  partition.produce(batchOf(1), 'quorum-journal', answers, 3)
  assert.deepEqual(answers.take(), [[3, 6, -1]])
  assert.ok(events.some((event) => event.type === 'stream-abandoned' && event.waiters === 3))
})

test('leadership lost and the mark moved in one turn: the entries of another leader answer nobody', () => {
  const { shard, partition, answers } = rig()
  partition.produce(batchOf(10), 'quorum-journal', answers, 0)
  partition.produce(batchOf(10), 'leader-journal', answers, 1)
  shard.turn()
  shard.truncate()
  const other = batchOf(40)
  shard.append(EntryKind.data, 2, 40, [other])
  shard.commit() // The mark is beyond our batches, the standing still says leader of term 1.
  assert.deepEqual(answers.take(), [])
  shard.depose(2)
  assert.deepEqual(answers.take(), [
    [0, 6, -1],
    [1, 6, -1],
  ])
})

test('elected anew within one turn: what was numbered under the old term is not proposed under the new one', () => {
  const { shard, partition, answers } = rig()
  partition.produce(batchOf(1), 'quorum-journal', answers, 0)
  shard.append(EntryKind.leadership, 3, 0, [])
  shard.standing = { role: 'leader', term: 3, leader: 1, settled: false }
  assert.equal(shard.turn(), null)
  shard.become(shard.standing)
  assert.deepEqual(answers.take(), [[0, 6, -1]])
})

test('elected, not settled: batches are held, with bytes of their own, until the leader may check them', () => {
  const { shard, partition, answers } = rig({ lead: false })
  shard.elect(4)
  const batch = batchOf(2, { id: 9, sequence: 0 })
  partition.produce(batch, 'quorum-journal', answers, 0)
  batch.fill(0)
  assert.equal(shard.turn(), null)
  assert.deepEqual(answers.take(), [])
  shard.settle()
  const entry = shard.turn()!
  assert.equal(leaderEpochOf(payloadOf(entry), 0), 4)
  shard.commit()
  assert.deepEqual(answers.take(), [[0, 0, 0]])

  shard.elect(6)
  partition.produce(batchOf(1), 'quorum-journal', answers, 1)
  shard.depose(7)
  assert.deepEqual(answers.take(), [[1, 6, -1]])
})

test('idempotence: a leader that may have been replaced refuses nothing for good', () => {
  const { shard, partition, answers } = rig()
  const send = (sequence: number, slot: number) =>
    partition.produce(batchOf(1, { id: 7, sequence }), 'quorum-journal', answers, slot)
  send(0, 0)
  shard.turn()
  shard.commit()
  assert.deepEqual(answers.take(), [[0, 0, 0]])
  // Asleep since then. Its successor has taken the sequences 1 and 2, and the producer goes on.
  shard.sure = false
  send(3, 1)
  send(0, 2)
  assert.deepEqual(
    answers.take(),
    [
      [1, 6, -1],
      [2, 0, 0],
    ],
    'what is committed stays committed; what seems missing may be with the successor',
  )
  shard.sure = true
  send(3, 3)
  assert.deepEqual(answers.take(), [[3, 45, -1]])
})

test('elected, not settled: reads wait, for the mark may be behind what a predecessor acknowledged', () => {
  const { shard, partition } = rig()
  const results: (readonly [error: number, highWatermark: number])[] = []
  const read = (leaderEpoch = -1) => {
    const done = ({ error, highWatermark }: FetchResult) => void results.push([error, highWatermark])
    const result = partition.read(0, 1000, true, leaderEpoch, done)
    if (result !== null) done(result)
  }
  shard.depose(2)
  const batch = batchOf(3)
  setBaseOffset(batch, 0, 0)
  shard.append(EntryKind.data, 2, 3, [batch]) // Acknowledged by the leader of term 2; that it is committed is not known here.
  shard.elect(3)
  read()
  assert.deepEqual(results, [])
  read(2)
  assert.deepEqual(results.splice(0), [[74, -1]], 'a stale epoch is refused at once')
  shard.settle()
  assert.deepEqual(results.splice(0), [[0, 3]])

  shard.elect(5)
  read()
  shard.depose(6)
  assert.deepEqual(results.splice(0), [[6, -1]])

  shard.elect(7)
  read()
  partition.remove()
  assert.deepEqual(results, [[3, -1]], 'nobody waits for a partition that was deleted')
})

test('idempotence: a retry in flight waits for the original, a later one is answered at once', () => {
  const { shard, partition, answers, events } = rig()
  const send = (sequence: number, count: number, slot: number) => {
    partition.produce(batchOf(count, { id: 7, sequence }), 'quorum-journal', answers, slot)
  }
  send(0, 2, 0)
  send(0, 2, 1) // In the same turn.
  shard.turn()
  send(2, 3, 2)
  send(0, 2, 3) // After the turn, before the commit.
  shard.turn()
  assert.deepEqual(answers.take(), [])
  shard.commit(shard.log.length - 1)
  assert.deepEqual(answers.take(), [
    [0, 0, 0],
    [1, 0, 0],
    [3, 0, 0],
  ])
  shard.commit()
  send(0, 2, 4)
  send(2, 3, 5)
  send(9, 1, 6)
  assert.deepEqual(answers.take(), [
    [2, 0, 2],
    [4, 0, 0],
    [5, 0, 2],
    [6, 45, -1],
  ])
  assert.equal(shard.endOffset, 5)
  assert.equal(events.filter((event) => event.type === 'stream-duplicate').length, 4)
})

test('idempotence: a batch that vanished with the leadership is new again, one that survived is not', () => {
  const { shard, partition, answers } = rig()
  partition.produce(batchOf(1, { id: 7, sequence: 0 }), 'quorum-journal', answers, 0)
  shard.turn()
  partition.produce(batchOf(1, { id: 7, sequence: 1 }), 'quorum-journal', answers, 1)
  shard.turn()
  shard.depose(2)
  shard.log.length -= 1 // The first survives, the second is truncated.
  shard.elect(3)
  answers.take()
  partition.produce(batchOf(1, { id: 7, sequence: 0 }), 'quorum-journal', answers, 2)
  partition.produce(batchOf(1, { id: 7, sequence: 1 }), 'quorum-journal', answers, 3)
  shard.settle()
  assert.deepEqual(answers.take(), [[2, 0, 0]])
  shard.turn()
  shard.commit()
  assert.deepEqual(answers.take(), [[3, 0, 1]])
})

test('idempotence: of two batches in flight the second is not a beginning, also where nobody saw the first', () => {
  // The first is on its way to the old leader when the producer hears of the new one, which takes the second.
  const { shard, partition, answers } = rig({ lead: false, newProducersFrom: 7 })
  shard.elect(2)
  shard.settle()
  const send = (id: number, sequence: number) =>
    partition.produce(batchOf(3, { id, sequence }), 'quorum-journal', answers, sequence)
  send(7, 3)
  assert.deepEqual(answers.take(), [[3, 45, -1]])
  send(7, 0)
  send(7, 3)
  send(6, 9)
  shard.turn()
  shard.commit()
  assert.deepEqual(
    answers.take(),
    [
      [0, 0, 0],
      [3, 0, 3],
      [9, 0, 6],
    ],
    'in order; and who is older than the topic may go on where an earlier one ended',
  )
})

test('idempotence survives a snapshot', () => {
  const first = rig()
  for (let sequence = 0; sequence < 8; sequence++) {
    first.partition.produce(batchOf(1, { id: 7, sequence }), 'quorum-journal', first.answers, 0)
    first.shard.turn()
  }
  first.shard.commit()
  const second = rig({ lead: false })
  second.partition.restore(first.partition.snapshot())
  assert.deepEqual(second.partition.snapshot(), first.partition.snapshot())
  second.shard.log.push(...first.shard.log)
  second.shard.commitIndex = first.shard.commitIndex
  second.shard.elect(2)
  second.shard.settle()
  for (const [sequence, expected] of [
    [3, 0],
    [7, 0],
    [2, 45],
  ] as const) {
    second.partition.produce(batchOf(1, { id: 7, sequence }), 'quorum-journal', second.answers, 0)
    assert.deepEqual(second.answers.take(), [[0, expected, expected === 0 ? sequence : -1]])
  }
})

test('read: the batch that holds the offset, only what is committed, whole batches within the limit', () => {
  const on = rig()
  const { shard, partition, answers } = on
  for (const count of [3, 2]) partition.produce(batchOf(count), 'none', answers, 0)
  shard.turn()
  partition.produce(batchOf(4), 'none', answers, 0)
  shard.turn()
  shard.commit(shard.log.length - 1)
  assert.deepEqual(offsetsIn(read(on, 0).slices), [0, 3])
  assert.deepEqual(offsetsIn(read(on, 4).slices), [3])
  assert.deepEqual(offsetsIn(read(on, 2).slices), [0, 3])
  const { highWatermark, lastStableOffset, error } = read(on, 7)
  assert.deepEqual([error, highWatermark, lastStableOffset, read(on, 7).bytes], [0, 5, 5, 0])
  assert.equal(read(on, 9).error, 0)
  assert.equal(read(on, 10).error, 1)
  assert.equal(read(on, 10).highWatermark, 5)
  const one = batchOf(3).length
  assert.deepEqual(offsetsIn(read(on, 0, one).slices), [0])
  assert.deepEqual(offsetsIn(read(on, 0, 1).slices), [0])
  assert.equal(read(on, 0, 1, false).bytes, 0)
  shard.commit()
  assert.deepEqual(offsetsIn(read(on, 1).slices), [0, 3, 5])
  shard.startOffset = 3
  assert.equal(read(on, 2).error, 1)
  assert.equal(read(on, 2).logStartOffset, 3)
})

test('read: from disk, later, and only if the leadership lasted', () => {
  const { shard, partition, answers } = rig()
  partition.produce(batchOf(3), 'none', answers, 0)
  shard.turn()
  shard.commit()
  shard.slowReads = true
  const seen: [number, number[]][] = []
  const ask = () => partition.read(0, 1000, true, -1, ({ error, slices }) => seen.push([error, offsetsIn(slices)]))
  assert.equal(ask(), null)
  shard.finishReads()
  assert.equal(ask(), null)
  shard.depose(2)
  shard.finishReads()
  assert.deepEqual(seen, [
    [0, [0]],
    [6, []],
  ])
})

test('read: who does not lead, or is not sure, or is asked for another epoch, says so and shows no marks', () => {
  const on = rig()
  const { shard, partition } = on
  const errorOf = (epoch: number) => partition.read(0, 100, true, epoch, () => {})!.error
  assert.deepEqual([errorOf(-1), errorOf(1), errorOf(0), errorOf(2)], [0, 0, 74, 75])
  shard.sure = false
  assert.deepEqual([errorOf(-1), read(on, 0).highWatermark], [6, -1])
  assert.equal(listOffset(on, ListOffset.latest)[0], 6)
  shard.sure = true
  shard.depose(2)
  assert.deepEqual([errorOf(-1), errorOf(1)], [6, 74])
  shard.elect(3)
  assert.equal(partition.epochEnd(1, -1).error, 78)
  shard.settle()
  assert.equal(errorOf(3), 0)
  assert.equal(listOffset(on, ListOffset.latest)[0], 0)
})

test('listOffset: a leader that is not settled yet answers when it is, or when it leads no more', () => {
  const { shard, partition } = rig()
  const answers: [number, number][] = []
  const ask = () => partition.listOffset(ListOffset.latest, -1, (error, offset) => answers.push([error, offset]))
  shard.depose(2)
  shard.elect(3)
  ask()
  assert.deepEqual(answers, [], 'where the log ends is not known yet')
  shard.settle()
  assert.deepEqual(answers, [[0, 0]])
  shard.depose(2)
  shard.elect(5)
  ask()
  shard.depose(6)
  assert.deepEqual(answers, [
    [0, 0],
    [6, -1],
  ])
})

test('listOffset: ends, and the first record that is not older, whatever the order of timestamps', () => {
  const on = rig()
  const { shard, partition, answers } = on
  const stamps = [50, 90, 70, 80, 60, 30, 90, 120, 40]
  const sent: { key: null; value: null; timestamp: number }[] = stamps.map((timestamp) => ({
    key: null,
    value: null,
    timestamp,
  }))
  for (let at = 0; at < sent.length; at += 2) {
    partition.produce(
      encodeBatch(sent.slice(at, at + 2), { timestamp: 0, codec: at % 4 === 0 ? 1 : 0 }),
      'none',
      answers,
      0,
    )
    if (at % 4 === 0) shard.turn()
  }
  shard.turn()
  shard.commit()
  for (let time = 1; time < 130; time++) {
    const expected = stamps.findIndex((stamp) => stamp >= time)
    assert.deepEqual(listOffset(on, time), [0, expected, expected < 0 ? -1 : stamps[expected]!])
  }
  assert.deepEqual(listOffset(on, ListOffset.maxTimestamp), [0, 7, 120])
  assert.deepEqual(listOffset(on, ListOffset.latest), [0, 9, -1])
  assert.deepEqual(listOffset(on, ListOffset.earliest), [0, 0, -1])
  assert.deepEqual(listOffset(on, ListOffset.earliestLocal), [0, 0, -1])
  assert.deepEqual(listOffset(on, ListOffset.latestTiered), [0, -1, -1])
  assert.equal(listOffset(on, -9)[0], 42)
  shard.startOffset = 8
  assert.deepEqual(listOffset(on, 45), [0, -1, -1])
  assert.deepEqual(listOffset(on, ListOffset.maxTimestamp), [0, 8, 40])
})

test('listOffset: an empty log has no time, and an uncommitted record is not found', () => {
  const on = rig()
  assert.deepEqual(listOffset(on, 5), [0, -1, -1])
  assert.deepEqual(listOffset(on, ListOffset.maxTimestamp), [0, -1, -1])
  on.partition.produce(batchOf(1), 'none', on.answers, 0)
  on.shard.turn()
  assert.deepEqual(listOffset(on, 5), [0, -1, -1])
  on.shard.commit()
  assert.deepEqual(listOffset(on, 5), [0, 0, 5])
})

test('a deleted partition lets nobody wait', () => {
  const { shard, partition, answers } = rig()
  partition.produce(batchOf(1), 'quorum-journal', answers, 0)
  shard.turn()
  partition.remove()
  partition.produce(batchOf(1), 'quorum-journal', answers, 1)
  assert.deepEqual(answers.take(), [
    [0, 3, -1],
    [1, 3, -1],
  ])
})

test('produce: a turn that has to wait for a handover keeps bytes of its own', () => {
  const { shard, partition, answers } = rig()
  const batch = batchOf(2)
  const intact = Buffer.from(batch)
  partition.produce(batch, 'quorum-journal', answers, 0)
  partition.defer()
  batch.fill(0xee) // the socket's memory is used for something else
  partition.produce(batchOf(1), 'quorum-journal', answers, 1)
  const entry = shard.turn()!
  const [first, second] = splitBatches(payloadOf(entry))!
  assert.equal(crcOf(first!, 0), crcOf(intact, 0))
  assert.equal(sumOf(first!, 0), crcOf(first!, 0))
  assert.equal(baseOffsetOf(second!, 0), 2)
  shard.commit()
  assert.deepEqual(answers.take(), [
    [0, 0, 0],
    [1, 0, 2],
  ])
})

test('produce: what a handover holds back has a limit, at which producers are pushed back', () => {
  const { shard, partition, answers } = rig({ settings: { maxMessageBytes: 8 << 20 } })
  const batch = encodeBatch([{ key: null, value: Buffer.alloc(3 << 20) }], { timestamp: 1 })
  const full = [0, 1, 2].map((slot) => {
    partition.produce(Buffer.from(batch), 'quorum-journal', answers, slot)
    partition.defer()
    return partition.isFull
  })
  assert.deepEqual(full, [false, false, true])
  shard.turn()
  assert.equal(partition.isFull, false)
})

test('produce: every turn of a handover asks to be looked at, so that its batches get bytes of their own too', () => {
  const { shard, partition, answers } = rig()
  let asked = 0
  const request = shard.requestProposal.bind(shard)
  shard.requestProposal = () => {
    asked++
    request()
  }
  const batches = [batchOf(2), batchOf(1)]
  for (const batch of batches) {
    partition.produce(batch, 'quorum-journal', answers, 0)
    partition.defer()
    batch.fill(0xee)
  }
  assert.equal(asked, 2)
  const payload = payloadOf(shard.turn()!)
  for (const batch of splitBatches(payload)!) assert.equal(sumOf(batch, 0), crcOf(batch, 0))
})
