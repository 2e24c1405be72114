/**
 * The journal: the node's one write-ahead log, for all its shards.
 *
 * A sync costs the same whatever it carries, and there is one disk. So nobody syncs for himself: whatever arrives while a
 * block is being written and synced waits, and becomes the next block. The busier the node, the larger its blocks; the number
 * of syncs does not grow with clients or shards (group commit; DeWitt et al., SIGMOD '84).
 *
 *     arrivals   a   b c  d   e f g      h
 *     blocks     [a─────sync][b c d──sync][e f g──sync][h──sync]
 *     told                   a            b c d        e f g
 *
 * Block n+1 is written only after block n was synced. That is what makes recovery able to tell a torn tail from damage
 * (recovery.ts), and it costs nothing: a second sync in flight would queue behind the first. A journal at rest writes an empty
 * block, so that its last entries have a successor as well: without one, a sector that rots a year later would read as a torn write.
 *
 * When a sync fails, nothing is known about the block, and a later sync that succeeds would not change that: the kernel has
 * marked the pages clean. There is one answer, `fatal`, and from then on the journal tells nobody anything.
 */

import type { Clock, DiskFile, PlatformError } from '../platform/index.ts'
import { assert } from '../stdx/index.ts'
import { BlockBuilder } from './block-builder.ts'
import type { Entry } from './entry.ts'
import { StorageError } from './errors.ts'
import type { StorageEvent } from './events.ts'
import { BLOCK_ALIGNMENT, BLOCK_BODY_BYTES_MAX, blockFootprint, encodeSegmentHeader } from './journal-format.ts'
import type { LastBlock } from './journal-scan.ts'
import { JournalSegment } from './journal-segment.ts'
import type { PreparedSegment, SegmentSupply } from './segment-supply.ts'

/** A block takes further calls until it is this large; a single larger call is one block. */
const BLOCK_BODY_BYTES_SOFT = 4 << 20
/** Each segment may be so many times as long as the one before, up to the full size. */
const SEGMENT_GROWTH = 4

export interface JournalStart {
  readonly diskIncarnation: string
  readonly incarnation: string
  readonly segmentBytes: number
  /** Nothing in it yet that counts. */
  readonly segment: PreparedSegment
  /** Segments that recovery read and that are still needed, ascending. */
  readonly older: JournalSegment[]
  readonly nextSequence: number
}

export interface JournalCollaborators {
  readonly clock: Clock
  readonly supply: SegmentSupply
  readonly trace: (event: StorageEvent) => void
  readonly fatal: (error: StorageError) => void
  /** A segment was closed: a checkpoint could free some. */
  readonly segmentClosed: () => void
  /** A segment is in service: a block is on the disk, the one with this sequence, that no other segment has. */
  readonly segmentEntered: (firstSequence: number) => void
  /** `Random.chance`. */
  readonly chance: (site: string) => boolean
}

interface Waiting {
  readonly entries: readonly Entry[]
  readonly bytes: number
  readonly done: () => void
}

export class Journal {
  readonly #start: JournalStart
  readonly #clock: Clock
  readonly #supply: SegmentSupply
  readonly #trace: (event: StorageEvent) => void
  readonly #fatal: (error: StorageError) => void
  readonly #segmentClosed: () => void
  readonly #segmentEntered: (firstSequence: number) => void
  readonly #chance: (site: string) => boolean
  readonly #builder: BlockBuilder
  /** Closed segments, ascending; the last blocks of the journal are in `#segment`. */
  readonly #closed: JournalSegment[]
  #segment: JournalSegment
  #file: DiskFile
  /** Where the next block goes in `#file`; 0 until the header was written, which goes together with the first block. */
  #position = 0
  #queue: Waiting[] = []
  #queuedBytes = 0
  /** Bytes of the block in flight. */
  #flyingBytes = 0
  /** writing: a block is in flight. telling: its callers are being told, and their answers join one block. */
  #state: 'idle' | 'writing' | 'telling' | 'failed' | 'closed' = 'idle'
  /** Sequence of the next block. Invariant: syncedSequence = nextSequence − 1 unless a block is in flight. */
  #nextSequence: number
  #syncedSequence: number
  #onIdle: (() => void) | null = null
  /** Reasons not to begin a block. */
  #holds = 0
  /** `segmentEntered` was called for `#segment`. */
  #toldEntered = false
  /** The segment before has it as well, so nothing is lost with this one's first block. */
  #rewrittenSequence = 0
  /** The last block has nothing that could be lost. */
  #proved = true
  /** `syncedSequence` when somebody last asked whether the journal is at rest. */
  #restedAt = 0
  /** While an opening waits for its first block: a failure refuses the start, and is not the end of a running node. */
  #rewriteFailed: ((error: StorageError) => void) | null = null

