/**
 * A node votes once in a term (Raft §5.2), and its term never goes back, restarts included: seen in what reaches its disk,
 * not in what it says. A block of the journal may be written again as it is, so older states may be seen once more.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'

interface Durable {
  term: number
  readonly votes: Map<number, number>
}

export class OneVote implements Checker {
  readonly property = 'one vote per node and term'
  readonly #durable = new Map<string, Durable>()

  vote(node: number, shard: number, term: number, vote: number): void {
    const key = `${node}/${shard}`
    let durable = this.#durable.get(key)
    if (durable === undefined) {
      durable = { term: 0, votes: new Map() }
      this.#durable.set(key, durable)
    }
    durable.term = Math.max(durable.term, term)
    if (vote === 0) return
    const before = durable.votes.get(term) ?? vote
    if (vote !== before)
      throw new Violation(
        this.property,
        `node ${node}, shard ${shard}, term ${term}: a vote for ${before}, then for ${vote}`,
      )
    durable.votes.set(term, vote)
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type !== 'standing-changed') return
    const durable = this.#durable.get(`${node}/${event.shard}`)
    if (durable !== undefined && event.term < durable.term) {
      throw new Violation(
        this.property,
        `node ${node} is in term ${event.term} of shard ${event.shard}, and was in term ${durable.term} before`,
      )
    }
  }
}
