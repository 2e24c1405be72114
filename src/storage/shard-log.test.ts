import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { type Entry, nextOffsetAfter } from './entry.ts'
import { StorageError } from './errors.ts'
import { chain, follow, SeededRandom, World } from './harness.test.ts'
import type { ShardLog } from './shard-log.ts'
import { SparseIndex } from './sparse-index.ts'

function stamped(shard: number, count: number, timestamp: (i: number) => number): Entry[] {
  const entries: Entry[] = []
  for (let i = 0; i < count; i++) {
    const batch = Buffer.alloc(61 + 100)
    batch.writeInt32BE(batch.length - 12, 8)
    batch.writeBigInt64BE(BigInt(timestamp(i)), 35)
    entries.push(follow(shard, entries.at(-1) ?? null, 1, batch, i % 5 === 4 ? 0 : 3))
  }
  return entries
}

function byIndex(world: World, log: ShardLog, index: number, maxBytes: number): Entry[] {
  return world.await<Entry[]>((done) => log.readFromIndex(index, maxBytes, done))
}

function byOffset(world: World, log: ShardLog, offset: number, maxBytes: number): Entry[] {
  return world.await<Entry[]>((done) => log.readFromOffset(offset, maxBytes, done))
}

/** The same answers whether the entries are buffered, written, or from before a restart. */
function check(world: World, log: ShardLog, entries: readonly Entry[], seed: number): void {
  const random = new SeededRandom(seed)
  for (let i = 0; i < 40; i++) {
    const at = random.below(entries.length)
    const maxBytes = 1 + random.below(2000)
    const read = byIndex(world, log, at + 1, maxBytes)
    assert.ok(read.length > 0)
    for (const [j, entry] of read.entries()) assert.equal(entry.crc, entries[at + j]!.crc)
    assert.ok(read.length === 1 || read.reduce((sum, { bytes }) => sum + bytes.length, 0) <= maxBytes)
    const offset = random.below(nextOffsetAfter(entries.at(-1)!))
    const found = byOffset(world, log, offset, maxBytes)
    const expected = entries.find((entry) => entry.recordCount > 0 && nextOffsetAfter(entry) > offset)
    assert.equal(found[0]?.crc, expected?.crc, `offset ${offset}`)
  }
  assert.deepEqual(byIndex(world, log, entries.length + 1, 1000), [])
  assert.deepEqual(byOffset(world, log, nextOffsetAfter(entries.at(-1)!), 1000), [])
}

test('shard log: reads by index and offset, buffered, written and after a restart', () => {
  const world = new World()
  const storage = world.open({ shardLogFlushBytes: 1 << 20 })
  const entries = stamped(16, 300, (i) => 1000 + i)
  const log = storage.openShardLog(16)
  for (const entry of entries.slice(0, 200)) log.append(entry)
  check(world, log, entries.slice(0, 200), 1)
  const written: number[] = []
  log.onWritten = (index) => written.push(index)
  log.flush()
  world.clock.settle()
  assert.equal(log.writtenIndex, 200)
  assert.equal(written.at(-1), 200)
  for (const entry of entries.slice(200)) log.append(entry)
  check(world, log, entries, 2)
  assert.ok(world.list('/data/shards/16').filter((name) => name.endsWith('.log')).length > 3)

  storage.append(entries, () => {})
  storage.setCheckpointSource(sourceFor(entries, 250))
  storage.checkpoint()
  world.clock.settle()
  world.powerLoss()
  const again = world.open()
  const reopened = again.openShardLog(16)
  assert.ok(reopened.writtenIndex >= 250)
  assert.equal(again.recovered.get(16)!.entries[0]!.index, 251)
  for (const entry of again.recovered.get(16)!.entries) reopened.append(entry)
  check(world, reopened, entries, 3)
  reopened.flush()
  world.clock.settle()
  check(world, reopened, entries, 4)
})

function sourceFor(entries: readonly Entry[], index: number) {
  const at = entries[index - 1]!
  return {
    activeShards: () => [at.shard],
    capture: () => ({
      shard: at.shard,
      term: 1,
      vote: 0,
      index,
      entryTerm: 1,
      crc: at.crc,
      nextOffset: nextOffsetAfter(at),
      stamp: at.stamp,
      startIndex: 1,
      startOffset: 0,
      epochs: [],
      configuration: Buffer.from('c'),
      state: Buffer.alloc(0),
    }),
  }
}

test('shard log: a lost or damaged index is built again', () => {
  const world = new World()
  const storage = world.open()
  const entries = stamped(16, 300, (i) => 1000 + i)
  const log = storage.openShardLog(16)
  for (const entry of entries) log.append(entry)
  storage.append(entries, () => {})
  storage.setCheckpointSource(sourceFor(entries, 300))
  world.clock.settle()
  world.close(storage)
  const indexes = world.list('/data/shards/16').filter((name) => name.endsWith('.index'))
  assert.ok(indexes.length > 3)
  const [lost, damaged] = [`/data/shards/16/${indexes[0]}`, `/data/shards/16/${indexes[1]}`]
  world.await<void>((done) => world.disk.remove(lost, done))
  const bytes = world.read(damaged)
  bytes[80]! ^= 1
  world.write(damaged, bytes)
  const reopened = world.open().openShardLog(16)
  check(world, reopened, entries, 5)
  check(world, reopened, entries, 6)
})

