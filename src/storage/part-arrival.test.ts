/** What compaction has left at another replica, in the place of what is damaged here, or below a snapshot. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { PlatformError } from '../platform/index.ts'
import type { ShardCheckpoint } from './checkpoint-format.ts'
import type { CleanedPart } from './cleaned-part.ts'
import { CUT_AT, clean, FLOOR, historyOf, LEFT, offsetsIn, sentBelowFloor, takePart } from './compacted-harness.test.ts'
import { type Entry, encodeEntry, payloadOf } from './entry.ts'
import { StorageError } from './errors.ts'
import { checkpointAt, World } from './harness.test.ts'
import type { LogStart } from './log-start.ts'
import type { PartArrival } from './part-arrival.ts'
import { addTo, beginRepair, damagesIn, flip, repairAll, scrub } from './repair-harness.test.ts'
import type { ShardLog } from './shard-log.ts'
import type { Storage } from './storage.ts'

const SHARD = 16
const FOLDER = `/data/shards/${SHARD}`
const PEERS = { hasPeers: true, shardSegmentBytes: 4 << 10 }
const HISTORY = historyOf(SHARD)
function opened(world: World, options = PEERS): { storage: Storage; log: ShardLog } {
  const storage = world.open(options)
  const log = storage.openShardLog(SHARD)
  for (const entry of storage.recovered.get(SHARD)?.entries ?? []) log.append(entry)
  const capture = (): ShardCheckpoint => {
    const start = { startIndex: log.firstIndex, startOffset: log.firstOffset }
    return { ...checkpointAt(SHARD, HISTORY, log.lastIndex), ...start }
  }
  storage.setCheckpointSource({ activeShards: () => (log.lastIndex > 0 ? [SHARD] : []), capture })
  return { storage, log }
}

/** All of the history, cleaned below the floor. */
function cleaned(seed: string): { world: World; storage: Storage; log: ShardLog } {
  const world = new World(seed)
  const { storage, log } = opened(world)
  storage.append(HISTORY, () => {})
  for (const entry of HISTORY) log.append(entry)
  storage.checkpoint()
  world.clock.settle()
  clean(log)
  world.clock.settle()
  assert.equal(log.firstIndex, FLOOR.index)
  return { world, storage, log }
}

const SENT = sent()

function sent(): Entry[] {
  const { world, log } = cleaned('peer')
  return sentBelowFloor(world, log)
}

function receive(world: World, storage: Storage, floor: LogStart = FLOOR): PartArrival {
  let arrival: PartArrival | null = null
  storage.caretaker.receivePart(SHARD, floor, (begun) => {
    arrival = begun
  })
  world.clock.settle()
  assert.ok(arrival !== null)
  return arrival
}

const take = (storage: Storage, then: (part: CleanedPart) => void): void => takePart(storage, SHARD, SENT, then)

function cleanedFiles(world: World): string[] {
  if (!world.list('/data/shards').includes(`${SHARD}`)) return []
  return world.list(FOLDER).filter((name) => name.endsWith('.cleaned'))
}

test('a part arrives in the place of one that rots, which is kept; a crash at any moment leaves the one or the other', () => {
  const damage = (seed: string): World => {
    const { world } = cleaned(seed)
    world.kill()
    flip(world, `${FOLDER}/${cleanedFiles(world)[0]}`, 300)
    return world
  }
  const repair = (world: World): ShardLog => {
    const { storage, log } = opened(world)
    scrub(world, storage)
    const lost = storage.caretaker.lostPart(SHARD)
    if (lost === null) return log
    assert.deepEqual(lost, { shard: SHARD, floor: FLOOR, startOffset: 0, file: damagesIn(storage)[0] })
    take(storage, (part) => storage.caretaker.adoptPart(SHARD, part, FLOOR))
    return log
  }
  const whole = damage('whole')
  repair(whole)
  let repaired = 0
  for (let turns = whole.turnsToRest(); turns >= 0; turns--) {
    for (const power of [false, true]) {
      const world = damage(`${turns} ${power}`)
      repair(world)
      for (let turn = 0; turn < turns; turn++) world.clock.step()
      if (power) world.powerLoss()
      else world.kill()
      const log = repair(world)
      const wasDone = world.turnsToRest() === 0
      world.clock.settle()
      if (wasDone) repaired++
      assert.deepEqual([log.firstIndex, offsetsIn(world, log)], [FLOOR.index, LEFT], `${turns} ${power}`)
      assert.equal(cleanedFiles(world).length, log.cleaner.part!.segments.length)
      assert.equal(log.repairs.damages.length, 0)
      const kept = world.disk.platter.files('/data/quarantine').map(({ path }) => path)
      if (!wasDone)
        assert.ok(
          kept.some((path) => path.endsWith('.cleaned')),
          `${turns} ${power}: ${kept}`,
        )
      assert.deepEqual(world.fatals, [])
    }
  }
  assert.ok(repaired > 0)
})

