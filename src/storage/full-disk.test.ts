/** Full disks, case by case: what a storage does that finds no room for one thing or another (F20, T18). full-disk-sites.test.ts has all. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { DiskCondition } from '../platform/memory/index.ts'
import { Background } from './background.ts'
import type { Entry } from './entry.ts'
import type { StorageEvent } from './events.ts'
import { Driver, KEPT, LOGS, REMOVED, REMOVED_AT, SIZES, STEPS, verify } from './full-disk-harness.test.ts'
import { encodeHardState } from './hard-state.ts'
import { chain, checkpointAt, World } from './harness.test.ts'
import { shardDirectory } from './layout.ts'
import { SHARD_SEGMENT_HEADER_BYTES } from './segment-format.ts'
import { SegmentSupply } from './segment-supply.ts'
import type { Storage } from './storage.ts'

test('full disk: a segment that is left after a write that failed in its middle ends where its entries end', () => {
  const world = new World()
  const storage = world.open({ ...SIZES, shardSegmentBytes: 1 << 20 })
  const driver = new Driver(storage)
  const path = shardDirectory('/data', KEPT)
  let torn = false
  world.disk.condition = {
    troubleWith: ({ operation, path: file, bytes, position }) => {
      if (torn || operation !== 'write' || !file.startsWith(path) || position < 4096) return null
      torn = true
      return { kind: 'short', bytes: bytes >> 1, errno: 'ENOSPC' }
    },
  }
  for (let step = 0; step < 20 && !torn; step++) {
    driver.step(step)
    world.clock.settle()
  }
  assert.ok(torn && storage.awaitsRoom)
  storage.openShardLog(KEPT).configure({ segmentBytes: 100, segmentMs: Number.POSITIVE_INFINITY, segmentJitterMs: 0 })
  storage.tryAgain()
  world.clock.settle()
  assert.ok(world.events.some((event) => event.type === 'shard-segment-sealed' && event.shard === KEPT))
  world.close(storage)
  verify(world, driver.acknowledged, 'torn')
})

for (const ending of ['kill', 'power loss'] as const) {
  test(`full disk: a checkpoint between a sealed segment and one that could not be made names the sealed one (${ending})`, () => {
    const world = new World()
    const storage = world.open(SIZES)
    const driver = new Driver(storage)
    const log = storage.openShardLog(KEPT)
    const folder = shardDirectory('/data', KEPT)
    for (let step = 0; step < 30 && !storage.awaitsRoom; step++) {
      driver.step(step)
      world.clock.settle()
      const next = `${log.writtenIndex + 1}.log`
      world.disk.fault = (operation, path) =>
        operation === 'open' && path.startsWith(folder) && path.endsWith(next) && log.writtenIndex > 3 ? 'ENOSPC' : null
    }
    assert.ok(storage.awaitsRoom)
    storage.setCheckpointSource({
      activeShards: () => [KEPT],
      capture: (shard) => checkpointAt(shard, LOGS.get(shard)!, log.writtenIndex),
    })
    storage.checkpoint()
    storage.tryAgain()
    world.clock.settle()
    assert.ok(world.events.some(({ type }) => type === 'checkpointed'))
    world.disk.fault = null
    if (ending === 'kill') world.kill()
    else world.powerLoss()
    verify(world, driver.acknowledged, ending)
  })
}

test('full disk: a segment for whose first entry there was no room is not left, nor named, nor listed twice', () => {
  const world = new World()
  const storage = world.open(SIZES)
  const driver = new Driver(storage)
  const log = storage.openShardLog(KEPT)
  const folder = shardDirectory('/data', KEPT)
  let full = false
  world.disk.condition = {
    troubleWith: ({ operation, path, position }) => {
      full ||=
        operation === 'write' &&
        path.startsWith(folder) &&
        position === SHARD_SEGMENT_HEADER_BYTES &&
        log.writtenIndex > 3
      return full && operation === 'write' && path.startsWith(folder) ? { kind: 'fail', errno: 'ENOSPC' } : null
    },
  }
  for (let step = 0; step < 30 && !storage.awaitsRoom; step++) {
    driver.step(step)
    world.clock.settle()
  }
  assert.ok(storage.awaitsRoom)
  const sealed = () => world.events.filter((event) => event.type === 'shard-segment-sealed' && event.shard === KEPT)
  const before = sealed().length
  log.configure({ segmentBytes: 1 })
  const written = log.writtenIndex
  storage.setCheckpointSource({
    activeShards: () => [KEPT],
    capture: (shard) => checkpointAt(shard, LOGS.get(shard)!, written),
  })
  storage.checkpoint()
  storage.tryAgain()
  world.clock.settle()
  storage.tryAgain()
  world.clock.settle()
  assert.equal(sealed().length, before)
  world.disk.condition = null
  storage.tryAgain()
  world.clock.settle()
  const segments = sealed().map((event) => (event.type === 'shard-segment-sealed' ? event : assert.fail()))
  assert.ok(
    segments.every(
      ({ firstIndex, lastIndex }, i) => firstIndex <= lastIndex && firstIndex !== segments[i + 1]?.firstIndex,
    ),
    JSON.stringify(segments),
  )
  const entries: number[] = []
  for (let next = 1; next <= log.lastIndex; next = entries.at(-1)! + 1)
    entries.push(...world.await<Entry[]>((done) => log.readFromIndex(next, 1 << 20, done)).map(({ index }) => index))
  assert.deepEqual(
    entries,
    entries.map((_, i) => i + 1),
  )
  world.powerLoss()
  verify(world, driver.acknowledged, 'empty segment')
})

test('full disk: a closing storage waits for no room', () => {
  const world = new World()
  const storage = world.open(SIZES)
  const driver = new Driver(storage)
  for (let step = 0; step < 6; step++) {
    driver.step(step)
    world.clock.settle()
  }
  world.disk.fault = (operation, path) => (operation === 'write' && !path.includes('journal') ? 'ENOSPC' : null)
  storage.checkpoint()
  world.clock.settle()
  assert.ok(storage.awaitsRoom)
  world.close(storage)
  assert.deepEqual(world.fatals, [])
  world.disk.fault = null
  verify(world, driver.acknowledged, 'close')
})

test('full disk: a closing storage waits for the checkpoint that is being written, and lets nobody in before', () => {
  for (const outcome of ['written', 'no room', 'refused'] as const) {
    const { world, storage, driver } = eightStepsIn()
    const logs = shardDirectory('/data', REMOVED)
    world.disk.condition = {
      troubleWith: ({ operation, path }) => {
        if (operation === 'write' && path.startsWith(logs)) return { kind: 'fail', errno: 'ENOSPC' }
        return operation === 'write' && path.includes('checkpoint') ? { kind: 'hold' } : null
      },
    }
    storage.setCheckpointSource({
      activeShards: () => [KEPT],
      capture: (shard) => checkpointAt(shard, LOGS.get(shard)!, storage.openShardLog(shard).lastIndex),
    })
    storage.openShardLog(REMOVED).flush()
    world.clock.settle()
    storage.checkpoint()
    world.clock.settle()
    assert.ok(storage.awaitsRoom)
    let closed = false
    storage.close(() => {
      closed = true
    })
    world.clock.settle()
    assert.ok(!closed, outcome)
    world.disk.condition = null
    world.disk.fault = (operation, path) => {
      if (outcome === 'written' || operation !== 'write' || !path.includes('checkpoint')) return null
      return outcome === 'no room' ? 'ENOSPC' : 'EIO'
    }
    const before = world.events.length
    world.disk.release()
    world.clock.settle()
    assert.ok(closed, outcome)
    const freed = world.events.slice(before).filter(({ type }) => type === 'segments-freed' || type === 'checkpointed')
    assert.deepEqual(freed, [], 'nothing of the journal goes any more')
    assert.deepEqual(
      world.fatals.map(({ code }) => code),
      outcome === 'refused' ? ['CHECKPOINT_FAILED'] : [],
    )
    world.disk.fault = null
    verify(world, driver.acknowledged, `close: ${outcome}`)
  }
})

test('full disk: a sync that fails for lack of room ends the storage, and is not tried again', () => {
  const world = new World()
  const storage = world.open(SIZES)
  const driver = new Driver(storage)
  driver.step(0)
  world.clock.settle()
  world.disk.fault = (operation, path) => (operation === 'datasync' && path.includes('shards') ? 'ENOSPC' : null)
  storage.checkpoint()
  world.clock.settle()
  assert.deepEqual(
    world.fatals.map(({ code }) => code),
    ['SHARD_LOG_FAILED'],
  )
  assert.equal(storage.awaitsRoom, false)
})

interface Begun {
  readonly world: World
  readonly storage: Storage
  readonly driver: Driver
}

function eightStepsIn(): Begun {
  const world = new World()
  const storage = world.open(SIZES)
  const driver = new Driver(storage)
  for (let step = 0; step < 8; step++) {
    driver.step(step)
    world.clock.settle()
  }
  return { world, storage, driver }
}

/** Eight steps in, and the log that is to be removed waits for room; `asks` for it. */
function waitingForRoom(asks: (storage: Storage) => void): Begun {
  const { world, storage, driver } = eightStepsIn()
  const folder = shardDirectory('/data', REMOVED)
  world.disk.fault = (operation, path) => (operation === 'write' && path.includes(folder) ? 'ENOSPC' : null)
  asks(storage)
  world.clock.settle()
  assert.ok(storage.awaitsRoom)
  return { world, storage, driver }
}

