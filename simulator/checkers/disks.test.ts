/** Checkers that look at files: each rule kept and broken, on a disk in memory. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Disk, DiskFile } from '../../src/platform/index.ts'
import { MemoryDisk } from '../../src/platform/memory/index.ts'
import { encodeBatch } from '../../src/records/index.ts'
import { BlockBuilder } from '../../src/storage/block-builder.ts'
import type { Checkpoint } from '../../src/storage/checkpoint-format.ts'
import { type Entry, EntryKind, encodeEntry, Storage } from '../../src/storage/index.ts'
import { encodeSegmentHeader } from '../../src/storage/journal-format.ts'
import { openStorage, TurnClock } from '../disk/directory-content.ts'
import { SAMPLE_OPTIONS } from '../disk/sample-directory.ts'
import type { Truth } from '../observer.ts'
import type { DurableEntry } from '../shadow-disk.ts'
import type { Violation } from '../violation.ts'
import { Bounds } from './bounds.ts'
import { Deletions } from './deletions.ts'
import { EveryValue } from './every-value.ts'
import { FileDiscipline } from './file-discipline.ts'
import { OneHistory } from './one-history.ts'
import { rawRecords, readRawLogs } from './raw-log.ts'
import { compareDisks } from './replicas-identical.ts'

const SHARD = 16
const ONE = Buffer.from('x')

/** A disk, somebody who watches it, and what was found wrong. */
class Bench {
  readonly clock = new TurnClock()
  readonly wrong: string[] = []
  readonly violated = (violation: Violation): void => {
    this.wrong.push(violation.message)
  }
  readonly memory = new MemoryDisk({}, { clock: this.clock })
  disk: Disk = this.memory

  /** Everything under way comes to its end. */
  settle(): void {
    this.clock.settle()
  }

  directory(path: string): void {
    this.disk.makeDirectory(path, () => {})
    this.settle()
  }

  open(path: string): DiskFile {
    let opened: DiskFile | undefined
    this.disk.open(path, 'create', (_error, file) => {
      opened = file
    })
    this.settle()
    assert.ok(opened)
    return opened
  }
}

const journaled: NodeEvent = {
  layer: 'replication',
  event: { type: 'journaled', shard: SHARD, term: 1, index: 3 },
}

function filesBench(): { bench: Bench; checker: FileDiscipline } {
  const bench = new Bench()
  const checker = new FileDiscipline(bench.violated)
  bench.disk = checker.watchDisk(1, bench.memory)
  bench.directory('/t/journal')
  return { bench, checker }
}

const none = (): void => {}

const segmentPath = (number: number): string => `/t/journal/${`${number}`.padStart(20, '0')}.log`

function segmentBytes(number: number, first: number, last: number): Buffer[] {
  const incarnation = '00'.repeat(8)
  const diskIncarnation = '00'.repeat(16)
  const builder = new BlockBuilder(incarnation)
  const pieces = [encodeSegmentHeader({ diskIncarnation, incarnation, number, firstSequence: first })]
  for (let sequence = first; sequence <= last; sequence++)
    pieces.push(Buffer.concat(builder.build([], 0, sequence).map((piece) => Buffer.from(piece))))
  return pieces
}

/** Numbered from 1 on, each in service and synced, with these blocks. */
function segments(bench: Bench, ...blocks: readonly (readonly [first: number, last: number])[]): void {
  for (const [i, [first, last]] of blocks.entries()) {
    const file = bench.open(segmentPath(i + 1))
    file.write(segmentBytes(i + 1, first, last), 0, none)
    bench.settle()
    file.datasync(none)
    bench.settle()
  }
}

function checkpointFrom(journalFrom: number): Checkpoint {
  const nothing = { shards: new Map(), removed: new Map() }
  return { diskIncarnation: '', journalFrom, journalThrough: journalFrom, highestStamp: 0, ...nothing }
}

function replaceCheckpoint(bench: Bench): void {
  bench.open('/t/checkpoint.tmp')
  bench.disk.rename('/t/checkpoint.tmp', '/t/checkpoint', none)
  bench.settle()
}

