/**
 * A leader: sends its log to the others, learns how far each has journaled it, and moves the high-water mark.
 *
 * **Commit** (Raft §5.3, §5.4.2). An index is committed when a quorum's journals hold it *and* its entry is of the leader's
 * own term; what lies before it is committed with it. The leader's own journal is one of the voters' and has no other
 * privilege: it counts when its write has completed, and a quorum of followers may be faster. Counting replicas of an entry of
 * an earlier term is the error of Figure 8, acted out in `testdata/figure-8.txt`. So that there always is an entry of the own
 * term, a leader begins by appending one (§8). Until that is committed it is not *settled*: its commit index may lag behind
 * what its predecessors acknowledged, so nobody may be told where the log's visible end is.
 *
 * **Leading now.** Heartbeats run between nodes and know nothing of shards. Node 2's reply says "until one election timeout
 * after you sent this, I help nobody to replace any leader on your node that I follow". That is worth something for this shard
 * only if node 2 does follow us in this term and in this session, that is, has answered an append (`confirmed`). An answer that
 * the append does not fit is one, too: were it to wait for the append that fits, a leader with a follower to repair would need
 * two round trips within its first election timeout. Who follows nobody answers no append: one of a term that is over gets a
 * `moved`, and an answer that still waits for its disk is lost with its session (`testdata/stale-append-…`, `held-answer-…`).
 * Should node 2 leave us for a higher term, it says so before its next heartbeat reply (`moved`).
 *
 *  The disaster that `confirmed` prevents. Node 1 led a hundred idle shards, crashed, and is back within the election timeout.
 *   1. Node 2 and 3 see it beat. Nothing is ever sent for an idle shard, so nothing contradicts the belief that it leads.
 *   2. Node 1 knows of no leadership and waits for the leader to speak. So do nodes 2 and 3. They wait for ever.
 *  Hence a session's end makes followers forget their leader, and a leader's first act in a session is to speak.
 *  `testdata/restarted-leader-of-idle-shards.txt` acts it out.
 */

import { assert, must } from '../stdx/index.ts'
import type { Entry } from '../storage/index.ts'
import { EntryKind } from '../storage/index.ts'
import { ReplicationError } from './errors.ts'
import type { StepDownReason } from './events.ts'
import type { Message, NodeId } from './messages.ts'
import { Progress } from './progress.ts'
import { agreed, type Measure } from './quorum.ts'
import type { Behaviour, RaftCore } from './raft-core.ts'
import { NO_ENTRIES } from './raft-log.ts'
import type { Snapshot } from './snapshot.ts'
import { SnapshotSending } from './snapshot-sending.ts'
import type { Role } from './state-machine.ts'

type Append = Extract<Message, { type: 'append' }>
type AppendReply = Extract<Message, { type: 'append-reply' }>

/** What may be sent to a follower that takes in nothing: the beginning of a leadership, a position, a cut. */
const LITTLE_BYTES = 16 << 10

/** Of the election timeout: what may pass between two clocks that run at slightly different rates. */
const LEASE_SHARE = 0.9

/** The log is journaled up to `index` by all who count, and no further because of `node`. */
export interface HeldBy {
  readonly index: number
  readonly node: NodeId
}

export class Leader implements Behaviour {
  readonly role: Role = 'leader'
  readonly progress = new Map<NodeId, Progress>()
  readonly #snapshots: SnapshotSending
  readonly #core: RaftCore
  /** The first entry of this leadership. Until it is committed the marks may be too low. */
  readonly #firstIndex: number
  /** A quorum stood by this leader at least until one election timeout after this moment. Never goes back. */
  #quorumHeardAt: number
  /** How far each voter has journaled the log. */
  readonly #journaled: Measure
  /** When we sent the latest heartbeat with which each voter supports this leadership. */
  readonly #supportedAt: Measure
  /** Support is not known to be there: check it again at every tick. */
  #inDoubt: boolean
  #transfer: { readonly to: NodeId; readonly deadline: number; asked: boolean } | null = null

