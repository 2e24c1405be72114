/**
 * Throws damaged record batches at everything that reads them. Structure-aware: a sound batch first, then a few bytes
 * changed or cut, and in half of the cases the sum made right again, since a wrong sum would stop every damage at the door.
 * The only accepted outcomes are a defect, a `RecordsError`, or an answer; never another exception, and never more
 * memory than the limit.
 */
import { Prng } from '../stdx/index.ts'
import { encodeBatch, type RecordInput } from './batch-encoder.ts'
import { maxTimestampOfRecords, validateBatch } from './batch-validation.ts'
import { Codec, canCompress } from './codecs.ts'
import { RecordsError } from './errors.ts'
import { BATCH_HEADER_BYTES, BATCH_OVERHEAD_BYTES, codecOf, splitBatches, sumOf } from './record-batch.ts'
import { forEachRecord } from './records.ts'

const LIMIT_BYTES = 1 << 20
const LIMITS = { maxBytes: 1 << 20, zstdAllowed: true }

export function fuzz(seed: number, rounds: number): void {
  const random = new Prng(`record-batch/${seed}`)
  for (let round = 0; round < rounds; round++) {
    const batch = encodeBatch(randomRecords(random), { timestamp: random.below(2 ** 31), codec: randomCodec(random) })
    if (validateBatch(batch, 0, LIMITS) !== null)
      throw new Error(`seed ${seed} round ${round}: a sound batch was refused`)
    readAll(damage(batch, random))
  }
}

function randomRecords(random: Prng): RecordInput[] {
  const bytes = () => (random.below(8) === 0 ? null : random.bytes(random.below(random.below(20) === 0 ? 3000 : 40)))
  return Array.from({ length: 1 + random.below(6) }, () => ({
    key: bytes(),
    value: random.below(10) === 0 ? Buffer.alloc(random.below(100_000)) : bytes(),
    timestamp: random.below(2 ** 31),
    headers: Array.from({ length: random.below(3) }, () => ({ key: `h${random.below(100)}`, value: bytes() })),
  }))
}

function randomCodec(random: Prng): Codec {
  const codec = random.below(5) as Codec
  return canCompress(codec) ? codec : Codec.none
}

function damage(batch: Buffer, random: Prng): Buffer {
  const damaged = Buffer.from(batch)
  for (let changes = random.below(4); changes > 0; changes--) {
    // Headers are small beside records and hold more decisions: aim there half of the time.
    const range = random.below(2) === 0 ? Math.min(BATCH_HEADER_BYTES + 8, damaged.length) : damaged.length
    const at = random.below(range)
    damaged[at] = random.below(3) === 0 ? [0, 0x7f, 0x80, 0xff][random.below(4)]! : random.uint32()
  }
  const cut = random.below(4) === 0 ? damaged.subarray(0, random.below(damaged.length + 1)) : damaged
  if (random.below(2) === 0 && cut.length > BATCH_HEADER_BYTES) {
    cut.writeInt32BE(cut.length - BATCH_OVERHEAD_BYTES, 8)
    cut.writeUInt32BE(sumOf(cut, 0), 17)
  }
  return cut
}

function readAll(bytes: Buffer): void {
  splitBatches(bytes)
  if (validateBatch(bytes, 0, LIMITS) !== null) return
  if (codecOf(bytes, 0) === Codec.none) maxTimestampOfRecords(bytes, 0)
  try {
    forEachRecord(bytes, 0, (record) => void record.headers(), LIMIT_BYTES)
  } catch (error) {
    if (!(error instanceof RecordsError)) throw error
  }
}
