/**
 * What a replica is whatever its role: term, vote, log, commit index, and the messages that wait for the disk.
 *
 * The roles (`follower.ts`, `candidate.ts`, `leader.ts`) own what only they need and are replaced as a whole when the role
 * changes, so nothing of an old leadership can be left lying about. What they share is here.
 *
 * **What waits for the disk.** A message may leave before its sender's journal has caught up only if losing power right
 * afterwards could not turn it into a lie. A leader's appends promise nothing about the leader's own disk. A vote promises not
 * to vote again in that term, and any message of a term says "I have been in this term", so both wait until that term and vote
 * are synced (verification T1). Two messages promise nothing and *must not* wait: `moved`, because a leader that goes on
 * counting on a follower that has left it would answer reads it may not answer, and `step-down`, which speaks of a term that
 * was synced long ago.
 */

import type { Random } from '../platform/index.ts'
import { assert } from '../stdx/index.ts'
import type { Entry } from '../storage/index.ts'
import type { Configuration } from './configuration.ts'
import type { Contact } from './contact.ts'
import type { RaftEvent } from './events.ts'
import { Following } from './following.ts'
import type { Message, NodeId, Outgoing, ShardId } from './messages.ts'
import { Persistence } from './persistence.ts'
import type { EntryContent, RaftLog } from './raft-log.ts'
import type { Snapshot } from './snapshot.ts'
import type { Role } from './state-machine.ts'

export interface RaftOptions {
  readonly shard: ShardId
  readonly self: NodeId
  readonly voters: readonly NodeId[]
  readonly learners: readonly NodeId[]
  /** A replica that knows no leader campaigns after a random number of ticks between these two, both included. */
  readonly electionTicksMin: number
  readonly electionTicksMax: number
  /** How long a heartbeat's answer supports a leader. */
  readonly electionTimeoutMs: number
  /** Sent to one peer and not yet acknowledged as received. */
  readonly maxInflightBytes: number
  /** Entries in one append; a single larger entry goes alone. */
  readonly maxAppendBytes: number
  /** Of a snapshot, in one message. */
  readonly snapshotChunkBytes: number
  /**
   * Acknowledge entries once when they are received and again when they are journaled. Only levels that are content with
   * memory need the first one; it costs a message per append.
   */
  readonly acknowledgeReceipt?: boolean
}

export interface RaftCollaborators {
  readonly contact: Contact
  readonly random: Random
  /** Monotonic milliseconds; decides leases and check-quorum, never an order. */
  readonly now: () => number
  /** The Lamport stamp for the entry that a new leader writes. */
  readonly stamp: () => number
  readonly trace: (event: RaftEvent) => void
  /** Leader: what this node may be sent of the log; all, if not said. `wake` when it becomes more. */
  readonly allowance?: (node: NodeId) => Allowance
  /** Leader: entries may be read for this node, which will be sent whatever was read. `wake` when they may again. */
  readonly mayRead?: (node: NodeId) => boolean
}

/**
 * What a follower may be sent of the log.
 *
 *     all        as much as the windows let through
 *     little     it takes in nothing at present, and much waits for it: only what is small, of a shard that has nothing on its way to it
 *     nothing    the last bytes of its disk are for more important things, and a quorum does without it
 */
export type Allowance = 'all' | 'little' | 'nothing'

export interface RecoveredRaft {
  readonly term: number
  /** 0: none in this term. */
  readonly vote: NodeId
  /** Known to be committed: the index of the checkpoint. */
  readonly commit: number
  readonly log: RaftLog
  /** It may have lost entries that it had acknowledged: see `RaftCore.recovering`. */
  readonly recovering?: boolean
}

/** Ask the shard log for committed entries from `fromIndex` on, for a peer whose place is no longer in memory. */
export interface CatchUpRead {
  readonly peer: NodeId
  readonly fromIndex: number
}

/** One role's way of doing things. */
export interface Behaviour {
  readonly role: Role
  readonly needsTick: boolean
  /** A message of the present term. */
  step(from: NodeId, message: Message): void
  tick(): void
  /** More of the log is on this node's disk. */
  journaled(): void
  /** `ready()` is being taken: the moment to say what is worth saying once per turn. */
  collect(): void
  peerUp(node: NodeId): void
  peerDown(node: NodeId): void
  /** Another replica was told that we vote for it, or would: let it go first. */
  madeWay(phase: 'pre-vote' | 'vote'): void
}

