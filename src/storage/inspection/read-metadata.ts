/**
 * The small files: who the disk is, the checkpoint, and the bound of terms. The checkpoint is read record by record, since the state
 * of a large cluster's metadata may be in it; and since it is the word on which other files must be there, it is held against them.
 *
 * `after` is what follows where one does not count: that depends on the files beside it.
 */
import {
  CHECKPOINT_HEADER_BYTES,
  type CheckpointHeader,
  decodeCheckpointHeader,
  decodeShardRecord,
  RECORD_BYTES,
  REMOVED_BYTES,
  type StoredShard,
  shardRecordBytes,
} from '../checkpoint-format.ts'
import { readU64 } from '../entry.ts'
import { StorageError } from '../errors.ts'
import { decodeIdentity, IDENTITY_BYTES_MAX, type Identity } from '../identity.ts'
import type { Procedure } from '../procedure.ts'
import { decodeTerms, TERMS_BYTES, type Terms } from '../terms.ts'
import { glimpse, hex32, type Output } from './items.ts'
import type { Source } from './source.ts'

/** A state of a GiB, which is as large as one can be sent, and what goes with it. */
const STORED_BYTES_MAX = (1 << 30) + (64 << 20)

export function* readIdentity(source: Source, out: Output, after: string): Procedure<Identity | null> {
  const bytes = yield* source.view(0, Math.min(source.size, IDENTITY_BYTES_MAX))
  const identity = decodeIdentity(bytes, source.path)
  if (identity instanceof StorageError) {
    out.damage(...(yield* wholeFileDamage(source, identity, 'an identity', after)))
    out.end(0, 'damaged', after, { bytes: source.size, is: 'unread' })
    return null
  }
  const { nodeId, diskIncarnation, clusterId, clusterHash } = identity
  out.header({ nodeId, diskIncarnation, clusterId, clusterHash })
  out.end(source.size, 'end of the file', 'whole', { bytes: 0, is: 'none' })
  return identity
}

/** `diskIncarnation`: of the identity beside it, null where that is not known. */
export function* readTerms(
  source: Source,
  out: Output,
  after: string,
  diskIncarnation: string | null,
): Procedure<Terms | null> {
  const bytes = yield* source.view(0, Math.min(source.size, TERMS_BYTES + 1))
  const terms = decodeTerms(bytes, source.path)
  if (terms instanceof StorageError) {
    out.damage(...(yield* wholeFileDamage(source, terms, 'a bound of terms', after)))
    out.end(0, 'damaged', after, { bytes: source.size, is: 'unread' })
    return null
  }
  out.header({ ...terms, resetting: terms.resetting ? 1 : 0 })
  if (diskIncarnation !== null && terms.diskIncarnation !== diskIncarnation) {
    const expected = `disk ${diskIncarnation}, as in the identity`
    out.damage(16, 32, { expected, found: `disk ${terms.diskIncarnation}`, after })
  }
  if (terms.resetting) out.note('damage is being put aside: the next start goes on with that')
  out.end(source.size, 'end of the file', 'whole', { bytes: 0, is: 'none' })
  return terms
}

type DamageArguments = [number, number, { expected: string; found: string; after: string }]

/** Of a file with one sum over everything: where its decoder gave up. */
function* wholeFileDamage(
  source: Source,
  error: StorageError,
  what: string,
  after: string,
): Procedure<DamageArguments> {
  const head = yield* source.view(0, Math.min(source.size, 64))
  const { details } = error
  if (details.code === 'NEWER_FORMAT') {
    const expected = `a format up to ${details.supported}`
    return [12, 16, { expected, found: `format ${details.found}, of a newer program`, after }]
  }
  const position = 'position' in details ? details.position : 0
  if (position === 0)
    return [0, source.size, { expected: what, found: source.size < 40 ? `${source.size} bytes` : glimpse(head), after }]
  const sum = yield* source.sum(12, source.size)
  if (sum === head.readUInt32LE(8)) {
    return [
      position,
      source.size,
      { expected: `${what} whose values can be`, found: 'some that cannot, under a right sum', after },
    ]
  }
  const found = `sum ${hex32(sum)}`
  return [8, source.size, { expected: `bytes from 12 on with the sum ${hex32(head.readUInt32LE(8))}`, found, after }]
}

