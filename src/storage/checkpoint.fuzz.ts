/** Checkpoints and identities after damage: a typed refusal, or values that encode to the same bytes. */
import { assert, crc32c, Prng } from '../stdx/index.ts'
import { type Checkpoint, decodeCheckpoint, encodeCheckpoint } from './checkpoint-format.ts'
import { StorageError } from './errors.ts'
import { decodeIdentity, encodeIdentity } from './identity.ts'
import { mutate } from './mutate.fuzz.ts'

export function sampleCheckpoint(): Checkpoint {
  const state = {
    shard: 16,
    term: 5,
    vote: 2,
    index: 40,
    entryTerm: 4,
    crc: 0xdeadbeef,
    nextOffset: 120,
    stamp: 900,
    startIndex: 3,
    startOffset: 7,
    epochs: [
      { term: 1, firstIndex: 1, firstOffset: 0 },
      { term: 4, firstIndex: 30, firstOffset: 100 },
    ],
    configuration: Buffer.from('{"voters":[1,2,3]}'),
    state: Buffer.from('producers'),
  }
  const log = {
    firstIndex: 20,
    firstOffset: 60,
    bytes: 5000,
    lastIndex: 42,
    nextOffset: 130,
    maxTimestamp: 1_700_000_000_000,
    segmentCrc: 11,
    lastCrc: 12,
  }
  const idle = {
    ...state,
    shard: 17,
    index: 0,
    crc: 0,
    epochs: [],
    configuration: Buffer.alloc(0),
    state: Buffer.alloc(0),
  }
  return {
    diskIncarnation: '00112233445566778899aabbccddeeff',
    journalFrom: 9,
    journalThrough: 14,
    highestStamp: 901,
    shards: new Map([
      [16, { state, log, journalAfter: 10, cleaned: null }],
      [17, { state: idle, log: null, journalAfter: 0, cleaned: null }],
    ]),
    removed: new Map([[18, 12]]),
  }
}

/** The same with what compaction has left of a shard. */
export function compactedCheckpoint(): Checkpoint {
  const sample = sampleCheckpoint()
  const sizes = { bytes: 900, maxTimestamp: 1_700_000_000_000, crc: 0xfeed }
  const segments = [
    { firstIndex: 1, generation: 4, firstOffset: 7, nextOffset: 40, ...sizes },
    { firstIndex: 11, generation: 4, firstOffset: 44, nextOffset: 58, ...sizes },
  ]
  const shards = new Map(sample.shards)
  shards.set(16, { ...sample.shards.get(16)!, cleaned: { floorOffset: 60, generation: 4, segments } })
  return { ...sample, shards }
}

export function fuzz(seed: number, rounds: number): void {
  const prng = new Prng(seed)
  const samples = [sampleCheckpoint(), compactedCheckpoint()].map((sample) => Buffer.concat(encodeCheckpoint(sample)))
  const identity = encodeIdentity({
    nodeId: 3,
    diskIncarnation: 'ab'.repeat(16),
    clusterId: 'cluster',
    clusterHash: 'hash',
  })
  for (let round = 0; round < rounds; round++) {
    const damaged = resum(mutate(samples[round % 2]!, prng))
    const decoded = decodeCheckpoint(damaged, 'checkpoint')
    if (!(decoded instanceof StorageError)) {
      const again = Buffer.concat(encodeCheckpoint(decoded))
      assert(again.length === damaged.length, 'decoded and encoded again it has another length')
    }
    decodeIdentity(resum(mutate(identity, prng)), 'identity')
  }
}

/** What lies behind the sum is reached only under a right one. */
function resum(bytes: Buffer): Buffer {
  if (bytes.length >= 12) bytes.writeUInt32LE(crc32c(bytes.subarray(12)), 8)
  return bytes
}