export type CampaignKind = 'pre-vote' | 'vote' | 'transfer'

/** Makes the roles; handed in, so that the role modules need not know one another. */
export interface Roles {
  follower(core: RaftCore, patienceTicks: number): Behaviour
  candidate(core: RaftCore, kind: CampaignKind): Behaviour & { start(): void }
  leader(core: RaftCore): Behaviour & { start(): void }
}

interface HeldMessage {
  /** Leaves once this write has completed. */
  readonly write: number
  readonly outgoing: Outgoing
}

/** Ticks before a campaign for which there is evidence: long enough to differ between replicas, short for a person. */
const SHORT_TICKS = 4

export class RaftCore {
  readonly shard: ShardId
  readonly self: NodeId
  readonly options: RaftOptions
  readonly configuration: Configuration
  readonly contact: Contact
  readonly now: () => number
  readonly stamp: () => number
  readonly electionTimeoutMs: number
  readonly trace: (event: RaftEvent) => void
  readonly allowance: (node: NodeId) => Allowance
  readonly mayRead: (node: NodeId) => boolean
  readonly log: RaftLog
  readonly persistence: Persistence
  term: number
  /** Whom this replica voted for in `term`; 0: nobody. */
  vote: NodeId
  /** Who leads in `term`, as far as known. Forgotten when the session to it ends or it says that it has stepped down. */
  leader: NodeId | null = null
  /** Present while another node is known to lead. */
  following: Following | null = null
  /**
   * The leader of this term has said that it no longer leads. Connections are not ordered with each other, so an append that
   * it sent before may arrive after that: it must not be mistaken for a sign of leadership.
   */
  abandonedTerm = 0
  /**
   * This replica has lost a part of what it had promised to hold, and all its votes; its term is one in which it never voted. It
   * takes entries and acknowledges them, truthfully, but neither votes (one of two does: voting.ts) nor campaigns: an election may not count
   * on a log that lacks what was committed with its help. That is over once a leader that was elected without it has committed an entry
   * of its own term and this replica has everything up to there on its disk: with it, everything that can have been committed
   * before (docs/decisions/0009).
   */
  recovering: boolean
  /** Campaigns since a leader was last known. */
  campaigns = 0
  /** The high-water mark. Never goes back. */
  commit: number
  /** Commit has been reported up to here. Invariant: reported ≤ commit. */
  reportedCommit: number
  /** Of entries above the commit index. */
  uncommittedBytes = 0
  behaviour: Behaviour
  /** Something may have to be handed out. */
  dirty = false
  standingChanged = true
  messages: Outgoing[] = []
  reads: CatchUpRead[] = []
  /** The machine's state says all that the log does, so that a snapshot can always stand for entries. */
  stateSaysAll = false
  /** Leader: some follower is behind the log's start. */
  snapshotWanted = false
  /** Being made durable by the driver. Until it is, the log stays as it is: nothing is appended, nothing committed. */
  installing: Snapshot | null = null
  /** To be handed out as what to install. */
  toInstall: Snapshot | null = null
  /** Arrived while another one was being installed. */
  #installNext: Snapshot | null = null
  #held: HeldMessage[] = []
  readonly #random: Random
  readonly #roles: Roles

