/** A journal, or both copies of the checkpoint, damaged where there are other replicas. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Prng } from '../stdx/index.ts'
import { Background } from './background.ts'
import type { ShardCheckpoint } from './checkpoint-format.ts'
import type { Entry } from './entry.ts'
import { StorageError } from './errors.ts'
import { encodeHardState } from './hard-state.ts'
import { chain, checkpointAt, follow, World } from './harness.test.ts'
import { flip } from './repair-harness.test.ts'
import { Room } from './room.ts'
import type { Storage } from './storage.ts'
import { decodeTerms, TermCeiling } from './terms.ts'

const PEERS = { hasPeers: true }
const LOG = chain(16, 30, 700)

/** Shard 16 with a checkpoint at 20, when its files may have reached further, and a journal behind it; shard 17 in the journal only; killed. */
function directory(seed: string | number, written = 20): World {
  const world = new World(seed)
  const storage = world.open(PEERS)
  const log = storage.openShardLog(16)
  let covered = 0
  storage.setCheckpointSource({ activeShards: () => [16], capture: () => checkpointAt(16, LOG, covered) })
  const append = (from: number, to: number): void => {
    for (const entry of LOG.slice(from, to)) {
      storage.append([entry], () => {})
      log.append(entry)
      world.clock.settle()
    }
  }
  append(0, written)
  covered = 20
  storage.checkpoint()
  world.clock.settle()
  append(written, 30)
  storage.append([encodeHardState(17, 7, 2)], () => {})
  world.clock.settle()
  storage.append([encodeHardState(16, 9, 3)], () => {})
  world.clock.settle()
  world.kill()
  return world
}

function rotJournal(world: World, name = world.list('/data/journal')[0]!): string {
  const path = `/data/journal/${name}`
  for (let at = 4096; at < 64 << 10; at += 4096) flip(world, path, at + 10)
  return path
}

function isReset(storage: Storage): void {
  const shard = storage.recovered.get(16)!
  assert.deepEqual([shard.recovering, shard.vote, shard.checkpoint?.index, shard.entries.length], [true, 0, 20, 0])
  assert.ok(shard.term > 9)
  // Whether or not a checkpoint has seen its vote.
  assert.ok(storage.recovered.get(17)?.recovering ?? storage.unknownFrom > 0)
  assert.ok(storage.unknownFrom > 9 && storage.unknownFrom <= shard.term)
}

test('reset: of a damaged journal nothing counts; every shard stands at its checkpoint and recovers', () => {
  const world = directory('journal')
  const path = rotJournal(world)
  const storage = world.open(PEERS)
  isReset(storage)
  const told = world.events.find(({ type }) => type === 'directory-reset')
  assert.ok(told?.type === 'directory-reset' && told.reason.includes('/data/journal'), 'the file is named')
  const aside = world.disk.platter.files('/data/quarantine').map((file) => file.path)
  assert.ok(aside.some((file) => file.endsWith(path.slice(path.lastIndexOf('/')))))
  // It goes on from there.
  storage.append([encodeHardState(16, 20_000, 1), follow(16, LOG[19]!, 20_000, Buffer.from('x'), 1)], () => {})
  world.clock.settle()
  world.kill()
  const again = world.open(PEERS).recovered.get(16)!
  assert.deepEqual([again.recovering, again.term, again.vote, again.entries.length], [true, 20_000, 1, 1])
})

test('reset: the segment in service is gone, and nothing but the note that it was there says so', () => {
  const world = new World('gone')
  const storage = world.open(PEERS)
  for (const entry of LOG) {
    storage.append([entry], () => {})
    world.clock.settle()
  }
  world.kill()
  const [first, ...later] = world.list('/data/journal')
  assert.ok(first !== undefined && later.length > 0)
  for (const name of later) world.disk.platter.remove(`/data/journal/${name}`)
  // What was written down of the journal that is gone says nothing against the one that begins after it.
  for (let start = 0; start < 3; start++) {
    assert.ok(world.open(PEERS).unknownFrom > 1)
    world.clock.settle()
    world.kill()
  }
  const resets = world.events.flatMap((event) => (event.type === 'directory-reset' ? [event.reason] : []))
  assert.equal(resets.length, 1)
  assert.match(resets[0]!, /journal ends before the segment that was in service/)
})

