/** The rules for cuts, each kept and broken. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeEvent } from '../../src/observability/index.ts'
import { CutReason } from '../../src/replication/index.ts'
import type { Checkpoint } from '../../src/storage/checkpoint-format.ts'
import type { Truth } from '../observer.ts'
import type { SyncedEntry } from '../shadow-disk.ts'
import { Cuts } from './cuts.ts'

const SHARD = 16

class Bench {
  readonly #durable = new Map<string, number>()
  readonly cuts: Cuts

  constructor(retentionBytes: number | null = null) {
    const truth: Truth = {
      nodes: [1, 2, 3],
      now: () => 0,
      quorumOf: () => 2,
      durableEntry: (node, _shard, index) => {
        const crc = this.#durable.get(`${node}/${index}`)
        return crc === undefined ? undefined : { term: 1, crc }
      },
      durableLastIndex: () => 0,
      replacedEntry: () => undefined,
    }
    this.cuts = new Cuts(truth, retentionBytes)
  }

  /** On these nodes' disks. */
  entry(nodes: readonly number[], index: number, cut?: SyncedEntry['cut'], bytes = 100): void {
    for (const node of nodes) this.#durable.set(`${node}/${index}`, index)
    const entry = { shard: SHARD, index, term: 1, crc: index, cutTo: cut?.index ?? null, bytes }
    for (const node of nodes) this.cuts.durable(node, cut === undefined ? entry : { ...entry, cut })
  }

  cut(nodes: readonly number[], index: number, start: number, offset: number, reason: number = CutReason.request) {
    this.entry(nodes, index, { index: start, offset, reason })
  }

  applied(node: number, index: number, offset: number): void {
    const event = { type: 'log-cut', shard: SHARD, index, offset, reason: CutReason.request } as const
    this.cuts.node(node, { layer: 'replication', event } as NodeEvent)
  }

  holdsRecords(): void {
    const event = { type: 'stream-appended', shard: SHARD }
    this.cuts.node(1, { layer: 'streams', event } as unknown as NodeEvent)
  }

  checkpoint(startIndex: number): void {
    const shards = new Map([[SHARD, { state: { startIndex } }]])
    this.cuts.checkpointed(1, { shards } as unknown as Checkpoint)
  }
}

test('cuts: a committed entry says where, and starts rise', () => {
  const bench = new Bench()
  bench.cut([1, 2], 9, 5, 40)
  bench.applied(1, 5, 40)
  bench.cut([2, 3], 10, 5, 41)
  bench.applied(1, 5, 41)
  assert.throws(() => bench.applied(1, 5, 40), /after 5 \(offset 41\)/)
  bench.cuts.started(1)
  bench.applied(1, 5, 40)
  assert.throws(() => bench.applied(2, 6, 50), /no committed entry/)
  bench.cut([3], 11, 8, 70)
  assert.throws(() => bench.applied(3, 8, 70), /no committed entry/)
})

test('cuts: below the floor of a compaction a cut moves the offset alone', () => {
  const bench = new Bench()
  bench.cut([1, 2], 9, 3, 20)
  assert.throws(() => bench.applied(1, 5, 20), /no committed entry/)
  bench.cut([1, 2], 10, 6, 60, CutReason.compaction)
  bench.applied(1, 5, 20)
  bench.applied(2, 6, 20)
  assert.throws(() => bench.applied(3, 7, 20), /no committed entry/)
  bench.cuts.started(3)
  assert.throws(() => bench.applied(3, 6, 30), /no committed entry/)
})

test('cuts: a checkpoint of a partition starts where a committed cut lets it', () => {
  const bench = new Bench()
  bench.cut([1, 2], 9, 5, 40)
  bench.checkpoint(7)
  bench.holdsRecords()
  bench.checkpoint(1)
  bench.checkpoint(5)
  assert.throws(() => bench.checkpoint(6), /above every committed cut/)
  bench.cut([3], 10, 8, 60)
  assert.throws(() => bench.checkpoint(8), /above every committed cut/)
})

test('cuts: for the sake of size enough must stay', () => {
  const bench = new Bench(500)
  for (let index = 1; index <= 9; index++) bench.entry([1, 2], index, undefined, 100)
  bench.cut([1], 10, 6, 0, CutReason.retentionBytes)
  assert.equal(bench.cuts.checked, 1)
  for (let index = 11; index <= 12; index++) bench.entry([1, 2], index, undefined, 100)
  assert.throws(() => bench.cut([1], 13, 11, 0, CutReason.retentionBytes), /328 bytes stay, 500 are to be kept/)
  assert.throws(() => new Bench(null).cut([1], 2, 1, 0, CutReason.retentionBytes), /has no limit/)
})
