/**
 * What a batch must be to get into a partition: the format's rules (records/batch-validation.ts) and the topic's own, each with
 * the code that Kafka's brokers answer. What passes here is stored for good and shown to every consumer, so this is the one
 * address of validation: behind it nobody asks again.
 */
import {
  type BatchDefect,
  type BatchLimits,
  batchBytesOf,
  Codec,
  codecOf,
  forEachRecord,
  isTransactional,
  maxTimestampOfRecords,
  RecordsError,
  validateBatch,
} from '../records/index.ts'
import { KafkaError, type KafkaErrorCode } from './errors.ts'
import type { PartitionSettings } from './partition-settings.ts'

export interface Refusal {
  readonly error: KafkaErrorCode
  readonly message: string
}

const REFUSALS: { readonly [D in BatchDefect]: Refusal } = {
  short: { error: KafkaError.INVALID_RECORD, message: 'the bytes end before the batch does' },
  length: { error: KafkaError.CORRUPT_MESSAGE, message: 'no record batch is so short' },
  magic: { error: KafkaError.INVALID_RECORD, message: 'only record batches with magic 2 are accepted' },
  'magic-unknown': { error: KafkaError.CORRUPT_MESSAGE, message: 'no format of record batches has such a magic' },
  'base-offset': { error: KafkaError.INVALID_RECORD, message: 'the base offset of a new batch must be 0' },
  'too-large': { error: KafkaError.MESSAGE_TOO_LARGE, message: 'the batch is larger than max.message.bytes' },
  crc: { error: KafkaError.CORRUPT_MESSAGE, message: 'the batch does not match its CRC-32C' },
  count: { error: KafkaError.INVALID_RECORD, message: 'a batch must hold at least one record' },
  'last-offset-delta': {
    error: KafkaError.INVALID_RECORD,
    message: 'the last offset delta does not fit the record count',
  },
  control: { error: KafkaError.INVALID_RECORD, message: 'clients may not write control batches' },
  'append-time': { error: KafkaError.INVALID_TIMESTAMP, message: 'clients may not claim append time' },
  codec: { error: KafkaError.UNSUPPORTED_COMPRESSION_TYPE, message: 'there is no such compression codec' },
  'codec-too-new': {
    error: KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
    message: 'zstd needs produce requests of version 7',
  },
  'producer-id': { error: KafkaError.INVALID_RECORD, message: 'the producer id is not one' },
  'producer-epoch': { error: KafkaError.INVALID_RECORD, message: 'an idempotent batch needs a producer epoch' },
  sequence: { error: KafkaError.INVALID_RECORD, message: 'an idempotent batch needs a base sequence' },
  timestamp: { error: KafkaError.INVALID_TIMESTAMP, message: 'a timestamp is out of range' },
  records: { error: KafkaError.INVALID_RECORD, message: 'the records are not what the header of the batch says' },
}

const MORE_THAN_ONE: Refusal = { error: KafkaError.INVALID_RECORD, message: 'a partition takes one batch per request' }
const KEYLESS: Refusal = { error: KafkaError.INVALID_RECORD, message: 'every record of a compacted topic needs a key' }
const UNREADABLE: Refusal = { error: KafkaError.CORRUPT_MESSAGE, message: 'the records of the batch cannot be read' }
const TRANSACTIONAL: Refusal = {
  error: KafkaError.INVALID_TXN_STATE,
  message: 'the batch belongs to no open transaction',
}

export class BatchGate {
  #settings: PartitionSettings
  #limits: BatchLimits
  #limitsWithoutZstd: BatchLimits
  /** Of the batch that `examine` let pass last; null where only the producer's word is known (compressed batches). */
  trueMaxTimestamp: number | null = null

  constructor(settings: PartitionSettings) {
    this.#settings = settings
    this.#limits = { maxBytes: settings.maxMessageBytes, zstdAllowed: true }
    this.#limitsWithoutZstd = { maxBytes: settings.maxMessageBytes, zstdAllowed: false }
  }

  get settings(): PartitionSettings {
    return this.#settings
  }

  set settings(settings: PartitionSettings) {
    this.#settings = settings
    this.#limits = { maxBytes: settings.maxMessageBytes, zstdAllowed: true }
    this.#limitsWithoutZstd = { maxBytes: settings.maxMessageBytes, zstdAllowed: false }
  }

  /** Why the batch may not be appended, or null. */
  examine(batch: Buffer, zstdAllowed: boolean): Refusal | null {
    const defect = validateBatch(batch, 0, zstdAllowed ? this.#limits : this.#limitsWithoutZstd)
    if (defect !== null) return REFUSALS[defect]
    if (batchBytesOf(batch, 0) !== batch.length) return MORE_THAN_ONE
    if (isTransactional(batch, 0)) return TRANSACTIONAL
    this.trueMaxTimestamp = null
    if (codecOf(batch, 0) === Codec.none) {
      const maxTimestamp = maxTimestampOfRecords(batch, 0)
      if (Number.isNaN(maxTimestamp)) return REFUSALS.records
      this.trueMaxTimestamp = maxTimestamp
    }
    return this.#settings.compacted ? this.#examineKeys(batch) : null
  }

  #examineKeys(batch: Buffer): Refusal | null {
    let keyless = false
    try {
      forEachRecord(batch, 0, (record) => {
        keyless = record.key === null
        return !keyless
      })
    } catch (error) {
      if (error instanceof RecordsError) return UNREADABLE
      throw error
    }
    return keyless ? KEYLESS : null
  }
}
