/**
 * Reading a partition: batches for a fetch, and offsets for a time.
 *
 * Only what is at or below the high-water mark is ever read, and only a leader answers that has made sure of being one: a
 * process that slept through its own replacement still holds committed records, but its mark is of the past, and showing it
 * would let a reader see time go backwards. So would a leader that was only just elected: until an entry of its own term
 * is committed, its mark may be behind what its predecessor acknowledged. Reads that come in those milliseconds wait.
 *
 * Records are served as they lie in the log, in slices of its entries. An offset in the middle of a batch is answered with the
 * whole batch: the client skips what it did not ask for, and one that were given less would stop at that place for ever.
 */
import {
  baseOffsetOf,
  batchBytesOf,
  forEachRecord,
  lastOffsetOf,
  leaderEpochOf,
  maxTimestampOf,
  RecordsError,
  recordCountOf,
} from '../records/index.ts'
import type { Shard } from '../replication/index.ts'
import { type Entry, EntryKind, payloadOf } from '../storage/index.ts'
import { checkLeaderEpoch, type EpochEnd, epochEndIn, epochOfOffset } from './epochs.ts'
import { KafkaError, type KafkaErrorCode } from './errors.ts'
import type { TimeIndex } from './time-index.ts'

/** The answer to one partition of a fetch. The slices are whole batches, in order, not to be changed. */
export interface FetchResult {
  readonly error: KafkaErrorCode
  readonly highWatermark: number
  readonly logStartOffset: number
  readonly lastStableOffset: number
  readonly slices: readonly Buffer[]
  readonly bytes: number
}

/** Timestamps with a meaning of their own in ListOffsets. */
export const ListOffset = { latest: -1, earliest: -2, maxTimestamp: -3, earliestLocal: -4, latestTiered: -5 } as const

export type OffsetDone = (error: KafkaErrorCode, offset: number, timestamp: number, leaderEpoch: number) => void

const NO_SLICES: readonly Buffer[] = []
const SCAN_BYTES = 1 << 20

export class PartitionReader {
  readonly #shard: Shard
  readonly #times: TimeIndex
  /** Reads and questions about offsets that wait for the leader to be settled. */
  #early: { readonly again: () => void; readonly refuse: (error: KafkaErrorCode) => void }[] = []

  constructor(shard: Shard, times: TimeIndex) {
    this.#shard = shard
    this.#times = times
  }

