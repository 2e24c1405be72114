import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Entry, EntryKind, encodeEntry, nextOffsetAfter } from '../storage/index.ts'
import { CutPlanner, CutReason, cutReasonOf, decodeCut, encodeCut } from './cut.ts'
import { CutRequests } from './low-water-mark.ts'
import { RaftLog } from './raft-log.ts'

function entries(terms: readonly number[]): Entry[] {
  const made: Entry[] = []
  for (const [i, term] of terms.entries()) {
    const before = made.at(-1)
    const place = { index: i + 1, stamp: 1, firstOffset: before === undefined ? 0 : nextOffsetAfter(before) }
    const payload = [Buffer.alloc(36)]
    const previousCrc = before?.crc ?? 0
    made.push(encodeEntry({ kind: EntryKind.data, shard: 16, term, ...place, recordCount: 2, previousCrc, payload }))
  }
  return made
}

const FRESH = { index: 1, offset: 0 }
const EVERYBODY_HAS_ALL = Number.MAX_SAFE_INTEGER

test('cuts: the payload is what it was, and anything else is none', () => {
  const bytes = encodeCut({ index: 2 ** 40, offset: 7 }, CutReason.snapshot)
  assert.deepEqual(decodeCut(bytes), { index: 2 ** 40, offset: 7 })
  assert.equal(cutReasonOf(bytes), CutReason.snapshot)
  bytes[16] = 77
  assert.equal(cutReasonOf(bytes), null)
  assert.equal(decodeCut(bytes.subarray(1)), null)
  assert.equal(decodeCut(Buffer.alloc(17)), null)
  assert.equal(decodeCut(Buffer.alloc(17, 0xff)), null)
})

test('cuts: one is due when the log has grown enough, and keeps what is to be kept', () => {
  const planner = new CutPlanner({ everyBytes: 1000, keepEntries: 4 }, FRESH, 0)
  const log = entries(new Array(20).fill(1))
  for (const entry of log.slice(0, 9)) planner.applied(entry)
  assert.equal(planner.due(9, 1, EVERYBODY_HAS_ALL), null)
  planner.applied(log[9]!)
  assert.deepEqual(planner.due(10, 1, EVERYBODY_HAS_ALL), { index: 7, offset: 12 })
  // Not where the log starts already, and not again before it has grown again.
  assert.equal(planner.due(10, 7, EVERYBODY_HAS_ALL), null)
  planner.cut()
  assert.equal(planner.due(10, 1, EVERYBODY_HAS_ALL), null)
})

test('cuts: as much must be written as the state is large', () => {
  const planner = new CutPlanner({ everyBytes: 100, keepEntries: 0 }, FRESH, 0)
  planner.stateTaken(1500)
  const log = entries(new Array(15).fill(1))
  for (const entry of log.slice(0, 14)) planner.applied(entry)
  assert.equal(planner.due(14, 1, EVERYBODY_HAS_ALL), null)
  planner.applied(log[14]!)
  assert.deepEqual(planner.due(15, 1, EVERYBODY_HAS_ALL), { index: 15, offset: 28 })
})

test('cuts: followers on their way are waited for, but not for ever', () => {
  const planner = new CutPlanner({ everyBytes: 200, keepEntries: 0 }, FRESH, 0)
  const log = entries(new Array(10).fill(1))
  for (const entry of log.slice(0, 7)) planner.applied(entry)
  assert.deepEqual(planner.due(7, 1, 3), { index: 3, offset: 4 })
  assert.equal(planner.due(7, 1, 1), null)
  planner.applied(log[7]!)
  assert.deepEqual(planner.due(8, 1, 1), { index: 8, offset: 14 })
})

test('cuts: a start with entries below what is to be kept cuts them', () => {
  const from = { index: 50, offset: 90 }
  const [few, many] = [20, 21].map((behind) => new CutPlanner({ everyBytes: 5000, keepEntries: 20 }, from, behind))
  const log = entries(new Array(70).fill(1))
  for (const entry of log.slice(49)) for (const planner of [few!, many!]) planner.applied(entry)
  assert.equal(few!.due(70, 29, EVERYBODY_HAS_ALL), null)
  assert.deepEqual(many!.due(70, 29, EVERYBODY_HAS_ALL), from)
})

