/**
 * What the rest of a data directory says about one file of it. A file alone does not tell where it ends: whether bytes that do not
 * verify were promised once is said by the checkpoint, and by the files beside it.
 *
 * The small files are kept twice: of two that verify the later one counts, as at an opening.
 *
 * The node may be running. The checkpoint is read before and after the folders are, until it did not change in between; so no
 * file that an older checkpoint needed, and a newer one let go, is missed.
 */
import { basename, dirname, join } from 'node:path'
import type { Disk, DiskFile } from '../../platform/index.ts'
import { type CheckpointAge, type CheckpointHeader, isOlder, type StoredShard } from '../checkpoint-format.ts'
import type { CleanedPart, CleanedSegment } from '../cleaned-part.ts'
import { StorageError } from '../errors.ts'
import { decodeIdentity, IDENTITY_BYTES_MAX, type Identity, isLaterIdentity } from '../identity.ts'
import { BLOCK_ALIGNMENT, decodeSegmentHeader, SEGMENT_HEADER_BYTES } from '../journal-format.ts'
import {
  checkpointFile,
  cleanedSegmentFile,
  copyOf,
  identityFile,
  isOfCleanedSegment,
  journalDirectory,
  segmentNumberIn,
  shardDirectory,
  shardIdIn,
  shardIndexFile,
  shardSegmentFile,
  termsFile,
} from '../layout.ts'
import { call, type Procedure } from '../procedure.ts'
import { decodeShardSegmentHeader, SHARD_SEGMENT_HEADER_BYTES } from '../segment-format.ts'
import { decodeTerms, isLaterTerms, TERMS_BYTES, type Terms } from '../terms.ts'
import { Output } from './items.ts'
import { observeBlock, survey } from './journal-search.ts'
import type { JournalPlace } from './read-journal.ts'
import { type CheckpointComparison, type Lost, readCheckpoint } from './read-metadata.ts'
import type { ShardLogPlace } from './read-shard-log.ts'
import { smallFileIn, twinOf, whatFollows } from './small-files.ts'
import { Budget, isTrouble, Source } from './source.ts'

const ATTEMPTS = 5
const NOT_SERVED = 'reads of it are refused until another replica gives it back'
const NOT_STARTED =
  'a node that is alone does not start; in a cluster another replica gives back what lies below the floor'

interface JournalFile {
  readonly number: number
  readonly path: string
  /** Null when it is not in service. */
  readonly firstSequence: number | null
}

/** What a whole checkpoint says. */
interface FoundCheckpoint {
  readonly path: string
  readonly header: CheckpointHeader
  readonly age: CheckpointAge
  readonly shards: Known['shards']
}

/** Of its record what tells which files there are; the state may be large. */
interface KnownShard extends Pick<StoredShard, 'log' | 'cleaned'> {
  readonly startIndex: number
}

interface Known {
  readonly diskIncarnation: string | null
  readonly checkpoint: CheckpointHeader | null
  /** The file of the two that counts. */
  readonly checkpointPath: string | null
  /** Small files that verify and are this disk's. */
  readonly whole: ReadonlySet<string>
  /** First block of the segment that was in service last, as far as that was written down. */
  readonly entered: number
  readonly shards: ReadonlyMap<number, KnownShard>
  readonly journal: readonly JournalFile[]
}

export class Surroundings {
  readonly #disk: Disk
  readonly #known = new Map<string, Known>()

  constructor(disk: Disk) {
    this.#disk = disk
  }

