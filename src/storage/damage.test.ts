/** Damage that no sum can see, because what is wrong is that something is not there. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { Entry } from './entry.ts'
import { StorageError } from './errors.ts'
import { chain, World } from './harness.test.ts'
import { BLOCK_ALIGNMENT } from './journal-format.ts'
import { shardIndexFile, shardSegmentFile } from './layout.ts'
import type { ShardLog } from './shard-log.ts'
import type { Storage } from './storage.ts'

const LOG = chain(16, 60, 1000)

function refusedWith(world: World, code: string): StorageError {
  const outcome = world.tryOpen()
  assert.ok(outcome instanceof StorageError, 'it opened over damage')
  assert.equal(outcome.code, code)
  return outcome
}

function firstJournalSegment(world: World): string {
  return `/data/journal/${world.list('/data/journal')[0]}`
}

test('damage: the header of a journal’s only segment, with promised blocks behind it, is no empty journal', () => {
  for (const at of [0, 20, 41, BLOCK_ALIGNMENT + 10]) {
    const world = new World('only segment')
    const storage = world.open()
    for (const entry of LOG.slice(0, 5)) {
      storage.append([entry], () => {})
      world.clock.settle()
    }
    world.kill()
    const { platter } = world.disk
    const file = firstJournalSegment(world)
    platter.overwrite(
      file,
      at,
      platter.read(file, at, 1).map((byte) => byte ^ 4),
    )
    const { message } = refusedWith(world, 'JOURNAL_DAMAGED')
    assert.ok(message.includes(file), message)
  }
})

test('damage: half of the very first write is no damage', () => {
  const world = new World('first write')
  const storage = world.open()
  // Its sync never returned, so nobody wrote down that the segment is in service.
  const terms = world.disk.platter.read('/data/terms')
  storage.append([LOG[0]!], () => {})
  world.clock.settle()
  world.kill()
  for (const path of ['/data/terms', '/data/terms.copy']) world.disk.platter.put(path, terms)
  world.disk.platter.overwrite(firstJournalSegment(world), 0, Buffer.alloc(BLOCK_ALIGNMENT))
  assert.equal(world.open().recovered.size, 0)
})

test('damage: a journal folder that is not there is no empty journal', () => {
  const world = new World('no folder')
  const storage = world.open()
  storage.append([LOG[0]!], () => {})
  world.clock.settle()
  world.kill()
  world.disk.platter.remove('/data/journal')
  assert.match(refusedWith(world, 'JOURNAL_DAMAGED').message, /journal/)
})

/** A shard log of several segments, closed. */
function withSegments(seed: string): { world: World; storage: Storage; log: ShardLog; firsts: number[] } {
  const world = new World(seed)
  const storage = world.open()
  const log = storage.openShardLog(16)
  for (const entry of LOG) {
    storage.append([entry], () => {})
    log.append(entry)
    world.clock.settle()
  }
  log.flush()
  world.clock.settle()
  const firsts = world
    .list('/data/shards/16')
    .filter((name) => name.endsWith('.log'))
    .map((name) => Number(name.slice(0, 20)))
  assert.ok(firsts.length > 4)
  return { world, storage, log, firsts }
}

function checkpointed(seed: string): { world: World; firsts: number[] } {
  const { world, storage, firsts } = withSegments(seed)
  const last = LOG.at(-1)!
  storage.setCheckpointSource({
    activeShards: () => [16],
    capture: (shard) => ({
      shard,
      term: 1,
      vote: 0,
      index: last.index,
      entryTerm: 1,
      crc: last.crc,
      nextOffset: last.firstOffset + last.recordCount,
      stamp: last.stamp,
      startIndex: 1,
      startOffset: 0,
      epochs: [],
      configuration: Buffer.from('voters'),
      state: Buffer.alloc(0),
    }),
  })
  world.close(storage)
  return { world, firsts }
}

function readFrom(world: World, index: number): Entry[] | StorageError {
  let outcome: Entry[] | StorageError | null = null
  world
    .open()
    .openShardLog(16)
    .readFromIndex(index, 1 << 20, (error, entries) => {
      outcome = (error as StorageError | null) ?? entries
    })
  world.clock.settle()
  return outcome!
}

function readAt(world: World, offset: number): Entry[] | StorageError {
  let outcome: Entry[] | StorageError | null = null
  world
    .open()
    .openShardLog(16)
    .readFromOffset(offset, 1 << 20, (error, entries) => {
      outcome = (error as StorageError | null) ?? entries
    })
  world.clock.settle()
  return outcome!
}

