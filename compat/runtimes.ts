/**
 * Which Node.js runs which client. Most run under the one that runs this. @platformatic/kafka calls functions that Node.js 20
 * does not have (`Promise.withResolvers`), and zstd came to node:zlib with 22.15: for these a newer interpreter is looked for.
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import type { ClientName } from './rows.ts'

export interface Interpreter {
  readonly nodeBinary: string
  readonly runs: (check: string) => boolean
}

const ZSTD_CHECK = 'produce-zstd'

const NEEDED = [22, 22] as const

/** How to run the client, or why it cannot be run. */
export function interpreters(client: ClientName, given: string | null): Interpreter[] | string {
  const own = { nodeBinary: process.execPath, runs: () => true }
  if (client === 'kcat' || client === 'raw' || isNew(process.version)) return [own]
  const newer = given !== null && isNew(versionOf(given)) ? given : null
  if (client === 'kafkajs') {
    if (newer === null) return [own]
    return [
      { nodeBinary: process.execPath, runs: (check) => check !== ZSTD_CHECK },
      { nodeBinary: newer, runs: (check) => check === ZSTD_CHECK },
    ]
  }
  if (newer !== null) return [{ nodeBinary: newer, runs: () => true }]
  return `wants Node.js ${NEEDED.join('.')}, this is ${process.version}; try --node "$(tools/node24.sh)"`
}

function versionOf(file: string): string {
  return fs.existsSync(file) ? spawnSync(file, ['--version'], { encoding: 'utf8' }).stdout.trim() : ''
}

function isNew(version: string): boolean {
  const [major = 0, minor = 0] = version.replace('v', '').split('.').map(Number)
  return major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])
}
