import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Codec, encodeBatch, forEachRecord, recordCountOf, sumOf } from '../records/index.ts'
import { Background } from './background.ts'
import type { ShardCheckpoint } from './checkpoint-format.ts'
import { CleanedWriter } from './cleaned-writer.ts'
import { fuzz } from './cleaning.fuzz.ts'
import { Cleaning, type CleaningResult, type CleaningSource } from './cleaning.ts'
import { CUT_AT, clean, historyOf, KEYS, LEFT, offsetsIn } from './compacted-harness.test.ts'
import { type Entry, type EntryDraft, EntryKind, nextOffsetAfter, payloadOf } from './entry.ts'
import { checkpointAt, follow, World } from './harness.test.ts'
import { inspect, type LogItem } from './inspection/index.ts'
import { call, type Procedure, run } from './procedure.ts'
import type { ShardLog } from './shard-log.ts'
import type { Storage } from './storage.ts'

test('compaction: whatever the history, a reader finds what the twin says (100 histories, crashes included)', () => {
  const counts = fuzz(1, 100)
  assert.ok(counts.cleanings > 250 && counts.crashes > 30 && counts.dropped > 1000, JSON.stringify(counts))
})

const SHARD = 16
const HISTORY = historyOf(SHARD)

function opened(world: World): { storage: Storage; log: ShardLog } {
  const storage = world.open()
  const log = storage.openShardLog(SHARD)
  for (const entry of storage.recovered.get(SHARD)?.entries ?? []) log.append(entry)
  const capture = (): ShardCheckpoint => {
    const start = { startIndex: log.firstIndex, startOffset: log.firstOffset }
    return { ...checkpointAt(SHARD, HISTORY, HISTORY.length), ...start }
  }
  storage.setCheckpointSource({ activeShards: () => [SHARD], capture })
  return { storage, log }
}

function begun(world: World): ShardLog {
  const { storage, log } = opened(world)
  storage.append(HISTORY, () => {})
  for (const entry of HISTORY) log.append(entry)
  storage.checkpoint()
  world.clock.settle()
  clean(log)
  return log
}

const ALL = HISTORY.map((_, i) => i)

test('compaction: a crash at any effect leaves all of it or what was cleaned, and the next attempt no litter', () => {
  const whole = new World()
  begun(whole)
  for (let turns = whole.turnsToRest(); turns >= 0; turns--) {
    for (const power of [false, true]) {
      const world = new World(`${turns} ${power}`)
      begun(world)
      for (let turn = 0; turn < turns; turn++) world.clock.step()
      if (power) world.powerLoss()
      else world.kill()
      const { log } = opened(world)
      const found = offsetsIn(world, log)
      assert.deepEqual(found, log.firstIndex === 1 ? ALL : LEFT, `${turns} ${power}: floor ${log.firstIndex}`)
      clean(log)
      world.clock.settle()
      assert.deepEqual([log.firstIndex, offsetsIn(world, log)], [CUT_AT + 1, LEFT])
      const files = world.list(`/data/shards/${SHARD}`).filter((name) => name.endsWith('.cleaned'))
      assert.equal(files.length, log.cleaner.part!.segments.length)
      assert.deepEqual(world.fatals, [])
    }
  }
})

test('compaction: what it has left stays where a damaged journal is put aside', () => {
  const world = new World()
  begun(world)
  world.clock.settle()
  world.kill()
  for (const name of world.list('/data/journal'))
    world.disk.platter.overwrite(`/data/journal/${name}`, 0, Buffer.alloc(8192, 0xff))
  const storage = world.open({ hasPeers: true })
  assert.equal(storage.recovered.get(SHARD)?.recovering, true)
  const log = storage.openShardLog(SHARD)
  assert.deepEqual([log.firstIndex, offsetsIn(world, log)], [CUT_AT + 1, LEFT])
})

test('compaction: of a file that holds the floor nothing is counted twice, for retention would cut too much', () => {
  const world = new World()
  const storage = world.open({ cleaningMapBytes: 200, shardSegmentBytes: 6 << 10 })
  const log = storage.openShardLog(SHARD)
  const capture = (): ShardCheckpoint => {
    const start = { startIndex: log.firstIndex, startOffset: log.firstOffset }
    return { ...checkpointAt(SHARD, HISTORY, HISTORY.length), ...start }
  }
  storage.setCheckpointSource({ activeShards: () => [SHARD], capture })
  storage.append(HISTORY, () => {})
  for (const entry of HISTORY) log.append(entry)
  storage.checkpoint()
  world.clock.settle()
  // One cleaning: what was wanted goes on from where the map was full.
  clean(log)
  while (log.firstIndex === 1) world.clock.step()
  let looks = 0
  const look = (): void =>
    log.segments((_error, facts) => {
      const { files, firstIndex: floor } = log
      const holder = files.segments.findLast(({ firstIndex }) => firstIndex <= floor)!
      if (holder.firstIndex < floor) looks++
      const committed = facts.filter(({ cleaned, firstIndex }) => cleaned !== true && firstIndex >= floor)
      const counted = committed.reduce((sum, { bytes }) => sum + bytes, 0)
      const there = HISTORY.slice(floor - 1).reduce((sum, { bytes }) => sum + bytes.length, 0)
      assert.ok(counted <= there + 64 * files.segments.length, `${counted} of ${there}`)
    })
  do look()
  while (world.clock.step())
  assert.ok(looks > 0, 'the floor was never in the middle of a file')
})

