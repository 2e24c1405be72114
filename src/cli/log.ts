/**
 * `tidemark log dump | verify | stats`: what the files of a data directory hold, from a node that runs, was killed, or does not start.
 *
 * Lines go out as the files are read, so that neither a large file nor a long folder has to fit into memory.
 */
import { type Disk, PlatformError } from '../platform/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { InspectionError, type ItemSink, inspect } from '../storage/index.ts'
import { CliError } from './errors.ts'
import { Dump, type DumpOptions } from './log-dump.ts'
import { jsonDump } from './log-json.ts'
import { Stats } from './log-stats.ts'
import { Verification } from './log-verify.ts'
import { output } from './output.ts'

export type LogAction = 'dump' | 'verify' | 'stats'

export interface LogFlags {
  readonly json?: boolean
  readonly records?: boolean
  readonly shard?: string
  readonly from?: string
  readonly to?: string
  readonly limit?: string
}

/** Where it reads and where it writes; false when nobody reads any more (`| head`). */
export interface LogSurroundings {
  readonly disk: Disk
  readonly write: (text: string) => boolean
}

const CHUNK_CHARACTERS = 64 << 10

export async function logCommand(
  action: LogAction,
  paths: readonly string[],
  flags: LogFlags,
  surroundings: LogSurroundings = standardOutput(),
): Promise<number> {
  const options = dumpOptions(flags)
  let pending = ''
  let heard = true
  const flush = (): void => {
    if (pending !== '') heard = surroundings.write(pending) && heard
    pending = ''
  }
  const line = (text: string): boolean => {
    pending += `${text}\n`
    if (pending.length >= CHUNK_CHARACTERS) flush()
    return heard
  }
  try {
    if (action === 'dump') {
      const dump = flags.json === true ? jsonDump(options, line) : new Dump(options, line)
      await read(surroundings.disk, paths, (item) => dump.take(item))
      return 0
    }
    const json = flags.json === true
    const report = action === 'verify' ? new Verification(json, line) : new Stats(json, line)
    await read(surroundings.disk, paths, (item) => report.take(item))
    return report.finish()
  } finally {
    flush()
  }
}

function read(disk: Disk, paths: readonly string[], sink: ItemSink): Promise<void> {
  return new Promise((resolve, reject) => {
    inspect(disk, paths, sink, (error) => {
      if (error === null) resolve()
      else if (error instanceof InspectionError || error instanceof PlatformError)
        reject(new CliError({ code: 'REFUSED', subject: 'log' }, error.message))
      else reject(error)
    })
  })
}

function standardOutput(): LogSurroundings {
  return { disk: nodePlatform().disk, write: (text) => output.write(text) }
}

function dumpOptions(flags: LogFlags): DumpOptions {
  const shard = number('shard', flags.shard, 0, 0xffff_ffff)
  const from = number('from', flags.from, 0) ?? 0
  const to = number('to', flags.to, 0) ?? Number.POSITIVE_INFINITY
  if (from > to)
    throw new CliError(
      { code: 'USAGE', option: 'from' },
      `--from ${from} --to ${to}: nothing is from ${from} to ${to}; swap them`,
    )
  const limit = number('limit', flags.limit, 1) ?? Number.POSITIVE_INFINITY
  return { records: flags.records === true, shard, from, to, limit }
}

function number(option: string, text: string | undefined, min: number, max = Number.MAX_SAFE_INTEGER): number | null {
  if (text === undefined) return null
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new CliError({ code: 'USAGE', option }, `--${option} ${text}: must be a whole number from ${min}`)
}