test('files: by the rules', () => {
  const { bench, checker } = filesBench()
  const segment = bench.open('/t/journal/00000000000000000001.log')
  segment.write([Buffer.alloc(100)], 0, none)
  segment.write([ONE], 100, none)
  bench.settle()
  segment.datasync(none)
  bench.settle()
  // Prepared, and not in service: nothing rests on its name.
  checker.node(1, journaled)
  segment.write([Buffer.from('TIDEJRNL and so on')], 0, none)
  bench.settle()
  bench.disk.syncDirectory('/t/journal', none)
  segment.datasync(none)
  bench.settle()
  checker.node(1, journaled)
  const checkpoint = bench.open('/t/checkpoint.tmp')
  checkpoint.write([ONE], 0, none)
  bench.settle()
  checkpoint.datasync(none)
  bench.settle()
  bench.disk.rename('/t/checkpoint.tmp', '/t/checkpoint', none)
  bench.settle()
  bench.disk.syncDirectory('/t', none)
  bench.settle()
  bench.disk.remove('/t/journal/00000000000000000001.log', none)
  bench.settle()
  assert.deepEqual(bench.wrong, [])
})

test('files: every rule broken', () => {
  const broken: Record<string, (bench: Bench, checker: FileDiscipline) => void> = {
    'while a write there is under way': (bench) => {
      const file = bench.open('/t/a')
      file.write([Buffer.alloc(10)], 0, none)
      file.write([ONE], 9, none)
    },
    'while it is written there': (bench) => {
      const file = bench.open('/t/a')
      file.write([Buffer.alloc(10)], 0, none)
      file.read(Buffer.alloc(4), 8, none)
    },
    'while it is read there': (bench) => {
      const file = bench.open('/t/a')
      file.read(Buffer.alloc(4), 0, none)
      file.write([ONE], 1, none)
    },
    'while it is written above': (bench) => {
      const file = bench.open('/t/a')
      file.write([Buffer.alloc(10)], 0, none)
      file.truncate(5, none)
    },
    'before its contents are synced': (bench) => {
      bench.open('/t/a.tmp').write([ONE], 0, none)
      bench.settle()
      bench.disk.rename('/t/a.tmp', '/t/a', none)
    },
    'removes .*1.log, which alone holds blocks 3 to 4': (bench, checker) => {
      segments(bench, [1, 4], [5, 6])
      checker.checkpointed(1, checkpointFrom(3))
      replaceCheckpoint(bench)
      bench.disk.remove(segmentPath(1), none)
    },
    'gives another name to .*1.log, which alone holds blocks 4 to 4': (bench, checker) => {
      segments(bench, [1, 4], [5, 6])
      checker.checkpointed(1, checkpointFrom(4))
      bench.disk.rename(segmentPath(1), segmentPath(3), none)
    },
    'removes .*1.log, which alone holds blocks 4 to 5': (bench, checker) => {
      segments(bench, [4, 5])
      const unsynced = bench.open(segmentPath(2))
      unsynced.write(segmentBytes(2, 5, 5), 0, none)
      bench.settle()
      checker.checkpointed(1, checkpointFrom(1))
      bench.disk.remove(segmentPath(1), none)
    },
  }
  for (const [what, act] of Object.entries(broken)) {
    const { bench, checker } = filesBench()
    act(bench, checker)
    bench.settle()
    assert.equal(bench.wrong.length, 1, `${what}: ${bench.wrong}`)
    assert.match(bench.wrong[0]!, new RegExp(what))
  }
})

test('files: a segment may go when no checkpoint that a power loss can leave needs it', () => {
  const { bench, checker } = filesBench()
  segments(bench, [1, 4], [4, 6], [7, 9])
  // Superseded: what it holds above was written again.
  checker.checkpointed(1, checkpointFrom(4))
  bench.disk.remove(segmentPath(1), none)
  bench.settle()
  checker.checkpointed(1, checkpointFrom(7))
  // A later checkpoint has taken over the name, and it is not synced: what the one before it has freed is free.
  replaceCheckpoint(bench)
  bench.disk.rename(segmentPath(2), segmentPath(4), none)
  bench.settle()
  assert.deepEqual(bench.wrong, [])
  bench.disk.remove(segmentPath(3), none)
  assert.match(bench.wrong.pop()!, /holds blocks 7 to 9/)
})