test('compaction: who reads while it goes on is served', () => {
  const world = new World()
  const log = begun(world)
  const answers: number[] = []
  for (let turn = 0; turn < 400; turn++) {
    const offset = turn % CUT_AT
    log.readFromOffset(offset, 1, (error, entries) => {
      assert.equal(error, null)
      const [first] = entries
      assert.ok(first !== undefined && (first.firstOffset === offset || first.firstOffset >= CUT_AT - KEYS))
      answers.push(first.firstOffset)
    })
    world.clock.step()
  }
  world.clock.settle()
  assert.equal(answers.length, 400)
  assert.equal(log.firstIndex, CUT_AT + 1)
})

test('compaction: cleaned segments are shown by the inspection, damage in them too', () => {
  const world = new World()
  begun(world)
  world.clock.settle()
  const folder = `/data/shards/${SHARD}`
  const inspected = (): LogItem[] => {
    const items: LogItem[] = []
    world.await<void>((done) => inspect(world.disk, [folder], (item) => items.push(item) > 0, done))
    return items
  }
  const items = inspected()
  assert.deepEqual(
    items.filter(({ type }) => type === 'damage'),
    [],
  )
  assert.ok(items.some((item) => item.type === 'header' && item.fields.generation === 1))
  const name = world.list(folder).find((each) => each.endsWith('.cleaned'))!
  const bytes = world.read(`${folder}/${name}`)
  bytes[200]! ^= 1
  world.write(`${folder}/${name}`, bytes)
  assert.ok(inspected().some(({ type }) => type === 'damage'))
})

test('compaction: tombstones below the floor go later, by themselves', () => {
  const world = new World()
  const { storage, log } = opened(world)
  const history: Entry[] = []
  for (let i = 0; i < 6; i++) {
    const record = { key: Buffer.from(`key ${i % 3}`), value: i === 4 ? null : Buffer.from(`${i}`) }
    history.push(follow(SHARD, history.at(-1) ?? null, 1, encodeBatch([record], { timestamp: 0, baseOffset: i }), 1))
  }
  const capture = (): ShardCheckpoint => {
    const start = { startIndex: log.firstIndex, startOffset: log.firstOffset }
    return { ...checkpointAt(SHARD, history, history.length), ...start }
  }
  storage.setCheckpointSource({ activeShards: () => [SHARD], capture })
  storage.append(history, () => {})
  for (const entry of history) log.append(entry)
  storage.checkpoint()
  world.clock.settle()
  const tombstone = (): Entry => world.await<Entry[]>((done) => log.readFromOffset(4, 1, done))[0]!
  const clean = (tombstonesBelow: number, graceMs = 0): [cleanings: number, offsets: number[]] => {
    const cleanings = (): number => world.events.filter(({ type }) => type === 'shard-log-cleaned').length
    const before = cleanings()
    log.cleaner.want({ floor: { index: 6, offset: 5 }, tombstonesBelow, graceMs, keepsSequence: () => false })
    world.clock.settle()
    return [cleanings() - before, offsetsIn(world, log, history.length)]
  }
  // Both at once would take the tombstone from a reader that has just been shown what it deletes.
  assert.deepEqual(clean(5, 1000), [1, [2, 3, 4, 5]])
  assert.equal(recordCountOf(payloadOf(tombstone()), 0), 1)
  assert.deepEqual(clean(5, 1000), [0, [2, 3, 4, 5]])
  world.clock.pass(1000)
  // Emptied, the batch stays: it is the last one below the floor.
  assert.deepEqual(clean(5, 1000), [1, [2, 3, 4, 5]])
  assert.equal(recordCountOf(payloadOf(tombstone()), 0), 0)
  assert.deepEqual(clean(5), [0, [2, 3, 4, 5]])
  assert.deepEqual(clean(6), [0, [2, 3, 4, 5]], 'there is none left')
})

