/** The book of campaigns: chunks, and which of them do not have to be run again. */
import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { firstSeedOf, numberOf } from './commit.ts'
import { appendResult, chunksOf, isDone, type ResultLine, readResults } from './results.ts'
import { Tally } from './tally.ts'

const COMMIT = '0123456789abcdef0123456789abcdef01234567'
const SAME = { commit: COMMIT, profile: 'all', durationMs: 40_000 } as const

function line(more: Partial<ResultLine> = {}): ResultLine {
  return { ...SAME, node: 'v20', from: 100, seeds: 100, verdict: 'held', ...new Tally().toJSON(), ...more }
}

test('chunks end at multiples of their size and cover the range once', () => {
  assert.deepEqual(chunksOf({ from: 1, seeds: 250 }, 100), [
    { from: 1, seeds: 99 },
    { from: 100, seeds: 100 },
    { from: 200, seeds: 51 },
  ])
  assert.deepEqual(chunksOf({ from: 100, seeds: 100 }, 100), [{ from: 100, seeds: 100 }])
  assert.deepEqual(chunksOf({ from: 5, seeds: 0 }, 100), [])
})

test('a chunk is done when one line of this commit, profile and duration covers it and held', () => {
  const chunk = { from: 100, seeds: 50 }
  assert.equal(isDone([line()], chunk, SAME), true)
  assert.equal(isDone([], chunk, SAME), false)
  for (const other of [
    { commit: `${COMMIT}-changed` },
    { profile: 'crash' },
    { durationMs: 1 },
    { verdict: 'violated' },
    { from: 101 },
    { seeds: 49 },
  ] as const) {
    assert.equal(isDone([line(other)], chunk, SAME), false, JSON.stringify(other))
  }
})

test('lines are appended, and half a line at the end does not count', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-results-'))
  try {
    const file = join(directory, 'new', 'results.jsonl')
    assert.deepEqual(readResults(file), [])
    appendResult(file, line())
    appendResult(file, line({ from: 200 }))
    appendFileSync(file, '{"commit":"01')
    assert.deepEqual(
      readResults(file).map(({ from }) => from),
      [100, 200],
    )
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('a commit has seeds of its own, the same for everybody', () => {
  assert.equal(numberOf(COMMIT), 0x01234567)
  assert.equal(firstSeedOf(COMMIT), firstSeedOf(COMMIT))
  assert.notEqual(firstSeedOf(COMMIT), firstSeedOf('fedcba98'))
  assert.ok(firstSeedOf(COMMIT) >= 1_000_000 && Number.isSafeInteger(firstSeedOf('ffffffff')))
  assert.equal(numberOf('unknown'), 0)
})
