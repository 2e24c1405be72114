/**
 * What a checkpoint may say of a removal. The state of one shard (here 1) says which others there are, and whoever starts from
 * it opens them: were the file to drop a shard that its own state of shard 1 still names, that shard would be opened empty, in
 * term 0, on a disk that has voted in it.
 */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { type Checkpoint, decodeCheckpoint, type ShardCheckpoint } from './checkpoint-format.ts'
import type { Entry } from './entry.ts'
import { StorageError } from './errors.ts'
import { encodeHardState } from './hard-state.ts'
import { chain, checkpointAt, World } from './harness.test.ts'
import type { Storage } from './storage.ts'

const DIRECTORY = chain(1, 6)
/** The entry of shard 1 with which both go at once. */
const REMOVAL = 4
const REMOVED = [17, 18]
const KEPT = 19
const COMMITTED = 5
const JOURNALED = 8
/** So small that the journal may enter a new segment with any block. */
const SEGMENT_BYTES = 8 << 10
const LOGS = new Map([...REMOVED, KEPT].map((shard) => [shard, chain(shard, 9, 300)]))

class Driver {
  readonly storage: Storage
  readonly #open = new Set(LOGS.keys())
  #applied = 3
  #committed = COMMITTED
  #applying = false

  constructor(storage: Storage) {
    this.storage = storage
    storage.setCheckpointSource({
      activeShards: () => [1, ...this.#open],
      capture: (shard) => this.#capture(shard),
      tail: (shard) => (shard === 1 ? DIRECTORY.slice(this.#applied) : LOGS.get(shard)!.slice(this.#committed)),
    })
    for (const entry of DIRECTORY.slice(0, this.#applied)) storage.openShardLog(1).append(entry)
    for (const [shard, log] of LOGS)
      for (const entry of log.slice(0, COMMITTED)) storage.openShardLog(shard).append(entry)
  }

  /** No tail of a shard's log holds the journal. */
  commitAll(): void {
    this.#committed = JOURNALED
    for (const [shard, log] of LOGS)
      for (const entry of log.slice(0, JOURNALED)) this.storage.openShardLog(shard).append(entry)
  }

  /** What a turn of the driver puts into its one call for all shards, some of it of shards that the same turn removed. */
  applyRemoval(): void {
    this.#applied = REMOVAL
    this.storage.openShardLog(1).append(DIRECTORY[REMOVAL - 1]!)
    this.#applying = true
    for (const shard of REMOVED) {
      this.#open.delete(shard)
      this.storage.removeShard(shard, 1)
    }
    this.#applying = false
    const last = REMOVED.map((shard) => LOGS.get(shard)![JOURNALED]!)
    this.storage.append([DIRECTORY[REMOVAL - 1]!, ...last], () => {})
  }

  installDirectory(): void {
    this.storage.installSnapshot(checkpointAt(1, DIRECTORY, 6), (error) => {
      assert.equal(error, null)
      this.#applied = 6
    })
  }

  #capture(shard: number): ShardCheckpoint {
    assert.ok(!this.#applying, 'captured in the middle of an entry')
    if (shard === 1) return checkpointAt(1, DIRECTORY, this.#applied)
    assert.ok(this.#open.has(shard), 'captured after it was removed')
    return { ...checkpointAt(shard, LOGS.get(shard)!, this.#committed), term: 5, vote: 2 }
  }
}

/** Everything but the last entries is on the disk; in the file or not, in the shard logs' own files or not. */
function begun(world: World, options: { written: boolean; stored: boolean; segmentBytes?: number }): Driver {
  const storage = world.open({ journalSegmentBytes: options.segmentBytes ?? SEGMENT_BYTES })
  const entries: Entry[] = [...DIRECTORY.slice(0, 3)]
  for (const [shard, log] of LOGS) entries.push(encodeHardState(shard, 5, 2), ...log.slice(0, JOURNALED))
  storage.append(entries, () => {})
  world.clock.settle()
  const driver = new Driver(storage)
  if (options.written) for (const shard of LOGS.keys()) storage.openShardLog(shard).flush()
  if (options.stored) storage.checkpoint()
  world.clock.settle()
  return driver
}

function checkpointIn(world: World): Checkpoint {
  const checkpoint = decodeCheckpoint(world.read('/data/checkpoint'), '/data/checkpoint')
  if (checkpoint instanceof StorageError) throw checkpoint
  return checkpoint
}

function check(world: World, storage: Storage, place: string): 'before' | 'after' {
  const before = (storage.recovered.get(1)!.checkpoint?.index ?? 0) < REMOVAL
  for (const [shard, log] of LOGS) {
    const found = storage.recovered.get(shard)
    if (shard !== KEPT && !before) {
      assert.equal(found, undefined, `${place}: shard ${shard} has outlived its removal`)
      assert.ok(
        !world.list('/data/shards').includes(`${shard}`),
        `${place}: the folder of shard ${shard} is still there`,
      )
      continue
    }
    assert.deepEqual([found?.term, found?.vote], [5, 2], `${place}: the vote in shard ${shard}`)
    const [from, entries] = [found!.checkpoint?.index ?? 0, found!.entries]
    assert.ok(from + entries.length >= JOURNALED, `${place}: shard ${shard} up to ${from + entries.length}`)
    for (const { index, crc } of entries) assert.equal(crc, log[index - 1]!.crc)
  }
  assert.ok(!world.list('/data').includes('quarantine'), `${place}: files of unknown origin`)
  return before ? 'before' : 'after'
}

test('removals: a crash at any turn finds all of them or none, as the state that goes with them says', () => {
  const met = { before: 0, after: 0 }
  for (let seed = 0; seed < 1200; seed++) {
    const world = new World(`removals ${seed}`, { chancePermille: seed % 3 === 0 ? 250 : 0 })
    const { random, clock } = world
    const driver = begun(world, { written: random.below(2) === 0, stored: random.below(2) === 0 })
    const turns = (bound: number): void => {
      for (let left = random.below(bound); left > 0; left--) clock.step()
    }
    if (random.below(3) > 0) driver.storage.checkpoint()
    turns(16)
    if (random.below(2) === 0) driver.storage.append([encodeHardState(KEPT, 5, 2)], () => {})
    turns(3)
    driver.applyRemoval()
    if (random.below(3) === 0) {
      turns(8)
      driver.installDirectory()
    }
    turns(random.below(4) === 0 ? 400 : 30)
    // The journal goes on, until a checkpoint need not speak of them any more.
    for (let more = random.below(2) * random.below(8); more > 0; more--) {
      driver.storage.append([encodeHardState(KEPT, 5, 2)], () => {})
      if (random.below(2) === 0) driver.storage.checkpoint()
      turns(12)
    }
    assert.deepEqual(world.fatals, [])
    if (random.below(2) === 0) world.powerLoss()
    else world.kill()
    const again = world.open({ journalSegmentBytes: SEGMENT_BYTES })
    met[check(world, again, `seed ${seed}`)]++
  }
  assert.ok(met.before > 150 && met.after > 150, JSON.stringify(met))
})

test('removals: the list of them does not grow with the history', () => {
  const world = new World()
  const storage = world.open()
  storage.setCheckpointSource({ activeShards: () => [], capture: (shard) => checkpointAt(shard, [], 0) })
  let longest = 0
  for (let shard = 16; shard < 416; shard++) {
    const log = chain(shard, 3, 500)
    storage.append([encodeHardState(shard, 1, 1), ...log], () => {})
    for (const entry of log) storage.openShardLog(shard).append(entry)
    if (shard % 2 === 0) storage.openShardLog(shard).flush()
    world.clock.settle()
    storage.removeShard(shard, 1)
    world.clock.settle()
    longest = Math.max(longest, checkpointIn(world).removed.size)
  }
  assert.ok(longest > 1 && longest < 120, `${longest} at a time`)
  for (let term = 1; term < 400; term++) {
    storage.append([encodeHardState(1, term, 1)], () => {})
    world.clock.settle()
  }
  const { removed, shards } = checkpointIn(world)
  assert.deepEqual([removed.size, ...shards.keys()], [0, 1])
})

test('removals: a shard whose files could not be removed stays on the list until an opening has removed them', () => {
  const world = new World()
  const driver = begun(world, { written: true, stored: true })
  world.disk.fault = (operation, path) => (operation === 'remove' && path.includes('/shards/17/') ? 'EIO' : null)
  driver.applyRemoval()
  const forget = (storage: Storage): void => {
    for (let term = 6; term < 400; term++) {
      storage.append([encodeHardState(KEPT, term, 2)], () => {})
      world.clock.settle()
    }
  }
  forget(driver.storage)
  assert.deepEqual([...checkpointIn(world).removed.keys()], [17])
  world.disk.fault = null
  world.powerLoss()
  const { storage } = new Driver(world.open())
  assert.ok(!world.list('/data/shards').includes('17'))
  forget(storage)
  assert.deepEqual([...checkpointIn(world).removed.keys()], [])
  assert.ok(!world.list('/data').includes('quarantine'))
})

test('removals: entries of the turn that removed the shard count for nothing, in whichever segment they are', () => {
  for (let seed = 0; seed < 40; seed++) {
    const blocks = 1 + (seed >> 2)
    const world = new World(seed)
    const driver = begun(world, { written: false, stored: true, segmentBytes: (2 + (seed & 3)) * 4096 })
    driver.commitAll()
    const write = (): void => driver.storage.append([encodeHardState(KEPT, 5, 2)], () => {})
    for (let left = blocks; left > 0; left--) {
      write()
      world.clock.settle()
    }
    // The journal is writing a block: what comes next goes into another one, and that may be the first of a segment.
    write()
    driver.applyRemoval()
    world.clock.settle()
    driver.storage.checkpoint()
    world.clock.settle()
    world.powerLoss()
    assert.equal(check(world, world.open(), `seed ${seed}`), 'after')
  }
})

test('removals: the files go, then the folder, each name synced before the next step rests on it', () => {
  const world = new World()
  const driver = begun(world, { written: true, stored: true })
  const steps: string[] = []
  const folder = '/data/shards/17'
  world.disk.fault = (operation, path) => {
    if (path.startsWith(folder) && operation !== 'close')
      steps.push(operation === 'remove' ? operation : `${operation} 17`)
    // Of the folder of shard 18, which is going at the same time, too; before this one is gone, none counts.
    if (path === '/data/shards' && steps.at(-1) === 'removeDirectory 17') steps.push(operation)
    return null
  }
  driver.applyRemoval()
  world.clock.settle()
  const files = steps.filter((step) => step === 'remove')
  assert.ok(files.length > 0)
  assert.deepEqual(steps.slice(-3 - files.length), [
    ...files,
    'syncDirectory 17',
    'removeDirectory 17',
    'syncDirectory',
  ])
  assert.deepEqual(world.list('/data/shards'), ['1', `${KEPT}`])
  world.powerLoss()
  assert.deepEqual(world.list('/data/shards'), ['1', `${KEPT}`])
})

test('removals: a folder in which somebody else has put something stays, with what is in it', () => {
  const world = new World()
  const driver = begun(world, { written: true, stored: true })
  world.disk.fault = (operation, path) => {
    // Between the removal of the shard's own files and that of the folder.
    if (operation === 'syncDirectory' && path === '/data/shards/17')
      world.disk.open('/data/shards/17/notes.txt', 'create', () => {})
    return null
  }
  driver.applyRemoval()
  world.clock.settle()
  world.disk.fault = null
  assert.deepEqual(world.list('/data/shards'), ['1', '17', `${KEPT}`])
  assert.deepEqual(world.list('/data/shards/17'), ['notes.txt'])
  assert.deepEqual(world.fatals, [])
})

test('removals: an opening removes empty folders of shards that nobody knows', () => {
  const world = new World()
  begun(world, { written: true, stored: true })
  for (const shard of [40, 41]) world.await<void>((done) => world.disk.makeDirectory(`/data/shards/${shard}`, done))
  world.kill()
  world.open()
  assert.deepEqual(world.list('/data/shards'), [1, ...REMOVED, KEPT].map(String))
  assert.ok(!world.list('/data').includes('quarantine'))
})
