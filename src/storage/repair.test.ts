/** Damage in a shard's log that another replica has whole: found by reading, by scrubbing, or at the start, and repaired. */
import { strict as assert } from 'node:assert'
import { join } from 'node:path'
import { test } from 'node:test'
import { PlatformError } from '../platform/index.ts'
import { crc32c, Prng } from '../stdx/index.ts'
import { encodeCheckpoint } from './checkpoint-format.ts'
import { type Entry, encodeEntry, nextOffsetAfter, payloadOf } from './entry.ts'
import { StorageError } from './errors.ts'
import { chain, checkpointAt, follow, World } from './harness.test.ts'
import { copyOf, shardIndexFile, shardSegmentFile } from './layout.ts'
import { PUT_ASIDE_MAX } from './put-aside.ts'
import { addTo, beginRepair, complete, damagesIn, flip, repairAll, scrub, writeClosed } from './repair-harness.test.ts'
import type { Storage } from './storage.ts'
import { encodeTerms } from './terms.ts'

const LOG = chain(16, 60, 1000)
const FOLDER = '/data/shards/16'

/** A directory whose checkpoint covers all of LOG, closed. */
function closed(seed: string | number): { world: World; firsts: readonly number[] } {
  const world = new World(seed)
  const firsts = writeClosed(world, 16, LOG)
  assert.ok(firsts.length > 4)
  return { world, firsts }
}

function open(world: World): Storage {
  const storage = world.open()
  storage.openShardLog(16)
  return storage
}

const begin = (world: World, storage: Storage) => beginRepair(world, storage, 16)
const repairLog = (world: World, storage: Storage): number => repairAll(world, storage, 16, LOG)

function readsAll(world: World, storage: Storage, log: readonly Entry[] = LOG): void {
  const shardLog = storage.openShardLog(16)
  for (let index = 1; index <= log.length; ) {
    let read: Entry[] = []
    shardLog.readFromIndex(index, 4000, (error, entries) => {
      assert.equal(error, null)
      read = entries
    })
    world.clock.settle()
    for (const entry of read) assert.ok(entry.bytes.equals(log[index++ - 1]!.bytes))
  }
  for (const entry of log) {
    let found: Entry | undefined
    shardLog.readFromOffset(entry.firstOffset, 1, (_error, entries) => {
      found = entries[0]
    })
    world.clock.settle()
    assert.equal(found?.index, entry.index)
  }
}

interface Case {
  readonly name: string
  readonly repairs: number
  readonly harm: (world: World, firsts: readonly number[]) => void
}

const path = (first: number | undefined): string => shardSegmentFile(FOLDER, first!)

const CASES: readonly Case[] = [
  { name: 'a flipped bit in an entry', repairs: 1, harm: (world, firsts) => flip(world, path(firsts[2]), 1500) },
  { name: 'a flipped bit in a header', repairs: 1, harm: (world, firsts) => flip(world, path(firsts[1]), 30) },
  {
    name: 'headers of two neighbours',
    repairs: 2,
    harm: (world, firsts) => {
      flip(world, path(firsts[1]), 8)
      flip(world, path(firsts[2]), 9)
    },
  },
  {
    name: 'a file cut at the end of an entry, without its index',
    repairs: 1,
    harm: (world, firsts) => {
      const { platter } = world.disk
      const bytes = platter.read(path(firsts[2])).length
      platter.resize(path(firsts[2]), bytes - LOG[0]!.bytes.length)
      platter.remove(shardIndexFile(FOLDER, firsts[2]!))
    },
  },
  {
    name: 'something behind the end of a file',
    repairs: 1,
    harm: (world, firsts) => {
      const { platter } = world.disk
      platter.resize(path(firsts[1]), platter.read(path(firsts[1])).length + 700)
    },
  },
  {
    name: 'two files that are missing in the middle',
    repairs: 1,
    harm: (world, firsts) => {
      world.disk.platter.remove(path(firsts[2]))
      world.disk.platter.remove(path(firsts[3]))
    },
  },
  { name: 'the first file missing', repairs: 1, harm: (world, firsts) => world.disk.platter.remove(path(firsts[0])) },
  {
    name: 'the file in use missing',
    repairs: 1,
    harm: (world, firsts) => world.disk.platter.remove(path(firsts.at(-1))),
  },
  {
    name: 'the file in use cut',
    repairs: 1,
    harm: (world, firsts) => world.disk.platter.resize(path(firsts.at(-1)), 100),
  },
  {
    name: 'a flipped bit in the file in use',
    repairs: 1,
    harm: (world, firsts) => flip(world, path(firsts.at(-1)), 200),
  },
  {
    name: 'the folder gone with all that was in it',
    repairs: 2,
    harm: (world) => world.disk.platter.remove(FOLDER),
  },
]

