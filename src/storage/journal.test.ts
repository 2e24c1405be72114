import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Background } from './background.ts'
import { BlockBuilder } from './block-builder.ts'
import type { Entry } from './entry.ts'
import { chain, follow, World } from './harness.test.ts'
import { BLOCK_ALIGNMENT, BLOCK_HEADER_BYTES, blockVerifies, peekBlockHeader } from './journal-format.ts'
import { decodeBody } from './journal-scan.ts'
import { SegmentSupply } from './segment-supply.ts'

test('journal: what arrives during a sync shares the next block', () => {
  const world = new World()
  const storage = world.open()
  const entries = chain(16, 21)
  const order: number[] = []
  storage.append([entries[0]!], () => order.push(0))
  for (let i = 1; i <= 20; i++) storage.append([entries[i]!], () => order.push(i))
  world.clock.settle()
  assert.deepEqual(order, [...Array(21).keys()])
  const synced = world.events.filter((event) => event.type === 'journal-synced')
  assert.deepEqual(
    synced.map((event) => event.entries),
    [1, 20],
  )
  assert.deepEqual(
    synced.map((event) => event.sequence),
    [1, 2],
  )
})

test('journal: who comes to an idle journal waits for one write and one sync, and for nothing else', () => {
  const world = new World()
  const storage = world.open()
  const calls: string[] = []
  world.disk.fault = (operation, path) => {
    if (path.includes('/journal/')) calls.push(operation)
    return null
  }
  for (const entry of chain(16, 5)) {
    calls.length = 0
    let told = false
    storage.append([entry], () => {
      told = true
    })
    // A call of this disk takes a turn: none is spent on waiting for company.
    let turns = 0
    while (!told && world.clock.step()) turns++
    assert.deepEqual([turns, ...calls], [2, 'write', 'datasync'])
    world.clock.settle()
  }
})

test('journal: at rest it writes one empty block behind its last entries, once, and none while there is work', () => {
  const world = new World()
  const storage = world.open()
  const synced = (): number[] =>
    world.events.flatMap((event) => (event.type === 'journal-synced' ? [event.entries] : []))
  const tick = (): void => {
    storage.proveJournalEnd()
    world.clock.settle()
  }
  tick()
  tick()
  assert.deepEqual(synced(), [], 'nothing to prove')
  for (const entry of chain(16, 3)) {
    storage.append([entry], () => {})
    storage.proveJournalEnd()
    world.clock.settle()
  }
  assert.deepEqual(synced(), [1, 1, 1])
  tick()
  assert.deepEqual(synced(), [1, 1, 1], 'written to since the last time')
  for (let i = 0; i < 5; i++) tick()
  assert.deepEqual(synced(), [1, 1, 1, 0])
})

test('journal: what its callers append when they are told shares one block', () => {
  const world = new World()
  const storage = world.open()
  const entries = chain(16, 40)
  storage.append([entries[0]!], () => {
    for (const entry of entries.slice(1)) storage.append([entry], () => {})
  })
  world.clock.settle()
  const synced = world.events.filter((event) => event.type === 'journal-synced')
  assert.deepEqual(
    synced.map((event) => event.entries),
    [1, 39],
  )
})

test('journal: nobody is told before the sync, and nothing is synced twice at a time', () => {
  const world = new World()
  const storage = world.open()
  let syncs = 0
  world.disk.fault = (operation, path) => {
    if (operation === 'datasync' && path.includes('journal')) syncs++
    return null
  }
  for (const [i, entry] of chain(16, 3).entries()) {
    storage.append([entry], () => assert.ok(syncs > 0, `call ${i} before a sync`))
  }
  world.clock.settle()
  assert.equal(syncs, 2)
})

test('journal: segments turn over, are freed by checkpoints and used again', () => {
  const world = new World()
  const storage = world.open()
  let last = 0
  storage.setCheckpointSource({
    activeShards: () => [16],
    capture: () => ({ ...EMPTY, shard: 16, term: 1, vote: 0, index: last, crc: log[last - 1]?.crc ?? 0 }),
  })
  const log = chain(16, 300, 1000)
  const shard = storage.openShardLog(16)
  for (const entry of log) {
    storage.append([entry], () => {
      shard.append(entry)
      last = entry.index
    })
    world.clock.settle()
  }
  const prepared = world.events.filter((event) => event.type === 'segment-prepared')
  assert.ok(prepared.length > 10 && prepared.at(-1)!.recycled, 'later segments are recycled ones')
  assert.ok(world.list('/data/journal').length <= 5, `${world.list('/data/journal')}`)
  world.close(storage)
  const again = world.open()
  assert.equal(again.recovered.get(16)!.checkpoint!.index, 300)
  assert.deepEqual(again.recovered.get(16)!.entries, [])
})

const EMPTY = {
  entryTerm: 1,
  nextOffset: 0,
  stamp: 0,
  startIndex: 1,
  startOffset: 0,
  epochs: [],
  configuration: Buffer.from('c'),
  state: Buffer.alloc(0),
}

test('journal: an entry larger than a segment, and a block of thousands, survive', () => {
  const world = new World()
  const storage = world.open()
  const large = follow(16, null, 1, Buffer.alloc(300_000, 7))
  const many = chain(17, 5000, 40)
  storage.append([large], () => {})
  storage.append(many, () => {})
  world.clock.settle()
  world.powerLoss()
  let again = world.open()
  assert.equal(again.recovered.get(16)!.entries[0]!.crc, large.crc)
  assert.equal(again.recovered.get(17)!.entries.length, 5000)
  again.append([follow(16, large, 1, Buffer.alloc(10))], () => {})
  world.clock.settle()
  world.powerLoss()
  again = world.open()
  assert.equal(again.recovered.get(16)!.entries.length, 2)
})

