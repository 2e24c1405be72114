/**
 * From a directory to everything that a running storage needs, or a refusal that says what to do.
 *
 *     claim ─► identity ─► terms ─► checkpoint ─► journal scan ─► shard folders ─► first segment of this opening
 *                                       └── damaged ──┘ ─► resetting.ts, where there are others to recover from
 *
 * Nothing that was found is deleted on doubt: missing metadata beside existing data is damage, not an empty start (a folder
 * of unknown origin is moved aside). Nothing that was found is believed only because it reads well: the journal's last block
 * and the names are synced again first. What is damaged and of which there is a twin is put aside, and written anew from it.
 */
import { dirname } from 'node:path'
import { type Disk, type Platform, PlatformError } from '../platform/index.ts'
import { assert } from '../stdx/index.ts'
import { replaceFile } from './atomic-file.ts'
import type { Background } from './background.ts'
import { ageOf, type Checkpoint, decodeCheckpoint, encodeCheckpoint, isOlder } from './checkpoint-format.ts'
import type { Entry } from './entry.ts'
import { KEEP_THE_DIRECTORY, StorageError } from './errors.ts'
import type { StorageEvent } from './events.ts'
import {
  decodeIdentity,
  encodeIdentity,
  IDENTITY_BYTES_MAX,
  type Identity,
  isLaterIdentity,
  refusal,
} from './identity.ts'
import { BLOCK_ALIGNMENT, blockFootprint } from './journal-format.ts'
import { type ScanResult, scanJournal } from './journal-scan.ts'
import type { JournalSegment } from './journal-segment.ts'
import { checkpointFile, identityFile, journalDirectory, shardsDirectory, termsFile } from './layout.ts'
import { call, type Procedure } from './procedure.ts'
import { putAside } from './put-aside.ts'
import { decideStart } from './recovery.ts'
import { type RecoveredShard, Replay } from './replay.ts'
import { resetDirectory } from './resetting.ts'
import { type PreparedSegment, SegmentSupply } from './segment-supply.ts'
import { type FoundLog, namesIn, tidyShards } from './shard-folders.ts'
import { decodeTerms, encodeTerms, isLaterTerms, TERMS_STEP, type Terms } from './terms.ts'
import { type DamagedFile, readTwins, replaceTwins, type Twins } from './twin-files.ts'

/** The first segment of an opening: written in some ten milliseconds. */
const FIRST_SEGMENT_BYTES = 4 << 20
const CHECKPOINT_BYTES_MAX = 2 ** 32
/** More than there should be: a longer one is damaged, and what is too much in it is put aside as well. */
const TERMS_BYTES_READ = 4096

export interface OpeningOptions {
  readonly directory: string
  readonly nodeId: number
  readonly clusterHash: string
  readonly journalSegmentBytes: number
  /** There are other replicas of what is here. */
  readonly hasPeers: boolean
}

export interface Claim {
  release(done: () => void): void
}

export interface Opened {
  readonly fresh: boolean
  readonly identity: Identity
  readonly terms: Terms
  readonly checkpoint: Checkpoint
  readonly scan: ScanResult
  readonly recovered: Map<number, RecoveredShard>
  readonly highestStamp: number
  /** What there is of each shard's log. */
  readonly logs: Map<number, FoundLog>
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
  const { directory, journalSegmentBytes: segmentBytes, hasPeers } = options
  const { platform, background, trace } = collaborators
  const { disk, clock, random } = platform
  const { identity, fresh } = yield* identify(options, collaborators)
  const { terms, checkpoint, loaded } = yield* loadOrReset(options, identity, collaborators)
  const { scan, recovered, highestStamp } = loaded
  const { journalFrom: from, journalThrough: through } = checkpoint
  const suffix = random.bytes(4).toString('hex')
  const logs = yield* tidyShards({ directory, checkpoint, recovered, suffix, hasPeers }, { disk, trace })

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
    terms,
    checkpoint,
    scan,
    recovered,
    highestStamp,
    logs,
    supply,
    incarnation: random.bytes(8).toString('hex'),
    segment,
    older: scan.segments.filter(({ firstSequence }) => firstSequence < nextSequence),
    superseded: scan.segments.filter(({ firstSequence }) => firstSequence >= nextSequence),
    nextSequence,
  }
}

interface Loaded {
  readonly scan: ScanResult
  readonly recovered: Map<number, RecoveredShard>
  readonly highestStamp: number
}