for (const { name, repairs, harm } of CASES) {
  test(`repair: ${name}`, () => {
    const { world, firsts } = closed(name)
    const bytesBefore = new Map(firsts.map((first) => [first, world.disk.platter.read(path(first))]))
    harm(world, firsts)
    const storage = open(world)
    scrub(world, storage)
    assert.ok(damagesIn(storage).length > 0, 'it was not found')
    assert.equal(repairLog(world, storage), repairs)
    readsAll(world, storage)
    scrub(world, storage)
    assert.deepEqual(damagesIn(storage), [])
    // Byte for byte what was there, but for when the file was made, where nobody knows.
    for (const file of world.list(FOLDER).filter((other) => other.endsWith('.log'))) {
      const before = bytesBefore.get(Number(file.slice(0, 20)))!
      const now = world.read(`${FOLDER}/${file}`)
      if (now.length === before.length) assert.ok(now.subarray(64).equals(before.subarray(64)), file)
    }
    world.close(storage)
    assert.deepEqual(
      world.list(FOLDER).filter((file) => file.endsWith('.repair')),
      [],
    )
    const again = open(world)
    readsAll(world, again)
    scrub(world, again)
    assert.deepEqual(damagesIn(again), [])
  })
}

test('repair: what was damaged is in the quarantine, byte for byte', () => {
  const { world, firsts } = closed('quarantine')
  flip(world, path(firsts[2]), 1500)
  const damaged = world.read(path(firsts[2]))
  const storage = open(world)
  scrub(world, storage)
  repairLog(world, storage)
  const [name, ...others] = world.list('/data/quarantine')
  assert.deepEqual(others, [])
  assert.ok(world.read(`/data/quarantine/${name}`).equals(damaged))
})

test('repair: a read meets the damage, is answered with it, and what can be read of the file is read until it is repaired', () => {
  const { world, firsts } = closed('read')
  const [first, next] = [firsts[2]!, firsts[3]!]
  const inside = next - 2
  flip(world, path(first), 64 + (inside - first) * LOG[0]!.bytes.length + 100)
  const storage = open(world)
  const log = storage.openShardLog(16)
  const codes: (string | number)[] = []
  for (const index of [inside, first]) {
    log.readFromIndex(index, 1, (error, entries) => codes.push(error?.code ?? entries[0]!.index))
    world.clock.settle()
  }
  assert.deepEqual(codes, ['SHARD_LOG_DAMAGED', first])
  assert.equal(repairLog(world, storage), 1)
  readsAll(world, storage)
})

test('repair: a sector that the drive gives up on is damage, and what lies before it is read until it is repaired', () => {
  const world = new World('sector')
  const storage = world.open({ hasPeers: true, shardSegmentBytes: 1 << 20 })
  storage.setCheckpointSource({ activeShards: () => [16], capture: () => checkpointAt(16, LOG, LOG.length) })
  const log = storage.openShardLog(16)
  storage.append(LOG, () => {})
  for (const entry of LOG) log.append(entry)
  storage.checkpoint()
  world.clock.settle()
  const from = 40_000
  world.disk.condition = {
    troubleWith: ({ operation, path: file, position, bytes }) =>
      operation === 'read' && file === path(1) && position + bytes > from ? { kind: 'fail', errno: 'EIO' } : null,
  }
  let read = 0
  let met: string | null = null
  while (met === null) {
    log.readFromIndex(read + 1, 1 << 20, (error, entries) => {
      met = error?.code ?? null
      read += entries.length
    })
    world.clock.settle()
  }
  assert.equal(met, 'SHARD_LOG_DAMAGED')
  assert.ok(read > 30 && read < 38, `${read} of those that begin before byte ${from}`)
  assert.deepEqual(world.fatals, [])
  scrub(world, storage)
  assert.deepEqual(damagesIn(storage), [path(1)])
  const repair = begin(world, storage)!
  assert.equal(addTo(world, repair, LOG), null)
  assert.equal(complete(world, storage, repair), 'done')
  world.disk.condition = null
  readsAll(world, storage)
  assert.equal(world.list('/data/quarantine').length, 1)
})