test('full disk: a shard whose log has no room can be removed, and makes some', () => {
  const { world, storage, driver } = waitingForRoom((asked) => asked.checkpoint())
  driver.special(REMOVED_AT)
  world.clock.settle()
  assert.equal(storage.awaitsRoom, false)
  assert.ok(world.events.some(({ type }) => type === 'shard-removed'))
  world.close(storage)
  verify(world, driver.acknowledged, 'removal')
})

test('full disk: a shard that is removed while its log waits for room to become a snapshot keeps no checkpoint waiting', () => {
  const { world, storage, driver } = waitingForRoom((asked) => asked.openShardLog(REMOVED).flush())
  let replaced = false
  storage.openShardLog(REMOVED).replace({ index: 1000, offset: 1000 }, null, () => {
    replaced = true
  })
  driver.special(REMOVED_AT)
  world.clock.settle()
  assert.ok(replaced)
  assert.ok(world.events.some(({ type }) => type === 'shard-removed'))
  world.close(storage)
  verify(world, driver.acknowledged, 'removal')
})

test('full disk: a start and the journal go on with a quarter of what is left, and give back what they do not need', () => {
  const world = new World()
  const storage = world.open({ ...SIZES, journalSegmentBytes: 1 << 20 })
  storage.append([encodeHardState(KEPT, 1, 2)], () => {})
  world.clock.settle()
  world.kill()
  world.disk.capacityBytes = world.disk.usedBytes + (600 << 10)
  world.events.length = 0
  const again = world.open({ ...SIZES, journalSegmentBytes: 1 << 20 })
  const free = world.disk.capacityBytes - world.disk.usedBytes
  assert.ok(free > 400 << 10, `a start left ${free} bytes`)
  again.saveSpace(true)
  const goOn = new Driver(again)
  for (let step = 0; step < STEPS; step++) {
    // Votes hold no segment: a checkpoint has the latest.
    again.append(
      Array.from({ length: 600 }, (_, i) => encodeHardState(KEPT, 600 * step + i + 2, 2)),
      () => {},
    )
    goOn.step(step)
    world.clock.settle()
    again.checkpoint()
    world.clock.settle()
  }
  assert.deepEqual(world.fatals, [])
  const prepared = world.events.flatMap((event) =>
    event.type === 'segment-prepared' && !event.recycled ? [event.bytes] : [],
  )
  assert.ok(prepared.length > 0 && prepared.every((bytes) => bytes < 256 << 10), `${prepared}`)
  world.powerLoss()
  verify(world, goOn.acknowledged, 'low')
})

