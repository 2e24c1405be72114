/**
 * Compaction against a twin that nobody could get wrong: a list of all records that were ever written.
 *
 * A round is one history: batches of few keys, in all codecs, with and without producers' numbers, with tombstones, as entries of
 * one shard; floors that the leader might decide, maps too small for what they are to hold, crashes at any moment. After each
 * cleaning and each crash the log is read from its start, and from offsets in the middle:
 *
 *   - every record that is there is one that was written, at its offset, in order, and none from the floor on is missing;
 *   - of every key the latest record is there, unless it is a tombstone below the horizon;
 *   - below the floor nothing is there that a record below the floor replaces;
 *   - of every producer the last batch is there, whatever is left in it.
 */
import {
  baseOffsetOf,
  baseSequenceOf,
  batchesIn,
  Codec,
  canCompress,
  encodeBatch,
  forEachRecord,
  lastOffsetOf,
  producerIdOf,
  recordCountOf,
  sumOf,
} from '../records/index.ts'
import { assert, Prng } from '../stdx/index.ts'
import { type Entry, EntryKind, encodeEntry, nextOffsetAfter, payloadOf } from './entry.ts'
import { checkpointAt, World } from './harness.test.ts'
import type { ShardLog } from './shard-log.ts'
import type { Storage } from './storage.ts'

interface Written {
  readonly key: string
  readonly value: string | null
  readonly timestamp: number
}

export interface CleaningCounts {
  cleanings: number
  crashes: number
  dropped: number
}

const CODECS = Object.values(Codec).filter((codec) => canCompress(codec))
const SHARD = 16

export function fuzz(seed: number, rounds: number): CleaningCounts {
  const counts = { cleanings: 0, crashes: 0, dropped: 0 }
  for (let round = 0; round < rounds; round++) new History(`${seed}/${round}`, counts).run()
  return counts
}

class History {
  readonly #counts: CleaningCounts
  readonly #prng: Prng
  readonly #world: World
  readonly #options: { cleaningMapBytes: number }
  readonly #written: Written[] = []
  readonly #lastOfProducer = new Map<number, { offset: number; sequence: number }>()
  readonly #entries: Entry[] = []
  #storage: Storage
  #log: ShardLog
  #tombstonesBelow = 0
  #floor = { index: 1, offset: 0 }
  #sequence = 0

