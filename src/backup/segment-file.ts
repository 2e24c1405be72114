/** Writing a segment of a backup, and reading it back batch by batch, in memory that does not grow with the file. */
import { join } from 'node:path'
import type { Disk, DiskFile } from '../platform/index.ts'
import { PlatformError } from '../platform/index.ts'
import {
  BATCH_HEADER_BYTES,
  BATCH_OVERHEAD_BYTES,
  baseOffsetOf,
  batchBytesOf,
  lastOffsetOf,
  maxTimestampOf,
  recordCountOf,
  STORED_BATCH,
  validateBatch,
} from '../records/index.ts'
import { crc32c } from '../stdx/index.ts'
import { BackupError } from './errors.ts'
import { promised, readAt, withFile } from './files.ts'
import type { ManifestSegment } from './manifest.ts'
import {
  decodeSegmentFooter,
  decodeSegmentHeader,
  encodeSegmentFooter,
  encodeSegmentHeader,
  partialName,
  SEGMENT_FOOTER_BYTES,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  segmentName,
} from './segment-format.ts'

const CHUNK_BYTES = 1 << 20

/** One segment in the making. It gets the name of a segment only when it is whole and durable. */
export class SegmentWriter {
  readonly #disk: Disk
  readonly #folder: string
  readonly #header: SegmentHeader
  readonly #file: DiskFile
  #isOpen = true
  #position = SEGMENT_HEADER_BYTES
  #crc: number
  #nextOffset: number
  #records = 0
  #maxTimestamp = Number.MIN_SAFE_INTEGER

  static async create(disk: Disk, folder: string, header: SegmentHeader): Promise<SegmentWriter> {
    const path = join(folder, partialName(header.number))
    const file = await promised<DiskFile>((done) => disk.open(path, 'exclusive', done))
    const writer = new SegmentWriter(disk, folder, header, file)
    try {
      await promised<void>((done) => file.write([encodeSegmentHeader(header)], 0, done))
    } catch (error) {
      await writer.abandon()
      throw error
    }
    return writer
  }

  private constructor(disk: Disk, folder: string, header: SegmentHeader, file: DiskFile) {
    this.#disk = disk
    this.#folder = folder
    this.#header = header
    this.#file = file
    this.#crc = crc32c(encodeSegmentHeader(header))
    this.#nextOffset = header.baseOffset
  }

  get bytes(): number {
    return this.#position - SEGMENT_HEADER_BYTES
  }

  get records(): number {
    return this.#records
  }

