/**
 * From a directory to everything that a running storage needs, or a refusal that says what to do.
 *
 *     claim ─► identity ─► checkpoint ─► journal scan ─► shard folders ─► first segment of this opening
 *
 * Nothing that was found is deleted on doubt: missing metadata beside existing data is damage, not an empty start (a folder
 * of unknown origin is moved aside). Nothing that was found is believed only because it reads well: the journal's last block
 * and the names are synced again first.
 */
import { dirname } from 'node:path'
import { type Disk, type Platform, PlatformError } from '../platform/index.ts'
import { readFile, replaceFile } from './atomic-file.ts'
import type { Background } from './background.ts'
import { type Checkpoint, decodeCheckpoint, encodeCheckpoint } from './checkpoint-format.ts'
import { REPLACE_THE_DISK, StorageError } from './errors.ts'
import type { StorageEvent } from './events.ts'
import { decodeIdentity, encodeIdentity, IDENTITY_BYTES_MAX, type Identity, isNotFound, refusal } from './identity.ts'
import { BLOCK_ALIGNMENT, blockFootprint } from './journal-format.ts'
import { type ScanResult, scanJournal } from './journal-scan.ts'
import type { JournalSegment } from './journal-segment.ts'
import { checkpointFile, identityFile, journalDirectory, shardsDirectory } from './layout.ts'
import { call, type Procedure } from './procedure.ts'
import { type RecoveredShard, Replay } from './replay.ts'
import { type PreparedSegment, SegmentSupply } from './segment-supply.ts'
import { namesIn, tidyShards } from './shard-folders.ts'

/** The first segment of an opening: written in some ten milliseconds. */
const FIRST_SEGMENT_BYTES = 4 << 20
const CHECKPOINT_BYTES_MAX = 2 ** 32

export interface OpeningOptions {
  readonly directory: string
  readonly nodeId: number
  readonly clusterHash: string
  readonly journalSegmentBytes: number
}

export interface Claim {
  release(done: () => void): void
}

export interface Opened {
  readonly fresh: boolean
  readonly identity: Identity
  readonly checkpoint: Checkpoint
  readonly scan: ScanResult
  readonly recovered: Map<number, RecoveredShard>
  readonly highestStamp: number
  /** Per shard, first indexes of the segments before the one in use. */
  readonly sealed: Map<number, number[]>
  readonly supply: SegmentSupply
  readonly incarnation: string
  readonly segment: PreparedSegment
  /** Still needed, besides the new one. */
  readonly older: JournalSegment[]
  /** Replaced by the new one's first block; to be freed once that is on the disk. */
  readonly superseded: JournalSegment[]
  readonly nextSequence: number
}

export interface OpeningCollaborators {
  readonly platform: Platform
  readonly background: Background
  readonly trace: (event: StorageEvent) => void
}

export function* claimDirectory(disk: Disk, directory: string): Procedure<Claim> {
  yield* call<void>((done) => disk.makeDirectory(directory, done))
  try {
    return yield* call<Claim>((done) => disk.claim(directory, done))
  } catch (error) {
    if (!(error instanceof PlatformError) || error.code !== 'DISK_IN_USE') throw error
    throw new StorageError(
      { code: 'DIRECTORY_IN_USE', directory },
      `the data directory ${directory} is in use by another process. Stop that one, or choose another with --data.`,
      { cause: error },
    )
  }
}