test('repair: of two copies that the drive must read one is enough', () => {
  for (const name of ['identity', 'checkpoint', 'terms']) {
    for (const lost of [`/data/${name}`, `/data/${name}.copy`]) {
      const { world } = closed(lost)
      world.disk.fault = (operation, file) => (operation === 'read' && file === lost ? 'EIO' : null)
      world.close(open(world))
      world.disk.fault = null
      assert.ok(world.read(`/data/${name}`).equals(world.read(`/data/${name}.copy`)), lost)
      readsAll(world, open(world))
    }
    const { world } = closed(`both of ${name}`)
    world.disk.fault = (operation, file) => (operation === 'read' && file.includes(name) ? 'EIO' : null)
    const outcome = world.tryOpen()
    assert.ok(outcome instanceof Error && (outcome as { code?: string }).code === 'DISK_FAILED', `${name}: ${outcome}`)
    world.disk.fault = null
    readsAll(world, open(world))
  }
})

test('repair: entries of another history, whole and in order, are refused at its end, or where they do not follow', () => {
  const { world, firsts } = closed('another history')
  flip(world, path(firsts[2]), 1500)
  const storage = open(world)
  scrub(world, storage)
  const [first, next] = [firsts[2]!, firsts[3]!]
  const others: Entry[] = LOG.slice(0, first - 1)
  for (let index = first; index < next; index++) others.push(follow(16, others.at(-1)!, 1, Buffer.alloc(1000, 99), 2))
  const repair = begin(world, storage)!
  assert.equal(addTo(world, repair, others.slice(first - 1, next - 2)), null, 'nobody can tell yet')
  const refused = addTo(world, repair, others.slice(next - 2))
  assert.ok(refused instanceof StorageError && refused.code === 'REPAIR_REFUSED', `${refused}`)
  const mixed = begin(world, storage)!
  assert.equal(addTo(world, mixed, LOG.slice(first - 1, first)), null)
  for (const wrong of [
    others.slice(first, first + 1),
    LOG.slice(first + 1, first + 2),
    chain(17, first + 1).slice(first),
  ])
    assert.equal((addTo(world, mixed, wrong) as StorageError).code, 'REPAIR_REFUSED')
  assert.equal(repairLog(world, storage), 1)
  readsAll(world, storage)
})

test('repair: an entry with a good sum that was never written is betrayed by the one behind it, or by the next file', () => {
  for (const place of ['middle', 'last'] as const) {
    const { world, firsts } = closed(`forged ${place}`)
    const [first, next] = [firsts[2]!, firsts[3]!]
    const index = place === 'last' ? next - 1 : first + 1
    const entry = LOG[index - 1]!
    const forged = encodeEntry({ ...entry, payload: [Buffer.from(payloadOf(entry)).fill(7)] })
    world.disk.platter.overwrite(path(first), 64 + (index - first) * entry.bytes.length, forged.bytes)
    const storage = open(world)
    scrub(world, storage)
    assert.deepEqual(damagesIn(storage), [path(first)])
    repairLog(world, storage)
    readsAll(world, storage)
  }
})

test('repair: on a disk that is low it leaves what there is to the journal, and writes nothing', () => {
  const { world, firsts } = closed('low')
  flip(world, path(firsts[2]), 1500)
  const storage = open(world)
  scrub(world, storage)
  const repair = begin(world, storage)!
  const [from, to] = [repair.nextIndex - 1, repair.lastIndex]
  world.disk.capacityBytes = world.disk.usedBytes + (60 << 10)
  storage.saveSpace(true, 64 << 10)
  const refused = addTo(world, repair, LOG.slice(from, to))
  assert.ok(refused instanceof PlatformError && refused.code === 'DISK_FULL', `${refused}`)
  assert.ok(!world.list(FOLDER).some((name) => name.endsWith('.repair')))
  world.disk.capacityBytes += 64 << 10
  storage.saveSpace(false)
  assert.equal(repairLog(world, storage), 1)
  readsAll(world, storage)
})

