/**
 * How a replica answers those who want to lead, the same in every role.
 *
 * Pre-vote (thesis §9.6), leader stickiness (§4.2.3) and check-quorum (§6.2) only work together. Pre-vote alone lets a node
 * that cannot hear the leader depose it through others that can; stickiness alone lets a node that ran ahead in terms block
 * its own return; check-quorum is what ends a leader that everybody else has given up.
 *
 * A replica that recovers grants nothing (RaftCore.recovering): §5.4.1 compares logs, and its own may lack what it once acknowledged.
 * Unless there are two: what was committed needed both, so the other one has it, and what this one has beyond that was not.
 */
import type { Message, NodeId } from './messages.ts'
import type { RaftCore } from './raft-core.ts'

type PreVote = Extract<Message, { type: 'pre-vote' }>
type Vote = Extract<Message, { type: 'vote' }>

/** Would we vote for it? Changes nothing here but our patience. */
export function answerPreVote(core: RaftCore, from: NodeId, message: PreVote): void {
  // Who asks for votes does not lead, whatever we heard of it before. (Unless the question is older than its answer: the
  // first append of its leadership, on the other connection, may have overtaken it.)
  if (from === core.leader && message.term > core.term)
    core.behaviour.step(from, { type: 'step-down', shard: core.shard, term: core.term })
  if (core.leader === core.self) core.behaviour.step(from, message)
  const mayGrant = message.term > core.term && mayVote(core) && !core.shieldsLeaderFrom(from)
  const granted = mayGrant && isUpToDate(core, message)
  if (granted) core.behaviour.madeWay('pre-vote')
  core.send(from, { type: 'pre-vote-reply', shard: core.shard, term: core.term, granted })
}

/** A request in the present term. */
export function answerVote(core: RaftCore, from: NodeId, message: Vote): void {
  const free = core.vote === 0 || core.vote === from
  const granted = free && mayVote(core) && core.leader === null && isUpToDate(core, message)
  if (granted) {
    core.voteFor(from)
    core.behaviour.madeWay('vote')
  }
  // Held back until the vote is synced: a node that forgot its vote in a power loss could give it twice (T1).
  core.send(from, { type: 'vote-reply', shard: core.shard, term: core.term, granted })
}

function mayVote({ recovering, configuration }: RaftCore): boolean {
  return !recovering || (configuration.voters.length === 2 && configuration.outgoing.length === 0)
}

/** Raft §5.4.1: the election restriction. Later last term, or the same and at least as long. */
function isUpToDate(core: RaftCore, claim: { readonly lastIndex: number; readonly lastTerm: number }): boolean {
  // Of two, see above: it may have been sent what its leader then lost, before it was on that one's own disk.
  if (core.recovering) return true
  const { lastIndex, lastTerm } = core.log
  return claim.lastTerm > lastTerm || (claim.lastTerm === lastTerm && claim.lastIndex >= lastIndex)
}
