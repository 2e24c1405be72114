/** The files of one shard, held against the checkpoint and against each other. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { ShardCheckpoint } from '../checkpoint-format.ts'
import { clean, historyOf } from '../compacted-harness.test.ts'
import { type Entry, payloadOf } from '../entry.ts'
import { chain, checkpointAt, follow, World } from '../harness.test.ts'
import { decodeShardSegmentHeader, encodeShardSegmentHeader, type ShardSegmentHeader } from '../segment-format.ts'
import { type DamageItem, type EndItem, inspect, type LogItem } from './index.ts'

const SHARD = 16
const FOLDER = `/data/shards/${SHARD}`
const LOG = chain(SHARD, 60, 1000)

function items(world: World, ...paths: string[]): LogItem[] {
  const found: LogItem[] = []
  const take = (item: LogItem): boolean => found.push(item) > 0
  world.await<void>((done) => inspect(world.disk, paths, take, (error) => done(error)))
  return found
}

const damages = (found: readonly LogItem[]): DamageItem[] => found.filter((item) => item.type === 'damage')
const notes = (found: readonly LogItem[]): string[] =>
  found.flatMap((item) => (item.type === 'note' ? [item.text] : []))
const end = (found: readonly LogItem[]): EndItem => found.find((item) => item.type === 'end')!
const positions = (found: readonly LogItem[]): number[] =>
  found.flatMap((item) => (item.type === 'entry' ? [item.position] : []))
const remove = (world: World, path: string): void => world.await<void>((done) => world.disk.remove(path, done))
const paths = (world: World, extension: string): string[] =>
  world.list(FOLDER).flatMap((name) => (name.endsWith(extension) ? [`${FOLDER}/${name}`] : []))

/** Several segments; the node was stopped. */
function ofSegments(): { world: World; logs: string[] } {
  const world = new World('segments')
  const storage = world.open()
  const log = storage.openShardLog(SHARD)
  storage.setCheckpointSource({ activeShards: () => [SHARD], capture: () => checkpointAt(SHARD, LOG, log.lastIndex) })
  for (const entry of LOG) {
    storage.append([entry], () => {})
    log.append(entry)
  }
  world.clock.settle()
  world.close(storage)
  return { world, logs: paths(world, '.log') }
}

/** Compaction has been over it; the node was stopped. */
function ofCleaned(): { world: World; cleaned: string } {
  const world = new World('cleaned')
  const storage = world.open()
  const log = storage.openShardLog(SHARD)
  const history = historyOf(SHARD)
  const capture = (): ShardCheckpoint => {
    const start = { startIndex: log.firstIndex, startOffset: log.firstOffset }
    return { ...checkpointAt(SHARD, history, history.length), ...start }
  }
  storage.setCheckpointSource({ activeShards: () => [SHARD], capture })
  storage.append(history, () => {})
  for (const entry of history) log.append(entry)
  storage.checkpoint()
  world.clock.settle()
  clean(log)
  world.clock.settle()
  world.close(storage)
  return { world, cleaned: paths(world, '.cleaned')[0]! }
}

test('inspect: a cleaned segment that the checkpoint names and that is not there', () => {
  const { world, cleaned } = ofCleaned()
  assert.deepEqual(damages(items(world, '/data')), [])
  remove(world, cleaned)
  const [damage] = damages(items(world, '/data/checkpoint'))
  assert.equal(damage!.expected, `the cleaned segment ${cleaned} of shard ${SHARD}`)
  assert.match(damage!.after, /^a node that is alone does not start/)
  assert.ok(world.tryOpen() instanceof Error, 'it does not')
})

test('inspect: a cleaned segment is as long as the checkpoint says, and has its sum', () => {
  const { world, cleaned } = ofCleaned()
  const whole = world.read(cleaned)
  const second = positions(items(world, cleaned))[1]!
  for (const bytes of [whole.subarray(0, 64), whole.subarray(0, second), Buffer.concat([whole, whole.subarray(64)])]) {
    world.write(cleaned, bytes)
    assert.equal(damages(items(world, cleaned)).at(-1)!.found, String(bytes.length))
  }
  // Whole, and another: its header says another time.
  const other = encodeShardSegmentHeader({ ...(decodeShardSegmentHeader(whole) as ShardSegmentHeader), createdMs: 5 })
  world.write(cleaned, Buffer.concat([other, whole.subarray(64)]))
  const [damage, ...others] = damages(items(world, cleaned))
  assert.deepEqual(others, [])
  assert.match(damage!.expected, /^bytes with the sum [0-9a-f]{8}, as the checkpoint has it$/)
})

