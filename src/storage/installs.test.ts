import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { DiskCall } from '../platform/memory/index.ts'
import type { ShardCheckpoint } from './checkpoint-format.ts'
import { type Entry, nextOffsetAfter } from './entry.ts'
import { encodeHardState } from './hard-state.ts'
import { chain, checkpointAt, follow, World } from './harness.test.ts'
import type { RecoveredShard } from './replay.ts'
import type { Storage } from './storage.ts'

/** This node: 30 entries, of which the first 20 are committed; the rest was written by a leader that lost. */
const OURS = chain(16, 30, 300)
const COMMITTED = 20
/** The leader: the same up to 15, and then another history in a later term. */
const THEIRS = continued(OURS.slice(0, COMMITTED), 40, 3)
const SNAPSHOT = { ...checkpointAt(16, THEIRS, 25), startIndex: 12, startOffset: THEIRS[11]!.firstOffset }
const OTHER = { ...checkpointAt(17, chain(17, 9), 9) }

function continued(log: readonly Entry[], length: number, term: number): Entry[] {
  const all = [...log]
  while (all.length < length) all.push(follow(16, all.at(-1)!, term, Buffer.alloc(200, all.length), 2))
  return all
}

interface Driver {
  readonly storage: Storage
  committed: number
  log: readonly Entry[]
}

function driven(world: World): Driver {
  const driver: Driver = { storage: world.open(), committed: COMMITTED, log: OURS }
  driver.storage.setCheckpointSource({
    activeShards: () => [16],
    capture: (shard) => (shard === 17 ? checkpointAt(17, [], 0) : checkpointAt(16, driver.log, driver.committed)),
    tail: (shard) => (shard === 16 ? driver.log.slice(driver.committed) : []),
  })
  driver.storage.append([encodeHardState(16, 5, 2), ...OURS], () => {})
  const log = driver.storage.openShardLog(16)
  for (const entry of OURS.slice(0, COMMITTED)) log.append(entry)
  driver.storage.checkpoint()
  world.clock.settle()
  return driver
}

function install(driver: Driver, snapshot: ShardCheckpoint, told: string[]): void {
  driver.storage.installSnapshot(snapshot, (error) => {
    told.push(error === null ? `${snapshot.shard}` : error.code)
    if (snapshot.shard !== 16 || error !== null) return
    driver.committed = snapshot.index
    driver.log = THEIRS.slice(0, snapshot.index)
  })
}

function sums(entries: readonly Entry[]): number[] {
  return entries.map(({ crc }) => crc)
}

function isOld({ checkpoint, entries }: RecoveredShard): boolean {
  return checkpoint?.index === COMMITTED && entries.length === 10 && entries[0]!.crc === OURS[COMMITTED]!.crc
}

function isNew({ checkpoint, entries }: RecoveredShard): boolean {
  return checkpoint?.crc === SNAPSHOT.crc && entries.length === 0
}

test('installs: the log stands at the snapshot, and what is appended afterwards follows it', () => {
  const world = new World()
  const driver = driven(world)
  const { storage } = driver
  const log = storage.openShardLog(16)
  const told: string[] = []
  install(driver, SNAPSHOT, told)
  world.clock.settle()
  assert.deepEqual(told, ['16'])
  assert.equal(storage.openShardLog(16), log, 'the same object')
  assert.deepEqual([log.lastIndex, log.writtenIndex, log.firstIndex], [25, 25, 26])
  assert.equal(log.firstOffset, SNAPSHOT.nextOffset)
  assert.deepEqual(world.list('/data/shards/16'), [], 'the old segments are gone')
  const after = THEIRS.slice(25)
  storage.append(after, () => {})
  for (const entry of after.slice(0, 5)) log.append(entry)
  log.flush()
  world.clock.settle()
  world.powerLoss()
  const again = world.open()
  const { term, vote, checkpoint, entries } = again.recovered.get(16)!
  assert.deepEqual([term, vote], [5, 2], 'the vote is ours, whatever the snapshot knows')
  assert.deepEqual([checkpoint!.index, checkpoint!.startIndex], [25, 26])
  assert.equal(checkpoint!.state.toString(), 'state at 25')
  assert.deepEqual(sums(entries), sums(after))
  for (const entry of entries) again.openShardLog(16).append(entry)
  const back = world.await<Entry[]>((done) => again.openShardLog(16).readFromIndex(26, 1 << 20, done))
  assert.deepEqual(sums(back), sums(after))
})

test('installs: a node that never had the shard', () => {
  const world = new World()
  const storage = world.open()
  let done = false
  storage.installSnapshot(OTHER, (error) => {
    done = error === null
  })
  world.clock.settle()
  assert.ok(done)
  world.powerLoss()
  const again = world.open()
  assert.equal(again.recovered.get(17)!.checkpoint!.index, 9)
  assert.deepEqual([again.openShardLog(17).lastIndex, again.openShardLog(17).firstIndex], [9, 10])
})