test('compaction: the event loop is left between two batches when enough was unpacked', () => {
  const value = Buffer.alloc(50_000, 'x')
  const batches = Array.from({ length: 40 }, (_, i) =>
    encodeBatch([{ key: Buffer.from(`key ${i}`), value }], { timestamp: 0, baseOffset: i, codec: Codec.gzip }),
  )
  const entry = follow(SHARD, null, 1, Buffer.concat(batches), 40)
  const source: CleaningSource = {
    ...{ firstIndex: 1, firstOffset: 0, lastIndex: 1 },
    readFromIndex: (_index, _maxBytes, done) => done(null, [entry]),
    readFromOffset: (offset, _maxBytes, done) => done(null, offset < 40 ? [entry] : []),
  }
  const pauses: number[] = []
  const world = new World()
  const background = new Background()
  const { disk, clock } = world
  const writer = new CleanedWriter(
    { shard: SHARD, directory: `/data/shards/${SHARD}`, generation: 1, segmentBytes: 1 << 20 },
    { disk, clock, background },
  )
  const cleaning = new Cleaning(
    { floor: { index: 2, offset: 40 }, tombstonesBelow: 0, graceMs: 0, keepsSequence: () => false },
    source,
    writer,
    {
      generation: 1,
      mapBytes: 1 << 20,
      grownBytesMax: 32 << 20,
      pause: (bytes) => {
        pauses.push(bytes)
        return call<void>((done) => done(null))
      },
    },
  )
  const result = world.await<CleaningResult>((done) => run(cleaning.run(), done))
  assert.equal(result.recordsKept, 40)
  // Two passes over two million bytes, a quarter of a million at a time.
  assert.ok(pauses.length >= 12, `${pauses}`)
  assert.ok(Math.max(...pauses) < (256 << 10) + 60_000, `${pauses}`)
})

/** Two records, the second of `blocks` x 128 KiB, packed so tightly as only their producer could: as runs (RFC 8878, 3.1.1.2). */
function tightlyPacked(baseOffset: number, first: string, second: string, blocks: number): Buffer {
  const value = Buffer.concat(Array.from({ length: blocks }, (_, i) => Buffer.alloc(128 << 10, i + 1)))
  const records = [
    { key: Buffer.from(first), value: Buffer.from('old') },
    { key: Buffer.from(second), value },
  ]
  const plain = encodeBatch(records, { timestamp: 0, baseOffset })
  const [raw, rest] = [plain.subarray(61, plain.indexOf(value)), plain.subarray(plain.indexOf(value) + value.length)]
  const block = (type: number, size: number, last = 0): Buffer => {
    const header = Buffer.alloc(3)
    header.writeUIntLE(last | (type << 1) | (size << 3), 0, 3)
    return header
  }
  const runs = Array.from({ length: blocks }, (_, i) => [block(1, 128 << 10), Buffer.from([i + 1])]).flat()
  const frame = [Buffer.from('28b52ffd0038', 'hex'), block(0, raw.length), raw, ...runs, block(0, rest.length, 1), rest]
  const batch = Buffer.concat([plain.subarray(0, 61), ...frame])
  batch.writeInt32BE(batch.length - 12, 8)
  batch[22] = Codec.zstd
  batch.writeUInt32BE(sumOf(batch, 0), 17)
  return batch
}

/** What a cleaning leaves of these batches, which are entries of one each; all tombstones have had their grace. */
function cleanedBatches(batches: readonly Buffer[], grownBytesMax: number): Buffer[] {
  const entries: Entry[] = []
  for (const batch of batches)
    entries.push(follow(SHARD, entries.at(-1) ?? null, entries.length + 1, batch, recordCountOf(batch, 0)))
  const end = nextOffsetAfter(entries.at(-1)!)
  const source: CleaningSource = {
    ...{ firstIndex: 1, firstOffset: 0, lastIndex: entries.length },
    readFromIndex: (from, _maxBytes, done) =>
      done(
        null,
        entries.filter(({ index }) => index >= from),
      ),
    readFromOffset: (offset, _maxBytes, done) =>
      done(
        null,
        entries.filter((entry) => nextOffsetAfter(entry) > offset),
      ),
  }
  const left: Buffer[] = []
  const world = new World()
  const { disk, clock } = world
  class Noting extends CleanedWriter {
    override *add(draft: EntryDraft): Procedure<void> {
      left.push(...(draft.payload as Buffer[]))
      yield* super.add(draft)
    }
  }
  const folder = { shard: SHARD, directory: `/data/shards/${SHARD}`, generation: 1, segmentBytes: 1 << 20 }
  const writer = new Noting(folder, { disk, clock, background: new Background() })
  const floor = { index: entries.length + 1, offset: end }
  const request = { floor, tombstonesBelow: end, graceMs: 0, keepsSequence: () => false }
  const pause = () => call<void>((done) => done(null))
  const cleaning = new Cleaning(request, source, writer, { generation: 1, mapBytes: 1 << 20, grownBytesMax, pause })
  world.await<CleaningResult>((done) => run(cleaning.run(), done))
  return left
}

