/**
 * The folder of a backup: what a finished run left, and what an unfinished one did.
 *
 *     manifest.json                the last finished run, or nothing
 *     segments/00000001.batches    sealed: immutable from here on
 *     segments/00000007.batches    sealed after the manifest: a run was killed; goes on from here
 *     segments/00000008.partial    in the making when it was killed; removed by the next run
 *
 * Anything else is somebody else's, and a folder that has it, and no manifest, too: nothing is put into it and nothing taken away.
 */
import { join } from 'node:path'
import { type Disk, PlatformError } from '../platform/index.ts'
import { BackupError } from './errors.ts'
import { promised, readAt, replaceWhole, withFile } from './files.ts'
import {
  decodeManifest,
  encodeManifest,
  MANIFEST_NAME,
  type Manifest,
  type ManifestPartition,
  type ManifestSegment,
  type ManifestTopic,
} from './manifest.ts'
import { type FoundSegment, inspectSegment, matchSegment, verifySegment } from './segment-file.ts'
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES, segmentName, segmentNumberOf } from './segment-format.ts'
import { forEachOf } from './workers.ts'

const SEGMENTS = 'segments'
/** A run that was stopped before it ever finished leaves these; a disk of its own has the last one. */
const OWN_NAMES: readonly string[] = [SEGMENTS, `${MANIFEST_NAME}.tmp`, 'lost+found']
const MANIFEST_BYTES_MAX = 1 << 30
const MATCHED_AT_ONCE = 4

export class BackupFolder {
  readonly path: string
  readonly segments: string
  readonly #disk: Disk

  constructor(path: string, disk: Disk) {
    this.path = path
    this.segments = join(path, SEGMENTS)
    this.#disk = disk
  }

