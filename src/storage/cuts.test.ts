import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { DiskCall } from '../platform/memory/index.ts'
import type { ShardCheckpoint } from './checkpoint-format.ts'
import { type Entry, nextOffsetAfter } from './entry.ts'
import { StorageError } from './errors.ts'
import { chain, checkpointAt, follow, SeededRandom, World } from './harness.test.ts'
import { segmentNumberIn } from './layout.ts'
import type { ShardLog } from './shard-log.ts'
import type { Storage, StorageOptions } from './storage.ts'

/** It ends where a segment does. */
const LOG = chain(16, 64, 1000)
const FOLDER = '/data/shards/16'

/** The whole of `LOG` is committed and in the shard log; checkpoints say that it starts at `start`. */
function prepared(world: World, start: { index: number }, options: Partial<StorageOptions> = {}): Storage {
  const storage = world.open(options)
  storage.setCheckpointSource({
    activeShards: () => [16],
    capture: (): ShardCheckpoint => ({
      ...checkpointAt(16, LOG, LOG.length),
      startIndex: start.index,
      startOffset: LOG[start.index - 1]?.firstOffset ?? nextOffsetAfter(LOG.at(-1)!),
    }),
  })
  storage.append(LOG, () => {})
  const log = storage.openShardLog(16)
  for (const entry of LOG) log.append(entry)
  storage.checkpoint()
  world.clock.settle()
  return storage
}

/** All files but the last are to go in the moment in which the log has these entries to write. */
function cutAndGrow(world: World, storage: Storage, more: readonly Entry[]): void {
  const log = storage.openShardLog(16)
  storage.append([...more], () => {})
  storage.checkpoint(() => {
    for (const entry of more) log.append(entry)
    log.flush()
  })
  world.clock.settle()
}

function firsts(world: World): number[] {
  return world
    .list(FOLDER)
    .map(segmentNumberIn)
    .filter((first) => first !== null)
}

function read(world: World, log: ShardLog, index: number): Entry[] {
  return world.await<Entry[]>((done) => log.readFromIndex(index, 1 << 20, done))
}

function readAll(world: World, log: ShardLog): number[] {
  const indexes: number[] = []
  for (let index = log.firstIndex; index <= log.lastIndex; index = indexes.at(-1)! + 1)
    for (const entry of read(world, log, index)) {
      assert.equal(entry.crc, LOG[entry.index - 1]!.crc)
      indexes.push(entry.index)
    }
  return indexes
}

function refusedWith(code: string): (error: unknown) => boolean {
  return (error) => error instanceof StorageError && error.code === code
}

test('cuts: whole segments below the start go, reads below it are refused', () => {
  const world = new World()
  const start = { index: 1 }
  const storage = prepared(world, start)
  const log = storage.openShardLog(16)
  const before = firsts(world)
  assert.ok(before.length > 5)
  // In the middle of the fourth segment.
  start.index = before[3]! + 2
  storage.checkpoint()
  world.clock.settle()
  assert.deepEqual(firsts(world), before.slice(3))
  assert.ok(
    world.list(FOLDER).every((name) => Number(name.slice(0, 20)) >= before[3]!),
    'their indexes went, too',
  )
  for (const reopened of [log, null]) {
    if (reopened === null) world.powerLoss()
    const now = reopened ?? world.open().openShardLog(16)
    assert.deepEqual([now.firstIndex, now.firstOffset], [start.index, LOG[start.index - 1]!.firstOffset])
    assert.throws(() => read(world, now, start.index - 1), refusedWith('BELOW_LOG_START'))
    const below = now.firstOffset - 1
    assert.throws(
      () => world.await<Entry[]>((done) => now.readFromOffset(below, 1, done)),
      refusedWith('OFFSET_BELOW_LOG_START'),
    )
    assert.equal(read(world, now, start.index)[0]!.index, start.index)
    const [first] = world.await<Entry[]>((done) => now.readFromOffset(now.firstOffset, 1, done))
    assert.equal(first!.index, start.index)
    assert.equal(
      world.await<number>((done) => now.indexForTimestamp(-5, done)),
      start.index,
    )
    assert.equal(readAll(world, now).length, LOG.length - start.index + 1)
  }
})

