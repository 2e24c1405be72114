#!/usr/bin/env node
/** `npm run bench -- produce | consume`: what this machine gives, as a table for people and JSON for machines. */
import fs from 'node:fs'
import { Command } from 'commander'
import { table } from '../src/cli/print.ts'
import { benchConsume } from './consume.ts'
import { benchProduce } from './produce.ts'

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
await program.parseAsync()

function options(flags: Flags) {
  return {
    seconds: Number(flags.seconds),
    rounds: Number(flags.rounds),
    nodes: flags.nodes.split(',').map(Number),
    ceiling: flags.ceiling ?? null,
    progress: (text: string) => process.stderr.write(process.stderr.isTTY ? `\r${text}\x1b[K` : `${text}\n`),
  }
}

async function report(running: Promise<readonly Record<string, string | number>[]>, flags: Flags): Promise<void> {
  const rows = await running
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  if (flags.json !== undefined) fs.writeFileSync(flags.json, `${JSON.stringify(rows, null, 2)}\n`)
  const titles = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  console.log(
    table(
      rows,
      titles.map((title) => ({
        title,
        value: (row: Record<string, string | number>) => String(row[title] ?? ''),
        right: true,
      })),
    ),
  )
  const failed = rows.filter((row) => Number(row.errors ?? 0) > 0).length
  console.log(`\nbench: ${rows.length} rows, ${failed} with errors`)
  process.exitCode = failed > 0 ? 1 : 0
}