test('repair: the file in use stays, whole, when all of it is cut off at any moment of its replacement', () => {
  for (let lead = -20; lead <= 20; lead++) {
    const { world, firsts } = closed(`in use ${lead}`)
    const inUse = path(firsts.at(-1))
    flip(world, inUse, 200)
    const storage = open(world)
    scrub(world, storage)
    const repair = begin(world, storage)!
    assert.equal(addTo(world, repair, LOG.slice(repair.nextIndex - 1)), null)
    const cut = (): void => {
      const after = { startIndex: LOG.length + 1, startOffset: nextOffsetAfter(LOG.at(-1)!) }
      const capture = () => ({ ...checkpointAt(16, LOG, LOG.length), ...after })
      storage.setCheckpointSource({ activeShards: () => [16], capture })
      storage.checkpoint()
    }
    const steps = [cut, () => storage.caretaker.completeRepair(repair, (error) => assert.equal(error, null))]
    if (lead > 0) steps.reverse()
    steps[0]!()
    for (let turns = Math.abs(lead); turns > 0; turns--) world.clock.step()
    steps[1]!()
    world.clock.settle()
    assert.deepEqual([world.fatals, damagesIn(storage)], [[], []])
    assert.ok(world.list(FOLDER).includes(inUse.slice(FOLDER.length + 1)), `${lead}: a checkpoint names it`)
  }
})

test('repair: a sync that fails while a file takes its place ends the log; asked again it would say yes', () => {
  for (const failing of ['datasync', 'syncDirectory']) {
    const { world, firsts } = closed(`unsynced ${failing}`)
    flip(world, path(firsts.at(-1)), 200)
    const storage = open(world)
    scrub(world, storage)
    const log = storage.openShardLog(16)
    const longer = chain(16, 61, 1000)
    log.append(longer.at(-1)!)
    log.flush()
    world.clock.settle()
    const repair = begin(world, storage)!
    assert.equal(addTo(world, repair, longer.slice(repair.nextIndex - 1)), null)
    let sealed = false
    world.disk.fault = (operation, at) => {
      const fails = sealed && operation === failing && (failing === 'datasync' || at === FOLDER)
      // The last step of the new file's own durability, which may fail without harm.
      sealed ||= operation === 'syncDirectory' && at === FOLDER
      return fails ? 'EIO' : null
    }
    storage.caretaker.completeRepair(repair, () => {})
    world.clock.settle()
    assert.deepEqual(
      world.fatals.map(({ details }) => details.code),
      ['SHARD_LOG_FAILED'],
      failing,
    )
  }
})

test('repair: what the scrubber has at hand is not sound because it is no part of the log any more', () => {
  const world = new World('dropped')
  const options = { hasPeers: true, shardSegmentBytes: 1 << 20 }
  const before = world.open(options)
  const start = 30
  for (const entry of LOG) before.openShardLog(16).append(entry)
  before.append(LOG, () => {})
  const { firstOffset: startOffset } = LOG[start - 1]!
  const capture = () => ({ ...checkpointAt(16, LOG, LOG.length), startIndex: start, startOffset })
  before.setCheckpointSource({ activeShards: () => [16], capture })
  before.checkpoint()
  world.clock.settle()
  world.kill()
  // No source: no checkpoint will name what is repaired.
  const storage = world.open(options)
  const log = storage.openShardLog(16)
  const step = (): void => {
    storage.caretaker.scrubber.step(() => {})
    world.clock.settle()
  }
  step()
  step()
  const damaged = path(1)
  flip(world, damaged, 50_000)
  log.readFromIndex(start, 1 << 20, () => {})
  world.clock.settle()
  assert.deepEqual(damagesIn(storage), [damaged])
  const repair = begin(world, storage)!
  assert.equal(addTo(world, repair, LOG.slice(start - 1)), null)
  assert.equal(complete(world, storage, repair), 'done')
  step()
  assert.deepEqual(damagesIn(storage), [damaged], 'until a checkpoint names the other')
})