test('full disk: what a checkpoint needs to free files of the journal takes half of what is the journal’s on a low disk, and no more', () => {
  const world = new World()
  const storage = world.open({ ...SIZES, journalSegmentBytes: 1 << 20, shardLogFlushBytes: 1 << 20 })
  const driver = new Driver(storage)
  for (let step = 0; step < 12; step++) driver.step(step)
  world.clock.settle()
  const log = storage.openShardLog(KEPT)
  const journalBytes = 64 << 10
  const isWritten = (freeBytes: number, journalShare: number): boolean => {
    world.disk.capacityBytes = world.disk.usedBytes + freeBytes
    storage.saveSpace(true, journalBytes)
    const before = log.writtenIndex
    log.sync(log.lastIndex, () => {}, { journalShare, urgent: false })
    storage.tryAgain()
    world.clock.settle()
    return log.writtenIndex > before
  }
  assert.equal(isWritten(60 << 10, 1), false)
  assert.equal(isWritten(30 << 10, 0.5), false)
  assert.equal(isWritten(60 << 10, 0.5), true)
  assert.deepEqual(world.fatals, [])
})

test('full disk: shard logs that do not all fit leave a low disk to the journal, and are written when they do', () => {
  const world = new World()
  const storage = world.open({ ...SIZES, journalSegmentBytes: 1 << 20, shardLogFlushBytes: 1 << 20 })
  const driver = new Driver(storage)
  for (let step = 0; step < 12; step++) driver.step(step)
  world.clock.settle()
  const logs = (): number => storage.openShardLog(KEPT).writtenIndex + storage.openShardLog(REMOVED).writtenIndex
  assert.equal(logs(), 0)
  const journalBytes = 64 << 10
  // Enough for either log alone.
  world.disk.capacityBytes = world.disk.usedBytes + journalBytes + (12 << 10)
  storage.saveSpace(true, journalBytes)
  world.clock.settle()
  assert.ok(storage.awaitsRoom)
  assert.equal(logs(), 0, 'half of them is of no use')
  assert.match(
    JSON.stringify(world.events),
    /bytes are left in \/data, \d+ are to be written, and 65536 are the journal's/,
  )
  for (let step = 12; step < STEPS; step++) {
    driver.step(step, true)
    storage.tryAgain()
    world.clock.settle()
  }
  assert.deepEqual([world.fatals, logs()], [[], 0])
  // A disk that does not say what is left is asked by the write itself.
  world.disk.fault = (operation) => (operation === 'space' ? 'EIO' : null)
  storage.tryAgain()
  world.clock.settle()
  assert.deepEqual(world.fatals, [])
  world.disk.fault = null
  world.disk.capacityBytes += 64 << 10
  storage.tryAgain()
  world.clock.settle()
  assert.deepEqual([storage.awaitsRoom, logs()], [false, 24])
  assert.ok(world.events.some(({ type }) => type === 'checkpointed'))
  world.powerLoss()
  verify(world, driver.acknowledged, 'left to the journal')
})

