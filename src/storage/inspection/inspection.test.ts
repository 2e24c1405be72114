/** Reading files for people: what a healthy directory looks like, and each kind of damage at its place. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { StorageError } from '../errors.ts'
import { encodeHardState } from '../hard-state.ts'
import { chain, checkpointAt, World } from '../harness.test.ts'
import { BLOCK_ALIGNMENT, writeBlockHeader } from '../journal-format.ts'
import { encodeTerms } from '../terms.ts'
import { type DamageItem, type EndItem, inspect, type LogItem, Tally } from './index.ts'
import { kindOf } from './inspect.ts'

const LOG = chain(16, 60, 1000)

function items(world: World, ...paths: string[]): LogItem[] {
  const found: LogItem[] = []
  world.await<void>((done) =>
    inspect(
      world.disk,
      paths,
      (item) => {
        found.push(
          item.type === 'entry' ? { ...item, entry: { ...item.entry, bytes: Buffer.from(item.entry.bytes) } } : item,
        )
        return true
      },
      (error) => done(error),
    ),
  )
  return found
}

const damages = (found: readonly LogItem[]): DamageItem[] => found.filter((item) => item.type === 'damage')
const ends = (found: readonly LogItem[]): EndItem[] => found.filter((item) => item.type === 'end')
const sequences = (found: readonly LogItem[]): number[] =>
  found.filter((item) => item.type === 'block').map(({ sequence }) => sequence)

/** Blocks of one entry each; the node was killed. */
function journalOf(entries: number): { world: World; path: string } {
  const world = new World('journal')
  const storage = world.open()
  storage.append([encodeHardState(16, 1, 2)], () => {})
  world.clock.settle()
  for (const entry of LOG.slice(0, entries)) {
    storage.append([entry], () => {})
    world.clock.settle()
  }
  world.kill()
  return { world, path: `/data/journal/${world.list('/data/journal')[0]}` }
}

function shardLogOf(): { world: World; folder: string; logs: string[] } {
  const world = new World('shards')
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
  const folder = '/data/shards/16'
  return {
    world,
    folder,
    logs: world
      .list(folder)
      .filter((name) => name.endsWith('.log'))
      .map((name) => `${folder}/${name}`),
  }
}

function flip(world: World, path: string, at: number): void {
  const bytes = world.read(path)
  bytes[at]! ^= 4
  world.write(path, bytes)
}

test('inspect: everything of a directory that was closed is whole, and found once', () => {
  const { world, logs } = shardLogOf()
  assert.ok(logs.length > 3)
  const found = items(world, '/data')
  assert.deepEqual(damages(found), [])
  const kinds = found.filter((item) => item.type === 'file').map(({ kind }) => kind)
  const small = ['identity', 'checkpoint', 'terms'].flatMap((name) => [name, name])
  assert.deepEqual(kinds.slice(0, 7), [...small, 'journal'])
  assert.equal(kinds.filter((kind) => kind === 'shard-log').length, logs.length)
  assert.equal(ends(found).length, kinds.length)
  const inShards = found.filter((item) => item.type === 'entry' && item.sequence === null)
  assert.deepEqual(
    inShards.map((item) => item.type === 'entry' && item.entry.crc),
    LOG.map(({ crc }) => crc),
  )
  const shard = found.find((item) => item.type === 'shard')
  assert.ok(shard?.type === 'shard' && shard.stored.state.index === LOG.length)
})

test('inspect: a running node is no damage, whatever it writes meanwhile', () => {
  const world = new World('running')
  const storage = world.open()
  const log = storage.openShardLog(16)
  storage.setCheckpointSource({ activeShards: () => [16], capture: () => checkpointAt(16, LOG, log.lastIndex) })
  let finished = 0
  const found: LogItem[] = []
  for (const entry of LOG) {
    storage.append([entry], () => {})
    log.append(entry)
    if (entry.index % 10 === 0)
      inspect(
        world.disk,
        ['/data'],
        (item) => found.push(item) > 0,
        (error) => {
          assert.equal(error, null)
          finished++
        },
      )
    for (let turns = 0; turns < 3; turns++) world.clock.step()
  }
  world.clock.settle()
  assert.equal(finished, 6)
  assert.deepEqual(damages(found), [])
})

test('inspect: where a journal ends, and why that is no damage', () => {
  const { world, path } = journalOf(4)
  const [clean] = ends(items(world, path))
  assert.deepEqual([clean!.label, clean!.rest], ['clean end', 'zeros'])
  assert.match(clean!.explanation, /block 6 would be next; the rest is zeros, written ahead/)
  // The last block half there: it was in flight.
  flip(world, path, clean!.position - BLOCK_ALIGNMENT + 100)
  const torn = items(world, path)
  assert.deepEqual(damages(torn), [])
  assert.match(ends(torn)[0]!.explanation, /block 5 is there in part/)
  // A later opening wrote it again, in a segment of its own.
  world.close(world.open())
  const found = items(world, '/data/journal')
  assert.deepEqual(damages(found), [])
})