function* loadOrReset(
  { directory, hasPeers }: OpeningOptions,
  identity: Identity,
  collaborators: OpeningCollaborators,
): Procedure<{ terms: Terms; checkpoint: Checkpoint; loaded: Loaded }> {
  const { disk } = collaborators.platform
  const { diskIncarnation } = identity
  const { terms: known, damaged } = yield* readTerms(directory, diskIncarnation, collaborators)
  const checkpoint = yield* readCheckpoint(directory, identity, collaborators)
  const load = (from: Checkpoint) => loadJournal(disk, directory, diskIncarnation, from, known)
  let loaded = checkpoint instanceof StorageError ? checkpoint : yield* load(checkpoint)
  // Read once more: what a cable or a controller garbled on the way is no damage.
  if (loaded instanceof StorageError && !(checkpoint instanceof StorageError)) loaded = yield* load(checkpoint)
  const row = decideStart({
    checkpoint: checkpoint instanceof StorageError ? 'lost' : 'whole',
    journal: loaded instanceof StorageError ? 'damaged' : 'whole',
    terms: known === null ? 'lost' : 'known',
    resetting: known?.resetting === true,
    peers: hasPeers,
  })
  assert(row !== null, 'a directory that no start can see')
  if (row.verdict === 'start' && !(loaded instanceof StorageError || checkpoint instanceof StorageError)) {
    const terms = known ?? termsOf(loaded.recovered, diskIncarnation)
    if (known === null) yield* makeTerms(directory, terms, damaged, collaborators)
    return { terms, checkpoint, loaded }
  }
  const details = { code: 'RESET_INTERRUPTED', file: termsFile(directory) } as const
  const interrupted = `${details.file} says that a start has begun to put the damaged journal of this directory aside.`
  const damage =
    loaded instanceof StorageError
      ? loaded
      : new StorageError(details, `${interrupted} Start it with the same --cluster.`)
  if (row.verdict === 'refuse') throw damage
  const reason = `${row.label}: ${damage.message.replace(` ${KEEP_THE_DIRECTORY}`, '')}`
  const usable = checkpoint instanceof StorageError ? null : checkpoint
  const reset = yield* resetDirectory(
    { directory, diskIncarnation, terms: known!, checkpoint: usable, reason },
    collaborators,
  )
  const again = yield* loadJournal(disk, directory, diskIncarnation, reset.checkpoint, reset.terms)
  if (again instanceof StorageError) throw again
  return { ...reset, loaded: again }
}

/** Damage is an answer; whatever else goes wrong is thrown. */
function* loadJournal(
  disk: Disk,
  directory: string,
  diskIncarnation: string,
  { shards, removed, journalFrom: from, journalThrough: through, highestStamp }: Checkpoint,
  terms: Terms | null,
): Procedure<Loaded | StorageError> {
  const journalAfter = new Map([...shards].map(([shard, stored]) => [shard, stored.journalAfter]))
  const replay = new Replay(new Set(removed.keys()), journalAfter)
  const take = (entry: Entry, sequence: number): boolean | null => replay.take(entry, sequence)
  let scan: ScanResult
  try {
    const entered = terms?.journalEntered ?? 0
    scan = yield* scanJournal({ disk, directory, diskIncarnation, from, through, entered, take })
  } catch (error) {
    if (error instanceof StorageError && error.code === 'JOURNAL_DAMAGED') return error
    throw error
  }
  const states = new Map([...shards].map(([shard, { state }]) => [shard, state]))
  const recovered = replay.finish(states, (terms?.unknownFrom ?? 0) > 0)
  if (recovered instanceof StorageError) return recovered
  return { scan, recovered, highestStamp: Math.max(highestStamp, replay.highestStamp) }
}

function* readTerms(
  directory: string,
  diskIncarnation: string,
  { platform: { disk }, trace }: OpeningCollaborators,
): Procedure<{ terms: Terms | null; damaged: readonly DamagedFile[] }> {
  const decode = (bytes: Buffer, file: string): Terms | StorageError => {
    const terms = decodeTerms(bytes, file)
    if (terms instanceof StorageError || terms.diskIncarnation === diskIncarnation) return terms
    const details = { code: 'TERMS_DAMAGED', file, position: 16 } as const
    return new StorageError(details, `${file} belongs to another data directory`)
  }
  const path = termsFile(directory)
  const twins = yield* readTwins({ disk, path, maxBytes: TERMS_BYTES_READ, decode, isLater: isLaterTerms })
  if (twins.error?.code === 'NEWER_FORMAT') throw twins.error
  if (twins.value !== null) yield* writeAnew(directory, twins, { disk, trace })
  return { terms: twins.value, damaged: twins.damaged }
}

