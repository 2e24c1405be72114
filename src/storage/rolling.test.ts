/** When a segment is left and the next begun, what is known of segments, and which of them a cut lets go. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { type Entry, EntryKind, encodeEntry, nextOffsetAfter } from './entry.ts'
import { chain, checkpointAt, follow, SeededRandom, World } from './harness.test.ts'
import type { SegmentFacts } from './segment-facts.ts'
import type { ShardLog } from './shard-log.ts'
import type { Storage } from './storage.ts'

const FOLDER = '/data/shards/16'
const HOUR = 3_600_000

function firsts(world: World): number[] {
  const names = world.list(FOLDER).filter((name) => name.endsWith('.log'))
  return names.map((name) => Number(name.slice(0, 20))).sort((a, b) => a - b)
}

function facts(world: World, log: ShardLog): readonly SegmentFacts[] {
  return world.await<readonly SegmentFacts[]>((done) => log.segments(done))
}

function write(world: World, log: ShardLog, entries: readonly Entry[]): void {
  for (const entry of entries) log.append(entry)
  log.flush()
  world.clock.settle()
}

/** Batches of 60 bytes of records that carry these times. */
function stamped(times: readonly number[]): Entry[] {
  const entries: Entry[] = []
  for (const time of times) {
    const batch = Buffer.alloc(61 + 60)
    batch.writeInt32BE(batch.length - 12, 8)
    batch.writeBigInt64BE(BigInt(time), 35)
    entries.push(follow(16, entries.at(-1) ?? null, 1, batch, 3))
  }
  return entries
}

/** A storage whose checkpoints are of `entries` up to what the log has, with a start that the test moves. */
function watched(world: World, entries: readonly Entry[], start: { index: number; offset: number }): Storage {
  const storage = world.open({ shardSegmentBytes: 1 << 20 })
  const log = storage.openShardLog(16)
  storage.setCheckpointSource({
    activeShards: () => [16],
    capture: () => ({
      ...checkpointAt(16, entries, log.lastIndex),
      startIndex: start.index,
      startOffset: start.offset,
    }),
  })
  return storage
}

test('rolling: the size of a segment can be changed while the log grows', () => {
  const world = new World()
  const log = world.open({ shardSegmentBytes: 1 << 20 }).openShardLog(16)
  const entries = chain(16, 90, 500)
  write(world, log, entries.slice(0, 30))
  assert.deepEqual(firsts(world), [1])
  log.configure({ segmentBytes: 3000 })
  for (const entry of entries.slice(30, 60)) write(world, log, [entry])
  const some = firsts(world)
  assert.ok(some.length >= 6, `${some}`)
  log.configure({})
  for (const entry of entries.slice(60)) write(world, log, [entry])
  assert.equal(firsts(world).length, some.length)
})

test('rolling: a segment is left when it is old, on the wall clock, over restarts', () => {
  const world = new World()
  const entries = chain(16, 40, 100)
  const storage = watched(world, entries, { index: 1, offset: 0 })
  storage.append(entries, () => {})
  const log = storage.openShardLog(16)
  log.configure({ segmentMs: HOUR })
  write(world, log, entries.slice(0, 5))
  world.clock.wallSetMs += HOUR / 2
  write(world, log, entries.slice(5, 10))
  world.close(storage)
  world.clock.wallSetMs += HOUR / 2 - 1000
  const again = world.open({ shardSegmentBytes: 1 << 20 }).openShardLog(16)
  again.configure({ segmentMs: HOUR })
  write(world, again, entries.slice(10, 15))
  assert.deepEqual(firsts(world), [1])
  world.clock.wallSetMs += 2000
  write(world, again, entries.slice(15, 20))
  assert.deepEqual(firsts(world), [1, 16])
  // A clock that went back makes nobody old.
  world.clock.wallSetMs -= 40 * HOUR
  write(world, again, entries.slice(20, 25))
  assert.deepEqual(firsts(world), [1, 16])
})