for (const waits of [true, false]) {
  test(`full disk: a removal ${waits ? 'behind a checkpoint that waits for room' : 'alone'} waits for nobody’s room, for it makes some`, () => {
    const world = new World()
    const storage = world.open({ journalSegmentBytes: 1 << 20, shardLogFlushBytes: 1 << 20 })
    const logs = new Map([chain(1, 6), chain(17, 40, 700), chain(18, 40, 700)].map((log) => [log[0]!.shard, log]))
    let applied = 0
    const indexOf = (shard: number): number => Math.min(applied, logs.get(shard)!.length)
    const grow = (to: number): void => {
      for (const [shard, log] of logs) {
        const entries = log.slice(indexOf(shard), to)
        storage.append(entries, () => {})
        for (const entry of entries) storage.openShardLog(shard).append(entry)
      }
      applied = to
    }
    storage.setCheckpointSource({
      activeShards: () => logs.keys(),
      capture: (shard) => checkpointAt(shard, logs.get(shard)!, indexOf(shard)),
    })
    grow(5)
    storage.checkpoint()
    world.clock.settle()
    grow(40)
    world.clock.settle()
    world.disk.capacityBytes = world.disk.usedBytes + (60 << 10)
    storage.saveSpace(true, 64 << 10)
    if (waits) storage.checkpoint()
    else storage.openShardLog(18).flush()
    world.clock.settle()
    assert.ok(storage.awaitsRoom)
    logs.delete(17)
    let removed = false
    storage.removeShard(17, 1, () => {
      removed = true
    })
    for (let look = 0; look < 3; look++) {
      world.clock.settle()
      storage.tryAgain()
    }
    world.clock.settle()
    assert.ok(removed)
    assert.ok(!world.list('/data/shards').includes('17'))
    assert.ok(storage.awaitsRoom, 'others wait for more of it')
    world.powerLoss()
    const { recovered } = world.open()
    assert.deepEqual([recovered.has(17), recovered.get(1)!.checkpoint!.index], [false, 6])
    assert.equal(recovered.get(18)!.checkpoint!.index + recovered.get(18)!.entries.length, 40)
  })
}