test('cuts: all of a log may go, and it grows on', () => {
  const world = new World()
  const start = { index: 1 }
  const storage = prepared(world, start)
  start.index = LOG.length + 1
  storage.checkpoint()
  world.clock.settle()
  const log = storage.openShardLog(16)
  assert.deepEqual([log.firstIndex, log.lastIndex, firsts(world).length], [65, 64, 1])
  world.powerLoss()
  const again = world.open().openShardLog(16)
  assert.deepEqual([again.firstIndex, again.lastIndex], [65, 64])
  const more = chain(16, 74, 1000).slice(64)
  for (const entry of more) again.append(entry)
  again.flush()
  world.clock.settle()
  assert.deepEqual(
    read(world, again, 65).map(({ crc }) => crc),
    more.map(({ crc }) => crc).slice(0, read(world, again, 65).length),
  )
})

function cutInHalf(world: World): { readonly at: number; done: boolean } {
  const start = { index: 1 }
  const storage = prepared(world, start)
  start.index = firsts(world)[4]!
  const cut = { at: start.index, done: false }
  storage.checkpoint(() => {
    cut.done = true
  })
  return cut
}

test('cuts: a crash at any effect leaves a whole log, and the next opening no litter', () => {
  const whole = new World()
  cutInHalf(whole)
  for (let turns = whole.turnsToRest(); turns >= 0; turns--) {
    for (const power of [false, true]) {
      for (let seed = 0; seed < 4; seed++) {
        const world = new World(`${turns} ${power} ${seed}`)
        const cut = cutInHalf(world)
        for (let turn = 0; turn < turns; turn++) world.clock.step()
        if (power) world.powerLoss()
        else world.kill()
        const log = world.open().openShardLog(16)
        assert.ok(log.firstIndex === cut.at || (!cut.done && log.firstIndex === 1), `${turns}: ${log.firstIndex}`)
        assert.equal(readAll(world, log).length, LOG.length - log.firstIndex + 1)
        assert.ok(log.firstIndex === 1 || firsts(world)[0] === cut.at, `${firsts(world)}`)
        world.powerLoss()
        const opened: string[] = []
        world.disk.fault = (operation, path) => {
          if (operation === 'open' && path.includes('/shards/')) opened.push(path)
          return null
        }
        world.open()
        assert.deepEqual(opened, [], 'opening reads no segment')
      }
    }
  }
})

test('cuts: the segment that the checkpoint names stays, though the log has gone on to the next one meanwhile', () => {
  const more = chain(16, 79, 1000).slice(64)
  // While the checkpoint waits for this one, the other goes on.
  const slow = chain(17, 60, 1000)
  for (let turns = 0; turns < 40; turns++) {
    const world = new World(turns)
    // A journal that turns over asks for another checkpoint, which names the next segment.
    const storage = prepared(world, { index: 1 }, { journalSegmentBytes: 1 << 20 })
    storage.setCheckpointSource({
      activeShards: () => [16, 17],
      capture: (shard) =>
        shard === 17
          ? checkpointAt(17, slow, slow.length)
          : { ...checkpointAt(16, LOG, LOG.length), startIndex: 65, startOffset: nextOffsetAfter(LOG.at(-1)!) },
    })
    storage.append([...slow, ...more], () => {})
    for (const entry of slow) storage.openShardLog(17).append(entry)
    storage.checkpoint()
    for (let turn = 0; turn < turns; turn++) world.clock.step()
    const log = storage.openShardLog(16)
    for (const entry of more) log.append(entry)
    log.flush()
    world.clock.settle()
    world.kill()
    const again = world.open()
    assert.equal(again.openShardLog(16).firstIndex, 65)
    assert.equal(again.recovered.get(16)!.entries.length, more.length)
  }
})

test('cuts: what could not be removed is tried again', () => {
  const world = new World()
  const start = { index: 1 }
  const storage = prepared(world, start)
  const before = firsts(world)
  world.disk.fault = (operation, path) => (operation === 'remove' && path.startsWith(FOLDER) ? 'EIO' : null)
  start.index = before[2]!
  storage.checkpoint()
  world.clock.settle()
  assert.deepEqual(firsts(world), before)
  assert.deepEqual(world.fatals, [])
  assert.throws(() => read(world, storage.openShardLog(16), 1), refusedWith('BELOW_LOG_START'))
  world.disk.fault = null
  storage.checkpoint()
  world.clock.settle()
  assert.deepEqual(firsts(world), before.slice(2))
})

