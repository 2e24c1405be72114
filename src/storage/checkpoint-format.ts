/**
 * The checkpoint: one file for the node, each shard's state at an index at or below its high-water mark. Recovery is the
 * checkpoint and the journal after it.
 *
 *      0  8 B  magic          "TIDECKPT"
 *      8  u32  crc            CRC-32C of everything from byte 12 on
 *     12  u16  version
 *     14  u16  readableFrom
 *     16 16 B  diskIncarnation
 *     32  u64  journalFrom    the first block of the journal that is still needed
 *     40  u64  journalThrough every block up to here was synced when this was written
 *     48  u64  highestStamp   seen in any entry
 *     56  u32  shardCount
 *     60  u32  removedCount
 *     64       shard records, then removed shards: u32 shard, u64 through (the journal may hold entries of it up to there)
 *
 * Shard record:
 *
 *      0  u32  length         of the record
 *      4  u32  shard
 *      8  u64  term           (hard state)
 *     16  u32  vote
 *     20  u32  crc            of the entry at index: the anchor of the chain
 *     24  u64  index
 *     32  u64  entryTerm
 *     40  u64  nextOffset
 *     48  u64  stamp
 *     56  u64  startIndex
 *     64  u64  startOffset
 *     72  u32  epochCount, u32 configurationBytes, u32 stateBytes
 *     84  u8   flags         1: there is a log; 2: the replica recovers
 *     85  u8   hasCleaned    0 or 1
 *     86  u16  cleanedCount
 *     88       shard log position, 64 bytes: u64 firstIndex, firstOffset, bytes, lastIndex, nextOffset; f64 maxTimestamp;
 *              u32 segmentCrc, lastCrc
 *    144  u64  journalAfter   entries of the shard in blocks up to here came before an installed snapshot; 0 for none
 *    152       epochs: u64 term, firstIndex, firstOffset each
 *              where hasCleaned is 1: u64 floorOffset, u64 generation, and of each cleaned segment u64 firstIndex, generation,
 *              firstOffset, nextOffset, bytes; f64 maxTimestamp; u32 crc, u32 reserved
 *              configuration; then state
 *
 * The bytes with a worked example: docs/formats/checkpoint.md.
 */
import { assert, crc32c } from '../stdx/index.ts'
import type { CleanedPart, CleanedSegment } from './cleaned-part.ts'
import { readU64, writeU64 } from './entry.ts'
import { KEEP_THE_DIRECTORY, StorageError } from './errors.ts'
import type { HardState } from './hard-state.ts'
import { newerFormat, readable, writeVersions } from './versions.ts'

export interface ShardCheckpoint extends HardState {
  readonly shard: number
  /** Up to here the state below is applied; ≤ the high-water mark. */
  readonly index: number
  /** Term of the entry at `index`; 0 at index 0. */
  readonly entryTerm: number
  /** `crc` of the entry at `index`, which the next one names as its predecessor's; 0 at index 0. */
  readonly crc: number
  readonly nextOffset: number
  readonly stamp: number
  /** The log's start: lower ones were cut. */
  readonly startIndex: number
  readonly startOffset: number
  readonly epochs: readonly { readonly term: number; readonly firstIndex: number; readonly firstOffset: number }[]
  readonly configuration: Buffer
  /** The state machine's own snapshot. */
  readonly state: Buffer
  /** It has lost what it had acknowledged, and is no voter until it has it again (resetting.ts). */
  readonly recovering?: boolean
}

/** How far a shard's log is known to be on the disk; at or beyond the checkpoint's index. */
export interface ShardLogPosition {
  /** Of the segment that is being written. */
  readonly firstIndex: number
  readonly firstOffset: number
  /** Its length, header included. */
  readonly bytes: number
  readonly lastIndex: number
  readonly nextOffset: number
  readonly maxTimestamp: number
  /** CRC-32C of those bytes. */
  readonly segmentCrc: number
  /** `crc` of the entry at `lastIndex`. */
  readonly lastCrc: number
}

export interface StoredShard {
  readonly state: ShardCheckpoint
  /** Null when the log's files hold nothing: nothing was written yet, or nothing since a snapshot was installed. */
  readonly log: ShardLogPosition | null
  /**
   * The journal's entries of this shard count only in blocks above this. What a follower had when a snapshot was installed may
   * be another history, and must never be taken for what follows the snapshot. Hard states always count.
   */
  readonly journalAfter: number
  /** What compaction has left of the entries below `state.startIndex`; null where it never left anything. */
  readonly cleaned: CleanedPart | null
}

