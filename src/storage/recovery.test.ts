import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { BlockBuilder } from './block-builder.ts'
import type { ShardCheckpoint } from './checkpoint-format.ts'
import type { Entry } from './entry.ts'
import { StorageError } from './errors.ts'
import { encodeHardState } from './hard-state.ts'
import { chain, checkpointAt, World } from './harness.test.ts'
import { BLOCK_ALIGNMENT, decodeSegmentHeader, peekBlockHeader } from './journal-format.ts'
import {
  decide,
  decideStart,
  type Here,
  meets,
  type Observations,
  type Proof,
  RECOVERY_TABLE,
  START_TABLE,
  type Successor,
} from './recovery.ts'
import type { RecoveredShard } from './replay.ts'
import type { Storage } from './storage.ts'

const HERE: Here[] = ['expected', 'older', 'nothing', 'broken', 'unexpected']
const SUCCESSOR: Successor[] = ['none', 'continues', 'gap']
const PROOFS: Proof[] = ['none', 'checkpoint', 'entered']

test('recovery: every combination of observations meets exactly one row', () => {
  const met = new Set<string>()
  for (const here of HERE) {
    for (const successor of SUCCESSOR) {
      for (const beyond of [false, true]) {
        for (const proved of PROOFS) {
          const seen: Observations = { here, successor, beyond, proved }
          const rows = RECOVERY_TABLE.filter((row) => meets(row, seen))
          assert.equal(rows.length, 1, `${JSON.stringify(seen)}: ${rows.map(({ label }) => label).join(', ')}`)
          met.add(rows[0]!.label)
          // What the table must never do, whatever its rows: drop something that was promised.
          const { verdict } = decide(seen)
          const promised = proved !== 'none' || beyond || successor === 'gap'
          if (promised) assert.ok(verdict !== 'cut' && verdict !== 'end', JSON.stringify(seen))
          if (verdict === 'take') assert.equal(here, 'expected')
        }
      }
    }
  }
  assert.equal(met.size, RECOVERY_TABLE.length, 'a row that nothing meets')
})

/** A journal of three segments, its files, and what each number of blocks recovers. */
function journalOfThree({ rests = false } = {}): {
  files: Map<string, Buffer>
  states: string[]
  lastBlock: { file: string; from: number; to: number }
} {
  const world = new World('three')
  const storage = world.open({ journalSegmentBytes: 32 << 10 })
  const states = [describe(new Map())]
  const log = chain(16, 16, 3000)
  log.forEach((entry, i) => {
    storage.append(i === 0 ? [encodeHardState(16, 1, 3), entry] : [entry], () => {})
    world.clock.settle()
    const entries = log.slice(0, i + 1)
    states.push(describe(new Map([[16, { term: 1, vote: 3, checkpoint: null, entries, recovering: false }]])))
  })
  for (let tick = 0; rests && tick < 3; tick++) {
    storage.proveJournalEnd()
    world.clock.settle()
  }
  const files = new Map<string, Buffer>([
    ['/data/identity', world.read('/data/identity')],
    ['/data/checkpoint', world.read('/data/checkpoint')],
  ])
  let lastBlock = { file: '', from: 0, to: 0, sequence: 0 }
  for (const name of world.list('/data/journal')) {
    const file = `/data/journal/${name}`
    const bytes = world.read(file)
    files.set(file, bytes)
    for (let at = 0; at < bytes.length; at += BLOCK_ALIGNMENT) {
      const block = peekBlockHeader(bytes, at)
      if (block === null || block.sequence <= lastBlock.sequence) continue
      lastBlock = { file, from: at, to: at + 40 + block.bodyBytes, sequence: block.sequence }
    }
  }
  return { files, states, lastBlock }
}

function describe(recovered: ReadonlyMap<number, RecoveredShard>): string {
  return [...recovered]
    .map(([shard, { term, vote, entries }]) => `${shard}/${term}/${vote}/${entries.map(({ crc }) => crc)}`)
    .join(' ')
}

function openWith(files: ReadonlyMap<string, Buffer>): string | StorageError {
  const world = new World('copy')
  world.await<void>((done) => world.disk.makeDirectory('/data/journal', done))
  world.await<void>((done) => world.disk.makeDirectory('/data/shards/16', done))
  for (const [path, bytes] of files) world.write(path, bytes)
  const outcome = world.tryOpen({ journalSegmentBytes: 32 << 10 })
  if (outcome instanceof StorageError) return outcome
  if (outcome instanceof Error) throw outcome
  return describe(outcome.recovered)
}