  /** Whole batches that follow each other, and what is here. */
  async append(batches: readonly Buffer[]): Promise<void> {
    let bytes = 0
    for (const batch of batches) {
      this.#crc = crc32c(batch, this.#crc)
      this.#nextOffset = lastOffsetOf(batch, 0) + 1
      this.#records += recordCountOf(batch, 0)
      this.#maxTimestamp = Math.max(this.#maxTimestamp, maxTimestampOf(batch, 0))
      bytes += batch.length
    }
    await promised<void>((done) => this.#file.write(batches, this.#position, done))
    this.#position += bytes
  }

  async seal(): Promise<ManifestSegment> {
    const { number, baseOffset, previousCrc } = this.#header
    const [crc, nextOffset, records, maxTimestamp] = [this.#crc, this.#nextOffset, this.#records, this.#maxTimestamp]
    const footer = encodeSegmentFooter({ crc, nextOffset, bytes: this.bytes, maxTimestamp, records })
    await promised<void>((done) => this.#file.write([footer], this.#position, done))
    await promised<void>((done) => this.#file.datasync(done))
    await this.#close()
    const [from, to] = [join(this.#folder, partialName(number)), join(this.#folder, segmentName(number))]
    await promised<void>((done) => this.#disk.rename(from, to, done))
    await promised<void>((done) => this.#disk.syncDirectory(this.#folder, done))
    const bytes = this.#position + SEGMENT_FOOTER_BYTES
    return { number, bytes, crc, previousCrc, baseOffset, nextOffset, records, maxTimestamp }
  }

  /** Something went wrong: what is there is of no use, and its room may be what is lacking. */
  async abandon(): Promise<void> {
    await this.#close()
    // Why it is abandoned is told by whoever does; what cannot be removed now is removed by the next run.
    await promised<void>((done) => this.#disk.remove(join(this.#folder, partialName(this.#header.number)), done)).catch(
      () => {},
    )
  }

  async #close(): Promise<void> {
    if (!this.#isOpen) return
    this.#isOpen = false
    await promised<void>((done) => this.#file.close(done))
  }
}

export interface FoundSegment {
  readonly header: SegmentHeader
  readonly segment: ManifestSegment
}

/** What the file says of itself, by header and footer; throws where it is no whole segment. */
export async function inspectSegment(disk: Disk, folder: string, number: number): Promise<FoundSegment> {
  const path = join(folder, segmentName(number))
  return opened(disk, path, async (file) => {
    const size = await promised<number>((done) => file.size(done))
    const damaged = (position: number, reason: string) => segmentDamaged(path, position, reason)
    const header = decodeSegmentHeader(await readAt(file, 0, SEGMENT_HEADER_BYTES))
    if (typeof header === 'string') throw damaged(0, `header: ${header}`)
    if (header.number !== number) throw segmentForeign(path, `it is segment ${header.number} by its own account`)
    const footerAt = size - SEGMENT_FOOTER_BYTES
    if (footerAt < SEGMENT_HEADER_BYTES) throw damaged(size, 'it ends too early')
    const footer = decodeSegmentFooter(await readAt(file, footerAt, SEGMENT_FOOTER_BYTES))
    if (typeof footer === 'string') throw damaged(footerAt, `footer: ${footer}`)
    if (SEGMENT_HEADER_BYTES + footer.bytes !== footerAt) throw damaged(footerAt, 'its length is not what it says')
    const { baseOffset, previousCrc } = header
    const { crc, nextOffset, records, maxTimestamp } = footer
    const segment = { number, bytes: size, crc, previousCrc, baseOffset, nextOffset, records, maxTimestamp }
    return { header, segment }
  })
}

/** Checks that the file is the one that the manifest means, as far as header and footer tell. */
export async function matchSegment(
  disk: Disk,
  folder: string,
  topicId: string,
  partition: number,
  expected: ManifestSegment,
): Promise<void> {
  const { header, segment } = await inspectSegment(disk, folder, expected.number)
  const path = join(folder, segmentName(expected.number))
  if (header.topicId !== topicId || header.partition !== partition)
    throw segmentForeign(path, `it belongs to partition ${header.partition} of topic ${header.topicId}`)
  for (const field of Object.keys(expected) as (keyof ManifestSegment)[]) {
    if (segment[field] !== expected[field])
      throw segmentForeign(path, `its ${field} is ${segment[field]}, the manifest says ${expected[field]}`)
  }
}

/** The batches in order, each whole and valid, the file's sum checked at the end. A chunk is read at a time. */
export async function* readSegment(disk: Disk, folder: string, expected: ManifestSegment): AsyncGenerator<Buffer> {
  const path = join(folder, segmentName(expected.number))
  const end = expected.bytes - SEGMENT_FOOTER_BYTES
  let file: DiskFile
  try {
    file = await promised<DiskFile>((done) => disk.open(path, 'read', done))
  } catch (error) {
    throw missingOr(error, path)
  }
  try {
    let crc = crc32c(await readAt(file, 0, SEGMENT_HEADER_BYTES))
    let [position, at, next] = [SEGMENT_HEADER_BYTES, 0, expected.baseOffset]
    let chunk: Buffer = Buffer.alloc(0)
    while (position + at < end) {
      const left = chunk.length - at
      const needed = left < BATCH_OVERHEAD_BYTES ? BATCH_OVERHEAD_BYTES : batchBytesOf(chunk, at)
      const damaged = (reason: string) => segmentDamaged(path, position + at, reason)
      if (left < needed) {
        if (needed < BATCH_OVERHEAD_BYTES || position + at + needed > end)
          throw damaged('a batch is longer than the file')
        position += at
        at = 0
        chunk = await readAt(file, position, Math.min(Math.max(needed, CHUNK_BYTES), end - position))
        if (chunk.length < needed) throw damaged('the file ends too early')
        continue
      }
      const defect = needed < BATCH_HEADER_BYTES ? 'length' : validateBatch(chunk, at, STORED_BATCH)
      if (defect !== null) throw damaged(`no batch: ${defect}`)
      if (baseOffsetOf(chunk, at) !== next) throw damaged(`a batch at offset ${baseOffsetOf(chunk, at)} after ${next}`)
      const batch = chunk.subarray(at, at + needed)
      crc = crc32c(batch, crc)
      next = lastOffsetOf(chunk, at) + 1
      at += needed
      yield batch
    }
    if (crc !== expected.crc) throw segmentDamaged(path, 0, 'its sum is wrong')
    if (next !== expected.nextOffset) throw segmentDamaged(path, end, `it ends at offset ${next}`)
  } finally {
    await promised<void>((done) => file.close(done))
  }
}

/** Reads all of it. */
export async function verifySegment(disk: Disk, folder: string, expected: ManifestSegment): Promise<void> {
  let records = 0
  for await (const batch of readSegment(disk, folder, expected)) records += recordCountOf(batch, 0)
  if (records !== expected.records)
    throw segmentDamaged(join(folder, segmentName(expected.number)), 0, `it holds ${records} records`)
}

async function opened<T>(disk: Disk, path: string, use: (file: DiskFile) => Promise<T>): Promise<T> {
  try {
    return await withFile(disk, path, 'read', use)
  } catch (error) {
    throw missingOr(error, path)
  }
}

function missingOr(error: unknown, path: string): unknown {
  return error instanceof PlatformError && error.code === 'DISK_NOT_FOUND' ? segmentMissing(path, error) : error
}

function segmentMissing(path: string, cause?: Error): BackupError {
  const message = `${path}: this file of the backup is missing; take it from a copy of the folder, or back up into another one`
  return new BackupError({ code: 'SEGMENT_MISSING', path }, message, cause === undefined ? {} : { cause })
}

export function segmentDamaged(path: string, position: number, reason: string): BackupError {
  return new BackupError(
    { code: 'SEGMENT_DAMAGED', path, position, reason },
    `${path}: damaged at byte ${position} (${reason}); take this file from a copy of the folder, or back up into another one`,
  )
}

function segmentForeign(path: string, reason: string): BackupError {
  return new BackupError(
    { code: 'SEGMENT_FOREIGN', path, reason },
    `${path}: not the file that the manifest means (${reason}); take it from a copy of this very backup, or back up into another folder`,
  )
}