export interface Checkpoint {
  readonly diskIncarnation: string
  readonly journalFrom: number
  readonly journalThrough: number
  readonly highestStamp: number
  readonly shards: ReadonlyMap<number, StoredShard>
  /** Removed shards of which the journal may still hold entries, up to the block named. */
  readonly removed: ReadonlyMap<number, number>
}

const MAGIC = Buffer.from('TIDECKPT', 'latin1')
export const CHECKPOINT_HEADER_BYTES = 64
/** Of a shard's record without its epochs, configuration and state. */
export const RECORD_BYTES = 152
const EPOCH_BYTES = 24
const CLEANED_HEADER_BYTES = 16
const CLEANED_BYTES = 56
/** Of one shard: what the record can count. */
export const CLEANED_SEGMENTS_MAX = 0xffff
export const REMOVED_BYTES = 12
const HAS_LOG = 1
const RECOVERING = 2

/** The file's pieces, in order. */
export function encodeCheckpoint(checkpoint: Checkpoint): Buffer[] {
  const header = Buffer.alloc(CHECKPOINT_HEADER_BYTES)
  MAGIC.copy(header, 0)
  writeVersions(header, 12)
  header.write(checkpoint.diskIncarnation, 16, 16, 'hex')
  writeU64(header, checkpoint.journalFrom, 32)
  writeU64(header, checkpoint.journalThrough, 40)
  writeU64(header, checkpoint.highestStamp, 48)
  header.writeUInt32LE(checkpoint.shards.size, 56)
  header.writeUInt32LE(checkpoint.removed.size, 60)
  const pieces: Buffer[] = [header]
  for (const stored of checkpoint.shards.values()) pieces.push(...encodeRecord(stored))
  const removed = Buffer.alloc(checkpoint.removed.size * REMOVED_BYTES)
  let at = 0
  for (const [shard, through] of checkpoint.removed) {
    removed.writeUInt32LE(shard, at)
    writeU64(removed, through, at + 4)
    at += REMOVED_BYTES
  }
  pieces.push(removed)
  let crc = crc32c(header.subarray(12))
  for (const piece of pieces.slice(1)) if (piece.length > 0) crc = crc32c(piece, crc)
  header.writeUInt32LE(crc, 8)
  return pieces
}

function encodeRecord({ state, log, journalAfter, cleaned }: StoredShard): Buffer[] {
  const fixed = Buffer.alloc(RECORD_BYTES + state.epochs.length * EPOCH_BYTES + cleanedBytes(cleaned))
  fixed.writeUInt32LE(fixed.length + state.configuration.length + state.state.length, 0)
  fixed.writeUInt32LE(state.shard, 4)
  writeU64(fixed, state.term, 8)
  fixed.writeUInt32LE(state.vote, 16)
  fixed.writeUInt32LE(state.crc, 20)
  writeU64(fixed, state.index, 24)
  writeU64(fixed, state.entryTerm, 32)
  writeU64(fixed, state.nextOffset, 40)
  writeU64(fixed, state.stamp, 48)
  writeU64(fixed, state.startIndex, 56)
  writeU64(fixed, state.startOffset, 64)
  fixed.writeUInt32LE(state.epochs.length, 72)
  fixed.writeUInt32LE(state.configuration.length, 76)
  fixed.writeUInt32LE(state.state.length, 80)
  fixed[84] = (log === null ? 0 : HAS_LOG) | (state.recovering === true ? RECOVERING : 0)
  if (log !== null) {
    writeU64(fixed, log.firstIndex, 88)
    writeU64(fixed, log.firstOffset, 96)
    writeU64(fixed, log.bytes, 104)
    writeU64(fixed, log.lastIndex, 112)
    writeU64(fixed, log.nextOffset, 120)
    fixed.writeDoubleLE(log.maxTimestamp, 128)
    fixed.writeUInt32LE(log.segmentCrc, 136)
    fixed.writeUInt32LE(log.lastCrc, 140)
  }
  writeU64(fixed, journalAfter, 144)
  let at = RECORD_BYTES
  for (const epoch of state.epochs) {
    writeU64(fixed, epoch.term, at)
    writeU64(fixed, epoch.firstIndex, at + 8)
    writeU64(fixed, epoch.firstOffset, at + 16)
    at += EPOCH_BYTES
  }
  if (cleaned) writeCleaned(cleaned, fixed, at)
  return [fixed, state.configuration, state.state]
}

