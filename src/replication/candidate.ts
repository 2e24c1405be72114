/**
 * A replica that wants to lead (Raft §5.2), in two steps.
 *
 * First it asks whether it *would* be elected, which changes nothing anywhere (pre-vote, thesis §9.6). Only with a quorum of
 * yes does it take a new term, vote for itself, and ask in earnest. So a node that cannot win does not raise its term while it
 * is cut off, and does not depose a leader with it when it returns.
 *
 *     follower ──patience ends──► pre-vote ──quorum──► vote ──quorum──► leader
 *        ▲                           │ ▲                 │
 *        └── a leader is heard ──────┘ └─ patience ends ─┘
 *
 * A campaign that the leader itself asked for (transfer, §3.10) skips the first step and says so, because the other replicas
 * would otherwise protect the leader from it.
 */
import type { Message, NodeId } from './messages.ts'
import { ballot } from './quorum.ts'
import type { Behaviour, CampaignKind, RaftCore } from './raft-core.ts'
import type { Role } from './state-machine.ts'

export class Candidate implements Behaviour {
  readonly role: Role = 'candidate'
  readonly needsTick = true
  readonly #core: RaftCore
  readonly #kind: CampaignKind
  readonly #votes = new Map<NodeId, boolean>()
  /** Ticks until this campaign is given up and the next one starts. */
  #patience: number

  constructor(core: RaftCore, kind: CampaignKind) {
    this.#core = core
    this.#kind = kind
    this.#patience = core.longPatience()
  }

  start(): void {
    const core = this.#core
    const phase = this.#kind === 'pre-vote' ? 'pre-vote' : 'vote'
    const term = this.#kind === 'pre-vote' ? core.term + 1 : core.term
    core.trace({ type: 'campaign-started', shard: core.shard, term, phase })
    for (const node of core.configuration.members) this.#ask(node)
    this.#count(core.self, true)
  }

  tick(): void {
    const core = this.#core
    if (core.hasLiveLeader()) {
      // It was only late. (Never after a vote of our own: a new term knows no leader.)
      core.follow(core.leader, core.longPatience())
      return
    }
    if (--this.#patience <= 0) core.campaign('pre-vote')
  }

  step(from: NodeId, message: Message): void {
    const core = this.#core
    switch (message.type) {
      case 'append':
      case 'snapshot':
        if (core.abandonedTerm === core.term) return
        // Another one was elected in this term.
        core.follow(core.leader, core.longPatience())
        core.behaviour.step(from, message)
        return
      case 'pre-vote-reply':
        if (this.#kind === 'pre-vote') this.#count(from, message.granted)
        return
      case 'vote-reply':
        if (this.#kind !== 'pre-vote') this.#count(from, message.granted)
        return
      case 'step-down':
        core.abandonedTerm = core.term
        if (core.leader === from) core.knowLeader(null)
        return
      case 'campaign-now':
        if (this.#kind === 'pre-vote') core.campaign('transfer')
        return
      default:
      // Answers to questions of an earlier role.
    }
  }

  journaled(): void {}

  collect(): void {}

  /** What we asked may have been lost with the last session. */
  peerUp(node: NodeId): void {
    if (!this.#votes.has(node)) this.#ask(node)
  }

  peerDown(node: NodeId): void {
    if (this.#core.leader === node) this.#core.knowLeader(null)
  }

  madeWay(phase: 'pre-vote' | 'vote'): void {
    const core = this.#core
    if (phase === 'vote') core.follow(null, core.longPatience())
  }

  #ask(node: NodeId): void {
    const core = this.#core
    if (node === core.self || !core.configuration.isVoter(node)) return
    const { shard, term, log } = core
    const { lastIndex, lastTerm } = log
    const transfer = this.#kind === 'transfer'
    // Held back until our own vote is synced, or we could wake up after a power loss and vote for another in this term.
    const question: Message =
      this.#kind === 'pre-vote'
        ? { type: 'pre-vote', shard, term: term + 1, lastIndex, lastTerm }
        : { type: 'vote', shard, term, lastIndex, lastTerm, transfer }
    core.send(node, question)
    if (core.chance('replication/ask-twice')) core.send(node, question)
  }

  #count(node: NodeId, granted: boolean): void {
    const core = this.#core
    this.#votes.set(node, granted)
    // Refused by a rival, or by somebody who should campaign instead: do not wait for those who say nothing.
    if (!granted) this.#patience = Math.min(this.#patience, core.shortPatience(core.campaigns))
    if (ballot(core.configuration, this.#votes) !== 'won') return
    if (this.#kind === 'pre-vote') core.campaign('vote')
    else core.lead()
  }
}