test('repair: the log grows while the file in use is repaired', () => {
  const { world, firsts } = closed('growing')
  flip(world, path(firsts.at(-1)), 200)
  const storage = open(world)
  scrub(world, storage)
  const longer = chain(16, 62, 1000)
  const repair = begin(world, storage)!
  assert.equal(addTo(world, repair, LOG.slice(repair.nextIndex - 1)), null)
  assert.ok(repair.complete)
  const log = storage.openShardLog(16)
  for (const entry of longer.slice(60)) log.append(entry)
  log.flush()
  world.clock.settle()
  assert.equal(complete(world, storage, repair), 'more')
  assert.equal(addTo(world, repair, longer.slice(repair.nextIndex - 1)), null)
  assert.equal(complete(world, storage, repair), 'done')
  const longest = chain(16, 75, 1000)
  for (const entry of longest.slice(62)) log.append(entry)
  log.flush()
  world.clock.settle()
  readsAll(world, storage, longest)
  scrub(world, storage)
  assert.deepEqual(damagesIn(storage), [])
})

test('repair: a file that is cut off while it is repaired is of no interest any more', () => {
  const { world, firsts } = closed('cut')
  flip(world, path(firsts[1]), 1500)
  const storage = open(world)
  scrub(world, storage)
  const repair = begin(world, storage)!
  assert.equal(addTo(world, repair, LOG.slice(repair.nextIndex - 1, repair.lastIndex)), null)
  const start = firsts[3]!
  storage.setCheckpointSource({
    activeShards: () => [16],
    capture: () => ({
      ...checkpointAt(16, LOG, LOG.length),
      startIndex: start,
      startOffset: LOG[start - 1]!.firstOffset,
    }),
  })
  storage.checkpoint()
  world.clock.settle()
  assert.equal(complete(world, storage, repair), 'moot')
  assert.deepEqual(damagesIn(storage), [])
  assert.ok(!world.list(FOLDER).some((name) => name.endsWith('.repair')))
})

test('repair: a file that is cut off at any moment of its replacement goes, under whichever name', () => {
  const outcomes = new Set<unknown>()
  const harms = [
    { file: 1, harm: (world: World, damaged: string) => flip(world, damaged, 150) },
    { file: 0, harm: (world: World, damaged: string) => world.disk.platter.remove(damaged) },
  ]
  for (const { file, harm } of harms) {
    // So many turns before it, or after: a cut takes some until the file of the checkpoint is there.
    for (let lead = -20; lead <= 20; lead++) {
      const { world, firsts } = closed(`${file} ${lead}`)
      // The replacement of a file with the start in it has another name than the file.
      const cut = (startIndex: number): void => {
        const startOffset = LOG[startIndex - 1]!.firstOffset
        const capture = () => ({ ...checkpointAt(16, LOG, LOG.length), startIndex, startOffset })
        storage.setCheckpointSource({ activeShards: () => [16], capture })
        storage.checkpoint()
      }
      harm(world, path(firsts[file]))
      const storage = open(world)
      scrub(world, storage)
      cut(firsts[file]! + 1)
      world.clock.settle()
      const repair = begin(world, storage)!
      assert.equal(addTo(world, repair, LOG.slice(repair.nextIndex - 1, repair.lastIndex)), null)
      let outcome: unknown
      const steps = [
        () => cut(firsts[3]!),
        () =>
          storage.caretaker.completeRepair(repair, (error, swapped) => {
            outcome = error ?? swapped
          }),
      ]
      if (lead > 0) steps.reverse()
      steps[0]!()
      for (let turns = Math.abs(lead); turns > 0; turns--) world.clock.step()
      steps[1]!()
      world.clock.settle()
      outcomes.add(outcome)
      assert.deepEqual(world.fatals, [])
      assert.deepEqual(damagesIn(storage), [])
      const left = world.list(FOLDER).filter((name) => !name.endsWith('.index'))
      assert.deepEqual(left.map((name) => join(FOLDER, name)).sort(), firsts.slice(3).map(path), `${lead}: ${outcome}`)
      scrub(world, storage)
      assert.deepEqual(damagesIn(storage), [])
    }
  }
  assert.deepEqual([...outcomes].sort(), ['done', 'moot'])
})

