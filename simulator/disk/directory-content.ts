/**
 * Everything that a data directory holds, read as a start would read it, with nobody else around: no node, no network, and time
 * that passes only when something waits for it. So a whole directory is read in one call, and thousands of damaged copies of it
 * in a few seconds.
 */
import { createHash } from 'node:crypto'
import { type Clock, type Platform, PlatformError } from '../../src/platform/index.ts'
import { MemoryDisk, type Platter } from '../../src/platform/memory/index.ts'
import { assert } from '../../src/stdx/index.ts'
import { type Entry, nextOffsetAfter, Storage, StorageError, type StorageOptions } from '../../src/storage/index.ts'
import { SeededRandom } from '../seeded-random.ts'

const READ_BYTES = 64 << 10
const TURNS_MAX = 1_000_000

/** Time passes by turns, and only here. */
export class TurnClock implements Clock {
  #now = 0
  #turn: (() => void)[] = []

  now(): number {
    return this.#now
  }

  wall(): number {
    return 1_700_000_000_000 + this.#now
  }

  after(): never {
    throw new Error('storage uses no timers')
  }

  every(): never {
    throw new Error('storage uses no timers')
  }

  endOfTurn(callback: () => void): void {
    this.#turn.push(callback)
  }

  settle(): void {
    for (let turns = 0; this.#turn.length > 0; turns++) {
      assert(turns < TURNS_MAX, 'it never comes to rest')
      const turn = this.#turn
      this.#turn = []
      this.#now++
      for (const callback of turn) callback()
    }
  }
}

export type Typed = StorageError | PlatformError

/** `content` per shard: a line that names every entry and all state. */
export type Reading =
  | { readonly kind: 'whole'; readonly content: ReadonlyMap<number, string> }
  | { readonly kind: 'refused'; readonly error: Typed }

export function platformOn(disk: MemoryDisk, clock: Clock): Platform {
  const network = { listen() {}, connect() {} }
  return { clock, disk, network, random: new SeededRandom('reader') }
}

export function openStorage(
  options: StorageOptions,
  disk: MemoryDisk,
  clock: TurnClock,
  fatal: (error: Typed) => void,
) {
  let outcome: Storage | Typed | null = null
  Storage.open(options, { platform: platformOn(disk, clock), trace: () => {}, fatal }, (error, storage) => {
    outcome = error ?? storage ?? null
  })
  clock.settle()
  return outcome as Storage | Typed | null
}

/** Reads a copy of what lies there; the platter itself is not touched. Anything but a typed refusal is thrown. */
export function readDirectory(platter: Platter, options: StorageOptions): Reading {
  const clock = new TurnClock()
  const disk = new MemoryDisk({}, { clock }).replacedBy(platter)
  let failed: Typed | null = null
  const fatal = (error: Typed): void => {
    failed ??= error
  }
  const storage = openStorage(options, disk, clock, fatal)
  if (storage instanceof StorageError || storage instanceof PlatformError) return { kind: 'refused', error: storage }
  if (failed !== null) return { kind: 'refused', error: failed }
  assert(storage !== null, 'the opening neither succeeded nor was refused')
  const content = new Map<number, string>()
  for (const shard of [...storage.recovered.keys()].sort((a, b) => a - b)) {
    const line = readShard(storage, shard, clock)
    if (typeof line !== 'string') return { kind: 'refused', error: line }
    content.set(shard, line)
  }
  if (failed !== null) return { kind: 'refused', error: failed }
  return { kind: 'whole', content }
}

function readShard(storage: Storage, shard: number, clock: TurnClock): string | Typed {
  const { term, vote, checkpoint, entries: tail } = storage.recovered.get(shard)!
  const hash = createHash('sha256')
  const byIndex: Entry[] = []
  const log = storage.openShardLog(shard)
  const through = checkpoint?.index ?? 0
  for (let index = checkpoint?.startIndex ?? 1; index <= through; ) {
    const read = readSome((done) => log.readFromIndex(index, READ_BYTES, done), clock)
    if (read instanceof Error) return read
    assert(read[0]?.index === index, () => `shard ${shard}: a read from ${index} gave ${read[0]?.index}`)
    byIndex.push(...read.filter((entry) => entry.index <= through))
    index = read.at(-1)!.index + 1
  }
  const wrong = readByOffset(log, byIndex, clock)
  if (wrong !== null) return wrong
  const { state, configuration, epochs, ...place } = checkpoint ?? { state: null, configuration: null, epochs: [] }
  hash.update(JSON.stringify([term, vote, place, epochs]))
  for (const bytes of [
    state,
    configuration,
    ...byIndex.map((entry) => entry.bytes),
    ...tail.map((entry) => entry.bytes),
  ])
    if (bytes !== null) hash.update(bytes)
  return `term ${term} vote ${vote} to ${tail.at(-1)?.index ?? through} ${hash.digest('hex')}`
}

/** The same entries, found by their offsets. */
function readByOffset(
  log: ReturnType<Storage['openShardLog']>,
  expected: readonly Entry[],
  clock: TurnClock,
): Typed | null {
  const withRecords = expected.filter(({ recordCount }) => recordCount > 0)
  for (let at = 0; at < withRecords.length; ) {
    const { firstOffset } = withRecords[at]!
    const read = readSome((done) => log.readFromOffset(firstOffset, READ_BYTES, done), clock)
    if (read instanceof Error) return read
    assert(read.length > 0, () => `nothing at offset ${firstOffset}`)
    for (const entry of read) {
      const due = withRecords[at]
      if (entry.recordCount === 0) continue
      if (due === undefined) break
      assert(entry.crc === due.crc, () => `offset ${firstOffset}: entry ${entry.index} where ${due.index} belongs`)
      assert(nextOffsetAfter(entry) === nextOffsetAfter(due), 'offsets of one entry differ')
      at++
    }
  }
  return null
}

function readSome(
  start: (done: (error: Typed | null, entries: Entry[]) => void) => void,
  clock: TurnClock,
): Entry[] | Typed {
  let outcome: Entry[] | Typed | null = null
  start((error, entries) => {
    outcome = error ?? entries
  })
  clock.settle()
  assert(outcome !== null, 'a read was never answered')
  return outcome
}
