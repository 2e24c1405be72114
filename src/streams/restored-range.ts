/**
 * A partition that begins with what another cluster's partition held, under the same offsets (docs/decisions/0005-backup.md).
 *
 *     base      start                       end
 *      │  not    │   restored, byte for      │  written here
 *      │  shown  │   byte but for the epoch  │
 *      └─────────┴───────────────────────────┴────────────►
 *
 * The range is part of the topic's metadata, so that every replica knows it before the first entry, and for ever: what lies in it
 * says nothing about this cluster's producers. Their ids are given out anew here, and a producer that is given the id of one
 * whose batches were restored would otherwise be told that its first batch is a duplicate, acknowledged and gone.
 */
import {
  BATCH_HEADER_BYTES,
  baseOffsetOf,
  batchBytesOf,
  isTransactional,
  lastOffsetOf,
  STORED_BATCH,
  validateBatch,
} from '../records/index.ts'
import { KafkaError, type KafkaErrorCode } from './errors.ts'

export interface RestoredPart {
  readonly endOffset: number
  /** False while a restore fills the partition, and nobody else may see it. */
  readonly finished: () => boolean
}

export interface RestoredBatches {
  readonly batches: readonly Buffer[]
  readonly nextOffset: number
}

export interface RestoreRefusal {
  readonly error: KafkaErrorCode
  readonly message: string
}

/** The batches in `bytes`, which must go on at `nextOffset` without a hole and stay within the range; or why they may not. */
export function examineRestored(
  bytes: Buffer,
  nextOffset: number,
  endOffset: number,
): RestoredBatches | RestoreRefusal {
  const batches: Buffer[] = []
  let next = nextOffset
  for (let at = 0; at < bytes.length; ) {
    const defect = validateBatch(bytes, at, STORED_BATCH)
    if (defect !== null || batchBytesOf(bytes, at) < BATCH_HEADER_BYTES)
      return { error: KafkaError.CORRUPT_MESSAGE, message: `no stored batch at byte ${at}: ${defect}` }
    if (isTransactional(bytes, at))
      return { error: KafkaError.INVALID_RECORD, message: `transactional batch at offset ${baseOffsetOf(bytes, at)}` }
    if (baseOffsetOf(bytes, at) !== next) {
      const message = `batch with offset ${baseOffsetOf(bytes, at)}, the partition goes on at ${next}`
      return { error: KafkaError.OFFSET_OUT_OF_RANGE, message }
    }
    next = lastOffsetOf(bytes, at) + 1
    if (next > endOffset)
      return {
        error: KafkaError.OFFSET_OUT_OF_RANGE,
        message: `offset ${next - 1}, what is restored ends at ${endOffset}`,
      }
    const length = batchBytesOf(bytes, at)
    batches.push(bytes.subarray(at, at + length))
    at += length
  }
  if (batches.length === 0) return { error: KafkaError.INVALID_REQUEST, message: 'no batch to restore' }
  return { batches, nextOffset: next }
}
