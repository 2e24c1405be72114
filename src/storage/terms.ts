/**
 * An upper bound of every term that any shard of this disk was ever in, in a small file of its own, kept twice.
 *
 * A replica that has lost a part of its journal has lost votes: it knows that it may have voted, and not in which term. Whoever
 * forgets a vote may give it twice, and two leaders of one term are the end of everything (Raft §5.2). But it is enough to know a
 * term in which it has certainly *not* voted. So before a shard enters a term above the bound, the bound is raised, and by a step
 * that makes this rare: in ordinary life it is written once, when the directory is made. After a loss all shards go on in the term
 * above it, without a vote.
 *
 *      0  8 B  magic            "TIDETERM"
 *      8  u32  crc              CRC-32C of everything from byte 12 on
 *     12  u16  version
 *     14  u16  readableFrom
 *     16 16 B  diskIncarnation
 *     32  u64  ceiling          no shard of this disk was ever in a higher term
 *     40  u64  unknownFrom      what this disk had of some shards is lost, and it does not know of which: a shard of which it has
 *                               nothing begins in this term, as one that recovers; 0: a shard of which it has nothing is new
 *     48  u32  resetting        1: what is lost is being put aside, and the checkpoint is still the one of before
 *     52  u64  journalEntered   of the journal's blocks, the first that only its segment in service has; it was synced; 0: none is known
 *
 * The last field is here because it is the same kind of thing: what this disk has promised at least, for the day on which something
 * is missing. A file cannot say of itself that it is gone. The journal's last segment has no successor that would, and the
 * checkpoint may be older than it; so when its first block is on the disk, that is written down, in the background. The block that an
 * opening writes again does not count: the segment before ends with the same.
 */
import type { Disk } from '../platform/index.ts'
import { crc32c } from '../stdx/index.ts'
import { readU64, writeU64 } from './entry.ts'
import { StorageError } from './errors.ts'
import { termsFile } from './layout.ts'
import type { Procedure } from './procedure.ts'
import { isFull, type Room } from './room.ts'
import { replaceTwins } from './twin-files.ts'
import { newerFormat, readable, writeVersions } from './versions.ts'

export interface Terms {
  readonly diskIncarnation: string
  readonly ceiling: number
  readonly unknownFrom: number
  readonly resetting: boolean
  readonly journalEntered: number
}

const MAGIC = Buffer.from('TIDETERM', 'latin1')
export const TERMS_BYTES = 60
/** So many terms of all shards together between two writes. */
export const TERMS_STEP = 1024
/** Raised, in the background, when a shard comes this close to it. */
const MARGIN = 256

export function encodeTerms({ diskIncarnation, ceiling, unknownFrom, resetting, journalEntered }: Terms): Buffer {
  const bytes = Buffer.alloc(TERMS_BYTES)
  MAGIC.copy(bytes, 0)
  writeVersions(bytes, 12)
  bytes.write(diskIncarnation, 16, 16, 'hex')
  writeU64(bytes, ceiling, 32)
  writeU64(bytes, unknownFrom, 40)
  bytes.writeUInt32LE(resetting ? 1 : 0, 48)
  writeU64(bytes, journalEntered, 52)
  bytes.writeUInt32LE(crc32c(bytes.subarray(12)), 8)
  return bytes
}

export function decodeTerms(bytes: Buffer, file: string): Terms | StorageError {
  if (bytes.length < 16 || !bytes.subarray(0, 8).equals(MAGIC)) return damaged(file, 0)
  if (!readable(bytes, 12)) return newerFormat(file, bytes, 12)
  if (bytes.length !== TERMS_BYTES || crc32c(bytes.subarray(12)) !== bytes.readUInt32LE(8)) return damaged(file, 8)
  const [ceiling, unknownFrom, resetting] = [readU64(bytes, 32), readU64(bytes, 40), bytes.readUInt32LE(48)]
  const journalEntered = readU64(bytes, 52)
  if (ceiling < 0 || unknownFrom < 0 || unknownFrom > ceiling || resetting > 1 || journalEntered < 0)
    return damaged(file, 32)
  const diskIncarnation = bytes.toString('hex', 16, 32)
  return { diskIncarnation, ceiling, unknownFrom, resetting: resetting === 1, journalEntered }
}

