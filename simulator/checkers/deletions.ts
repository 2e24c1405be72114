/**
 * I16: no data is deleted that is still promised (T10: NATS took damaged metadata for "nothing there" and cleaned up).
 *
 * A segment of a shard log may go
 *   - when a cut is committed that starts the log above it, or
 *   - when it is the log of a machine whose state says as much, and the node's checkpoint has that and says where the log starts, or
 *   - when its shard's removal is committed, or
 *   - when the node holds a snapshot from another replica in its place, which covers it, or
 *   - when its checkpoint never vouched for it: it was begun before a crash, and its entries are in the journal, or in the
 *     segment before, which was written on (and a power loss may bring such a name back after its removal).
 *
 * Which cuts are committed is known from the shadow disks and the one history; which segment holds what, from the names: a
 * segment ends where the next one begins, and the last one is never cut.
 */
import { dirname } from 'node:path'
import type { NodeEvent } from '../../src/observability/index.ts'
import { type Disk, diskThrough } from '../../src/platform/index.ts'
import type { Checkpoint } from '../../src/storage/checkpoint-format.ts'
import type { Checker, Truth } from '../observer.ts'
import type { SyncedEntry } from '../shadow-disk.ts'
import { Violation } from '../violation.ts'
import type { OneHistory } from './one-history.ts'

interface Cut {
  readonly index: number
  readonly crc: number
  readonly start: number
}

const SEGMENT = /[\\/]shards[\\/](\d+)[\\/](\d{20})\.log$/

export class Deletions implements Checker {
  readonly property = 'nothing is deleted that is still promised'
  readonly #truth: Truth
  readonly #history: OneHistory
  readonly #violated: (violation: Violation) => void
  readonly #cuts = new Map<number, Cut[]>()
  readonly #removed = new Set<number>()
  /** By directory: the first indexes in its segments' names, of one node's disk. */
  readonly #segments = new Map<string, Set<number>>()
  /** By node and shard: the last file that the checkpoint on the disk vouches for. One behind it may hold what is in this one. */
  readonly #vouched = new Map<string, number>()
  /** Where it says that the log starts. */
  readonly #starts = new Map<string, number>()
  /** Shards that hold records, as their leaders tell: no state stands for those. */
  readonly #partitions = new Set<number>()
  deleted = 0

  constructor(truth: Truth, history: OneHistory, violated: (violation: Violation) => void) {
    this.#truth = truth
    this.#history = history
    this.#violated = violated
  }

  durable(_node: number, { shard, index, crc, cutTo }: SyncedEntry): void {
    if (cutTo === null) return
    let cuts = this.#cuts.get(shard)
    if (cuts === undefined) {
      cuts = []
      this.#cuts.set(shard, cuts)
    }
    if (!cuts.some((cut) => cut.index === index && cut.crc === crc)) cuts.push({ index, crc, start: cutTo })
  }

  node(_node: number, { event }: NodeEvent): void {
    if (event.type === 'stream-appended') this.#partitions.add(event.shard)
    if (event.type === 'topic-removed') for (const shard of event.shards) this.#removed.add(shard)
  }

  checkpointed(node: number, { shards }: Checkpoint): void {
    for (const [shard, { log, state }] of shards) {
      this.#vouched.set(`${node}/${shard}`, log?.firstIndex ?? 0)
      this.#starts.set(`${node}/${shard}`, state.startIndex)
    }
  }

  wiped(node: number): void {
    for (const known of [this.#vouched, this.#starts])
      for (const key of [...known.keys()]) if (key.startsWith(`${node}/`)) known.delete(key)
    for (const key of [...this.#segments.keys()]) if (key.startsWith(`${node}:`)) this.#segments.delete(key)
  }

  watchDisk(node: number, disk: Disk): Disk {
    return diskThrough(disk, {
      list: (path, done) =>
        disk.list(path, (error, names) => {
          for (const name of names ?? []) this.#seen(node, `${path}/${name}`)
          done(error, names)
        }),
      // A repair that begins at the log's start, where what it repairs begins below, has a name of its own.
      rename: (from, to, done) =>
        disk.rename(from, to, (error) => {
          if (error === null) this.#seen(node, to)
          done(error)
        }),
      remove: (path, done) => {
        this.#beforeRemoval(node, path)
        disk.remove(path, done)
      },
      open: (path, mode, done) => {
        if (mode !== 'read') this.#seen(node, path)
        disk.open(path, mode, done)
      },
    })
  }

  #seen(node: number, path: string): void {
    const match = SEGMENT.exec(path)
    if (match === null) return
    const key = `${node}:${dirname(path)}`
    let segments = this.#segments.get(key)
    if (segments === undefined) {
      segments = new Set()
      this.#segments.set(key, segments)
    }
    segments.add(Number(match[2]))
  }

  #beforeRemoval(node: number, path: string): void {
    const match = SEGMENT.exec(path)
    if (match === null) return
    const [shard, first] = [Number(match[1]), Number(match[2])]
    const segments = this.#segments.get(`${node}:${dirname(path)}`)
    segments?.delete(first)
    this.deleted++
    if (this.#removed.has(shard) || this.#isReplaced(node, shard, first)) return
    if (first > (this.#vouched.get(`${node}/${shard}`) ?? 0)) return
    let end = Number.POSITIVE_INFINITY
    for (const other of segments ?? []) if (other > first) end = Math.min(end, other)
    const start = this.#start(shard)
    if (end <= start) return
    if (!this.#partitions.has(shard) && end <= (this.#starts.get(`${node}/${shard}`) ?? 0)) return
    const holds = end === Number.POSITIVE_INFINITY ? `from index ${first} on` : `indexes ${first} to ${end - 1}`
    const what = `node ${node} deletes ${path}, which holds ${holds}; the log of shard ${shard} starts at ${start}`
    this.#violated(new Violation(this.property, what))
  }

  /** Where the committed cuts let the log start. */
  #start(shard: number): number {
    let start = 1
    for (const cut of this.#cuts.get(shard) ?? []) {
      if (this.#history.entryAt(shard, cut.index)?.crc === cut.crc) start = Math.max(start, cut.start)
    }
    return start
  }

  /** The node's disk no longer counts what is below a later entry: a snapshot stands for it. */
  #isReplaced(node: number, shard: number, first: number): boolean {
    const below = first === 1 ? first : first - 1
    return (
      this.#truth.durableEntry(node, shard, below) === undefined && this.#truth.durableLastIndex(node, shard) >= first
    )
  }
}
