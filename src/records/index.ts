/** Record batch v2, the one format from the producer's socket to the platter: headers, records, codecs, checks. */
export * from './batch-encoder.ts'
export * from './batch-validation.ts'
export * from './codecs.ts'
export * from './errors.ts'
export * from './keyed-batch.ts'
export * from './record-batch.ts'
export * from './records.ts'
export * from './varint.ts'
