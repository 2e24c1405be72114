/**
 * The manifest: what a backup holds, written last and replaced as a whole, so that a folder holds a finished backup or says so.
 *
 *     {"body":{…},"crc32c":"0a1b2c3d"}
 *
 * JSON, because people look into it in bad times; the sum covers the bytes of the body as they stand. Every field is checked when
 * it is read, and so is what they say together: a partition's segments follow each other and each other's sums. A manifest that
 * was damaged, or made up, yields an error and never a path: files are named by number.
 */
import { crc32c } from '../stdx/index.ts'
import { BackupError } from './errors.ts'

export const MANIFEST_NAME = 'manifest.json'
export const MANIFEST_VERSION = 1

export interface ManifestSegment {
  readonly number: number
  /** Of the whole file. */
  readonly bytes: number
  readonly crc: number
  readonly previousCrc: number
  readonly baseOffset: number
  readonly nextOffset: number
  readonly records: number
  readonly maxTimestamp: number
}

export interface ManifestPartition {
  /** The log's start when it was read last. */
  readonly startOffset: number
  /** Everything below is here: the high-water mark, as it was when the partition's turn began. */
  readonly nextOffset: number
  /** Ascending. Between two there may be a hole only below `startOffset`, where the log was cut between two runs. */
  readonly segments: readonly ManifestSegment[]
}

export interface ManifestTopic {
  readonly name: string
  readonly id: string
  /** As set for the topic; what it left to defaults is not here. */
  readonly settings: Readonly<Record<string, string>>
  readonly replicationFactor: number
  readonly takenAtMs: number
  /** It was deleted from the cluster after it was backed up. */
  readonly gone: boolean
  readonly partitions: readonly ManifestPartition[]
}

export interface ManifestPosition {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly metadata: string
}

export interface ManifestGroup {
  readonly id: string
  readonly positions: readonly ManifestPosition[]
}

export interface Manifest {
  readonly version: number
  readonly clusterId: string
  readonly takenAtMs: number
  /** Of the Tidemark that took it. */
  readonly takenBy: string
  readonly topics: readonly ManifestTopic[]
  readonly groups: readonly ManifestGroup[]
}

const PREFIX = '{"body":'
const MIDDLE = ',"crc32c":"'
const SUFFIX = '"}\n'
const TAIL_BYTES = MIDDLE.length + 8 + SUFFIX.length

export function encodeManifest(manifest: Manifest): Buffer {
  const body = Buffer.from(JSON.stringify(manifest))
  const sum = crc32c(body).toString(16).padStart(8, '0')
  return Buffer.concat([Buffer.from(PREFIX), body, Buffer.from(MIDDLE + sum + SUFFIX)])
}

/** Throws `BackupError` only. */
export function decodeManifest(bytes: Buffer, path: string): Manifest {
  const damaged = (reason: string): BackupError =>
    new BackupError(
      { code: 'MANIFEST_DAMAGED', path, reason },
      `${path}: the manifest of the backup is damaged (${reason}); take it from a copy of the folder, or back up into a new one`,
    )
  const tail = bytes.toString('latin1', Math.max(0, bytes.length - TAIL_BYTES))
  const shape = /^,"crc32c":"([0-9a-f]{8})"\}\n$/.exec(tail)
  if (shape === null || bytes.toString('latin1', 0, PREFIX.length) !== PREFIX) throw damaged('it has no sum')
  const body = bytes.subarray(PREFIX.length, bytes.length - TAIL_BYTES)
  if (crc32c(body) !== Number.parseInt(shape[1]!, 16)) throw damaged('its sum is wrong')
  let raw: unknown
  try {
    raw = JSON.parse(body.toString())
  } catch {
    throw damaged('it is not JSON')
  }
  try {
    return readManifest(new Fields('manifest', raw), path)
  } catch (error) {
    if (error instanceof Defect) throw damaged(error.message)
    throw error
  }
}

function readManifest(fields: Fields, path: string): Manifest {
  const version = fields.natural('version')
  if (version !== MANIFEST_VERSION)
    throw new BackupError(
      { code: 'VERSION_UNKNOWN', path, version },
      `${path}: the backup has format version ${version}, this Tidemark reads ${MANIFEST_VERSION}; use a newer one`,
    )
  const numbers = new Set<number>()
  const topics = fields.objects('topics').map((topic) => readTopic(topic, numbers))
  const names = topics.filter(({ gone }) => !gone).map(({ name }) => name)
  if (new Set(names).size !== names.length) throw new Defect('two topics have one name')
  if (new Set(topics.map(({ id }) => id)).size !== topics.length) throw new Defect('two topics have one id')
  return {
    version,
    clusterId: fields.text('clusterId'),
    takenAtMs: fields.natural('takenAtMs'),
    takenBy: fields.text('takenBy'),
    topics,
    groups: fields.objects('groups').map((group) => ({
      id: group.text('id'),
      positions: group.objects('positions').map((position) => ({
        topic: position.text('topic'),
        partition: position.natural('partition'),
        offset: position.natural('offset'),
        metadata: position.text('metadata'),
      })),
    })),
  }
}

