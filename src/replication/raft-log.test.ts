import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AssertionFailed, Prng } from '../stdx/index.ts'
import { type Entry, EntryKind } from '../storage/index.ts'
import { ORIGIN, RaftLog } from './raft-log.ts'
import type { Epoch } from './state-machine.ts'

const SHARD = 16

function emptyLog(): RaftLog {
  return new RaftLog({ shard: SHARD, anchor: ORIGIN, epochs: [], entries: [] })
}

function grow(log: RaftLog, term: number, recordCount = 1, text = ''): Entry {
  const kind = recordCount === 0 ? EntryKind.leadership : EntryKind.data
  const entry = log.encodeNext(term, { kind, recordCount, payload: [Buffer.from(text)], stamp: 1 })
  log.append(entry)
  return entry
}

test('raft log: index, offset and chain of the next entry follow from the end', () => {
  const log = emptyLog()
  grow(log, 1, 0)
  const data = grow(log, 1, 5)
  assert.deepEqual([data.index, data.firstOffset, log.endOffset], [2, 0, 5])
  const next = log.encodeNext(2, { kind: EntryKind.data, recordCount: 1, payload: [], stamp: 3 })
  assert.deepEqual([next.index, next.firstOffset, next.previousCrc], [3, 5, data.crc])
})

test('raft log: an entry after the wrong predecessor is not taken', () => {
  const log = emptyLog()
  const other = emptyLog()
  grow(log, 1, 1, 'a')
  grow(other, 1, 1, 'b')
  const stray = grow(other, 1)
  assert.throws(() => log.append(stray), AssertionFailed)
})

test('raft log: offsets are found among entries that have none', () => {
  const log = emptyLog()
  grow(log, 1, 0)
  grow(log, 1, 3)
  grow(log, 2, 0)
  grow(log, 2, 2)
  assert.deepEqual(
    [0, 2, 3, 4, 5].map((offset) => log.indexAtOffset(offset)),
    [2, 2, 4, 4, -1],
  )
  log.releaseUpTo(2)
  assert.deepEqual(
    [2, 3].map((offset) => log.indexAtOffset(offset)),
    [-1, 4],
  )
})

test('raft log: a slice takes at least one entry and stops at the limit', () => {
  const log = emptyLog()
  for (let i = 0; i < 5; i++) grow(log, 1)
  const indexes = (entries: readonly Entry[]): number[] => entries.map((entry) => entry.index)
  assert.deepEqual(indexes(log.slice(2, 1)), [2])
  assert.deepEqual(indexes(log.slice(2, 64 * 3)), [2, 3, 4])
  assert.deepEqual(indexes(log.slice(4)), [4, 5])
  assert.deepEqual(indexes(log.slice(6)), [])
  assert.deepEqual(indexes(log.slice(2, Number.POSITIVE_INFINITY, 3)), [2, 3])
})

/** The same log as a plain array that forgets nothing. */
class DumbLog {
  entries: Entry[] = []

  termAt(index: number): number {
    return index === 0 ? 0 : this.entries[index - 1]!.term
  }

  lastIndexWithin(index: number, term: number): number {
    let at = Math.min(index, this.entries.length)
    while (at > 0 && this.termAt(at) > term) at--
    return at
  }

  epochs(): Epoch[] {
    return this.entries
      .filter((entry) => entry.term !== this.termAt(entry.index - 1))
      .map(({ term, index, firstOffset }) => ({ term, firstIndex: index, firstOffset }))
  }
}

test('raft log: equals its dumb twin through appends, truncations, releases and reopening', () => {
  const random = new Prng('raft-log')
  for (let round = 0; round < 40; round++) {
    let log = emptyLog()
    const twin = new DumbLog()
    let term = 1
    for (let step = 0; step < 400; step++) {
      const dice = random.below(20)
      if (dice < 14) {
        if (random.below(12) === 0) term += 1 + random.below(3)
        twin.entries.push(grow(log, term, random.below(3)))
      } else if (dice < 16 && log.lastIndex > log.anchorIndex) {
        const from = log.lastIndex - random.below(Math.min(4, log.lastIndex - log.anchorIndex))
        const removed = log.truncateFrom(from)
        assert.equal(
          removed,
          twin.entries.splice(from - 1).reduce((sum, entry) => sum + entry.bytes.length, 0),
        )
        term = Math.max(term, log.lastTerm) + 1
      } else if (dice < 19) log.releaseUpTo(log.anchorIndex + random.below(6))
      else {
        const anchor = twin.entries[log.anchorIndex - 1]
        const epochs = log.epochs.filter((epoch) => epoch.firstIndex <= log.anchorIndex)
        log = new RaftLog({
          shard: SHARD,
          anchor:
            anchor === undefined
              ? ORIGIN
              : {
                  index: anchor.index,
                  term: anchor.term,
                  crc: anchor.crc,
                  nextOffset: anchor.firstOffset + anchor.recordCount,
                },
          epochs,
          entries: log.slice(log.firstIndex),
        })
      }
      const last = twin.entries.at(-1)
      assert.deepEqual([log.lastIndex, log.lastTerm, log.lastCrc], [last?.index ?? 0, last?.term ?? 0, last?.crc ?? 0])
      assert.equal(log.endOffset, last === undefined ? 0 : last.firstOffset + last.recordCount)
      const tail = twin.entries.slice(log.anchorIndex)
      assert.equal(
        log.bytes,
        tail.reduce((sum, entry) => sum + entry.bytes.length, 0),
      )
      assert.deepEqual(log.epochs, twin.epochs())
      const index = random.below(log.lastIndex + 1)
      assert.equal(log.termAt(index), twin.termAt(index))
      assert.equal(log.entry(index), index > log.anchorIndex ? twin.entries[index - 1] : undefined)
      const within = random.below(term + 2)
      const limit = index + random.below(3)
      assert.equal(log.lastIndexWithin(limit, within), twin.lastIndexWithin(limit, within))
    }
  }
})