test('shard log: indexes are in memory of the file in use and of those that were read last, however long the log', () => {
  const world = new World()
  const log = world.open().openShardLog(16)
  const entries = stamped(16, 600, (i) => 1000 + i)
  for (const entry of entries) log.append(entry)
  log.flush()
  world.clock.settle()
  const kept = (): number => log.files.segments.filter(({ index }) => index.count > 0).length
  assert.ok(log.files.segments.length > 10)
  assert.equal(kept(), 1)
  check(world, log, entries, 7)
  assert.equal(kept(), 9)
})

test('shard log: opening reads no segment, and a missing one in use is damage of the log', () => {
  const world = new World()
  const storage = world.open()
  const entries = stamped(16, 200, () => 5)
  const log = storage.openShardLog(16)
  for (const entry of entries) log.append(entry)
  storage.append(entries, () => {})
  storage.setCheckpointSource(sourceFor(entries, 200))
  world.clock.settle()
  world.close(storage)
  const opened: string[] = []
  world.disk.fault = (operation, path) => {
    if (operation === 'open' && path.includes('/shards/')) opened.push(path)
    return null
  }
  world.close(world.open())
  assert.deepEqual(opened, [])
  const last = world
    .list('/data/shards/16')
    .filter((name) => name.endsWith('.log'))
    .at(-1)
  world.await<void>((done) => world.disk.remove(`/data/shards/16/${last}`, done))
  world.open().openShardLog(16)
  const told = world.events.filter(({ type }) => type === 'shard-log-damaged')
  assert.deepEqual(
    told.map((event) => ('file' in event ? event.file : '')),
    [`/data/shards/16/${last}`],
  )
})

test('shard log: a damaged entry is an error with a place, never other entries', () => {
  const world = new World()
  const storage = world.open()
  const entries = chain(16, 20, 300)
  const log = storage.openShardLog(16)
  for (const entry of entries) log.append(entry)
  log.flush()
  world.clock.settle()
  const path = `/data/shards/16/${world.list('/data/shards/16')[0]}`
  const bytes = world.read(path)
  bytes[64 + 5 * 364 + 100]! ^= 1
  world.write(path, bytes)
  assert.deepEqual(
    byIndex(world, log, 5, 10_000).map(({ index }) => index),
    [5],
    'what comes before it is no damage',
  )
  assert.throws(
    () => byIndex(world, log, 6, 10_000),
    (error) =>
      error instanceof StorageError && error.code === 'SHARD_LOG_DAMAGED' && /byte 1884 of/.test(error.message),
  )
})

test('shard log: a time leads to where the first record that is not older can be', () => {
  const world = new World()
  const storage = world.open()
  const entries = stamped(16, 400, (i) => 1000 + i * 10 - (i % 7) * 20)
  const log = storage.openShardLog(16)
  for (const entry of entries) log.append(entry)
  log.flush()
  world.clock.settle()
  for (const timestamp of [0, 900, 1500, 2222, 3333, 4900, 9999]) {
    const index = world.await<number>((done) => log.indexForTimestamp(timestamp, done))
    const first = entries.findIndex((_, i) => 1000 + i * 10 - (i % 7) * 20 >= timestamp)
    assert.ok(index <= (first < 0 ? 401 : first + 1), `${timestamp}: ${index} is behind ${first + 1}`)
    if (first > 100) assert.ok(index > first + 1 - 120, `${timestamp}: ${index} is far before ${first + 1}`)
  }
})

test('sparse index: agrees with a linear search', () => {
  const random = new SeededRandom(9)
  const index = new SparseIndex()
  const entries: { entry: Entry; position: number }[] = []
  let position = 64
  let previous: Entry | null = null
  for (let i = 0; i < 200; i++) {
    const entry = follow(1, previous, 1, Buffer.alloc(random.below(20_000)), random.below(4))
    index.add(entry, position, i)
    entries.push({ entry, position })
    position += entry.bytes.length
    previous = entry
  }
  const points = entries.filter(({ position: at }) => index.points.some((value, i) => i % 4 === 2 && value === at))
  assert.ok(points.length > 10 && points.length < 60)
  for (let value = 0; value < 220; value++) {
    const dumb = points.filter(({ entry }) => entry.index <= value).at(-1)?.position ?? 64
    assert.equal(index.positionOfIndex(value, 64), dumb)
    const byOffset = points.filter(({ entry }) => entry.firstOffset <= value).at(-1)?.position ?? 64
    assert.equal(index.positionOfOffset(value, 64), byOffset)
  }
})
