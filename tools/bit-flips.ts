/**
 * `node dist/tools/bit-flips.js`: the bit-flip campaign (bit-flips/flips.ts), with a table, and a line in the campaigns' book.
 * Exit code 1: something wrong was served, forgotten, or stayed damaged.
 */
import { appendFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { currentCommit } from '../simulator/runner/commit.ts'
import { campaign, FlipFailure, type Tally } from './bit-flips/flips.ts'

const { values } = parseArgs({
  options: {
    flips: { type: 'string', default: '5000' },
    seed: { type: 'string', default: '1' },
    results: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

function table(tally: Tally): string {
  const rows = Object.entries(tally).sort(([a], [b]) => (a < b ? -1 : 1))
  return rows
    .map(([name, outcomes]) => {
      const parts = Object.entries(outcomes).map(([outcome, count]) => `${outcome} ${count}`)
      return `  ${name.padEnd(44)} ${parts.join(', ')}`
    })
    .join('\n')
}

function main(): number {
  if (values.help) {
    console.log('Usage: node dist/tools/bit-flips.js [--flips N] [--seed N] [--results FILE]')
    return 0
  }
  const [flips, seed] = [Number(values.flips), Number(values.seed)]
  const started = performance.now()
  try {
    const tally = campaign(flips, seed, (done) => {
      if (process.stderr.isTTY) process.stderr.write(`\r${done} of ${flips} `)
    })
    const seconds = Math.round((performance.now() - started) / 100) / 10
    console.log(`${table(tally)}\n\nbit-flips: ${flips} flips held (seed ${seed}, ${seconds} s)`)
    const line = { commit: currentCommit(), node: process.version, seed, flips, verdict: 'held', seconds, tally }
    if (values.results !== undefined) appendFileSync(values.results, `${JSON.stringify(line)}\n`)
    return 0
  } catch (error) {
    if (!(error instanceof FlipFailure)) throw error
    console.log(`bit-flips: BROKEN at ${error.message} (seed ${seed})`)
    const line = { commit: currentCommit(), node: process.version, seed, flips, verdict: 'violated', at: error.message }
    if (values.results !== undefined) appendFileSync(values.results, `${JSON.stringify(line)}\n`)
    return 1
  }
}

process.exitCode = main()
