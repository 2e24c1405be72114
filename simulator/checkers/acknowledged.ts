/**
 * An acknowledgement leaves when a quorum's disks hold the entry it speaks of (design §4), read below the nodes. A disk that was replaced
 * meanwhile counts: its node had said what it held, and that was on its way.
 */
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
    const truth = this.#truth
    const holders = truth.nodes.filter(
      (each) =>
        truth.durableEntry(each, shard, index)?.term === term || truth.replacedEntry(each, shard, index)?.term === term,
    )
    if (holders.length >= truth.quorumOf(shard)) return
    const held = holders.length === 0 ? 'no disk' : `the disks of ${holders.join(', ')}`
    throw new Violation(
      this.property,
      `node ${node} acknowledges index ${index} of shard ${shard} (term ${term}); it is on ${held}`,
    )
  }
}
