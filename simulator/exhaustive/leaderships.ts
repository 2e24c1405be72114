/** Who takes itself for the leader of what, from what nodes tell of themselves. Not a judge: an observer. */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Checker } from '../observer.ts'

export class Leaderships implements Checker {
  readonly property = 'none: who leads is noted'
  /** By shard, then node: the term in which it leads. */
  readonly #leading = new Map<number, Map<number, number>>()

  /** Shards whose leadership was handed to whom placement prefers: an order, and no failure. */
  readonly handedBack = new Set<number>()

  node(node: number, { event }: NodeEvent): void {
    if (event.type === 'leader-handed-back') this.handedBack.add(event.shard)
    if (event.type !== 'standing-changed') return
    const nodes = this.#leading.get(event.shard) ?? new Map<number, number>()
    this.#leading.set(event.shard, nodes)
    if (event.role === 'leader') nodes.set(node, event.term)
    else nodes.delete(node)
  }

  started(node: number): void {
    for (const nodes of this.#leading.values()) nodes.delete(node)
  }

  /** The term in which the node leads; undefined if it does not. */
  termOf(shard: number, node: number): number | undefined {
    return this.#leading.get(shard)?.get(node)
  }

  of(shard: number): number[] {
    return [...(this.#leading.get(shard)?.keys() ?? [])].sort((a, b) => a - b)
  }

  /** All leaderships, as text to be compared. */
  terms(): string {
    const shards = [...this.#leading].sort(([a], [b]) => a - b)
    return shards
      .map(([shard, nodes]) => {
        const leaders = [...nodes].sort(([a], [b]) => a - b).map(([node, term]) => `node ${node} in term ${term}`)
        return `shard ${shard}: ${leaders.join(' and ') || 'nobody'}`
      })
      .join('; ')
  }
}
