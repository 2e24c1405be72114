/**
 * A leader moves its high-water mark by an entry of its own term only (Raft §5.4.2), and what lies before it moves along.
 *
 * The disaster of figure 8 needs three changes of leaders at the wrong moments, and a campaign may wait for it for long. Its cause
 * is there whenever a leader calls an entry of an earlier term committed because enough replicas hold it.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Checker, Truth } from '../observer.ts'
import { Violation } from '../violation.ts'

interface Leadership {
  readonly term: number
  readonly sinceMs: number
}

export class OwnTerm implements Checker {
  readonly property = 'a leader commits by an entry of its own term'
  readonly #truth: Truth
  readonly #leading = new Map<string, Leadership>()

  constructor(truth: Truth) {
    this.#truth = truth
  }

  started(node: number): void {
    for (const key of [...this.#leading.keys()]) if (key.startsWith(`${node}/`)) this.#leading.delete(key)
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type === 'standing-changed') {
      const key = `${node}/${event.shard}`
      if (event.role === 'leader') this.#leading.set(key, { term: event.term, sinceMs: this.#truth.now() })
      else this.#leading.delete(key)
    } else if (event.type === 'committed') this.#committed(node, event.shard, event.index)
  }

  #committed(node: number, shard: number, index: number): void {
    const leadership = this.#leading.get(`${node}/${shard}`)
    // In the turn of its election it may still report what it was told as a follower.
    if (leadership === undefined || leadership.sinceMs === this.#truth.now()) return
    const terms = new Set<number>()
    for (const each of this.#truth.nodes) {
      const entry = this.#truth.durableEntry(each, shard, index)
      if (entry !== undefined) terms.add(entry.term)
    }
    if (terms.size === 0 || terms.has(leadership.term)) return
    throw new Violation(
      this.property,
      `node ${node} leads shard ${shard} in term ${leadership.term} and calls index ${index} committed, which is of term ${[...terms].join(' or ')}`,
    )
  }
}
