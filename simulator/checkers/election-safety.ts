/** Election safety (Raft §5.2): at most one leader of a shard in a term, over the whole run, dead nodes included. */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'

export class ElectionSafety implements Checker {
  readonly property = 'one leader per shard and term'
  readonly #leaders = new Map<string, number>()
  elections = 0

  node(node: number, { event }: NodeEvent): void {
    if (event.type === 'leader-conflict') {
      throw new Violation(
        this.property,
        `node ${node} hears nodes ${event.nodes.join(' and ')} lead shard ${event.shard} in term ${event.term}`,
      )
    }
    if (event.type !== 'standing-changed' || event.role !== 'leader') return
    const key = `${event.shard}/${event.term}`
    const other = this.#leaders.get(key)
    if (other === node) return
    if (other !== undefined)
      throw new Violation(this.property, `nodes ${other} and ${node} lead shard ${event.shard} in term ${event.term}`)
    this.#leaders.set(key, node)
    this.elections++
  }
}
