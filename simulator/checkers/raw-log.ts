/**
 * A second reader of a data directory, written from docs/formats and sharing nothing with the storage layer: neither its
 * decoders, nor its recovery, nor its notion of where things lie. What it finds is what somebody with a hex editor would find.
 *
 * It believes what carries a right sum and says where it stands, and asks for nothing more: it finds an entry in whichever
 * file it is, superseded ones too, and even where a start would refuse the directory. It answers one question: is it there?
 *
 *      shards/<shard>/<first>.log     header of 64 bytes, entries
 *      journal/<number>.log           page of 4096 bytes, blocks of entries, each at a multiple of 4096
 */
import { gunzipSync } from 'node:zlib'
import type { Disk } from '../../src/platform/index.ts'
import { crc32c } from '../../src/stdx/index.ts'

export interface RawEntry {
  readonly shard: number
  readonly kind: number
  readonly term: number
  readonly index: number
  readonly stamp: number
  readonly firstOffset: number
  readonly recordCount: number
  readonly crc: number
  readonly previousCrc: number
  readonly payload: Buffer
}

/** By shard, then by index: every entry that reads well anywhere. There are several where one replaced another. */
export type RawLogs = Map<number, Map<number, RawEntry[]>>

const ENTRY_BYTES = 64
const HARD_STATE = 16
const SHARD_HEADER_BYTES = 64
const PAGE_BYTES = 4096
const BLOCK_BYTES = 40
const BLOCK_MAGIC = 'TMBK'
/** A journal segment is prepared in its full length, most of which may be unused. */
const FIRST_READ_BYTES = 128 << 10

/** Reads everything in the directory; files that cannot be read count as not there. */
export function readRawLogs(disk: Disk, directory: string, done: (logs: RawLogs) => void): void {
  const logs: RawLogs = new Map()
  const files: { path: string; take: (bytes: Buffer) => boolean }[] = []
  const next = (): void => {
    const file = files.shift()
    if (file === undefined) return done(logs)
    readFile(disk, file.path, file.take, next)
  }
  listAll(disk, `${directory}/journal`, (names) => {
    for (const name of names.filter((each) => each.endsWith('.log'))) {
      files.push({ path: `${directory}/journal/${name}`, take: (bytes) => readJournal(bytes, logs) })
    }
    listAll(disk, `${directory}/shards`, (shards) => {
      let missing = shards.length
      if (missing === 0) next()
      for (const shard of shards) {
        listAll(disk, `${directory}/shards/${shard}`, (segments) => {
          for (const name of segments.filter((each) => each.endsWith('.log'))) {
            const take = (bytes: Buffer): boolean => readSegment(bytes, Number(shard), logs)
            files.push({ path: `${directory}/shards/${shard}/${name}`, take })
          }
          if (--missing === 0) next()
        })
      }
    })
  })
}

function listAll(disk: Disk, path: string, done: (names: readonly string[]) => void): void {
  disk.list(path, (error, names) => done(error === null ? (names ?? []) : []))
}

/** Gives `take` the file's beginning, and four times as much as long as it says that it wants more. */
function readFile(disk: Disk, path: string, take: (bytes: Buffer) => boolean, done: () => void): void {
  disk.open(path, 'read', (error, file) => {
    if (error !== null || file === undefined) return done()
    file.size((failure, size) => {
      const read = (length: number): void => {
        const bytes = Buffer.allocUnsafe(length)
        file.read(bytes, 0, (broken, count = 0) => {
          const wantsMore = broken === null && take(bytes.subarray(0, count))
          if (wantsMore && count === length && length < size!) read(Math.min(size!, 4 * length))
          else file.close(() => done())
        })
      }
      if (failure !== null || size === undefined || size === 0) file.close(() => done())
      else read(Math.min(size, FIRST_READ_BYTES))
    })
  })
}

/** The entry at `at`, or null if none verifies there. */
function entryAt(bytes: Buffer, at: number): { entry: RawEntry; end: number } | null {
  if (at + ENTRY_BYTES > bytes.length) return null
  const length = bytes.readUInt32LE(at)
  const end = at + length
  if (length < ENTRY_BYTES || end > bytes.length || bytes[at + 8] !== 1) return null
  const crc = bytes.readUInt32LE(at + 4)
  if (crc32c(bytes.subarray(at + 8, end)) !== crc) return null
  const entry: RawEntry = {
    kind: bytes[at + 9]!,
    shard: bytes.readUInt32LE(at + 12),
    term: u64(bytes, at + 16),
    index: u64(bytes, at + 24),
    stamp: u64(bytes, at + 32),
    firstOffset: u64(bytes, at + 40),
    recordCount: bytes.readUInt32LE(at + 48),
    previousCrc: bytes.readUInt32LE(at + 52),
    crc,
    payload: bytes.subarray(at + ENTRY_BYTES, end),
  }
  return { entry, end }
}

