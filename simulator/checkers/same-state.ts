/**
 * I8: the same entries make the same state (T12: etcd lived with replicas that differed). Machines tell the sum of their state
 * at certain indexes, wherever they are and however they got there: by every entry from the first, from a checkpoint of their
 * own, or from another replica's snapshot.
 *
 * And nothing is applied above the mark: `committed` is told in the turn in which it was applied, so the order of the two
 * events is the rule.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'

interface State {
  readonly sum: number
  readonly node: number
}

export class SameState implements Checker {
  readonly property = 'replicas hold one state at one index'
  readonly #states = new Map<string, State>()
  /** By node and shard: the last that was applied, in the process that runs now. */
  readonly #applied = new Map<string, number>()
  compared = 0

  started(node: number): void {
    for (const key of [...this.#applied.keys()]) if (key.startsWith(`${node}/`)) this.#applied.delete(key)
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type !== 'state-summed') return
    const { shard, index, sum } = event
    const place = `${node}/${shard}`
    const last = this.#applied.get(place) ?? 0
    if (index <= last)
      throw new Violation(this.property, `node ${node} applies index ${index} of shard ${shard} after ${last}`)
    this.#applied.set(place, index)
    const key = `${shard}/${index}`
    const other = this.#states.get(key)
    if (other === undefined) {
      this.#states.set(key, { sum, node })
      return
    }
    this.compared++
    if (other.sum === sum) return
    throw new Violation(
      this.property,
      `shard ${shard}, index ${index}: the state is ${sum.toString(16)} on node ${node} and ${other.sum.toString(16)} on node ${other.node}`,
    )
  }
}