  constructor(core: RaftCore) {
    const { self, log, contact, configuration } = core
    this.#core = core
    this.#snapshots = new SnapshotSending(core)
    this.#firstIndex = log.lastIndex + 1
    this.#quorumHeardAt = core.now()
    this.#inDoubt = !configuration.isSoleVoter(self)
    for (const node of configuration.members) {
      if (node !== self) this.progress.set(node, new Progress(node, this.#firstIndex))
    }
    const { progress } = this
    this.#journaled = { of: (node) => (node === self ? core.persistence.journaled : progress.get(node)!.match) }
    this.#supportedAt = {
      of(node) {
        if (node === self) return core.now()
        return progress.get(node)!.confirmed ? contact.answeredAt(node) : Number.NEGATIVE_INFINITY
      },
    }
  }

  start(): void {
    const core = this.#core
    core.appendNext({ kind: EntryKind.leadership, recordCount: 0, payload: NO_PAYLOAD, stamp: core.stamp() })
  }

  get settled(): boolean {
    return this.#core.commit >= this.#firstIndex
  }

  get transferringTo(): NodeId | null {
    return this.#transfer?.to ?? null
  }

  step(from: NodeId, message: Message): void {
    assert(
      message.type !== 'append' && message.type !== 'snapshot',
      () => `two leaders in term ${message.term}: node ${from} and this one`,
    )
    if (message.type === 'append-reply') this.#reply(from, message)
    else if (message.type === 'snapshot-reply') this.#snapshots.reply(this.progress.get(from), message)
    else if (message.type === 'pre-vote') this.#unheard(from)
  }

  get needsTick(): boolean {
    return this.#inDoubt || this.#transfer !== null
  }

  tick(): void {
    this.checkQuorum()
  }

  journaled(): void {
    this.#advanceCommit()
  }

  // The quorum's support

  leadsNow(): boolean {
    const core = this.#core
    // Whoever was told to campaign is not held back by anybody's support for us (thesis §6.4.1).
    if (!this.settled || this.#transfer?.asked === true) return false
    const oldest = core.now() - LEASE_SHARE * core.electionTimeoutMs
    return agreed(core.configuration, this.#supportedAt) > oldest
  }

  /** Thesis §6.2: a leader that a quorum has not answered for an election timeout has been given up by it. */
  checkQuorum(): void {
    const core = this.#core
    const supportedAt = agreed(core.configuration, this.#supportedAt)
    const oldest = core.now() - core.electionTimeoutMs
    this.#inDoubt = supportedAt < oldest
    this.#quorumHeardAt = Math.max(this.#quorumHeardAt, supportedAt)
    if (this.#quorumHeardAt < oldest) {
      this.stoppedLeading('quorum-silent')
      core.follow(null, core.longPatience())
      return
    }
    if (this.#transfer === null || this.#transfer.deadline >= core.now()) return
    if (this.#transfer.asked) {
      // The target may still wake up and campaign, at a moment of its own choosing: we shall never again know that we lead.
      this.stoppedLeading('transferred')
      core.follow(null, core.longPatience())
    } else this.#transfer = null
  }

  /** Told to everybody, so that nobody waits for our heartbeats to stop: they will not. */
  stoppedLeading(reason: StepDownReason, announce = true): void {
    const { shard, term } = this.#core
    this.#core.trace({ type: 'leader-stepped-down', shard, term, reason })
    if (!announce) return
    for (const node of this.progress.keys()) this.#core.sendAtOnce(node, { type: 'step-down', shard, term })
  }

  /**
   * Thesis §3.10: bring the target up to date, then tell it to campaign at once. If it does not get that far within an election
   * timeout, the transfer is given up; if it was told and nothing came of it, this leadership is.
   */
  transfer(to: NodeId): void {
    const core = this.#core
    if (to === core.self) return
    assert(core.configuration.isVoter(to), () => `transfer to node ${to}, which has no vote in shard ${core.shard}`)
    if (this.#transfer?.asked === true) return
    this.#transfer = { to, deadline: core.now() + core.electionTimeoutMs, asked: false }
    core.dirty = true
  }

  bestSuccessor(isUp: (node: NodeId) => boolean): NodeId | null {
    let best: Progress | null = null
    for (const progress of this.progress.values()) {
      if (!this.#core.configuration.isVoter(progress.node) || !progress.confirmed || !isUp(progress.node)) continue
      if (best === null || progress.received > best.received) best = progress
    }
    return best?.node ?? null
  }

  // Replication

  peerUp(node: NodeId): void {
    const progress = this.progress.get(node)
    if (progress === undefined) return
    progress.confirmed = false
    progress.becomeProbe(progress.match > 0 ? progress.match + 1 : progress.next)
    progress.received = progress.match
    this.#core.dirty = true
  }

  peerDown(node: NodeId): void {
    const progress = this.progress.get(node)
    if (progress === undefined) return
    progress.confirmed = false
    progress.becomeProbe(progress.match > 0 ? progress.match + 1 : progress.next)
    progress.received = progress.match
    progress.awaitingReply = true
    // It supported us until now, for all we know. Whether we can do without it will show within an election timeout.
    if (!this.#inDoubt) this.#quorumHeardAt = this.#core.now()
    this.#inDoubt = true
  }

  madeWay(_phase: 'pre-vote' | 'vote'): void {}

  /**
   * Whoever asks for votes and has not answered us yet may never have got what we sent: perhaps it has only just opened the
   * shard. Nothing is sent again because time passed, so this is the sign that something must be.
   */
  #unheard(node: NodeId): void {
    const progress = this.progress.get(node)
    if (progress !== undefined && progress.state !== 'replicate') progress.awaitingReply = false
  }

  #reply(from: NodeId, reply: AppendReply): void {
    const progress = this.progress.get(from)
    if (progress === undefined) return
    progress.confirmed = true
    if (reply.rejected !== null) {
      this.#rejected(progress, reply.rejected.previousIndex, reply.rejected.hintIndex, reply.rejected.hintTerm)
      return
    }
    const { received, journaled } = reply
    assert(received <= this.#core.log.lastIndex, () => `node ${from} received ${received}, beyond this leader's log`)
    progress.acknowledged(received)
    if (progress.state === 'probe' || this.#snapshots.hasArrived(progress)) progress.becomeReplicate()
    this.#core.dirty = true
    if (journaled <= progress.match) return
    progress.match = journaled
    this.#advanceCommit()
  }

  /** Raft §5.3: go back, but by whole terms: both sides skip what the other cannot hold. */
  #rejected(progress: Progress, previousIndex: number, hintIndex: number, hintTerm: number): void {
    const core = this.#core
    // Of an append that was sent before it was found that a snapshot is needed.
    if (progress.state === 'snapshot') return
    const { match, next } = progress
    // Only of what it is asked now: the probe, or an append that it was sent since and has not journaled. A rejection of before,
    // repeated after its probe was answered, would lead to a probe that nobody owes an answer.
    const asked =
      progress.state === 'probe' ? previousIndex === next - 1 : previousIndex > match && previousIndex < next
    if (!asked) return
    const previous = core.log.lastIndexWithin(hintIndex, hintTerm)
    if (previous < progress.match) {
      const { shard } = core
      const details = { node: progress.node, acknowledged: progress.match, held: previous }
      const what = `node ${progress.node} acknowledged shard ${shard} up to index ${progress.match} and holds it up to ${previous}`
      const error = new ReplicationError({ code: 'ACKNOWLEDGED_ENTRIES_MISSING', shard, ...details }, what)
      core.trace({ type: 'replica-suspect', shard, error })
      // It no longer counts for what it lost; what was committed with its help stays committed, and is given back to it.
      progress.match = previous
    }
    progress.received = Math.min(progress.received, previous)
    progress.becomeProbe(previous + 1)
    core.dirty = true
  }

  #advanceCommit(): void {
    const core = this.#core
    const index = agreed(core.configuration, this.#journaled)
    // Raft §5.4.2: only an entry of the own term commits, and what lies before it with it.
    if (index <= core.commit || index < this.#firstIndex) return
    const wasSettled = this.settled
    core.commitUpTo(index)
    if (!wasSettled && this.settled) core.standingChanged = true
  }

  collect(): void {
    let shared: Append | null = null
    let sharedBytes = 0
    let sharedMost = 0
    const core = this.#core
    const { log } = core
    const inflightBytes = core.chance('replication/tiny-window') ? 1 : core.options.maxInflightBytes
    const appendBytes = core.chance('replication/append-of-one-entry') ? 1 : core.options.maxAppendBytes
    for (const progress of this.progress.values()) {
      // Some answer is on its way, and ends it.
      if (progress.inflight.count > 0 && core.chance('replication/probe-again'))
        progress.becomeProbe(progress.received + 1)
      if (this.#snapshots.takesOver(progress)) continue
      if (progress.state === 'probe') {
        this.#probe(progress)
        continue
      }
      const allowance = core.allowance(progress.node)
      const window = { all: inflightBytes, little: 1, nothing: 0 }[allowance]
      const most = allowance === 'little' ? Math.min(LITTLE_BYTES, appendBytes) : appendBytes
      while (progress.next <= log.lastIndex && progress.inflight.bytes < window) {
        if (progress.next <= log.anchorIndex) {
          if (allowance === 'all' && core.mayRead(progress.node)) this.#read(progress)
          break
        }
        // Followers that are level with each other get the very same message.
        if (shared === null || shared.previousIndex !== progress.next - 1 || sharedMost !== most) {
          shared = this.#append(progress.next, log.slice(progress.next, most))
          sharedBytes = bytesOf(shared.entries)
          sharedMost = most
        }
        if (allowance === 'little' && sharedBytes > LITTLE_BYTES) break
        this.#sendEntries(progress, shared, sharedBytes)
      }
      // The mark moved and no entries go along that could say so.
      if (Math.min(core.commit, progress.next - 1) > progress.commitSent || core.chance('replication/empty-append')) {
        this.#send(progress, this.#append(progress.next, NO_ENTRIES))
      }
      this.#askTransferTarget(progress)
    }
    this.#snapshots.releaseUnless(this.progress.values())
  }

  /** The answer to `snapshotWanted`. */
  snapshotTaken(snapshot: Snapshot): void {
    this.#snapshots.taken(snapshot)
  }

  /**
   * A quorum, and every replica that is being sent the log, has journaled it up to here. Who is away, or needs a snapshot anyway, holds
   * nothing up.
   */
  get heldByFollowing(): HeldBy {
    const { commit, contact, persistence, self } = this.#core
    let held: HeldBy = { index: Math.min(commit, persistence.journaled), node: self }
    for (const { node, match: index, state } of this.progress.values())
      if (contact.alive(node) && state !== 'snapshot' && index < held.index) held = { index, node }
    return held
  }

  /** The first entry that a follower waits for, of those that are on their way: a cut above it would cost them a snapshot. */
  get neededFrom(): number {
    return this.#snapshots.neededFrom(this.progress.values())
  }

  /** Answer to a read; see `CatchUpRead`. Empty if it failed: the next thing that happens to the peer asks again. */
  entriesRead(peer: NodeId, read: readonly Entry[]): void {
    const progress = this.progress.get(peer)
    if (progress === undefined || !progress.reading) return
    progress.reading = false
    if (read.length === 0) return
    this.#core.dirty = true
    // The peer was probed afresh meanwhile, or the read was asked for by an earlier leadership: ask again, if need be.
    if (progress.state !== 'replicate' || read[0]!.index !== progress.next) return
    const { log, commit, options } = this.#core
    // The log was cut while it was read, and it is not known any more what stood before these entries.
    if (progress.next < log.startIndex) return
    // A start begins at the checkpoint's index, which the shard log may be ahead of: what a former process knew to be committed
    // this leader has yet to find out. It has those entries itself, and they go the usual way.
    const entries =
      must(read.at(-1), 'last entry read').index <= commit ? read : read.filter(({ index }) => index <= commit)
    for (let start = 0; start < entries.length; ) {
      let end = start
      let bytes = 0
      do bytes += entries[end++]!.bytes.length
      while (end < entries.length && bytes + entries[end]!.bytes.length <= options.maxAppendBytes)
      const batch = start === 0 && end === entries.length ? entries : entries.slice(start, end)
      assert(batch[0]!.term === log.termAt(batch[0]!.index), () => `entry ${batch[0]!.index} read is of another term`)
      this.#sendEntries(progress, this.#append(progress.next, batch), bytes)
      start = end
    }
  }

  #probe(progress: Progress): void {
    if (progress.awaitingReply) return
    progress.awaitingReply = true
    const { log, options } = this.#core
    const { next } = progress
    // At the election the entries go along, for they most probably fit; after that a probe only asks.
    const first = !progress.probed && next > log.anchorIndex && this.#core.allowance(progress.node) === 'all'
    progress.probed = true
    this.#send(progress, this.#append(next, first ? log.slice(next, options.maxAppendBytes) : NO_ENTRIES))
  }

  #read(progress: Progress): void {
    if (progress.reading) return
    progress.reading = true
    this.#core.reads.push({ peer: progress.node, fromIndex: progress.next })
  }

  #append(next: number, entries: readonly Entry[]): Append {
    const { shard, term, log, commit } = this.#core
    return { type: 'append', shard, term, previousIndex: next - 1, previousTerm: log.termAt(next - 1), commit, entries }
  }

  #sendEntries(progress: Progress, append: Append, bytes: number): void {
    progress.sent(append.previousIndex + append.entries.length, bytes)
    this.#send(progress, append)
  }

  #send(progress: Progress, append: Append): void {
    progress.commitSent = progress.state === 'probe' ? append.commit : Math.min(append.commit, progress.next - 1)
    this.#core.send(progress.node, append)
  }

  #askTransferTarget(progress: Progress): void {
    const transfer = this.#transfer
    const { log, shard, term } = this.#core
    if (transfer === null || transfer.asked || transfer.to !== progress.node || progress.received < log.lastIndex)
      return
    transfer.asked = true
    this.#core.send(progress.node, { type: 'campaign-now', shard, term })
  }
}

const NO_PAYLOAD: readonly Uint8Array[] = Object.freeze([])

function bytesOf(entries: readonly Entry[]): number {
  let bytes = 0
  for (const entry of entries) bytes += entry.bytes.length
  return bytes
}