test('cuts: files that go and entries that come are worked on by turns', () => {
  const world = new World()
  const start = { index: 1 }
  const storage = prepared(world, start, { shardSegmentBytes: 2 << 10 })
  const more: Entry[] = []
  for (let i = 0; i < 40; i++) more.push(follow(16, more.at(-1) ?? LOG.at(-1)!, 1, Buffer.alloc(1000, i), 2))
  const log = storage.openShardLog(16)
  const work: string[] = []
  const noted = ({ operation, path }: DiskCall): null => {
    if (path.endsWith('.log') && ['remove', 'write'].includes(operation) && work.at(-1) !== operation)
      work.push(operation)
    return null
  }
  world.disk.condition = { troubleWith: (call) => (call.path.startsWith(FOLDER) ? noted(call) : null) }
  start.index = LOG.length
  cutAndGrow(world, storage, more)
  assert.ok(work.length > 3, work.join())
  assert.equal(log.writtenIndex, LOG.length + more.length)
})

test('cuts: where there is no room for what comes, all that may go goes at once', () => {
  const world = new World()
  const start = { index: 1 }
  const storage = prepared(world, start, { shardSegmentBytes: 2 << 10 })
  const more = [follow(16, LOG.at(-1)!, 1, Buffer.alloc(1000), 2)]
  world.disk.fault = (operation, path) => (operation === 'write' && path.startsWith(FOLDER) ? 'ENOSPC' : null)
  start.index = LOG.length
  cutAndGrow(world, storage, more)
  assert.ok(storage.awaitsRoom)
  storage.tryAgain()
  world.clock.settle()
  assert.ok(firsts(world).length <= 2, `${firsts(world).length} files are left`)
})

test('cuts: a log that is cut often does not keep a large segment for the little that counts in it', () => {
  const world = new World()
  const storage = world.open({ shardSegmentBytes: 1 << 20 })
  const entries = chain(16, 400, 500)
  let committed = 0
  storage.setCheckpointSource({
    activeShards: () => [16],
    capture: () => {
      const startIndex = Math.max(1, committed - 10)
      return { ...checkpointAt(16, entries, committed), startIndex, startOffset: entries[startIndex - 1]!.firstOffset }
    },
  })
  const log = storage.openShardLog(16)
  for (const entry of entries) {
    storage.append([entry], () => {})
    log.append(entry)
    committed = entry.index
    if (committed % 50 === 0) storage.checkpoint()
    world.clock.settle()
  }
  assert.ok(firsts(world).length <= 3, `${firsts(world)}`)
  assert.ok(firsts(world)[0]! > 250, `${firsts(world)}`)
})

test('cuts: a start beyond the end is the driver’s mistake', () => {
  const world = new World()
  const start = { index: 1 }
  const storage = prepared(world, start)
  start.index = 66
  assert.throws(() => storage.checkpoint(), /beyond its end/)
})

test('cuts: reads that began before a cut answer what they found, or that it was cut', () => {
  const random = new SeededRandom('readers')
  let [answered, refused] = [0, 0]
  for (let round = 0; round < 60; round++) {
    const world = new World(round)
    const start = { index: 1 }
    const storage = prepared(world, start)
    const log = storage.openShardLog(16)
    start.index = firsts(world)[4]!
    storage.checkpoint()
    for (let turns = random.below(30); turns > 0; turns--) world.clock.step()
    const index = 1 + random.below(10)
    let outcome: Entry[] | string | null = null
    log.readFromIndex(index, 1 << 20, (error, entries) => {
      outcome = (error?.code as string | undefined) ?? entries
    })
    world.clock.settle()
    if (outcome === 'BELOW_LOG_START') refused++
    else {
      answered++
      assert.equal((outcome as unknown as Entry[])[0]!.crc, LOG[index - 1]!.crc)
    }
  }
  assert.ok(answered > 3 && refused > 3, `${answered} and ${refused}`)
})
