/** A checker that cannot fail proves nothing: each test doctors a sound trace in one place. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkTrace, mergeTraces, parseTrace, type TraceLine } from './check-trace.ts'

const journaled = (t: number, node: number, term: number, index: number): TraceLine => ({
  t,
  node,
  type: 'journaled',
  shard: 16,
  term,
  index,
})
const truncated = (t: number, node: number, fromIndex: number): TraceLine => ({
  t,
  node,
  type: 'truncated',
  shard: 16,
  fromIndex,
})
const appended = (t: number, node: number, index: number, firstOffset: number, records: number): TraceLine => ({
  t,
  node,
  type: 'appended',
  shard: 16,
  index,
  firstOffset,
  records,
})
const acknowledged = (t: number, node: number, term: number, index: number, offset: number): TraceLine => ({
  t,
  node,
  type: 'acknowledged',
  shard: 16,
  term,
  index,
  offset,
})

const problemsOf = (...lines: TraceLine[]): readonly string[] => checkTrace(mergeTraces([lines]), 3).problems

test('a restart voids nothing: what was synced before it still counts', () => {
  const recovered: TraceLine = {
    t: 3,
    node: 2,
    type: 'recovered',
    ending: 'torn last block',
    fresh: false,
    segments: 1,
    blocks: 4,
  }
  const [before, after] = [journaled(2, 2, 1, 7), acknowledged(4, 1, 1, 7, 40)]
  assert.deepEqual(problemsOf(journaled(1, 1, 1, 7), before, recovered, after), [])
  assert.match(
    problemsOf(journaled(1, 1, 1, 7), before, recovered, journaled(5, 2, 1, 6))[0]!,
    /journaled up to index 7/,
  )
})

const SOUND = [
  appended(1, 1, 7, 40, 3),
  journaled(2, 1, 2, 7),
  journaled(3, 3, 2, 7),
  acknowledged(4, 1, 2, 7, 43),
  journaled(5, 2, 2, 7),
]

test('a quorum before the acknowledgement is sound, with or without the leader in it', () => {
  assert.deepEqual(problemsOf(...SOUND), [])
  assert.deepEqual(
    problemsOf(appended(1, 1, 7, 40, 3), journaled(2, 2, 2, 7), journaled(3, 3, 2, 8), acknowledged(4, 1, 2, 7, 43)),
    [],
  )
})

test('one sync too few, or one too late', () => {
  const withoutFollower = SOUND.filter((line) => line.node !== 3)
  assert.match(
    problemsOf(...withoutFollower)[0]!,
    /node 1, shard 16: acknowledged offset 43 \(term 2, index 7\) when only node 1 of 3/,
  )
  assert.equal(problemsOf(...SOUND.map((line) => (line.node === 3 ? { ...line, t: 4.001 } : line))).length, 1)
  assert.deepEqual(problemsOf(...SOUND.map((line) => (line.node === 3 ? { ...line, t: 4 } : line))), [])
})

test('a journal that reaches the index with another log does not count', () => {
  assert.equal(
    problemsOf(appended(1, 1, 7, 40, 3), journaled(2, 3, 1, 9), journaled(2, 1, 2, 7), acknowledged(4, 1, 2, 7, 43))
      .length,
    1,
  )
  assert.equal(
    problemsOf(appended(1, 1, 7, 40, 3), journaled(2, 3, 2, 6), journaled(2, 1, 2, 7), acknowledged(4, 1, 2, 7, 43))
      .length,
    1,
  )
})

test('what was journaled and truncated again does not count, though the disk may still have it', () => {
  assert.equal(
    problemsOf(journaled(2, 1, 2, 7), journaled(3, 3, 2, 7), truncated(3.5, 3, 7), acknowledged(4, 1, 2, 7, 43)).length,
    1,
  )
  assert.deepEqual(
    problemsOf(journaled(2, 1, 2, 7), journaled(3, 3, 2, 9), truncated(3.5, 3, 8), acknowledged(4, 1, 2, 7, 43)),
    [],
  )
})

test('an index that does not hold the offset is not believed', () => {
  const problems = problemsOf(
    appended(1, 1, 7, 40, 3),
    appended(1, 1, 8, 43, 5),
    journaled(2, 1, 2, 7),
    journaled(3, 3, 2, 7),
    acknowledged(4, 1, 2, 7, 48),
  )
  assert.match(problems[0]!, /by entry 7, but entry 8 holds what is below it/)
})

test('entries that were truncated are not looked up by their offsets', () => {
  const ledBefore = [appended(1, 1, 8, 40, 3), truncated(2, 1, 7)]
  assert.deepEqual(
    problemsOf(
      ...ledBefore,
      appended(3, 1, 7, 40, 3),
      journaled(4, 1, 4, 7),
      journaled(4, 2, 4, 7),
      acknowledged(5, 1, 4, 7, 43),
    ),
    [],
  )
})

test('a node that comes back with less than it had synced is found', () => {
  assert.match(
    problemsOf(journaled(2, 3, 2, 7), journaled(9, 3, 2, 6))[0]!,
    /node 3, shard 16: had journaled up to index 7, and now up to 6/,
  )
  assert.deepEqual(problemsOf(journaled(2, 3, 2, 7), truncated(8, 3, 7), journaled(9, 3, 3, 6)), [])
})

test('shards are apart', () => {
  const elsewhere = { ...journaled(3, 3, 2, 7), shard: 17 } as TraceLine
  assert.equal(problemsOf(journaled(2, 1, 2, 7), elsewhere, acknowledged(4, 1, 2, 7, 43)).length, 1)
})

test('a killed process leaves half a line at most, and only at the end', () => {
  const line = JSON.stringify(SOUND[0])
  assert.equal(parseTrace(`${line}\n${line}\n${line.slice(0, 20)}`, 'x').length, 2)
  assert.throws(() => parseTrace(`${line.slice(0, 20)}\n${line}\n`, 'node-1-7.jsonl'), /node-1-7.jsonl:1: not a line/)
})
