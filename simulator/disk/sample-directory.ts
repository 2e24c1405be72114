/** A data directory as a busy node leaves it when it dies: several shards, sealed segments, a checkpoint, and a journal behind it. */
import { MemoryDisk, type Platter } from '../../src/platform/memory/index.ts'
import { assert, Prng } from '../../src/stdx/index.ts'
import {
  type Entry,
  EntryKind,
  encodeEntry,
  encodeHardState,
  Storage,
  type StorageOptions,
} from '../../src/storage/index.ts'
import { openStorage, TurnClock } from './directory-content.ts'

const SHARDS = [1, 16, 17]
const CALLS = 60
const CHECKPOINT_AT = [20, 45]

/** Sizes at which segments turn over in a small directory. */
export const SAMPLE_OPTIONS: StorageOptions = {
  directory: '/tidemark',
  nodeId: 1,
  clusterHash: '',
  journalSegmentBytes: 64 << 10,
  shardSegmentBytes: 8 << 10,
  shardLogFlushBytes: 2 << 10,
}

export function sampleDirectory(seed: number | string): Platter {
  const prng = new Prng(`${seed}/sample directory`)
  const clock = new TurnClock()
  const disk = new MemoryDisk({}, { clock })
  const storage = openStorage(SAMPLE_OPTIONS, disk, clock, (error) => {
    throw error
  })
  assert(storage instanceof Storage, 'an empty directory opens')
  const logs = new Map<number, Entry[]>(SHARDS.map((shard) => [shard, []]))
  storage.setCheckpointSource({ activeShards: () => SHARDS, capture: (shard) => stateOf(shard, logs.get(shard)!) })
  for (let call = 0; call < CALLS; call++) {
    const entries: Entry[] = []
    for (const [shard, log] of logs) {
      if (log.length === 0) entries.push(encodeHardState(shard, 1, 1 + prng.below(3)))
      for (let count = prng.below(3); count > 0; count--) {
        const entry = follow(shard, log.at(-1) ?? null, prng)
        log.push(entry)
        entries.push(entry)
        storage.openShardLog(shard).append(entry)
      }
    }
    storage.append(entries, () => {})
    clock.settle()
    if (CHECKPOINT_AT.includes(call)) storage.checkpoint()
    clock.settle()
  }
  for (const shard of SHARDS) storage.openShardLog(shard).flush()
  clock.settle()
  return disk.platter.copy()
}

function follow(shard: number, previous: Entry | null, prng: Prng): Entry {
  const recordCount = prng.below(4)
  return encodeEntry({
    kind: recordCount > 0 ? EntryKind.data : EntryKind.leadership,
    shard,
    term: 1,
    index: (previous?.index ?? 0) + 1,
    stamp: (previous?.stamp ?? 0) + 1,
    firstOffset: previous === null ? 0 : previous.firstOffset + previous.recordCount,
    recordCount,
    previousCrc: previous?.crc ?? 0,
    payload: [prng.bytes(prng.below(1500))],
  })
}

function stateOf(shard: number, log: readonly Entry[]) {
  const last = log.at(-1)
  return {
    shard,
    term: 1,
    vote: 0,
    index: last?.index ?? 0,
    entryTerm: last?.term ?? 0,
    crc: last?.crc ?? 0,
    nextOffset: last === undefined ? 0 : last.firstOffset + last.recordCount,
    stamp: last?.stamp ?? 0,
    startIndex: 1,
    startOffset: 0,
    epochs: [{ term: 1, firstIndex: 1, firstOffset: 0 }],
    configuration: Buffer.from('voters'),
    state: Buffer.from(`state at ${last?.index ?? 0}`),
  }
}