  constructor(
    options: RaftOptions,
    configuration: Configuration,
    recovered: RecoveredRaft,
    collaborators: RaftCollaborators,
    roles: Roles,
  ) {
    const { log } = recovered
    assert(recovered.commit <= log.lastIndex, () => `commit ${recovered.commit}, the log ends at ${log.lastIndex}`)
    assert(recovered.commit >= log.anchorIndex, () => `commit ${recovered.commit} below the anchor ${log.anchorIndex}`)
    assert(recovered.term >= log.lastTerm, () => `term ${recovered.term}, the log ends in term ${log.lastTerm}`)
    assert(options.electionTicksMin <= options.electionTicksMax, 'electionTicksMin exceeds electionTicksMax')
    this.shard = options.shard
    this.self = options.self
    this.options = options
    this.configuration = configuration
    this.contact = collaborators.contact
    this.now = collaborators.now
    this.stamp = collaborators.stamp
    this.electionTimeoutMs = options.electionTimeoutMs
    this.trace = collaborators.trace
    this.allowance = collaborators.allowance ?? (() => 'all')
    this.mayRead = collaborators.mayRead ?? (() => true)
    this.#random = collaborators.random
    this.#roles = roles
    this.log = log
    this.persistence = new Persistence(log.lastIndex)
    this.term = recovered.term
    this.vote = recovered.vote
    this.commit = recovered.commit
    this.reportedCommit = recovered.commit
    this.recovering = recovered.recovering === true
    // Nobody hears of this term before it is durable.
    if (this.recovering) this.persistence.hardStateChanged()
    for (let index = this.commit + 1; index <= log.lastIndex; index++)
      this.uncommittedBytes += log.entry(index)!.bytes.length
    // A node that restarts leads nothing and follows nobody, whatever it did before (design §7).
    this.behaviour = roles.follower(this, this.#patienceAtStart())
  }

  /** Where the simulator makes rare things common; never in production. */
  chance(site: string): boolean {
    return this.#random.chance(site)
  }

  // Waiting

  /** For a replica without any evidence that a leader is missing. */
  longPatience(): number {
    const { electionTicksMin, electionTicksMax } = this.options
    return electionTicksMin + this.#random.below(electionTicksMax - electionTicksMin + 1)
  }

  /** For a replica that has evidence. `failures` campaigns in a row widen the range, so that rivals part in the end. */
  shortPatience(failures = 0): number {
    return 1 + this.#random.below(Math.min(SHORT_TICKS << Math.min(failures, 8), this.options.electionTicksMax))
  }

  #patienceAtStart(): number {
    if (this.configuration.isSoleVoter(this.self)) return 1
    // A shard that has never had a leader: nobody can be disturbed, and somebody is waiting for it.
    if (this.term === 0) return 1 + this.#random.below(Math.ceil(this.options.electionTicksMin / 2))
    return this.longPatience()
  }

  // Standing

  /**
   * Leader stickiness (thesis §4.2.3): while this holds, the replica helps nobody to replace the leader. Without it, one
   * node with a broken link could depose a healthy leader again and again (verification T6).
   */
  hasLiveLeader(): boolean {
    return this.leader === this.self || (this.leader !== null && this.contact.alive(this.leader))
  }

  /** Nobody needs to be protected from itself: a leader that asks for votes does not lead any more. */
  shieldsLeaderFrom(candidate: NodeId): boolean {
    return this.leader !== candidate && this.hasLiveLeader()
  }

  /**
   * A higher term: from a message, or from a campaign of our own. `informer` is the node that told us, or ourselves.
   */
  enterTerm(term: number, vote: NodeId, informer: NodeId): void {
    assert(term > this.term, () => `term ${term} after ${this.term}`)
    const former = this.leader
    this.term = term
    this.vote = vote
    this.persistence.hardStateChanged()
    // What was still held speaks of a term that is over.
    this.#held.length = 0
    this.knowLeader(null)
    this.standingChanged = true
    // Before any later heartbeat reply: from here on our replies do not support the leader we followed (design §7).
    if (former !== null && former !== this.self && former !== informer) {
      this.sendAtOnce(former, { type: 'moved', shard: this.shard, term })
    }
  }

  voteFor(node: NodeId): void {
    assert(this.vote === 0 || this.vote === node, () => `second vote in term ${this.term}: ${this.vote}, then ${node}`)
    if (this.vote === node) return
    this.vote = node
    this.persistence.hardStateChanged()
  }

  knowLeader(leader: NodeId | null): void {
    if (this.leader === leader) return
    // Raft §5.2, election safety: at most one leader per term.
    assert(
      leader === null || this.leader === null,
      () => `shard ${this.shard}: two leaders in term ${this.term}: ${this.leader} and ${leader}`,
    )
    if (leader !== null) this.campaigns = 0
    this.leader = leader
    this.following = leader === null || leader === this.self ? null : new Following(this.commit)
    this.standingChanged = true
  }

  follow(leader: NodeId | null, patienceTicks: number): void {
    this.knowLeader(leader)
    this.#become(this.#roles.follower(this, patienceTicks))
  }

  campaign(kind: CampaignKind): void {
    assert(!this.recovering, () => `shard ${this.shard}: a replica that recovers campaigns`)
    this.campaigns++
    // Raft §5.2: a new term, and the first vote in it for oneself.
    if (kind !== 'pre-vote') this.enterTerm(this.term + 1, this.self, this.self)
    const candidate = this.#roles.candidate(this, kind)
    this.#become(candidate)
    candidate.start()
  }

  lead(): void {
    this.knowLeader(this.self)
    const leader = this.#roles.leader(this)
    this.#become(leader)
    leader.start()
  }

