/**
 * A change of a table as a record batch: record key = key, value = the new value, null deletes. So every table *is* a
 * compacted stream: whoever reads the records in order and keeps the last value of each key holds the table.
 */
import { encodeBatch } from './batch-encoder.ts'
import { RecordsError } from './errors.ts'
import { splitBatches } from './record-batch.ts'
import { forEachRecord } from './records.ts'

export interface KeyedChange {
  readonly key: string
  /** Null deletes the key. */
  readonly value: Buffer | null
}

/** The changes, in order, as one batch. `timestamp` is wall time in milliseconds: a label. */
export function encodeKeyedBatch(changes: readonly KeyedChange[], baseOffset: number, timestamp: number): Buffer {
  const records = changes.map((change) => ({ key: Buffer.from(change.key), value: change.value }))
  return encodeBatch(records, { baseOffset, timestamp })
}

/**
 * Calls `visit` with each change in an entry's payload, which is one or more whole batches. The value is a slice of the
 * payload: copy it to keep it. Throws a `RecordsError` when the payload is anything else.
 */
export function forEachKeyedChange(payload: Buffer, visit: (key: string, value: Buffer | null) => void): void {
  const batches = splitBatches(payload)
  if (batches === null) throw notKeyed('record batches')
  let total = 0
  for (const batch of batches) {
    total += batch.length
    forEachRecord(batch, 0, (record) => {
      if (record.key === null) throw notKeyed('records with keys')
      visit(record.key.toString(), record.value)
    })
  }
  if (total === 0 || total !== payload.length) throw notKeyed('whole batches')
}

function notKeyed(what: string): RecordsError {
  return new RecordsError(
    { code: 'BATCH_INVALID', defect: 'records' },
    `the payload of a table's entry does not hold ${what}`,
  )
}