/** Two shards, while a checkpoint is being taken, with entries in the journal's queue. */
function crowded(world: World, told: string[]): Driver {
  const driver = driven(world)
  const tail = chain(17, 4, 100, 7)
  driver.storage.checkpoint()
  driver.storage.append(tail, () => {})
  driver.storage.append(OURS.slice(25), () => {})
  install(driver, SNAPSHOT, told)
  install(driver, OTHER, told)
  driver.storage.append([encodeHardState(16, 6, 1), ...chain(18, 1)], () => told.push('18'))
  return driver
}

test('installs: a crash at any effect finds the old or the new, never a mix', () => {
  const whole = new World()
  crowded(whole, [])
  const turns = whole.turnsToRest()
  const met = { old: 0, new: 0 }
  for (let at = 0; at <= turns; at++) {
    for (const power of [false, true]) {
      for (let seed = 0; seed < 3; seed++) {
        const world = new World(`${at} ${power} ${seed}`)
        const told: string[] = []
        crowded(world, told)
        for (let turn = 0; turn < at; turn++) world.clock.step()
        if (power) world.powerLoss()
        else world.kill()
        const again = world.open()
        const found = again.recovered.get(16)!
        const place = `turn ${at} of ${turns}`
        assert.ok(isNew(found) || (isOld(found) && !told.includes('16')), place)
        assert.ok(found.term > 5 || (found.term === 5 && found.vote === 2), place)
        assert.ok(found.term === 6 || !told.includes('18'), place)
        const other = again.recovered.get(17)
        const placed = other?.checkpoint?.crc === OTHER.crc && other.entries.length === 0
        assert.ok(placed || (!told.includes('17') && (other?.checkpoint ?? null) === null), place)
        const log = again.openShardLog(16)
        assert.equal(log.lastIndex, isNew(found) ? 25 : COMMITTED)
        met[isNew(found) ? 'new' : 'old']++
        goOn(world, again, isNew(found))
      }
    }
  }
  assert.ok(met.old > 20 && met.new > 20, JSON.stringify(met))
})

/** Whichever it is, the leader's entries follow, and both are found after one more power loss. */
function goOn(world: World, storage: Storage, installed: boolean): void {
  const from = installed ? 25 : COMMITTED
  storage.append(THEIRS.slice(from), () => {})
  world.clock.settle()
  world.powerLoss()
  const { checkpoint, entries } = world.open().recovered.get(16)!
  assert.deepEqual(sums(entries), sums(THEIRS.slice(checkpoint!.index)))
}

test('installs: what a snapshot replaced holds no segment of the journal', () => {
  const world = new World()
  const driver = driven(world)
  const long = continued(OURS, 500, 2)
  driver.log = long
  driver.storage.append(long.slice(30), () => {})
  world.clock.settle()
  install(driver, SNAPSHOT, [])
  world.clock.settle()
  driver.storage.setCheckpointSource({ activeShards: () => [], capture: () => assert.fail('nothing is held') })
  for (let term = 1; term < 100; term++) {
    driver.storage.append([encodeHardState(18, term, 1)], () => {})
    world.clock.settle()
  }
  assert.ok(world.list('/data/journal').length <= 5, `${world.list('/data/journal')}`)
  world.powerLoss()
  assert.ok(isNew(world.open().recovered.get(16)!))
})

test('installs: a journal that a checkpoint let go counts for nothing, though it is all that can be read', () => {
  const world = new World()
  const driver = driven(world)
  install(driver, SNAPSHOT, [])
  world.clock.settle()
  // A segment that is entered and whose first block, with the header, never gets to the disk.
  const open = world.disk.open.bind(world.disk)
  world.disk.open = (path, mode, done) =>
    open(path, mode, (error, file) => {
      const held = path.includes('/journal/') && mode !== 'read'
      if (file === undefined || !held) return done(error, file)
      const lost = (pieces: readonly Uint8Array[], at: number): boolean => at === 0 && pieces.length > 1
      done(null, { ...file, write: (pieces, at, told) => void (lost(pieces, at) || file.write(pieces, at, told)) })
    })
  let term = 6
  while (!world.events.some(({ type }) => type === 'segment-entered')) {
    driver.storage.append([encodeHardState(18, term++, 1)], () => {})
    world.clock.settle()
    assert.ok(term < 200)
  }
  driver.storage.checkpoint()
  world.clock.settle()
  world.kill()
  const again = world.open()
  assert.ok(isNew(again.recovered.get(16)!))
})

