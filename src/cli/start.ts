/** `tidemark start`: one node in the foreground, until it is asked to stop or stops itself to protect its data. */
import fs from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { surroundings } from '../embedding.ts'
import { HttpError } from '../gateways/http/index.ts'
import { type LogLine, NodeError, TidemarkNode, TraceFile } from '../node.ts'
import {
  formatAddress,
  type NodeOptions,
  OptionError,
  parseNodeOptions,
  type RawSettings,
  SETTINGS,
  settingsFromEnvironment,
  settingsFromFile,
} from '../node-options.ts'
import { type Clock, PlatformError } from '../platform/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { StorageError } from '../storage/index.ts'
import { colors } from './colors.ts'
import { CliError } from './errors.ts'
import { tell } from './output.ts'
import { jsonLine } from './print.ts'

type StartFlags = Record<string, string | boolean | undefined> & {
  readonly config?: string
  readonly json?: boolean
  readonly quiet?: boolean
}

const STOP_PATIENCE_MS = 15_000

export async function start(flags: StartFlags): Promise<number> {
  const options = await readOptions(flags)
  refuseBackup(options.data)
  const platform = nodePlatform()
  const log = (line: LogLine): void => print(line, flags)
  let terminate: (error: NodeError) => void = () => {}
  const terminated = new Promise<NodeError>((resolve) => {
    terminate = resolve
  })
  const traceDirectory = process.env.TIDEMARK_TRACE
  const traceFile =
    traceDirectory === undefined || traceDirectory === ''
      ? null
      : openTrace(path.resolve(traceDirectory), options.id, platform.clock)
  const stopped = signalled()
  const starting = TidemarkNode.start(options, {
    ...surroundings(platform),
    log,
    terminated: (error) => terminate(error),
    traceFile,
  })
  let node: TidemarkNode
  try {
    const first = await Promise.race([starting, terminated])
    if (first instanceof NodeError) return fail(first)
    node = first
  } catch (error) {
    throw refusal(error as Error, options)
  }
  const { kafkaAddress, httpAddress, peerAddress } = node
  log({
    level: 'info',
    message: `node ${node.id} listens: kafka ${formatAddress(kafkaAddress)}, http ${httpAddress === null ? 'off' : formatAddress(httpAddress)}, peers ${formatAddress(peerAddress)}`,
  })
  const end = await Promise.race([stopped, terminated])
  if (end instanceof NodeError) return fail(end)
  log({ level: 'info', message: `${end}: handing leadership over and stopping` })
  const impatience = setTimeout(() => {
    const waited = `not everything is over after ${STOP_PATIENCE_MS / 1000} s`
    if (node.status().disk.stuckMs === 0) process.exit(0)
    const why = `the disk of ${options.data} does not answer`
    log({ level: 'warning', message: `${waited}, for ${why}: ending at once; what was acknowledged is on it` })
    // An ordinary end would wait for the thread that waits for the disk.
    process.kill(process.pid, 'SIGKILL')
  }, STOP_PATIENCE_MS)
  await node.stop()
  clearTimeout(impatience)
  // Whatever is still open (a client that does not hang up) must not keep a stopped node alive.
  process.exit(0)
}

/** A node would put its files among those of a backup, and neither could be told from the other. */
function refuseBackup(directory: string): void {
  const has = (name: string): boolean => fs.existsSync(path.join(directory, name))
  if (has('identity') || !has('segments')) return
  throw new CliError(
    { code: 'REFUSED', subject: 'data' },
    `--data ${directory}: holds a backup, not a node's data; give this node a directory of its own, and bring the backup in with tidemark restore`,
  )
}

/** A restarted node starts another file. */
function openTrace(directory: string, node: number, clock: Clock): TraceFile {
  fs.mkdirSync(directory, { recursive: true })
  const file = fs.openSync(path.join(directory, `node-${node}-${process.pid}.jsonl`), 'a')
  return new TraceFile(node, { clock, write: (line) => fs.writeSync(file, line) })
}

function signalled(): Promise<string> {
  return new Promise((resolve) => {
    process.once('SIGTERM', () => resolve('SIGTERM'))
    process.once('SIGINT', () => resolve('SIGINT'))
  })
}

function fail(error: NodeError): never {
  tell(`tidemark: ${error.message}\n`)
  // At once: a node that no longer trusts itself must not finish anything.
  process.exit(error.details.exitCode)
}

/** What an operator can mend is one line; anything else is a defect of ours and keeps its stack. */
function refusal(error: Error, options: NodeOptions): Error {
  if (error instanceof PlatformError && error.details.code === 'DISK_IN_USE') {
    return new CliError(
      { code: 'REFUSED', subject: 'data' },
      `--data ${options.data}: another process uses this directory; stop it or give this node a directory of its own`,
    )
  }
  if (
    error instanceof NodeError ||
    error instanceof StorageError ||
    error instanceof PlatformError ||
    error instanceof HttpError
  ) {
    return new CliError({ code: 'REFUSED', subject: 'start' }, error.message)
  }
  return error
}

async function readOptions(flags: StartFlags): Promise<NodeOptions> {
  const config = flags.config ?? process.env.TIDEMARK_CONFIG
  const given: RawSettings = {}
  for (const { flag } of SETTINGS) {
    const value = flags[camelCase(flag)]
    if (value !== undefined) given[flag] = String(value)
  }
  const file = config === undefined ? {} : settingsFromFile(await readConfig(config), config)
  return parseNodeOptions({ ...file, ...settingsFromEnvironment(process.env), ...given })
}

async function readConfig(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new OptionError(
      { code: 'OPTION_INVALID', option: 'config', value: file },
      `--config ${file}: cannot be read (${(error as NodeJS.ErrnoException).code})`,
    )
  }
}

function camelCase(flag: string): string {
  return flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

function print({ level, message }: LogLine, flags: StartFlags): void {
  if (flags.quiet === true && level === 'info') return
  const time = new Date().toISOString()
  if (flags.json === true) {
    tell(`${jsonLine({ time, level, message })}\n`)
    return
  }
  const tint = level === 'error' ? colors.red : level === 'warning' ? colors.yellow : (text: string) => text
  tell(`${colors.dim(time)} ${tint(message)}\n`)
}
