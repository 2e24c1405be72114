/**
 * A partition of a stream: the state machine of one shard whose entries are the producers' record batches.
 *
 * The log is the state. What is derived from it is small (derived-state.ts): which batches idempotent producers have sent, where
 * to look for a time. So this file is mostly the leader's half of a write:
 *
 *      produce ──► check ──► number in place ──► pending ──(end of turn)──► one entry ──► journals ──► committed
 *                    │                                                                       │             │
 *                    └──► refused at once             level leader-journal: `journaled` ◄────┘             │
 *                                                     level quorum-journal: `applied`  ◄───────────────────┘
 *
 * A batch is numbered when it is taken, not when its entry is built: only this machine makes records in its shard, so the next
 * offset is known, and a duplicate that arrives in the same turn can be told where the original went. The batch stays where
 * the socket's bytes are until the end of the turn, when the entry copies it; nothing on the way allocates per batch except
 * for idempotent producers, whose last batches are remembered.
 *
 * Between the election and the commit of its first entry a leader may take nothing (see producers.ts). That gap is a
 * few milliseconds, and a client that is refused comes back after hundreds: so batches that arrive in it are copied and held,
 * within a limit, until the leader is settled or is none any more.
 */
import type { Clock } from '../platform/index.ts'
import {
  BATCH_HEADER_BYTES,
  baseSequenceOf,
  batchBytesOf,
  maxTimestampOf,
  producerEpochOf,
  producerIdOf,
  recordCountOf,
  setBaseOffset,
  setLeaderEpoch,
  setMaxTimestamp,
  stampAppendTime,
} from '../records/index.ts'
import type { Draft, DraftContext, Shard, Standing, StateMachine } from '../replication/index.ts'
import { assert } from '../stdx/index.ts'
import { ENTRY_RECORDS_MAX, type Entry, EntryKind, nextOffsetAfter, payloadOf } from '../storage/index.ts'
import { Acknowledgements } from './acknowledgements.ts'
import { BatchGate } from './batch-gate.ts'
import { DerivedState, markOf } from './derived-state.ts'
import type { EpochEnd } from './epochs.ts'
import { KafkaError, type KafkaErrorCode } from './errors.ts'
import type { StreamsEvent } from './events.ts'
import type { AdvanceListener, Advancing } from './fetch-wait.ts'
import { type HoldDone, type HoldRequest, LogHolds } from './log-holds.ts'
import { type Hold, holdsOn, retainedBy } from './low-water.ts'
import { type FetchResult, PartitionReader } from './partition-reader.ts'
import type { PartitionSettings } from './partition-settings.ts'
import { PendingBatches } from './pending-batches.ts'
import type { ProduceWaiter } from './produce-waiters.ts'
import type { BatchMark } from './producers.ts'
import { type DeletionDone, RecordDeletions } from './record-deletions.ts'
import { examineRestored, type RestoredPart } from './restored-range.ts'
import { RetentionCheck } from './retention.ts'
import type { Asker, OffsetDone } from './time-lookup.ts'

/** When a producer hears of its batch; the rungs of the ladder (docs/ARCHITECTURE.md) that Kafka's acks 1, all and 0 mean. */
export type ProduceLevel = 'leader-journal' | 'quorum-journal' | 'none'

export interface PartitionOptions {
  readonly topic: string
  readonly index: number
  readonly settings: PartitionSettings
  /** No producer with this id or a higher one wrote to an earlier topic of this name. */
  readonly newProducersFrom: number
  /** What it begins with came from a backup. */
  readonly restored?: RestoredPart
}

export interface PartitionCollaborators {
  readonly shard: Shard
  readonly clock: Clock
  readonly trace: (event: StreamsEvent) => void
}

/** A batch that came before the leader was settled, with bytes of its own. */
interface Held {
  readonly batch: Buffer
  readonly level: ProduceLevel
  readonly waiter: ProduceWaiter
  readonly slot: number
  readonly zstdAllowed: boolean
}

