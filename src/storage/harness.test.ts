/** What the tests of this layer share: a world whose turns are taken by hand, and entries to put into it. */
import type { Clock, Disk, Platform, Random, Timer } from '../platform/index.ts'
import { MemoryDisk } from '../platform/memory/index.ts'
import { assert, Prng } from '../stdx/index.ts'
import type { ShardCheckpoint } from './checkpoint-format.ts'
import { type Entry, EntryKind, encodeEntry } from './entry.ts'
import type { StorageError } from './errors.ts'
import type { StorageEvent } from './events.ts'
import { Storage, type StorageOptions } from './storage.ts'

/** Time passes only where somebody runs it, so a whole run is a function of its seed. */
export class HandClock implements Clock {
  /** What the wall clock was set forward by. */
  wallSetMs = 0
  #now = 0
  #turn: (() => void)[] = []

  now(): number {
    return this.#now
  }

  wall(): number {
    return 1_700_000_000_000 + this.wallSetMs + Math.floor(this.#now)
  }

  after(): Timer {
    throw new Error('the storage layer uses no timers')
  }

  every(): Timer {
    throw new Error('the storage layer uses no timers')
  }

  endOfTurn(callback: () => void): void {
    this.#turn.push(callback)
  }

  /** One turn; false when nothing is left to do. */
  step(): boolean {
    const turn = this.#turn
    this.#turn = []
    this.#now += 0.05
    for (const callback of turn) callback()
    return turn.length > 0
  }

  /** Time in which nothing happens. */
  pass(ms: number): void {
    this.#now += ms
  }

  /** What belongs to a machine that crashed never runs. */
  forget(): void {
    this.#turn = []
  }

  settle(): void {
    for (let turns = 0; this.step(); turns++) assert(turns < 1_000_000, 'it never comes to rest')
  }
}

export class SeededRandom implements Random {
  readonly #prng: Prng
  readonly #chances: Prng
  readonly #chancePermille: number

  constructor(seed: number | string, chancePermille = 0) {
    this.#prng = new Prng(seed)
    this.#chances = new Prng(`${seed}/chances`)
    this.#chancePermille = chancePermille
  }

  below(bound: number): number {
    return this.#prng.below(bound)
  }

  bytes(length: number): Buffer {
    return this.#prng.bytes(length)
  }

  /** Rare things are as common as asked for. */
  chance(): boolean {
    return this.#chances.below(1000) < this.#chancePermille
  }
}

export class World {
  readonly clock = new HandClock()
  readonly random: SeededRandom
  disk: MemoryDisk
  readonly events: StorageEvent[] = []
  readonly fatals: StorageError[] = []

  constructor(
    seed: number | string = 1,
    { chancePermille, ...options }: { capacityBytes?: number; chancePermille?: number } = {},
  ) {
    this.random = new SeededRandom(seed, chancePermille)
    this.disk = new MemoryDisk({ powerLoss: true, ...options }, { clock: this.clock })
  }

  get platform(): Platform {
    const { clock, disk, random } = this
    return { clock, disk, random, network: null as unknown as Platform['network'] }
  }

  tryOpen(options: Partial<StorageOptions> = {}): Storage | Error {
    let outcome: Storage | Error | null = null
    const all = { directory: '/data', nodeId: 1, clusterHash: '', ...SMALL, ...options }
    const trace = (event: StorageEvent): void => void this.events.push(event)
    const fatal = (error: StorageError): void => void this.fatals.push(error)
    Storage.open(all, { platform: this.platform, trace, fatal }, (error, storage) => {
      outcome = error ?? storage!
    })
    this.clock.settle()
    assert(outcome !== null, 'opening never completed')
    return outcome
  }

  /** An opening that gets no further than so many turns. */
  tryOpenAndStop(options: Partial<StorageOptions>, turns: number): void {
    const all = { directory: '/data', nodeId: 1, clusterHash: '', ...SMALL, ...options }
    const trace = (event: StorageEvent): void => void this.events.push(event)
    const fatal = (error: StorageError): void => void this.fatals.push(error)
    Storage.open(all, { platform: this.platform, trace, fatal }, () => {})
    for (let turn = 0; turn < turns; turn++) this.clock.step()
  }

