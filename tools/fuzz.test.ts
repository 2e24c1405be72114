import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type FuzzResult, findFuzzers, runFuzzers } from './fuzz.ts'

const FUZZERS = {
  'a.fuzz.mjs': 'export function fuzz(seed, rounds) { for (let i = 0; i < rounds; i++) Math.sqrt(seed + i) }',
  'b.fuzz.mjs': 'export function fuzz(seed) { if (seed === 42) throw new Error("defect at 42") }',
  'c.fuzz.mjs': 'export function fuzz() { for (;;); }',
  'd.fuzz.mjs': 'const kept = []; export function fuzz() { kept.push(new Array(300_000).fill(1.5)) }',
  'e.fuzz.mjs': 'this is not a program',
}

async function withFuzzers(body: (files: string[]) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-fuzz-'))
  try {
    for (const [name, text] of Object.entries(FUZZERS)) await writeFile(join(folder, name), text)
    await body(findFuzzers(folder, '.mjs'))
  } finally {
    await rm(folder, { recursive: true })
  }
}

test('fuzz: exceptions, hangs and growth are found, with the seed; the others go on', async () => {
  await withFuzzers(async (files) => {
    assert.equal(files.length, 5)
    const results = await runFuzzers({ files, seconds: 6, seed: 40, hangMs: 2000, growthBytesMax: 8 * 1024 * 1024 })
    const [fine, defect, hang, leak, broken] = results as [FuzzResult, FuzzResult, FuzzResult, FuzzResult, FuzzResult]
    assert.equal(fine.finding, null)
    assert.ok(fine.calls > 5, `${fine.calls} calls`)
    assert.equal(defect.finding?.kind, 'exception')
    assert.equal(defect.finding?.seed, 42)
    assert.match(defect.finding?.text ?? '', /defect at 42/)
    assert.equal(hang.finding?.kind, 'hang')
    assert.equal(leak.finding?.kind, 'memory')
    assert.equal(broken.finding?.kind, 'exception')
  })
})

test('fuzz: a finding is repeated by its seed and rounds', async () => {
  await withFuzzers(async (files) => {
    const again = await runFuzzers({ files: [files[1]!], seconds: 60, seed: 42, rounds: 3 })
    assert.deepEqual([again[0]!.calls, again[0]!.finding?.seed, again[0]!.finding?.rounds], [1, 42, 3])
    const other = await runFuzzers({ files: [files[1]!], seconds: 60, seed: 43, rounds: 3 })
    assert.equal(other[0]!.finding, null)
  })
})