test('installs: a shard that is removed meanwhile, or was', () => {
  const whole = new World()
  crowded(whole, [])
  const turns = whole.turnsToRest()
  for (let at = 0; at <= turns; at++) {
    const world = new World(at)
    const told: string[] = []
    const { storage } = crowded(world, told)
    for (let turn = 0; turn < at; turn++) world.clock.step()
    const inTime = told.includes('16')
    let removed = false
    storage.removeShard(16, 1, () => {
      removed = true
    })
    world.clock.settle()
    assert.ok(removed)
    assert.ok(told.includes(inTime ? '16' : 'SHARD_REMOVED'), `${told}`)
    assert.equal(told.filter((what) => what === '16' || what === 'SHARD_REMOVED').length, 1)
    storage.installSnapshot(SNAPSHOT, (error) => told.push(`again ${error?.code}`))
    world.clock.settle()
    assert.ok(told.includes('again SHARD_REMOVED'), `${told}`)
    assert.deepEqual(world.fatals, [])
    world.powerLoss()
    const again = world.open()
    assert.equal(again.recovered.get(16), undefined)
    assert.equal(again.recovered.get(17)!.checkpoint!.index, 9)
    assert.deepEqual(world.list('/data/shards').includes('16') ? world.list('/data/shards/16') : [], [])
  }
})

test('installs: mistakes of the driver', () => {
  const world = new World()
  const driver = driven(world)
  const { storage } = driver
  const below = checkpointAt(16, OURS, COMMITTED)
  assert.throws(() => storage.installSnapshot(below, () => {}), /its log reaches 20/)
  install(driver, SNAPSHOT, [])
  assert.throws(() => storage.installSnapshot(SNAPSHOT, () => {}), /two snapshots at once/)
  assert.throws(() => storage.append(OURS.slice(25), () => {}), /while a snapshot is installed/)
  storage.append([encodeHardState(16, 7, 0)], () => {})
  world.clock.settle()
  storage.append([THEIRS[25]!], () => {})
  assert.equal(nextOffsetAfter(THEIRS[24]!), storage.openShardLog(16).firstOffset)
})

test('installs: closing waits for them', () => {
  for (const source of [true, false]) {
    const world = new World()
    const told: string[] = []
    const storage = source ? driven(world).storage : world.open()
    storage.installSnapshot(OTHER, () => told.push('17'))
    assert.deepEqual(told, [])
    world.close(storage)
    assert.deepEqual(told, ['17'])
    assert.equal(world.open().recovered.get(17)!.checkpoint!.index, 9)
  }
})

test('installs: a checkpoint that cannot be written is the end, and nobody is told', () => {
  const world = new World()
  const driver = driven(world)
  const told: string[] = []
  world.disk.fault = (operation, path) => (operation === 'rename' && path.includes('checkpoint') ? 'EIO' : null)
  install(driver, SNAPSHOT, told)
  world.clock.settle()
  assert.deepEqual(told, [])
  assert.equal(world.fatals[0]?.code, 'CHECKPOINT_FAILED')
  world.disk.fault = null
  world.powerLoss()
  assert.ok(isOld(world.open().recovered.get(16)!))
})

/** A log that cannot be synced, of shard 18: its file does not open. What is in the file of shard 1 says which shards there are. */
for (const [when, isTaken, removes] of [
  ['begins', false, false],
  ['is being taken', true, false],
  ['that takes a removal up is being taken', true, true],
] as const) {
  test(`installs: a checkpoint that ${when} does not wait for another shard’s log, and that log loses nothing by it`, () => {
    const world = new World('hurry')
    const driver = driven(world)
    const { storage } = driver
    const directory = chain(1, 1)
    const slow = chain(18, 10, 2000)
    const logs = new Map([directory, slow, OURS.slice(0, COMMITTED)].map((log) => [log[0]!.shard, log]))
    const checkpoints = (): number => world.events.filter(({ type }) => type === 'checkpointed').length
    storage.append([...directory, ...chain(19, 2)], () => {})
    storage.openShardLog(1).append(directory[0]!)
    const log = storage.openShardLog(18)
    world.clock.settle()
    const before = checkpoints()
    world.disk.fault = (operation, path) => (operation === 'open' && path.includes('/shards/18/') ? 'ENOSPC' : null)
    storage.setCheckpointSource({
      activeShards: () => [18, 1],
      capture: (shard) => checkpointAt(shard, logs.get(shard)!, logs.get(shard)!.length),
    })
    storage.append(slow, () => {})
    for (const entry of slow) log.append(entry)
    log.flush()
    if (removes) storage.removeShard(19, 1)
    else if (isTaken) storage.checkpoint()
    world.clock.settle()
    assert.ok(storage.awaitsRoom)
    // A removal makes room: it waits for none.
    assert.equal(checkpoints(), removes ? before + 1 : before)
    const told: string[] = []
    install(driver, SNAPSHOT, told)
    world.clock.settle()
    assert.equal(told.length, 1)
    world.kill()
    const { recovered } = world.open()
    assert.equal(recovered.get(16)!.checkpoint!.index, SNAPSHOT.index)
    assert.deepEqual([recovered.get(18)!.checkpoint, recovered.get(18)!.entries.length], [null, slow.length])
    assert.equal(recovered.has(19), !removes)
    if (removes) assert.equal(recovered.get(1)!.checkpoint!.index, 1, 'a removal is never there without what says so')
  })
}

