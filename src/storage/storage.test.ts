import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { Entry } from './entry.ts'
import { StorageError } from './errors.ts'
import { encodeHardState } from './hard-state.ts'
import { chain, checkpointAt, SMALL, World } from './harness.test.ts'
import { fuzz } from './storage.fuzz.ts'
import { Storage, type StorageOptions } from './storage.ts'

test('a fresh directory opens, and what is acknowledged is found again', () => {
  const world = new World()
  const storage = world.open()
  assert.equal(storage.fresh, true)
  const entries = chain(16, 5)
  let done = false
  storage.append([encodeHardState(16, 1, 2), ...entries], () => {
    done = true
  })
  assert.ok(storage.journalQueuedBytes > 0)
  world.clock.settle()
  assert.ok(done)
  assert.equal(storage.journalQueuedBytes, 0)
  world.powerLoss()
  const again = world.open()
  assert.equal(again.fresh, false)
  assert.deepEqual(again.identity, storage.identity)
  const shard = again.recovered.get(16)!
  assert.deepEqual([shard.term, shard.vote, shard.checkpoint], [1, 2, null])
  assert.deepEqual(
    shard.entries.map(({ crc }) => crc),
    entries.map(({ crc }) => crc),
  )
  assert.equal(again.highestStamp, 5)
})

test('votes of idle shards hold nothing back, and survive', () => {
  const world = new World()
  const storage = world.open()
  storage.setCheckpointSource({ activeShards: () => [], capture: () => assert.fail('no shard is active') })
  storage.append([encodeHardState(17, 9, 2), encodeHardState(18, 4, 0)], () => {})
  // The journal turns over many times without another word of those two.
  for (let term = 1; term < 100; term++) {
    storage.append([encodeHardState(16, term, 1)], () => {})
    world.clock.settle()
  }
  assert.ok(world.list('/data/journal').length <= 4, `${world.list('/data/journal')}`)
  world.powerLoss()
  const { recovered } = world.open()
  assert.deepEqual(
    [17, 18, 16].map((shard) => [recovered.get(shard)!.term, recovered.get(shard)!.vote]),
    [
      [9, 2],
      [4, 0],
      [99, 1],
    ],
  )
  assert.equal(recovered.get(17)!.checkpoint, null)
})

test('a tail that cannot commit is written again and holds nothing back', () => {
  const world = new World()
  const storage = world.open()
  const stuck = chain(17, 3)
  storage.openShardLog(17)
  storage.setCheckpointSource({
    activeShards: () => [],
    capture: (shard) => ({ ...NOTHING_APPLIED, shard, term: 1 }),
    tail: (shard) => (shard === 17 ? stuck : []),
  })
  storage.append([encodeHardState(17, 1, 1), ...stuck], () => {})
  for (let term = 1; term < 150; term++) {
    storage.append([encodeHardState(16, term, 1)], () => {})
    world.clock.settle()
  }
  assert.ok(world.list('/data/journal').length <= 7, `${world.list('/data/journal')}`)
  world.powerLoss()
  assert.deepEqual(
    world
      .open()
      .recovered.get(17)!
      .entries.map(({ crc }) => crc),
    stuck.map(({ crc }) => crc),
  )
})

const NOTHING_APPLIED = {
  vote: 0,
  index: 0,
  entryTerm: 0,
  crc: 0,
  nextOffset: 0,
  stamp: 0,
  startIndex: 1,
  startOffset: 0,
  epochs: [],
  configuration: Buffer.alloc(0),
  state: Buffer.alloc(0),
}

test('a removed shard is gone, also for the journal that still has its entries', () => {
  const world = new World()
  const storage = world.open()
  const entries = chain(17, 30)
  const log = storage.openShardLog(17)
  for (const entry of entries) log.append(entry)
  storage.append([encodeHardState(17, 1, 1), ...entries, ...chain(18, 2)], () => {})
  log.flush()
  world.clock.settle()
  assert.ok(world.list('/data/shards/17').length > 0)
  let removed = false
  storage.removeShard(17, 1, () => {
    removed = true
  })
  world.clock.settle()
  assert.ok(removed)
  assert.ok(!world.list('/data/shards').includes('17'))
  world.powerLoss()
  const { recovered } = world.open()
  assert.deepEqual([...recovered.keys()], [18])
})

