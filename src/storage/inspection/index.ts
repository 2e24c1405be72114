/** Reading the files of a data directory for people: read-only, bounded in memory, and not put off by damage. */
export { type BatchSummary, batchesOf, recordsOf } from './batches.ts'
export { InspectionError, inspect } from './inspect.ts'
export {
  type DamageItem,
  type EndItem,
  type EntryItem,
  type FileKind,
  hex32,
  type ItemSink,
  type LogItem,
} from './items.ts'
export { type FileTally, type Range, type ShardTally, Tally } from './tally.ts'