test('reset: without peers, or without a bound of the terms, the start is refused and nothing is changed', () => {
  for (const [options, harm] of [
    [{}, () => {}],
    [
      PEERS,
      (world: World) => {
        for (const path of ['/data/terms', '/data/terms.copy']) flip(world, path, 35)
      },
    ],
  ] as const) {
    const world = directory('refused')
    rotJournal(world)
    harm(world)
    const before = world.disk.platter.files('/data').map(({ path }) => world.disk.platter.read(path))
    const outcome = world.tryOpen(options)
    assert.ok(outcome instanceof StorageError && outcome.code === 'JOURNAL_DAMAGED', `${outcome}`)
    assert.deepEqual(
      world.disk.platter.files('/data').map(({ path }) => world.disk.platter.read(path)),
      before,
    )
  }
})

test('reset: what is read wrong once is no damage', () => {
  const world = directory('once')
  const path = `/data/journal/${world.list('/data/journal')[0]}`
  // Whole on the platter, and garbled the first time that it is read.
  const whole = world.disk.platter.read(path)
  rotJournal(world)
  let reads = 0
  world.disk.fault = (operation, name) => {
    if (operation === 'open' && name === path && ++reads === 2) world.disk.platter.put(path, whole)
    return null
  }
  const shard = world.open(PEERS).recovered.get(16)!
  assert.deepEqual([shard.recovering, shard.term, shard.vote, shard.entries.length], [false, 9, 3, 10])
})

test('reset: with both copies of the checkpoint lost nothing is known, and what was there is kept', () => {
  const world = directory('checkpoint')
  for (const path of ['/data/checkpoint', '/data/checkpoint.copy']) flip(world, path, 70)
  const storage = world.open(PEERS)
  assert.equal(storage.recovered.size, 0)
  assert.ok(storage.unknownFrom > 9)
  const aside = world.disk.platter.files('/data/quarantine').map(({ path }) => path)
  for (const kept of [/checkpoint$/, /checkpoint\.copy$/, /journal-.*\.log$/, /\/16-.*\.log$/])
    assert.ok(
      aside.some((path) => kept.test(path)),
      `${kept} in ${aside.join()}`,
    )
})

test('reset: a power loss at any moment of it leads to it again, in terms that only rise', () => {
  const prng = new Prng('resets')
  for (let round = 0; round < 40; round++) {
    const world = directory(round)
    rotJournal(world)
    world.tryOpenAndStop(PEERS, 5 + prng.below(60))
    world.powerLoss()
    const storage = world.open(PEERS)
    isReset(storage)
    const { term } = storage.recovered.get(16)!
    world.powerLoss()
    const again = world.open(PEERS)
    isReset(again)
    assert.ok(again.recovered.get(16)!.term >= term)
  }
})

test('reset: a shard that was opened since recovers as long as something is unknown, with or without a record of it', () => {
  const world = directory('unknown')
  rotJournal(world)
  const storage = world.open(PEERS)
  const { unknownFrom } = storage
  storage.append([encodeHardState(18, unknownFrom, 0)], () => {})
  world.clock.settle()
  world.kill()
  const second = world.open(PEERS)
  assert.equal(second.recovered.get(18)?.recovering, true)
  second.checkpoint()
  world.clock.settle()
  world.kill()
  const third = world.open(PEERS)
  assert.equal(third.recovered.get(18)?.recovering, true)
  third.allKnown()
  world.clock.settle()
  assert.equal(third.unknownFrom, 0)
  third.append([encodeHardState(19, 3, 1)], () => {})
  world.clock.settle()
  world.kill()
  const fourth = world.open(PEERS)
  assert.deepEqual([fourth.recovered.get(18)?.recovering, fourth.recovered.get(19)?.recovering], [true, false])
})

test('reset: a snapshot is taken also where the files reach further than what is still known of the log', () => {
  const world = directory('further', 25)
  for (const name of world.list('/data/journal')) rotJournal(world, name)
  const storage = world.open(PEERS)
  isReset(storage)
  assert.ok(storage.openShardLog(16).lastIndex >= 25)
  const { term } = storage.recovered.get(16)!
  const placed = { ...checkpointAt(16, LOG, 23), term, vote: 0, recovering: true }
  let installed = false
  storage.installSnapshot(placed, (error) => {
    assert.equal(error, null)
    installed = true
  })
  world.clock.settle()
  assert.ok(installed)
  const log = storage.openShardLog(16)
  assert.deepEqual([log.firstIndex, log.lastIndex], [24, 23])
  for (const entry of LOG.slice(23)) log.append(entry)
  world.clock.settle()
  world.powerLoss()
  const again = world.open(PEERS).recovered.get(16)!
  assert.deepEqual([again.checkpoint?.index, again.entries.length, again.recovering], [23, 0, true])
})

