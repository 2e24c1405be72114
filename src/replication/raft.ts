/**
 * One replica of one shard, as a function of its inputs (Ongaro, Ousterhout: "In Search of an Understandable Consensus
 * Algorithm", 2014; "the thesis" is Ongaro's, same year).
 *
 * Inputs change memory and nothing else: `step` a message, `tick`, `propose`, `persisted`, sessions that come and go. Then
 * `ready` hands out what has to be done about it:
 *
 *     step, tick, propose, …  ──►  [ memory ]  ──ready()──►  write `hardState` and `entries`, then call `persisted(sequence)`
 *            ▲                                               send `messages`, at once and in order
 *            └──────────── persisted(sequence) ◄──disk──     apply `committed`
 *
 * There is no promise, clock, socket or disk in here, so the same inputs give the same outputs, and a condition that holds at
 * the top of a method still holds at its bottom. `ready` may be taken again while earlier writes are in flight; their
 * completions must come in order. What may not be said before it is on disk is held back here and not by the caller.
 *
 * Duties of the caller:
 *  1. Everything that happens in one event-loop turn goes in first, then one `ready` while `hasReady()`.
 *  2. `hardState` and `entries` of one `ready` go into the journal together, and those of successive `ready`s in order.
 *  3. `messages` leave in order, before any heartbeat reply that is sent afterwards (see `moved` in `messages.ts`).
 *  4. The end of a session is told to every replica (`peerDown`) before its successor is (`peerUp`).
 *  5. `tick` only while `needsTick`, which may become true by itself when a contact dies. `checkQuorum` for every shard led
 *     whenever the answer of some contact has become too old; between such moments a leader in doubt asks for ticks.
 */

import { assert } from '../stdx/index.ts'
import type { Entry } from '../storage/index.ts'
import { Candidate } from './candidate.ts'
import { Configuration } from './configuration.ts'
import type { LogStart } from './cut.ts'
import type { StepDownReason } from './events.ts'
import { Follower } from './follower.ts'
import { type HeldBy, Leader } from './leader.ts'
import type { Message, NodeId, Outgoing } from './messages.ts'
import type { Progress } from './progress.ts'
import {
  type CatchUpRead,
  type RaftCollaborators,
  RaftCore,
  type RaftOptions,
  type RecoveredRaft,
  type Roles,
} from './raft-core.ts'
import { type EntryContent, NO_ENTRIES, type RaftLog } from './raft-log.ts'
import type { Snapshot } from './snapshot.ts'
import type { Role } from './state-machine.ts'
import { answerPreVote, answerVote } from './voting.ts'

export interface HardState {
  readonly term: number
  readonly vote: NodeId
}

export interface Ready {
  readonly hardState: HardState | null
  readonly entries: readonly Entry[]
  /** What to call `persisted` with once both are synced; 0 if there is nothing to write. */
  readonly persistSequence: number
  readonly messages: readonly Outgoing[]
  readonly commit: number
  /** Newly at or below the high-water mark, in order. */
  readonly committed: readonly Entry[]
  /** Role, term, known leader or `settled` changed. */
  readonly standingChanged: boolean
  readonly reads: readonly CatchUpRead[]
  /** Leader: take one of the state as it is once `committed` is applied, and call `snapshotTaken`. */
  readonly snapshotWanted: boolean
  /**
   * Make it durable instead of what the log and its machine are now, then call `snapshotInstalled`. Writes handed out before
   * come before it, and there are none of entries until then.
   */
  readonly install: Snapshot | null
}

const ROLES: Roles = {
  follower: (core, patienceTicks) => new Follower(core, patienceTicks),
  candidate: (core, kind) => new Candidate(core, kind),
  leader: (core) => new Leader(core),
}
const NO_MESSAGES: readonly Outgoing[] = Object.freeze([])
const NO_READS: readonly CatchUpRead[] = Object.freeze([])
const NO_PROGRESS: ReadonlyMap<NodeId, Progress> = new Map()

export class Raft {
  readonly #core: RaftCore

  constructor(options: RaftOptions, recovered: RecoveredRaft, collaborators: RaftCollaborators) {
    const configuration = new Configuration(options.voters, options.learners)
    this.#core = new RaftCore(options, configuration, recovered, collaborators, ROLES)
  }

  get role(): Role {
    return this.#core.behaviour.role
  }

  get term(): number {
    return this.#core.term
  }

