import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { appendResult, heldBy, type ResultLine, readResults } from './results.ts'

const line: ResultLine = {
  commit: 'abc',
  fs: 'both',
  seed: 7,
  chunk: 2,
  node: 'v20.19.0',
  kernel: '6.1',
  verdict: 'held',
  cycles: 20,
  allNodes: 2,
  twice: 5,
  midWrite: 4,
  losses: { ext4: 20, xfs: 9 },
  acknowledged: 100,
  read: 100,
  lost: 0,
  duplicates: 0,
  repeats: 3,
  outOfOrder: 0,
  wrong: 0,
  endings: { 'clean end': 20 },
  seconds: 50,
}

test('a chunk that held for this commit, seed and file system does not run again; any other does', () => {
  const { commit, fs, seed, chunk } = line
  const key = { commit, fs, seed, chunk }
  assert.equal(heldBy([line], key, 20), line)
  assert.equal(heldBy([line], key, 21), null)
  assert.equal(heldBy([{ ...line, verdict: 'violated' }], key, 20), null)
  for (const other of [{ commit: 'abd' }, { fs: 'xfs' }, { seed: 8 }, { chunk: 3 }])
    assert.equal(heldBy([line], { ...key, ...other }, 20), null)
})

test('lines are appended, and one that a crash cut off does not count', (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-results-'))
  t.after(() => fs.rmSync(directory, { recursive: true }))
  const file = path.join(directory, 'results', 'powerloss.jsonl')
  assert.deepEqual(readResults(file), [])
  appendResult(file, line)
  appendResult(file, { ...line, chunk: 3 })
  fs.appendFileSync(file, '{"commit":"abc","fs')
  assert.deepEqual(
    readResults(file).map(({ chunk }) => chunk),
    [2, 3],
  )
})