test('rolling: the age of a segment that does not tell it counts from when it is met', () => {
  const world = new World()
  world.clock.wallSetMs = -1_700_000_000_000 - 5 * HOUR
  const entries = chain(16, 40, 100)
  const log = world.open().openShardLog(16)
  log.configure({ segmentMs: HOUR })
  write(world, log, entries.slice(0, 5))
  assert.equal(facts(world, log)[0]!.createdMs, 0)
  world.clock.wallSetMs = 0
  write(world, log, entries.slice(5, 6))
  assert.deepEqual(firsts(world), [1])
  world.clock.wallSetMs = HOUR
  write(world, log, entries.slice(6, 7))
  assert.deepEqual(firsts(world), [1, 7])
})

test('rolling: jitter lets each segment end at an age of its own, never above the limit', () => {
  const world = new World('jitter')
  const entries = chain(16, 600, 10)
  const log = world.open().openShardLog(16)
  log.configure({ segmentMs: HOUR, segmentJitterMs: HOUR / 2 })
  for (const entry of entries) {
    world.clock.wallSetMs += HOUR / 60
    write(world, log, [entry])
  }
  const begun = firsts(world)
  const lengths = begun.slice(1).map((first, i) => first - begun[i]!)
  assert.ok(
    lengths.every((minutes) => minutes >= 30 && minutes <= 61),
    `${lengths}`,
  )
  assert.ok(new Set(lengths).size > 3, `${lengths}`)
})

test('facts: the numbers of all segments, whether written in this life or an earlier one, buffered entries included', () => {
  const world = new World()
  const random = new SeededRandom('facts')
  const entries = stamped(Array.from({ length: 300 }, () => 1000 + random.below(5000)))
  const storage = world.open()
  const log = storage.openShardLog(16)
  const at = checkpointAt(16, entries, 250)
  storage.append(entries, () => {})
  storage.setCheckpointSource({ activeShards: () => [16], capture: () => at })
  write(world, log, entries.slice(0, 250))
  for (const entry of entries.slice(250, 252)) log.append(entry)
  const expected = (through: number): unknown[] => {
    const begun = firsts(world)
    return begun.map((first, i) => {
      const held = entries.slice(first - 1, (begun[i + 1] ?? through + 1) - 1)
      const bytes = held.reduce((sum, entry) => sum + entry.bytes.length, 64)
      const maxTimestamp = Math.max(...held.map((entry) => Number(entry.bytes.readBigInt64BE(64 + 35))))
      return [first, held[0]!.firstOffset, bytes, maxTimestamp, i + 1 < begun.length]
    })
  }
  const told = (list: readonly SegmentFacts[]): unknown[] =>
    list.map(({ firstIndex, firstOffset, bytes, maxTimestamp, sealed }) => [
      firstIndex,
      firstOffset,
      bytes,
      maxTimestamp,
      sealed,
    ])
  assert.ok(firsts(world).length > 4)
  assert.deepEqual(told(facts(world, log)), expected(252))
  world.close(storage)
  const [lost, damaged] = world.list(FOLDER).filter((name) => name.endsWith('.index'))
  world.await<void>((done) => world.disk.remove(`${FOLDER}/${lost}`, done))
  const bytes = world.read(`${FOLDER}/${damaged}`)
  bytes[60]! ^= 1
  world.write(`${FOLDER}/${damaged}`, bytes)
  const opened: string[] = []
  world.disk.fault = (operation, path) => {
    if (operation === 'open' && path.includes('/shards/')) opened.push(path)
    return null
  }
  const again = world.open().openShardLog(16)
  assert.deepEqual(opened, [], 'opening reads no segment')
  for (const entry of entries.slice(again.lastIndex, 252)) again.append(entry)
  const first = facts(world, again)
  assert.deepEqual(told(first), expected(252))
  assert.ok(first.every(({ createdMs }) => createdMs >= 1_700_000_000_000))
  assert.equal(
    again.storedBytes,
    first.reduce((sum, { bytes }) => sum + bytes, 0),
  )
  opened.length = 0
  assert.deepEqual(facts(world, again), first)
  assert.deepEqual(opened, [], 'they are read once')
})