  read(
    offset: number,
    maxBytes: number,
    atLeastOne: boolean,
    leaderEpoch: number,
    done: (result: FetchResult) => void,
  ): FetchResult | null {
    const shard = this.#shard
    const refusal = this.#refusal(leaderEpoch)
    if (refusal !== KafkaError.NONE) return this.#result(refusal)
    if (!shard.standing.settled) {
      const again = (): void => {
        const result = this.read(offset, maxBytes, atLeastOne, leaderEpoch, done)
        if (result !== null) done(result)
      }
      this.#early.push({ again, refuse: (error) => done(this.#result(error)) })
      return null
    }
    if (offset < shard.startOffset || offset > shard.endOffset) return this.#result(KafkaError.OFFSET_OUT_OF_RANGE)
    if (offset >= shard.committedOffset || (maxBytes <= 0 && !atLeastOne)) return this.#result(KafkaError.NONE)
    const entries = shard.readCommitted(offset, Math.max(1, maxBytes), (error, read) => {
      // The log may have been cut while it was read.
      if (error !== null && offset < shard.startOffset) done(this.#result(KafkaError.OFFSET_OUT_OF_RANGE))
      else if (error !== null) done(this.#result(KafkaError.KAFKA_STORAGE_ERROR))
      else done(this.#collect(read, offset, maxBytes, atLeastOne, leaderEpoch))
    })
    return entries === null ? null : this.#collect(entries, offset, maxBytes, atLeastOne, leaderEpoch)
  }

  /** The leader is settled, or leads no more: what waited for that can be answered. */
  standingKnown(): void {
    const early = this.#early
    this.#early = []
    for (const { again } of early) again()
  }

  /** The partition was deleted: there is nothing to wait for. */
  close(): void {
    const early = this.#early
    this.#early = []
    for (const { refuse } of early) refuse(KafkaError.UNKNOWN_TOPIC_OR_PARTITION)
  }

  #collect(
    entries: readonly Entry[],
    offset: number,
    maxBytes: number,
    atLeastOne: boolean,
    leaderEpoch: number,
  ): FetchResult {
    // A read from disk took its time: the leadership may have ended meanwhile, and even begun anew.
    const refusal = this.#refusal(leaderEpoch)
    if (refusal !== KafkaError.NONE) return this.#result(refusal)
    if (!this.#shard.standing.settled) return this.#result(KafkaError.NOT_LEADER_OR_FOLLOWER)
    // And the log may have been cut. What is gone is not shown, though it was found.
    if (offset < this.#shard.startOffset) return this.#result(KafkaError.OFFSET_OUT_OF_RANGE)
    const slices: Buffer[] = []
    let bytes = 0
    for (const entry of entries) {
      if (entry.kind !== EntryKind.data) continue
      const payload = payloadOf(entry)
      let from = 0
      if (bytes === 0)
        while (from < payload.length && lastOffsetOf(payload, from) < offset) from += batchBytesOf(payload, from)
      let to = from
      if (bytes + payload.length - from <= maxBytes) to = payload.length
      else {
        while (to < payload.length) {
          const batch = batchBytesOf(payload, to)
          const first = bytes === 0 && to === from
          if (bytes + (to - from) + batch > maxBytes && !(first && atLeastOne)) break
          to += batch
        }
      }
      if (to > from) {
        slices.push(payload.subarray(from, to))
        bytes += to - from
      }
      if (to < payload.length) break
    }
    return this.#result(KafkaError.NONE, slices, bytes)
  }

  #refusal(leaderEpoch: number): KafkaErrorCode {
    const { role, term, settled } = this.#shard.standing
    const stale = checkLeaderEpoch(leaderEpoch, term)
    if (stale !== KafkaError.NONE) return stale
    if (role !== 'leader') return KafkaError.NOT_LEADER_OR_FOLLOWER
    // Before it is settled nobody may be told where the log ends: reads and questions about offsets wait for that.
    return settled && !this.#shard.leadsNow() ? KafkaError.NOT_LEADER_OR_FOLLOWER : KafkaError.NONE
  }

  /** An empty answer with the marks of this moment; they are −1 where this replica may not state them. */
  #result(error: KafkaErrorCode, slices: readonly Buffer[] = NO_SLICES, bytes = 0): FetchResult {
    const known = error === KafkaError.NONE || error === KafkaError.OFFSET_OUT_OF_RANGE
    const highWatermark = known ? this.#shard.committedOffset : -1
    const logStartOffset = known ? this.#shard.startOffset : -1
    return { error, highWatermark, logStartOffset, lastStableOffset: highWatermark, slices, bytes }
  }

  /** Of a leader that is not settled: refused. It is asked while a client truncates, and every client asks again. */
  epochEnd(requested: number, leaderEpoch: number): EpochEnd & { readonly error: KafkaErrorCode } {
    const refusal = this.#refusal(leaderEpoch)
    const error =
      refusal === KafkaError.NONE && !this.#shard.standing.settled ? KafkaError.OFFSET_NOT_AVAILABLE : refusal
    if (error !== KafkaError.NONE) return { error, leaderEpoch: -1, endOffset: -1 }
    return { error, ...epochEndIn(this.#shard.epochs, requested, this.#shard.committedOffset) }
  }

  listOffset(timestamp: number, leaderEpoch: number, done: OffsetDone): void {
    const shard = this.#shard
    const refuse = (error: KafkaErrorCode): void => done(error, -1, -1, -1)
    const refusal = this.#refusal(leaderEpoch)
    if (refusal !== KafkaError.NONE) {
      refuse(refusal)
      return
    }
    if (!shard.standing.settled) {
      // Refused, kafkajs' admin gives up: it asks again only for topics it does not know.
      this.#early.push({ again: () => this.listOffset(timestamp, leaderEpoch, done), refuse })
      return
    }
    switch (timestamp) {
      case ListOffset.latest:
        done(KafkaError.NONE, shard.committedOffset, -1, epochOfOffset(shard.epochs, shard.committedOffset))
        return
      case ListOffset.earliest:
      case ListOffset.earliestLocal:
        done(KafkaError.NONE, shard.startOffset, -1, epochOfOffset(shard.epochs, shard.startOffset))
        return
      case ListOffset.latestTiered:
        done(KafkaError.NONE, -1, -1, -1) // Nothing is tiered.
        return
      case ListOffset.maxTimestamp:
        this.#largest(done)
        return
      default:
        if (timestamp < 0) done(KafkaError.INVALID_REQUEST, -1, -1, -1)
        else this.#firstAt(timestamp, this.#times.startFor(timestamp), done)
    }
  }

  #largest(done: OffsetDone): void {
    const { maximum, maximumOffset } = this.#times
    if (maximumOffset < 0) done(KafkaError.NONE, -1, -1, -1)
    else if (maximumOffset < this.#shard.startOffset) this.#largestLeft(done)
    else
      this.#firstAt(maximum, maximumOffset, (error, offset, ...rest) => {
        if (error !== KafkaError.NONE || offset >= 0) done(error, offset, ...rest)
        else this.#largestLeft(done)
      })
  }

  /** The record with the largest timestamp of all was cut or compacted away: look for the largest of what is left. */
  #largestLeft(done: OffsetDone): void {
    let largest = Number.NEGATIVE_INFINITY
    let at = 0
    const look = (payload: Buffer, position: number) => {
      const candidate = largestTimestampFrom(payload, position, this.#shard.startOffset)
      if (candidate > largest) {
        largest = candidate
        at = baseOffsetOf(payload, position)
      }
      return true
    }
    this.#scan(this.#shard.startOffset, look, (error) => {
      if (error !== KafkaError.NONE) done(error, -1, -1, -1)
      else if (largest === Number.NEGATIVE_INFINITY) done(KafkaError.NONE, -1, -1, -1)
      else this.#firstAt(largest, at, done)
    })
  }