function damaged(file: string, position: number): StorageError {
  return new StorageError({ code: 'TERMS_DAMAGED', file, position }, `${file} is damaged (byte ${position})`)
}

/** Of two whole files: both numbers only rise, and beside one ceiling first what is lost is noted, then put aside, then known. */
export function isLaterTerms(second: Terms, first: Terms): boolean {
  if (second.ceiling !== first.ceiling) return second.ceiling > first.ceiling
  if (second.journalEntered !== first.journalEntered) return second.journalEntered > first.journalEntered
  return first.resetting && !second.resetting
}

export interface TermCeilingCollaborators {
  readonly disk: Disk
  readonly room: Room
  readonly fatal: (error: StorageError) => void
}

export class TermCeiling {
  readonly #file: string
  readonly #the: TermCeilingCollaborators
  #terms: Terms
  /** What was asked for while the file is written. */
  #next: Terms | null = null
  #writing = false
  #onIdle: (() => void) | null = null
  #waiting: { readonly term: number; readonly done: () => void }[] = []

  constructor(directory: string, terms: Terms, collaborators: TermCeilingCollaborators) {
    this.#file = termsFile(directory)
    this.#terms = terms
    this.#the = collaborators
  }

  get latest(): Terms {
    return this.#next ?? this.#terms
  }

  /** As a start would find it: what begins while it is being written may have to begin again. */
  get unknownFrom(): number {
    return this.#terms.unknownFrom
  }

  /** A shard is about to enter `term`. True: it may, now. False: when `done` is called. */
  admits(term: number, done: () => void): boolean {
    const { latest } = this
    if (term + MARGIN > latest.ceiling) this.#write({ ...latest, ceiling: term + TERMS_STEP })
    if (this.#waiting.length === 0 && term <= this.#terms.ceiling) return true
    this.#waiting.push({ term, done })
    return false
  }

  /** Every shard that this disk may have forgotten is in its checkpoint by now. */
  allKnown(): void {
    const { latest } = this
    if (latest.unknownFrom > 0) this.#write({ ...latest, ceiling: latest.ceiling + 1, unknownFrom: 0 })
  }

  /** The journal has entered a segment, and this block, the first that no other segment has, is on the disk. */
  journalEntered(firstSequence: number): void {
    this.#write({ ...this.latest, journalEntered: firstSequence })
  }

  /** One of the copies is damaged. */
  rewrite(): void {
    this.#write(this.latest)
  }

  /** Once nothing is being written any more. */
  close(done: () => void): void {
    if (this.#writing) this.#onIdle = done
    else done()
  }

  #write(terms: Terms): void {
    this.#next = terms
    if (this.#writing) return
    this.#writing = true
    const attempt = (): Procedure<void> => this.#writeNext()
    const written = (error: Error | null): void => {
      this.#writing = false
      // What began when the write ended may have asked for more before this was told.
      if (error === null && this.#next !== null) return this.#write(this.#next)
      const onIdle = this.#onIdle
      this.#onIdle = null
      onIdle?.()
      // Given up, with the storage: whoever waits enters no new term any more.
      if (isFull(error)) return
      if (error !== null) {
        const details = { code: 'CHECKPOINT_FAILED', file: this.#file, reason: error.message } as const
        const message = `${this.#file} could not be written: ${error.message}`
        return this.#the.fatal(new StorageError(details, message, { cause: error }))
      }
      while (this.#waiting.length > 0 && this.#waiting[0]!.term <= this.#terms.ceiling) this.#waiting.shift()!.done()
    }
    this.#the.room.run('the bound of terms', attempt, written, true)
  }

  *#writeNext(): Procedure<void> {
    for (let next = this.#next; next !== null; next = this.#next) {
      yield* replaceTwins(this.#the.disk, this.#file, [encodeTerms(next)])
      this.#terms = next
      if (this.#next === next) this.#next = null
    }
  }
}