test('a cleaned segment that is missing: with peers it is asked for, without the start is refused', () => {
  const { world } = cleaned('missing')
  world.kill()
  const name = cleanedFiles(world)[0]!
  world.disk.platter.remove(`${FOLDER}/${name}`)
  const refused = world.tryOpen()
  assert.ok(refused instanceof StorageError && refused.code === 'SHARD_LOG_MISSING' && refused.message.includes(name))
  const { storage, log } = opened(world)
  assert.deepEqual(damagesIn(storage), [`${FOLDER}/${name}`])
  take(storage, (part) => storage.caretaker.adoptPart(SHARD, part, FLOOR))
  world.clock.settle()
  assert.deepEqual([offsetsIn(world, log), damagesIn(storage)], [LEFT, []])
})

test('what is misread once is sound again when all of it was read well', () => {
  const { world, storage } = cleaned('misread')
  const path = `${FOLDER}/${cleanedFiles(world)[0]}`
  flip(world, path, 300)
  scrub(world, storage)
  assert.deepEqual(damagesIn(storage), [path])
  flip(world, path, 300)
  scrub(world, storage)
  assert.deepEqual(damagesIn(storage), [])
})

test('entries as they were committed, below a floor above the damage, take its place as well', () => {
  const world = new World('raw')
  const { storage, log } = opened(world)
  storage.append(HISTORY, () => {})
  for (const entry of HISTORY) log.append(entry)
  storage.checkpoint()
  world.clock.settle()
  flip(world, `${FOLDER}/${world.list(FOLDER).filter((name) => name.endsWith('.log'))[1]}`, 300)
  scrub(world, storage)
  assert.equal(damagesIn(storage).length, 1)
  assert.ok(storage.caretaker.mayReplace(SHARD, 10, FLOOR))
  assert.ok(!storage.caretaker.mayReplace(SHARD, FLOOR.index, FLOOR))
  assert.ok(!storage.caretaker.mayReplace(SHARD, 10, { index: 31, offset: 30 }), 'it has no entry 31')
  take(storage, (part) => storage.caretaker.adoptPart(SHARD, part, FLOOR))
  world.clock.settle()
  assert.deepEqual([log.firstIndex, offsetsIn(world, log)], [FLOOR.index, LEFT])
  assert.equal(storage.caretaker.lostPart(SHARD), null)
})

test('a part whose floor the log has come to start above is for nobody', () => {
  const world = new World('late')
  const { storage, log } = opened(world)
  storage.append(HISTORY, () => {})
  for (const entry of HISTORY) log.append(entry)
  storage.checkpoint()
  world.clock.settle()
  const lower = { index: FLOOR.index - 6, offset: FLOOR.offset - 6 }
  const arrival = receive(world, storage, lower)
  let part: CleanedPart | undefined
  arrival.add(HISTORY.slice(0, lower.index - 1), () => arrival.finish((_error, whole) => (part = whole)))
  world.clock.settle()
  clean(log)
  world.clock.settle()
  assert.equal(log.firstIndex, FLOOR.index)
  storage.caretaker.adoptPart(SHARD, part!, lower)
  world.clock.settle()
  assert.deepEqual([log.firstIndex, offsetsIn(world, log)], [FLOOR.index, LEFT])
  assert.equal(cleanedFiles(world).length, log.cleaner.part!.segments.length, 'no litter')
})

