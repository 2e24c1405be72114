import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { type Entry, EntryKind, encodeEntry, type ShardLog } from '../storage/index.ts'
import { LogReading } from './log-reading.ts'
import type { Raft } from './raft.ts'

/** A log of records with entries between them that have none, all of it in files. */
const ENTRIES: Entry[] = []
for (let index = 1; index <= 12; index++) {
  const kind = index % 4 === 1 ? EntryKind.leadership : index % 4 === 3 ? EntryKind.cut : EntryKind.data
  const before = ENTRIES.at(-1)
  ENTRIES.push(
    encodeEntry({
      ...{ kind, shard: 16, term: 1, index, stamp: index, payload: [Buffer.alloc(8)] },
      firstOffset: (before?.firstOffset ?? 0) + (before?.recordCount ?? 0),
      recordCount: kind === EntryKind.data ? 3 : 0,
      previousCrc: before?.crc ?? 0,
    }),
  )
}

test('reading: whoever lacks what compaction has left is given records, and nothing of what lies between them', () => {
  let held = 0
  const shardLog = {
    cleaner: { hold: () => void held++ },
    readFromOffset: (offset: number, _maxBytes: number, done: (error: null, entries: readonly Entry[]) => void) => {
      const at = ENTRIES.findIndex((each) => each.recordCount > 0 && each.firstOffset + each.recordCount > offset)
      done(null, at < 0 ? [] : ENTRIES.slice(at))
    },
  } as unknown as ShardLog
  const raft = { log: { startOffset: 0, startIndex: 1 } } as unknown as Raft
  const applied = { index: 12, entryTerm: 1, crc: 0, nextOffset: 18, stamp: 12 }
  const fails = (): never => assert.fail('nothing is damaged')
  const reading = new LogReading({ raft, shardLog, applied: () => applied, damaged: fails, storageFailed: fails })
  let given: readonly number[] | null = null
  const below = (index: number, offset: number): readonly number[] | null => {
    reading.readBelow({ index, offset }, 0, 1 << 20, (_error, entries) => {
      given = entries?.map((each) => each.index) ?? null
    })
    return given
  }
  assert.deepEqual(below(11, 15), [2, 4, 6, 8, 10])
  assert.deepEqual(below(13, 18), [2, 4, 6, 8, 10, 12])
  assert.equal(held, 2, 'it stays as it is while somebody reads it')
  assert.equal(below(14, 18), null, 'it does not reach up to there')
})