  /** 0: none in this term. */
  get vote(): NodeId {
    return this.#core.vote
  }

  get leader(): NodeId | null {
    return this.#core.leader
  }

  get commit(): number {
    return this.#core.commit
  }

  /** Leader only: an entry of the own term is committed, so the marks are true. */
  get settled(): boolean {
    return this.#leading?.settled ?? false
  }

  get log(): RaftLog {
    return this.#core.log
  }

  get voters(): readonly NodeId[] {
    return this.#core.configuration.voters
  }

  get learners(): readonly NodeId[] {
    return this.#core.configuration.learners
  }

  /** Leader only: what it knows of the others. */
  get progress(): ReadonlyMap<NodeId, Progress> {
    return this.#leading?.progress ?? NO_PROGRESS
  }

  /** This replica's log is on its own disk up to here. */
  get journaledIndex(): number {
    return this.#core.persistence.journaled
  }

  /** Up to here it was handed out to be written. */
  get handedOutIndex(): number {
    return this.#core.persistence.handedOut
  }

  /** It has lost what it had acknowledged, and is no voter until it has it again. */
  get recovering(): boolean {
    return this.#core.recovering
  }

  /** Of entries above the commit index, for back-pressure. */
  get uncommittedBytes(): number {
    return this.#core.uncommittedBytes
  }

  /** Whom leadership is being handed to: propose nothing meanwhile, it would delay the handover and may be lost. */
  get transferringTo(): NodeId | null {
    return this.#leading?.transferringTo ?? null
  }

  get needsTick(): boolean {
    return this.#core.behaviour.needsTick
  }

  step(from: NodeId, message: Message): void {
    const core = this.#core
    assert(message.shard === core.shard, () => `message for shard ${message.shard} given to ${core.shard}`)
    core.dirty = true
    if (message.type === 'pre-vote') {
      if (core.configuration.isVoter(from)) answerPreVote(core, from, message)
      return
    }
    if (message.type === 'vote') {
      if (!core.configuration.isVoter(from)) return
      // Stickiness. Not even the term is taken: that alone would depose the leader.
      if (message.term > core.term && !message.transfer && core.shieldsLeaderFrom(from)) return
    }
    if (message.term > core.term) this.#catchUp(from, message)
    else if (message.term < core.term) {
      this.#answerStale(from, message)
      return
    }
    if (message.type === 'vote') answerVote(core, from, message)
    else core.behaviour.step(from, message)
  }

  tick(): void {
    this.#core.behaviour.tick()
  }

  /** Leader only. The entry is in the log and nowhere durable yet. */
  propose(draft: EntryContent): Entry {
    assert(
      this.role === 'leader',
      () => `proposal to node ${this.#core.self}, a ${this.role} of shard ${this.#core.shard}`,
    )
    return this.#core.appendNext(draft)
  }

  persisted(sequence: number): void {
    this.#core.persisted(sequence)
  }

  peerUp(node: NodeId): void {
    this.#core.behaviour.peerUp(node)
  }

  peerDown(node: NodeId): void {
    this.#core.sessionEnded(node)
    this.#core.behaviour.peerDown(node)
  }

  checkQuorum(): void {
    this.#leading?.checkQuorum()
  }

  /** A quorum's beats say that we still lead; what that is worth, and what not: docs/decisions/0002. */
  leadsNow(): boolean {
    return this.#leading?.leadsNow() ?? false
  }

  /** Leader only (else nothing happens): hand leadership over. Watch the standing; given up after an election timeout. */
  transfer(to: NodeId): void {
    this.#leading?.transfer(to)
  }

  /** The voter that could take over soonest, of those that `isUp` accepts: who holds the most of the log. */
  bestSuccessor(isUp: (node: NodeId) => boolean): NodeId | null {
    return this.#leading?.bestSuccessor(isUp) ?? null
  }

  /** Stop leading and say so. For a node that is about to stop, or whose disk is stuck. */
  stepDown(reason: StepDownReason = 'asked'): void {
    const leader = this.#leading
    if (leader === null) return
    leader.stoppedLeading(reason)
    this.#core.follow(null, this.#core.longPatience())
  }

  /** Do not wait for the patience to end, e.g. as the replica that should lead a new shard. Pre-vote still applies. */
  campaign(): void {
    const core = this.#core
    if (this.role === 'leader' || !core.configuration.isVoter(core.self) || core.hasLiveLeader()) return
    if (core.recovering) return
    core.campaign('pre-vote')
  }