  async create(): Promise<void> {
    if ((await this.manifest()) === null) await this.#refuseForeign()
    await this.#refuseFolderForFile(`${MANIFEST_NAME}.tmp`)
    await promised<void>((done) => this.#disk.makeDirectory(this.segments, done))
    await promised<void>((done) => this.#disk.syncDirectory(this.path, done))
  }

  /** Before anything is put into it: the folder may be a node's, or have any other use. */
  async #refuseForeign(): Promise<void> {
    const foreign =
      (await this.#list(this.path)).find((name) => !OWN_NAMES.includes(name)) ??
      (await this.#names()).find((name) => segmentNumberOf(name) === null)
    if (foreign === undefined) return
    throw new BackupError(
      { code: 'NOT_A_BACKUP', path: this.path },
      `${this.path}: is no backup, and has something else in it (${foreign}); name an empty folder, or one that does not exist yet`,
    )
  }

  /** It would be noticed when everything is copied. */
  async #refuseFolderForFile(name: string): Promise<void> {
    try {
      await withFile(this.#disk, join(this.path, name), 'write', async () => {})
    } catch (error) {
      if (!(error instanceof PlatformError && error.code === 'DISK_NOT_FOUND')) throw error
    }
  }

  /** For this process until `release`: two runs would give their files the same numbers. */
  async claim(): Promise<{ release(): Promise<void> }> {
    try {
      const claim = await promised<{ release(done: () => void): void }>((done) => this.#disk.claim(this.path, done))
      return { release: () => new Promise((resolve) => claim.release(resolve)) }
    } catch (error) {
      if (!(error instanceof PlatformError && error.code === 'DISK_IN_USE')) throw error
      const message = `${this.path}: another backup is being written into this folder; wait for it, or use another folder`
      throw new BackupError({ code: 'FOLDER_IN_USE', path: this.path }, message, { cause: error })
    }
  }

  /** Null: no run was ever finished here. */
  async manifest(): Promise<Manifest | null> {
    const path = join(this.path, MANIFEST_NAME)
    try {
      const bytes = await withFile(this.#disk, path, 'read', async (file) => {
        const size = await promised<number>((done) => file.size(done))
        return readAt(file, 0, Math.min(size, MANIFEST_BYTES_MAX))
      })
      return decodeManifest(bytes, path)
    } catch (error) {
      if (error instanceof PlatformError && error.code === 'DISK_NOT_FOUND') return null
      throw error
    }
  }

  /** For whoever needs a finished one. */
  async finishedManifest(): Promise<Manifest> {
    const manifest = await this.manifest()
    if (manifest !== null) return manifest
    const begun = (await this.#names()).length > 0
    if (begun)
      throw new BackupError(
        { code: 'UNFINISHED', path: this.path },
        `${this.path}: a backup was begun here and never finished; run tidemark backup ${this.path} again, it goes on`,
      )
    throw new BackupError(
      { code: 'NOT_A_BACKUP', path: this.path },
      `${this.path}: no backup is in this folder (there is no ${MANIFEST_NAME}); name the folder that tidemark backup wrote`,
    )
  }

  /** Read before it is written: the one before is better than one that contradicts itself. */
  async writeManifest(manifest: Manifest): Promise<void> {
    const path = join(this.path, MANIFEST_NAME)
    const bytes = encodeManifest(manifest)
    decodeManifest(bytes, `${path} (a new one, not written)`)
    await replaceWhole(this.#disk, path, bytes)
  }

  #names(): Promise<string[]> {
    return this.#list(this.segments)
  }

  async #list(path: string): Promise<string[]> {
    try {
      return await promised<string[]>((done) => this.#disk.list(path, done))
    } catch (error) {
      if (error instanceof PlatformError && error.code === 'DISK_NOT_FOUND') return []
      throw error
    }
  }

  /** What the manifest before named and this one does not: it was copied anew. Who is restoring it now is told that it is missing. */
  async removeReplaced(before: Manifest | null, now: Manifest): Promise<void> {
    const named = numbersIn(now)
    await this.remove([...numbersIn(before)].filter((number) => !named.has(number)))
  }

  async remove(segments: readonly number[]): Promise<void> {
    for (const number of segments)
      await promised<void>((done) => this.#disk.remove(join(this.segments, segmentName(number)), done))
    if (segments.length > 0) await promised<void>((done) => this.#disk.syncDirectory(this.segments, done))
  }

  /** Every file is there, and the one that the manifest means, as far as header, footer and length tell; throws where one is not. */
  async match(topics: readonly ManifestTopic[]): Promise<void> {
    const named = topics.flatMap(({ id, partitions }) =>
      partitions.flatMap(({ segments }, partition) => segments.map((segment) => ({ id, partition, segment }))),
    )
    await forEachOf(named, MATCHED_AT_ONCE, ({ id, partition, segment }) =>
      matchSegment(this.#disk, this.segments, id, partition, segment),
    )
  }

  /**
   * What lies beside the manifest's segments. Half-written ones are removed: only a killed run leaves them. Those that the manifest
   * names are matched: what comes now is only added, and the next manifest would vouch for what nobody can restore.
   */
  async survey(manifest: Manifest | null): Promise<Leftovers> {
    const named = numbersIn(manifest)
    let [highest, removed] = [0, 0]
    for (const number of named) highest = Math.max(highest, number)
    const found: FoundSegment[] = []
    const undecodable: string[] = []
    if (manifest !== null) await this.match(manifest.topics)
    for (const name of await this.#names()) {
      const file = segmentNumberOf(name)
      if (file === null) continue
      highest = Math.max(highest, file.number)
      if (!file.sealed && !(await this.#isOurs(name, file.number))) undecodable.push(name)
      else if (!file.sealed) {
        await promised<void>((done) => this.#disk.remove(join(this.segments, name), done))
        removed++
      } else if (!named.has(file.number)) {
        const sealed = await this.#wholeOrNull(file.number)
        if (sealed === null) undecodable.push(name)
        else found.push(sealed)
      }
    }
    return new Leftovers(found, undecodable, removed, highest + 1)
  }

  /** Says so itself, or was just created. */
  async #isOurs(partial: string, number: number): Promise<boolean> {
    return withFile(this.#disk, join(this.segments, partial), 'read', async (file) => {
      const bytes = await readAt(file, 0, SEGMENT_HEADER_BYTES)
      const header = decodeSegmentHeader(bytes)
      return bytes.length === 0 || (typeof header !== 'string' && header.number === number)
    })
  }

  /** Read as a whole: no manifest vouches for it. */
  async #wholeOrNull(number: number): Promise<FoundSegment | null> {
    try {
      const found = await inspectSegment(this.#disk, this.segments, number)
      await verifySegment(this.#disk, this.segments, found.segment)
      return found
    } catch (error) {
      if (error instanceof BackupError) return null
      throw error
    }
  }
}

function numbersIn(manifest: Manifest | null): Set<number> {
  const numbers = new Set<number>()
  for (const { partitions } of manifest?.topics ?? [])
    for (const { segments } of partitions) for (const { number } of segments) numbers.add(number)
  return numbers
}

/** What a run that was killed left behind. */
export class Leftovers {
  readonly halfWritten: number
  nextNumber: number
  /** Names of files that nobody can tell whose they are: left alone. */
  readonly undecodable: readonly string[]
  #sealed: FoundSegment[]
  /** They follow nothing that is here. */
  readonly #loose: FoundSegment[] = []

  constructor(sealed: FoundSegment[], undecodable: readonly string[], halfWritten: number, nextNumber: number) {
    this.#sealed = sealed.sort((a, b) => a.segment.number - b.segment.number)
    this.undecodable = undecodable
    this.halfWritten = halfWritten
    this.nextNumber = nextNumber
  }

  /** The segments that go on where the partition's known ones end. */
  adopt(topicId: string, partition: number, known: ManifestPartition | undefined): ManifestSegment[] {
    let last = known?.segments.at(-1)
    const adopted: ManifestSegment[] = []
    const rest: FoundSegment[] = []
    for (const found of this.#sealed) {
      const { header, segment } = found
      const here = header.topicId === topicId && header.partition === partition
      const follows = segment.previousCrc === (last?.crc ?? 0) && segment.baseOffset >= (last?.nextOffset ?? 0)
      if (!here) rest.push(found)
      else if (!follows) this.#loose.push(found)
      else {
        adopted.push(segment)
        last = segment
      }
    }
    this.#sealed = rest
    return adopted
  }

  /** Whole ones that nobody has adopted. */
  get unclaimed(): FoundSegment[] {
    return [...this.#loose, ...this.#sealed]
  }
}