// The oldest segment of the journal is held by the tail at one of these at least.
for (const upTo of [16, 17, 18])
  test(`full disk: of a shard that is removed while its log waits, the journal keeps what no file says (up to ${upTo})`, () => {
    const world = new World()
    const logs = new Map([chain(1, 1), chain(17, 40, 2000)].map((log) => [log[0]!.shard, log]))
    const log = logs.get(17)!
    let applied = 15
    const source = {
      activeShards: () => logs.keys(),
      capture: (shard: number) => checkpointAt(shard, logs.get(shard)!, Math.min(applied, logs.get(shard)!.length)),
      tail: (shard: number) => logs.get(shard)!.slice(applied),
    }
    const first = world.open(SIZES)
    first.append(
      [...logs.values()].flatMap((entries) => entries.slice(0, applied)),
      () => {},
    )
    for (const [shard, entries] of logs)
      for (const entry of entries.slice(0, applied)) first.openShardLog(shard).append(entry)
    first.setCheckpointSource(source)
    world.close(first)
    const storage = world.open(SIZES)
    const kept = storage.openShardLog(17)
    storage.openShardLog(1)
    const { tail: _, ...withoutTails } = source
    storage.setCheckpointSource(withoutTails)
    storage.checkpoint()
    world.clock.settle()
    world.disk.fault = (operation, path) => (operation === 'write' && path.includes('/shards/17/') ? 'ENOSPC' : null)
    for (const entry of log.slice(15)) {
      storage.append([entry], () => {})
      world.clock.settle()
    }
    for (const entry of log.slice(15, upTo)) kept.append(entry)
    applied = upTo
    storage.setCheckpointSource(source)
    storage.checkpoint()
    world.clock.settle()
    assert.ok(storage.awaitsRoom)
    const checkpoints = (): number => world.events.filter(({ type }) => type === 'checkpointed').length
    const before = checkpoints()
    logs.delete(17)
    storage.removeShard(17, 1)
    while (checkpoints() === before) assert.ok(world.clock.step())
    world.kill()
    const { recovered } = world.open(SIZES)
    const found = recovered.get(17)!
    assert.deepEqual([found.checkpoint!.index, found.entries.at(-1)!.index], [15, 40])
  })

test('full disk: a log that is closed between two of its jobs waits for no room either', () => {
  const world = new World()
  const storage = world.open(SIZES)
  const log = storage.openShardLog(KEPT)
  const entries = LOGS.get(KEPT)!
  for (const entry of entries.slice(0, 20)) log.append(entry)
  world.clock.settle()
  for (const entry of entries.slice(20, 22)) log.append(entry)
  // Its first job, a sync, goes well; the next one finds no room.
  log.sync(log.writtenIndex, () => {})
  log.flush()
  world.disk.fault = (operation, path) => (operation === 'write' && path.includes('/shards/') ? 'ENOSPC' : null)
  let closed = false
  log.close(() => {
    closed = true
  })
  world.clock.settle()
  assert.ok(closed)
})

