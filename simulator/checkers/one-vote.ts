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

interface Vote {
  readonly shard: number
  readonly term: number
  readonly vote: number
}

export class OneVote implements Checker {
  readonly property = 'one vote per node and term'
  readonly #durable = new Map<string, Durable>()
  /** Nodes that came back with an empty disk: they know nothing, and have no voice. */
  readonly #wiped = new Set<number>()

  wiped(node: number): void {
    this.#wiped.add(node)
  }

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
    if (this.#wiped.has(node)) return this.#silent(node, event)
    if (event.type === 'vote-told') return this.#told(node, event)
    if (event.type === 'replica-opened') return this.#opened(node, event)
    if (event.type !== 'standing-changed') return
    const durable = this.#durable.get(`${node}/${event.shard}`)
    if (durable !== undefined && event.term < durable.term) {
      throw new Violation(
        this.property,
        `node ${node} is in term ${event.term} of shard ${event.shard}, and was in term ${durable.term} before`,
      )
    }
  }

  /** Design §6: a wiped disk is a new member, never a voter. What it promised before, it cannot keep. */
  #silent(node: number, event: NodeEvent['event']): void {
    if (event.type === 'vote-told' && event.vote !== 0)
      throw new Violation(
        this.property,
        `node ${node}, whose disk was wiped, votes in shard ${event.shard}, term ${event.term}`,
      )
  }

  /** T1: who was told must never be surprised, so the vote is on the disk before. */
  #told(node: number, { shard, term, vote }: Vote): void {
    const durable = this.#durable.get(`${node}/${shard}`)?.votes.get(term) ?? 0
    if (durable === vote) return
    const found = durable === 0 ? 'its disk knows of none' : `its disk says node ${durable}`
    throw new Violation(
      this.property,
      `node ${node}, shard ${shard}, term ${term}: a vote for ${vote} is told, ${found}`,
    )
  }

  /** A vote that was synced binds every later process. */
  #opened(node: number, { shard, term, vote }: Vote): void {
    const durable = this.#durable.get(`${node}/${shard}`)
    if (durable === undefined || term > durable.term) return
    const before = durable.votes.get(durable.term) ?? 0
    if (term === durable.term && (before === 0 || vote === before)) return
    throw new Violation(
      this.property,
      `node ${node} starts shard ${shard} in term ${term} with a vote for ${vote}; on its disk: term ${durable.term}, a vote for ${before}`,
    )
  }
}