test('inspect: a cleaned segment that the checkpoint does not name was being made, whatever is in it', () => {
  const { world, cleaned } = ofCleaned()
  const whole = world.read(cleaned)
  const path = cleaned.replace(/\d\.cleaned$/, '9.cleaned')
  const header = encodeShardSegmentHeader({
    ...(decodeShardSegmentHeader(whole) as ShardSegmentHeader),
    generation: Number(path.slice(-28, -8)),
  })
  for (const bytes of [Buffer.alloc(0), Buffer.concat([header, whole.subarray(64, 500)])]) {
    world.write(path, bytes)
    const found = items(world, '/data')
    assert.deepEqual(damages(found), [])
    assert.match(notes(found)[0]!, /^the checkpoint does not name it/)
  }
  world.close(world.open())
  assert.deepEqual(paths(world, '.cleaned'), [cleaned], 'a start removes it')
})

test('inspect: a segment that was left and has lost all of its entries is damage, and so is its index in doubt', () => {
  const { world, logs } = ofSegments()
  const left = logs.at(-2)!
  world.write(left, world.read(left).subarray(0, 64))
  const [index, segment] = [`${left.slice(0, -4)}.index`, left].map((path) => damages(items(world, path))[0]!)
  assert.equal(index!.after, 'one of the two files is damaged: the segment says which')
  assert.deepEqual([segment!.from, segment!.found], [64, 'no entry'])
})

test('inspect: a file behind the segment in use counts for nothing, whatever is in it', () => {
  const { world, logs } = ofSegments()
  const path = `${FOLDER}/${'99'.padStart(20, '0')}.log`
  for (const bytes of [Buffer.alloc(4096), world.read(logs[0]!), Buffer.alloc(30, 7)]) {
    world.write(path, bytes)
    assert.deepEqual(damages(items(world, '/data')), [])
  }
})

test('inspect: of a segment alone that ends inside an entry nobody says how far it counts', () => {
  const { world, logs } = ofSegments()
  world.await<void>((done) => world.disk.makeDirectory('/copy', done))
  const copy = `/copy/${logs[0]!.slice(-24)}`
  world.write(copy, world.read(logs[0]!).subarray(0, -1))
  assert.match(end(items(world, copy)).explanation, /^it ends inside an entry: no checkpoint is beside it/)
})

test('inspect: the last entry of a segment is the one that the next header, or the checkpoint, goes on from', () => {
  const { world, logs } = ofSegments()
  // Another history of the same lengths: whole entries that follow each other.
  const others: Entry[] = []
  for (const entry of LOG) others.push(follow(SHARD, others.at(-1) ?? null, 2, payloadOf(entry), entry.recordCount))
  for (const path of [logs[0]!, logs.at(-1)!]) {
    const whole = world.read(path)
    const header = decodeShardSegmentHeader(whole) as ShardSegmentHeader
    const entries = items(world, path).flatMap((item) => (item.type === 'entry' ? [item.entry] : []))
    const lastIndex = entries.at(-1)!.index
    const { previousCrc } = others[header.firstIndex - 1]!
    const foreign = others.slice(header.firstIndex - 1, lastIndex).map(({ bytes }) => bytes)
    world.write(path, Buffer.concat([encodeShardSegmentHeader({ ...header, previousCrc }), ...foreign]))
    const [damage, ...more] = damages(items(world, path))
    assert.deepEqual(more, [])
    assert.ok(damage!.expected.startsWith(`entry ${lastIndex} with the sum `), damage!.expected)
    world.write(path, whole)
  }
  assert.deepEqual(damages(items(world, '/data')), [])
})