const byIndex = (world: World, index: number): Entry[] | StorageError => readFrom(world, index)
const byOffset = (world: World, index: number): Entry[] | StorageError => readAt(world, LOG[index - 1]!.firstOffset)

for (const [name, read] of [
  ['index', byIndex],
  ['offset', byOffset],
] as const) {
  test(`damage: a segment of a shard log that is not there is no hole that reads by ${name} step over`, () => {
    const { world, firsts } = checkpointed('middle')
    world.disk.platter.remove(shardSegmentFile('/data/shards/16', firsts[2]!))
    const outcome = read(world, firsts[2]! + 1)
    assert.ok(outcome instanceof StorageError, 'it answered')
    assert.equal(outcome.code, 'SHARD_LOG_DAMAGED')
  })

  test(`damage: a segment that ends early, at the end of an entry, is no shorter log to reads by ${name}`, () => {
    for (const withIndex of [true, false]) {
      const { world, firsts } = checkpointed('short')
      const { platter } = world.disk
      const path = shardSegmentFile('/data/shards/16', firsts[1]!)
      platter.resize(path, platter.read(path).length - LOG[firsts[2]! - 2]!.bytes.length)
      if (!withIndex) platter.remove(shardIndexFile('/data/shards/16', firsts[1]!))
      const outcome = read(world, firsts[2]! - 1)
      assert.ok(outcome instanceof StorageError, 'it answered')
      assert.equal(outcome.code, 'SHARD_LOG_DAMAGED')
    }
  })

  test(`damage: whole entries at the wrong place of a segment are not what reads by ${name} asked for`, () => {
    const { world, firsts } = checkpointed('misplaced')
    const { platter } = world.disk
    const path = shardSegmentFile('/data/shards/16', firsts[1]!)
    // As a misdirected write would: the segment's second half over its first, exactly on the borders of entries.
    const bytes = platter.read(path)
    const each = LOG[0]!.bytes.length
    platter.overwrite(path, 64, bytes.subarray(64 + 2 * each))
    platter.resize(path, bytes.length - 2 * each)
    platter.remove(shardIndexFile('/data/shards/16', firsts[1]!))
    const outcome = read(world, firsts[1]!)
    assert.ok(outcome instanceof StorageError, 'it answered')
  })
}

test('damage: the first segment is not there, and nothing says that it was cut: it is damage, and no later start', () => {
  const { world, firsts } = checkpointed('front')
  world.disk.platter.remove(shardSegmentFile('/data/shards/16', firsts[0]!))
  const outcome = readFrom(world, 1)
  assert.ok(outcome instanceof StorageError, 'it answered')
  assert.equal(outcome.code, 'SHARD_LOG_MISSING')
  assert.equal(world.events.filter(({ type }) => type === 'shard-log-damaged').length, 1)
})

test('damage: the segment in use is shorter than the checkpoint says: it is left as it is, and the log goes on in another', () => {
  const { world, firsts } = checkpointed('cut')
  const { platter } = world.disk
  const path = shardSegmentFile('/data/shards/16', firsts.at(-1)!)
  platter.resize(path, 100)
  const storage = world.open()
  const more = chain(16, 62, 1000)
  for (const entry of more.slice(60)) storage.openShardLog(16).append(entry)
  storage.openShardLog(16).flush()
  world.clock.settle()
  assert.deepEqual(world.fatals, [])
  assert.equal(platter.read(path).length, 100, 'nothing was changed')
  assert.ok(platter.has(shardSegmentFile('/data/shards/16', 61)))
  const told = world.events.find((event) => event.type === 'shard-log-damaged')
  assert.equal(told?.type === 'shard-log-damaged' ? told.file : '', path)
})

test('damage: a disk that fails while the journal’s last block is written again refuses the start', () => {
  for (const operation of ['write', 'datasync'] as const) {
    const world = new World('rewrite')
    const storage = world.open()
    storage.append([LOG[0]!], () => {})
    world.clock.settle()
    world.kill()
    let opened = 0
    world.disk.fault = (what, path) => {
      // The first segment of this opening: made by zeros and one sync, then its first block.
      if (what !== operation || !path.endsWith('2.log')) return null
      return ++opened > 1 ? 'EIO' : null
    }
    const outcome = world.tryOpen()
    assert.ok(outcome instanceof StorageError)
    assert.equal(outcome.code, 'JOURNAL_FAILED')
    world.disk.fault = null
    assert.equal(world.open().recovered.get(16)?.entries.length, 1, 'the claim was let go, and nothing was lost')
  }
})