test('a floor in the middle of a damaged file: what lies below it, and entries for the rest; a crash at any moment', () => {
  const holder = (world: World): string => {
    const names = world.list(FOLDER).filter((name) => /^\d+\.log$/.test(name))
    return `${FOLDER}/${names.findLast((name) => Number.parseInt(name, 10) <= FLOOR.index)}`
  }
  /** Up to the moment in which what is whole again takes its place. */
  const begun = (seed: string): { world: World; storage: Storage; finish: () => void; damaged: string } => {
    const world = new World(seed)
    // One file in use has all of it.
    const { storage } = opened(world, { hasPeers: true, shardSegmentBytes: 1 << 20 })
    storage.append(HISTORY, () => {})
    for (const entry of HISTORY) storage.openShardLog(SHARD).append(entry)
    storage.checkpoint()
    world.clock.settle()
    const damaged = holder(world)
    flip(world, damaged, 300)
    scrub(world, storage)
    assert.deepEqual(damagesIn(storage), [damaged])
    assert.ok(storage.caretaker.mayReplace(SHARD, 1, FLOOR))
    take(storage, (part) => storage.caretaker.adoptPart(SHARD, part, FLOOR))
    world.clock.settle()
    const repair = beginRepair(world, storage, SHARD)!
    assert.equal(repair.range.firstIndex, FLOOR.index)
    assert.equal(addTo(world, repair, HISTORY.slice(FLOOR.index - 1)), null)
    const finish = (): void => storage.caretaker.completeRepair(repair, (error) => assert.equal(error, null))
    return { world, storage, finish, damaged }
  }
  const whole = begun('straddled')
  whole.finish()
  const turnsInAll = whole.world.turnsToRest()
  whole.world.clock.settle()
  assert.deepEqual(damagesIn(whole.storage), [])
  assert.ok(whole.world.list('/data/quarantine').length > 0)
  assert.ok(!whole.world.list(FOLDER).includes(whole.damaged.slice(FOLDER.length + 1)))
  const found = { damaged: 0, whole: 0 }
  for (let turns = turnsInAll; turns >= 0; turns--) {
    const { world, storage, finish, damaged } = begun(`straddled ${turns}`)
    finish()
    for (let turn = 0; turn < turns; turn++) world.clock.step()
    const said = damagesIn(storage)
    world.powerLoss()
    const again = opened(world, { hasPeers: true, shardSegmentBytes: 1 << 20 })
    scrub(world, again.storage)
    const left = damagesIn(again.storage)
    if (said.length === 0) assert.deepEqual(left, [], `${turns}: said to be whole`)
    found[left.length === 0 ? 'whole' : 'damaged']++
    if (left.length > 0) assert.deepEqual([left, repairAll(world, again.storage, SHARD, HISTORY)], [[damaged], 1])
    assert.deepEqual([offsetsIn(world, again.log), damagesIn(again.storage)], [LEFT, []], `${turns}`)
    assert.deepEqual(world.fatals, [])
  }
  assert.ok(found.damaged > 3 && found.whole > 1, JSON.stringify(found))
})

test('a snapshot comes with what lies below it; a crash at any moment leaves the old log or all of the new one', () => {
  const placed = { ...checkpointAt(SHARD, HISTORY, CUT_AT), startIndex: FLOOR.index, startOffset: 0 }
  const install = (world: World): ShardLog => {
    const { storage, log } = opened(world)
    take(storage, (part) => storage.installSnapshot(placed, (error) => assert.equal(error, null), part))
    return log
  }
  const whole = new World('snapshot')
  install(whole)
  const found = { old: 0, new: 0 }
  for (let turns = whole.turnsToRest(); turns >= 0; turns--) {
    const world = new World(turns)
    install(world)
    for (let turn = 0; turn < turns; turn++) world.clock.step()
    world.powerLoss()
    const { storage, log } = opened(world)
    const index = storage.recovered.get(SHARD)?.checkpoint?.index ?? 0
    if (index === 0) {
      found.old++
      assert.deepEqual([log.lastIndex, cleanedFiles(world).length], [0, 0], `${turns}`)
      continue
    }
    found.new++
    assert.deepEqual([index, log.firstIndex, log.lastIndex, log.firstOffset], [CUT_AT, FLOOR.index, CUT_AT, 0])
    for (const entry of HISTORY.slice(CUT_AT)) log.append(entry)
    assert.deepEqual(offsetsIn(world, log), LEFT, `${turns}`)
  }
  assert.ok(found.old > 5 && found.new > 1, JSON.stringify(found))
})