test('facts: of a log that has nothing on the disk yet', () => {
  const world = new World()
  const log = world.open({ shardLogFlushBytes: 1 << 20 }).openShardLog(16)
  assert.deepEqual(facts(world, log), [])
  const entries = stamped([70, 90, 80])
  for (const entry of entries) log.append(entry)
  const bytes = entries.reduce((sum, entry) => sum + entry.bytes.length, 0)
  const one = { firstIndex: 1, firstOffset: 0, bytes, maxTimestamp: 90, createdMs: 0, sealed: false }
  assert.deepEqual(facts(world, log), [one])
})

function cutEntry(previous: Entry): Entry {
  const place = { index: previous.index + 1, stamp: 1, firstOffset: nextOffsetAfter(previous), recordCount: 0 }
  const payload = [Buffer.alloc(17, 1)]
  return encodeEntry({ kind: EntryKind.cut, shard: 16, term: 1, previousCrc: previous.crc, payload, ...place })
}

test('cuts: when all is cut, the segment in use goes, too', () => {
  for (const written of [true, false]) {
    const world = new World()
    const entries = chain(16, 50, 500)
    const cut = cutEntry(entries.at(-1)!)
    const all = [...entries, cut]
    const start = { index: 1, offset: 0 }
    const storage = watched(world, all, start)
    const log = storage.openShardLog(16)
    for (const entry of entries) log.append(entry)
    if (written) {
      log.flush()
      world.clock.settle()
    }
    log.append(cut, cut.index)
    Object.assign(start, { index: cut.index, offset: cut.firstOffset })
    storage.append(all, () => {})
    storage.checkpoint()
    world.clock.settle()
    assert.deepEqual(firsts(world), [cut.index])
    world.powerLoss()
    const again = world.open({ shardSegmentBytes: 1 << 20 }).openShardLog(16)
    assert.deepEqual([again.firstIndex, again.firstOffset, again.lastIndex], [cut.index, 100, cut.index])
  }
})

test('cuts: a start inside an entry keeps the entry, and moves on by the offset alone', () => {
  const world = new World()
  const entries = chain(16, 20, 500)
  const start = { index: 7, offset: 13 }
  const storage = watched(world, entries, start)
  storage.append(entries, () => {})
  const log = storage.openShardLog(16)
  write(world, log, entries)
  storage.checkpoint()
  world.clock.settle()
  assert.deepEqual([log.firstIndex, log.firstOffset], [7, 13])
  for (const offset of [12, 11])
    assert.throws(
      () => world.await<Entry[]>((done) => log.readFromOffset(offset, 1, done)),
      (error: { code?: string }) => error.code === 'OFFSET_BELOW_LOG_START',
    )
  assert.equal(world.await<Entry[]>((done) => log.readFromOffset(13, 1, done))[0]!.index, 7)
  // Offsets of an entry: 12 and 13. Back by the offset: a driver that forgot does not move the start.
  Object.assign(start, { index: 7, offset: 12 })
  storage.checkpoint()
  world.clock.settle()
  assert.deepEqual([log.firstIndex, log.firstOffset], [7, 13])
  world.powerLoss()
  const again = world.open().openShardLog(16)
  assert.deepEqual([again.firstIndex, again.firstOffset], [7, 13])
})

test('facts: many who ask at once cost one look', () => {
  const world = new World()
  const entries = stamped(Array.from({ length: 200 }, (_, i) => 1000 + i))
  const storage = world.open()
  storage.append(entries, () => {})
  const at = checkpointAt(16, entries, entries.length)
  storage.setCheckpointSource({ activeShards: () => [16], capture: () => at })
  write(world, storage.openShardLog(16), entries)
  world.close(storage)
  const opened: string[] = []
  const again = world.open().openShardLog(16)
  assert.equal(again.storedBytes, null)
  world.disk.fault = (operation, path) => {
    if (operation === 'open' && path.endsWith('.log')) opened.push(path)
    return null
  }
  const answers: (readonly SegmentFacts[])[] = []
  for (let i = 0; i < 50; i++) again.segments((_error, segments) => answers.push(segments))
  world.clock.settle()
  assert.equal(answers.length, 50)
  assert.ok(answers.every((segments) => segments === answers[0] && segments.length > 4))
  assert.equal(opened.length, firsts(world).length)
})