test('files: what an earlier process left is known by reading it', () => {
  const { bench } = filesBench()
  segments(bench, [1, 4], [5, 6])
  const checker = new FileDiscipline(bench.violated)
  bench.disk = checker.watchDisk(1, bench.memory)
  checker.checkpointed(1, checkpointFrom(5))
  for (const number of [1, 2]) bench.open(segmentPath(number)).read(Buffer.alloc(1 << 16), 0, none)
  bench.settle()
  bench.disk.remove(segmentPath(1), none)
  bench.settle()
  assert.deepEqual(bench.wrong, [])
  bench.disk.remove(segmentPath(2), none)
  assert.match(bench.wrong.pop()!, /holds blocks 5 to 6/)
})

test('files: nothing is journaled in a segment whose name may be lost', () => {
  const { bench, checker } = filesBench()
  const segment = bench.open('/t/journal/00000000000000000001.log')
  segment.write([Buffer.from('TIDEJRNL and so on')], 0, none)
  bench.settle()
  checker.node(1, journaled)
  segment.datasync(none)
  bench.settle()
  assert.throws(() => checker.node(1, journaled), /is not synced/)
  bench.disk.syncDirectory('/t/journal', none)
  bench.settle()
  checker.node(1, journaled)
})

test('bounds', () => {
  const bench = new Bench()
  const checker = new Bounds({ openFiles: 2, operations: 3 }, bench.violated)
  bench.disk = new FileDiscipline(bench.violated, checker).watchDisk(1, bench.memory)
  bench.directory('/t')
  const [a, b] = [bench.open('/t/a'), bench.open('/t/b')]
  for (const at of [0, 10, 20]) a.write([ONE], at, none)
  bench.settle()
  a.close(none)
  bench.settle()
  const c = bench.open('/t/c')
  assert.deepEqual(bench.wrong, [])
  bench.open('/t/d')
  assert.match(bench.wrong.pop()!, /openFiles 3/)
  for (const file of [b, b, c, c]) file.datasync(none)
  assert.match(bench.wrong.pop()!, /operations 4/)
})

class Disks implements Truth {
  readonly nodes = [1, 2, 3]
  readonly held = new Map<string, DurableEntry>()
  now(): number {
    return 0
  }
  quorumOf(): number {
    return 2
  }
  durableEntry(node: number, shard: number, index: number): DurableEntry | undefined {
    return this.held.get(`${node}/${shard}/${index}`)
  }
  replacedEntry(): undefined {}
  durableLastIndex(): number {
    return 0
  }
}

/** A history whose entries two disks hold. */
function historyOf(entries: readonly { index: number; term: number; crc: number; offset: number }[]): {
  truth: Disks
  history: OneHistory
} {
  const truth = new Disks()
  const history = new OneHistory(truth)
  for (const { index, term, crc, offset } of entries) {
    for (const node of [1, 2]) truth.held.set(`${node}/${SHARD}/${index}`, { term, crc })
    history.node(1, {
      layer: 'replication',
      event: { type: 'committed', shard: SHARD, term, index, offset, entries: 1 },
    })
  }
  return { truth, history }
}

const vouchedUpTo = (firstIndex: number, lastIndex: number, startIndex = 1) => {
  const log = { firstIndex, lastIndex }
  return { shards: new Map([[SHARD, { log, state: { startIndex } }]]) } as never
}

test('deletions: only what a committed cut lets go, or what was never vouched for', () => {
  const { truth, history } = historyOf([1, 2, 3].map((index) => ({ index, term: 1, crc: index, offset: 0 })))
  const bench = new Bench()
  const checker = new Deletions(truth, history, bench.violated)
  bench.disk = checker.watchDisk(1, bench.memory)
  bench.directory(`/t/shards/${SHARD}`)
  const name = (first: number): string => `/t/shards/${SHARD}/${`${first}`.padStart(20, '0')}.log`
  for (const first of [1, 10, 20]) bench.open(name(first))
  const remove = (first: number): string | undefined => {
    bench.disk.remove(name(first), none)
    bench.settle()
    return bench.wrong.pop()
  }
  checker.checkpointed(1, vouchedUpTo(10, 19))
  // Begun and never vouched for.
  assert.equal(remove(20), undefined)
  bench.open(name(20))
  // The segment before it was written on, and holds what was in it.
  checker.checkpointed(1, vouchedUpTo(10, 25))
  assert.equal(remove(20), undefined)
  bench.open(name(20))
  checker.checkpointed(1, vouchedUpTo(20, 25))
  assert.match(remove(1)!, /indexes 1 to 9; the log of shard 16 starts at 1/)
  bench.open(name(1))
  // A cut that is on a disk and not committed lets nothing go.
  checker.durable(1, { shard: SHARD, index: 4, term: 1, crc: 4, cutTo: 10 })
  assert.match(remove(1)!, /starts at 1/)
  bench.open(name(1))
  // The state of a machine stands for its log; for records nothing does.
  checker.checkpointed(1, vouchedUpTo(20, 25, 9))
  assert.match(remove(1)!, /starts at 1/)
  bench.open(name(1))
  checker.checkpointed(1, vouchedUpTo(20, 25, 10))
  assert.equal(remove(1), undefined)
  bench.open(name(1))
  checker.node(1, { layer: 'streams', event: { type: 'stream-appended', shard: SHARD } } as never)
  assert.match(remove(1)!, /starts at 1/)
  bench.open(name(1))
  checker.durable(1, { shard: SHARD, index: 3, term: 1, crc: 3, cutTo: 10 })
  assert.equal(remove(1), undefined)
  assert.match(remove(10)!, /indexes 10 to 19/)
  assert.match(remove(20)!, /from index 20 on/)
})

