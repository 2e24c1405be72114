/** The files of one shard, held against the checkpoint and against each other. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { ShardCheckpoint } from '../checkpoint-format.ts'
import { clean, historyOf } from '../compacted-harness.test.ts'
import { chain, checkpointAt, World } from '../harness.test.ts'
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