test('files of a shard that nothing knows are moved aside, not deleted', () => {
  const world = new World()
  world.close(world.open())
  world.await<void>((done) => world.disk.makeDirectory('/data/shards/99', done))
  world.write('/data/shards/99/00000000000000000001.log', Buffer.from('whose?'))
  world.open()
  const [folder] = world.list('/data/quarantine')
  assert.equal(world.read(`/data/quarantine/${folder}/00000000000000000001.log`).toString(), 'whose?')
})

test('many shards with a little each are written before they add up', () => {
  const world = new World()
  const storage = world.open({ shardLogFlushBytes: 1 << 20, shardLogsBufferBytesMax: 20_000 })
  const logs = [16, 17, 18, 19].map((shard) => storage.openShardLog(shard))
  for (const log of logs) for (const entry of chain(log.shard, 40)) log.append(entry)
  world.clock.settle()
  assert.ok(logs.reduce((sum, { bufferedBytes }) => sum + bufferedBytes, 0) < 20_000)
  assert.ok(logs.every(({ writtenIndex }) => writtenIndex > 0))
})

test('a checkpoint asked for while closing is not taken behind the back of the next owner', () => {
  for (let turns = 0; turns < 20; turns++) {
    const world = new World()
    const storage = world.open()
    storage.setCheckpointSource({ activeShards: () => [], capture: () => assert.fail('no shard is active') })
    storage.append(chain(16, 3), () => {})
    let closedAt = -1
    storage.close(() => {
      closedAt = world.events.length
    })
    for (let turn = 0; turn < turns; turn++) world.clock.step()
    if (closedAt < 0) storage.checkpoint()
    world.clock.settle()
    assert.ok(closedAt >= 0)
    assert.deepEqual(world.events.slice(closedAt), [])
  }
})

test('refusals: another node, another cluster, a directory in use', () => {
  const world = new World()
  const storage = world.open({ clusterHash: 'one' })
  const refused = (options: Partial<StorageOptions>, code: string, way: RegExp): void => {
    const outcome = world.tryOpen(options)
    assert.ok(outcome instanceof StorageError && outcome.code === code, `${code}: ${outcome}`)
    assert.match(outcome.message, way)
  }
  refused({}, 'DIRECTORY_IN_USE', /--data/)
  world.close(storage)
  refused({ nodeId: 2 }, 'OTHER_NODE', /--id 1/)
  refused({ clusterHash: 'two' }, 'OTHER_CLUSTER', /--cluster/)
  const again = world.open()
  assert.equal(again.identity.clusterHash, 'one')
  world.await<void>((done) => again.setClusterId('abc', done))
  world.await<void>((done) => again.setClusterId('abc', done))
  assert.throws(() => world.await<void>((done) => again.setClusterId('xyz', done)), /belongs to cluster abc/)
  world.powerLoss()
  assert.equal(world.open().identity.clusterId, 'abc')
})

test('an interrupted first start is a first start', () => {
  for (let at = 0; at < 60; at++) {
    const world = new World(at)
    Storage.open(
      { directory: '/data', nodeId: 1, clusterHash: '', ...SMALL },
      { platform: world.platform, trace: () => {}, fatal: () => {} },
      () => {},
    )
    for (let turn = 0; turn < at; turn++) world.clock.step()
    world.powerLoss()
    const storage = world.open()
    storage.append(chain(16, 1), () => {})
    world.clock.settle()
    world.powerLoss()
    assert.equal(world.open().recovered.get(16)!.entries.length, 1)
  }
})