const ONE_WHO_STAYS: Asker = { isOpen: true }
/** Of batches held before the leader is settled. */
const HELD_BYTES_MAX = 8 << 20

export class Partition implements StateMachine, Advancing {
  readonly topic: string
  readonly index: number
  readonly #shard: Shard
  readonly #clock: Clock
  readonly #trace: (event: StreamsEvent) => void
  readonly #derived: DerivedState
  readonly #reader: PartitionReader
  readonly #gate: BatchGate
  readonly #retention: RetentionCheck
  readonly #deletions: RecordDeletions
  /** Of those who need what it has. */
  readonly #leases: LogHolds
  readonly #restored: RestoredPart | null
  readonly #listeners = new Set<AdvanceListener>()

  /** The term in which this node leads and may take batches; 0 when it does not. */
  #term = 0
  #standing: Standing
  readonly #pending = new PendingBatches()
  /** The last draft had waited for a handover of leadership. */
  #heldBack = false
  #held: Held[] = []
  #heldBytes = 0
  readonly #waiting = new Acknowledgements()
  /**
   * Tombstones below are gone from this replica. What was decided before this process began is not done again for it: that would
   * rewrite all compacted partitions at every start.
   */
  #tombstonesGone = 0
  /** Applied since listeners were last told. */
  #advancedBytes = 0
  #removed = false

  constructor(options: PartitionOptions, collaborators: PartitionCollaborators) {
    this.topic = options.topic
    this.index = options.index
    this.#shard = collaborators.shard
    this.#clock = collaborators.clock
    this.#trace = collaborators.trace
    this.#standing = collaborators.shard.standing
    this.#derived = new DerivedState(this.#shard.id, options.newProducersFrom, options.restored?.endOffset ?? 0)
    this.#reader = new PartitionReader(this.#shard, this.#derived.times)
    this.#gate = new BatchGate(options.settings)
    this.#retention = new RetentionCheck(this.#shard, this.#clock, this.#derived.compactions)
    this.#deletions = new RecordDeletions(this.#shard, this.#clock)
    this.#leases = new LogHolds(this.#shard, this.#clock, () => this.checkRetention())
    this.#configureLog(options.settings)
    this.#restored = options.restored ?? null
    this.roleChanged(this.#standing)
  }

  get shard(): Shard {
    return this.#shard
  }

  get settings(): PartitionSettings {
    return this.#gate.settings
  }

  /** The topic's configuration changed. */
  configure(settings: PartitionSettings): void {
    this.#gate.settings = settings
    this.#configureLog(settings)
    this.checkRetention()
  }

  /** On every replica: its files are its own. */
  #configureLog({ segmentBytes, segmentMs, segmentJitterMs }: PartitionSettings): void {
    this.#shard.configureLog({ ...(segmentBytes === null ? {} : { segmentBytes }), segmentMs, segmentJitterMs })
  }

