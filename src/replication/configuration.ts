/**
 * Who replicates a shard: voters count for elections and the high-water mark, learners receive the log and count for nothing.
 *
 * A configuration is two sets of voters. The second, `outgoing`, is empty except in the middle of a membership change, when
 * both must agree (joint consensus, Raft §6); see `quorum.ts` for why nothing else has to know.
 */
import { assert } from '../stdx/index.ts'
import type { NodeId } from './messages.ts'

export class Configuration {
  readonly voters: readonly NodeId[]
  readonly outgoing: readonly NodeId[]
  readonly learners: readonly NodeId[]
  /** Everybody, once, in ascending order: the order in which messages are produced, so that it is the same on every run. */
  readonly members: readonly NodeId[]

  constructor(voters: readonly NodeId[], learners: readonly NodeId[] = [], outgoing: readonly NodeId[] = []) {
    assert(voters.length > 0, 'a configuration needs a voter')
    const members = new Set([...voters, ...outgoing, ...learners])
    assert(new Set(voters).size === voters.length, () => `a voter is named twice: ${voters}`)
    assert(new Set(learners).size === learners.length, () => `a learner is named twice: ${learners}`)
    this.voters = [...voters].sort(ascending)
    this.outgoing = [...outgoing].sort(ascending)
    this.learners = [...learners].sort(ascending)
    this.members = [...members].sort(ascending)
    for (const node of this.members)
      assert(Number.isSafeInteger(node) && node > 0, () => `node id ${node}; 0 means "no vote"`)
    for (const node of learners) assert(!this.isVoter(node), () => `node ${node} is both voter and learner`)
  }

  isVoter(node: NodeId): boolean {
    return this.voters.includes(node) || this.outgoing.includes(node)
  }

  /** True if this node alone can decide everything. */
  isSoleVoter(node: NodeId): boolean {
    return this.voters.length === 1 && this.voters[0] === node && this.outgoing.every((other) => other === node)
  }
}

function ascending(a: number, b: number): number {
  return a - b
}