test('reset: what begins anew with an entry with which an old file began keeps its file, however late the old ones go', () => {
  const world = directory('same name', 30)
  for (const name of world.list('/data/journal')) rotJournal(world, name)
  const storage = world.open(PEERS)
  const log = storage.openShardLog(16)
  const first = log.files.segments.at(-1)!.firstIndex
  assert.ok(first > 20)
  const removesNothing = (operation: string): string | null => (operation === 'remove' ? 'EIO' : null)
  world.disk.fault = removesNothing
  const { term } = storage.recovered.get(16)!
  let covered = first - 1
  const capture = (): ShardCheckpoint => {
    const [startIndex, startOffset] = [first, LOG[first - 1]!.firstOffset]
    return { ...checkpointAt(16, LOG, covered), term, startIndex, startOffset, recovering: true }
  }
  storage.setCheckpointSource({ activeShards: () => [16], capture })
  storage.installSnapshot({ ...checkpointAt(16, LOG, covered), term, recovering: true }, (error) =>
    assert.equal(error, null),
  )
  world.clock.settle()
  for (const entry of LOG.slice(first - 1)) log.append(entry)
  log.flush()
  world.clock.settle()
  world.disk.fault = null
  covered = LOG.length
  storage.checkpoint()
  world.clock.settle()
  const logs = world.list('/data/shards/16').filter((name) => name.endsWith('.log'))
  assert.deepEqual(
    logs.map((name) => Number.parseInt(name, 10)),
    log.files.segments.map(({ firstIndex }) => firstIndex),
  )
  world.powerLoss()
  const again = world.open(PEERS).openShardLog(16)
  const entries = world.await<Entry[]>((done) => again.readFromIndex(first, 1 << 20, done))
  assert.deepEqual(
    entries.map(({ crc }) => crc),
    LOG.slice(first - 1).map(({ crc }) => crc),
  )
})

test('terms: no hard state is on the disk before the bound is above it, whatever jumps', () => {
  const world = new World('bound')
  const storage = world.open(PEERS)
  const prng = new Prng('bound')
  let term = 0
  let last = 0
  for (let round = 0; round < 60; round++) {
    term += [1, 1, 1, 300, 5000][prng.below(5)]!
    const wanted = term
    storage.append([encodeHardState(16, wanted, 1)], () => {
      assert.equal(last, round)
      last = round + 1
      const ceiling = world.disk.platter.read('/data/terms').readUInt32LE(32)
      assert.ok(ceiling >= wanted, `${wanted} above ${ceiling}`)
    })
    if (prng.below(3) === 0) world.clock.settle()
  }
  world.clock.settle()
  assert.equal(last, 60)
  world.close(storage)
})

test('terms: a full disk holds what needs a higher bound until there is room, and stops nobody', () => {
  const world = new World('bound-full')
  const storage = world.open(PEERS)
  world.clock.settle()
  const inTheWay = (path: string): boolean => path.startsWith('/data/terms')
  world.disk.fault = (operation, path) => (operation === 'open' && inTheWay(path) ? 'ENOSPC' : null)
  let entered = false
  storage.append([encodeHardState(16, 100_000, 1)], () => {
    entered = true
  })
  world.clock.settle()
  assert.deepEqual([entered, storage.awaitsRoom], [false, true])
  assert.ok(world.events.some((event) => event.type === 'disk-full' && event.work === 'the bound of terms'))
  world.disk.fault = null
  storage.tryAgain()
  world.clock.settle()
  assert.ok(entered)
  assert.ok(world.disk.platter.read('/data/terms').readUInt32LE(32) >= 100_000)
  world.close(storage)
})

test('terms: what is asked for in the moment in which a write ends is written, too', () => {
  const world = new World('moment')
  const background = new Background()
  const room = new Room({
    ...{ disk: world.disk, directory: '/data', background, unwrittenBytes: () => 0 },
    ...{ trace: () => {}, refused: () => {} },
  })
  world.await<void>((done) => world.disk.makeDirectory('/data', done))
  const before = { diskIncarnation: '0'.repeat(32), ceiling: 9, unknownFrom: 5, resetting: false, journalEntered: 0 }
  const fatal = (error: StorageError): void => assert.fail(error)
  const terms = new TermCeiling('/data', before, { disk: world.disk, room, fatal })
  background.write(() => {})
  assert.equal(
    terms.admits(100, () => {}),
    false,
  )
  // It begins where that write has ended.
  background.write((finished) => {
    terms.allKnown()
    finished()
  })
  world.clock.settle()
  const after = decodeTerms(world.disk.platter.read('/data/terms'), 'terms')
  assert.ok(!(after instanceof StorageError))
  assert.deepEqual([after.unknownFrom, after.ceiling], [0, terms.latest.ceiling])
})