  constructor(seed: string, counts: CleaningCounts) {
    this.#counts = counts
    this.#prng = new Prng(seed)
    const chancePermille = this.#prng.below(3) === 0 ? 100 : 0
    this.#world = new World(seed, { chancePermille })
    this.#options = { cleaningMapBytes: this.#prng.below(3) === 0 ? 1 + this.#prng.below(400) : 1 << 20 }
    ;[this.#storage, this.#log] = this.#open()
  }

  run(): void {
    for (let steps = 4 + this.#prng.below(12); steps > 0; steps--) {
      const count = 1 + this.#prng.below(8)
      for (let i = 0; i < count; i++) this.#write()
      this.#world.clock.settle()
      if (this.#prng.below(2) === 0) this.#clean()
      if (this.#prng.below(4) === 0) this.#crash()
      this.#check()
    }
    this.#cleanAll()
  }

  #open(): [Storage, ShardLog] {
    const storage = this.#world.open(this.#options)
    const log = storage.openShardLog(SHARD)
    for (const entry of storage.recovered.get(SHARD)?.entries ?? []) log.append(entry)
    storage.setCheckpointSource({
      activeShards: () => [SHARD],
      capture: () => {
        const [startIndex, startOffset] = [this.#log.firstIndex, this.#log.firstOffset]
        return { ...checkpointAt(SHARD, this.#entries, this.#entries.length), startIndex, startOffset }
      },
    })
    return [storage, log]
  }

  #write(): void {
    const previous = this.#entries.at(-1) ?? null
    const firstOffset = this.#written.length
    const payload: Buffer[] = []
    for (let left = this.#prng.below(4); left > 0; left--) payload.push(this.#batch())
    const entry = encodeEntry({
      kind: payload.length === 0 ? EntryKind.leadership : EntryKind.data,
      shard: SHARD,
      term: 1,
      index: this.#entries.length + 1,
      stamp: this.#entries.length + 1,
      firstOffset,
      recordCount: this.#written.length - firstOffset,
      previousCrc: previous?.crc ?? 0,
      payload,
    })
    this.#entries.push(entry)
    this.#storage.append([entry], () => {})
    this.#log.append(entry)
  }

  #batch(): Buffer {
    const prng = this.#prng
    const baseOffset = this.#written.length
    const records = Array.from({ length: 1 + prng.below(4) }, () => {
      const key = `key ${prng.below(6)}`
      const value = prng.below(4) === 0 ? null : 'v'.repeat(prng.below(60)) + prng.below(1000)
      const timestamp = 1_700_000_000_000 + prng.below(1000)
      this.#written.push({ key, value, timestamp })
      return { key: Buffer.from(key), value: value === null ? null : Buffer.from(value), timestamp }
    })
    const codec = CODECS[prng.below(CODECS.length)]!
    if (prng.below(2) === 0) return encodeBatch(records, { timestamp: 0, baseOffset, codec })
    const producerId = 1 + prng.below(3)
    this.#sequence += 10
    const baseSequence = this.#sequence
    this.#lastOfProducer.set(producerId, { offset: this.#written.length - 1, sequence: baseSequence })
    return encodeBatch(records, { timestamp: 0, baseOffset, codec, producerId, producerEpoch: 0, baseSequence })
  }

  #clean(floorIndex = 1 + this.#prng.below(this.#entries.length)): void {
    const index = Math.max(this.#floor.index, floorIndex)
    // Its grace runs from the moment at which it lay below a floor.
    if (this.#prng.below(2) === 0)
      this.#tombstonesBelow = Math.max(this.#tombstonesBelow, this.#prng.below(this.#floor.offset + 1))
    this.#floor = { index, offset: this.#entries[index - 1]!.firstOffset }
    const last = new Map(this.#lastOfProducer)
    this.#log.cleaner.want({
      floor: this.#floor,
      tombstonesBelow: this.#tombstonesBelow,
      graceMs: 0,
      keepsSequence: (producerId, lastOffset) => last.get(producerId)?.offset === lastOffset,
    })
    if (this.#prng.below(3) > 0) this.#world.clock.settle()
    else for (let turns = this.#prng.below(60); turns > 0; turns--) this.#world.clock.step()
  }

  /** Until the floor is reached, however small the map. */
  #cleanAll(): void {
    this.#clean(this.#entries.length)
    this.#world.clock.settle()
    const { floor } = { floor: this.#floor }
    assert(this.#log.firstIndex === floor.index, () => `cleaned up to ${this.#log.firstIndex}, wanted: ${floor.index}`)
    this.#check()
    const events = this.#world.events.filter(({ type }) => type === 'shard-log-cleaned')
    this.#counts.cleanings += events.length
    for (const event of events) if (event.type === 'shard-log-cleaned') this.#counts.dropped += event.recordsDropped
    assert(this.#world.fatals.length === 0, () => `${this.#world.fatals[0]}`)
  }

  #crash(): void {
    this.#counts.crashes++
    if (this.#prng.below(2) === 0) this.#world.powerLoss()
    else this.#world.kill()
    ;[this.#storage, this.#log] = this.#open()
    this.#world.clock.settle()
    assert(this.#log.lastIndex === this.#entries.length, () => `${this.#log.lastIndex} of ${this.#entries.length}`)
  }

  #check(): void {
    // What a read in the middle of a cleaning sees is part old, part new.
    this.#world.clock.settle()
    const batches = this.#batchesFrom(0)
    const found = new Map<number, Written>()
    let last = -1
    for (const batch of batches) {
      assert(batch.readUInt32BE(17) === sumOf(batch, 0), 'a batch without its sum')
      assert(baseOffsetOf(batch, 0) > last, () => `a batch at ${baseOffsetOf(batch, 0)} after ${last}`)
      last = lastOffsetOf(batch, 0)
      forEachRecord(batch, 0, ({ offset, key, value, timestamp }) => {
        const text = value === null ? null : value.toString()
        assert(!found.has(offset) && offset <= last, () => `offset ${offset} twice, or out of its batch`)
        found.set(offset, { key: key!.toString(), value: text, timestamp })
      })
    }
    for (const [offset, record] of found) {
      const original = this.#written[offset]!
      const same = original.key === record.key && original.value === record.value
      assert(same && original.timestamp === record.timestamp, () => `another record at ${offset}`)
    }
    const floor = this.#log.firstIndex
    this.#checkKeys(found, this.#entries[floor - 1]?.firstOffset ?? 0)
    for (const [producerId, { offset, sequence }] of this.#lastOfProducer) {
      const batch = batches.find((one) => producerIdOf(one, 0) === producerId && lastOffsetOf(one, 0) === offset)
      assert(batch !== undefined, () => `the last batch of producer ${producerId}, up to ${offset}, is gone`)
      assert(baseSequenceOf(batch, 0) === sequence, 'its sequence has changed')
    }
    for (let times = 3; times > 0 && batches.length > 0; times--) {
      const offset = this.#prng.below(this.#written.length)
      const expected = batches.find((batch) => lastOffsetOf(batch, 0) >= offset)
      const [first] = this.#batchesFrom(offset, 1)
      assert((first === undefined) === (expected === undefined), () => `nothing from ${offset} on`)
      if (first !== undefined) assert(baseOffsetOf(first, 0) === baseOffsetOf(expected!, 0), `asked for ${offset}`)
    }
  }

  #checkKeys(found: ReadonlyMap<number, Written>, floorOffset: number): void {
    const latest = new Map<string, number>()
    const latestBelowFloor = new Map<string, number>()
    for (const [offset, { key }] of this.#written.entries()) {
      latest.set(key, offset)
      if (offset < floorOffset) latestBelowFloor.set(key, offset)
      else assert(found.has(offset), () => `offset ${offset} is gone, the floor is at ${floorOffset}`)
    }
    for (const offset of found.keys()) {
      if (offset >= floorOffset) continue
      const newer = latestBelowFloor.get(this.#written[offset]!.key)!
      assert(newer === offset, () => `offset ${offset} is there, though ${newer} has its key, below ${floorOffset}`)
    }
    for (const [key, offset] of latest) {
      const mayBeGone = this.#written[offset]!.value === null && offset < this.#tombstonesBelow
      assert(found.has(offset) || mayBeGone, () => `the latest of ${key}, offset ${offset}, is gone`)
    }
  }

  /** Whole batches that reach to `offset` or beyond, as a fetch finds them. */
  #batchesFrom(offset: number, most = Number.POSITIVE_INFINITY): Buffer[] {
    const found: Buffer[] = []
    for (let next = offset; next < this.#written.length && found.length < most; ) {
      const bytes = 1 + this.#prng.below(2000)
      const entries = this.#world.await<Entry[]>((done) => this.#log.readFromOffset(next, bytes, done))
      if (entries.length === 0) break
      for (const entry of entries) {
        if (entry.kind === EntryKind.data)
          for (const batch of batchesIn(payloadOf(entry))!) if (lastOffsetOf(batch, 0) >= next) found.push(batch)
      }
      next = Math.max(next + 1, nextOffsetAfter(entries.at(-1)!))
    }
    for (const batch of found) assert(recordCountOf(batch, 0) >= 0, 'a batch with a count')
    return found.slice(0, most)
  }
}
