/**
 * Walks files and folders and hands out what is in them. Read-only, without the directory's lock: the node may be running.
 *
 * What a file is, is told by its magic. Where that is damaged, the place in a data directory tells, so that a damaged file is
 * shown as one instead of being refused as something else.
 *
 * What the disk refuses to give ends the reading of that file and of nothing else: a bad sector is what a reader of damage meets first.
 */
import { basename, dirname, join } from 'node:path'
import type { Disk, DiskFile, PlatformError } from '../../platform/index.ts'
import { TypedError } from '../../stdx/index.ts'
import { isNotFound, isUnreadable } from '../identity.ts'
import { isOfCleanedSegment, segmentNumberIn, shardIdIn } from '../layout.ts'
import { call, type Procedure, run } from '../procedure.ts'
import { type FileKind, type ItemSink, Output } from './items.ts'
import { readJournal } from './read-journal.ts'
import { readCheckpoint, readIdentity, readTerms } from './read-metadata.ts'
import { readShardIndex } from './read-shard-index.ts'
import { readShardLog } from './read-shard-log.ts'
import { SMALL_FILES, smallFileIn } from './small-files.ts'
import { isTrouble, Source } from './source.ts'
import { Surroundings } from './surroundings.ts'

/** Deeper is no data directory, and no folder of some. */
const DEPTH_MAX = 8

export class InspectionError extends TypedError<
  | { code: 'FILE_MISSING'; path: string }
  | { code: 'FILE_UNKNOWN'; path: string }
  | { code: 'NOTHING_FOUND'; path: string }
> {}

const MAGICS: readonly [string, FileKind][] = [
  ['TIDEJRNL', 'journal'],
  ['TIDESHRD', 'shard-log'],
  ['TIDECLND', 'shard-log'],
  ['TIDEINDX', 'shard-index'],
  ['TIDECKPT', 'checkpoint'],
  ['TIDEIDEN', 'identity'],
  ['TIDETERM', 'terms'],
]

/** `done` gets the error that ended it: a path that does not exist or is nothing of ours, or a disk that fails. */
export function inspect(
  disk: Disk,
  paths: readonly string[],
  sink: ItemSink,
  done: (error: Error | null) => void,
): void {
  run(new Inspection(disk, sink).all(paths), (error) => done(error))
}

class Inspection {
  readonly #disk: Disk
  readonly #sink: ItemSink
  readonly #surroundings: Surroundings
  #stopped = false
  #files = 0

  constructor(disk: Disk, sink: ItemSink) {
    this.#disk = disk
    this.#sink = sink
    this.#surroundings = new Surroundings(disk)
  }

  *all(paths: readonly string[]): Procedure<void> {
    for (const path of paths) {
      if (this.#stopped) return
      const names = yield* this.#list(path)
      if (isNotFound(names)) throw new InspectionError({ code: 'FILE_MISSING', path }, `${path}: it does not exist`)
      if (names instanceof Error) throw names
      if (names === null) {
        yield* this.#file(path, true)
        continue
      }
      const before = this.#files
      yield* this.#folder(path, names, 0)
      if (this.#files === before) {
        throw new InspectionError(
          { code: 'NOTHING_FOUND', path },
          `${path}: no journal segment, shard log, checkpoint, terms or identity in it`,
        )
      }
    }
  }

  /** Null for what is no folder, and the disk's answer where it gives no names. */
  *#list(path: string): Procedure<string[] | null | PlatformError> {
    try {
      return yield* call<string[]>((done) => this.#disk.list(path, done))
    } catch (error) {
      if (!isTrouble(error)) throw error
      return error.details.code === 'DISK_FAILED' && error.details.errno === 'ENOTDIR' ? null : error
    }
  }

  *#folder(folder: string, names: readonly string[], depth: number): Procedure<void> {
    const isDirectory = yield* this.#isDataDirectory(folder, names)
    for (const path of isDirectory ? yield* this.#missing(folder, names) : []) yield* this.#emitMissing(path)
    for (const name of inOrder(names)) {
      if (this.#stopped) return
      const path = join(folder, name)
      const inside = yield* this.#list(path)
      const isSmall = isDirectory && smallFileIn(name) !== null
      if (isNotFound(inside)) yield* this.#notFound(folder, name)
      else if (inside instanceof Error) yield* this.#unreadable(path, inside)
      else if (inside === null && isDirectory && (name === 'journal' || name === 'shards'))
        yield* this.#emitUnreadable(path, 'a file is where a folder should be')
      // What was moved aside, and half-written replacements, are no part of anything: they are read when they are named.
      else if (inside === null || isSmall) {
        if (!name.endsWith('.tmp')) yield* this.#file(path, false)
      } else if (depth < DEPTH_MAX && name !== 'quarantine') yield* this.#folder(path, inside, depth + 1)
    }
  }

  /** A running node removes files; a link that leads nowhere stays on the list. */
  *#notFound(folder: string, name: string): Procedure<void> {
    const path = join(folder, name)
    const now = yield* this.#list(folder)
    if (Array.isArray(now) && now.includes(name)) yield* this.#emitUnreadable(path, 'its name leads nowhere')
    else this.#emitGone(path)
  }

  /** An interrupted first start leaves empty folders and no identity, and lacks nothing. */
  *#isDataDirectory(folder: string, names: readonly string[]): Procedure<boolean> {
    if (SMALL_FILES.some((name) => name.startsWith('identity') && names.includes(name))) return true
    if (!names.includes('journal') || !names.includes('shards')) return false
    for (const name of ['journal', 'shards']) {
      const inside = yield* this.#list(join(folder, name))
      if (Array.isArray(inside) && inside.length > 0) return true
    }
    return false
  }