  *ofJournal(path: string): Procedure<JournalPlace> {
    const folder = dirname(path)
    const known = yield* this.#directory(basename(folder) === 'journal' ? dirname(folder) : null, folder)
    const number = segmentNumberIn(basename(path))
    const serving = known.journal.filter(({ firstSequence }) => firstSequence !== null)
    const from = known.checkpoint?.journalFrom ?? 0
    const firstNeeded = serving.findLastIndex(({ firstSequence }) => firstSequence! <= from)
    const next = number === null ? undefined : serving.find((other) => other.number > number)
    const own = serving.findIndex((other) => other.number === number)
    const later = number === null || next !== undefined ? [] : known.journal.filter((other) => other.number > number)
    return {
      number,
      diskIncarnation: known.diskIncarnation,
      from,
      through: known.checkpoint?.journalThrough ?? 0,
      entered: known.entered,
      successor: next === undefined ? null : { path: next.path, firstSequence: next.firstSequence! },
      unneeded: own >= 0 && own < firstNeeded,
      beyond: (sequence) => this.#beyond(later, sequence),
      again: () => {
        this.#known.clear()
        return this.ofJournal(path)
      },
    }
  }

  *ofShardLog(path: string): Procedure<ShardLogPlace> {
    const folder = dirname(path)
    const inDirectory = basename(dirname(folder)) === 'shards'
    const shard = inDirectory ? shardIdIn(basename(folder)) : null
    const directory = inDirectory ? dirname(dirname(folder)) : null
    if (isOfCleanedSegment(basename(path))) return yield* this.#ofCleaned(basename(path), directory, shard)
    const firstIndex = segmentNumberIn(basename(path))
    const known = yield* this.#directory(directory, null)
    const names = yield* this.#names(folder)
    const firsts = names
      .map(segmentNumberIn)
      .filter((first) => first !== null && first > (firstIndex ?? Number.POSITIVE_INFINITY))
    const nextFirstIndex = firsts.length === 0 ? null : Math.min(...(firsts as number[]))
    const stored = shard === null ? undefined : known.shards.get(shard)
    const startIndex = stored?.startIndex ?? 0
    const log = stored?.log ?? null
    let link = log === null || log.firstIndex !== firstIndex ? null : { index: log.lastIndex, crc: log.lastCrc }
    if (link === null && nextFirstIndex !== null && nextFirstIndex > startIndex)
      link = yield* this.#linkOf(shardSegmentFile(folder, nextFirstIndex))
    const place = { shard, firstIndex, nextFirstIndex, startIndex, written: null, link }
    if (firstIndex === null) return { ...place, vouchedBytes: null }
    if (known.checkpoint !== null && shard !== null) {
      const inUse = log?.firstIndex ?? 0
      const vouchedBytes = firstIndex < inUse ? Number.POSITIVE_INFINITY : firstIndex === inUse ? log!.bytes : 0
      return { ...place, vouchedBytes }
    }
    const left = nextFirstIndex !== null || names.includes(basename(shardIndexFile('', firstIndex)))
    return { ...place, vouchedBytes: left ? Number.POSITIVE_INFINITY : null }
  }

