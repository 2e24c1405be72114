import { TypedError } from '../stdx/index.ts'

/**
 * What the storage layer refuses or gives up on. Refusals at opening say what to do; `…_FAILED` ones are handed to `fatal`,
 * because after them nothing is known about bytes that were promised.
 */
export type StorageFailure =
  | { code: 'DIRECTORY_IN_USE'; directory: string }
  | { code: 'DIRECTORY_UNUSABLE'; directory: string; reason: string }
  | { code: 'IDENTITY_MISSING'; directory: string }
  | { code: 'IDENTITY_DAMAGED'; file: string; position: number }
  | { code: 'OTHER_NODE'; file: string; stored: number; given: number }
  | { code: 'OTHER_CLUSTER'; file: string; stored: string; given: string }
  | { code: 'NEWER_FORMAT'; file: string; found: number; supported: number }
  | { code: 'JOURNAL_DAMAGED'; file: string; position: number; sequence: number; label: string }
  | { code: 'LOG_BROKEN'; shard: number; index: number; reason: string }
  | { code: 'CHECKPOINT_MISSING'; file: string }
  | { code: 'CHECKPOINT_DAMAGED'; file: string; position: number }
  | { code: 'RESET_INTERRUPTED'; file: string }
  | { code: 'TERMS_DAMAGED'; file: string; position: number }
  | { code: 'SHARD_LOG_MISSING'; shard: number; file: string; reason: string }
  | { code: 'SHARD_LOG_DAMAGED'; shard: number; file: string; position: number; reason: string }
  | { code: 'REPAIR_REFUSED'; shard: number; index: number; reason: string }
  | { code: 'BELOW_LOG_START'; shard: number; index: number; start: number }
  | { code: 'OFFSET_BELOW_LOG_START'; shard: number; offset: number; start: number }
  | { code: 'SHARD_REMOVED'; shard: number }
  | { code: 'CLEANING_ABANDONED'; shard: number }
  | { code: 'JOURNAL_FAILED'; file: string; operation: 'write' | 'sync'; reason: string }
  | { code: 'SHARD_LOG_FAILED'; shard: number; file: string; operation: string; reason: string }
  | { code: 'CHECKPOINT_FAILED'; file: string; reason: string }
  | { code: 'CLOSED' }

export class StorageError extends TypedError<StorageFailure> {}

/**
 * The way out of damage that a start cannot put right. Not "join again with an empty directory": nodes cannot be replaced in this
 * version, and who is known with a directory is refused with another.
 */
export const KEEP_THE_DIRECTORY =
  'Nothing was changed: keep this directory aside. In a cluster, leave the other members running; take what they serve with ' +
  "'tidemark backup' and bring it into a new cluster with 'tidemark restore'. " +
  'A single node: restore a backup into one with a new directory, or go back to a copy of this one.'