test('journal: a sync that fails is fatal, and from then on nobody is told anything', () => {
  const world = new World()
  const storage = world.open()
  world.disk.fault = (operation, path) => (operation === 'datasync' && path.includes('journal') ? 'EIO' : null)
  let told = 0
  const entries = chain(16, 3)
  storage.append([entries[0]!], () => told++)
  storage.append([entries[1]!], () => told++)
  world.clock.settle()
  world.disk.fault = null
  storage.append([entries[2]!], () => told++)
  world.clock.settle()
  assert.equal(told, 0)
  assert.deepEqual(
    world.fatals.map(({ code }) => code),
    ['JOURNAL_FAILED'],
  )
  world.close(storage)
})

test('journal: a sync of its folder that fails is fatal, though nobody waits for it', () => {
  const world = new World()
  const storage = world.open({ journalSegmentBytes: 64 << 10 })
  // Once: the system says it to one of those who ask.
  let asked = 0
  world.disk.fault = (operation, path) =>
    operation === 'syncDirectory' && path === '/data/journal' && asked++ === 0 ? 'EIO' : null
  for (const entry of chain(16, 100, 1000)) {
    storage.append([entry], () => {})
    world.clock.settle()
  }
  const said = world.fatals.map(({ code, message }) => `${code}: ${message}`)
  assert.equal(said.length, 1)
  assert.match(said[0]!, /^JOURNAL_FAILED: .*could not sync its folder/)
})

test('journal: a file that is used again and whose new name may be lost is never handed out', () => {
  const world = new World()
  world.close(world.open())
  const { disk, clock } = world
  const spare = { path: '/data/journal/spare', bytes: 64 << 10 }
  world.write(spare.path, Buffer.alloc(spare.bytes))
  const supply = new SegmentSupply(
    { directory: '/data', segmentBytes: spare.bytes },
    { disk, clock, background: new Background(), trace: () => {} },
  )
  const failures: string[] = []
  supply.onFailed = ({ code }) => void failures.push(code)
  assert.ok(supply.offer(spare))
  disk.fault = (operation) => (operation === 'syncDirectory' ? 'EIO' : null)
  supply.prepare(9, spare.bytes)
  clock.settle()
  assert.deepEqual([failures, supply.take()], [['JOURNAL_FAILED'], null])
})

test('journal: on a full disk what was acknowledged stays, the rest is fatal by name', () => {
  const world = new World('full', { capacityBytes: 400_000 })
  const storage = world.open()
  const entries = chain(16, 200, 5000)
  let told = 0
  for (const entry of entries) {
    storage.append([entry], () => told++)
    world.clock.settle()
    if (world.fatals.length > 0) break
  }
  assert.equal(world.fatals[0]?.code, 'JOURNAL_FAILED')
  assert.match(world.fatals[0]!.message, /disk is full/)
  assert.ok(told > 10)
  world.disk.capacityBytes = 4_000_000
  world.powerLoss()
  const recovered = world.open().recovered.get(16)!.entries
  assert.ok(recovered.length >= told && recovered.length <= told + 1)
})

test('block: small entries are copied, large ones are not, and the order holds', () => {
  const builder = new BlockBuilder('0102030405060708')
  const sizes = [10, 20, 9000, 30, 9001, 9002, 40]
  const entries: Entry[] = sizes.map((size, i) => follow(i + 1, null, 1, Buffer.alloc(size, i)))
  for (const chosen of [entries, entries.slice(2, 3), entries.slice(0, 2), entries.slice(4, 6), []]) {
    const bodyBytes = chosen.reduce((sum, { bytes }) => sum + bytes.length, 0)
    const pieces = builder.build(chosen, bodyBytes, 9)
    const block = Buffer.concat(pieces)
    assert.equal(block.length % BLOCK_ALIGNMENT, 0)
    const header = peekBlockHeader(block, 0)!
    assert.deepEqual([header.sequence, header.entryCount, header.bodyBytes], [9, chosen.length, bodyBytes])
    assert.ok(blockVerifies(block, 0, bodyBytes))
    const body = block.subarray(BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + bodyBytes)
    assert.deepEqual(
      decodeBody(body, chosen.length)!.map(({ crc }) => crc),
      chosen.map(({ crc }) => crc),
    )
    for (const { bytes } of chosen)
      if (bytes.length > 8192) assert.ok(pieces.includes(bytes), 'a large entry was copied')
  }
})

test('background: two at a time, reads before writes', () => {
  const background = new Background()
  const started: string[] = []
  const finish: (() => void)[] = []
  const operation = (name: string) => (finished: () => void) => {
    started.push(name)
    finish.push(finished)
  }
  for (const name of ['w1', 'w2', 'w3']) background.write(operation(name))
  background.read(operation('r1'))
  assert.deepEqual(started, ['w1', 'w2'])
  assert.equal(background.queued, 2)
  finish[0]!()
  assert.deepEqual(started, ['w1', 'w2', 'r1'])
  finish[1]!()
  finish[2]!()
  assert.deepEqual(started, ['w1', 'w2', 'r1', 'w3'])
  assert.equal(background.inFlight, 1)
})
