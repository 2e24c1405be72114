#!/usr/bin/env node
/**
 * `npm run compat`: other people's Kafka clients against clusters of real processes.
 *
 * Every client gets clusters of its own, empty at first, so that what it meets is what a new user meets. Each check is a row;
 * a failure prints the command that repeats it alone.
 */
import { fork } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import colors from 'picocolors'
import { DevCluster } from '../src/cli/dev-cluster.ts'
import { table } from '../src/cli/print.ts'
import { CHECKS } from './checks.ts'
import { RAW_CHECKS } from './raw.ts'
import { CLIENTS, type ClientName, type Errand, type Report, type Row } from './rows.ts'
import { type Interpreter, interpreters } from './runtimes.ts'

interface Flags {
  readonly client?: string
  readonly nodes: string
  readonly check?: string
  readonly basePort: string
  readonly node?: string
  readonly json?: string
  readonly keep?: boolean
}

const REBALANCE_DELAY_MS = 300

const program = new Command('npm run compat --')
  .description('Puts unmodified Kafka clients through the same checks, against one node and against three.')
  .option('--client <NAMES>', `some of ${CLIENTS.join(', ')} (comma between)`)
  .option('--nodes <LIST>', 'cluster sizes', '1,3')
  .option('--check <NAMES>', 'only these checks (comma between)')
  .option('--base-port <PORT>', 'node i has Kafka at PORT + 10 (i - 1)', '25092')
  .option('--node <FILE>', 'an interpreter for the clients that want a newer Node.js than this one (default: $NODE24)')
  .option('--json <FILE>', 'write the rows there')
  .option('--keep', 'leave the data directories of the clusters')
await program.parseAsync()
process.exitCode = await main(program.opts<Flags>())

async function main(flags: Flags): Promise<number> {
  const clients = (flags.client?.split(',') ?? [...CLIENTS]) as ClientName[]
  const unknown = clients.find((client) => !CLIENTS.includes(client))
  if (unknown !== undefined) {
    console.error(`compat: no client ${unknown}; there are ${CLIENTS.join(', ')}`)
    return 1
  }
  const rows: Row[] = []
  for (const client of clients) {
    for (const nodes of flags.nodes.split(',').map(Number)) rows.push(...(await against(client, nodes, flags)))
  }
  if (flags.json !== undefined) fs.writeFileSync(flags.json, `${JSON.stringify(rows, null, 2)}\n`)
  show(rows)
  const count = (outcome: Row['outcome']): number => rows.filter((row) => row.outcome === outcome).length
  for (const row of rows) {
    if (row.outcome === 'failed')
      console.log(`again: npm run compat -- --client ${row.client} --nodes ${row.nodes} --check ${row.check}`)
  }
  if (rows.length === 0) console.error(`compat: no check is called ${flags.check}`)
  console.log(`compat: ${count('ok')} passed, ${count('failed')} failed, ${count('skipped')} skipped`)
  return count('failed') > 0 || rows.length === 0 ? 1 : 0
}

/** One client against one cluster. */
async function against(client: ClientName, nodes: number, flags: Flags): Promise<Row[]> {
  const checks = flags.check?.split(',') ?? null
  const plans = interpreters(client, flags.node ?? (process.env.NODE24 || null))
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-compat-'))
  const logged: string[] = []
  const cluster = new DevCluster({
    nodes,
    directory,
    basePort: Number(flags.basePort),
    flags: ['--group-initial-rebalance-delay-ms', String(REBALANCE_DELAY_MS)],
    output: (node, line) => logged.push(`node ${node}: ${line}`),
    exited: (node, code, signal) => logged.push(`node ${node} ended: ${signal ?? `code ${code}`}`),
  })
  const rows: Row[] = []
  const add = (row: Row): void => {
    rows.push(row)
    progress(row)
  }
  const base = { client, version: '', runtime: '', nodes, ms: 0 }
  try {
    if (typeof plans === 'string') {
      add({ ...base, check: 'all', outcome: 'skipped', note: plans })
      return rows
    }
    cluster.startAll()
    await cluster.ready()
    for (const plan of plans) {
      const errand: Errand = {
        client,
        brokers: cluster.brokers,
        nodes,
        checks: checksOf(client).filter((check) => plan.runs(check) && (checks?.includes(check) ?? true)),
        rebalanceDelayMs: REBALANCE_DELAY_MS,
      }
      await run(errand, plan, add)
    }
    const down = cluster.ids.filter((id) => !cluster.isRunning(id))
    if (down.length > 0) add({ ...base, check: 'nodes-alive', outcome: 'failed', note: `node ${down} ended by itself` })
  } catch (error) {
    add({ ...base, check: 'cluster', outcome: 'failed', note: (error as Error).message })
  } finally {
    await cluster.stopAll()
    if (flags.keep === true) console.error(`compat: data in ${directory}`)
    else fs.rmSync(directory, { recursive: true, force: true })
  }
  if (rows.some((row) => row.outcome === 'failed')) console.error(logged.slice(-20).join('\n'))
  return rows
}

function checksOf(client: ClientName): string[] {
  return (client === 'raw' ? RAW_CHECKS : CHECKS).map(({ name }) => name)
}

function run(errand: Errand, { nodeBinary }: Interpreter, add: (row: Row) => void): Promise<void> {
  if (errand.checks.length === 0) return Promise.resolve()
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const program = fileURLToPath(new URL(`./run-client.${extension}`, import.meta.url))
  const child = fork(program, [JSON.stringify(errand)], {
    execPath: nodeBinary,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let said = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4000)
  })
  let current: string | null = null
  child.on('message', (report: Report) => {
    if (report.type === 'started') {
      current = report.check
      if (process.stderr.isTTY) process.stderr.write(`${errand.client} × ${errand.nodes}: ${report.check} …\r`)
      return
    }
    current = null
    add(report.row)
  })
  return new Promise((resolve) => {
    child.once('close', (code, signal) => {
      if (code !== 0) {
        const { client, nodes } = errand
        const note = `its process ended with ${signal ?? `code ${code}`}: ${said.trim().slice(-600)}`
        add({ client, version: '', runtime: '', nodes, check: current ?? 'start', outcome: 'failed', ms: 0, note })
      }
      resolve()
    })
  })
}

function progress({ client, nodes, check, outcome, ms, note }: Row): void {
  const mark = { ok: colors.green('ok'), failed: colors.red('FAILED'), skipped: colors.yellow('skipped') }[outcome]
  const clear = process.stderr.isTTY ? '\x1b[K' : ''
  process.stderr.write(`${clear}${client} × ${nodes}: ${check} ${mark} ${ms.toFixed(0)} ms  ${colors.dim(note)}\n`)
}

function show(rows: readonly Row[]): void {
  const colour = (text: string, { outcome }: Row): string =>
    outcome === 'failed' ? colors.red(text) : outcome === 'skipped' ? colors.yellow(text) : text
  console.log(
    table(rows, [
      {
        title: 'client',
        value: ({ client, version }) => `${client} ${version.startsWith(client) ? '' : version}`.trim(),
      },
      { title: 'runtime', value: ({ runtime }) => runtime },
      { title: 'nodes', value: ({ nodes }) => String(nodes), right: true },
      { title: 'check', value: ({ check }) => check },
      { title: 'outcome', value: ({ outcome }) => outcome, colour },
      { title: 'ms', value: ({ ms }) => ms.toFixed(0), right: true },
      { title: 'note', value: ({ note }) => note },
    ]),
  )
}