  /** Cuts what is older, or more, than the topic's settings say; on the leader. And goes on with a compaction that was given up. */
  checkRetention(): void {
    this.#clean()
    // Retention is what makes room: writes win over whoever wants to read.
    if (this.#leases.count > 0 && this.#shard.refusal !== null) this.#leases.releaseAll()
    this.#retention.check(() => (this.#term === 0 || this.#removed || this.restoring ? null : this.settings))
  }

  /** What lies below the floor that was decided last. Not where the topic is compacted no longer: whoever takes that back wants what is left. */
  #clean(): void {
    const { producers, compactions } = this.#derived
    const { floor, tombstonesBelow } = compactions
    const { startIndex } = this.#shard
    const isClean = floor.index === startIndex && tombstonesBelow <= this.#tombstonesGone
    if (!this.settings.compacted || this.#removed || floor.index < startIndex || isClean) return
    const keepsSequence = (producerId: number, lastOffset: number): boolean =>
      producers.committedMarks(producerId).at(-1)?.lastOffset === lastOffset
    const graceMs = this.settings.deleteRetentionMs
    if (this.#shard.clean({ floor, tombstonesBelow, graceMs, keepsSequence })) this.#tombstonesGone = tombstonesBelow
  }

  /** What keeps the log from starting higher; empty where this node does not decide it, or nothing is left. */
  get holds(): readonly Hold[] {
    if (this.#term === 0) return []
    const holds = holdsOn(this.#shard.lowWaterMark)
    const isEmpty = this.#shard.startOffset === this.#shard.committedOffset
    return holds.length > 0 || isEmpty ? holds : retainedBy(this.settings, this.#retention.stored, this.#clock.wall())
  }

  /**
   * DeleteRecords: the log is to start at `before` (−1: at the mark). `done` with where it does, once that is committed. May answer
   * before it returns.
   */
  deleteRecords(before: number, timeoutMs: number, done: DeletionDone): void {
    if (this.settings.deletes)
      this.#deletions.delete(before, timeoutMs, () => this.#term !== 0 && this.#shard.leadsNow(), done)
    // A record of such a topic goes when there is a newer one with its key.
    else done(KafkaError.POLICY_VIOLATION, -1)
  }

  /** Retention and compaction leave what somebody needs, until he has not said so for a while: log-holds.ts. */
  hold(request: HoldRequest, done: HoldDone): void {
    this.#leases.hold(request, () => this.#term !== 0 && this.#shard.leadsNow(), done)
  }

  endHold(holder: string): void {
    this.#leases.release(holder)
  }

  /** A restore fills it: it is shown to nobody else. */
  get restoring(): boolean {
    return this.#restored !== null && !this.#restored.finished()
  }

  /** False: stop reading from the sockets of producers until `shard.onRoom` fires. */
  get hasRoom(): boolean {
    return this.#shard.hasRoom
  }

  get isFull(): boolean {
    return this.#pending.isFull
  }

  /** Producers that wait for an answer. */
  get waiting(): number {
    return this.#waiting.length + this.#held.length
  }

  /**
   * Takes exactly one batch. `batch` is changed in place, and must stay as it is until the shard's next draft (the end of this turn). Refusals are told
   * before this returns.
   */
  produce(batch: Buffer, level: ProduceLevel, waiter: ProduceWaiter, slot: number, zstdAllowed = true): void {
    if (this.#term === 0) {
      this.#holdOrRefuse(batch, level, waiter, slot, zstdAllowed)
      return
    }
    const refusal = this.#gate.examine(batch, zstdAllowed)
    if (refusal !== null) {
      this.#refuse(waiter, slot, refusal.error, refusal.message)
      return
    }
    const count = recordCountOf(batch, 0)
    const pending = this.#pending
    if (!pending.fits(batch.length, count)) {
      this.#expectAgain(batch)
      this.#refuse(waiter, slot, KafkaError.REQUEST_TIMED_OUT, 'too much for this partition at once')
      return
    }
    const producerId = producerIdOf(batch, 0)
    if (producerId !== -1) {
      const known = this.#derived.producers.check(
        producerId,
        producerEpochOf(batch, 0),
        baseSequenceOf(batch, 0),
        count,
      )
      if (typeof known === 'object') {
        this.#answerDuplicate(producerId, known, level, waiter, slot)
        return
      }
      if (known !== 0) {
        this.#refuseSequence(batch, known, waiter, slot)
        return
      }
    }
    // After the producer's own history: what is in the log already is acknowledged again, disk or no disk.
    const { refusal: noRoom } = this.#shard
    if (noRoom !== null) {
      this.#expectAgain(batch)
      this.#refuse(waiter, slot, KafkaError.KAFKA_STORAGE_ERROR, noRoom)
      return
    }
    // A handover holds batches back over turns: those of this turn, too, must get bytes of their own at its end.
    if (pending.isEmpty || pending.heldBack) this.#shard.requestProposal()
    const baseOffset = pending.after(this.#shard.endOffset)
    const appendTime = this.#number(batch, baseOffset)
    if (producerId !== -1) this.#derived.producers.propose(producerId, producerEpochOf(batch, 0), markOf(batch, 0))
    pending.add(batch, baseOffset, baseOffset + count)
    if (level === 'quorum-journal') this.#waiting.forQuorum(baseOffset + count, waiter, slot, baseOffset, appendTime)
    else if (level === 'leader-journal') this.#waiting.forJournal(waiter, slot, baseOffset, appendTime)
  }

  /**
   * A producer takes this refusal as final. A leader that slept through its replacement knows nothing of what its successor has
   * taken since, and to it the producer's next batch seems to come too early: only who is sure of leading may say so.
   */
  #refuseSequence(batch: Buffer, error: KafkaErrorCode, waiter: ProduceWaiter, slot: number): void {
    const place = `producer ${producerIdOf(batch, 0)}, epoch ${producerEpochOf(batch, 0)}, sequence ${baseSequenceOf(batch, 0)}`
    if (this.#shard.leadsNow()) this.#refuse(waiter, slot, error, place)
    else
      this.#refuse(
        waiter,
        slot,
        KafkaError.NOT_LEADER_OR_FOLLOWER,
        `this node may have been replaced as leader: ${place}`,
      )
  }

  /**
   * Takes whole batches that another cluster's log held, at the very offsets that they have, all or none; only where the range
   * that is to be restored goes on. A batch that is here already is refused with OFFSET_OUT_OF_RANGE: whoever asks again looks
   * at the end of the log. Otherwise as `produce` at level quorum-journal.
   */
  restoreBatches(bytes: Buffer, waiter: ProduceWaiter, slot: number): void {
    const refuse = (error: KafkaErrorCode, message: string): void => this.#refuse(waiter, slot, error, message)
    if (this.#term === 0) return refuse(KafkaError.NOT_LEADER_OR_FOLLOWER, 'this node does not lead the partition')
    if (!this.restoring) return refuse(KafkaError.INVALID_REQUEST, 'nothing is being restored here')
    const pending = this.#pending
    const from = pending.after(this.#shard.endOffset)
    const examined = examineRestored(bytes, from, this.#restored!.endOffset)
    if ('error' in examined) return refuse(examined.error, examined.message)
    const offsets = examined.nextOffset - from
    if (offsets > ENTRY_RECORDS_MAX)
      return refuse(KafkaError.INVALID_REQUEST, `${offsets} offsets at once, ${ENTRY_RECORDS_MAX} at the most`)
    if (!pending.fits(bytes.length, offsets))
      return refuse(KafkaError.REQUEST_TIMED_OUT, 'too much for this partition at once')
    const { refusal: noRoom } = this.#shard
    if (noRoom !== null) return refuse(KafkaError.KAFKA_STORAGE_ERROR, noRoom)
    this.#shard.requestProposal()
    for (const batch of examined.batches) {
      setLeaderEpoch(batch, 0, this.#term)
      pending.add(batch, from, examined.nextOffset)
    }
    this.#waiting.forQuorum(examined.nextOffset, waiter, slot, from, -1)
  }

  /** Writes what the leader decides into the batch. Returns the append time, −1 where the producers' own times stand. */
  #number(batch: Buffer, baseOffset: number): number {
    setBaseOffset(batch, 0, baseOffset)
    setLeaderEpoch(batch, 0, this.#term)
    if (this.settings.appendTime) {
      const now = this.#clock.wall()
      stampAppendTime(batch, 0, now)
      return now
    }
    const maxTimestamp = this.#gate.trueMaxTimestamp
    if (maxTimestamp !== null && maxTimestamp !== maxTimestampOf(batch, 0)) setMaxTimestamp(batch, 0, maxTimestamp)
    return -1
  }

  #holdOrRefuse(batch: Buffer, level: ProduceLevel, waiter: ProduceWaiter, slot: number, zstdAllowed: boolean): void {
    const { role, leader } = this.#shard.standing
    if (this.#removed) {
      this.#refuse(waiter, slot, KafkaError.UNKNOWN_TOPIC_OR_PARTITION, 'the partition was deleted')
    } else if (role !== 'leader' || this.#standing.role !== 'leader') {
      const where = leader === null ? 'no leader is known' : `node ${leader} leads`
      this.turnAway(batch, waiter, slot, where)
    } else if (this.#heldBytes + batch.length > HELD_BYTES_MAX) {
      this.turnAway(batch, waiter, slot, 'elected, not yet settled')
    } else {
      this.#heldBytes += batch.length
      this.#held.push({ batch: Buffer.from(batch), level, waiter, slot, zstdAllowed })
    }
  }

  #answerDuplicate(
    producerId: number,
    mark: BatchMark,
    level: ProduceLevel,
    waiter: ProduceWaiter,
    slot: number,
  ): void {
    this.#trace({ type: 'stream-duplicate', shard: this.#shard.id, producerId, baseOffset: mark.baseOffset })
    if (level === 'none') return
    if (this.#waiting.forOriginal(mark, waiter, slot, this.#shard.startOffset) === 'answered') this.#noteAnswers(1)
  }

  /** Refuses it as a node that does not lead. */
  turnAway(batch: Buffer, waiter: ProduceWaiter, slot: number, reason: string): void {
    this.#expectAgain(batch)
    this.#refuse(waiter, slot, KafkaError.NOT_LEADER_OR_FOLLOWER, reason)
  }

  /** Its producer will send it again, and others that are on their way must not overtake it. */
  #expectAgain(batch: Buffer): void {
    if (batch.length < BATCH_HEADER_BYTES || producerIdOf(batch, 0) === -1) return
    this.#derived.producers.turnedAway(producerIdOf(batch, 0), producerEpochOf(batch, 0), baseSequenceOf(batch, 0))
  }

  #refuse(waiter: ProduceWaiter, slot: number, error: KafkaErrorCode, reason: string): void {
    this.#trace({ type: 'stream-refused', shard: this.#shard.id, error, reason })
    waiter.produced(slot, error, -1, -1, this.#shard.startOffset, reason)
  }

  draft(context: DraftContext): Draft | null {
    // Elected anew since these batches were taken: `roleChanged` is about to say so, and fails their waiters.
    if (this.#pending.isEmpty || context.term !== this.#term) return null
    this.#heldBack = this.#pending.heldBack
    return this.#pending.take(context.firstOffset)
  }

  defer(): void {
    this.#pending.keep()
  }

  appended(entry: Entry): void {
    this.#waiting.appended(entry.index)
    const { index, firstOffset, recordCount } = entry
    const payload = payloadOf(entry)
    let batches = 0
    for (let at = 0; at < payload.length; at += batchBytesOf(payload, at)) batches++
    this.#trace({
      type: 'stream-appended',
      shard: this.#shard.id,
      index,
      firstOffset,
      records: recordCount,
      batches,
      bytes: payload.length,
      heldBack: this.#heldBack,
    })
  }

  /** Leader: this node's own journal holds the log durably up to `index`. Called by the driver after each sync. */
  journaled(index: number): void {
    this.#waiting.journaled(index, this.#shard.startOffset)
  }

  apply(entry: Entry): void {
    if (entry.term === this.#term) this.#waiting.committed(entry.index, nextOffsetAfter(entry))
    const payload = payloadOf(entry)
    if (entry.kind === EntryKind.data) this.#advancedBytes += payload.length
    if (this.#derived.apply(entry, payload)) this.#clean()
  }

  applied(): void {
    const answers = this.#waiting.answer(this.#shard.startOffset)
    if (answers > 0) this.#noteAnswers(answers)
    if (this.#deletions.waiting > 0) this.#deletions.settle()
    if (this.#advancedBytes === 0) return
    const bytes = this.#advancedBytes
    this.#advancedBytes = 0
    for (const listener of this.#listeners) listener.advanced(bytes)
  }

  #noteAnswers(answers: number): void {
    const { committedIndex: index, committedOffset: offset } = this.#waiting
    this.#trace({ type: 'stream-acknowledged', shard: this.#shard.id, term: this.#term, index, offset, answers })
  }

  roleChanged(standing: Standing): void {
    const was = this.#standing
    this.#standing = standing
    const leads = standing.role === 'leader'
    if (was.role === 'leader' && !(leads && standing.term === was.term)) {
      this.#abandon(was.term, KafkaError.NOT_LEADER_OR_FOLLOWER, 'this node no longer leads the partition')
    }
    if (!leads || standing.settled) this.#reader.standingKnown()
    if (!(leads && standing.settled) || this.#term === standing.term || this.#removed) return
    assert(!this.aheadOfLog, () => `shard ${this.#shard.id} leads, and its log is behind what it has derived from it`)
    this.#term = standing.term
    this.#waiting.committed(this.#shard.commitIndex, this.#shard.committedOffset)
    const held = this.#held
    this.#held = []
    this.#heldBytes = 0
    for (const { batch, level, waiter, slot, zstdAllowed } of held)
      this.produce(batch, level, waiter, slot, zstdAllowed)
  }

  /** Fails everyone who waits: their batches may still commit, but not under this leader's eyes. */
  #abandon(term: number, error: KafkaErrorCode, message: string): void {
    const { waiting } = this
    const held = this.#held
    this.#term = 0
    this.#pending.clear()
    this.#derived.producers.dropOverlay()
    this.#held = []
    this.#heldBytes = 0
    const { startOffset } = this.#shard
    this.#waiting.failAll(error, startOffset, message)
    this.#deletions.failAll(error)
    this.#leases.releaseAll()
    for (const { batch, waiter, slot } of held) {
      this.#expectAgain(batch)
      waiter.produced(slot, error, -1, -1, startOffset, message)
    }
    if (waiting > 0) this.#trace({ type: 'stream-abandoned', shard: this.#shard.id, term, waiters: waiting })
    for (const listener of this.#listeners) listener.advanced(Number.POSITIVE_INFINITY)
  }

  /** The topic was deleted: nobody is to wait for it any more. */
  remove(): void {
    this.#removed = true
    this.#abandon(this.#term, KafkaError.UNKNOWN_TOPIC_OR_PARTITION, 'the partition was deleted')
    this.#reader.close()
  }

  /**
   * Committed batches from the one that holds `offset` on: up to `maxBytes`, or one whole batch beyond that if `atLeastOne`.
   * The answer comes back at once where memory has it; else null, and `done` is called later: when the disk has answered, or
   * when a leader that was only just elected is settled. `leaderEpoch` −1: not checked.
   */
  read(
    offset: number,
    maxBytes: number,
    atLeastOne: boolean,
    leaderEpoch: number,
    done: (result: FetchResult) => void,
  ): FetchResult | null {
    return this.#reader.read(offset, maxBytes, atLeastOne, leaderEpoch, done)
  }

  /**
   * ListOffsets: a timestamp, or one of `ListOffset`'s special values. May answer before it returns. A lookup by time can take long:
   * it ends, without `done`, when it is found that `asker` is gone.
   */
  listOffset(timestamp: number, leaderEpoch: number, done: OffsetDone, asker: Asker = ONE_WHO_STAYS): void {
    this.#reader.listOffset(timestamp, leaderEpoch, done, asker)
  }

  /** OffsetForLeaderEpoch. */
  epochEnd(requested: number, leaderEpoch: number): EpochEnd & { readonly error: KafkaErrorCode } {
    return this.#reader.epochEnd(requested, leaderEpoch)
  }

  listen(listener: AdvanceListener): void {
    this.#listeners.add(listener)
  }

  unlisten(listener: AdvanceListener): void {
    this.#listeners.delete(listener)
  }

  get aheadOfLog(): boolean {
    return this.#derived.aheadOfLog
  }

  snapshot(): Buffer {
    return this.#derived.snapshot()
  }

  restore(snapshot: Buffer): void {
    this.#derived.restore(snapshot)
    this.#tombstonesGone = this.#derived.compactions.tombstonesBelow
    this.#clean()
  }
}