function cleanedBytes(cleaned: CleanedPart | null | undefined): number {
  return cleaned ? CLEANED_HEADER_BYTES + cleaned.segments.length * CLEANED_BYTES : 0
}

function writeCleaned({ floorOffset, generation, segments }: CleanedPart, into: Buffer, from: number): void {
  assert(segments.length <= CLEANED_SEGMENTS_MAX, () => `${segments.length} cleaned segments of one shard`)
  into[85] = 1
  into.writeUInt16LE(segments.length, 86)
  writeU64(into, floorOffset, from)
  writeU64(into, generation, from + 8)
  let at = from + CLEANED_HEADER_BYTES
  for (const segment of segments) {
    writeU64(into, segment.firstIndex, at)
    writeU64(into, segment.generation, at + 8)
    writeU64(into, segment.firstOffset, at + 16)
    writeU64(into, segment.nextOffset, at + 24)
    writeU64(into, segment.bytes, at + 32)
    into.writeDoubleLE(segment.maxTimestamp, at + 40)
    into.writeUInt32LE(segment.crc, at + 48)
    at += CLEANED_BYTES
  }
}

/** Null for bytes that are none. */
function readCleaned(bytes: Buffer, from: number): CleanedPart | null {
  const [floorOffset, generation] = [readU64(bytes, from), readU64(bytes, from + 8)]
  if (floorOffset < 0 || generation < 1) return null
  const segments: CleanedSegment[] = []
  let at = from + CLEANED_HEADER_BYTES
  for (let left = bytes.readUInt16LE(86); left > 0; left--, at += CLEANED_BYTES) {
    for (let field = 0; field < 40; field += 8) if (readU64(bytes, at + field) < 0) return null
    segments.push({
      firstIndex: readU64(bytes, at),
      generation: readU64(bytes, at + 8),
      firstOffset: readU64(bytes, at + 16),
      nextOffset: readU64(bytes, at + 24),
      bytes: readU64(bytes, at + 32),
      maxTimestamp: bytes.readDoubleLE(at + 40),
      crc: bytes.readUInt32LE(at + 48),
    })
  }
  return { floorOffset, generation, segments }
}

export interface CheckpointHeader extends Omit<Checkpoint, 'shards' | 'removed'> {
  readonly shardCount: number
  readonly removedCount: number
}

/** The first 64 bytes; the sum is over the whole file and not looked at. */
export function decodeCheckpointHeader(bytes: Buffer, file: string): CheckpointHeader | StorageError {
  if (bytes.length < CHECKPOINT_HEADER_BYTES || !bytes.subarray(0, 8).equals(MAGIC)) return damaged(file, 0)
  if (!readable(bytes, 12)) return newerFormat(file, bytes, 12)
  const journalFrom = readU64(bytes, 32)
  const journalThrough = readU64(bytes, 40)
  const highestStamp = readU64(bytes, 48)
  if (journalFrom < 0 || journalThrough < 0 || highestStamp < 0) return damaged(file, 32)
  return {
    diskIncarnation: bytes.toString('hex', 16, 32),
    journalFrom,
    journalThrough,
    highestStamp,
    shardCount: bytes.readUInt32LE(56),
    removedCount: bytes.readUInt32LE(60),
  }
}

export function decodeCheckpoint(bytes: Buffer, file: string): Checkpoint | StorageError {
  const header = decodeCheckpointHeader(bytes, file)
  if (header instanceof StorageError) return header
  if (crc32c(bytes.subarray(12)) !== bytes.readUInt32LE(8)) return damaged(file, 8)
  const { diskIncarnation, journalFrom, journalThrough, highestStamp, shardCount, removedCount } = header
  const shards = new Map<number, StoredShard>()
  let at = CHECKPOINT_HEADER_BYTES
  for (let left = shardCount; left > 0; left--) {
    const length = bytes.length - at < RECORD_BYTES ? 0 : bytes.readUInt32LE(at)
    const stored =
      length < RECORD_BYTES || length > bytes.length - at ? null : decodeShardRecord(bytes.subarray(at, at + length))
    if (stored === null || shards.has(stored.state.shard)) return damaged(file, at)
    shards.set(stored.state.shard, stored)
    at += length
  }
  const removed = new Map<number, number>()
  if (bytes.length - at !== removedCount * REMOVED_BYTES) return damaged(file, at)
  for (; at < bytes.length; at += REMOVED_BYTES) {
    const through = readU64(bytes, at + 4)
    if (through < 0) return damaged(file, at)
    removed.set(bytes.readUInt32LE(at), through)
  }
  return { diskIncarnation, journalFrom, journalThrough, highestStamp, shards, removed }
}

