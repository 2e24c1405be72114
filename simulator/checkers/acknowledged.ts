/** An acknowledgement leaves when a quorum's disks hold the entry it speaks of (design §4), read below the nodes. */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Checker, Truth } from '../observer.ts'
import { Violation } from '../violation.ts'

export class Acknowledged implements Checker {
  readonly property = 'acknowledged is on a quorum of disks'
  readonly #truth: Truth

  constructor(truth: Truth) {
    this.#truth = truth
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type !== 'stream-acknowledged') return
    const { shard, index, term } = event
    const holders = this.#truth.nodes.filter((each) => this.#truth.durableEntry(each, shard, index)?.term === term)
    if (holders.length >= this.#truth.quorumOf(shard)) return
    const held = holders.length === 0 ? 'no disk' : `the disks of ${holders.join(', ')}`
    throw new Violation(
      this.property,
      `node ${node} acknowledges index ${index} of shard ${shard} (term ${term}); it is on ${held}`,
    )
  }
}
