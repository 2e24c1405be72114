/**
 * `tidemark log dump | verify | stats`: what the files of a data directory hold, from a node that runs, was killed, or does not start.
 *
 * Lines go out as the files are read, so that neither a large file nor a long folder has to fit into memory.
 */
import { type Disk, PlatformError } from '../platform/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { InspectionError, type ItemSink, inspect, type LogItem } from '../storage/index.ts'
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
    const json = flags.json === true
    if (action === 'dump') {
      const dump = json ? jsonDump(options, line) : new Dump(options, line)
      const { refused } = await readAll(surroundings.disk, paths, (item) => dump.take(item))
      if (refused !== null) throw refused
      return 0
    }
    const report = action === 'verify' ? new Verification(json, line) : new Stats(json, line)
    const { refused, found } = await readAll(surroundings.disk, paths, (item) => report.take(item))
    const code = found || refused === null ? report.finish() : 1
    if (refused !== null) throw refused
    return code
  } finally {
    flush()
  }
}

/** One path after the other: that one is refused takes nothing from the others. All refusals are in one error, a line each. */
async function readAll(
  disk: Disk,
  paths: readonly string[],
  sink: ItemSink,
): Promise<{ refused: CliError | null; found: boolean }> {
  const refusals: string[] = []
  let [found, stopped] = [false, false]
  const take = (item: LogItem): boolean => {
    found = true
    stopped = !sink(item)
    return !stopped
  }
  for (const path of paths) {
    if (stopped) break
    const refusal = await read(disk, path, take)
    if (refusal !== null) refusals.push(refusal)
  }
  const refused = refusals.length === 0 ? null : new CliError({ code: 'REFUSED', subject: 'log' }, refusals.join('\n'))
  return { refused, found }
}

/** Why it was refused, in a line. */
function read(disk: Disk, path: string, sink: ItemSink): Promise<string | null> {
  return new Promise((resolve, reject) => {
    inspect(disk, [path], sink, (error) => {
      if (error === null) resolve(null)
      else if (error instanceof InspectionError || error instanceof PlatformError) resolve(error.message)
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
  throw new CliError({ code: 'USAGE', option }, `--${option} ${text}: must be a whole number from ${min} to ${max}`)
}
