/**
 * `tidemark log` on damaged data directories: every command ends, says so in its exit code or in one line, prints nothing that a
 * script cannot read, and leaves the files as they are. And it is no worse a judge than an opening: a directory on which a node
 * refuses to start because of damage never passes `verify`.
 */
import { CliError } from '../src/cli/errors.ts'
import { type LogAction, type LogFlags, logCommand } from '../src/cli/log.ts'
import { assert, crc32c, Prng } from '../src/stdx/index.ts'
import { chain, checkpointAt, World } from '../src/storage/harness.test.ts'
import { encodeHardState, StorageError } from '../src/storage/index.ts'
import { BLOCK_ALIGNMENT, BLOCK_HEADER_BYTES, peekBlockHeader } from '../src/storage/journal-format.ts'
import { mutate } from '../src/storage/mutate.fuzz.ts'

type Files = ReadonlyMap<string, Buffer>

const OPTIONS = { journalSegmentBytes: 32 << 10 }
const LOG = chain(16, 30, 700)
/** Refusals whose cause is in the bytes of one file or in a file that is not there. */
const DAMAGE = [
  'JOURNAL_DAMAGED',
  'CHECKPOINT_DAMAGED',
  'CHECKPOINT_MISSING',
  'IDENTITY_DAMAGED',
  'IDENTITY_MISSING',
  'SHARD_LOG_MISSING',
  'NEWER_FORMAT',
]
/** Turns of the clock in which everything must be over. */
const TURNS_MAX = 200_000

export async function fuzz(seed: number, rounds: number): Promise<void> {
  const prng = new Prng(seed)
  const directories = [killed(), closed()]
  for (const files of directories) await healthy(files)
  for (let round = 0; round < Math.ceil(rounds / 10); round++) {
    const files = new Map(directories[prng.below(directories.length)]!)
    const paths = [...files.keys()]
    for (let times = 1 + prng.below(2); times > 0; times--) {
      const hit = paths[prng.below(paths.length)]!
      // Now and then it is gone.
      if (prng.below(12) === 0) files.delete(hit)
      else if (files.has(hit)) files.set(hit, damage(files.get(hit)!, prng))
    }
    await oneDirectory(files, prng)
  }
}

async function oneDirectory(files: Files, prng: Prng): Promise<void> {
  const world = place(files)
  const verdict = await command(world, 'verify', ['/data'], { json: prng.below(2) === 0 })
  for (const action of ['dump', 'stats', 'verify'] as const) {
    const paths = prng.below(2) === 0 ? ['/data'] : [...files.keys()].filter(() => prng.below(3) === 0)
    if (paths.length > 0) await command(world, action, paths, flags(prng))
  }
  for (const [path, bytes] of files) assert(world.read(path).equals(bytes), () => `${path} was changed`)
  const outcome = world.tryOpen(OPTIONS)
  if (!(outcome instanceof StorageError) || !DAMAGE.includes(outcome.code)) return
  assert(verdict.code === 1, () => `a node does not start (${outcome.message}), and verify says:\n${verdict.text}`)
}

/** What was not damaged is not called so. */
async function healthy(files: Files): Promise<void> {
  const { code, text } = await command(place(files), 'verify', ['/data'], {})
  assert(code === 0, () => `a healthy directory:\n${text}`)
}

function flags(prng: Prng): LogFlags {
  const maybe = <T>(value: T): T | undefined => (prng.below(4) === 0 ? value : undefined)
  return Object.fromEntries(
    Object.entries({
      json: prng.below(2) === 0,
      records: prng.below(2) === 0,
      shard: maybe('16'),
      from: maybe(String(prng.below(30))),
      to: maybe(String(prng.below(30))),
      limit: maybe(String(1 + prng.below(40))),
    }).filter(([, value]) => value !== undefined),
  )
}

async function command(
  world: World,
  action: LogAction,
  paths: string[],
  given: LogFlags,
): Promise<{ code: number; text: string }> {
  let text = ''
  const write = (more: string): boolean => {
    text += more
    return true
  }
  let outcome: { code: number } | { error: unknown } | null = null
  void logCommand(action, paths, given, { disk: world.disk, write }).then(
    (code) => {
      outcome = { code }
    },
    (error: unknown) => {
      outcome = { error }
    },
  )
  for (let turns = 0; outcome === null; turns++) {
    assert(turns < TURNS_MAX, () => `${action} ${paths.join(' ')} does not end`)
    world.clock.step()
    await Promise.resolve()
  }
  const { code, error } = outcome as { code?: number; error?: unknown }
  if (error !== undefined && !(error instanceof CliError)) throw error
  if (error instanceof CliError) {
    assert(!error.message.includes('\n'), () => `more than a line: ${error.message}`)
    return { code: 1, text }
  }
  const control = [...text].find((character) => character !== '\n' && /\p{Cc}/u.test(character))
  assert(control === undefined, () => `${action} prints the control character ${control?.codePointAt(0)}`)
  if (given.json === true) for (const line of text.split('\n')) if (line !== '') JSON.parse(line)
  return { code: code!, text }
}

function place(files: Files): World {
  const world = new World('placed')
  for (const folder of ['/data/journal', '/data/shards/16'])
    world.await<void>((done) => world.disk.makeDirectory(folder, done))
  for (const [path, bytes] of files) world.write(path, bytes)
  return world
}

/** A journal of several segments; the last block is the last thing that happened. */
function killed(): Files {
  const world = new World('killed')
  const storage = world.open(OPTIONS)
  for (const entry of LOG) {
    storage.append(entry.index % 7 === 1 ? [encodeHardState(16, entry.index, 3), entry] : [entry], () => {})
    world.clock.settle()
  }
  world.kill()
  return filesOf(world)
}

/** Shard logs with indexes, a checkpoint with state, and a journal with recycled segments. */
function closed(): Files {
  const world = new World('closed')
  const storage = world.open(OPTIONS)
  const log = storage.openShardLog(16)
  storage.setCheckpointSource({ activeShards: () => [16], capture: () => checkpointAt(16, LOG, log.lastIndex) })
  for (const entry of LOG) {
    storage.append([entry], () => {})
    log.append(entry)
    world.clock.settle()
  }
  world.close(storage)
  return filesOf(world)
}

function filesOf(world: World): Files {
  const names = (folder: string): string[] => world.list(folder).map((name) => `${folder}/${name}`)
  const shards = world.list('/data/shards').flatMap((shard) => names(`/data/shards/${shard}`))
  const small = world.list('/data').filter((name) => /^(identity|checkpoint|terms)/.test(name))
  const paths = [...small.map((name) => `/data/${name}`), ...names('/data/journal'), ...shards]
  return new Map(paths.map((path) => [path, world.read(path)]))
}

/** Some damage gets right sums, as a mistake in the writer would. */
function damage(bytes: Buffer, prng: Prng): Buffer {
  const out = Buffer.from(mutate(bytes, prng))
  if (prng.below(2) === 0) return out
  if (prng.below(2) === 0) {
    if (out.length >= 12) out.writeUInt32LE(crc32c(out.subarray(12)), 8)
    return out
  }
  for (let at = 0; at < out.length; at += BLOCK_ALIGNMENT) {
    const block = peekBlockHeader(out, at)
    const end = at + BLOCK_HEADER_BYTES + (block?.bodyBytes ?? 0)
    if (block !== null && end <= out.length) out.writeUInt32LE(crc32c(out.subarray(at + 8, end)), at + 4)
  }
  return out
}
