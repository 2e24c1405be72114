/**
 * A shard for the tests of partitions that behaves as the driver's does, in the order in which the driver calls, with the
 * quorum under the test's control: `turn` takes the draft, `commit` moves the mark, `depose` and `elect` change the standing.
 * And a clock that only moves when told.
 */
import type { Clock, Timer } from '../platform/index.ts'
import { encodeBatch, type RecordInput } from '../records/index.ts'
import type { CutReason, Epoch, LowWaterMark, Pin, Shard, Standing } from '../replication/index.ts'
import { type Compaction, encodeCompaction, encodeCut } from '../replication/index.ts'
import {
  type CleaningRequest,
  type Entry,
  EntryKind,
  encodeEntry,
  type LogStart,
  nextOffsetAfter,
  type SegmentFacts,
  type SegmentLimits,
} from '../storage/index.ts'
import type { StreamsEvent } from './events.ts'
import { Partition } from './partition.ts'
import { PARTITION_SETTINGS_DEFAULTS, type PartitionSettings } from './partition-settings.ts'
import type { ProduceWaiter } from './produce-waiters.ts'
import type { RestoredPart } from './restored-range.ts'

export class ManualClock implements Clock {
  time = 1000
  #timers: { at: number; callback: () => void }[] = []
  #endOfTurn: (() => void)[] = []

  now(): number {
    return this.time
  }

  wall(): number {
    return 1_700_000_000_000 + this.time
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer = { at: this.time + delayMs, callback }
    this.#timers.push(timer)
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((one) => one !== timer)
      },
    }
  }

  every(): Timer {
    throw new Error('no test needs it')
  }

  endOfTurn(callback: () => void): void {
    this.#endOfTurn.push(callback)
  }

  get timers(): number {
    return this.#timers.length
  }

  turn(): void {
    while (this.#endOfTurn.length > 0) this.#endOfTurn.shift()!()
  }

  advance(ms: number): void {
    const until = this.time + ms
    for (;;) {
      const due = this.#timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0]
      if (due === undefined) break
      this.time = Math.max(this.time, due.at)
      this.#timers = this.#timers.filter((timer) => timer !== due)
      due.callback()
      this.turn()
    }
    this.time = until
  }
}

export class ManualShard implements Shard {
  readonly id = 16
  readonly log: Entry[] = []
  standing: Standing = { role: 'follower', term: 0, leader: null, settled: false }
  hasRoom = true
  refusal: string | null = null
  sure = true
  startOffset = 0
  startIndex = 1
  commitIndex = 0
  /** What the leader was asked to cut, and has not proposed yet. */
  readonly cuts: { readonly start: LogStart; readonly reason: CutReason }[] = []
  readonly pins = new Set<Pin>()
  readonly compactions: Compaction[] = []
  readonly cleanings: CleaningRequest[] = []
  files: SegmentFacts[] = []
  limits: Partial<SegmentLimits> = {}
  lowWaterMark: LowWaterMark = { moved: null, heldBy: null, floorWaitsFor: null, untilSnapshot: null }
  /** Reads complete only when the test says so. */
  slowReads = false
  readonly #awaitingReads: (() => void)[] = []
  #machine: Partition | null = null
  #requested = false

  attach(machine: Partition): void {
    this.#machine = machine
  }

  get machine(): Partition {
    return this.#machine!
  }

  requestProposal(): void {
    this.#requested = true
  }

  onRoom(): void {}

  requestCut(start: LogStart, reason: CutReason): void {
    this.cuts.push({ start, reason })
  }

  /** The cut that was asked for last is committed. */
  cut(): void {
    const { start, reason } = this.cuts.splice(0).at(-1)!
    this.append(EntryKind.cut, this.standing.term, 0, [encodeCut(start, reason)])
    this.startIndex = start.index
    this.startOffset = start.offset
    this.lowWaterMark = { ...this.lowWaterMark, moved: { start, reason } }
    this.commit()
  }

  cleansAtOnce = true
  shownBelow = Number.MAX_SAFE_INTEGER

  /** Looks that found none due. */
  floorsNotDue = 0

  requestCompaction(compaction: Compaction | null): void {
    if (compaction === null) this.floorsNotDue++
    else this.compactions.push(compaction)
  }

  clean(request: CleaningRequest): boolean {
    this.cleanings.push(request)
    return this.cleansAtOnce
  }

  shownFor(): number {
    return this.shownBelow
  }

  /** What was asked for last is committed. */
  commitCompaction(): void {
    this.append(EntryKind.cut, this.standing.term, 0, [encodeCompaction(this.compactions.at(-1)!)])
    this.commit()
  }

  pin(name: string, index: number): () => void {
    const pin = { name, index }
    this.pins.add(pin)
    this.#pinned()
    return () => {
      this.pins.delete(pin)
      this.#pinned()
    }
  }