/** Committed entries, in order; behind them there may be what was written and never vouched for. True: the bytes ended first. */
function readSegment(bytes: Buffer, shard: number, logs: RawLogs): boolean {
  if (bytes.length < SHARD_HEADER_BYTES || bytes.toString('latin1', 0, 8) !== 'TIDESHRD') return false
  let index = u64(bytes, 24)
  for (let at = SHARD_HEADER_BYTES; ; index++) {
    const found = entryAt(bytes, at)
    if (found === null) return true
    if (found.entry.shard !== shard || found.entry.index !== index) return false
    add(logs, found.entry)
    at = found.end
  }
}

/** Blocks of the segment's present life, one after the other. True: the bytes ended first. */
function readJournal(bytes: Buffer, logs: RawLogs): boolean {
  if (bytes.length < PAGE_BYTES || bytes.toString('latin1', 0, 8) !== 'TIDEJRNL') return false
  const incarnation = bytes.toString('latin1', 32, 40)
  for (let at = PAGE_BYTES; ; ) {
    if (at + BLOCK_BYTES > bytes.length) return true
    if (bytes.toString('latin1', at, at + 4) !== BLOCK_MAGIC) return false
    if (bytes.toString('latin1', at + 16, at + 24) !== incarnation) return false
    const end = at + BLOCK_BYTES + bytes.readUInt32LE(at + 12)
    for (let from = at + BLOCK_BYTES; from < end; ) {
      const found = entryAt(bytes, from)
      if (found === null) return end > bytes.length
      if (found.end > end) return false
      if (found.entry.kind !== HARD_STATE) add(logs, found.entry)
      from = found.end
    }
    at = Math.ceil(end / PAGE_BYTES) * PAGE_BYTES
  }
}

function add(logs: RawLogs, entry: RawEntry): void {
  let log = logs.get(entry.shard)
  if (log === undefined) {
    log = new Map()
    logs.set(entry.shard, log)
  }
  const there = log.get(entry.index)
  if (there === undefined) log.set(entry.index, [entry])
  else if (!there.some(({ crc }) => crc === entry.crc)) there.push(entry)
}

function u64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + 0x1_0000_0000 * bytes.readUInt32LE(at + 4)
}

// ── record batches (big-endian, docs/formats/record-batch.md) ───────────────────────────────────────────────────────────────

export interface RawRecord {
  readonly offset: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** −1: of no idempotent producer. */
  readonly producerId: number
  readonly producerEpoch: number
  readonly sequence: number
}

const BATCH_HEADER_BYTES = 61
const GZIP = 1

/** Every record of a data entry, or why its payload is not what it should be. Of the codecs gzip is read; others are passed over. */
export function rawRecords(payload: Buffer, take: (record: RawRecord) => void): string | null {
  for (let at = 0; at < payload.length; ) {
    if (at + BATCH_HEADER_BYTES > payload.length) return 'a batch without a header'
    const end = at + 12 + payload.readInt32BE(at + 8)
    if (end > payload.length || payload[at + 16] !== 2) return 'a batch that is no batch'
    if (crc32c(payload.subarray(at + 21, end)) !== payload.readUInt32BE(at + 17)) return 'a batch with a wrong sum'
    const codec = payload.readInt16BE(at + 21) & 7
    const stored = payload.subarray(at + BATCH_HEADER_BYTES, end)
    const records = codec === GZIP ? gunzipSync(stored) : codec === 0 ? stored : null
    if (records !== null && !readRecords(payload, at, records, take)) return 'a record that is no record'
    at = end
  }
  return null
}

function readRecords(payload: Buffer, at: number, records: Buffer, take: (record: RawRecord) => void): boolean {
  const base = Number(payload.readBigInt64BE(at))
  const producerId = Number(payload.readBigInt64BE(at + 43))
  const producerEpoch = payload.readInt16BE(at + 51)
  const baseSequence = payload.readInt32BE(at + 53)
  const reader = new Varints(records)
  for (let i = payload.readInt32BE(at + 57); i > 0; i--) {
    const length = reader.next()
    const recordEnd = reader.at + length
    if (length < 0 || recordEnd > records.length) return false
    reader.at++
    reader.next()
    const delta = reader.next()
    const key = reader.bytes()
    const value = reader.bytes()
    reader.at = recordEnd
    take({ offset: base + delta, key, value, producerId, producerEpoch, sequence: baseSequence + delta })
  }
  return reader.at === records.length
}

/** Zigzag, seven bits a byte, lowest first. Timestamps may be longer than 32 bits; nobody asks for them here. */
class Varints {
  readonly #bytes: Buffer
  at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  next(): number {
    let value = 0
    let scale = 1
    for (;;) {
      const byte = this.#bytes[this.at++] ?? 0
      value += (byte & 0x7f) * scale
      if (byte < 0x80) break
      scale *= 128
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  bytes(): Buffer | null {
    const length = this.next()
    if (length < 0) return null
    const from = this.at
    this.at += length
    return this.#bytes.subarray(from, this.at)
  }
}