test('full disk: a start that finds no room takes it from segments that nothing needs', () => {
  const world = new World()
  const options = { ...SIZES, journalSegmentBytes: 256 << 10 }
  const storage = world.open(options)
  const driver = new Driver(storage)
  for (let step = 0; step < 12; step++) {
    storage.append(
      Array.from({ length: 1500 }, (_, i) => encodeHardState(KEPT, 1500 * step + i + 1, 2)),
      () => {},
    )
    driver.step(step)
    world.clock.settle()
  }
  storage.checkpoint()
  world.clock.settle()
  world.kill()
  const files = world.list('/data/journal').length
  assert.ok(files > 1, `${files} segments`)
  world.disk.capacityBytes = world.disk.usedBytes
  const again = world.open(options)
  world.close(again)
  verify(world, driver.acknowledged, 'start')
})

/** Others take all but so much of the disk, at this write of a new journal segment. */
function fillsAt(world: World, at: number, leftBytes: number): DiskCondition {
  let full = false
  return {
    troubleWith: ({ operation, path, position }) => {
      if (!full && operation === 'write' && path.includes('/journal/') && position === at) {
        full = true
        world.disk.capacityBytes = world.disk.usedBytes + leftBytes
      }
      return null
    },
  }
}

for (const leftBytes of [100 << 10, 2 << 20]) {
  test(`full disk: a start whose disk fills up under its first segment makes a smaller one (${leftBytes} bytes left)`, () => {
    const world = new World()
    const options = { ...SIZES, journalSegmentBytes: 4 << 20 }
    world.disk.condition = fillsAt(world, 1 << 20, leftBytes)
    const storage = world.open(options)
    const driver = new Driver(storage)
    driver.step(0)
    world.clock.settle()
    const free = world.disk.capacityBytes - world.disk.usedBytes
    assert.ok(free >= leftBytes / 2, `${free} bytes are left`)
    world.powerLoss()
    verify(world, driver.acknowledged, 'filled up')
  })
}

test('full disk: a segment that is made while others fill the disk takes its next piece only from four times as much', () => {
  const world = new World()
  const { disk, clock, events } = world
  world.close(world.open(SIZES))
  const trace = (event: StorageEvent): void => void events.push(event)
  const supply = new SegmentSupply(
    { directory: '/data', segmentBytes: 8 << 20 },
    { disk, clock, background: new Background(), trace },
  )
  disk.condition = fillsAt(world, 1 << 20, 6 << 20)
  supply.prepare(9, 8 << 20)
  clock.settle()
  // Three MiB of the six, each of which found four times its size.
  assert.equal(supply.take()?.bytes, 4 << 20)
  assert.equal(disk.capacityBytes - disk.usedBytes, 3 << 20)
  supply.prepare(10, 8 << 20)
  clock.settle()
  assert.equal(supply.take()?.bytes, 3 << 18)
})

test('full disk: of the segments that wait for their turn a low disk keeps one, and a full one none', () => {
  const { disk, clock, events } = new World()
  const trace = (event: StorageEvent): void => void events.push(event)
  const background = new Background()
  const supply = new SegmentSupply({ directory: '/data', segmentBytes: 1000 }, { disk, clock, background, trace })
  const offers = ['a', 'b', 'c'].map((path) => ({ path, bytes: 1000 }))
  assert.deepEqual(
    offers.map((offer) => supply.offer(offer)),
    [true, true, false],
  )
  assert.deepEqual(supply.surrender(), offers.slice(0, 2))
  supply.saving = true
  assert.deepEqual(
    offers.map((offer) => supply.offer(offer)),
    [true, false, false],
  )
})