/** The directory is claimed. */
export function* openDirectory(options: OpeningOptions, collaborators: OpeningCollaborators): Procedure<Opened> {
  const { directory, journalSegmentBytes: segmentBytes } = options
  const { platform, background, trace } = collaborators
  const { disk, clock, random } = platform
  const { identity, fresh } = yield* identify(options, platform)
  const checkpoint = yield* readCheckpoint(disk, directory, identity)

  const journalAfter = new Map([...checkpoint.shards].map(([shard, stored]) => [shard, stored.journalAfter]))
  const replay = new Replay(new Set(checkpoint.removed.keys()), journalAfter)
  const { diskIncarnation } = identity
  const { journalFrom: from, journalThrough: through } = checkpoint
  const scan = yield* scanJournal({
    disk,
    directory,
    diskIncarnation,
    from,
    through,
    take: (entry, sequence) => replay.take(entry, sequence),
  })
  const states = new Map([...checkpoint.shards].map(([shard, { state }]) => [shard, state]))
  const recovered = replay.finish(states)
  if (recovered instanceof StorageError) throw recovered
  const highestStamp = Math.max(checkpoint.highestStamp, replay.highestStamp)
  const suffix = random.bytes(4).toString('hex')
  const sealed = yield* tidyShards({ directory, checkpoint, recovered, suffix }, { disk, trace })

  const supply = new SegmentSupply({ directory, segmentBytes }, { disk, clock, background, trace })
  for (const file of scan.unused) {
    if (!supply.offer(file)) yield* call<void>((done) => disk.remove(file.path, done))
  }
  const numbers = [...scan.unused, ...scan.segments].map(({ number }) => number)
  const needed = scan.last === null ? 0 : BLOCK_ALIGNMENT + blockFootprint(scan.last.body.length)
  const wanted = Math.min(FIRST_SEGMENT_BYTES, segmentBytes)
  const segment = yield* supply.make(Math.max(0, ...numbers) + 1, wanted, needed)
  const nextSequence = scan.last === null ? Math.max(from, through + 1) : scan.last.sequence
  return {
    fresh,
    identity,
    checkpoint,
    scan,
    recovered,
    highestStamp,
    sealed,
    supply,
    incarnation: random.bytes(8).toString('hex'),
    segment,
    older: scan.segments.filter(({ firstSequence }) => firstSequence < nextSequence),
    superseded: scan.segments.filter(({ firstSequence }) => firstSequence >= nextSequence),
    nextSequence,
  }
}

function* identify(
  options: OpeningOptions,
  { disk, random }: Platform,
): Procedure<{ identity: Identity; fresh: boolean }> {
  const { directory, nodeId, clusterHash } = options
  const file = identityFile(directory)
  let bytes: Buffer | null = null
  try {
    bytes = yield* readFile(disk, file, IDENTITY_BYTES_MAX)
  } catch (error) {
    if (!isNotFound(error)) throw error
  }
  if (bytes !== null) {
    const identity = decodeIdentity(bytes, file)
    if (identity instanceof StorageError) throw identity
    const refused = refusal(identity, nodeId, clusterHash, file)
    if (refused !== null) throw refused
    // The names were seen, which does not mean that they are on the disk.
    yield* call<void>((done) => disk.syncDirectory(directory, done))
    return { identity, fresh: false }
  }
  yield* refuseDataWithoutIdentity(disk, directory)
  const diskIncarnation = random.bytes(16).toString('hex')
  const identity: Identity = { nodeId, diskIncarnation, clusterId: null, clusterHash }
  // The identity comes last: where it is, the rest was made.
  yield* call<void>((done) => disk.makeDirectory(journalDirectory(directory), done))
  yield* call<void>((done) => disk.makeDirectory(shardsDirectory(directory), done))
  const nothing = { journalFrom: 1, journalThrough: 0, highestStamp: 0, shards: new Map(), removed: new Map() }
  yield* replaceFile(disk, checkpointFile(directory), encodeCheckpoint({ diskIncarnation, ...nothing }))
  yield* replaceFile(disk, file, [encodeIdentity(identity)])
  // The directory's own name, which is only as durable as its parent; where the parent cannot be synced, nothing can be done.
  yield* call<void>((done) => disk.syncDirectory(dirname(directory), () => done(null)))
  return { identity, fresh: true }
}

/** An interrupted first start leaves empty folders behind; anything more has lost its identity. */
function* refuseDataWithoutIdentity(disk: Disk, directory: string): Procedure<void> {
  for (const folder of [journalDirectory(directory), shardsDirectory(directory)]) {
    const names = yield* namesIn(disk, folder)
    if (names.length === 0) continue
    throw new StorageError(
      { code: 'IDENTITY_MISSING', directory },
      `there is data in ${folder} and no identity file ${identityFile(directory)}, so nobody knows whose it is. ${REPLACE_THE_DISK}`,
    )
  }
}

function* readCheckpoint(disk: Disk, directory: string, identity: Identity): Procedure<Checkpoint> {
  const file = checkpointFile(directory)
  let bytes: Buffer
  try {
    bytes = yield* readFile(disk, file, CHECKPOINT_BYTES_MAX)
  } catch (error) {
    if (!isNotFound(error)) throw error
    throw new StorageError({ code: 'CHECKPOINT_MISSING', file }, `${file} is missing. ${REPLACE_THE_DISK}`)
  }
  const checkpoint = decodeCheckpoint(bytes, file)
  if (checkpoint instanceof StorageError) throw checkpoint
  if (checkpoint.diskIncarnation === identity.diskIncarnation) return checkpoint
  const details = { code: 'CHECKPOINT_DAMAGED', file, position: 16 } as const
  throw new StorageError(details, `${file} belongs to another data directory. ${REPLACE_THE_DISK}`)
}