  open(options: Partial<StorageOptions> = {}): Storage {
    const outcome = this.tryOpen(options)
    if (outcome instanceof Error) throw outcome
    return outcome
  }

  /** How many turns there are before which a crash would make a difference. */
  turnsToRest(): number {
    let turns = 0
    while (this.clock.step()) turns++
    return turns
  }

  powerLoss(): void {
    this.disk = this.disk.powerLoss(this.random)
    this.clock.forget()
  }

  kill(): void {
    this.disk = this.disk.kill(this.random)
    this.clock.forget()
  }

  close(storage: Storage): void {
    let closed = false
    storage.close(() => {
      closed = true
    })
    this.clock.settle()
    assert(closed, 'closing never completed')
  }

  /** Runs one call of the platform to its end. */
  await<T>(start: (done: (error: Error | null, value?: T) => void) => void): T {
    let outcome: { error: Error | null; value?: T | undefined } | null = null
    start((error, value) => {
      outcome = { error, value }
    })
    this.clock.settle()
    const { error, value } = outcome as unknown as { error: Error | null; value: T }
    if (error !== null) throw error
    return value
  }

  read(path: string): Buffer {
    return readWhole(this, this.disk, path)
  }

  write(path: string, bytes: Buffer): void {
    const file = this.await<import('../platform/index.ts').DiskFile>((done) => this.disk.open(path, 'create', done))
    this.await<void>((done) => file.truncate(0, done))
    this.await<void>((done) => file.write([bytes], 0, done))
    this.await<void>((done) => file.datasync(done))
    this.await<void>((done) => file.close(done))
  }

  list(path: string): string[] {
    return this.await<string[]>((done) => this.disk.list(path, done))
  }
}

function readWhole(world: World, disk: Disk, path: string): Buffer {
  const file = world.await<import('../platform/index.ts').DiskFile>((done) => disk.open(path, 'read', done))
  const bytes = Buffer.alloc(world.await<number>((done) => file.size(done)))
  world.await<number>((done) => file.read(bytes, 0, done))
  world.await<void>((done) => file.close(done))
  return bytes
}

/** Sizes at which segments turn over within a short test. */
export const SMALL = { journalSegmentBytes: 64 << 10, shardSegmentBytes: 8 << 10, shardLogFlushBytes: 2 << 10 }

/** The next entry of a log that ends with `previous`. */
export function follow(shard: number, previous: Entry | null, term: number, payload: Buffer, recordCount = 1): Entry {
  return encodeEntry({
    kind: recordCount > 0 ? EntryKind.data : EntryKind.leadership,
    shard,
    term,
    index: (previous?.index ?? 0) + 1,
    stamp: (previous?.stamp ?? 0) + 1,
    firstOffset: previous === null ? 0 : previous.firstOffset + previous.recordCount,
    recordCount,
    previousCrc: previous?.crc ?? 0,
    payload: [payload],
  })
}

export function chain(shard: number, count: number, bytes = 100, term = 1): Entry[] {
  const entries: Entry[] = []
  for (let i = 0; i < count; i++)
    entries.push(follow(shard, entries.at(-1) ?? null, term, Buffer.alloc(bytes, i + 1), 2))
  return entries
}

/** The checkpoint of a shard whose log `entries` (from index 1 on) is applied up to `index`. */
export function checkpointAt(shard: number, entries: readonly Entry[], index: number): ShardCheckpoint {
  const entry = entries[index - 1]
  return {
    shard,
    term: entry?.term ?? 0,
    vote: 0,
    index,
    entryTerm: entry?.term ?? 0,
    crc: entry?.crc ?? 0,
    nextOffset: entry === undefined ? 0 : entry.firstOffset + entry.recordCount,
    stamp: entry?.stamp ?? 0,
    startIndex: 1,
    startOffset: 0,
    epochs: [],
    configuration: Buffer.from('voters'),
    state: Buffer.from(`state at ${index}`),
  }
}