function readTopic(fields: Fields, numbers: Set<number>): ManifestTopic {
  const id = fields.text('id')
  if (!/^[0-9a-f]{32}$/.test(id)) throw new Defect(`${fields.where}.id is not one`)
  return {
    name: fields.text('name'),
    id,
    settings: fields.texts('settings'),
    replicationFactor: fields.natural('replicationFactor'),
    takenAtMs: fields.natural('takenAtMs'),
    gone: fields.flag('gone'),
    partitions: fields.objects('partitions').map((partition) => readPartition(partition, numbers)),
  }
}

function readPartition(fields: Fields, numbers: Set<number>): ManifestPartition {
  const [startOffset, nextOffset] = [fields.natural('startOffset'), fields.natural('nextOffset')]
  const segments = fields.objects('segments').map(readSegment)
  let previous: ManifestSegment | null = null
  for (const segment of segments) {
    const wrong = (what: string): Defect => new Defect(`${fields.where}: segment ${segment.number} ${what}`)
    if (numbers.has(segment.number)) throw wrong('is named twice')
    numbers.add(segment.number)
    if (segment.baseOffset >= segment.nextOffset) throw wrong('holds nothing')
    if (segment.previousCrc !== (previous?.crc ?? 0)) throw wrong('follows another segment')
    const end: number = previous?.nextOffset ?? segment.baseOffset
    if (segment.baseOffset < end) throw wrong('overlaps its predecessor')
    if (segment.baseOffset > end && segment.baseOffset > startOffset) throw wrong('leaves a hole')
    previous = segment
  }
  if (previous !== null && previous.nextOffset > nextOffset) throw new Defect(`${fields.where} ends too early`)
  if (startOffset < nextOffset) {
    if (previous?.nextOffset !== nextOffset) throw new Defect(`${fields.where} lacks its end`)
    const first = segments.find((segment) => segment.nextOffset > startOffset)
    if (first === undefined || first.baseOffset > startOffset) throw new Defect(`${fields.where} lacks its start`)
  }
  if (startOffset > nextOffset) throw new Defect(`${fields.where} starts above its end`)
  return { startOffset, nextOffset, segments }
}

function readSegment(fields: Fields): ManifestSegment {
  return {
    number: fields.natural('number'),
    bytes: fields.natural('bytes'),
    crc: fields.natural('crc'),
    previousCrc: fields.natural('previousCrc'),
    baseOffset: fields.natural('baseOffset'),
    nextOffset: fields.natural('nextOffset'),
    records: fields.natural('records'),
    maxTimestamp: fields.integer('maxTimestamp'),
  }
}

/** Of the manifest's contents; becomes MANIFEST_DAMAGED. */
class Defect extends Error {}

class Fields {
  readonly where: string
  readonly #raw: Readonly<Record<string, unknown>>

  constructor(where: string, raw: unknown) {
    if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) throw new Defect(`${where} is no object`)
    this.where = where
    this.#raw = raw as Record<string, unknown>
  }

  text(name: string): string {
    const value = this.#raw[name]
    if (typeof value !== 'string') throw new Defect(`${this.where}.${name} is no text`)
    return value
  }

  flag(name: string): boolean {
    const value = this.#raw[name]
    if (typeof value !== 'boolean') throw new Defect(`${this.where}.${name} is neither true nor false`)
    return value
  }

  integer(name: string): number {
    const value = this.#raw[name]
    if (!Number.isSafeInteger(value)) throw new Defect(`${this.where}.${name} is no whole number`)
    return value as number
  }

  natural(name: string): number {
    const value = this.integer(name)
    if (value < 0) throw new Defect(`${this.where}.${name} is below 0`)
    return value
  }

  texts(name: string): Record<string, string> {
    const object = new Fields(`${this.where}.${name}`, this.#raw[name])
    return Object.fromEntries(Object.keys(object.#raw).map((key) => [key, object.text(key)]))
  }

  objects(name: string): Fields[] {
    const value = this.#raw[name]
    if (!Array.isArray(value)) throw new Defect(`${this.where}.${name} is no list`)
    return value.map((item, i) => new Fields(`${this.where}.${name}[${i}]`, item))
  }
}