  constructor(start: JournalStart, collaborators: JournalCollaborators) {
    this.#start = start
    this.#clock = collaborators.clock
    this.#supply = collaborators.supply
    this.#trace = collaborators.trace
    this.#fatal = collaborators.fatal
    this.#segmentClosed = collaborators.segmentClosed
    this.#segmentEntered = collaborators.segmentEntered
    this.#chance = collaborators.chance
    this.#builder = new BlockBuilder(start.incarnation)
    this.#closed = start.older
    const { number, path, bytes, file } = start.segment
    this.#segment = new JournalSegment(number, path, bytes, start.nextSequence)
    this.#file = file
    this.#nextSequence = start.nextSequence
    this.#syncedSequence = start.nextSequence - 1
  }

  /** Every block up to here is on the disk. */
  get syncedSequence(): number {
    return this.#syncedSequence
  }

  /** No block that holds anything appended so far has a higher sequence. */
  get sequenceBound(): number {
    return this.#nextSequence + this.#queue.length
  }

  /** The first sequence that only the current segment, or none yet, holds. */
  get currentFirstSequence(): number {
    return this.#segment.firstSequence
  }

  get closedSegments(): readonly JournalSegment[] {
    return this.#closed
  }

  /** Handed to `append` and not yet on the disk. */
  get queuedBytes(): number {
    return this.#queuedBytes + this.#flyingBytes
  }

  /** The block that is being written and synced, 0 when there is none. */
  get blockInFlight(): number {
    return this.#state === 'writing' ? this.#nextSequence : 0
  }

  get failed(): boolean {
    return this.#state === 'failed'
  }

