/**
 * A follower (or a learner, which is a follower that never campaigns and is never counted).
 *
 * It takes what the leader of its term sends, provided it fits onto what it holds (Raft §5.3), and reports how far its log is
 * known to equal the leader's: how far in memory, how far on disk. "Known to equal" is the careful part. A follower may hold
 * more entries than the leader has spoken of, and those may be leftovers of a dead leadership that will be truncated; so
 * everything it reports and everything it commits is bounded by `matched`, never by the end of its log.
 *
 * Reports are made once per `ready()`, not per append: an acknowledgement is a statement about a prefix, and the last one
 * says everything.
 *
 * It does not measure time while its leader is alive. Whether it is alive is a matter between nodes (`contact.ts`), so ten
 * thousand idle shards cost no timer at all.
 */

import { must } from '../stdx/index.ts'
import type { Entry } from '../storage/index.ts'
import { ReplicationError } from './errors.ts'
import type { Following } from './following.ts'
import type { AppendRejection, Message, NodeId } from './messages.ts'
import type { Behaviour, RaftCore } from './raft-core.ts'
import type { SnapshotHead } from './snapshot.ts'
import { SnapshotReceiving } from './snapshot-receiving.ts'
import type { Role } from './state-machine.ts'

type Append = Extract<Message, { type: 'append' }>
type SnapshotChunk = Extract<Message, { type: 'snapshot' }>

export class Follower implements Behaviour {
  readonly role: Role
  readonly #core: RaftCore
  readonly #votes: boolean
  /** Ticks until this replica campaigns. Counts only while there is no live leader. */
  #patience: number
  /** The leader is known but silent, and `#patience` was drawn for that. */
  #suspicious = false
  #madeWay = false

  constructor(core: RaftCore, patienceTicks: number) {
    this.#core = core
    this.#votes = core.configuration.isVoter(core.self)
    this.role = this.#votes ? 'follower' : 'learner'
    this.#patience = patienceTicks
  }