  #pinned(): void {
    const lowest = [...this.pins].sort((a, b) => a.index - b.index)[0] ?? null
    this.lowWaterMark = { ...this.lowWaterMark, heldBy: lowest }
  }

  segments(done: (error: null, segments: readonly SegmentFacts[]) => void): void {
    done(null, this.files)
  }

  configureLog(limits: Partial<SegmentLimits>): void {
    this.limits = limits
  }

  leadsNow(): boolean {
    return this.sure && this.standing.role === 'leader' && this.standing.settled
  }

  get lastIndex(): number {
    return this.log.length
  }

  get endOffset(): number {
    const last = this.log[this.log.length - 1]
    return last === undefined ? 0 : nextOffsetAfter(last)
  }

  get committedOffset(): number {
    return this.commitIndex === 0 ? 0 : nextOffsetAfter(this.log[this.commitIndex - 1]!)
  }

  get epochs(): readonly Epoch[] {
    const epochs: Epoch[] = []
    for (const { term, index, firstOffset } of this.log) {
      if (epochs[epochs.length - 1]?.term !== term) epochs.push({ term, firstIndex: index, firstOffset })
    }
    return epochs
  }

  readCommitted(
    offset: number,
    maxBytes: number,
    done: (error: null, entries: readonly Entry[]) => void,
  ): readonly Entry[] | null {
    const entries: Entry[] = []
    let bytes = 0
    for (const entry of this.log.slice(0, this.commitIndex)) {
      if (nextOffsetAfter(entry) <= offset || (entries.length === 0 && entry.recordCount === 0)) continue
      if (entries.length > 0 && bytes + entry.bytes.length > maxBytes) break
      entries.push(entry)
      bytes += entry.bytes.length
    }
    if (!this.slowReads) return entries
    this.#awaitingReads.push(() => done(null, entries))
    return null
  }

  finishReads(): void {
    while (this.#awaitingReads.length > 0) this.#awaitingReads.shift()!()
  }

  append(kind: EntryKind, term: number, recordCount: number, payload: readonly Uint8Array[]): Entry {
    const previousCrc = this.log[this.log.length - 1]?.crc ?? 0
    const index = this.log.length + 1
    const entry = encodeEntry({
      kind,
      shard: this.id,
      term,
      index,
      stamp: index,
      firstOffset: this.endOffset,
      recordCount,
      previousCrc,
      payload,
    })
    this.log.push(entry)
    return entry
  }

  /** The end of a turn: what the partition has becomes an entry. */
  turn(): Entry | null {
    if (!this.#requested) return null
    this.#requested = false
    if (this.standing.role !== 'leader') return null
    const draft = this.machine.draft({ term: this.standing.term, firstOffset: this.endOffset, stamp: 1 })
    if (draft === null) return null
    const entry = this.append(draft.kind, this.standing.term, draft.recordCount, draft.payload)
    this.machine.appended(entry)
    return entry
  }

  commit(index = this.log.length): void {
    while (this.commitIndex < index) {
      this.commitIndex++
      this.machine.apply(this.log[this.commitIndex - 1]!)
    }
    this.machine.applied()
  }

  become(standing: Standing): void {
    this.standing = standing
    this.machine.roleChanged(standing)
  }

  /** Elected; the leadership entry is in the log. `settle` commits it. */
  elect(term: number): void {
    this.append(EntryKind.leadership, term, 0, [])
    this.become({ role: 'leader', term, leader: 1, settled: false })
  }

  settle(): void {
    this.commit()
    this.become({ ...this.standing, settled: true })
  }

  /** Another node leads; what was not committed is replaced by `entries`. */
  truncate(): void {
    this.log.length = this.commitIndex
  }

  depose(term: number): void {
    this.become({ role: 'follower', term, leader: 2, settled: false })
  }
}

export interface Answer {
  readonly slot: number
  readonly error: number
  readonly baseOffset: number
  readonly appendTime: number
}

export class Answers implements ProduceWaiter {
  readonly list: Answer[] = []

  produced(slot: number, error: number, baseOffset: number, appendTime: number): void {
    this.list.push({ slot, error, baseOffset, appendTime })
  }

  /** [slot, error, base offset] of each since the last call. */
  take(): [number, number, number][] {
    return this.list.splice(0).map(({ slot, error, baseOffset }) => [slot, error, baseOffset])
  }
}

export interface Rig {
  readonly shard: ManualShard
  readonly clock: ManualClock
  readonly partition: Partition
  readonly answers: Answers
  readonly events: StreamsEvent[]
}

/** A partition; with `lead` its leader in term 1, settled. */
export function rig(
  options: {
    lead?: boolean
    settings?: Partial<PartitionSettings>
    newProducersFrom?: number
    restored?: RestoredPart
  } = {},
): Rig {
  const shard = new ManualShard()
  const clock = new ManualClock()
  const events: StreamsEvent[] = []
  const settings = { ...PARTITION_SETTINGS_DEFAULTS, ...options.settings }
  const trace = (event: StreamsEvent) => void events.push(event)
  const { newProducersFrom = 0 } = options
  const restored = options.restored === undefined ? {} : { restored: options.restored }
  const of = { topic: 'tides', index: 0, settings, newProducersFrom, ...restored }
  const partition = new Partition(of, { shard, clock, trace })
  shard.attach(partition)
  if (options.lead ?? true) {
    shard.elect(1)
    shard.settle()
  }
  return { shard, clock, partition, answers: new Answers(), events }
}

/** A batch of `count` records as a producer sends it. */
export function batchOf(
  count: number,
  producer?: { id: number; epoch?: number; sequence: number },
  timestamp = 5,
): Buffer {
  const records: RecordInput[] = Array.from({ length: count }, (_, i) => ({
    key: Buffer.from(`k${i}`),
    value: Buffer.from(`v${i}`),
    timestamp: timestamp + i,
  }))
  return encodeBatch(records, {
    timestamp,
    ...(producer
      ? { producerId: producer.id, producerEpoch: producer.epoch ?? 0, baseSequence: producer.sequence }
      : {}),
  })
}