test('repair: a power loss at any moment of it leaves the log whole, or as damaged as it was', () => {
  const prng = new Prng('power')
  const seen = { whole: 0, damaged: 0 }
  for (let round = 0; round < 60; round++) {
    const { world, firsts } = closed(round)
    const first = prng.below(2) === 0 ? firsts[2]! : firsts.at(-1)!
    flip(world, path(first), 150)
    const storage = open(world)
    scrub(world, storage)
    const repair = begin(world, storage)!
    assert.equal(addTo(world, repair, LOG.slice(repair.nextIndex - 1, repair.lastIndex)), null)
    storage.caretaker.completeRepair(repair, () => {})
    for (let turns = prng.below(16); turns > 0; turns--) world.clock.step()
    world.powerLoss()
    const again = open(world)
    scrub(world, again)
    if (damagesIn(again).length === 0) seen.whole++
    else seen.damaged++
    repairLog(world, again)
    readsAll(world, again)
  }
  assert.ok(seen.whole > 5 && seen.damaged > 5, JSON.stringify(seen))
})

test('repair: a wrong index is written again by the scrubber', () => {
  const { world, firsts } = closed('index')
  const whole = world.read(shardIndexFile(FOLDER, firsts[1]!))
  flip(world, shardIndexFile(FOLDER, firsts[1]!), 40)
  world.disk.platter.remove(shardIndexFile(FOLDER, firsts[2]!))
  const storage = open(world)
  scrub(world, storage)
  assert.equal(world.events.filter(({ type }) => type === 'file-repaired').length, 2)
  assert.ok(world.read(shardIndexFile(FOLDER, firsts[1]!)).equals(whole))
  assert.deepEqual(damagesIn(storage), [])
})

for (const name of ['identity', 'checkpoint', 'terms']) {
  test(`repair: of ${name} and its copy one may be lost, and be older, at a start and under a running node`, () => {
    const { world } = closed(name)
    const file = `/data/${name}`
    const good = world.read(file)
    const { platter } = world.disk
    const harms: ((path: string) => void)[] = [
      (path) => flip(world, path, 0),
      (path) => flip(world, path, 9),
      (path) => flip(world, path, 12, 3),
      (path) => flip(world, path, good.length - 1),
      (path) => platter.resize(path, good.length - 1),
      (path) => platter.remove(path),
    ]
    for (const path of [file, copyOf(file)]) {
      for (const harm of harms) {
        harm(path)
        world.close(world.open())
        assert.ok(world.read(path).equals(world.read(file)), 'at a start')
        const storage = open(world)
        harm(path)
        scrub(world, storage)
        world.close(storage)
        assert.ok(world.read(path).equals(world.read(file)), 'by the scrubber')
      }
    }
    flip(world, file, 20)
    flip(world, copyOf(file), 21)
    const outcome = world.tryOpen()
    if (name === 'terms') assert.ok(!(outcome instanceof Error), 'all else is whole: a new bound is made')
    else assert.ok(outcome instanceof StorageError && outcome.code === `${name.toUpperCase()}_DAMAGED`, `${outcome}`)
  })
}

const inQuarantine = (world: World): Buffer[] =>
  world.disk.platter.has('/data/quarantine')
    ? world.list('/data/quarantine').map((name) => world.read(`/data/quarantine/${name}`))
    : []
const lastRepair = (world: World) => world.events.findLast((event) => event.type === 'file-repaired')