  append(entries: readonly Entry[], done: () => void): void {
    assert(this.#state !== 'closed', 'append to a closed journal')
    let bytes = 0
    for (const entry of entries) bytes += entry.bytes.length
    assert(bytes <= BLOCK_BODY_BYTES_MAX, () => `${bytes} bytes in one call`)
    this.#queue.push({ entries, bytes, done })
    this.#queuedBytes += bytes
    if (this.#state === 'idle' && this.#holds === 0) this.#writeBlock()
  }

  /** What is appended from now on is not written until as many releases. */
  hold(): void {
    this.#holds++
  }

  release(): void {
    this.#holds--
    if (this.#holds === 0 && this.#state === 'idle' && this.#queue.length > 0) this.#writeBlock()
  }

  /**
   * Called now and then. Where nothing was written since the last time, what was written last is given a successor. Not where the
   * file would have to grow for it: the next opening proves the end, as it always does.
   */
  proveEnd(): void {
    const rests = this.#state === 'idle' && this.#holds === 0 && this.#restedAt === this.#syncedSequence
    this.#restedAt = this.#syncedSequence
    if (!rests || this.#proved || this.#position + blockFootprint(0) > this.#segment.bytes) return
    this.append([], () => {})
  }

  /**
   * The last block that recovery read, once more, as the first of this opening: only a block that was synced under our eyes,
   * or has a successor, is known to be on the disk.
   */
  rewrite({ body, entryCount, entries }: LastBlock, done: (error: StorageError | null) => void): void {
    assert(this.#state === 'idle' && this.#position === 0, 'rewrite is the first block')
    this.#rewriteFailed = done
    this.#rewrittenSequence = this.#nextSequence
    for (const entry of entries) this.#segment.note(entry)
    const pieces = this.#builder.rebuild(body, entryCount, this.#nextSequence)
    this.#write(pieces, body.length, entryCount, [
      {
        entries,
        bytes: 0,
        done: () => {
          this.#rewriteFailed = null
          done(null)
        },
      },
    ])
  }

  /** What was journaled of the shard's log so far no longer counts, so no segment is held for it. */
  forgetEntries(shard: number): void {
    for (const segment of this.#closed) segment.forgetEntries(shard)
    this.#segment.forgetEntries(shard)
  }

  /** Removes from the list what a checkpoint has freed; the caller does something with the files. */
  forget(count: number): JournalSegment[] {
    return this.#closed.splice(0, count)
  }

  /** Waits for what was appended, then closes the file. */
  close(done: () => void): void {
    if (this.#state === 'writing' || this.#state === 'telling') {
      this.#onIdle = () => this.close(done)
      return
    }
    this.#state = 'closed'
    this.#supply.close(() => this.#file.close(() => done()))
  }

  #writeBlock(): void {
    const calls: Waiting[] = []
    const first = this.#queue[0]!
    let entries = first.entries
    let bytes = 0
    let count = 0
    const bytesMax = this.#chance('storage/batch-of-one') ? 0 : BLOCK_BODY_BYTES_SOFT
    for (const call of this.#queue) {
      if (count > 0 && bytes + call.bytes > bytesMax) break
      bytes += call.bytes
      count++
    }
    if (count === this.#queue.length) {
      calls.push(...this.#queue)
      this.#queue = []
    } else calls.push(...this.#queue.splice(0, count))
    if (count > 1) entries = calls.flatMap((call) => call.entries)
    this.#queuedBytes -= bytes
    this.#enterSegmentFor(blockFootprint(bytes))
    for (const entry of entries) this.#segment.note(entry)
    this.#write(this.#builder.build(entries, bytes, this.#nextSequence), bytes, entries.length, calls)
  }

  /** Leaves the segment when the block does not fit and the next one is ready; otherwise the file grows, a little slower. */
  #enterSegmentFor(footprint: number): void {
    const segment = this.#segment
    const full = this.#position + footprint > segment.bytes || this.#chance('storage/roll-journal')
    if (this.#position > 0 && full) {
      const prepared = this.#supply.take()
      if (prepared !== null) {
        // All of it was synced: this runs between two blocks.
        this.#file.close(() => {})
        this.#closed.push(segment)
        this.#segment = new JournalSegment(prepared.number, prepared.path, prepared.bytes, this.#nextSequence)
        this.#file = prepared.file
        this.#position = 0
        this.#toldEntered = false
        this.#trace({ type: 'segment-entered', number: prepared.number, firstSequence: this.#nextSequence })
        this.#clock.endOfTurn(this.#segmentClosed)
      }
    }
    // Not before half of this one is used: an idle node keeps its first small segment and no more.
    const { number, bytes } = this.#segment
    if (this.#position + footprint > bytes / 2 && this.#supply.idle)
      this.#supply.prepare(number + 1, bytes * SEGMENT_GROWTH)
  }

  #write(block: Uint8Array[], bodyBytes: number, entryCount: number, calls: Waiting[]): void {
    this.#state = 'writing'
    this.#flyingBytes = bodyBytes
    const started = this.#clock.now()
    const footprint = blockFootprint(bodyBytes)
    const position = this.#position
    const pieces = position === 0 ? [this.#header(), ...block] : block
    if (position === 0) this.#position = BLOCK_ALIGNMENT
    const file = this.#file
    file.write(pieces, position, (failure) => {
      if (failure !== null) return this.#fail('write', failure)
      file.datasync((failure) => {
        if (failure !== null) return this.#fail('sync', failure)
        const sequence = this.#nextSequence
        this.#syncedSequence = sequence
        this.#nextSequence = sequence + 1
        this.#segment.lastSequence = sequence
        this.#position += footprint
        if (this.#position > this.#segment.bytes) this.#segment.bytes = this.#position
        this.#flyingBytes = 0
        this.#proved = entryCount === 0
        const microseconds = Math.round((this.#clock.now() - started) * 1000)
        // The disk first: the next block is on its way while this one's callers are being told.
        if (this.#queue.length > 0 && this.#holds === 0) this.#writeBlock()
        else this.#state = 'telling'
        this.#trace({
          type: 'journal-synced',
          blocks: 1,
          bytes: bodyBytes,
          entries: entryCount,
          microseconds,
          sequence,
        })
        for (const call of calls) call.done()
        if (!this.#toldEntered && sequence > this.#rewrittenSequence) {
          this.#toldEntered = true
          this.#segmentEntered(sequence)
        }
        if (this.#state === 'telling') this.#told()
      })
    })
  }

  /** After the callers were told: what they appended becomes one block. */
  #told(): void {
    if (this.#queue.length > 0 && this.#holds === 0) {
      this.#writeBlock()
      return
    }
    this.#state = 'idle'
    const onIdle = this.#onIdle
    this.#onIdle = null
    onIdle?.()
  }

  #header(): Buffer {
    const { diskIncarnation, incarnation } = this.#start
    const { number, firstSequence } = this.#segment
    return encodeSegmentHeader({ diskIncarnation, incarnation, number, firstSequence })
  }

  #fail(operation: 'write' | 'sync', cause: PlatformError): void {
    this.#state = 'failed'
    this.#queue = []
    const file = this.#segment.path
    const full = cause.code === 'DISK_FULL' ? 'the disk is full: make room and start the node again' : cause.message
    const error = new StorageError(
      { code: 'JOURNAL_FAILED', file, operation, reason: cause.code },
      `the journal could not ${operation} ${file}, so what it was asked to keep may not be on the disk: ${full}`,
      { cause },
    )
    this.#trace({ type: 'storage-failed', code: error.code, message: error.message })
    if (this.#rewriteFailed !== null) this.#rewriteFailed(error)
    else this.#fatal(error)
    this.#onIdle?.()
  }
}