  /** The first visible record, not before `from`, that is not older than `timestamp`. */
  #firstAt(timestamp: number, from: number, done: OffsetDone): void {
    if (timestamp > this.#times.maximum) {
      done(KafkaError.NONE, -1, -1, -1)
      return
    }
    let offset = -1
    let found = -1
    let epoch = -1
    const start = Math.max(from, this.#shard.startOffset)
    const look = (payload: Buffer, position: number) => {
      if (maxTimestampOf(payload, position) < timestamp) return true
      const visit = (at: number, recordTimestamp: number) => {
        if (recordTimestamp < timestamp || at < start) return true
        offset = at
        found = recordTimestamp
        return false
      }
      try {
        forEachRecord(payload, position, (record) => visit(record.offset, record.timestamp))
      } catch (error) {
        if (!(error instanceof RecordsError)) throw error
        // A batch that its producer compressed into nonsense: its header is all there is, and starting there loses nothing.
        visit(Math.max(start, baseOffsetOf(payload, position)), maxTimestampOf(payload, position))
      }
      epoch = leaderEpochOf(payload, position)
      return offset < 0
    }
    this.#scan(start, look, (error) => {
      if (error !== KafkaError.NONE || offset < 0) done(error, -1, -1, -1)
      else done(KafkaError.NONE, offset, found, epoch)
    })
  }

  /** Shows the batches from the one that holds `offset` on, until `look` returns false or the mark is reached. */
  #scan(offset: number, look: (payload: Buffer, at: number) => boolean, done: (error: KafkaErrorCode) => void): void {
    /** The offset to go on from, −1 when enough was seen. */
    const consume = (entries: readonly Entry[]): number => {
      let next = -1
      for (const entry of entries) {
        next = entry.firstOffset + entry.recordCount
        if (entry.kind !== EntryKind.data) continue
        const payload = payloadOf(entry)
        for (let at = 0; at < payload.length; at += batchBytesOf(payload, at)) {
          if (lastOffsetOf(payload, at) >= offset && !look(payload, at)) return -1
        }
      }
      return next
    }
    const from = (start: number): void => {
      let at = start
      while (at >= 0 && at < this.#shard.committedOffset) {
        const entries = this.#shard.readCommitted(at, SCAN_BYTES, (error, read) => {
          if (error !== null && at < this.#shard.startOffset) from(this.#shard.startOffset)
          else if (error !== null) done(KafkaError.KAFKA_STORAGE_ERROR)
          else from(consume(read))
        })
        if (entries === null) return
        at = consume(entries)
      }
      done(KafkaError.NONE)
    }
    from(offset)
  }
}

/** Of the batch's records from `start` on: the log may begin in the middle of it. */
function largestTimestampFrom(payload: Buffer, position: number, start: number): number {
  // What compaction has left of a producer's last batch.
  if (recordCountOf(payload, position) === 0) return Number.NEGATIVE_INFINITY
  if (baseOffsetOf(payload, position) >= start) return maxTimestampOf(payload, position)
  let largest = Number.NEGATIVE_INFINITY
  try {
    forEachRecord(payload, position, ({ offset, timestamp }) => {
      if (offset >= start && timestamp > largest) largest = timestamp
      return true
    })
  } catch (error) {
    if (!(error instanceof RecordsError)) throw error
    return maxTimestampOf(payload, position)
  }
  return largest
}
