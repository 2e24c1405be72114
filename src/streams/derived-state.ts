/**
 * What a partition derives from its log, so that nobody has to read all of it: which batches idempotent producers have sent, where
 * to look for a time, how far compaction is decided. A function of the log, equal on all replicas at one index; this is the
 * partition's snapshot.
 *
 *     version u8 · reserved u8×3 · covered offset f64 · producers · time index · what was decided on compaction
 */
import {
  BATCH_HEADER_BYTES,
  baseOffsetOf,
  baseSequenceOf,
  batchBytesOf,
  isAppendTime,
  lastOffsetOf,
  maxTimestampOf,
  producerEpochOf,
  producerIdOf,
  recordCountOf,
} from '../records/index.ts'
import { decodeCompaction, decodeCut } from '../replication/index.ts'
import { assert } from '../stdx/index.ts'
import { type Entry, EntryKind, nextOffsetAfter } from '../storage/index.ts'
import { Compactions } from './compaction.ts'
import { type BatchMark, Producers, sequenceAfter } from './producers.ts'
import { TimeIndex } from './time-index.ts'

const SNAPSHOT_VERSION = 5
const SNAPSHOT_HEADER_BYTES = 12
/** With running maxima as time index. */
const SNAPSHOT_VERSION_4 = 4
/** And, as version 3, without what was decided on compaction; and without `coveredOffset`. */
const SNAPSHOT_VERSION_2 = 2
const SNAPSHOT_2_HEADER_BYTES = 4

export class DerivedState {
  readonly producers: Producers
  readonly times = new TimeIndex()
  readonly compactions = new Compactions()
  readonly #shard: number
  readonly #restoredEnd: number
  /** It knows the records below; those applied here may be behind that (`aheadOfLog`). */
  #coveredOffset = 0
  #appliedOffset = 0
  #appliedIndex = 0

  /** `restoredEnd`: what lies below came from a backup; 0 for nothing. */
  constructor(shard: number, newProducersFrom: number, restoredEnd: number) {
    this.#shard = shard
    this.#restoredEnd = restoredEnd
    this.producers = new Producers(newProducersFrom)
  }

  /** Placed at the start of a log (snapshot-taking.ts in replication) whose end it knows already. */
  get aheadOfLog(): boolean {
    const { compactions, times } = this
    return (
      this.#appliedOffset < this.#coveredOffset || this.#appliedIndex < Math.max(compactions.decidedAt, times.cutAt)
    )
  }

  /** True: the entry decides on compaction. */
  apply(entry: Entry, payload: Buffer): boolean {
    const nextOffset = nextOffsetAfter(entry)
    this.#appliedOffset = nextOffset
    this.#appliedIndex = entry.index
    if (entry.kind === EntryKind.cut) return this.#cut(entry.index, payload)
    if (entry.kind !== EntryKind.data || nextOffset <= this.#coveredOffset) return false
    this.#coveredOffset = nextOffset
    let bytes: number
    for (let at = 0; at < payload.length; at += bytes) {
      bytes = batchBytesOf(payload, at)
      assert(bytes >= BATCH_HEADER_BYTES, () => `shard ${entry.shard}: entry ${entry.index} holds no batch at ${at}`)
      this.times.add(baseOffsetOf(payload, at), maxTimestampOf(payload, at), bytes)
      // What was restored says nothing of this cluster's producers.
      const ours = baseOffsetOf(payload, at) >= this.#restoredEnd
      const producerId = ours ? producerIdOf(payload, at) : -1
      if (producerId !== -1) this.producers.commit(producerId, producerEpochOf(payload, at), markOf(payload, at))
    }
    return false
  }

  #cut(index: number, payload: Buffer): boolean {
    const compaction = decodeCompaction(payload)
    if (compaction !== null) this.compactions.decided(index, compaction)
    const start = decodeCut(payload)
    // What an older leader sent may be ahead of the log and not know of this cut: the log ends where it does.
    if (start !== null) this.times.cut(index, start.offset, Math.max(this.#appliedOffset, this.#coveredOffset))
    return compaction !== null
  }

  snapshot(): Buffer {
    const derivedBytes = this.producers.snapshotBytes + this.times.snapshotBytes + this.compactions.snapshotBytes
    const bytes = Buffer.alloc(SNAPSHOT_HEADER_BYTES + derivedBytes)
    bytes[0] = SNAPSHOT_VERSION
    bytes.writeDoubleLE(this.#coveredOffset, 4)
    const timesEnd = this.times.write(bytes, this.producers.write(bytes, SNAPSHOT_HEADER_BYTES))
    const end = this.compactions.write(bytes, timesEnd)
    assert(end === bytes.length, () => `shard ${this.#shard}: a snapshot measured as ${bytes.length} bytes took ${end}`)
    return bytes
  }

  restore(snapshot: Buffer): void {
    const [version] = snapshot
    const known = version! >= SNAPSHOT_VERSION_2 && version! <= SNAPSHOT_VERSION
    assert(known, () => `shard ${this.#shard}: a snapshot of version ${version}`)
    const from = version === SNAPSHOT_VERSION_2 ? SNAPSHOT_2_HEADER_BYTES : SNAPSHOT_HEADER_BYTES
    this.#coveredOffset = version === SNAPSHOT_VERSION_2 ? 0 : snapshot.readDoubleLE(4)
    this.#appliedOffset = 0
    this.#appliedIndex = 0
    const producersEnd = this.producers.read(snapshot, from)
    const { times } = this
    let end =
      version === SNAPSHOT_VERSION
        ? times.read(snapshot, producersEnd)
        : times.readRunningMaxima(snapshot, producersEnd)
    if (version! >= SNAPSHOT_VERSION_4) end = this.compactions.read(snapshot, end)
    else this.compactions.forget()
    assert(end === snapshot.length, () => `shard ${this.#shard}: ${snapshot.length} bytes of snapshot, read to ${end}`)
  }
}

/** What is remembered of a producer's batch. */
export function markOf(batch: Buffer, at: number): BatchMark {
  const firstSequence = baseSequenceOf(batch, at)
  return {
    firstSequence,
    lastSequence: sequenceAfter(firstSequence, recordCountOf(batch, at) - 1),
    baseOffset: baseOffsetOf(batch, at),
    lastOffset: lastOffsetOf(batch, at),
    appendTime: isAppendTime(batch, at) ? maxTimestampOf(batch, at) : -1,
  }
}