test('inspect: a recycled segment ends before what its earlier life left', () => {
  const world = new World('recycled')
  const storage = world.open()
  const log = storage.openShardLog(16)
  storage.setCheckpointSource({ activeShards: () => [16], capture: () => checkpointAt(16, LOG, log.lastIndex) })
  for (const entry of LOG) {
    storage.append([entry], () => {})
    log.append(entry)
    log.flush()
    world.clock.settle()
    if (entry.index % 8 === 0) storage.checkpoint()
    world.clock.settle()
  }
  world.kill()
  const found = items(world, '/data')
  assert.deepEqual(damages(found), [])
  assert.ok(
    ends(found).some(({ rest, explanation }) => rest === 'earlier life' && /earlier life \(block/.test(explanation)),
  )
})

test('inspect: a block that was promised and does not verify is damage, with what comes after', () => {
  const { world, path } = journalOf(6)
  flip(world, path, 3 * BLOCK_ALIGNMENT + 60)
  const found = items(world, path)
  const [damage, ...others] = damages(found)
  assert.deepEqual(others, [])
  assert.deepEqual([damage!.from, damage!.to], [3 * BLOCK_ALIGNMENT, 4 * BLOCK_ALIGNMENT])
  assert.match(damage!.expected, /^block 3 \(bad block before a good one\)$/)
  assert.match(damage!.found, /^block 3 with the sum [0-9a-f]{8} over bytes of [0-9a-f]{8}$/)
  assert.match(damage!.after, /^block 4 at byte 16384 \(block 3 is lost\)$/)
  assert.deepEqual(sequences(found), [1, 2, 4, 5, 6, 7])
})

test('inspect: the header of a journal segment, with blocks alive behind it', () => {
  for (const at of [0, 9, 45]) {
    const { world, path } = journalOf(3)
    flip(world, path, at)
    const found = items(world, path)
    assert.deepEqual([damages(found)[0]!.from, damages(found)[0]!.to], [0, 64])
    assert.match(damages(found)[0]!.after, /block 1 at byte 4096/)
    assert.deepEqual(sequences(found), [1, 2, 3, 4])
  }
})

test('inspect: an entry of a shard log, and the chain behind it', () => {
  const { world, logs } = shardLogOf()
  const path = logs[1]!
  const whole = items(world, path)
  const second = whole.filter((item) => item.type === 'entry')[1]!
  assert.ok(second.type === 'entry')
  flip(world, path, second.position + 80)
  const found = items(world, path)
  const [damage, ...others] = damages(found)
  assert.deepEqual(others, [])
  assert.deepEqual([damage!.from, damage!.to], [second.position, second.position + second.entry.bytes.length])
  assert.match(damage!.after, new RegExp(`^entry ${second.entry.index + 1} at byte `))
  const readable = found.filter((item) => item.type === 'entry').length
  assert.equal(readable, whole.filter((item) => item.type === 'entry').length - 1)
  // The index beside it vouches for the whole file.
  assert.match(damages(items(world, path.replace('.log', '.index')))[0]!.expected, /a segment with the sum/)
})

test('inspect: a sealed segment that ends early, and one that is missing', () => {
  const { world, logs } = shardLogOf()
  const bytes = world.read(logs[1]!)
  const entries = items(world, logs[1]!).filter((item) => item.type === 'entry')
  const last = entries.at(-1)!
  assert.ok(last.type === 'entry')
  world.write(logs[1]!, bytes.subarray(0, last.position))
  const [damage] = damages(items(world, logs[1]!))
  assert.match(damage!.expected, new RegExp(`^entry ${last.entry.index} as the last one`))
  world.await<void>((done) => world.disk.remove(logs.at(-1)!, done))
  const missing = damages(items(world, '/data/checkpoint'))
  assert.match(missing[0]!.expected, /^the segment in use, \d+, of shard 16$/)
})

test('inspect: bytes that the checkpoint does not vouch for are the end, not damage', () => {
  const { world, logs } = shardLogOf()
  const path = logs.at(-1)!
  world.write(path, Buffer.concat([world.read(path), Buffer.alloc(500, 7)]))
  const found = items(world, path)
  assert.deepEqual(damages(found), [])
  assert.deepEqual([ends(found)[0]!.label, ends(found)[0]!.restBytes], ['not vouched for', 500])
})

test('inspect: checkpoint and identity, and a journal that does not reach back to the checkpoint', () => {
  const { world } = shardLogOf()
  for (const [path, at] of [
    ['/data/checkpoint', 100],
    ['/data/identity', 25],
  ] as const) {
    flip(world, path, at)
    assert.match(damages(items(world, path))[0]!.found, /^sum /)
    flip(world, path, at)
  }
  for (const name of world.list('/data/journal'))
    world.await<void>((done) => world.disk.remove(`/data/journal/${name}`, done))
  assert.match(damages(items(world, '/data'))[0]!.expected, /^a journal segment with block/)
})

test('inspect: a small file that is missing, and what follows: the node has another, or it has none', () => {
  for (const [name, follows] of [
    ['identity', /^a node does not start on this directory without it$/],
    ['checkpoint', /^a node that is alone does not start; in a cluster its shards recover/],
    ['terms', /^the node makes it anew, above all terms that it finds/],
  ] as const) {
    for (const [first, second] of [
      [name, `${name}.copy`],
      [`${name}.copy`, name],
    ] as const) {
      const { world } = journalOf(2)
      const missing = (): LogItem[] => items(world, '/data').filter((item) => item.type === 'missing')
      world.await<void>((done) => world.disk.remove(`/data/${first}`, done))
      const after = `the node writes it again from ${second}`
      assert.deepEqual(missing(), [{ type: 'missing', path: `/data/${first}`, after }])
      world.close(world.open())
      assert.deepEqual(missing(), [], 'it did')
      for (const file of [name, `${name}.copy`]) world.await<void>((done) => world.disk.remove(`/data/${file}`, done))
      const both = missing()
      assert.deepEqual(
        both.map((item) => item.type === 'missing' && item.path),
        [`/data/${name}`, `/data/${name}.copy`],
      )
      for (const item of both) assert.match(item.type === 'missing' ? item.after : '', follows)
      assert.equal(world.tryOpen() instanceof StorageError, name !== 'terms')
    }
  }
})

test('inspect: the first byte of every file in turn', () => {
  const { world } = shardLogOf()
  const paths = items(world, '/data').flatMap((item) => (item.type === 'file' ? [item.path] : []))
  for (const name of ['identity', 'identity.copy', 'checkpoint', 'checkpoint.copy', 'terms', 'terms.copy'])
    assert.ok(paths.includes(`/data/${name}`))
  for (const path of paths) {
    // The checkpoint needs none of what the journal segments before the last one hold.
    if (path.includes('/journal/') && !path.endsWith(world.list('/data/journal').sort().at(-1)!)) continue
    flip(world, path, 0)
    const found = items(world, '/data')
    let file = ''
    const damaged = new Set<string>()
    for (const item of found) {
      if (item.type === 'file') file = item.path
      if (item.type === 'damage') damaged.add(file)
    }
    // That a journal segment is not in service is damage at the place where its first block is missed.
    assert.ok(path.includes('/journal/') ? damaged.size > 0 : damaged.has(path), `${path} is called whole`)
    const small = /\/(identity|checkpoint|terms)(\.copy)?$/.test(path)
    const copy = path.endsWith('.copy') ? path.slice(6, -5) : `${path.slice(6)}.copy`
    if (small) assert.equal(damages(found)[0]!.after, `the node writes it again from ${copy}`)
    flip(world, path, 0)
  }
  assert.deepEqual(damages(items(world, '/data')), [])
})

test('inspect: the first 16 bytes of a small file are zeros, or all of it is noise', () => {
  for (const name of ['identity', 'checkpoint', 'terms', 'identity.copy', 'checkpoint.copy', 'terms.copy']) {
    const { world } = journalOf(2)
    const path = `/data/${name}`
    const bytes = world.read(path)
    for (const wrong of [Buffer.concat([Buffer.alloc(16), bytes.subarray(16)]), world.random.bytes(bytes.length)]) {
      world.write(path, wrong)
      assert.equal(damages(items(world, '/data')).length, 1, name)
    }
  }
})

test('inspect: a copy that counts is held against the files beside it', () => {
  const { world, logs } = shardLogOf()
  flip(world, '/data/checkpoint', 100)
  world.await<void>((done) => world.disk.remove(logs.at(-1)!, done))
  assert.match(damages(items(world, '/data/checkpoint.copy'))[0]!.expected, /^the segment in use, \d+, of shard 16$/)
})

test('inspect: the bound of terms, as docs/formats/terms.md has it', () => {
  const world = new World('terms')
  const terms = {
    diskIncarnation: '5a0f11111111111111111111111111c3',
    ceiling: 2048,
    unknownFrom: 0,
    resetting: false,
    journalEntered: 29,
  }
  const path = '/somewhere/terms'
  world.await<void>((done) => world.disk.makeDirectory('/somewhere', done))
  world.write(path, encodeTerms(terms))
  const found = items(world, path)
  assert.deepEqual(found[0], { type: 'file', path, kind: 'terms', bytes: 60 })
  assert.deepEqual(found[1], { type: 'header', fields: { ...terms, resetting: 0 } })
  assert.equal(ends(found)[0]!.label, 'end of the file')
  // Beside the identity of another disk it is no bound.
  const { world: other } = journalOf(2)
  other.write('/data/terms.copy', encodeTerms(terms))
  assert.match(damages(items(other, '/data'))[0]!.expected, /^disk [0-9a-f]{32}, as in the identity$/)
})

test('inspect: what was put aside is what its name says, whatever its first bytes are', () => {
  const log = '00000000000000000001.log'
  for (const [name, kind] of [
    ['16-61-7f3a91c2.log', 'shard-log'],
    ['16-61-7f3a91c2.cleaned', 'shard-log'],
    [`16-7f3a91c2/${log}`, 'shard-log'],
    ['16-7f3a91c2/00000000000000000001.index', 'shard-index'],
    [`journal-7f3a91c2/${log}`, 'journal'],
    ['journal-7f3a91c2.checkpoint.copy', 'checkpoint'],
    ['identity-7f3a91c2', 'identity'],
    ['terms.copy-7f3a91c2', 'terms'],
    ['notes-7f3a91c2', null],
  ] as const)
    assert.equal(kindOf(`/data/quarantine/${name}`, Buffer.alloc(8)), kind, name)
  const { world, logs } = shardLogOf()
  world.await<void>((done) => world.disk.makeDirectory('/data/quarantine', done))
  const path = '/data/quarantine/16-1-7f3a91c2.log'
  world.write(path, world.read(logs[0]!))
  assert.deepEqual(damages(items(world, path)), [])
  flip(world, path, 0)
  assert.deepEqual(damages(items(world, path))[0]!.from, 0)
})

test('inspect: what does not exist, and what is nothing of ours', () => {
  const { world } = journalOf(1)
  world.write('/data/notes', Buffer.from('buy milk'))
  assert.throws(() => items(world, '/nowhere'), /\/nowhere: it does not exist/)
  assert.throws(() => items(world, '/data/notes'), /\/data\/notes: neither a journal segment nor/)
  assert.equal(damages(items(world, '/data')).length, 0)
  world.await<void>((done) => world.disk.makeDirectory('/empty', done))
  assert.throws(() => items(world, '/empty'), /\/empty: no journal segment/)
})

test('inspect: a large file is read in pieces', () => {
  const world = new World('large')
  const storage = world.open({ journalSegmentBytes: 24 << 20 })
  const entries = chain(16, 24, 700_000)
  for (const entry of entries) {
    storage.append([entry], () => {})
    world.clock.settle()
  }
  world.kill()
  const { disk } = world
  let longest = 0
  const watched = new Proxy(disk, {
    get(target, name) {
      if (name !== 'open') return Reflect.get(target, name).bind(target)
      return (path: string, mode: 'read', done: (error: Error | null, file?: unknown) => void) =>
        target.open(path, mode, (error, file) => {
          const read = file?.read.bind(file)
          if (read)
            Object.assign(file!, {
              read: (into: Uint8Array, ...rest: [number, never]) => {
                longest = Math.max(longest, into.length)
                read(into, ...rest)
              },
            })
          done(error, file)
        })
    },
  })
  const tally = new Tally(() => {})
  world.await<void>((done) =>
    inspect(
      watched,
      ['/data/journal'],
      (item) => {
        tally.take(item)
        return true
      },
      (error) => done(error),
    ),
  )
  assert.equal(tally.shards.get('journal 16')!.entries, entries.length)
  assert.ok(longest > 0 && longest <= 1 << 20, `a read of ${longest} bytes`)
})

test('inspect: lengths that claim the rest of the file, at every place, do not hold it up', () => {
  const { world, path } = journalOf(1)
  const bytes = Buffer.alloc(4 << 20)
  world.read(path).copy(bytes)
  const incarnation = Buffer.alloc(8)
  for (let at = 2 * BLOCK_ALIGNMENT; at < bytes.length; at += BLOCK_ALIGNMENT)
    writeBlockHeader(bytes, at, incarnation, { sequence: 9, bodyBytes: bytes.length - at - 40, entryCount: 1 })
  world.write(path, bytes)
  const found = items(world, path)
  assert.ok(found.some((item) => item.type === 'note' && item.text.includes('not every place was tried')))
  assert.equal(ends(found).length, 1)
})
