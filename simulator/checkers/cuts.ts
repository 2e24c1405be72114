/**
 * I15: where a log starts is decided by the log.
 *
 *   - a replica moves its log's start only where a committed entry says so, and never back within a process; what compaction has
 *     moved is the index alone, up to a floor that is committed, and a cut below it moves the offset alone;
 *   - a checkpoint never says that a partition's log starts above all committed cuts;
 *   - a cut for the sake of `retention.bytes` leaves at least so many bytes.
 *
 * Which cuts are committed is asked of the shadow disks: a quorum of journals has held the entry. One that lost it since is a replica
 * that recovers, and what it had acknowledged counts (docs/decisions/0009).
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import { CutReason } from '../../src/replication/index.ts'
import type { Checkpoint } from '../../src/storage/checkpoint-format.ts'
import type { Checker, Truth } from '../observer.ts'
import type { SyncedEntry } from '../shadow-disk.ts'
import { Violation } from '../violation.ts'

interface Cut {
  readonly index: number
  readonly crc: number
  readonly start: number
  readonly offset: number
  readonly compacts: boolean
  /** Nodes that have journaled it, and nothing else in its place. */
  readonly holders: Set<number>
}

/** What the header of a segment adds to the bytes of its entries. */
const SEGMENT_HEADER_BYTES = 64

export class Cuts implements Checker {
  readonly property = 'logs are cut where the log says so'
  readonly #truth: Truth
  /** The lowest that a topic has; null: none has one. */
  readonly #retentionBytes: number | null
  readonly #cuts = new Map<number, Cut[]>()
  /** By shard, then `index/crc`: how long the entry is. */
  readonly #bytes = new Map<number, Map<string, number>>()
  /** Shards that hold records, as their leaders tell. */
  readonly #partitions = new Set<number>()
  /** By node and shard, in the process that runs now. */
  readonly #starts = new Map<string, { readonly index: number; readonly offset: number }>()
  checked = 0

  constructor(truth: Truth, retentionBytes: number | null) {
    this.#truth = truth
    this.#retentionBytes = retentionBytes
  }

  started(node: number): void {
    for (const key of [...this.#starts.keys()]) if (key.startsWith(`${node}/`)) this.#starts.delete(key)
  }

  durable(node: number, { shard, index, crc, cut, bytes }: SyncedEntry): void {
    let lengths = this.#bytes.get(shard)
    if (lengths === undefined) {
      lengths = new Map()
      this.#bytes.set(shard, lengths)
    }
    if (bytes !== undefined) lengths.set(`${index}/${crc}`, bytes)
    const cuts = this.#cuts.get(shard) ?? []
    for (const known of cuts) {
      if (known.index !== index) continue
      if (known.crc === crc) known.holders.add(node)
      else if (!this.#isCommitted(shard, known)) known.holders.delete(node)
    }
    if (cut === undefined || cuts.some((known) => known.index === index && known.crc === crc)) return
    this.#cuts.set(shard, cuts)
    const compacts = cut.reason === CutReason.compaction
    cuts.push({ index, crc, start: cut.index, offset: cut.offset, compacts, holders: new Set([node]) })
    if (cut.reason === CutReason.retentionBytes) this.#checkSize(node, shard, index, cut.index)
  }

  /** Entries that are in this node's journal are those that whoever proposed the cut had. */
  #checkSize(node: number, shard: number, cutIndex: number, start: number): void {
    const limit = this.#retentionBytes
    if (limit === null) throw new Violation(this.property, `shard ${shard} is cut for its size, and has no limit`)
    let left = 0
    for (let index = start; index < cutIndex; index++) {
      const entry = this.#truth.durableEntry(node, shard, index)
      const bytes = entry === undefined ? undefined : this.#bytes.get(shard)?.get(`${index}/${entry.crc}`)
      // It was installed without them.
      if (bytes === undefined) return
      left += bytes + SEGMENT_HEADER_BYTES
    }
    this.checked++
    if (left >= limit) return
    const what = `entry ${cutIndex} of shard ${shard} cuts for size at ${start}: at most ${left} bytes stay, ${limit} are to be kept`
    throw new Violation(this.property, what)
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type === 'stream-appended') this.#partitions.add(event.shard)
    if (event.type !== 'log-cut') return
    const { shard, index, offset } = event
    const key = `${node}/${shard}`
    const before = this.#starts.get(key)
    if (before !== undefined && (index < before.index || offset < before.offset))
      throw new Violation(
        this.property,
        `node ${node}: shard ${shard} starts at ${index} (offset ${offset}) after ${before.index} (offset ${before.offset})`,
      )
    this.#starts.set(key, { index, offset })
    const cuts = this.#cuts.get(shard) ?? []
    const says = (cut: Cut): boolean =>
      cut.offset === offset && (cut.start === index || (cut.start < index && this.#mayBeFloor(shard, index)))
    if (!cuts.some((cut) => says(cut) && this.#isCommitted(shard, cut)))
      throw new Violation(
        this.property,
        `node ${node} cuts shard ${shard} at ${index} (offset ${offset}), which no committed entry says`,
      )
  }

  checkpointed(node: number, { shards }: Checkpoint): void {
    for (const [shard, { state }] of shards) {
      const { startIndex } = state
      if (startIndex <= 1 || !this.#partitions.has(shard)) continue
      const cuts = this.#cuts.get(shard) ?? []
      if (cuts.some((cut) => cut.start >= startIndex && this.#isCommitted(shard, cut))) continue
      const what = `the checkpoint of node ${node} lets shard ${shard} start at ${startIndex}, above every committed cut`
      throw new Violation(this.property, what)
    }
  }

  /** A replica's own floor may be below the one that was decided. */
  #mayBeFloor(shard: number, index: number): boolean {
    const cuts = this.#cuts.get(shard) ?? []
    return cuts.some((cut) => cut.compacts && cut.start >= index && this.#isCommitted(shard, cut))
  }

  #isCommitted(shard: number, { holders }: Cut): boolean {
    return holders.size >= this.#truth.quorumOf(shard)
  }
}