test('terms: something is unknown until it is on the disk that nothing is: who begins meanwhile might be taken for lost', () => {
  const world = directory('meanwhile')
  rotJournal(world)
  const storage = world.open(PEERS)
  const { unknownFrom } = storage
  assert.ok(unknownFrom > 0)
  storage.allKnown()
  while (storage.unknownFrom > 0) assert.ok(world.clock.step(), 'it ends')
  world.kill()
  assert.equal(world.open(PEERS).unknownFrom, 0)
})

test('reset: the new term is above those of the checkpoint as well, which may have come to the disk before the bound', () => {
  for (const rots of [true, false]) {
    const world = directory(`ahead ${rots}`)
    // As if the bound had been raised a moment too late.
    const term = 20_000
    {
      const storage = world.open(PEERS)
      const capture = () => ({ ...checkpointAt(16, LOG, 20), term, vote: 2 })
      storage.setCheckpointSource({ activeShards: () => [16], capture })
      storage.checkpoint()
      world.clock.settle()
      world.kill()
    }
    if (rots) for (const name of world.list('/data/journal')) rotJournal(world, name)
    const storage = world.open(PEERS)
    world.clock.settle()
    const shard = storage.recovered.get(16)!
    if (rots) {
      assert.deepEqual([shard.recovering, shard.vote], [true, 0])
      assert.ok(shard.term > term && storage.unknownFrom > term)
      continue
    }
    assert.deepEqual([shard.term, shard.vote], [term, 2])
    world.kill()
    for (const name of world.list('/data/journal')) rotJournal(world, name)
    for (const path of ['/data/checkpoint', '/data/checkpoint.copy']) flip(world, path, 40)
    assert.ok(world.open(PEERS).unknownFrom > term, 'the bound was raised by the start')
  }
})

/**
 * Shard 18 was lost, with the knowledge that it was there, and all is known by now; other logs have much to write. After so many turns the
 * process is killed. Null: the next one finds shard 18 as one that recovers, or still does not know what it has lost.
 */
function forgetsAfter(
  turns: number,
  installs: boolean,
): { readonly atRest: boolean; readonly forgotten: string | null } {
  const world = new World('all known')
  const options = { ...PEERS, journalSegmentBytes: 4 << 20 }
  world.open(options).append(chain(18, 2), () => {})
  world.clock.settle()
  world.kill()
  for (const name of world.list('/data/journal')) rotJournal(world, name)
  const storage = world.open(options)
  const { unknownFrom: term } = storage
  assert.ok(term > 0 && !storage.recovered.has(18))
  const logs = Array.from({ length: 12 }, (_, i) => chain(30 + i, 8, 3000))
  const states = new Map(logs.map((log) => [log[0]!.shard, checkpointAt(log[0]!.shard, log, log.length)]))
  states.set(18, { ...checkpointAt(18, [], 0), term, recovering: true })
  const active = new Set(states.keys())
  storage.openShardLog(18)
  storage.append(logs.flat(), () => {})
  world.clock.settle()
  storage.setCheckpointSource({
    activeShards: () => [...active],
    capture: (shard) => {
      active.delete(shard)
      return states.get(shard)!
    },
  })
  for (const entry of logs.flat()) storage.openShardLog(entry.shard).append(entry)
  for (const shard of states.keys()) storage.openShardLog(shard).flush()
  storage.allKnown()
  const snapshot = { ...checkpointAt(16, chain(16, 9), 9), term, recovering: true }
  states.set(16, snapshot)
  if (installs) storage.installSnapshot(snapshot, () => {})
  let left = turns
  while (left > 0 && world.clock.step()) left--
  world.kill()
  const again = world.open(options)
  const { unknownFrom } = again
  const isKnown = unknownFrom > 0 || again.recovered.get(18)?.recovering === true
  const atRest = left > 0
  if (atRest) assert.equal(unknownFrom, 0, 'at rest nothing is unknown any more')
  return { atRest, forgotten: isKnown ? null : `after ${turns} turns` }
}

for (const installs of [false, true]) {
  test(`reset: once all is known, no replica is forgotten that recovers${installs ? ', though a snapshot is in a hurry' : ''}`, () => {
    for (let turns = 0; ; turns++) {
      const { atRest, forgotten } = forgetsAfter(turns, installs)
      assert.equal(forgotten, null)
      if (atRest) return
    }
  })
}
