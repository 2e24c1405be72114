/**
 * A snapshot: what a state machine has become by an index of its log, with as much of the log's own shape as a replica needs
 * to go on from there. It stands for everything up to that index, so a replica that has it needs no entry of before.
 *
 * One travels as a *body* (the part of any length) in chunks, each named by a *head* that says of which body it is a chunk:
 * so a chunk of another snapshot, of an earlier leader or of before a lost session, is never taken for one of this.
 *
 *      0  u8   version              1; 2 where what compaction has left of the log is to be fetched besides
 *      1  u8×3 reserved             0
 *      4  u32  epochCount
 *      8  u32  configurationBytes
 *     12       epochs               u64 term, firstIndex, firstOffset each
 *              configuration
 *              cleanedFrom          u64, in version 2
 *              state                what is left
 */
import { crc32c } from '../stdx/index.ts'
import { readU64, writeU64 } from '../storage/index.ts'
import type { Epoch } from './state-machine.ts'

/** The entry at which the snapshot stands; the last one that it covers. */
export interface SnapshotPlace {
  readonly index: number
  readonly entryTerm: number
  /** `crc` of that entry, which the next one names as its predecessor's. */
  readonly crc: number
  readonly nextOffset: number
  readonly stamp: number
}

export interface Snapshot extends SnapshotPlace {
  /** Of the log up to `index`, as far as its sender still has it; the last one is of `entryTerm`. */
  readonly epochs: readonly Epoch[]
  readonly configuration: Buffer
  /**
   * Where the log's offsets start, if records below the place are still to be read: what compaction has left of them. It is too large to
   * come along, and fetched from any replica (storage/part-arrival.ts). Null: nothing below is.
   */
  readonly cleanedFrom: number | null
  readonly state: Buffer
}

export interface SnapshotHead extends SnapshotPlace {
  readonly totalBytes: number
  /** CRC-32C of the whole body. */
  readonly sum: number
}

/** No body of ours is longer, so a longer one is not believed. */
export const SNAPSHOT_BYTES_MAX = 1 << 30
/** One chunk; travels in a data frame of its own or with appends. */
export const SNAPSHOT_CHUNK_BYTES_MAX = 256 << 10

const BODY_VERSION = 1
const BODY_VERSION_CLEANED = 2
const BODY_HEADER_BYTES = 12
const EPOCH_BYTES = 24

export function encodeSnapshotBody({ epochs, configuration, cleanedFrom, state }: Snapshot): Buffer {
  const fixed = Buffer.alloc(BODY_HEADER_BYTES + epochs.length * EPOCH_BYTES)
  fixed[0] = cleanedFrom === null ? BODY_VERSION : BODY_VERSION_CLEANED
  fixed.writeUInt32LE(epochs.length, 4)
  fixed.writeUInt32LE(configuration.length, 8)
  let at = BODY_HEADER_BYTES
  for (const { term, firstIndex, firstOffset } of epochs) {
    writeU64(fixed, term, at)
    writeU64(fixed, firstIndex, at + 8)
    writeU64(fixed, firstOffset, at + 16)
    at += EPOCH_BYTES
  }
  if (cleanedFrom === null) return Buffer.concat([fixed, configuration, state])
  const from = Buffer.alloc(8)
  writeU64(from, cleanedFrom, 0)
  return Buffer.concat([fixed, configuration, from, state])
}

export function placeOf({ index, entryTerm, crc, nextOffset, stamp }: SnapshotPlace): SnapshotPlace {
  return { index, entryTerm, crc, nextOffset, stamp }
}

export function headOf(place: SnapshotPlace, body: Buffer): SnapshotHead {
  return { ...placeOf(place), totalBytes: body.length, sum: crc32c(body) }
}

export function sameSnapshot(a: SnapshotHead, b: SnapshotHead): boolean {
  return a.index === b.index && a.crc === b.crc && a.sum === b.sum && a.totalBytes === b.totalBytes
}

/** Null for bytes that are no body of the head: a wire or a program has changed them without a frame's sum noticing. */
export function decodeSnapshot(head: SnapshotHead, body: Buffer): Snapshot | null {
  if (body.length !== head.totalBytes || crc32c(body) !== head.sum) return null
  if (body.length < BODY_HEADER_BYTES) return null
  const cleanedBytes = body[0] === BODY_VERSION_CLEANED ? 8 : 0
  if (body[0] !== BODY_VERSION && cleanedBytes === 0) return null
  const epochCount = body.readUInt32LE(4)
  const configurationBytes = body.readUInt32LE(8)
  const configurationAt = BODY_HEADER_BYTES + epochCount * EPOCH_BYTES
  const cleanedAt = configurationAt + configurationBytes
  const stateAt = cleanedAt + cleanedBytes
  if (epochCount === 0 || stateAt > body.length) return null
  const epochs: Epoch[] = []
  for (let at = BODY_HEADER_BYTES; epochs.length < epochCount; at += EPOCH_BYTES) {
    const [term, firstIndex, firstOffset] = [readU64(body, at), readU64(body, at + 8), readU64(body, at + 16)]
    const before = epochs.at(-1)
    if (before !== undefined && (term <= before.term || firstIndex <= before.firstIndex)) return null
    if (term < 1 || firstIndex < 1 || firstIndex > head.index || firstOffset < 0) return null
    epochs.push({ term, firstIndex, firstOffset })
  }
  if (epochs.at(-1)!.term !== head.entryTerm) return null
  const configuration = body.subarray(configurationAt, cleanedAt)
  const cleanedFrom = cleanedBytes === 0 ? null : readU64(body, cleanedAt)
  if (cleanedFrom !== null && (cleanedFrom < 0 || cleanedFrom >= head.nextOffset)) return null
  return { ...placeOf(head), epochs, configuration, cleanedFrom, state: body.subarray(stateAt) }
}
