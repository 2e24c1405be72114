/**
 * The storage layer as a node opens it, with nothing on top and entries that are made beforehand. What was journaled must not
 * hold the journal for ever, and shard logs would double what is written; so the entries are of a shard that is removed when its
 * segment is left, and the next shard begins. Segments are freed, recycled and prepared as in a node that runs for long.
 */
import type { Platform } from '../src/platform/index.ts'
import { nodePlatform } from '../src/platform/nodejs/index.ts'
import { type Entry, EntryKind, encodeEntry, Storage, type StorageEvent } from '../src/storage/index.ts'
import { CountingDisk } from './counting-disk.ts'

/** A log that is begun again and again: in the journal an entry replaces all from its index on. */
const RING = 1024
/** Little enough to stay in the processor’s cache on both sides: it is the journal that is measured. */
const RING_BYTES = 1 << 20

export class BenchStorage {
  readonly disk: CountingDisk
  /** Blocks that were synced. */
  syncs = 0
  recycled = 0
  readonly #storage: Storage
  /** By the bytes of a payload. */
  readonly #rings = new Map<number, Entry[]>()
  #shard = 16
  #leaveShard = false
  #at = 0

  static open(directory: string, journalSegmentBytes: number): Promise<BenchStorage> {
    const real = nodePlatform()
    const disk = new CountingDisk(real.disk)
    const platform: Platform = { ...real, disk }
    return new Promise((resolve, reject) => {
      let bench: BenchStorage | null = null
      const trace = (event: StorageEvent): void => bench?.note(event)
      const fatal = (error: Error): void => {
        throw error
      }
      const options = { directory, nodeId: 1, clusterHash: '', journalSegmentBytes }
      Storage.open(options, { platform, trace, fatal }, (error, storage) => {
        if (error !== null) return reject(error)
        bench = new BenchStorage(storage!, disk)
        resolve(bench)
      })
    })
  }

  private constructor(storage: Storage, disk: CountingDisk) {
    this.#storage = storage
    this.disk = disk
  }

  note(event: StorageEvent): void {
    if (event.type === 'journal-synced') this.syncs++
    else if (event.type === 'segment-entered') this.#leaveShard = true
    else if (event.type === 'segment-prepared' && event.recycled) this.recycled++
  }

  /** Until the journal lives of full-sized files that it had before. */
  async settle(): Promise<void> {
    while (this.recycled < 2) await new Promise<void>((resolve) => this.append([this.next(1 << 20)], resolve))
  }

  next(payloadBytes: number): Entry {
    let ring = this.#rings.get(payloadBytes)
    if (ring === undefined) {
      ring = makeRing(this.#shard, payloadBytes)
      this.#rings.set(payloadBytes, ring)
      this.#at = 0
    }
    return ring[this.#at++ % ring.length]!
  }

  append(entries: readonly Entry[], done: () => void): void {
    this.#storage.append(entries, () => {
      if (this.#leaveShard) this.#nextShard()
      done()
    })
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#storage.close(resolve))
  }

  #nextShard(): void {
    this.#leaveShard = false
    this.#storage.removeShard(this.#shard++, 0)
    this.#rings.clear()
  }
}

/** Entries of a log from its start on, to be gone through again and again. */
export function makeRing(shard: number, payloadBytes: number): Entry[] {
  const count = Math.max(1, Math.min(RING, Math.floor(RING_BYTES / payloadBytes)))
  const entries: Entry[] = []
  const payload = [Buffer.alloc(payloadBytes, 'x')]
  for (let i = 0; i < count; i++) {
    const previousCrc = entries.at(-1)?.crc ?? 0
    const [index, stamp, firstOffset] = [i + 1, i + 1, i]
    const kind = EntryKind.data
    entries.push(encodeEntry({ kind, shard, term: 1, index, stamp, firstOffset, recordCount: 1, previousCrc, payload }))
  }
  return entries
}