test('what is no part of this log is refused: other shards, going back, above the floor, no records', () => {
  const { world, storage } = cleaned('refused')
  const refusal = (entries: readonly Entry[]): string => {
    const arrival = receive(world, storage)
    let error: Error | null = null
    arrival.add(entries, (failure) => {
      error = failure
    })
    world.clock.settle()
    arrival.abandon()
    world.clock.settle()
    return (error as StorageError | null)?.message ?? 'taken'
  }
  const [first, second] = SENT as [Entry, Entry]
  const foreign = encodeEntry({ ...first, shard: SHARD + 1, payload: [payloadOf(first)] })
  const empty = encodeEntry({ ...first, recordCount: 0, payload: [payloadOf(first)] })
  assert.match(refusal([foreign]), /an entry of shard 17/)
  assert.match(refusal([second, first]), /goes back/)
  assert.match(refusal([HISTORY[CUT_AT]!]), /above the floor/)
  assert.match(refusal([empty]), /no records/)
  assert.equal(refusal([first, second]), 'taken')
  assert.deepEqual(offsetsIn(world, storage.openShardLog(SHARD)), LEFT)
  assert.equal(cleanedFiles(world).length, storage.openShardLog(SHARD).cleaner.part!.segments.length, 'no litter')
})

test('on a disk that is low nothing of a part is taken: what there is, is the journal’s', () => {
  const { world, storage } = cleaned('low')
  const arrival = receive(world, storage)
  const before = cleanedFiles(world)
  world.disk.capacityBytes = world.disk.usedBytes + (60 << 10)
  storage.saveSpace(true, 64 << 10)
  let error: Error | null = null
  arrival.add(SENT, (failure) => {
    error = failure
  })
  world.clock.settle()
  assert.equal((error as PlatformError | null)?.code, 'DISK_FULL')
  assert.deepEqual(cleanedFiles(world), before)
  assert.equal(arrival.nextOffset, 0)
})

test('an arrival ends with its log, and one at a time is enough', () => {
  const { world, storage } = cleaned('ends')
  const arrival = receive(world, storage)
  let second: PartArrival | null | undefined
  storage.caretaker.receivePart(SHARD, FLOOR, (begun) => {
    second = begun
  })
  assert.equal(second, null)
  storage.removeShard(SHARD, 1)
  world.clock.settle()
  let error: Error | null = null
  arrival.add(SENT, (failure) => {
    error = failure
  })
  world.clock.settle()
  assert.equal((error as StorageError | null)?.code, 'CLEANING_ABANDONED')
  storage.caretaker.receivePart(SHARD, FLOOR, (begun) => {
    second = begun
  })
  assert.equal(second, null)
  assert.ok(!world.list('/data/shards').includes(`${SHARD}`))
})

test('a part that reaches further than what is applied here is named once that is', () => {
  const world = new World('ahead')
  const { storage, log } = opened(world)
  let applied = 20
  storage.setCheckpointSource({ activeShards: () => [SHARD], capture: () => checkpointAt(SHARD, HISTORY, applied) })
  storage.append(HISTORY, () => {})
  for (const entry of HISTORY.slice(0, applied)) log.append(entry)
  storage.checkpoint()
  world.clock.settle()
  take(storage, (part) => storage.caretaker.adoptPart(SHARD, part, FLOOR))
  world.clock.settle()
  assert.deepEqual([log.cleaner.part, log.firstIndex], [null, 1])
  // Nobody but the log itself knows that it is time.
  for (const entry of HISTORY.slice(applied)) log.append(entry)
  applied = HISTORY.length
  world.clock.settle()
  assert.equal(log.firstIndex, FLOOR.index)
  assert.deepEqual(offsetsIn(world, log), LEFT)
  assert.deepEqual(world.fatals, [])
})

test('who waits to give a part has his turn when a snapshot takes the place of what waited for its checkpoint', () => {
  const { world, log } = cleaned('waits')
  let began = false
  const { cleaner } = log
  world.disk.fault = (operation, path) => (operation === 'open' && path.includes('checkpoint') ? 'ENOSPC' : null)
  cleaner.want({ floor: { index: 28, offset: 27 }, tombstonesBelow: 0, graceMs: 0, keepsSequence: () => false })
  world.clock.settle()
  assert.ok(cleaner.finished !== null)
  cleaner.receive(FLOOR, (arrival) => {
    began = arrival !== null
  })
  assert.ok(!began)
  log.replace({ index: 31, offset: 30 }, null, () => {})
  assert.ok(began)
})
