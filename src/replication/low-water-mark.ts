/**
 * What moves the start of one replica's log, and what holds it.
 *
 *     the machine's state says it all (cut.ts) ──┐                 ┌── pins: a backup, a transfer
 *     retention: too old, too large ─────────────┼──► due ◄────────┤
 *     DeleteRecords ─────────────────────────────┘                 └── the cut before is not applied yet
 *
 * A pin is stronger than a policy, weaker than a command (DeleteRecords), and this node's alone: it holds no other leader back.
 * A follower that is behind pins nothing: it is sent what it needs instead. Only a floor waits for those who follow.
 */
import { type Entry, isLater, type LogStart } from '../storage/index.ts'
import { type Compaction, type CutOptions, CutPlanner, CutReason, type Growth } from './cut.ts'
import type { HeldBy } from './leader.ts'
import type { Raft } from './raft.ts'

export interface Pin {
  readonly name: string
  /** The first entry that is needed. */
  readonly index: number
}

/** Why the log of a shard starts where it does, as far as this node has seen since its start. */
export interface LowWaterMark {
  readonly moved: Moved | null
  readonly heldBy: Pin | null
  /** A follower that a floor which is due waits for, and the first entry that it lacks. */
  readonly floorWaitsFor: Pin | null
  /** Where the log is cut behind snapshots, by this node; null elsewhere. */
  readonly untilSnapshot: Growth | null
}

export interface Moved {
  readonly start: LogStart
  /** Null for one that this version does not know. */
  readonly reason: CutReason | null
}

export interface Cut {
  readonly start: LogStart
  readonly reason: CutReason
}

/** Cuts that somebody asks the leader for, and those who need what would be cut. */
export class CutRequests {
  readonly #pins = new Set<Pin>()
  #requested: Cut | null = null
  /** By DeleteRecords, which no pin holds. It waits beside the other, so that one which is held does not take its place. */
  #commanded: Cut | null = null
  #compaction: Compaction | null = null
  #floorWaitsFor: Pin | null = null

  get floorWaitsFor(): Pin | null {
    return this.#floorWaitsFor
  }

  /** The lowest. */
  get heldBy(): Pin | null {
    let lowest: Pin | null = null
    for (const pin of this.#pins) if (lowest === null || pin.index < lowest.index) lowest = pin
    return lowest
  }

  /** Call what it returns when the entries from `index` on are not needed any more. */
  pin(name: string, index: number): () => void {
    const pin = { name, index }
    this.#pins.add(pin)
    return () => this.#pins.delete(pin)
  }

  isHeld({ index }: LogStart): boolean {
    return index > (this.heldBy?.index ?? Number.MAX_SAFE_INTEGER)
  }

  /** Of several that wait the one that cuts the most. */
  ask(start: LogStart, reason: CutReason): void {
    const cut = { start, reason }
    if (reason === CutReason.request) this.#commanded = laterOf(this.#commanded, cut)
    else this.#requested = laterOf(this.#requested, cut)
  }

  /** Null: none is due, and nobody is waited for. */
  askCompaction(compaction: Compaction | null): void {
    this.#compaction = compaction
    if (compaction === null) this.#floorWaitsFor = null
  }

  /** What was asked for, if it may be done. `held`: whoever follows has journaled the log up to here, and need not be sent more than that. */
  takeCompaction(from: LogStart, { index, node }: HeldBy): Compaction | null {
    const compaction = this.#compaction
    this.#compaction = this.#floorWaitsFor = null
    // At the floor that the log starts at already, tombstones can go.
    if (compaction === null || compaction.floor.index < from.index || this.isHeld(compaction.floor)) return null
    if (compaction.floor.index <= index + 1) return compaction
    this.#floorWaitsFor = { name: `node ${node}`, index: index + 1 }
    return null
  }

  /** What was asked for, if it may be done to a log that starts at `from`. */
  take(from: LogStart): Cut | null {
    const allowed = this.#requested === null || this.isHeld(this.#requested.start) ? null : this.#requested
    const requested = laterOf(this.#commanded, allowed)
    this.#requested = this.#commanded = null
    return requested === null || !isLater(requested.start, from) ? null : requested
  }

  /** This node does not lead any more. */
  drop(): void {
    this.#requested = this.#commanded = null
    this.#compaction = this.#floorWaitsFor = null
  }

  get isAsked(): boolean {
    return this.#requested !== null || this.#commanded !== null || this.#compaction !== null
  }
}

/** The first of two that cut as much. */
function laterOf(one: Cut | null, other: Cut | null): Cut | null {
  if (one === null || other === null) return one ?? other
  return isLater(other.start, one.start) ? other : one
}

export class LowWaterMarks {
  readonly requests = new CutRequests()
  readonly #planner: CutPlanner
  readonly #chance: (site: string) => boolean
  /** The cut that this node proposed last: the next one waits until it is applied. */
  #proposed = { term: 0, index: 0 }
  #moved: Moved | null = null

  /** `from` and `behind`: see `CutPlanner`. */
  constructor(options: CutOptions, from: LogStart, behind: number, chance: (site: string) => boolean) {
    this.#planner = new CutPlanner(options, from, behind)
    this.#chance = chance
  }

  /** `cutsBySnapshot`: this node leads, and its machine's state says all that the log does. */
  mark(cutsBySnapshot: boolean): LowWaterMark {
    const { heldBy, floorWaitsFor } = this.requests
    return { moved: this.#moved, heldBy, floorWaitsFor, untilSnapshot: cutsBySnapshot ? this.#planner.growth : null }
  }

  /** Null: none, or it has to wait. `startIndex` follows a decision late: it is the machine that knows what was decided last. */
  compactionDue(raft: Raft, appliedIndex: number): Compaction | null {
    if (!this.requests.isAsked || !this.#mayDecide(raft, appliedIndex)) return null
    const { startIndex, startOffset } = raft.log
    return this.requests.takeCompaction({ index: startIndex, offset: startOffset }, raft.heldByFollowing)
  }

  #mayDecide(raft: Raft, appliedIndex: number): boolean {
    if (!raft.settled || raft.transferringTo !== null) return false
    const { term, index } = this.#proposed
    return raft.term !== term || appliedIndex >= index
  }

  /** What the leader should propose now; `bySnapshot`: its machine's state says all that the log does. */
  due(raft: Raft, appliedIndex: number, bySnapshot: boolean): Cut | null {
    if (!bySnapshot && !this.requests.isAsked) return null
    if (!this.#mayDecide(raft, appliedIndex)) return null
    const { startIndex, startOffset } = raft.log
    if (!bySnapshot) return this.requests.take({ index: startIndex, offset: startOffset })
    const start = this.#chance('replication/cut-at-once')
      ? this.#planner.most(appliedIndex, startIndex)
      : this.#planner.due(appliedIndex, startIndex, raft.neededFrom)
    return start === null || this.requests.isHeld(start) ? null : { start, reason: CutReason.snapshot }
  }

  proposed(term: number, index: number): void {
    this.#proposed = { term, index }
  }

  applied(entry: Entry): void {
    this.#planner.applied(entry)
  }

  cutApplied(): void {
    this.#planner.cut()
  }

  moved(start: LogStart, reason: CutReason | null): void {
    this.#moved = { start, reason }
  }

  stateTaken(bytes: number): void {
    this.#planner.stateTaken(bytes)
  }

  /** The log has become another one. */
  restart(from: LogStart): void {
    this.#planner.restart(from)
  }
}