test('installs: on a slow disk none waits for other logs because a removal was too late for the checkpoint that is being taken', () => {
  const world = new World('hurry')
  const driver = driven(world)
  const { storage } = driver
  const [directory, slow] = [chain(1, 1), chain(18, 10, 2000)]
  const logs = new Map([directory, slow, OURS.slice(0, COMMITTED)].map((log) => [log[0]!.shard, log]))
  storage.setCheckpointSource({
    activeShards: () => [18, 1],
    capture: (shard) => checkpointAt(shard, logs.get(shard)!, logs.get(shard)!.length),
  })
  storage.append([...directory, ...chain(19, 2), ...slow], () => {})
  storage.openShardLog(1).append(directory[0]!)
  world.clock.settle()
  const isOpenOf18 = ({ operation, path }: DiskCall): boolean => operation === 'open' && path.includes('/shards/18/')
  world.disk.condition = { troubleWith: (call) => (isOpenOf18(call) ? { kind: 'hold' } : null) }
  for (const entry of slow) storage.openShardLog(18).append(entry)
  storage.checkpoint()
  world.clock.settle()
  assert.equal(world.disk.heldCalls, 1)
  storage.removeShard(19, 1)
  const told: string[] = []
  install(driver, SNAPSHOT, told)
  world.clock.settle()
  assert.deepEqual([told.length, world.disk.heldCalls], [1, 1])
  world.disk.condition = null
  world.kill()
  const { recovered } = world.open()
  assert.equal(recovered.get(16)!.checkpoint!.index, SNAPSHOT.index)
  assert.deepEqual([recovered.get(18)!.checkpoint, recovered.get(18)!.entries.length], [null, slow.length])
  assert.deepEqual([recovered.has(19), recovered.get(1)!.checkpoint!.index], [false, 1])
})

test('installs: the log that a hurried checkpoint left out is in the next one, which nobody has to ask for', () => {
  const world = new World('left out')
  const driver = driven(world)
  const { storage } = driver
  const slow = chain(18, 10, 2000)
  const logs = new Map([slow, OURS.slice(0, COMMITTED)].map((log) => [log[0]!.shard, log]))
  let active = [18]
  storage.setCheckpointSource({
    activeShards: () => active.splice(0),
    capture: (shard) => checkpointAt(shard, logs.get(shard)!, logs.get(shard)!.length),
  })
  const log = storage.openShardLog(18)
  storage.append(slow, () => {})
  world.clock.settle()
  world.disk.fault = (operation, path) => (operation === 'open' && path.includes('/shards/18/') ? 'ENOSPC' : null)
  for (const entry of slow) log.append(entry)
  log.flush()
  active = [18]
  const told: string[] = []
  install(driver, SNAPSHOT, told)
  world.clock.settle()
  assert.equal(told.length, 1)
  world.disk.fault = null
  storage.tryAgain()
  world.clock.settle()
  world.kill()
  assert.equal(world.open().recovered.get(18)!.checkpoint?.index, slow.length)
})

test('installs: a removal waits for the log of the shard that says so, whoever is in a hurry', () => {
  const world = new World('hurry')
  const driver = driven(world)
  const { storage } = driver
  const directory = chain(1, 1)
  storage.append([...directory, ...chain(19, 2)], () => {})
  world.disk.fault = (operation, path) => (operation === 'open' && path.includes('/shards/1/') ? 'ENOSPC' : null)
  const log = storage.openShardLog(1)
  storage.setCheckpointSource({ activeShards: () => [1], capture: () => checkpointAt(1, directory, 1) })
  log.append(directory[0]!)
  log.flush()
  storage.removeShard(19, 1)
  world.clock.settle()
  assert.ok(storage.awaitsRoom)
  const told: string[] = []
  install(driver, SNAPSHOT, told)
  world.clock.settle()
  assert.deepEqual(told, [])
  world.kill()
  const { recovered } = world.open()
  assert.deepEqual([recovered.get(1)!.checkpoint, recovered.get(19)!.entries.length], [null, 2])
})
