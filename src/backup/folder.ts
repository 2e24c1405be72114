/**
 * The folder of a backup: what a finished run left, and what an unfinished one did.
 *
 *     manifest.json                the last finished run, or nothing
 *     segments/00000001.batches    sealed: immutable from here on
 *     segments/00000007.batches    sealed after the manifest: a run was killed; goes on from here
 *     segments/00000008.partial    in the making when it was killed; removed by the next run
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
} from './manifest.ts'
import { type FoundSegment, inspectSegment, segmentMissing, verifySegment } from './segment-file.ts'
import { segmentName, segmentNumberOf } from './segment-format.ts'

const SEGMENTS = 'segments'
const MANIFEST_BYTES_MAX = 1 << 30

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
    await promised<void>((done) => this.#disk.makeDirectory(this.segments, done))
    await promised<void>((done) => this.#disk.syncDirectory(this.path, done))
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

  writeManifest(manifest: Manifest): Promise<void> {
    return replaceWhole(this.#disk, join(this.path, MANIFEST_NAME), encodeManifest(manifest))
  }

  async #names(): Promise<string[]> {
    try {
      return await promised<string[]>((done) => this.#disk.list(this.segments, done))
    } catch (error) {
      if (error instanceof PlatformError && error.code === 'DISK_NOT_FOUND') return []
      throw error
    }
  }

  /** What the manifest before named and this one does not: it was copied anew. Who is restoring it now is told that it is missing. */
  async removeReplaced(before: Manifest | null, now: Manifest): Promise<void> {
    const named = numbersIn(now)
    const replaced = [...numbersIn(before)].filter((number) => !named.has(number))
    for (const number of replaced)
      await promised<void>((done) => this.#disk.remove(join(this.segments, segmentName(number)), done))
    if (replaced.length > 0) await promised<void>((done) => this.#disk.syncDirectory(this.segments, done))
  }

  /** What lies beside the manifest's segments. Half-written ones are removed: only a killed run leaves them. */
  async survey(manifest: Manifest | null): Promise<Leftovers> {
    const named = numbersIn(manifest)
    let [highest, removed] = [0, 0]
    for (const number of named) highest = Math.max(highest, number)
    const found: FoundSegment[] = []
    const useless: number[] = []
    const missing = new Set(named)
    for (const name of await this.#names()) {
      const file = segmentNumberOf(name)
      if (file === null) continue
      highest = Math.max(highest, file.number)
      if (!file.sealed) {
        await promised<void>((done) => this.#disk.remove(join(this.segments, name), done))
        removed++
      } else if (!missing.delete(file.number)) {
        const sealed = await this.#wholeOrNull(file.number)
        if (sealed === null) useless.push(file.number)
        else found.push(sealed)
      }
    }
    for (const number of missing) throw segmentMissing(join(this.segments, segmentName(number)))
    return new Leftovers(found, useless, removed, highest + 1)
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
  /** Damaged, or following nothing that is here: left alone. */
  readonly useless: number[]
  #sealed: FoundSegment[]

  constructor(sealed: FoundSegment[], useless: number[], halfWritten: number, nextNumber: number) {
    this.#sealed = sealed.sort((a, b) => a.segment.number - b.segment.number)
    this.useless = useless
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
      else if (!follows) this.useless.push(segment.number)
      else {
        adopted.push(segment)
        last = segment
      }
    }
    this.#sealed = rest
    return adopted
  }

  /** Those that nobody has adopted. */
  get unclaimed(): number[] {
    return [...this.useless, ...this.#sealed.map(({ segment }) => segment.number)]
  }
}