  /** It lies below the log's start, and nothing needs to follow it: it was whole when it was named. */
  *#ofCleaned(name: string, directory: string | null, shard: number | null): Procedure<ShardLogPlace> {
    const [firstIndex, generation] = [Number(name.slice(0, 20)), Number(name.slice(21, 41))]
    const place = { shard, firstIndex, nextFirstIndex: null, startIndex: 0, link: null }
    if (directory === null || shard === null || (yield* this.#directory(directory, null)).checkpoint === null)
      return { ...place, vouchedBytes: Number.POSITIVE_INFINITY, written: null }
    let written = yield* this.#cleanedSegment(directory, shard, firstIndex, generation)
    if (written === null) {
      // It may be named by now.
      this.#known.clear()
      written = yield* this.#cleanedSegment(directory, shard, firstIndex, generation)
    }
    return { ...place, vouchedBytes: written === null ? 0 : Number.POSITIVE_INFINITY, written }
  }

  /** The entry before a segment's first, as its header has it. */
  *#linkOf(next: string): Procedure<ShardLogPlace['link']> {
    return yield* this.#with(next, null, function* (source) {
      const header = decodeShardSegmentHeader(yield* source.view(0, SHARD_SEGMENT_HEADER_BYTES))
      return typeof header === 'string' ? null : { index: header.firstIndex - 1, crc: header.previousCrc }
    })
  }

  *#cleanedSegment(
    directory: string,
    shard: number,
    firstIndex: number,
    generation: number,
  ): Procedure<CleanedSegment | null> {
    const { shards } = yield* this.#directory(directory, null)
    const segments = shards.get(shard)?.cleaned?.segments ?? []
    return segments.find((known) => known.firstIndex === firstIndex && known.generation === generation) ?? null
  }

  /** Holds a checkpoint against the folders beside it. */
  comparison(path: string): CheckpointComparison {
    const directory = dirname(path)
    // A copy of the file somewhere else says nothing of what is beside it.
    const beside = smallFileIn(basename(path)) === 'checkpoint'
    return {
      header: (header) => this.#twice(() => this.#missingJournal(path, header), beside),
      shard: (stored) => this.#twice(() => this.#missingSegment(directory, path, stored), beside),
    }
  }

  *diskIncarnation(directory: string): Procedure<string | null> {
    return (yield* this.#directory(directory, null)).diskIncarnation
  }

  /** What follows where this file or folder of a data directory does not count. */
  *after(path: string): Procedure<string> {
    const small = smallFileIn(basename(path))
    if (small === null && basename(path) !== 'journal') return 'what should be in it was not looked at'
    const { whole } = yield* this.#directory(dirname(path), null)
    if (small !== null && whole.has(twinOf(path))) return `the node writes it again from ${basename(twinOf(path))}`
    return whatFollows(small ?? 'journal', this.#isBoundKnown(dirname(path), whole))
  }

  #isBoundKnown(directory: string, whole: ReadonlySet<string>): boolean {
    const terms = termsFile(directory)
    return whole.has(terms) || whole.has(copyOf(terms))
  }

  /** What is missing may have been let go by a newer checkpoint: so it is looked for again, under that one. */
  *#twice(look: () => Procedure<Lost | null>, beside: boolean): Procedure<Lost | null> {
    if (!beside || (yield* look()) === null) return null
    this.#known.clear()
    return yield* look()
  }

  *#missingJournal(path: string, header: CheckpointHeader): Procedure<Lost | null> {
    const directory = dirname(path)
    const known = yield* this.#directory(directory, null)
    if (known.diskIncarnation === null) return null
    if (known.diskIncarnation !== header.diskIncarnation) {
      return {
        expected: `disk ${known.diskIncarnation}, as in the identity`,
        found: `disk ${header.diskIncarnation}`,
        after: yield* this.after(path),
      }
    }
    if (known.checkpointPath !== path) return null
    const from = known.checkpoint?.journalFrom ?? header.journalFrom
    const serving = known.journal.filter(({ firstSequence }) => firstSequence !== null)
    if (serving.some(({ firstSequence }) => firstSequence! <= from)) return null
    const through = Math.max(known.entered, known.checkpoint?.journalThrough ?? header.journalThrough)
    if (serving.length === 0 && through === 0) return null
    const found =
      serving.length === 0
        ? 'none in service'
        : `the first one in service starts with block ${serving[0]!.firstSequence}`
    const after = whatFollows('journal', this.#isBoundKnown(directory, known.whole))
    return { expected: `a journal segment with block ${from}`, found, after }
  }

  *#missingSegment(directory: string, path: string, stored: StoredShard): Procedure<Lost | null> {
    const { state, log } = stored
    const after = NOT_SERVED
    const known = yield* this.#directory(directory, null)
    if (known.diskIncarnation === null || known.checkpointPath !== path) return null
    const folder = shardDirectory(directory, state.shard)
    const names = yield* this.#names(folder)
    // A newer checkpoint may have let go of it meanwhile.
    const now = known.shards.get(state.shard)
    const missing = missingCleaned(folder, (now ?? stored).cleaned, names)
    if (missing !== null) {
      const expected = `the cleaned segment ${missing} of shard ${state.shard}`
      return { expected, found: 'nothing of that name', after: NOT_STARTED }
    }
    if (log === null) return null
    const firsts = names.map(segmentNumberIn).filter((first) => first !== null)
    const inUse = now?.log?.firstIndex ?? log.firstIndex
    const start = Math.max(1, now?.startIndex ?? state.startIndex)
    const found = firsts.length === 0 ? `nothing in ${folder}` : `segments from ${firsts.join(', ')}`
    if (!firsts.includes(inUse))
      return { expected: `the segment in use, ${inUse}, of shard ${state.shard}`, found, after }
    if (firsts.some((first) => first <= Math.min(start, inUse)) || start > inUse) return null
    return { expected: `a segment of shard ${state.shard} with entry ${start}, the log's start`, found, after }
  }

  *#directory(directory: string | null, journalFolder: string | null): Procedure<Known> {
    const key = directory ?? journalFolder
    const empty: Known = {
      diskIncarnation: null,
      checkpoint: null,
      checkpointPath: null,
      whole: new Set(),
      entered: 0,
      shards: new Map(),
      journal: [],
    }
    if (key === null) return empty
    const cached = this.#known.get(key)
    if (cached !== undefined) return cached
    let known = empty
    if (directory === null) known = { ...empty, journal: yield* this.#journal(journalFolder!, null) }
    else {
      const identities = yield* this.#both(identityFile(directory), (path) => this.#identity(path))
      const diskIncarnation = later(identities, isLaterIdentity)?.diskIncarnation ?? null
      for (let attempt = 1; ; attempt++) {
        // Before the folder: what is entered meanwhile is found there as well.
        const terms = yield* this.#both(termsFile(directory), (path) => this.#terms(path, diskIncarnation))
        const entered = later(terms, isLaterTerms)?.journalEntered ?? 0
        const checkpoints = yield* this.#checkpoints(directory, diskIncarnation)
        const read = later(checkpoints, (second, first) => isOlder(first.age, second.age))
        const journal = yield* this.#journal(journalDirectory(directory), diskIncarnation)
        known = {
          diskIncarnation,
          checkpoint: read?.header ?? null,
          checkpointPath: read?.path ?? null,
          whole: new Set([identities, terms, checkpoints].flatMap((found) => [...found.keys()])),
          entered,
          shards: read?.shards ?? new Map(),
          journal,
        }
        const again = later(yield* this.#checkpoints(directory, diskIncarnation), (b, a) => isOlder(a.age, b.age))
        if (attempt === ATTEMPTS || again?.header.journalFrom === read?.header.journalFrom) break
      }
    }
    this.#known.set(key, known)
    return known
  }

  /** Those of a file and its copy that are whole, by their paths, the file first. */
  *#both<T>(file: string, read: (path: string) => Procedure<T | null>): Procedure<Map<string, T>> {
    const found = new Map<string, T>()
    for (const path of [file, copyOf(file)]) {
      const value = yield* read(path)
      if (value !== null) found.set(path, value)
    }
    return found
  }

  *#identity(path: string): Procedure<Identity | null> {
    return yield* this.#with(path, null, function* (source) {
      const identity = decodeIdentity(yield* source.view(0, Math.min(source.size, IDENTITY_BYTES_MAX)), path)
      return identity instanceof StorageError ? null : identity
    })
  }

  *#terms(path: string, diskIncarnation: string | null): Procedure<Terms | null> {
    return yield* this.#with(path, null, function* (source) {
      const terms = decodeTerms(yield* source.view(0, Math.min(source.size, TERMS_BYTES + 1)), path)
      return terms instanceof StorageError || terms.diskIncarnation !== diskIncarnation ? null : terms
    })
  }

  *#checkpoints(directory: string, diskIncarnation: string | null): Procedure<Map<string, FoundCheckpoint>> {
    return yield* this.#both(checkpointFile(directory), (path) => this.#checkpoint(path, diskIncarnation))
  }

  /** Of a damaged one nothing is believed. */
  *#checkpoint(path: string, diskIncarnation: string | null): Procedure<FoundCheckpoint | null> {
    return yield* this.#with(path, null, function* (source) {
      const shards = new Map<number, KnownShard>()
      let [whole, indexes, terms] = [true, 0, 0]
      const out = new Output((item) => {
        if (item.type === 'damage') whole = false
        if (item.type === 'shard') {
          const { state, log, cleaned } = item.stored
          shards.set(state.shard, { startIndex: state.startIndex, log, cleaned })
          indexes += state.index
          terms += state.term
        }
        return whole
      })
      const header = yield* readCheckpoint(source, out, '', null)
      if (!whole || header === null || (diskIncarnation ?? header.diskIncarnation) !== header.diskIncarnation)
        return null
      return { path, header, age: { ...header, indexes, terms }, shards }
    })
  }

  *#journal(folder: string, diskIncarnation: string | null): Procedure<JournalFile[]> {
    const files: JournalFile[] = []
    for (const name of yield* this.#names(folder)) {
      const number = segmentNumberIn(name)
      if (number === null) continue
      const path = join(folder, name)
      const firstSequence = yield* this.#with(path, null, (source) => inService(source, number, diskIncarnation))
      files.push({ number, path, firstSequence })
    }
    return files.sort((a, b) => a.number - b.number)
  }

  /** As an opening looks: the whole of a first block without its header is half of a write, anything further on is alive. */
  *#beyond(later: readonly JournalFile[], sequence: number): Procedure<string | null> {
    for (const { path } of later) {
      const alive = yield* this.#with(path, false, function* (source) {
        const budget = new Budget(source.size)
        const { good } = yield* survey(source, 0, sequence, budget)
        if (good === null) return false
        if (good.position !== BLOCK_ALIGNMENT || good.header.sequence !== sequence) return true
        return (yield* survey(source, good.position + BLOCK_ALIGNMENT, sequence, budget)).good !== null
      })
      if (alive) return path
    }
    return null
  }

  /** What cannot be listed counts as empty. */
  *#names(folder: string): Procedure<string[]> {
    try {
      return yield* call<string[]>((done) => this.#disk.list(folder, done))
    } catch (error) {
      if (!isTrouble(error)) throw error
      return []
    }
  }

  /** `otherwise` for a file that is not there (any more), and for one that cannot be read: it counts as little. */
  *#with<T>(path: string, otherwise: T, use: (source: Source) => Procedure<T>): Procedure<T> {
    let file: DiskFile | null = null
    try {
      const opened = yield* call<DiskFile>((done) => this.#disk.open(path, 'read', done))
      file = opened
      const size = yield* call<number>((done) => opened.size(done))
      return yield* use(new Source(opened, size))
    } catch (error) {
      if (!isTrouble(error)) throw error
      return otherwise
    } finally {
      const opened = file
      if (opened !== null) yield* call<void>((done) => opened.close(() => done(null)))
    }
  }
}

