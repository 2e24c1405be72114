import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Codec, encodeBatch, setMaxTimestamp } from '../records/index.ts'
import { KafkaError } from './errors.ts'
import { ListOffset } from './partition-reader.ts'
import { batchOf, type Rig, rig } from './shard-harness.test.ts'

interface Reading extends Rig {
  /** Offsets from which pieces were read. */
  readonly reads: number[]
  /** Error, offset and timestamp of each answer. */
  readonly told: [number, number, number][]
  readonly ask: (timestamp: number, asker?: { isOpen: boolean }) => void
}

/** A log of one-record batches, an entry and a piece for each, with these times. */
function logOf(...times: number[]): Reading {
  const on = rig()
  const reads: number[] = []
  const told: [number, number, number][] = []
  const { shard, partition } = on
  const readCommitted = shard.readCommitted.bind(shard)
  shard.readCommitted = (offset, _maxBytes, done) => {
    reads.push(offset)
    return readCommitted(offset, 1, done)
  }
  for (const time of times) commit(on, batchOf(1, undefined, time))
  const ask = (timestamp: number, asker?: { isOpen: boolean }) =>
    partition.listOffset(timestamp, -1, (error, offset, found) => void told.push([error, offset, found]), asker)
  return { ...on, reads, told, ask }
}

function commit({ shard, partition, answers }: Rig, batch: Buffer): void {
  partition.produce(batch, 'none', answers, 0)
  shard.turn()
  shard.commit()
}

/** A compressed batch of one record, whose header promises more. */
function overstated(time: number, promise: number): Buffer {
  const batch = encodeBatch([{ key: null, value: null, timestamp: time }], { timestamp: time, codec: Codec.gzip })
  setMaxTimestamp(batch, 0, promise)
  return batch
}

test('a record that is cut while it is read from disk is no answer: the next one is', () => {
  const { shard, ask, told } = logOf(10, 20, 30, 40)
  shard.slowReads = true
  ask(15)
  shard.requestCut({ index: 5, offset: 3 }, 4)
  shard.cut()
  shard.finishReads()
  assert.deepEqual(told, [[KafkaError.NONE, 3, 40]])
})

test('the newest record of all is cut while it is read from disk: the newest of what is left is the answer', () => {
  const { shard, ask, told } = logOf(10, 90, 30, 40)
  shard.slowReads = true
  ask(ListOffset.maxTimestamp)
  shard.requestCut({ index: 4, offset: 2 }, 4)
  shard.cut()
  shard.finishReads()
  assert.deepEqual(told, [[KafkaError.NONE, 3, 40]])
})

test('a batch that overstates its newest record hides none', () => {
  const { ask, told, ...on } = logOf(10, 20, 30)
  commit(on, overstated(25, 5000))
  ask(ListOffset.maxTimestamp)
  ask(100)
  ask(30)
  ask(21)
  assert.deepEqual(told, [
    [KafkaError.NONE, 2, 30],
    [KafkaError.NONE, -1, -1],
    [KafkaError.NONE, 2, 30],
    [KafkaError.NONE, 2, 30],
  ])
})

test('of several records with the largest timestamp the first is told', () => {
  const { ask, told, ...on } = logOf(10, 30, 20, 30)
  commit(on, overstated(30, 50))
  ask(ListOffset.maxTimestamp)
  assert.deepEqual(told, [[KafkaError.NONE, 1, 30]])
})

test('a partition that is removed while it is read from disk is read no further', () => {
  const { partition, shard, ask, told, reads, ...on } = logOf(10, 20, 30)
  commit({ ...on, shard, partition }, overstated(25, 5000))
  shard.slowReads = true
  for (const timestamp of [100, 30, ListOffset.maxTimestamp]) ask(timestamp)
  partition.remove()
  shard.finishReads()
  assert.equal(reads.length, 1)
  assert.deepEqual(told, Array(3).fill([KafkaError.UNKNOWN_TOPIC_OR_PARTITION, -1, -1]))
})

test('a leader that is replaced while it reads from disk answers no more', () => {
  const { shard, ask, told, reads } = logOf(10, 20, 30)
  shard.slowReads = true
  ask(15)
  shard.depose(2)
  shard.finishReads()
  assert.deepEqual([told, reads.length], [[[KafkaError.NOT_LEADER_OR_FOLLOWER, -1, -1]], 1])
})

test('for a client that is gone nothing is read any more, and the others are answered', () => {
  const { shard, ask, told, reads, ...on } = logOf(10, 20, 30)
  commit({ ...on, shard }, overstated(25, 5000))
  shard.slowReads = true
  const gone = { isOpen: true }
  const goneWhileItWaits = { isOpen: true }
  ask(100, gone)
  ask(100, goneWhileItWaits)
  ask(15)
  gone.isOpen = false
  goneWhileItWaits.isOpen = false
  shard.finishReads()
  assert.deepEqual(told, [[KafkaError.NONE, 1, 20]])
  assert.equal(reads.length, 3)
})

test('of a partition’s lookups one reads from disk at a time, in turn', () => {
  const { shard, ask, told, reads, ...on } = logOf(10, 20)
  commit({ ...on, shard }, overstated(15, 5000))
  shard.slowReads = true
  ask(100)
  ask(15)
  ask(5)
  assert.deepEqual(reads, [0])
  shard.finishReads()
  assert.deepEqual(reads, [0, 0, 0, 1, 1, 2])
  assert.deepEqual(told, [
    [KafkaError.NONE, 0, 10],
    [KafkaError.NONE, 1, 20],
    [KafkaError.NONE, -1, -1],
  ])
})

test('a record from the future is paid for as long as it is there, and no longer', () => {
  const { shard, ask, told, reads, ...on } = logOf()
  const large = (timestamp: number) =>
    encodeBatch([{ key: null, value: Buffer.alloc(600 << 10), timestamp }], { timestamp })
  for (let i = 0; i < 30; i++) commit({ ...on, shard }, large(i === 3 ? 1e15 : 100 + i))
  ask(128)
  ask(ListOffset.maxTimestamp)
  shard.requestCut({ index: 6, offset: 4 }, 4)
  shard.cut()
  reads.length = 0
  ask(128)
  ask(1000)
  ask(ListOffset.maxTimestamp)
  assert.deepEqual(told, [
    [KafkaError.NONE, 3, 1e15],
    [KafkaError.NONE, 3, 1e15],
    [KafkaError.NONE, 28, 128],
    [KafkaError.NONE, -1, -1],
    [KafkaError.NONE, 29, 129],
  ])
  assert.deepEqual(reads, [28, 29])
})