  /** Of a data directory. */
  *#missing(folder: string, names: readonly string[]): Procedure<string[]> {
    const missing: string[] = []
    for (const name of [...SMALL_FILES, 'journal']) {
      const path = join(folder, name)
      // A listing may pass over a name that is being replaced at this moment.
      if (!names.includes(name) && isNotFound(yield* this.#list(path))) missing.push(path)
    }
    return missing
  }

  *#emitMissing(path: string): Procedure<void> {
    this.#files++
    if (!this.#sink({ type: 'missing', path, after: yield* this.#surroundings.after(path) })) this.#stopped = true
  }

  *#emitUnreadable(path: string, found: string): Procedure<void> {
    this.#files++
    const after = yield* this.#surroundings.after(path)
    if (!this.#sink({ type: 'unreadable', path, found, after })) this.#stopped = true
  }

  /** What is a file of ours by its place is shown as a damaged one. Of anything else only the disk's own failures are worth a line. */
  *#unreadable(path: string, error: PlatformError): Procedure<void> {
    if (kindOf(path, Buffer.alloc(0)) !== null) return yield* this.#unreadableFile(path, error, null)
    // A socket does not open, and nobody but the system looks into `lost+found`.
    const isOurs = error.details.code === 'DISK_DENIED' || isUnreadable(error)
    if (isOurs && basename(path) !== 'lost+found') yield* this.#emitUnreadable(path, error.message)
  }

