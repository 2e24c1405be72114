/**
 * Which record is the first that is not older than a time, and which is the newest of all: answered exactly, by reading.
 *
 * The time index says where it is worth reading; what it says is a bound. A record that it speaks of may have been cut or compacted
 * away, and a producer that compresses may have overstated its newest record, which only unpacking shows. So a lookup reads piece by
 * piece, and asks the index anew after each:
 *
 *      the index:   ≤ 9   │  ≤ 40  │  ≤ 12  │  ≤ 50      t = 30
 *      read:                ──────            ───►        no record of 40 or so is left; the next place is this
 *
 * A piece is from disk, so a lookup may take long. Three things bound what it costs the others:
 *   - of a partition's lookups one reads from disk at a time, a piece, then it is the next one's turn;
 *   - before every piece it is asked whether there is still somebody who wants to know, and whether this is still the leader;
 *   - what memory holds is answered at once, and read in one go: the tail has a limit (`tailCacheBytes`), and of its batches
 *     only those are unpacked whose headers promise an answer.
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
import { type Entry, EntryKind, nextOffsetAfter, payloadOf } from '../storage/index.ts'
import { KafkaError, type KafkaErrorCode } from './errors.ts'
import type { TimeIndex, TimeSpan } from './time-index.ts'

export type OffsetDone = (error: KafkaErrorCode, offset: number, timestamp: number, leaderEpoch: number) => void

/** Who wants to know; once he is gone (`isOpen` false) nobody is told. */
export interface Asker {
  readonly isOpen: boolean
}

interface Found {
  readonly offset: number
  readonly timestamp: number
  readonly leaderEpoch: number
}

interface Question {
  readonly found: Found | null
  /** Where to read on, which is not before `at`; −1: it is answered, or there is no answer. */
  readFrom(at: number): number
  /** The batches that were read there, an entry's in each. */
  look(payloads: readonly Buffer[]): void
}

interface Lookup {
  readonly question: Question
  readonly leaderEpoch: number
  readonly asker: Asker
  readonly done: OffsetDone
  /** What lies below was looked at. */
  at: number
}

const PIECE_BYTES = 1 << 20

export class TimeLookups {
  readonly #shard: Shard
  readonly #times: TimeIndex
  readonly #refusal: (leaderEpoch: number) => KafkaErrorCode
  /** Those whose turn it is not, while one reads from disk. */
  #waiting: Lookup[] = []
  #reading = false

  /** `refusal`: why this node may not answer at this moment. */
  constructor(shard: Shard, times: TimeIndex, refusal: (leaderEpoch: number) => KafkaErrorCode) {
    this.#shard = shard
    this.#times = times
    this.#refusal = refusal
  }

  /** The first record that is not older. May answer before it returns. */
  first(timestamp: number, leaderEpoch: number, asker: Asker, done: OffsetDone): void {
    this.#begin({ question: new First(this.#shard, this.#times, timestamp), leaderEpoch, asker, done, at: 0 })
  }

  /** The first of the records with the largest timestamp. May answer before it returns. */
  largest(leaderEpoch: number, asker: Asker, done: OffsetDone): void {
    this.#begin({ question: new Largest(this.#shard, this.#times), leaderEpoch, asker, done, at: 0 })
  }

  /** What waits for its turn is refused at once; what reads, when it has read. */
  close(): void {
    for (const lookup of this.#waiting.splice(0)) this.#goOn(lookup)
  }

  #begin(lookup: Lookup): void {
    if (this.#reading) this.#waiting.push(lookup)
    else this.#goOn(lookup)
  }

  #goOn(lookup: Lookup): void {
    const { question, leaderEpoch, asker, done } = lookup
    for (;;) {
      if (!asker.isOpen) return
      const refusal = this.#refusal(leaderEpoch)
      if (refusal !== KafkaError.NONE) return done(refusal, -1, -1, -1)
      const from = question.readFrom(lookup.at)
      if (from < 0 || from >= this.#shard.committedOffset) return answer(question, done)
      const entries = this.#shard.readCommitted(from, PIECE_BYTES, (error, read) => {
        this.#reading = false
        if (error === null) this.#look(lookup, read)
        // Where the log was cut meanwhile the question begins where it starts now; and of a log that is gone nothing is said but that.
        else if (from >= this.#shard.startOffset && this.#refusal(leaderEpoch) === KafkaError.NONE)
          return this.#nextTurn(() => done(KafkaError.KAFKA_STORAGE_ERROR, -1, -1, -1))
        this.#nextTurn(() => this.#begin(lookup))
      })
      if (entries === null) {
        this.#reading = true
        return
      }
      this.#look(lookup, entries)
    }
  }