test('cleaning: what is packed more tightly than this runtime can stays small, whatever it unpacks to', () => {
  const batches = [0, 2, 4].map((offset) => tightlyPacked(offset, 'same', `key ${offset}`, 40))
  const end = encodeBatch([{ key: Buffer.from('same'), value: Buffer.from('new') }], { timestamp: 0, baseOffset: 6 })
  const left = cleanedBatches([...batches, end], 32 << 20)
  const keys: string[] = []
  for (const batch of left) {
    forEachRecord(batch, 0, ({ key }) => keys.push(`${key}`) > 0)
    assert.ok(batch.length < 64 << 10, `${batch.length} bytes, ${batches[0]!.length} before`)
  }
  assert.deepEqual(keys, ['key 0', 'key 2', 'key 4', 'same'])
})

test('cleaning: a batch that would grow too much is kept whole, and so are the tombstones behind it', () => {
  const batch = tightlyPacked(0, 'gone', 'key', 16)
  const tombstone = encodeBatch([{ key: Buffer.from('gone'), value: null }], { timestamp: 0, baseOffset: 2 })
  const other = encodeBatch([{ key: Buffer.from('other'), value: Buffer.from('1') }], { timestamp: 0, baseOffset: 3 })
  assert.deepEqual(cleanedBatches([batch, tombstone, other], 0), [batch, tombstone, other])
  // In front of it there is nothing that they could delete.
  const behind = tightlyPacked(1, 'key', 'another', 16)
  const first = encodeBatch([{ key: Buffer.from('gone'), value: null }], { timestamp: 0, baseOffset: 0 })
  const key = encodeBatch([{ key: Buffer.from('key'), value: Buffer.from('2') }], { timestamp: 0, baseOffset: 3 })
  assert.deepEqual(cleanedBatches([first, behind, key], 0), [behind, key])
})

test('cleaning: however short its files should be, their number grows with the logarithm of what is left', () => {
  const world = new World('short files')
  const { clock, disk } = world
  const background = new Background()
  const options = { shard: 16, directory: '/data/shards/16', generation: 1, segmentBytes: 14 }
  const writer = new CleanedWriter(options, { disk, clock, background })
  const payload = [Buffer.alloc(10)]
  let segments = 0
  run(
    (function* () {
      for (let i = 1; i <= 8000; i++)
        yield* writer.add({
          ...{ kind: EntryKind.data, shard: 16, term: 1, index: i, stamp: i, firstOffset: i, recordCount: 1 },
          ...{ previousCrc: 0, payload },
        })
      segments = (yield* writer.finish()).length
    })(),
    (error) => assert.equal(error, null),
  )
  world.clock.settle()
  assert.ok(segments > 1024 && segments < 4000, `${segments}`)
})

test('compaction: who waits for his turn is placed, repaired or closed at once, whatever other log is being cleaned', () => {
  for (const asks of ['receive', 'close', 'replace'] as const) {
    const world = new World(asks)
    const storage = world.open()
    const logs = [SHARD, SHARD + 1].map((shard) => ({ log: storage.openShardLog(shard), history: historyOf(shard) }))
    for (const { log, history } of logs) {
      storage.append(history, () => {})
      for (const entry of history) log.append(entry)
    }
    const active = new Set(logs.map(({ log }) => log.shard))
    storage.setCheckpointSource({
      activeShards: () => active,
      capture: (shard) => {
        const { log, history } = logs[shard - SHARD]!
        return { ...checkpointAt(shard, history, 30), startIndex: log.firstIndex, startOffset: log.firstOffset }
      },
    })
    storage.checkpoint()
    world.clock.settle()
    const [first, second] = logs.map(({ log }) => log) as [ShardLog, ShardLog]
    let served = false
    const serve = (): void => {
      assert.equal(first.cleaner.finished, null, 'the other one is still being cleaned')
      served = true
    }
    if (asks !== 'receive') active.delete(second.shard)
    clean(first)
    clean(second)
    for (let turn = 0; turn < 3; turn++) world.clock.step()
    if (asks === 'receive')
      second.cleaner.receive({ index: CUT_AT + 1, offset: CUT_AT }, (arrival) => {
        assert.ok(arrival !== null)
        serve()
        arrival.abandon()
      })
    else if (asks === 'close') second.close(serve)
    else second.replace({ index: 100, offset: 100 }, null, serve)
    for (let turn = 0; turn < 10 && !served; turn++) world.clock.step()
    assert.ok(served, asks)
    world.clock.settle()
    assert.deepEqual([first.firstIndex, offsetsIn(world, first)], [CUT_AT + 1, LEFT])
    // What it wanted it gets in a turn of its own.
    assert.equal(second.cleaner.part !== null, asks === 'receive')
    assert.deepEqual(world.fatals, [])
  }
})