  /** `source`: as far as there is one. */
  *#unreadableFile(path: string, error: PlatformError, source: Source | null, begun?: Output): Procedure<void> {
    const bytes = source?.size ?? 0
    const after =
      smallFileIn(basename(path)) !== null
        ? yield* this.#surroundings.after(path)
        : 'what lies behind it in this file was not looked at'
    const out = begun ?? this.#begin(path, kindOf(path, Buffer.alloc(0))!, bytes)
    out.damage(source?.asked ?? 0, bytes, { expected: 'bytes that can be read', found: error.message, after })
  }

  #emitGone(path: string): void {
    this.#files++
    if (!this.#sink({ type: 'gone', path })) this.#stopped = true
  }

  #begin(path: string, kind: FileKind, bytes: number): Output {
    this.#files++
    const out = new Output((item) => {
      if (!this.#sink(item)) this.#stopped = true
      return !this.#stopped
    })
    out.emit({ type: 'file', path, kind, bytes })
    return out
  }

  *#file(path: string, named: boolean): Procedure<void> {
    let file: DiskFile
    try {
      file = yield* call<DiskFile>((done) => this.#disk.open(path, 'read', done))
    } catch (error) {
      if (!isTrouble(error)) throw error
      if (isNotFound(error)) {
        if (named) throw new InspectionError({ code: 'FILE_MISSING', path }, `${path}: it does not exist`)
        return this.#emitGone(path)
      }
      if (named) throw error
      return yield* this.#unreadable(path, error)
    }
    let source: Source | null = null
    let out: Output | undefined
    try {
      source = new Source(file, yield* call<number>((done) => file.size(done)))
      const kind = kindOf(path, yield* source.view(0, 8))
      if (kind === null) {
        if (!named) return
        throw new InspectionError(
          { code: 'FILE_UNKNOWN', path },
          `${path}: neither a journal segment nor a shard log, index, checkpoint, terms or identity`,
        )
      }
      out = this.#begin(path, kind, source.size)
      yield* this.#read(source, kind, out)
    } catch (error) {
      if (!isTrouble(error)) throw error
      if (out !== undefined || kindOf(path, Buffer.alloc(0)) !== null)
        return yield* this.#unreadableFile(path, error, source, out)
      if (named) throw error
      yield* this.#unreadable(path, error)
    } finally {
      yield* call<void>((done) => file.close(() => done(null)))
    }
  }

  *#read(source: Source, kind: FileKind, out: Output): Procedure<void> {
    const { path } = source
    switch (kind) {
      case 'journal':
        return yield* readJournal(source, yield* this.#surroundings.ofJournal(path), out)
      case 'shard-log':
        return yield* readShardLog(source, yield* this.#surroundings.ofShardLog(path), out)
      case 'shard-index':
        return yield* this.#index(source, out)
      case 'checkpoint':
        yield* readCheckpoint(source, out, yield* this.#surroundings.after(path), this.#surroundings.comparison(path))
        return
      case 'identity':
        yield* readIdentity(source, out, yield* this.#surroundings.after(path))
        return
      case 'terms': {
        const diskIncarnation = yield* this.#surroundings.diskIncarnation(dirname(path))
        yield* readTerms(source, out, yield* this.#surroundings.after(path), diskIncarnation)
      }
    }
  }

  *#index(source: Source, out: Output): Procedure<void> {
    const beside = source.path.replace(/\.index$/, '.log').replace(/\.sparse$/, '.cleaned')
    let file: DiskFile | null = null
    try {
      if (beside !== source.path) file = yield* call<DiskFile>((done) => this.#disk.open(beside, 'read', done))
    } catch (error) {
      if (!isTrouble(error)) throw error
    }
    if (file === null) return yield* readShardIndex(source, null, out)
    const segment = file
    try {
      const bytes = yield* call<number>((done) => segment.size(done))
      yield* readShardIndex(source, { file: segment, bytes }, out)
    } finally {
      yield* call<void>((done) => segment.close(() => done(null)))
    }
  }
}

/** By its magic, else by its place; null for neither. */
export function kindOf(path: string, head: Buffer): FileKind | null {
  const magic = head.toString('latin1')
  for (const [text, kind] of MAGICS) if (magic === text) return kind
  const name = basename(path)
  const folder = basename(dirname(path))
  const above = basename(dirname(dirname(path)))
  const small = smallFileIn(name)
  if (small !== null) return small
  if (folder === 'quarantine') return kindInQuarantine(name)
  const aside = above === 'quarantine'
  if (folder === 'journal' || (aside && /^journal-[0-9a-f]{8}$/.test(folder)))
    return segmentNumberIn(name) === null ? null : 'journal'
  const shard = aside ? /^(\d+)-[0-9a-f]{8}$/.exec(folder)?.[1] : above === 'shards' ? folder : undefined
  if (shard === undefined || shardIdIn(shard) === null) return null
  if (isOfCleanedSegment(name)) return name.endsWith('.sparse') ? 'shard-index' : 'shard-log'
  if (segmentNumberIn(name) !== null) return 'shard-log'
  return segmentNumberIn(name.replace(/\.index$/, '.log')) !== null ? 'shard-index' : null
}

/** One file that was put aside: `16-61-7f3a91c2.log`, `journal-7f3a91c2.checkpoint.copy`, `identity-7f3a91c2`. */
function kindInQuarantine(name: string): FileKind | null {
  if (/^\d+-\d+-[0-9a-f]{8}\.(log|cleaned)$/.test(name)) return 'shard-log'
  if (/^journal-[0-9a-f]{8}\.checkpoint(\.copy)?$/.test(name)) return 'checkpoint'
  const [, small] = /^(.+)-[0-9a-f]{8}$/.exec(name) ?? []
  return small === undefined ? null : smallFileIn(small)
}

/** As the files depend on each other; shards by number. */
function inOrder(names: readonly string[]): string[] {
  const rank = (name: string): number => {
    const at = [...SMALL_FILES, 'journal', 'shards'].indexOf(name)
    return at < 0 ? 8 : at
  }
  const number = (name: string): number => shardIdIn(name) ?? 0
  return [...names].sort((a, b) => rank(a) - rank(b) || number(a) - number(b) || (a < b ? -1 : a > b ? 1 : 0))
}
