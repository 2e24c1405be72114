/** Processes that run seeds: what they answer, and what it means when they do not. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { Job } from './job.ts'
import { Pool } from './pool.ts'

const directory = mkdtempSync(join(tmpdir(), 'tidemark-pool-'))
after(() => rmSync(directory, { recursive: true }))

function entry(name: string, body: string): string {
  const path = join(directory, `${name}.mjs`)
  writeFileSync(path, `process.on('message', (job) => { ${body} })\nprocess.on('disconnect', () => process.exit())\n`)
  return path
}

const job = (seed: number): Job => ({ seed, profile: 'calm', durationMs: 1000 })

test('each job gets its own answer', async () => {
  const pool = new Pool({ workers: 2, entry: entry('echo', 'process.send({ seed: job.seed, violation: null })') })
  try {
    const outcomes = await Promise.all([1, 2, 3, 4, 5].map((seed) => pool.run(job(seed))))
    assert.deepEqual(
      outcomes.map(({ seed }) => seed),
      [1, 2, 3, 4, 5],
    )
  } finally {
    pool.close()
  }
})

test('a process that dies fails its seed, says why, and is replaced', async () => {
  const body = `if (job.seed === 1) { process.stderr.write('gone'); process.exit(3) } process.send({ seed: job.seed, violation: null })`
  const pool = new Pool({ workers: 1, entry: entry('dies', body) })
  try {
    const [one, two] = await Promise.all([pool.run(job(1)), pool.run(job(2))])
    assert.match(one.violation?.message ?? '', /exit code 3.*gone/)
    assert.equal(two.violation, null)
  } finally {
    pool.close()
  }
})

test('a run that does not come back is ended', async () => {
  const body = 'if (job.seed === 1) for (;;); process.send({ seed: job.seed, violation: null })'
  const pool = new Pool({ workers: 1, entry: entry('hangs', body), timeoutMs: 1500 })
  try {
    const [one, two] = await Promise.all([pool.run(job(1)), pool.run(job(2))])
    assert.equal(one.violation?.property, 'every run ends')
    assert.equal(two.violation, null)
  } finally {
    pool.close()
  }
})
