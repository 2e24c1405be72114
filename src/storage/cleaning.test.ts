import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { ShardCheckpoint } from './checkpoint-format.ts'
import { fuzz } from './cleaning.fuzz.ts'
import { CUT_AT, clean, historyOf, KEYS, LEFT, offsetsIn } from './compacted-harness.test.ts'
import { checkpointAt, World } from './harness.test.ts'
import { inspect, type LogItem } from './inspection/index.ts'
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