test('raft log: after a cut the term before the start is known, and no earlier one', () => {
  const log = new RaftLog({
    shard: 16,
    anchor: { index: 0, term: 0, crc: 0, nextOffset: 0 },
    epochs: [],
    entries: entries([1, 1, 2, 2, 2, 5, 5]),
  })
  log.cutTo({ index: 6, offset: 10 })
  assert.deepEqual([log.startIndex, log.startOffset, log.lastIndex], [6, 10, 7])
  assert.deepEqual(
    [5, 6, 7].map((index) => log.termAt(index)),
    [2, 5, 5],
  )
  assert.throws(() => log.termAt(2), /cut with the log's start/)
  assert.throws(() => log.cutTo({ index: 6, offset: 10 }), /starts at 6/)
  log.cutTo({ index: 6, offset: 11 })
  assert.throws(() => log.cutTo({ index: 6, offset: 10 }), /starts at 6/)
  assert.throws(() => log.cutTo({ index: 9, offset: 14 }), /ends at 7/)
  log.cutTo({ index: 8, offset: 14 })
  assert.deepEqual(log.epochs, [{ term: 5, firstIndex: 6, firstOffset: 10 }])
})

test('raft log: a snapshot takes the place of everything, and the log goes on after it', () => {
  const [before, after] = [entries([1, 1, 1]), entries([1, 1, 2, 2, 2, 2])]
  const log = new RaftLog({
    shard: 16,
    anchor: { index: 0, term: 0, crc: 0, nextOffset: 0 },
    epochs: [],
    entries: before,
  })
  const { index, term, crc } = after[4]!
  log.reset({ index, term, crc, nextOffset: 10 }, [{ term: 2, firstIndex: 3, firstOffset: 4 }], 10)
  assert.deepEqual([log.lastIndex, log.lastTerm, log.endOffset, log.bytes], [5, 2, 10, 0])
  assert.deepEqual([log.startIndex, log.startOffset, log.anchorIndex], [6, 10, 5])
  assert.equal(log.entry(3), undefined)
  log.append(after[5]!)
  assert.equal(log.entry(6), after[5])
  assert.deepEqual(log.epochs, [{ term: 2, firstIndex: 3, firstOffset: 4 }])
})

test('cuts: of those that are asked for the one that cuts most counts, once, and none above the lowest pin', () => {
  const requests = new CutRequests()
  const from = { index: 5, offset: 50 }
  assert.equal(requests.take(from), null)
  requests.ask({ index: 7, offset: 71 }, CutReason.request)
  requests.ask({ index: 7, offset: 70 }, CutReason.retentionTime)
  assert.ok(requests.isAsked)
  assert.deepEqual(requests.take(from), { start: { index: 7, offset: 71 }, reason: CutReason.request })
  assert.equal(requests.take(from), null)
  requests.ask({ index: 5, offset: 50 }, CutReason.request)
  assert.equal(requests.take(from), null)
  const [high, low] = [requests.pin('b', 9), requests.pin('a', 6)]
  assert.deepEqual(requests.heldBy, { name: 'a', index: 6 })
  requests.ask({ index: 7, offset: 70 }, CutReason.retentionTime)
  assert.equal(requests.take(from), null)
  low()
  requests.ask({ index: 9, offset: 90 }, CutReason.retentionTime)
  assert.deepEqual(requests.take(from)!.start, { index: 9, offset: 90 })
  requests.ask({ index: 10, offset: 90 }, CutReason.retentionBytes)
  assert.equal(requests.take(from), null)
  high()
  assert.equal(requests.heldBy, null)
})

test('cuts: a command is not held by a pin, nor lost behind a policy that is', () => {
  const requests = new CutRequests()
  const from = { index: 5, offset: 50 }
  requests.pin('a backup', 6)
  requests.ask({ index: 9, offset: 91 }, CutReason.request)
  requests.ask({ index: 12, offset: 120 }, CutReason.retentionBytes)
  assert.deepEqual(requests.take(from), { start: { index: 9, offset: 91 }, reason: CutReason.request })
  assert.ok(!requests.isAsked)
  requests.ask({ index: 9, offset: 91 }, CutReason.request)
  requests.ask({ index: 6, offset: 60 }, CutReason.retentionBytes)
  assert.equal(requests.take(from)!.reason, CutReason.request)
  requests.ask({ index: 9, offset: 91 }, CutReason.request)
  requests.drop()
  assert.ok(!requests.isAsked)
})

test('a floor waits for whoever follows, and says for whom', () => {
  const requests = new CutRequests()
  const from = { index: 5, offset: 50 }
  const compaction = { floor: { index: 20, offset: 200 }, tombstonesBelow: 0, decidedMs: 1 }
  requests.askCompaction(compaction)
  assert.equal(requests.takeCompaction(from, { index: 18, node: 3 }), null)
  assert.deepEqual(requests.floorWaitsFor, { name: 'node 3', index: 19 })
  requests.askCompaction(compaction)
  assert.equal(requests.takeCompaction(from, { index: 19, node: 3 }), compaction)
  assert.equal(requests.floorWaitsFor, null)
  assert.equal(requests.takeCompaction(from, { index: 19, node: 3 }), null, 'once')
  requests.askCompaction(compaction)
  requests.takeCompaction(from, { index: 1, node: 2 })
  requests.drop()
  assert.equal(requests.floorWaitsFor, null)
  requests.askCompaction(compaction)
  requests.takeCompaction(from, { index: 1, node: 2 })
  requests.askCompaction(null)
  assert.equal(requests.floorWaitsFor, null, 'it is not due any more')
})
