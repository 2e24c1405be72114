import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { PlatformError } from '../platform/index.ts'
import { type Entry, EntryKind, encodeEntry, type ShardLog } from '../storage/index.ts'
import { LogReading } from './log-reading.ts'
import type { Raft } from './raft.ts'

/** What compaction has left of ten entries, and two above the floor; all of it in files. */
const ENTRIES: Entry[] = []
for (const index of [2, 4, 9, 11, 12]) {
  const before = ENTRIES.at(-1)
  ENTRIES.push(
    encodeEntry({
      ...{ kind: EntryKind.data, shard: 16, term: 1, index, stamp: index, payload: [Buffer.alloc(8)] },
      ...{ firstOffset: index - 1, recordCount: 1, previousCrc: before?.crc ?? 0 },
    }),
  )
}

test('reading: whoever lacks what compaction has left gets it of a log that starts there or above, and of no other', () => {
  const shardLog = {
    readFromOffset: (offset: number, _maxBytes: number, done: (error: null, entries: readonly Entry[]) => void) => {
      done(
        null,
        ENTRIES.filter(({ firstOffset }) => firstOffset >= offset),
      )
    },
  } as unknown as ShardLog
  const raft = { log: { startOffset: 0, startIndex: 11 } } as unknown as Raft
  const applied = { index: 12, entryTerm: 1, crc: 0, nextOffset: 12, stamp: 12 }
  const fails = (): never => assert.fail('nothing is damaged')
  const reading = new LogReading({
    ...{ raft, shardLog, applied: () => applied },
    ...{ damaged: fails, exhausted: fails, storageFailed: fails },
  })
  let given: readonly number[] | null = null
  const below = (index: number, offset: number): readonly number[] | null => {
    reading.readBelow({ index, offset }, 0, 1 << 20, (_error, entries) => {
      given = entries?.map((each) => each.index) ?? null
    })
    return given
  }
  assert.deepEqual(below(11, 10), [2, 4, 9])
  assert.deepEqual(below(5, 4), [2, 4], 'what is missing there the asker has above his floor')
  assert.equal(below(12, 11), null, 'between two floors a key may stand twice')
})

test('reading: what ends a node is a disk that fails, and not a process that has no file left to open', () => {
  const said: string[] = []
  let errno = ''
  const shardLog = {
    readFromIndex: (_index: number, _maxBytes: number, done: (error: PlatformError) => void) =>
      done(new PlatformError({ code: 'DISK_FAILED', path: '/data', operation: 'open', errno }, errno)),
  } as unknown as ShardLog
  const reading = new LogReading({
    ...{ raft: {} as Raft, shardLog, applied: () => assert.fail('it was not read') },
    damaged: () => said.push('damaged'),
    exhausted: () => said.push('exhausted'),
    storageFailed: (error) => said.push(error.message),
  })
  for (errno of ['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EACCES'])
    reading.forFollower(1, 1, (entries) => assert.deepEqual(entries, []))
  assert.deepEqual(said, ['exhausted', 'exhausted', 'exhausted', 'exhausted', 'EACCES'])
})