  #look(lookup: Lookup, entries: readonly Entry[]): void {
    lookup.question.look(entries.filter(({ kind }) => kind === EntryKind.data).map(payloadOf))
    const last = entries.at(-1)
    lookup.at = last === undefined ? this.#shard.committedOffset : nextOffsetAfter(last)
  }

  /** Those who wait, until one reads from disk again; then `after`. */
  #nextTurn(after: () => void): void {
    while (!this.#reading && this.#waiting.length > 0) this.#goOn(this.#waiting.shift()!)
    after()
  }
}

function answer({ found }: Question, done: OffsetDone): void {
  if (found === null) done(KafkaError.NONE, -1, -1, -1)
  else done(KafkaError.NONE, found.offset, found.timestamp, found.leaderEpoch)
}

class First implements Question {
  found: Found | null = null
  readonly #shard: Shard
  readonly #times: TimeIndex
  readonly #timestamp: number

  constructor(shard: Shard, times: TimeIndex, timestamp: number) {
    this.#shard = shard
    this.#times = times
    this.#timestamp = timestamp
  }

  readFrom(at: number): number {
    return this.found === null ? this.#times.nextFrom(this.#timestamp, Math.max(at, this.#shard.startOffset)) : -1
  }

  look(payloads: readonly Buffer[]): void {
    // As of now: the log may have been cut while this was read, and what is gone is no answer, though it was found.
    const { startOffset } = this.#shard
    for (const payload of payloads) {
      for (let at = 0; at < payload.length; at += batchBytesOf(payload, at)) {
        if (maxTimestampOf(payload, at) < this.#timestamp) continue
        visitTimes(payload, at, startOffset, (offset, timestamp) => {
          if (timestamp < this.#timestamp) return true
          this.found = { offset, timestamp, leaderEpoch: leaderEpochOf(payload, at) }
          return false
        })
        if (this.found !== null) return
      }
    }
  }
}

/** Looks where the index promises most, and goes on while another place promises more than was found. */
class Largest implements Question {
  found: Found | null = null
  readonly #shard: Shard
  readonly #times: TimeIndex
  /** Those that promise most last; what comes later was not there when the question was put. */
  #spans: TimeSpan[]
  #span: TimeSpan | null = null

  constructor(shard: Shard, times: TimeIndex) {
    this.#shard = shard
    this.#times = times
    this.#spans = byPromise(times)
  }

  readFrom(at: number): number {
    const { startOffset } = this.#shard
    if (this.found !== null && this.found.offset < startOffset) {
      // Cut while others were looked at: what it outshone counts again. There is no more of this than there are cuts.
      this.found = null
      this.#spans = byPromise(this.#times)
      this.#span = null
    }
    if (this.#span !== null && at < this.#span.to) return Math.max(at, startOffset)
    for (;;) {
      this.#span = this.#spans.pop() ?? null
      if (this.#span === null) return -1
      const { from, to, maximum } = this.#span
      if (to > startOffset && this.#outshines(maximum, from)) return Math.max(from, startOffset)
    }
  }

  look(payloads: readonly Buffer[]): void {
    const { startOffset } = this.#shard
    const promising: { readonly payload: Buffer; readonly at: number; readonly maximum: number }[] = []
    for (const payload of payloads) {
      for (let at = 0; at < payload.length; at += batchBytesOf(payload, at)) {
        const maximum = maxTimestampOf(payload, at)
        if (this.#outshines(maximum, baseOffsetOf(payload, at))) promising.push({ payload, at, maximum })
      }
    }
    // Those that promise most first: where they keep it, no other is unpacked.
    promising.sort((a, b) => b.maximum - a.maximum)
    for (const { payload, at, maximum } of promising) {
      if (!this.#outshines(maximum, baseOffsetOf(payload, at))) continue
      visitTimes(payload, at, startOffset, (offset, timestamp) => {
        if (this.#outshines(timestamp, offset))
          this.found = { offset, timestamp, leaderEpoch: leaderEpochOf(payload, at) }
        return true
      })
    }
  }

  #outshines(timestamp: number, offset: number): boolean {
    const { found } = this
    if (found === null) return true
    return timestamp > found.timestamp || (timestamp === found.timestamp && offset < found.offset)
  }
}

function byPromise(times: TimeIndex): TimeSpan[] {
  return times.spans().sort((a, b) => a.maximum - b.maximum || b.from - a.from)
}

/** The batch's records from `start` on (the log may begin in the middle of it), until `visit` returns false. */
function visitTimes(
  payload: Buffer,
  at: number,
  start: number,
  visit: (offset: number, timestamp: number) => boolean,
): void {
  // What compaction leaves of a producer's last batch has no records; what was cut has none that count.
  if (recordCountOf(payload, at) === 0 || lastOffsetOf(payload, at) < start) return
  try {
    forEachRecord(payload, at, ({ offset, timestamp }) => offset < start || visit(offset, timestamp))
  } catch (error) {
    if (!(error instanceof RecordsError)) throw error
    // A batch that its producer compressed into nonsense: its header is all there is, and starting there loses nothing.
    visit(Math.max(start, baseOffsetOf(payload, at)), maxTimestampOf(payload, at))
  }
}
