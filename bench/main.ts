#!/usr/bin/env node
/** `npm run bench -- produce | consume | cleaning | journal | recovery`: what this machine gives, as a table for people and JSON for machines. */
import fs from 'node:fs'
import os from 'node:os'
import { Command } from 'commander'
import { table } from '../src/cli/print.ts'
import { benchCleaning } from './cleaning.ts'
import { benchConsume } from './consume.ts'
import { benchJournal, type JournalReport } from './journal.ts'
import { benchChoices } from './journal-choices.ts'
import { benchProduce, type Row } from './produce.ts'
import { benchRecovery } from './recovery.ts'

interface Flags {
  readonly seconds: string
  readonly rounds: string
  readonly nodes: string
  readonly ceiling?: string
  readonly json?: string
}

const program = new Command('npm run bench --').description('Measures a cluster of real processes on this machine.')
const suite = (name: string, description: string): Command =>
  program
    .command(name)
    .description(description)
    .argument('[rows...]', 'CONNECTIONSxINFLIGHTxBYTES (default: a set)')
    .option('--seconds <N>', 'per row and round', '4')
    .option('--rounds <N>', 'rounds; the median is shown', '1')
    .option('--nodes <LIST>', 'cluster sizes', '1,3')
    .option(
      '--ceiling <FILE>',
      'a program that prints what the machine allows, run in alternation; figures become shares of it',
    )
    .option('--json <FILE>', 'write the figures there')

suite('produce', 'One-record produce requests, acks all: requests/s, MB/s, latency, syncs, CPU.').action(
  (rows: string[], flags: Flags) => report(benchProduce(rows, options(flags)), flags),
)
suite('consume', 'Reading a topic back from its start and at its tail: records/s, MB/s.').action(
  (rows: string[], flags: Flags) => report(benchConsume(rows, options(flags)), flags),
)
program
  .command('journal')
  .description(
    'The journal against a bare loop of the same writes and syncs; syncs by number of shards. Exit 1 below a bar.',
  )
  .argument('[loads...]', 'WRITERSxBYTES[xPAUSE-MS] (default: a set)')
  .option('--seconds <N>', 'per slice; short ones share what else the machine does', '0.15')
  .option('--rounds <N>', 'rounds; the median of their ratios counts', '41')
  .option('--shards <LIST>', 'numbers of shards to compare; 0 to leave that out', '1,10,100,1000')
  .option('--directory <DIR>', 'on the disk to be measured', os.tmpdir())
  .option('--json <FILE>', 'write the figures there')
  .action(async (loads: string[], { seconds, rounds, shards, directory, json }: Record<string, string>) => {
    const counts = shards!
      .split(',')
      .map(Number)
      .filter((count) => count > 0)
    const numbers = { seconds: Number(seconds), rounds: Number(rounds), shards: counts }
    reportBars(await benchJournal(loads, { directory: directory!, ...numbers, progress }), json)
  })
program
  .command('journal-choices')
  .description('What decision 6 rests on: kinds of calls, sizes of segments, payloads written once or twice.')
  .option('--seconds <N>', 'per slice', '0.1')
  .option('--rounds <N>', 'rounds', '20')
  .option('--images <LIST>', 'file systems to make in images and to measure too, such as ext4,xfs; needs root', '')
  .option('--directory <DIR>', 'on the disk to be measured', os.tmpdir())
  .option('--json <FILE>', 'write the figures there')
  .action(async ({ seconds, rounds, images, directory, json }: Record<string, string>) => {
    const kinds = images!.split(',').filter((kind) => kind !== '')
    const numbers = { seconds: Number(seconds), rounds: Number(rounds) }
    const rows = await benchChoices({ directory: directory!, images: kinds, ...numbers, progress })
    reportBars({ rows, shardRows: [], missed: [] }, json)
  })
program
  .command('recovery')
  .description(
    'From the start of a process to the first acknowledged write, on directories of killed nodes. Exit 1 above a bar.',
  )
  .argument('[only...]', 'parts of names (default: all)')
  .option('--runs <N>', 'runs of each; the median counts', '5')
  .option('--directory <DIR>', 'on the disk to be measured', os.tmpdir())
  .option('--json <FILE>', 'write the figures there')
  .action(async (only: string[], { runs, directory, json }: Record<string, string>) => {
    const { rows, missed } = await benchRecovery({ directory: directory!, runs: Number(runs), only, progress })
    reportBars({ rows, shardRows: [], missed }, json)
  })
program
  .command('cleaning')
  .description('Writing while retention and compaction work, against writing while all is kept. Exit 1 below a bar.')
  .argument('[rows...]', 'CONNECTIONSxINFLIGHTxRECORDSxBYTES (default: a set)')
  .option('--seconds <N>', 'per slice; short ones share what else the machine does', '2')
  .option('--rounds <N>', 'pairs of slices; the median of their ratios counts', '15')
  .option('--bytes-per-second <N>', 'how fast the nodes may compact, 0: without limit; their default if absent')
  .option('--json <FILE>', 'write the figures there')
  .action(async (rows: string[], { seconds, rounds, bytesPerSecond, json }: Record<string, string>) => {
    const flags = bytesPerSecond === undefined ? [] : ['--cleaning-bytes-per-second', bytesPerSecond]
    const numbers = { seconds: Number(seconds), rounds: Number(rounds) }
    const report = await benchCleaning(rows, { ...numbers, flags, progress })
    reportBars({ rows: [...report.rows], shardRows: [], missed: [...report.missed] }, json)
  })
await program.parseAsync()

function progress(text: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r${text}\x1b[K` : `${text}\n`)
}

function options(flags: Flags) {
  return {
    seconds: Number(flags.seconds),
    rounds: Number(flags.rounds),
    nodes: flags.nodes.split(',').map(Number),
    ceiling: flags.ceiling ?? null,
    progress,
  }
}

async function report(running: Promise<readonly Row[]>, flags: Flags): Promise<void> {
  const rows = await running
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  if (flags.json !== undefined) fs.writeFileSync(flags.json, `${JSON.stringify(rows, null, 2)}\n`)
  print(rows)
  const failed = rows.filter((row) => Number(row.errors ?? 0) > 0).length
  console.log(`\nbench: ${rows.length} rows, ${failed} with errors`)
  process.exitCode = failed > 0 ? 1 : 0
}

function reportBars({ rows, shardRows, missed }: JournalReport, json: string | undefined): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  if (json !== undefined) fs.writeFileSync(json, `${JSON.stringify({ rows, shardRows, missed }, null, 2)}\n`)
  print(rows)
  if (shardRows.length > 0) {
    console.log()
    print(shardRows)
  }
  for (const one of missed) console.log(`\nMISSED: ${one}`)
  console.log(`\nbench: ${missed.length === 0 ? 'all bars held' : `${missed.length} bars missed`}`)
  process.exitCode = missed.length === 0 ? 0 : 1
}

function print(rows: readonly Row[]): void {
  const titles = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const value = (title: string) => (row: Row) => String(row[title] ?? '')
  console.log(
    table(
      rows,
      titles.map((title) => ({ title, value: value(title), right: true })),
    ),
  )
}