/** What is readable; null where not even the header is. */
export function* readCheckpoint(
  source: Source,
  out: Output,
  after: string,
  compare: CheckpointComparison | null,
): Procedure<CheckpointHeader | null> {
  const head = Buffer.from(yield* source.view(0, CHECKPOINT_HEADER_BYTES))
  const header = decodeCheckpointHeader(head, source.path)
  if (header instanceof StorageError) {
    out.damage(...(yield* wholeFileDamage(source, header, 'a checkpoint', after)))
    out.end(0, 'damaged', after, { bytes: source.size, is: 'unread' })
    return null
  }
  const { diskIncarnation, journalFrom, journalThrough, highestStamp, shardCount, removedCount } = header
  out.header({ diskIncarnation, journalFrom, journalThrough, highestStamp, shardCount, removedCount })
  const sum = yield* source.sum(12, source.size)
  const whole = sum === head.readUInt32LE(8)
  if (!whole) {
    const expected = `bytes from 12 on with the sum ${hex32(head.readUInt32LE(8))}`
    out.damage(8, source.size, {
      expected,
      found: `sum ${hex32(sum)}`,
      after: `${after}; what is shown below may be wrong`,
    })
  }
  const at = yield* records(source, header, out, whole && compare !== null ? compare.shard : null)
  if (at === null) return header
  const lost = whole && compare !== null ? yield* compare.header(header) : null
  if (lost !== null) out.damage(16, 48, lost)
  out.end(at, 'end of the file', whole ? 'whole' : 'under a wrong sum', {
    bytes: source.size - at,
    is: source.size === at ? 'none' : 'unread',
  })
  return header
}

export interface Lost {
  readonly expected: string
  readonly found: string
  readonly after: string
}

/** Files that must be there if the checkpoint is right. */
export interface CheckpointComparison {
  readonly header: (header: CheckpointHeader) => Procedure<Lost | null>
  readonly shard: (stored: StoredShard) => Procedure<Lost | null>
}

function* records(
  source: Source,
  { shardCount, removedCount }: CheckpointHeader,
  out: Output,
  compare: CheckpointComparison['shard'] | null,
): Procedure<number | null> {
  let at = CHECKPOINT_HEADER_BYTES
  const seen = new Set<number>()
  const stop = (what: string): null => {
    out.damage(at, source.size, {
      expected: what,
      found: 'lengths or values that cannot be',
      after: 'nothing behind it can be told apart',
    })
    out.end(at, 'damaged', 'nothing behind the damage can be told apart', { bytes: source.size - at, is: 'unread' })
    return null
  }
  for (let left = shardCount; left > 0; left--) {
    if (out.stopped) return at
    const fixed = yield* source.view(at, RECORD_BYTES)
    const length = fixed.length < RECORD_BYTES ? 0 : fixed.readUInt32LE(0)
    const isWhole = length >= RECORD_BYTES && length <= source.size - at && length <= STORED_BYTES_MAX
    if (!isWhole || length !== shardRecordBytes(fixed))
      return stop(`the record of a shard, ${left} of ${shardCount} to come`)
    const stored = decodeShardRecord(yield* source.view(at, length))
    if (stored === null || seen.has(stored.state.shard))
      return stop(`the record of a shard, ${left} of ${shardCount} to come`)
    seen.add(stored.state.shard)
    out.emit({ type: 'shard', position: at, bytes: length, stored })
    const lost = compare === null ? null : yield* compare(stored)
    if (lost !== null) out.damage(at, at + length, lost)
    at += length
  }
  if (source.size - at !== removedCount * REMOVED_BYTES)
    return stop(`${removedCount} removed shards of ${REMOVED_BYTES} bytes`)
  for (; at < source.size && !out.stopped; at += REMOVED_BYTES) {
    const bytes = yield* source.view(at, REMOVED_BYTES)
    if (bytes.length < REMOVED_BYTES || readU64(bytes, 4) < 0) return stop('a removed shard')
    out.emit({ type: 'removed', shard: bytes.readUInt32LE(0), through: readU64(bytes, 4) })
  }
  return at
}