test('deletions: a repaired file under a name of its own holds what it holds', () => {
  const { truth, history } = historyOf([{ index: 1, term: 1, crc: 1, offset: 0 }])
  const bench = new Bench()
  const checker = new Deletions(truth, history, bench.violated)
  bench.disk = checker.watchDisk(1, bench.memory)
  const folder = `/t/shards/${SHARD}`
  bench.directory(folder)
  const name = (first: number): string => `${folder}/${`${first}`.padStart(20, '0')}.log`
  for (const path of [name(1), `${name(10)}.repair`, name(12)]) bench.open(path)
  checker.checkpointed(1, vouchedUpTo(12, 20))
  checker.durable(1, { shard: SHARD, index: 1, term: 1, crc: 1, cutTo: 10 })
  bench.disk.rename(`${name(10)}.repair`, name(10), none)
  bench.settle()
  bench.disk.remove(name(1), none)
  bench.settle()
  assert.deepEqual(bench.wrong, [])
})

const VALUES = [['a', 'b'], ['c'], ['d', 'e', 'f']]

/** A directory with three entries of one producer, the first two in the shard log, all in the journal. */
function written(bench: Bench, lastTerm = 1): Entry[] {
  const storage = openStorage(SAMPLE_OPTIONS, bench.memory, bench.clock, (error) => {
    throw error
  })
  assert.ok(storage instanceof Storage)
  const entries: Entry[] = []
  let offset = 0
  for (const [i, values] of VALUES.entries()) {
    const records = values.map((value) => ({ key: null, value: Buffer.from(value), headers: [] }))
    const producer = { producerId: 7, producerEpoch: 0, baseSequence: offset }
    const batch = encodeBatch(records, { timestamp: 5, baseOffset: offset, ...producer })
    const entry = encodeEntry({
      kind: EntryKind.data,
      shard: SHARD,
      term: i === VALUES.length - 1 ? lastTerm : 1,
      index: i + 1,
      stamp: i + 1,
      firstOffset: offset,
      recordCount: values.length,
      previousCrc: entries.at(-1)?.crc ?? 0,
      payload: [batch],
    })
    entries.push(entry)
    offset += values.length
  }
  storage.append(entries, none)
  bench.settle()
  const log = storage.openShardLog(SHARD)
  for (const entry of entries.slice(0, 2)) log.append(entry)
  log.flush()
  bench.settle()
  return entries
}

function everyValue(
  change: (bench: Bench) => void,
  story: { sent?: string[]; acknowledged?: string[] } = {},
): string | null {
  const bench = new Bench()
  const entries = written(bench)
  change(bench)
  const { history } = historyOf(
    entries.map(({ index, term, crc, firstOffset, recordCount }) => ({
      index,
      term,
      crc,
      offset: firstOffset + recordCount,
    })),
  )
  const checker = new EveryValue()
  const values = story.acknowledged ?? VALUES.flat()
  checker.client({ type: 'acknowledged', client: 'p', topic: 't', partition: 0, baseOffset: 0, values })
  const sent = new Set(story.sent ?? VALUES.flat())
  let verdict: string | null = 'never finished'
  const disks = [1, 2].map((node) => ({ node, disk: bench.memory, damaged: false }))
  const options = {
    directory: '/tidemark',
    quorumOf: () => 2,
    placeOf: () => 't/0',
    wasSent: (_: string, value: string) => sent.has(value),
  }
  checker.finish(disks, history, options, (violation) => {
    verdict = violation?.message ?? null
  })
  bench.settle()
  return verdict
}

