/** A node votes once in a term (Raft §5.2), restarts included: seen in what it hands to its journal, not in what it says. */
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'

export class OneVote implements Checker {
  readonly property = 'one vote per node and term'
  readonly #votes = new Map<string, { term: number; vote: number }>()

  vote(node: number, shard: number, term: number, vote: number): void {
    const key = `${node}/${shard}`
    const before = this.#votes.get(key)
    if (before !== undefined && term < before.term) {
      throw new Violation(this.property, `node ${node}, shard ${shard}: term ${term} after term ${before.term}`)
    }
    if (before !== undefined && term === before.term && before.vote !== 0 && vote !== before.vote) {
      throw new Violation(
        this.property,
        `node ${node}, shard ${shard}, term ${term}: a vote for ${before.vote}, then for ${vote}`,
      )
    }
    this.#votes.set(key, { term, vote })
  }
}
