/** Entries after damage: an answer, at once, that is a defect or an entry whose bytes encode to themselves. */
import { assert, crc32c, Prng } from '../stdx/index.ts'
import { decodeEntry, ENTRY_HEADER_BYTES, encodeEntry, payloadOf } from './entry.ts'
import { decodeHardState, encodeHardState } from './hard-state.ts'
import { chain } from './harness.test.ts'
import { mutate } from './mutate.fuzz.ts'
import { maxTimestampOf } from './timestamps.ts'

export function fuzz(seed: number, rounds: number): void {
  const prng = new Prng(seed)
  const entries = [...chain(16, 3, 150), encodeHardState(16, 3, 1)]
  for (let round = 0; round < rounds; round++) {
    const source = mutate(entries[prng.below(entries.length)]!.bytes, prng)
    // Half of them get a sum that is right, so that what lies behind the sum is reached.
    if (prng.below(2) === 0 && source.length >= ENTRY_HEADER_BYTES) resum(source)
    const entry = decodeEntry(source)
    if (typeof entry === 'string') continue
    assert(entry.bytes.length <= source.length, 'an entry longer than its source')
    maxTimestampOf(entry)
    decodeHardState(entry)
    const { kind, shard, term, index, stamp, firstOffset, recordCount, previousCrc } = entry
    const draft = { kind, shard, term, index, stamp, firstOffset, recordCount, previousCrc }
    const again = encodeEntry({ ...draft, payload: [payloadOf(entry)] })
    // Reserved fields are covered by the sum and otherwise ignored.
    entry.bytes.copy(again.bytes, 10, 10, 12)
    entry.bytes.copy(again.bytes, 60, 60, 64)
    assert(again.bytes.subarray(8).equals(entry.bytes.subarray(8)), 'decoded and encoded again it differs')
  }
}

function resum(source: Buffer): void {
  source.writeUInt32LE(source.length, 0)
  source.writeUInt32LE(source.length - ENTRY_HEADER_BYTES, 56)
  source.writeUInt32LE(crc32c(source.subarray(8)), 4)
}