  /** Leader: somebody may be sent what was withheld from it. */
  wake(): void {
    if (this.#leading !== null) this.#core.dirty = true
  }

  snapshotTaken(snapshot: Snapshot): void {
    this.#leading?.snapshotTaken(snapshot)
  }

  /** What `ready().install` asked for is on the disk, and the machine has its state. */
  snapshotInstalled(): void {
    this.#core.installed()
  }

  /** A snapshot of the machine can always stand for entries. */
  stateSaysAll(): void {
    this.#core.stateSaysAll = true
  }

  /** A cut was applied: the log starts there from now on. */
  cutTo(start: LogStart): void {
    this.#core.log.cutTo(start)
    this.#core.dirty = true
  }

  /** Entries that could not be read for a follower can be now. */
  logRepaired(): void {
    this.#core.dirty = true
  }

  /** A snapshot is on its way to this node's disk. */
  get installing(): boolean {
    return this.#core.installing !== null
  }

  /** Leader only: a cut above this entry would cost a follower that is on its way a snapshot. */
  get neededFrom(): number {
    return this.#leading?.neededFrom ?? 1
  }

  /** Leader only: see `Leader`. */
  get heldByFollowing(): HeldBy {
    return this.#leading?.heldByFollowing ?? { index: 0, node: this.#core.self }
  }

  entriesRead(peer: NodeId, entries: readonly Entry[]): void {
    this.#leading?.entriesRead(peer, entries)
  }

  hasReady(): boolean {
    return this.#core.dirty || this.#core.standingChanged
  }

  ready(): Ready {
    const core = this.#core
    const { log, persistence } = core
    core.dirty = false
    core.behaviour.collect()
    core.dirty = false
    const entries = log.lastIndex > persistence.handedOut ? log.slice(persistence.handedOut + 1) : NO_ENTRIES
    const hardState = persistence.hardStateDirty ? { term: core.term, vote: core.vote } : null
    const writes = hardState !== null || entries.length > 0
    const committed =
      core.commit > core.reportedCommit
        ? log.slice(core.reportedCommit + 1, Number.POSITIVE_INFINITY, core.commit)
        : NO_ENTRIES
    core.reportedCommit = core.commit
    const ready: Ready = {
      hardState,
      entries,
      persistSequence: writes ? persistence.begin(log.lastIndex) : 0,
      messages: core.messages.length > 0 ? core.messages : NO_MESSAGES,
      commit: core.commit,
      committed,
      standingChanged: core.standingChanged,
      reads: core.reads.length > 0 ? core.reads : NO_READS,
      snapshotWanted: core.snapshotWanted,
      install: core.toInstall,
    }
    if (ready.messages !== NO_MESSAGES) core.messages = []
    if (ready.reads !== NO_READS) core.reads = []
    core.standingChanged = false
    core.snapshotWanted = false
    core.toInstall = null
    return ready
  }

  get #leading(): Leader | null {
    const { behaviour } = this.#core
    return behaviour instanceof Leader ? behaviour : null
  }

  /** Raft §5.1: whoever is in a higher term is right about the term. */
  #catchUp(from: NodeId, message: Message): void {
    const core = this.#core
    const leader = this.#leading
    if (leader !== null) {
      const transferred = leader.transferringTo === from
      // A new leader, and one that we wish for, will tell the others itself.
      const announce = !transferred && !isOfLeader(message)
      leader.stoppedLeading(transferred ? 'transferred' : 'higher-term', announce)
    }
    core.enterTerm(message.term, 0, from)
    const patience = isOfLeader(message) ? core.longPatience() : core.shortPatience(2)
    core.follow(null, patience)
  }

  /** The sender has missed a term. Those who act on an old one are told; answers to old questions are dropped. */
  #answerStale(from: NodeId, message: Message): void {
    const core = this.#core
    const { shard, term } = core
    if (message.type === 'vote') {
      core.send(from, { type: 'vote-reply', shard, term, granted: false })
    } else if (isOfLeader(message)) {
      // Not by an answer to what it sent: were it elected in this term meanwhile, that would be a follower's (leader.ts).
      core.sendAtOnce(from, { type: 'moved', shard, term })
    }
  }
}

/** Only the leader of a term says this in it. */
function isOfLeader({ type }: Message): boolean {
  return type === 'append' || type === 'snapshot'
}