test('a failed sync of a shard log or of a checkpoint is fatal', () => {
  for (const [place, code] of [
    ['/shards/', 'SHARD_LOG_FAILED'],
    ['/data/checkpoint', 'CHECKPOINT_FAILED'],
  ] as const) {
    const world = new World()
    const storage = world.open()
    const entries = chain(16, 3)
    storage.setCheckpointSource({
      activeShards: () => [16],
      capture: (shard) => ({ ...NOTHING_APPLIED, shard, term: 1, index: 3, crc: entries[2]!.crc, entryTerm: 1 }),
    })
    const log = storage.openShardLog(16)
    for (const entry of entries) log.append(entry)
    storage.append(entries, () => {})
    world.disk.fault = (operation, path) => (operation === 'datasync' && path.includes(place) ? 'EIO' : null)
    let done = false
    storage.checkpoint(() => {
      done = true
    })
    world.clock.settle()
    assert.equal(done, false)
    assert.deepEqual(
      world.fatals.map((error) => error.code),
      [code],
    )
    world.close(storage)
  }
})

test('the journal says which shard keeps it', () => {
  const world = new World()
  const storage = world.open()
  assert.deepEqual(storage.journalKept, { segments: 0, heldBy: null })
  const [slow, busy] = [chain(17, 1), chain(16, 400)]
  let through = 0
  storage.setCheckpointSource({
    activeShards: () => (through === 0 ? [16] : [16, 17]),
    capture: (shard) => (shard === 16 ? checkpointAt(16, busy, busy.length) : checkpointAt(17, slow, through)),
  })
  for (const entry of busy) storage.openShardLog(16).append(entry)
  storage.append([...slow, ...busy.slice(0, 200)], () => {})
  world.clock.settle()
  storage.append(busy.slice(200), () => {})
  world.clock.settle()
  storage.append([], () => {})
  storage.checkpoint()
  world.clock.settle()
  const { segments, heldBy } = storage.journalKept
  assert.deepEqual([segments > 0, heldBy], [true, 17])
  through = 1
  storage.openShardLog(17).append(slow[0]!)
  storage.checkpoint()
  world.clock.settle()
  assert.equal(storage.journalKept.heldBy, null)
})

for (let seed = 1; seed <= 30; seed++) {
  test(`crashes at random moments: seed ${seed}`, () => void fuzz(seed, 6))
}

test('a folder whose maker ended before its name was durable has a name when a checkpoint speaks of its log', () => {
  const log = chain(16, 5)
  for (let turns = 0; turns < 40; turns++) {
    const world = new World(turns)
    const first = world.open()
    first.append(log, () => {})
    world.clock.settle()
    for (const entry of log) first.openShardLog(16).append(entry)
    first.openShardLog(16).flush()
    for (let turn = 0; turn < turns; turn++) world.clock.step()
    world.kill()
    const storage = world.open()
    for (const entry of storage.recovered.get(16)!.entries) storage.openShardLog(16).append(entry)
    storage.setCheckpointSource({ activeShards: () => [16], capture: () => checkpointAt(16, log, 5) })
    storage.checkpoint()
    world.clock.settle()
    world.powerLoss()
    const again = world.open()
    const found = world.await<Entry[]>((done) => again.openShardLog(16).readFromIndex(1, 1 << 20, done))
    assert.equal(found.length, 5, `killed after ${turns} turns`)
  }
})

test('closing waits for what is being removed in the background: the next opening would list it', () => {
  const world = new World()
  const storage = world.open({ journalSegmentBytes: 64 << 10 })
  const log = chain(16, 60, 8000)
  for (const entry of log) {
    storage.append([entry], () => {})
    storage.openShardLog(16).append(entry)
    world.clock.settle()
  }
  storage.setCheckpointSource({ activeShards: () => [16], capture: (shard) => checkpointAt(shard, log, log.length) })
  let held = false
  world.disk.condition = {
    troubleWith: ({ operation, path }) => {
      if (held || operation !== 'remove' || !path.includes('/journal/')) return null
      held = true
      return { kind: 'hold' }
    },
  }
  let closed = false
  storage.close(() => {
    closed = true
  })
  world.clock.settle()
  assert.ok(held && !closed)
  world.disk.condition = null
  world.disk.release()
  world.clock.settle()
  assert.ok(closed)
  world.open({ journalSegmentBytes: 64 << 10 })
})