function cleanedBytesIn(record: Buffer): number {
  return record[85] === 1 ? CLEANED_HEADER_BYTES + record.readUInt16LE(86) * CLEANED_BYTES : 0
}

/** How long a record is that begins with these bytes, by its own fields. */
export function shardRecordBytes(record: Buffer): number {
  const [epochs, configuration, state] = [72, 76, 80].map((at) => record.readUInt32LE(at)) as [number, number, number]
  return RECORD_BYTES + epochs * EPOCH_BYTES + cleanedBytesIn(record) + configuration + state
}

/** Null for bytes that are no record. Configuration and state are copies. */
export function decodeShardRecord(bytes: Buffer): StoredShard | null {
  const epochCount = bytes.readUInt32LE(72)
  const configurationBytes = bytes.readUInt32LE(76)
  const [flags, hasCleaned] = [bytes[84]!, bytes[85]!]
  if (shardRecordBytes(bytes) !== bytes.length || flags > (HAS_LOG | RECOVERING) || hasCleaned > 1) return null
  for (const at of [8, 24, 32, 40, 48, 56, 64, 88, 96, 104, 112, 120, 144]) if (readU64(bytes, at) < 0) return null
  const epochs: { term: number; firstIndex: number; firstOffset: number }[] = []
  let at = RECORD_BYTES
  for (let i = 0; i < epochCount; i++, at += EPOCH_BYTES) {
    const epoch = { term: readU64(bytes, at), firstIndex: readU64(bytes, at + 8), firstOffset: readU64(bytes, at + 16) }
    if (epoch.term < 0 || epoch.firstIndex < 0 || epoch.firstOffset < 0) return null
    epochs.push(epoch)
  }
  const cleaned = hasCleaned === 1 ? readCleaned(bytes, at) : null
  if (hasCleaned === 1 && cleaned === null) return null
  at += cleanedBytesIn(bytes)
  const state: ShardCheckpoint = {
    shard: bytes.readUInt32LE(4),
    term: readU64(bytes, 8),
    vote: bytes.readUInt32LE(16),
    crc: bytes.readUInt32LE(20),
    index: readU64(bytes, 24),
    entryTerm: readU64(bytes, 32),
    nextOffset: readU64(bytes, 40),
    stamp: readU64(bytes, 48),
    startIndex: readU64(bytes, 56),
    startOffset: readU64(bytes, 64),
    epochs,
    configuration: Buffer.from(bytes.subarray(at, at + configurationBytes)),
    state: Buffer.from(bytes.subarray(at + configurationBytes)),
    ...((flags & RECOVERING) === 0 ? {} : { recovering: true }),
  }
  const journalAfter = readU64(bytes, 144)
  if ((flags & HAS_LOG) === 0) return { state, log: null, journalAfter, cleaned }
  return {
    state,
    journalAfter,
    cleaned,
    log: {
      firstIndex: readU64(bytes, 88),
      firstOffset: readU64(bytes, 96),
      bytes: readU64(bytes, 104),
      lastIndex: readU64(bytes, 112),
      nextOffset: readU64(bytes, 120),
      maxTimestamp: bytes.readDoubleLE(128),
      segmentCrc: bytes.readUInt32LE(136),
      lastCrc: bytes.readUInt32LE(140),
    },
  }
}

/** Everything in a checkpoint only rises: block, stamp, and over all shards the indexes and terms. */
export interface CheckpointAge extends Pick<Checkpoint, 'journalThrough' | 'journalFrom' | 'highestStamp'> {
  readonly indexes: number
  readonly terms: number
}

export function ageOf({ journalThrough, journalFrom, highestStamp, shards }: Checkpoint): CheckpointAge {
  let [indexes, terms] = [0, 0]
  for (const { state } of shards.values()) {
    indexes += state.index
    terms += state.term
  }
  return { journalThrough, journalFrom, highestStamp, indexes, terms }
}

export function isOlder(one: CheckpointAge, other: CheckpointAge): boolean {
  for (const name of ['journalThrough', 'journalFrom', 'highestStamp', 'indexes', 'terms'] as const)
    if (one[name] !== other[name]) return one[name] < other[name]
  return false
}

function damaged(file: string, position: number): StorageError {
  const details = { code: 'CHECKPOINT_DAMAGED', file, position } as const
  return new StorageError(details, `${file} is damaged (byte ${position}). ${KEEP_THE_DIRECTORY}`)
}