/** The first sequence of a segment whose header and first block verify and are its own; else null. */
function* inService(source: Source, number: number, diskIncarnation: string | null): Procedure<number | null> {
  const header = decodeSegmentHeader(yield* source.view(0, SEGMENT_HEADER_BYTES))
  if (typeof header === 'string' || header.number !== number) return null
  if (diskIncarnation !== null && header.diskIncarnation !== diskIncarnation) return null
  const { firstSequence: sequence, incarnation } = header
  const first = yield* observeBlock(source, BLOCK_ALIGNMENT, { sequence, incarnation })
  return first.here === 'expected' ? sequence : null
}

/** Of those that the checkpoint names the first that is not there. */
function missingCleaned(folder: string, cleaned: CleanedPart | null, names: readonly string[]): string | null {
  const there = new Set(names)
  for (const { firstIndex, generation } of cleaned?.segments ?? []) {
    const path = cleanedSegmentFile(folder, firstIndex, generation)
    if (!there.has(basename(path))) return path
  }
  return null
}

/** Of a file and its copy the one that counts. */
function later<T>(found: ReadonlyMap<string, T>, isLater: (second: T, first: T) => boolean): T | null {
  const [first, second] = [...found.values()]
  return first !== undefined && second !== undefined && isLater(second, first) ? second : (first ?? null)
}