test('recovery: a flipped byte is refused, or cuts the last block, or lay where nothing is', () => {
  const { files, states, lastBlock } = journalOfThree()
  const whole = states.at(-1)
  assert.equal(openWith(files), whole)
  const verdicts = { refused: 0, cut: 0, nothing: 0 }
  for (const [path, bytes] of files) {
    for (let at = 0; at < bytes.length; at += 1 + ((at * 7) % 911)) {
      const flipped = new Map(files)
      const copy = Buffer.from(bytes)
      copy[at]! ^= 1 << (at % 8)
      flipped.set(path, copy)
      const outcome = openWith(flipped)
      const inLast = path === lastBlock.file && at >= lastBlock.from && at < lastBlock.to
      const place = `${path} at ${at}`
      if (outcome instanceof StorageError) {
        assert.ok(!inLast, `${place}: ${outcome.message}`)
        assert.match(outcome.message, /\/data\//, 'the message names the file')
        verdicts.refused++
      } else if (outcome === whole) verdicts.nothing++
      else {
        assert.equal(outcome, states.at(-2), place)
        assert.ok(inLast, `${place} was cut`)
        verdicts.cut++
      }
    }
  }
  assert.ok(verdicts.refused > 50 && verdicts.cut > 5 && verdicts.nothing > 10, JSON.stringify(verdicts))
})

test('recovery: once the journal has come to rest, nothing that was promised can be taken for a torn write', () => {
  const { files, states } = journalOfThree({ rests: true })
  const whole = states.at(-1)
  assert.equal(openWith(files), whole)
  let refused = 0
  for (const [path, bytes] of files) {
    for (let at = 0; at < bytes.length; at += 1 + ((at * 7) % 911)) {
      const copy = Buffer.from(bytes)
      copy[at]! ^= 1 << (at % 8)
      const outcome = openWith(new Map(files).set(path, copy))
      if (outcome instanceof StorageError) refused++
      else assert.equal(outcome, whole, `${path} at ${at} was cut`)
    }
  }
  assert.ok(refused > 50, `${refused}`)
})

test('recovery: a journal cut short anywhere keeps a prefix or is refused, never more', () => {
  const { files, states, lastBlock } = journalOfThree()
  const bytes = files.get(lastBlock.file)!
  for (const length of [0, 63, 4096, lastBlock.from, lastBlock.from + 39, lastBlock.to - 1, lastBlock.to]) {
    const outcome = openWith(new Map(files).set(lastBlock.file, bytes.subarray(0, length)))
    // The last file alone gives no evidence of what it lost; a checkpoint would.
    assert.ok(typeof outcome === 'string' && states.includes(outcome), `${length}: ${outcome}`)
  }
})

/** After each append a copy: with every entry acknowledged, and all background work done. */
function* directoriesOverTime(): Generator<{ world: World; current: string }> {
  for (const checkpoints of [true, false]) yield* directoryOverTime(checkpoints)
}

function* directoryOverTime(checkpoints: boolean): Generator<{ world: World; current: string }> {
  const world = new World('entered')
  const options = { journalSegmentBytes: 32 << 10 }
  const storage = world.open(options)
  const log = storage.openShardLog(16)
  const entries = chain(16, 24, 3000)
  let covered = 0
  const capture = (): ShardCheckpoint => checkpointAt(16, entries, covered)
  if (checkpoints) storage.setCheckpointSource({ activeShards: () => [16], capture })
  for (const entry of entries) {
    storage.append([entry], () => {})
    log.append(entry)
    world.clock.settle()
    covered = entry.index
    const names = world.list('/data/journal').map((name) => `/data/journal/${name}`)
    const first = (path: string): number => {
      const bytes = world.read(path)
      const header = decodeSegmentHeader(bytes)
      return typeof header === 'object' && peekBlockHeader(bytes, BLOCK_ALIGNMENT) !== null ? header.firstSequence : 0
    }
    yield { world, current: names.sort((a, b) => first(a) - first(b)).at(-1)! }
  }
}

test('recovery: the segment in service is gone, or does not begin: refused, however little is in it and wherever the checkpoint is', () => {
  const refused = new Map<string, number>()
  for (const { world, current } of directoriesOverTime()) {
    const files = new Map(world.disk.platter.files('/data').map(({ path }) => [path, world.disk.platter.read(path)]))
    const bytes = files.get(current)!
    const flipped = (at: number): Buffer => {
      const copy = Buffer.from(bytes)
      copy[at]! ^= 4
      return copy
    }
    for (const [harm, left] of [
      ['gone', null],
      ['empty', Buffer.alloc(0)],
      ['header', flipped(20)],
      ['first block', flipped(BLOCK_ALIGNMENT + 100)],
      ['zeros', Buffer.concat([Buffer.alloc(2 * BLOCK_ALIGNMENT), bytes.subarray(2 * BLOCK_ALIGNMENT)])],
    ] as const) {
      const damaged = new Map(files)
      if (left === null) damaged.delete(current)
      else damaged.set(current, left)
      const outcome = openWith(damaged)
      assert.ok(outcome instanceof StorageError && outcome.code === 'JOURNAL_DAMAGED', `${current} ${harm}: ${outcome}`)
      const { label } = outcome.details as { label: string }
      refused.set(label, (refused.get(label) ?? 0) + 1)
    }
  }
  assert.ok((refused.get('journal ends before the segment that was in service') ?? 0) > 0, JSON.stringify([...refused]))
})

test('recovery: the segment in service begins with a copy of the block before it, and is missed once it holds more', () => {
  for (const more of [false, true]) {
    const world = new World('copied')
    const append = (storage: Storage, entries: readonly Entry[]): void => {
      for (const entry of entries) storage.append([entry], () => {})
      world.clock.settle()
    }
    append(world.open(), chain(16, 3))
    world.kill()
    const storage = world.open()
    if (more) append(storage, [encodeHardState(16, 2, 1)])
    world.clock.settle()
    world.kill()
    const names = world.list('/data/journal')
    const inService = names.filter(
      (name) => typeof decodeSegmentHeader(world.read(`/data/journal/${name}`)) === 'object',
    )
    assert.equal(inService.length, 2)
    world.disk.platter.remove(`/data/journal/${inService[1]}`)
    const again = world.tryOpen()
    if (more) assert.ok(again instanceof StorageError && again.code === 'JOURNAL_DAMAGED', `${again}`)
    else assert.equal((again as Storage).recovered.get(16)!.entries.length, 3)
  }
})

test('recovery: a record that holds a journal proves nothing, wherever an old file still has it', () => {
  // In a file that another incarnation has used before: what it held there is no block of this journal.
  const foreign = new BlockBuilder('f00dfeedf00dfeed')
  for (const last of ['ours', 'theirs'] as const) {
    const world = new World('payload')
    const storage = world.open()
    storage.append(chain(16, 3), () => {})
    world.clock.settle()
    world.kill()
    const inService = world
      .list('/data/journal')
      .map((name) => `/data/journal/${name}`)
      .filter((path) => typeof decodeSegmentHeader(world.read(path)) === 'object')
      .at(-1)!
    const { incarnation } = decodeSegmentHeader(world.read(inService)) as { incarnation: string }
    const builder = last === 'ours' ? new BlockBuilder(incarnation) : foreign
    const block = Buffer.concat(builder.build(chain(16, 1), chain(16, 1)[0]!.bytes.length, 2 ** 40))
    world.disk.platter.overwrite(inService, 8 * BLOCK_ALIGNMENT, block)
    const again = world.tryOpen()
    if (last === 'ours') assert.ok(again instanceof StorageError && again.code === 'JOURNAL_DAMAGED', `${again}`)
    else assert.equal((again as Storage).recovered.get(16)!.entries.length, 3)
  }
})

test('recovery: a segment that a power loss kept from coming into service is none that is missed', () => {
  let ended = 0
  for (let turns = 0; turns < 150; turns++) {
    const world = new World(`entering ${turns}`)
    const storage = world.open({ journalSegmentBytes: 32 << 10 })
    let acknowledged = 0
    const left = chain(16, 12, 3000)
    for (let turn = 0; turn < turns; turn++) {
      if (storage.journalQueuedBytes === 0 && left.length > 0) storage.append([left.shift()!], () => acknowledged++)
      world.clock.step()
    }
    const promised = acknowledged
    world.powerLoss()
    const recovered = world.open({ journalSegmentBytes: 32 << 10 }).recovered.get(16)?.entries.length ?? 0
    assert.ok(recovered >= promised, `${turns}: ${recovered} of ${promised}`)
    if (recovered < 12) ended++
  }
  assert.ok(ended > 10, `${ended}`)
})

test('recovery: every directory that a start can see meets exactly one row of the table of starts', () => {
  const met = new Set<string>()
  let combinations = 0
  for (const checkpoint of ['whole', 'lost'] as const)
    for (const journal of ['whole', 'damaged'] as const)
      for (const terms of ['known', 'lost'] as const)
        for (const resetting of [false, true])
          for (const peers of [false, true]) {
            combinations++
            const row = decideStart({ checkpoint, journal, terms, resetting, peers })
            // What is lost cannot say that a reset was begun.
            assert.equal(row === null, terms === 'lost' && resetting)
            if (row === null) continue
            met.add(row.label)
            const isWhole = checkpoint === 'whole' && journal === 'whole' && !resetting
            assert.equal(row.verdict === 'start', isWhole, row.label)
            if (row.verdict === 'reset') assert.ok(peers && terms === 'known', row.label)
          }
  assert.equal(combinations, 32)
  assert.deepEqual([...met].sort(), START_TABLE.map(({ label }) => label).sort())
})

test('recovery: missing files are refused with their names', () => {
  const { files } = journalOfThree()
  const journal = [...files.keys()].filter((path) => path.includes('journal')).sort()
  const without = (path: string): string | StorageError =>
    openWith(new Map([...files].filter(([other]) => other !== path)))
  for (const [path, code] of [
    ['/data/identity', 'IDENTITY_MISSING'],
    ['/data/checkpoint', 'CHECKPOINT_MISSING'],
    [journal[0]!, 'JOURNAL_DAMAGED'],
    [journal[1]!, 'JOURNAL_DAMAGED'],
  ] as const) {
    const outcome = without(path)
    assert.ok(outcome instanceof StorageError && outcome.code === code, `${path}: ${outcome}`)
    assert.match(outcome.message, /keep this directory aside.*tidemark backup.*tidemark restore/)
  }
})

test('recovery: what the checkpoint knows to be synced may not be missing at the end', () => {
  const world = new World()
  const storage = world.open()
  storage.append(chain(16, 3), () => {})
  world.clock.settle()
  storage.append([encodeHardState(17, 4, 1)], () => {})
  world.clock.settle()
  storage.checkpoint()
  world.clock.settle()
  const name = `/data/journal/${world.list('/data/journal')[0]}`
  const bytes = world.read(name)
  world.kill()
  const second = [...Array(bytes.length / BLOCK_ALIGNMENT).keys()].filter(
    (page) => peekBlockHeader(bytes, page * BLOCK_ALIGNMENT) !== null,
  )[1]!
  bytes[second * BLOCK_ALIGNMENT + 50]! ^= 1
  world.write(name, bytes)
  const outcome = world.tryOpen()
  assert.ok(outcome instanceof StorageError && outcome.code === 'JOURNAL_DAMAGED', `${outcome}`)
  assert.match(outcome.message, /shorter than the checkpoint knows/)
})

test('recovery: a block that reads well after its sync failed is written again before it is trusted', () => {
  const world = new World('fsyncgate')
  const storage = world.open()
  const log = chain(16, 2)
  let acknowledged = 0
  storage.append([log[0]!], () => acknowledged++)
  world.clock.settle()
  world.disk.fault = (operation, path) => (operation === 'datasync' && path.includes('journal') ? 'EIO' : null)
  storage.append([log[1]!], () => acknowledged++)
  world.clock.settle()
  assert.equal(acknowledged, 1)
  assert.equal(world.fatals[0]?.code, 'JOURNAL_FAILED')
  world.kill()
  // The page cache shows the block; the disk does not have it, and no sync of ours will bring the old page there.
  const again = world.open()
  const recovered = again.recovered.get(16)!.entries.length
  world.powerLoss()
  assert.equal(world.open().recovered.get(16)!.entries.length, recovered)
})

test('recovery: opened again and again without a write, the journal does not grow', () => {
  const world = new World()
  const storage = world.open()
  storage.append(chain(16, 3), () => {})
  world.clock.settle()
  for (let i = 0; i < 10; i++) {
    world.powerLoss()
    assert.equal(world.open().recovered.get(16)!.entries.length, 3)
    world.clock.settle()
  }
  assert.ok(world.list('/data/journal').length <= 4, `${world.list('/data/journal')}`)
})