/** Changes a byte of everything that is stored under such a name. */
function rot(bench: Bench, directory: string, at: number): void {
  bench.disk.list(directory, (_error, names) => {
    for (const name of names ?? []) {
      if (!name.endsWith('.log')) continue
      bench.disk.open(`${directory}/${name}`, 'write', (_failure, file) => file?.write([Buffer.from([0xee])], at, none))
    }
  })
  bench.settle()
}

test('every value is found by a reader of its own', () => {
  assert.equal(everyValue(none), null)
  // One of two places may rot.
  assert.equal(
    everyValue((bench) => rot(bench, `/tidemark/shards/${SHARD}`, 64 + 70)),
    null,
  )
})

test('what is not there, or should not be, is seen', () => {
  const rotten = everyValue((bench) => {
    rot(bench, `/tidemark/shards/${SHARD}`, 64 + 70)
    rot(bench, '/tidemark/journal', 4096 + 40 + 70)
  })
  assert.match(rotten!, /the committed entry 1 is in the files of 0 nodes/)
  assert.match(everyValue(none, { acknowledged: [...VALUES.flat(), 'g'] })!, /7 values were acknowledged, 6 are there/)
  assert.match(everyValue(none, { acknowledged: ['a', 'x'] })!, /acknowledged was x/)
  assert.match(everyValue(none, { sent: ['a', 'b', 'c', 'd', 'e'] })!, /what nobody sent: f/)
})

test('raw records: a payload that is none is refused', () => {
  const bench = new Bench()
  const payload = Buffer.from(written(bench)[0]!.bytes.subarray(64))
  const seen: string[] = []
  assert.equal(
    rawRecords(payload, ({ offset, value }) => seen.push(`${offset}=${value}`)),
    null,
  )
  assert.deepEqual(seen, ['0=a', '1=b'])
  for (const [at, defect] of [
    [16, /no batch/],
    [30, /wrong sum/],
    [payload.length - 1, /wrong sum/],
  ] as const) {
    const damaged = Buffer.from(payload)
    damaged[at]! ^= 1
    assert.match(rawRecords(damaged, none) ?? 'nothing', defect)
  }
  assert.match(rawRecords(payload.subarray(0, 30), none)!, /without a header/)
  readRawLogs(bench.memory, '/nowhere', (logs) => assert.equal(logs.size, 0))
  bench.settle()
})

/** Three disks, of which two hold what was committed; the third ends with an entry of another term. */
function comparedWith({ exists = true, ...third }: { leftBehind: boolean; exists?: boolean }): string | null {
  const bench = new Bench()
  const entries = written(bench)
  const other = new Bench()
  written(other, 2)
  const { history } = historyOf(
    entries.map(({ index, term, crc, firstOffset, recordCount }) => ({
      index,
      term,
      crc,
      offset: firstOffset + recordCount,
    })),
  )
  let verdict: string | null = 'never finished'
  const [first, second] = [bench.memory.platter.copy(), bench.memory.platter.copy()]
  const clock = new TurnClock()
  const disk = (platter: typeof first) => new MemoryDisk({}, { clock }).replacedBy(platter)
  compareDisks(
    [
      { node: 1, disk: disk(first) },
      { node: 1, disk: disk(second) },
      { node: 1, disk: disk(other.memory.platter.copy()), ...third },
    ],
    { directory: '/tidemark', quorumOf: () => 2, exists: () => exists },
    {
      clock,
      history,
      violated: (violation) => {
        verdict = violation.message
      },
      done: () => {
        verdict = null
      },
    },
  )
  clock.settle()
  return verdict
}

test('replicas: one that stopped for good, or of a deleted topic, may end with what was replaced since, and no other', () => {
  assert.equal(comparedWith({ leftBehind: true }), null)
  assert.equal(comparedWith({ leftBehind: false, exists: false }), null)
  assert.match(comparedWith({ leftBehind: false })!, /index 3 is .* \(term 2\), and .* was committed/)
})
