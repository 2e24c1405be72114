/**
 * Followers that are behind the start of a partition's log: placed at the start, with what the leader has derived from the log.
 * Through the whole of replication, with real storage on disks in memory.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { baseOffsetOf, batchBytesOf, encodeBatch } from '../records/index.ts'
import { must } from '../stdx/index.ts'
import { type Entry, EntryKind, nextOffsetAfter, payloadOf } from '../storage/index.ts'
import { PARTITION_SETTINGS_DEFAULTS, Partition } from '../streams/index.ts'
import { CutReason } from './cut.ts'
import { HostWorld } from './host-harness.test.ts'

const ALL = [1, 2, 3]
const PRODUCER = 7

function batchOf(count: number, baseSequence: number): Buffer {
  const records = Array.from({ length: count }, (_, i) => ({ key: null, value: Buffer.from(`v${i}`), timestamp: 5 }))
  return encodeBatch(records, { timestamp: 5, producerId: PRODUCER, producerEpoch: 0, baseSequence })
}

class PartitionWorld extends HostWorld {
  readonly partitions = new Map<number, Partition>()
  #sequence = 0

  constructor(options: ConstructorParameters<typeof HostWorld>[0] = {}) {
    super({ snapshotChunkBytes: 64, stateSumEvery: 1, tailCacheBytes: 1, ...options })
    this.machine = (node, shard) => {
      const partition = new Partition(
        { topic: 'tides', index: 0, settings: PARTITION_SETTINGS_DEFAULTS, newProducersFrom: 0 },
        { shard, clock: this.clock, trace: () => {} },
      )
      this.partitions.set(node, partition)
      return partition
    }
    this.start(ALL, ALL)
  }

  get leading(): Partition {
    return must(this.partitions.get(this.electLeader().id), 'the leader')
  }

  /** A batch of `count` records of the idempotent producer; its base offset. */
  produce(count = 3, sequence = this.#sequence): number {
    let at: number | null = null
    const waiter = {
      produced: (_slot: number, error: number, baseOffset: number) => {
        assert.equal(error, 0)
        at = baseOffset
      },
    }
    this.leading.produce(batchOf(count, sequence), 'quorum-journal', waiter, 0)
    this.until(() => at !== null, 'an answer')
    if (sequence === this.#sequence) this.#sequence += count
    return at!
  }

  produceMany(batches: number): void {
    for (let i = 0; i < batches; i++) this.produce()
  }

  /** The leader cuts at `offset`, and everybody hears of it. */
  cutAt(offset: number): void {
    const { replica } = this.electLeader()
    let found: Entry | null = null
    const read = replica.readCommitted(offset, 1, (_error, entries) => {
      found = entries[0]!
    })
    if (read !== null) found = read[0]!
    this.until(() => found !== null, 'the entry')
    replica.requestCut({ index: (found as unknown as Entry).index, offset }, CutReason.request)
    this.untilStarts(offset)
  }

  untilStarts(offset: number): void {
    this.until(() => this.nodes.every(({ replica }) => replica.startOffset === offset), `all start at ${offset}`)
  }

  untilLevel(): void {
    const end = (): number => this.electLeader().replica.lastIndex
    this.until(() => this.nodes.every(({ replica }) => replica.commitIndex === end()), 'all are level')
  }

  checkpointAll(): void {
    let left = this.nodes.length
    for (const { storage } of this.nodes) storage.checkpoint(() => left--)
    this.until(() => left === 0, 'checkpoints')
  }

  /** Every record that a replica can read, as base offsets of batches. */
  readAll(id: number): number[] {
    const { replica, storage } = this.node(id)
    const log = storage.openShardLog(replica.id)
    const offsets: number[] = []
    for (let next = replica.startIndex; next <= replica.commitIndex; ) {
      let read: Entry[] | null = null
      log.readFromIndex(next, 1 << 20, (error, entries) => {
        assert.equal(error, null)
        read = entries
      })
      this.until(() => read !== null, 'a read')
      for (const entry of read as unknown as Entry[]) {
        assert.equal(entry.index, next++)
        if (entry.kind !== EntryKind.data) continue
        const payload = payloadOf(entry)
        for (let at = 0; at < payload.length; at += batchBytesOf(payload, at)) offsets.push(baseOffsetOf(payload, at))
      }
    }
    return offsets
  }

  /** All replicas that summed their state at one index have the same. */
  sameStates(): number {
    const sums = new Map<number, number>()
    let compared = 0
    for (const { event } of this.events) {
      if (event.type !== 'state-summed') continue
      const known = sums.get(event.index)
      if (known === undefined) sums.set(event.index, event.sum)
      else {
        assert.equal(event.sum, known, `the state at ${event.index}`)
        compared++
      }
    }
    return compared
  }
}