/** Neither copy counts, and all else is whole. What is left of them is put aside; that there is a new bound is told. */
function* makeTerms(
  directory: string,
  terms: Terms,
  damaged: readonly DamagedFile[],
  { platform: { disk }, trace }: OpeningCollaborators,
): Procedure<void> {
  const file = termsFile(directory)
  let quarantined: string | null = null
  for (const { file: lost, bytes } of damaged) {
    const path = yield* putAside(disk, directory, lost, bytes)
    quarantined ??= path
  }
  yield* replaceTwins(disk, file, [encodeTerms(terms)])
  const how = damaged.length === 0 ? 'it was missing, with its copy' : 'it was damaged, and so was its copy, or missing'
  const reason = `${how}; the new bound is term ${terms.ceiling}, above all that were found`
  trace({ type: 'file-repaired', file, reason, quarantined })
}

/** Of a directory from before there was a bound, or whose bound is lost while all else is whole. */
function termsOf(recovered: ReadonlyMap<number, RecoveredShard>, diskIncarnation: string): Terms {
  const highest = Math.max(0, ...[...recovered.values()].map(({ term }) => term))
  return { diskIncarnation, ceiling: highest + TERMS_STEP, unknownFrom: 0, resetting: false, journalEntered: 0 }
}

function* identify(
  options: OpeningOptions,
  { platform: { disk, random }, trace }: OpeningCollaborators,
): Procedure<{ identity: Identity; fresh: boolean }> {
  const { directory, nodeId, clusterHash } = options
  const file = identityFile(directory)
  const twins = yield* readTwins({
    disk,
    path: file,
    maxBytes: IDENTITY_BYTES_MAX,
    decode: decodeIdentity,
    isLater: isLaterIdentity,
  })
  if (twins.error !== null) throw twins.error
  if (twins.value !== null) {
    const identity = twins.value
    const refused = refusal(identity, nodeId, clusterHash, file)
    if (refused !== null) throw refused
    yield* writeAnew(directory, twins, { disk, trace })
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
  yield* replaceTwins(disk, checkpointFile(directory), encodeCheckpoint({ diskIncarnation, ...nothing }))
  const terms: Terms = { diskIncarnation, ceiling: TERMS_STEP, unknownFrom: 0, resetting: false, journalEntered: 0 }
  yield* replaceTwins(disk, termsFile(directory), [encodeTerms(terms)])
  yield* replaceTwins(disk, file, [encodeIdentity(identity)])
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
      `there is data in ${folder} and no identity file ${identityFile(directory)}, so nobody knows whose it is. ${KEEP_THE_DIRECTORY}`,
    )
  }
}

function* readCheckpoint(
  directory: string,
  identity: Identity,
  { platform: { disk }, trace }: OpeningCollaborators,
): Procedure<Checkpoint | StorageError> {
  const path = checkpointFile(directory)
  const decode = (bytes: Buffer, file: string): Checkpoint | StorageError => {
    const checkpoint = decodeCheckpoint(bytes, file)
    if (checkpoint instanceof StorageError || checkpoint.diskIncarnation === identity.diskIncarnation) return checkpoint
    const details = { code: 'CHECKPOINT_DAMAGED', file, position: 16 } as const
    return new StorageError(details, `${file} belongs to another data directory. ${KEEP_THE_DIRECTORY}`)
  }
  const isLater = (second: Checkpoint, first: Checkpoint): boolean => isOlder(ageOf(first), ageOf(second))
  const twins = yield* readTwins({ disk, path, maxBytes: CHECKPOINT_BYTES_MAX, decode, isLater })
  if (twins.error?.code === 'CHECKPOINT_DAMAGED') return twins.error
  if (twins.error !== null) throw twins.error
  if (twins.value === null)
    return new StorageError({ code: 'CHECKPOINT_MISSING', file: path }, `${path} is missing. ${KEEP_THE_DIRECTORY}`)
  yield* writeAnew(directory, twins, { disk, trace })
  return twins.value
}

function* writeAnew<T>(
  directory: string,
  { bytes, wrong, damaged }: Twins<T>,
  { disk, trace }: { disk: Disk; trace: (event: StorageEvent) => void },
): Procedure<void> {
  for (const { file, reason } of wrong) {
    const lost = damaged.find((other) => other.file === file)
    const quarantined = lost === undefined ? null : yield* putAside(disk, directory, file, lost.bytes)
    yield* replaceFile(disk, file, [bytes!])
    if (reason !== null) trace({ type: 'file-repaired', file, reason, quarantined })
  }
}
