/** A shard's files after damage: a read ends, with the entries asked for or with a typed error, never with other entries. */
import { assert, crc32c, Prng, TypedError } from '../stdx/index.ts'
import type { Entry } from './entry.ts'
import { chain, World } from './harness.test.ts'
import { mutate } from './mutate.fuzz.ts'
import {
  decodeSegmentIndex,
  decodeShardSegmentHeader,
  encodeSegmentIndex,
  encodeShardSegmentHeader,
} from './segment-format.ts'
import { SparseIndex } from './sparse-index.ts'

export function fuzz(seed: number, rounds: number): void {
  const prng = new Prng(seed)
  formats(prng, rounds)
  const log = chain(16, 40, 700)
  for (let round = 0; round < Math.ceil(rounds / 100); round++) {
    const world = new World(prng.uint32())
    const storage = world.open()
    const shard = storage.openShardLog(16)
    for (const entry of log) shard.append(entry)
    shard.flush()
    world.clock.settle()
    const names = world.list('/data/shards/16')
    const path = `/data/shards/16/${names[prng.below(names.length)]}`
    world.write(path, mutate(world.read(path), prng))
    for (let reads = 0; reads < 4; reads++) {
      const from = 1 + prng.below(40)
      const read = (done: (error: Error | null, entries: Entry[]) => void): void =>
        prng.below(2) === 0
          ? shard.readFromIndex(from, 3000, done)
          : shard.readFromOffset(log[from - 1]!.firstOffset, 3000, done)
      try {
        const entries = world.await<Entry[]>(read)
        assert(entries.length > 0, 'nothing was read')
        for (const { index, crc } of entries)
          assert(crc === log[index - 1]!.crc, () => `${path}: another entry at ${index}`)
        assert(entries[0]!.index === from, () => `${path}: read from ${from} gave ${entries[0]!.index}`)
      } catch (error) {
        if (!(error instanceof TypedError)) throw error
      }
    }
  }
}

function formats(prng: Prng, rounds: number): void {
  const header = encodeShardSegmentHeader({ shard: 16, previousCrc: 1, firstIndex: 5, firstOffset: 9, createdMs: 3 })
  const summary = {
    shard: 16,
    firstIndex: 5,
    lastIndex: 9,
    nextOffset: 20,
    segmentBytes: 9000,
    maxTimestamp: 5,
    segmentCrc: 1,
    lastCrc: 2,
  }
  const index = encodeSegmentIndex(summary, new SparseIndex([5, 9, 64, -1, 7, 15, 70_000, 4]))
  for (let round = 0; round < rounds; round++) {
    decodeShardSegmentHeader(mutate(header, prng))
    const bytes = mutate(index, prng)
    if (bytes.length >= 12) bytes.writeUInt32LE(crc32c(bytes.subarray(12)), 8)
    decodeSegmentIndex(bytes)
  }
}
