/**
 * What one replica must keep to whatever the others do.
 *
 *   - its term never goes back, nor a vote within a term, in memory or on disk; its commit index only with a crash;
 *   - it has never voted twice: a vote that is told is the vote on its disk, and there it never changes;
 *   - it says only what is on its disk: that it has been in a term, that it votes, how far it has journaled.
 */
import type { Message, NodeId } from '../../src/replication/index.ts'
import { Violation } from '../violation.ts'

/** 0 follower, 1 candidate, 2 leader. */
export type Role = 0 | 1 | 2

/** Of one replica; entries by their numbers, by index − 1. */
export interface ReplicaFacts {
  readonly up: boolean
  readonly term: number
  readonly vote: NodeId
  readonly role: Role
  readonly log: readonly number[]
  readonly commit: number
  readonly diskTerm: number
  readonly diskVote: NodeId
  readonly diskLog: readonly number[]
  /** On their way to the disk. */
  readonly writes: number
  /** Snapshots on their way there. */
  readonly installs: number
}

export function checkStep(before: ReplicaFacts, after: ReplicaFacts, crashed: boolean): void {
  if (!crashed) {
    // A start begins with what the disk holds, which is what the facts of a machine that is off say.
    orderly('in memory', before.term, before.vote, after.term, after.vote)
    if (after.commit < before.commit)
      throw new Violation('the commit index never goes back', `${before.commit}, then ${after.commit}`)
  }
  orderly('on disk', before.diskTerm, before.diskVote, after.diskTerm, after.diskVote)
  if (after.diskTerm > after.term)
    throw new Violation('terms never go back', `${after.diskTerm} on disk, ${after.term} above`)
}

function orderly(where: string, term: number, vote: NodeId, nextTerm: number, nextVote: NodeId): void {
  if (nextTerm < term) throw new Violation('terms never go back', `${where} term ${term}, then ${nextTerm}`)
  if (nextTerm === term && vote !== 0 && nextVote !== vote)
    throw new Violation('one vote per term', `${where} for ${vote} in term ${term}, then for ${nextVote}`)
}

/** `to` as the sender calls it; `facts`: of the sender, after the step in which it said this. */
export function checkSaid(message: Message, to: NodeId, facts: ReplicaFacts): void {
  const { type, term } = message
  const { diskTerm, diskVote, diskLog, log } = facts
  // These two promise nothing, and a pre-vote speaks of a term that nobody is in.
  if (type === 'moved' || type === 'step-down' || type === 'pre-vote') return
  const said = (what: string): never => {
    throw new Violation('what is said is on disk', `${type} of term ${term} to ${to}: ${what}`)
  }
  if (diskTerm < term) said(`the disk knows term ${diskTerm}`)
  if (type === 'vote-reply' && message.granted && diskTerm === term && diskVote !== to)
    said(`the disk has the vote ${diskVote}`)
  if (type !== 'append-reply' || message.journaled === 0) return
  const at = message.journaled - 1
  if (diskLog[at] === undefined || diskLog[at] !== log[at]) said(`entry ${message.journaled} is not on the disk`)
}