  #become(behaviour: Behaviour): void {
    this.behaviour = behaviour
    this.standingChanged = true
    this.dirty = true
    this.trace({
      type: 'standing-changed',
      shard: this.shard,
      role: behaviour.role,
      term: this.term,
      leader: this.leader,
    })
  }

  // The log

  append(entry: Entry): void {
    this.log.append(entry)
    this.uncommittedBytes += entry.bytes.length
    this.dirty = true
  }

  appendNext(content: EntryContent): Entry {
    const entry = this.log.encodeNext(this.term, content)
    this.append(entry)
    return entry
  }

  truncateFrom(index: number): void {
    assert(index > this.commit, () => `truncation from ${index}, committed up to ${this.commit}`)
    const { lastIndex } = this.log
    this.trace({ type: 'log-truncated', shard: this.shard, term: this.term, fromIndex: index, lastIndex })
    this.uncommittedBytes -= this.log.truncateFrom(index)
    this.persistence.truncated(index)
  }

  commitUpTo(index: number): void {
    assert(index <= this.log.lastIndex, () => `commit ${index}, the log ends at ${this.log.lastIndex}`)
    if (index > this.commit) {
      for (let at = this.commit + 1; at <= index; at++) this.uncommittedBytes -= this.log.entry(at)!.bytes.length
      this.commit = index
      this.dirty = true
    }
    // Also where nothing is new: a start may know of everything from its checkpoint, and of the leader only now.
    this.#mayHaveRecovered()
  }

  // Snapshots

  install(snapshot: Snapshot): void {
    if (this.installing !== null) {
      this.#installNext = snapshot
      return
    }
    this.installing = snapshot
    this.toInstall = snapshot
    this.dirty = true
  }

  /**
   * It is on this node's disk, and the log there begins after it. What it stands for was committed, so every leader from now on
   * has it (Raft §5.4): whoever leads by now, our log equals its up to there.
   */
  installed(): void {
    const snapshot = this.installing
    assert(snapshot !== null, 'a snapshot was installed that nobody asked for')
    const { index, entryTerm: term, crc, nextOffset, epochs, cleanedFrom } = snapshot
    assert(index > this.commit, () => `a snapshot at ${index} was installed, committed up to ${this.commit}`)
    assert(this.behaviour.role !== 'leader', () => `a leader lacked what was committed at ${index}`)
    this.installing = null
    this.log.reset({ index, term, crc, nextOffset }, epochs, cleanedFrom ?? nextOffset)
    this.persistence.installed(index)
    this.commit = index
    this.reportedCommit = index
    this.uncommittedBytes = 0
    this.dirty = true
    this.following?.logReplaced(index)
    const next = this.#installNext
    this.#installNext = null
    if (next !== null && next.index > index) this.install(next)
  }

  // Sending

  /** Leaves once the present term and vote are on disk; at once if they are, as a leader's always are. */
  send(to: NodeId, message: Message): void {
    const outgoing = { to, message }
    if (this.persistence.hardStateDurable) this.messages.push(outgoing)
    else this.#held.push({ write: this.persistence.hardStateWrite, outgoing })
    this.dirty = true
  }

  /** For the two messages that promise nothing, see the top of this file. */
  sendAtOnce(to: NodeId, message: Message): void {
    this.messages.push({ to, message })
    this.dirty = true
  }

  /** What is still held for it is lost, as what was on its way: in its next session it would say what nobody promises any more. */
  sessionEnded(node: NodeId): void {
    this.#held = this.#held.filter(({ outgoing }) => outgoing.to !== node)
  }

  persisted(sequence: number): void {
    const before = this.persistence.journaled
    this.persistence.completed(sequence)
    this.dirty = true
    let released = 0
    while (released < this.#held.length && this.#held[released]!.write <= sequence) {
      this.messages.push(this.#held[released++]!.outgoing)
    }
    if (released > 0) this.#held.splice(0, released)
    if (this.persistence.journaled > before) this.behaviour.journaled()
    this.#mayHaveRecovered()
  }

  #mayHaveRecovered(): void {
    const { commit, leader, log, persistence, shard, term } = this
    if (!this.recovering || leader === null || leader === this.self) return
    if (log.termAt(commit) !== term || persistence.journaled < commit || !persistence.hardStateDurable) return
    this.recovering = false
    this.standingChanged = true
    this.trace({ type: 'replica-recovered', shard, term, index: commit })
  }
}