test('repair: the damaged bytes of a small file are put aside before it is written again', () => {
  for (const name of ['identity', 'checkpoint', 'terms'].flatMap((file) => [file, `${file}.copy`])) {
    const path = `/data/${name}`
    for (const running of [false, true]) {
      const { world } = closed(name)
      const good = world.read(path)
      let storage = running ? open(world) : null
      flip(world, path, 9)
      const bad = world.read(path)
      storage ??= open(world)
      if (running) scrub(world, storage)
      world.close(storage)
      assert.ok(!world.read(path).equals(bad), 'it is written again')
      const told = lastRepair(world)
      assert.ok(told?.type === 'file-repaired' && told.file === path, name)
      assert.ok(world.read(told.quarantined!).equals(bad), 'what was there is kept')
      assert.equal(inQuarantine(world).length, 1)
      // The same damage once more is kept once, and a file that is missing is none.
      world.write(path, bad)
      world.close(open(world))
      world.disk.platter.remove(path)
      world.close(open(world))
      assert.equal(inQuarantine(world).length, 1)
      assert.equal(world.read(path).length, good.length)
    }
  }
})

test('repair: of each small file so many damaged ones are kept, and the disk is not filled with them', () => {
  const { world } = closed('often')
  for (let at = 16; at < 16 + PUT_ASIDE_MAX + 4; at++) {
    flip(world, '/data/identity', at)
    world.close(open(world))
  }
  assert.equal(inQuarantine(world).length, PUT_ASIDE_MAX)
  const told = lastRepair(world)
  assert.ok(told?.type === 'file-repaired' && told.quarantined === null)
})

test('repair: a power loss at any moment of it leaves a start possible, and the damaged bytes somewhere', () => {
  for (const name of ['identity.copy', 'checkpoint', 'terms', 'both terms']) {
    const paths = name === 'both terms' ? ['/data/terms', '/data/terms.copy'] : [`/data/${name}`]
    let rested = false
    for (let turns = 0; !rested; turns++) {
      assert.ok(turns < 500)
      const { world } = closed(`${name} ${turns}`)
      for (const path of paths) flip(world, path, 9)
      const bad = paths.map((path) => world.read(path))
      world.tryOpenAndStop({}, turns)
      rested = world.events.some(({ type }) => type === 'recovery-done' && turns > 0) && !world.clock.step()
      world.powerLoss()
      const there = [...paths.map((path) => world.read(path)), ...inQuarantine(world)]
      for (const bytes of bad)
        assert.ok(
          there.some((found) => found.equals(bytes)),
          `${name}, turn ${turns}`,
        )
      world.close(open(world))
      const kept = inQuarantine(world)
      for (const bytes of bad)
        assert.ok(
          kept.some((found) => found.equals(bytes)),
          `${name}, turn ${turns}`,
        )
    }
  }
})

test('repair: where neither copy of the bound of terms counts the new one is told of', () => {
  for (const harm of ['damaged', 'missing'] as const) {
    const { world } = closed(harm)
    for (const path of ['/data/terms', '/data/terms.copy'])
      if (harm === 'damaged') flip(world, path, 33)
      else world.disk.platter.remove(path)
    world.close(open(world))
    const told = lastRepair(world)
    assert.ok(told?.type === 'file-repaired' && told.file === '/data/terms')
    assert.match(told.reason, new RegExp(`^it was ${harm}.*; the new bound is term \\d+, above all that were found$`))
    assert.equal(told.quarantined === null, harm === 'missing')
    assert.equal(inQuarantine(world).length, harm === 'missing' ? 0 : 2)
  }
})

test('repair: of two bounds of terms the one of another disk does not count', () => {
  const { world } = closed('foreign')
  const good = world.read('/data/terms')
  const foreign = encodeTerms({
    diskIncarnation: 'ab'.repeat(16),
    ceiling: 1 << 20,
    unknownFrom: 0,
    resetting: false,
    journalEntered: 0,
  })
  world.write('/data/terms.copy', foreign)
  const storage = open(world)
  assert.ok(world.read('/data/terms.copy').equals(good))
  assert.ok(inQuarantine(world)[0]!.equals(foreign))
  world.close(storage)
})