test('a follower that was away is placed at the start, gets every entry from there, and knows its producers', () => {
  const world = new PartitionWorld()
  world.produceMany(5)
  world.untilLevel()
  world.crash(3)
  world.produceMany(40)
  const { replica } = world.electLeader()
  const leader = world.electLeader().id
  world.cutAt(90)
  // From the disk: the tail in memory is long gone.
  world.produceMany(10)
  world.start([3], ALL)
  world.untilLevel()
  world.untilStarts(90)
  assert.equal(world.node(3).replica.startIndex, replica.startIndex)
  assert.ok(world.sent.get('snapshot')! > 0)
  assert.deepEqual(world.readAll(3), world.readAll(leader))
  assert.deepEqual(world.readAll(3)[0], 90)
  world.produceMany(3)
  world.untilLevel()
  assert.ok(world.sameStates() > 50)
  const applied = world.events.filter(({ node, event }) => node === 3 && event.type === 'snapshot-applied')
  assert.equal(applied.length, 1)
  // It leads, and knows a batch that it never got as an entry of its own.
  assert.equal(leader, 1)
  world.node(1).host.transfer(replica.id, 3)
  world.until(() => world.leader?.id === 3, 'a handover')
  assert.equal(world.produce(3, 54 * 3), 54 * 3)
})

test('placed at the start, a restart before it has caught up goes on where it was', () => {
  for (let steps = 0; steps < 90; steps += 3) {
    const world = new PartitionWorld({ appendBytesMax: 200, inFlightBytesMax: 200 })
    world.produceMany(4)
    world.untilLevel()
    world.crash(3)
    world.produceMany(30)
    world.cutAt(60)
    world.start([3], ALL)
    for (let step = 0; step < steps && world.clock.nextMs !== null; step++) world.clock.step()
    world.node(3).storage.checkpoint()
    for (let step = 0; step < 20 && world.clock.nextMs !== null; step++) world.clock.step()
    world.crash(3)
    world.start([3], ALL)
    world.produceMany(2)
    world.untilLevel()
    world.untilStarts(60)
    assert.deepEqual(world.readAll(3), world.readAll(1))
    world.sameStates()
    // The producer's state arrived whole: its last batch is known everywhere.
    const snapshots = [...world.partitions.values()].map((partition) => partition.snapshot().toString('hex'))
    assert.equal(new Set(snapshots).size, 1)
  }
})

test('a start inside an entry: the log begins with the entry, the records with the offset', () => {
  const world = new PartitionWorld()
  world.produceMany(10)
  world.cutAt(16)
  const { replica } = world.electLeader()
  assert.deepEqual([replica.startOffset, world.readAll(replica.raft.leader!)[0]], [16, 15])
  const index = replica.startIndex
  world.cutAt(17)
  assert.equal(replica.startIndex, index)
  world.crash(3)
  world.produceMany(20)
  world.cutAt(41)
  world.start([3], ALL)
  world.untilLevel()
  world.untilStarts(41)
  world.checkpointAll()
  for (const id of ALL) world.crash(id)
  world.start(ALL, ALL)
  world.produceMany(1)
  world.untilLevel()
  world.untilStarts(41)
})

test('all of a log is cut: it goes on at its end, and a follower that was away goes on there, too', () => {
  const world = new PartitionWorld()
  world.produceMany(3)
  world.untilLevel()
  world.crash(3)
  world.produceMany(7)
  const { replica } = world.electLeader()
  replica.requestCut({ index: replica.commitIndex + 1, offset: replica.committedOffset }, CutReason.retentionTime)
  world.until(() => replica.startOffset === 30, 'the cut')
  assert.equal(replica.startIndex, replica.commitIndex)
  assert.deepEqual(replica.lowWaterMark.moved, {
    start: { index: replica.commitIndex, offset: 30 },
    reason: CutReason.retentionTime,
  })
  world.start([3], ALL)
  world.untilLevel()
  world.untilStarts(30)
  assert.equal(world.produce(), 30)
  world.untilLevel()
  world.sameStates()
})

test('the start never goes back, whatever is asked for, and not above a pin', () => {
  const world = new PartitionWorld()
  world.produceMany(10)
  const { replica } = world.electLeader()
  const pinned = replica.pin('a backup', replica.commitIndex - 2)
  replica.requestCut({ index: replica.commitIndex + 1, offset: replica.committedOffset }, CutReason.retentionBytes)
  world.produceMany(1)
  assert.equal(replica.startOffset, 0)
  assert.equal(replica.lowWaterMark.heldBy!.name, 'a backup')
  pinned()
  assert.equal(replica.lowWaterMark.heldBy, null)
  world.cutAt(15)
  const { startIndex } = replica
  replica.requestCut({ index: 2, offset: 3 }, CutReason.request)
  replica.requestCut({ index: startIndex, offset: 15 }, CutReason.request)
  world.produceMany(2)
  assert.deepEqual([replica.startIndex, replica.startOffset], [startIndex, 15])
  const end = nextOffsetAfter(replica.raft.log.entry(replica.lastIndex)!)
  assert.throws(
    () => replica.requestCut({ index: replica.lastIndex + 2, offset: end }, CutReason.request),
    /is asked for/,
  )
})