  get #mayCampaign(): boolean {
    return this.#votes && !this.#core.recovering
  }

  get needsTick(): boolean {
    return this.#mayCampaign && !this.#core.hasLiveLeader()
  }

  tick(): void {
    if (!this.#mayCampaign) return
    const core = this.#core
    if (core.hasLiveLeader()) {
      this.#suspicious = false
      return
    }
    if (core.leader !== null && !this.#suspicious) {
      // Known and silent for an election timeout already: no reason to wait for another one.
      this.#suspicious = true
      this.#patience = core.shortPatience()
    }
    if (--this.#patience <= 0 || core.chance('replication/early-campaign')) core.campaign('pre-vote')
  }

  step(from: NodeId, message: Message): void {
    switch (message.type) {
      case 'append':
        this.#append(from, message)
        return
      case 'snapshot':
        this.#snapshot(from, message)
        return
      case 'step-down':
        this.#core.abandonedTerm = this.#core.term
        if (this.#core.leader === from) this.#loseLeader()
        return
      case 'campaign-now':
        if (this.#mayCampaign) this.#core.campaign('transfer')
        return
      default:
      // Answers to questions of an earlier role.
    }
  }

  journaled(): void {}

  collect(): void {
    const core = this.#core
    const { leader, following } = core
    // The report is of a term, so it waits for that term to be synced; `persisted` brings us back here.
    if (leader === null || following === null || !core.persistence.hardStateDurable) return
    // One snapshot may be followed by the next: who heard of the first would send entries that nobody takes, and never again.
    if (core.installing !== null) return
    const received = following.matched
    const journaled = this.#journaledMatch(following)
    const receipt = core.options.acknowledgeReceipt === true && received > following.reportedReceived
    const news = receipt || journaled > following.reportedJournaled
    // Before the first answer of a session there is nothing that could have been promised.
    if (!following.answerDue && (following.awaited || !news)) return
    following.answerDue = false
    following.reportedReceived = received
    following.reportedJournaled = journaled
    core.send(leader, { type: 'append-reply', shard: core.shard, term: core.term, received, journaled, rejected: null })
  }

  peerUp(_node: NodeId): void {}

  peerDown(node: NodeId): void {
    const core = this.#core
    if (core.leader === node) {
      // A closed session is evidence at once. It also makes us forget: the node may come back as one that leads nothing.
      this.#loseLeader()
    } else if (core.leader === null && core.vote === node) {
      this.#patience = Math.min(this.#patience, core.shortPatience())
    }
  }

  madeWay(phase: 'pre-vote' | 'vote'): void {
    if (phase === 'vote') {
      this.#patience = this.#core.longPatience()
      return
    }
    // At most once per wait: a candidate that asks again and again and never wins must not silence the others.
    if (this.#madeWay) return
    this.#madeWay = true
    this.#patience += this.#core.shortPatience()
  }

  #journaledMatch(following: Following): number {
    return Math.min(following.matched, this.#core.persistence.journaled)
  }

  #loseLeader(): void {
    const core = this.#core
    core.follow(null, core.shortPatience())
  }

  /** Null: nothing is taken from this leader. */
  #follow(from: NodeId): Following | null {
    const core = this.#core
    if (core.abandonedTerm === core.term) return null
    if (core.leader !== from) {
      core.knowLeader(from)
      this.#suspicious = false
      this.#madeWay = false
    }
    const following = must(core.following, 'what we know of the leader we follow')
    return following.quarantined ? null : following
  }

  #append(from: NodeId, message: Append): void {
    const core = this.#core
    const following = this.#follow(from)
    if (following === null) return
    // Answered once the snapshot is installed: until then there is no log to speak of.
    if (core.installing !== null) return
    const { previousIndex, entries } = message
    if (!this.#wellFormed(from, message)) return
    if (!this.#fits(message)) {
      this.#reject(from, this.#rejection(message))
      return
    }
    for (const entry of entries) if (!this.#take(from, entry)) return
    following.matched = Math.max(following.matched, previousIndex + entries.length)
    core.commitUpTo(Math.min(message.commit, following.matched))
    if (following.awaited) following.answerDue = true
    following.awaited = false
  }

  #snapshot(from: NodeId, { head, at, chunk }: SnapshotChunk): void {
    const core = this.#core
    const following = this.#follow(from)
    if (following === null) return
    if (core.installing === null) {
      const held = this.#holds(from, head)
      if (held === 'contradicted') return
      if (held) {
        // Raft §7: a log that holds the snapshot's entry holds all before it, and may go on behind it. Nothing is to be replaced.
        following.incoming = null
        following.matched = Math.max(following.matched, head.index)
        core.commitUpTo(head.index)
        following.answerDue = true
        following.awaited = false
        return
      }
    } else if (head.index <= core.installing.index) return // answered when that one is installed
    const receiving = this.#receiving(following, head, at)
    if (receiving === null) return
    receiving.take(at, chunk)
    if (receiving.complete) {
      following.incoming = null
      const snapshot = receiving.finish()
      if (snapshot === null) {
        const details = { code: 'SNAPSHOT_DAMAGED', shard: core.shard, from, index: head.index } as const
        const what = `node ${core.self} refuses a snapshot of shard ${core.shard}`
        this.#stop(
          from,
          new ReplicationError(details, `${what} at index ${head.index}: its bytes are not what was sent`),
        )
        return
      }
      core.install(snapshot)
    }
    this.#replySnapshot(from, head.index, receiving.received)
  }

  /** The snapshot that the chunk is of, or null: a chunk of one that was given up. */
  #receiving(following: Following, head: SnapshotHead, at: number): SnapshotReceiving | null {
    const { incoming } = following
    if (incoming?.isOf(head)) return incoming
    // A leader goes on to later snapshots and never back: this chunk is older than what is arriving.
    if (incoming !== null && head.index < incoming.head.index) return null
    if (at !== 0) {
      this.#replySnapshot(must(this.#core.leader, 'the leader'), head.index, 0)
      return null
    }
    following.incoming = new SnapshotReceiving(head)
    return following.incoming
  }

  #replySnapshot(to: NodeId, index: number, received: number): void {
    const { shard, term } = this.#core
    this.#core.send(to, { type: 'snapshot-reply', shard, term, index, received })
  }

  /** Is what the snapshot stands for in our log? Log matching (§5.3): the same term at the same index, the same log up to it. */
  #holds(from: NodeId, { index, entryTerm, crc }: SnapshotHead): boolean | 'contradicted' {
    const { commit, log } = this.#core
    if (index <= commit) return true
    if (index > log.lastIndex) return false
    const held = log.entry(index)!
    if (held.term !== entryTerm) return false
    return held.crc === crc || this.#quarantine(from, held, crc, held.crc) || 'contradicted'
  }

  /** Raft §5.3: the consistency check. What is committed here is in every later leader's log (§5.4), so it needs no check. */
  #fits(message: Append): boolean {
    const { commit, log } = this.#core
    const { previousIndex, previousTerm } = message
    if (previousIndex <= commit) return true
    return previousIndex <= log.lastIndex && log.termAt(previousIndex) === previousTerm
  }

  /** The last place at which the two logs may agree, found in one step per diverging term instead of one per entry. */
  #rejection(message: Append): AppendRejection {
    const { commit, log } = this.#core
    const { previousIndex, previousTerm } = message
    const hintIndex = Math.max(commit, log.lastIndexWithin(Math.min(previousIndex - 1, log.lastIndex), previousTerm))
    return { previousIndex, hintIndex, hintTerm: log.termAt(hintIndex) }
  }

  /** One entry that follows a matching prefix. False: the logs contradict each other. */
  #take(from: NodeId, entry: Entry): boolean {
    const core = this.#core
    const { log } = core
    const { index } = entry
    if (index <= core.commit) return true
    if (index <= log.lastIndex) {
      // Log matching (§5.3): the same term at the same index is the same entry.
      const held = log.entry(index)!
      if (held.term === entry.term) return held.crc === entry.crc || this.#quarantine(from, entry, entry.crc, held.crc)
      core.truncateFrom(index)
    }
    if (entry.previousCrc !== log.lastCrc) return this.#quarantine(from, entry, entry.previousCrc, log.lastCrc)
    core.append(entry)
    return true
  }

  #wellFormed(from: NodeId, message: Append): boolean {
    const { entries, previousIndex } = message
    let term = message.previousTerm
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]!
      const follows = entry.index === previousIndex + 1 + i && entry.term >= term && entry.term <= message.term
      if (follows && entry.shard === message.shard) {
        term = entry.term
        continue
      }
      const { shard, self } = this.#core
      const details = { code: 'APPEND_MALFORMED', shard, from, previousIndex, index: entry.index } as const
      const what = `node ${self} refuses an append of node ${from} to shard ${shard}`
      this.#stop(
        from,
        new ReplicationError(details, `${what}: entry ${entry.index} cannot stand at ${previousIndex + 1 + i}`),
      )
      return false
    }
    return true
  }

  /**
   * Terms agree, bytes do not: a disk, a wire or a program has changed an entry without its checksum noticing. Whose is right
   * cannot be known here, so nothing is overwritten and nothing is acknowledged.
   */
  #quarantine(from: NodeId, entry: Entry, expectedCrc: number, foundCrc: number): false {
    const { shard, self } = this.#core
    const { term, index } = entry
    const details = { code: 'CHAIN_MISMATCH', shard, from, term, index, expectedCrc, foundCrc } as const
    const crcs = `${expectedCrc.toString(16)}, here ${foundCrc.toString(16)}`
    const what = `node ${self} and node ${from} hold different logs of shard ${shard}`
    this.#stop(from, new ReplicationError(details, `${what} at index ${index} of term ${term}: chain ${crcs}`))
    return false
  }

  #stop(from: NodeId, error: ReplicationError): void {
    const core = this.#core
    const following = must(core.following, 'what we know of the leader we follow')
    following.quarantined = true
    following.answerDue = false
    core.trace({ type: 'replica-suspect', shard: core.shard, error })
    const { commit } = core
    this.#reject(from, { previousIndex: commit, hintIndex: commit, hintTerm: core.log.termAt(commit) })
  }

  /**
   * Is the answer to the append at hand, and to no other: one that fits and is still to be answered may be what the leader waits
   * for. The next one that fits was asked for by this rejection and is answered again.
   */
  #reject(to: NodeId, rejected: AppendRejection): void {
    const { shard, term, following } = this.#core
    if (following === null) return
    following.awaited = true
    const received = following.matched
    const journaled = this.#journaledMatch(following)
    this.#core.send(to, { type: 'append-reply', shard, term, received, journaled, rejected })
  }
}