test('repair: of two whole checkpoints the later one counts', () => {
  const { world } = closed('stale')
  const old = world.read('/data/checkpoint')
  const storage = world.open()
  const longer = chain(16, 70, 1000)
  for (const entry of longer.slice(60)) {
    storage.append([entry], () => {})
    storage.openShardLog(16).append(entry)
  }
  storage.setCheckpointSource({ activeShards: () => [16], capture: () => checkpointAt(16, longer, 70) })
  world.close(storage)
  const now = world.read('/data/checkpoint')
  assert.ok(!now.equals(old))
  for (const path of ['/data/checkpoint', '/data/checkpoint.copy']) {
    world.disk.platter.put(path, old)
    const again = world.open()
    assert.equal(again.recovered.get(16)?.checkpoint?.index, 70)
    world.close(again)
  }
})

test('repair: what a newer release has written is not overwritten from an older copy', () => {
  const { world } = closed('newer')
  const bytes = Buffer.concat(
    encodeCheckpoint({
      diskIncarnation: 'ab'.repeat(16),
      journalFrom: 1,
      journalThrough: 0,
      highestStamp: 0,
      shards: new Map(),
      removed: new Map(),
    }),
  )
  bytes.writeUInt16LE(9, 12)
  bytes.writeUInt16LE(9, 14)
  bytes.writeUInt32LE(crc32c(bytes.subarray(12)), 8)
  world.disk.platter.put('/data/checkpoint', bytes)
  const outcome = world.tryOpen()
  assert.ok(outcome instanceof StorageError && outcome.code === 'NEWER_FORMAT', `${outcome}`)
  assert.ok(world.read('/data/checkpoint').equals(bytes))
})

test('repair: rot that looks like a newer release is rot, however much of the file it takes with it', () => {
  for (const name of ['identity', 'checkpoint', 'terms']) {
    for (const [from, to] of [
      [12, 16],
      [10, 40],
      [14, 60],
    ] as const) {
      const { world } = closed(`${name} ${from}`)
      const whole = world.read(`/data/${name}`)
      world.disk.platter.overwrite(`/data/${name}`, from, Buffer.alloc(Math.min(to, whole.length) - from, 0x77))
      world.close(world.open())
      assert.ok(world.read(`/data/${name}`).equals(world.read(copyOf(`/data/${name}`))), name)
    }
  }
})

test('repair: what was misread once, and is whole, is no damage once the scrubber has been through it', () => {
  const { world, firsts } = closed('misread')
  const storage = open(world)
  flip(world, path(firsts[2]), 1500)
  scrub(world, storage)
  assert.deepEqual(damagesIn(storage), [path(firsts[2])])
  flip(world, path(firsts[2]), 1500)
  scrub(world, storage)
  assert.deepEqual(damagesIn(storage), [])
  assert.equal(begin(world, storage), null)
})

test('repair: a shard that is removed while its file is scrubbed says nothing of another one', () => {
  const { world } = closed('removed')
  const storage = open(world)
  const other = chain(17, 10, 100)
  for (const entry of other) {
    storage.append([entry], () => {})
    storage.openShardLog(17).append(entry)
  }
  world.clock.settle()
  // The small files, and the first bytes of shard 16.
  for (let step = 0; step < 2; step++) {
    storage.caretaker.scrubber.step(() => {})
    world.clock.settle()
  }
  storage.removeShard(16, 1)
  world.clock.settle()
  scrub(world, storage)
  assert.deepEqual(damagesIn(storage), [])
  assert.ok(!world.events.some(({ type }) => type === 'shard-log-damaged'))
})

test('repair: of a shard that is removed nothing is made again, and a file that is gone with it is no damage', () => {
  const { world, firsts } = closed('removed while it is repaired')
  const storage = open(world)
  const log = storage.openShardLog(16)
  flip(world, path(firsts[2]), 1500)
  scrub(world, storage)
  const repair = begin(world, storage)!
  log.readFromOffset(0, 1 << 20, () => {})
  storage.removeShard(16, 1)
  world.clock.settle()
  world.events.length = 0
  log.readFromOffset(0, 1 << 20, (error) => assert.notEqual(error, null))
  world.clock.settle()
  const refused = addTo(world, repair, LOG.slice(repair.nextIndex - 1, repair.lastIndex))
  assert.equal((refused as StorageError | null)?.code, 'SHARD_REMOVED')
  assert.deepEqual([damagesIn(storage), world.list('/data/shards')], [[], []])
  assert.ok(!world.events.some(({ type }) => type === 'shard-log-damaged'))
})
