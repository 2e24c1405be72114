/** Walking folders in which not everything can be read: each file is looked at, and what could not be is named. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { type DiskFile, diskThrough, fileThrough, PlatformError } from '../../platform/index.ts'
import { chain, checkpointAt, World } from '../harness.test.ts'
import { type DamageItem, inspect, type LogItem } from './index.ts'

const LOG = chain(16, 30, 1000)

type Unreadable = Extract<LogItem, { type: 'unreadable' }>

const filesOf = (found: readonly LogItem[]): string[] =>
  found.filter((item) => item.type === 'file').map(({ path }) => path)
const damages = (found: readonly LogItem[]): DamageItem[] => found.filter((item) => item.type === 'damage')
const unreadable = (found: readonly LogItem[]): Unreadable[] => found.filter((item) => item.type === 'unreadable')

/** A directory with several segments of shard 16, after a clean stop. */
function stopped(): World {
  const world = new World('walking')
  const storage = world.open()
  const log = storage.openShardLog(16)
  storage.setCheckpointSource({ activeShards: () => [16], capture: () => checkpointAt(16, LOG, log.lastIndex) })
  for (const entry of LOG) {
    storage.append([entry], () => {})
    log.append(entry)
    world.clock.settle()
  }
  log.flush()
  world.close(storage)
  return world
}

function walk(world: World, path = '/data'): LogItem[] {
  const found: LogItem[] = []
  world.await<void>((done) => inspect(world.disk, [path], (item) => found.push(item) > 0, done))
  return found
}

test('inspect: a file that the disk does not give is damage of that file, and everything else is looked at', () => {
  const world = stopped()
  const whole = filesOf(walk(world))
  for (const path of whole) {
    for (const failing of ['read', 'open']) {
      world.disk.fault = (operation, of) => (operation === failing && of === path ? 'EIO' : null)
      const found = walk(world)
      assert.deepEqual(filesOf(found), whole)
      const at = found.findIndex((item) => item.type === 'file' && item.path === path)
      const own = found.slice(at + 1).find(({ type }) => type === 'damage' || type === 'file')
      assert.ok(own?.type === 'damage', `${failing} ${path}`)
      assert.match(own.found, /EIO/)
      if (path === '/data/checkpoint') assert.match(own.after, /writes it again from checkpoint.copy/)
      // Nothing else is blamed: its twin counts, and a journal or log beside it is what it was.
      if (!path.includes('/journal/')) assert.equal(damages(found).length, 1, `${failing} ${path}`)
    }
  }
})

test('inspect: a folder that cannot be listed is named, and the others are walked', () => {
  const world = stopped()
  const whole = filesOf(walk(world))
  for (const folder of ['/data/journal', '/data/shards', '/data/shards/16']) {
    world.disk.fault = (operation, of) => (operation === 'list' && of === folder ? 'EIO' : null)
    const found = walk(world)
    assert.deepEqual(
      unreadable(found).map(({ path }) => path),
      [folder],
    )
    assert.deepEqual(
      filesOf(found),
      whole.filter((path) => !path.startsWith(`${folder}/`)),
    )
  }
})

test('inspect: a folder in place of a file, and a file in place of a folder, end nothing', () => {
  const world = stopped()
  world.await<void>((done) => world.disk.remove('/data/checkpoint', done))
  world.await<void>((done) => world.disk.makeDirectory('/data/checkpoint', done))
  const [damage, ...more] = damages(walk(world))
  assert.match(damage!.after, /writes it again from checkpoint.copy/)
  assert.deepEqual(more, [])

  const other = stopped()
  const [segment, ...others] = other.list('/data/journal')
  for (const name of others) other.await<void>((done) => other.disk.remove(`/data/journal/${name}`, done))
  other.await<void>((done) => other.disk.rename(`/data/journal/${segment}`, '/data/segment', done))
  other.await<void>((done) => other.disk.removeDirectory('/data/journal', done))
  other.await<void>((done) => other.disk.rename('/data/segment', '/data/journal', done))
  assert.deepEqual(
    unreadable(walk(other)).map(({ path, found }) => [path, found]),
    [['/data/journal', 'a file is where a folder should be']],
  )
})

test('inspect: that the process has too many files open is no damage', () => {
  const world = stopped()
  world.disk.fault = (operation, path) => (operation === 'open' && path === '/data/terms' ? 'EMFILE' : null)
  assert.throws(() => walk(world), PlatformError)
})

test('inspect: a length that a damaged checkpoint claims is not asked for in memory', () => {
  const world = stopped()
  const checkpoint = world.read('/data/checkpoint')
  const damaged = Buffer.concat([checkpoint, Buffer.alloc(8 << 20)])
  damaged.writeUInt32LE(6 << 20, 64)
  world.write('/data/checkpoint', damaged)
  let longest = 0
  const disk = diskThrough(world.disk, {
    open: (path, mode, done) =>
      world.disk.open(path, mode, (error, file) => {
        if (error !== null || file === undefined) return done(error)
        const read: DiskFile['read'] = (into, position, finished) => {
          longest = Math.max(longest, into.length)
          file.read(into, position, finished)
        }
        done(null, fileThrough(file, { read }))
      }),
  })
  const found: LogItem[] = []
  world.await<void>((done) => inspect(disk, ['/data/checkpoint'], (item) => found.push(item) > 0, done))
  assert.match(damages(found)[0]!.after, /writes it again from checkpoint.copy|nothing/)
  assert.ok(longest <= 1 << 20, `${longest} bytes at once`)
})
