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
import { batchBytesOf, lastOffsetOf } from '../records/index.ts'
import type { Shard } from '../replication/index.ts'
import { type Entry, EntryKind, payloadOf } from '../storage/index.ts'
import { checkLeaderEpoch, type EpochEnd, epochEndIn, epochOfOffset } from './epochs.ts'
import { KafkaError, type KafkaErrorCode } from './errors.ts'
import type { TimeIndex } from './time-index.ts'
import { type Asker, type OffsetDone, TimeLookups } from './time-lookup.ts'

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

const NO_SLICES: readonly Buffer[] = []

export class PartitionReader {
  readonly #shard: Shard
  readonly #lookups: TimeLookups
  #closed = false
  /** Reads and questions about offsets that wait for the leader to be settled. */
  #early: { readonly again: () => void; readonly refuse: (error: KafkaErrorCode) => void }[] = []

  constructor(shard: Shard, times: TimeIndex) {
    this.#shard = shard
    this.#lookups = new TimeLookups(shard, times, (leaderEpoch) => this.#refusalNow(leaderEpoch))
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
    this.#closed = true
    this.#lookups.close()
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

  /** Of one who cannot wait for the leader to be settled, or the partition to be there again. */
  #refusalNow(leaderEpoch: number): KafkaErrorCode {
    if (this.#closed) return KafkaError.UNKNOWN_TOPIC_OR_PARTITION
    const refusal = this.#refusal(leaderEpoch)
    if (refusal !== KafkaError.NONE || this.#shard.standing.settled) return refusal
    return KafkaError.NOT_LEADER_OR_FOLLOWER
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

  listOffset(timestamp: number, leaderEpoch: number, done: OffsetDone, asker: Asker): void {
    const shard = this.#shard
    const refuse = (error: KafkaErrorCode): void => done(error, -1, -1, -1)
    const refusal = this.#refusal(leaderEpoch)
    if (refusal !== KafkaError.NONE) {
      refuse(refusal)
      return
    }
    if (!shard.standing.settled) {
      // Refused, kafkajs' admin gives up: it asks again only for topics it does not know.
      this.#early.push({ again: () => this.listOffset(timestamp, leaderEpoch, done, asker), refuse })
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
        this.#lookups.largest(leaderEpoch, asker, done)
        return
      default:
        if (timestamp < 0) done(KafkaError.INVALID_REQUEST, -1, -1, -1)
        else this.#lookups.first(timestamp, leaderEpoch, asker, done)
    }
  }
}
