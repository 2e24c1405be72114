/**
 * What a quorum agrees on.
 *
 * Give every voter a number; the *agreed* number is the highest one that a majority has reached:
 *
 *     node 1  ████████████ 12
 *     node 2  ███████ 7           majority of 3 = 2 nodes have reached 7: agreed = 7
 *     node 3  ███ 3
 *
 * Which number is the caller's business, and that is what makes this small file carry so much: with journaled indexes it is
 * the high-water mark (Raft §5.3), with the times of answered heartbeats it is the moment up to which a quorum stood by its
 * leader (check-quorum, thesis §6.2), and a ballot is the same question about yes and no.
 *
 * A convention does the work for joint consensus (§6): the empty set of voters agrees to everything, so a configuration is
 * always two sets that must both agree, and the second one is simply empty while nothing changes.
 */
import type { Configuration } from './configuration.ts'
import type { NodeId } from './messages.ts'

/** The number a node has reached. An interface and not a function, so that asking allocates nothing. */
export interface Measure {
  of(node: NodeId): number
}

export type BallotResult = 'won' | 'lost' | 'open'

/** The highest number reached by both halves of the configuration. */
export function agreed(configuration: Configuration, measure: Measure): number {
  return Math.min(majorityAgreed(configuration.voters, measure), majorityAgreed(configuration.outgoing, measure))
}

/**
 * The highest number that a majority of `voters` has reached. Counts instead of sorting: there are at most a handful of
 * voters, and this runs for every acknowledgement, so it allocates nothing.
 */
export function majorityAgreed(voters: readonly NodeId[], measure: Measure): number {
  if (voters.length === 0) return Number.POSITIVE_INFINITY
  const majority = majorityOf(voters.length)
  let best = Number.NEGATIVE_INFINITY
  for (let i = 0; i < voters.length; i++) {
    const candidate = measure.of(voters[i]!)
    if (candidate <= best) continue
    let reached = 0
    for (let k = 0; k < voters.length; k++) if (measure.of(voters[k]!) >= candidate) reached++
    if (reached >= majority) best = candidate
  }
  return best
}

/** Won by a majority in both halves; lost once either half cannot be won any more. */
export function ballot(configuration: Configuration, votes: ReadonlyMap<NodeId, boolean>): BallotResult {
  const first = majorityBallot(configuration.voters, votes)
  const second = majorityBallot(configuration.outgoing, votes)
  if (first === 'lost' || second === 'lost') return 'lost'
  return first === 'won' && second === 'won' ? 'won' : 'open'
}

export function majorityBallot(voters: readonly NodeId[], votes: ReadonlyMap<NodeId, boolean>): BallotResult {
  if (voters.length === 0) return 'won'
  const majority = majorityOf(voters.length)
  let granted = 0
  let refused = 0
  for (const voter of voters) {
    const vote = votes.get(voter)
    if (vote === true) granted++
    else if (vote === false) refused++
  }
  if (granted >= majority) return 'won'
  return voters.length - refused < majority ? 'lost' : 'open'
}

export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1
}
