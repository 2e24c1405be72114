/**
 * The committed history of a shard is one (state-machine safety, Raft §5.4): at each index the same entry for everybody and
 * for ever. And it is on a quorum's disks before anybody calls it committed.
 *
 * Neither is believed from what nodes say. When a node's high-water mark passes an index, the shadow disks are asked which
 * entry a quorum of journals holds there: there must be one, and it must stay the one. Entries are compared by their sums,
 * which are chained, so one equal sum makes all before it equal.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Checker, Truth } from '../observer.ts'
import { Violation } from '../violation.ts'

interface Committed {
  readonly crc: number
  readonly term: number
}

interface ShardHistory {
  readonly entries: Committed[]
  /** Offset of the first record behind each committed index that some node has reported. */
  readonly offsets: Map<number, number>
}

export class OneHistory implements Checker {
  readonly property = 'the committed history is one, and on a quorum of disks'
  readonly #truth: Truth
  readonly #shards = new Map<number, ShardHistory>()

  constructor(truth: Truth) {
    this.#truth = truth
  }

  /** Up to which index the shard's history is known to be decided. */
  committedIndex(shard: number): number {
    return this.#shards.get(shard)?.entries.length ?? 0
  }

  entryAt(shard: number, index: number): Committed | undefined {
    return this.#shards.get(shard)?.entries[index - 1]
  }

  get shards(): IterableIterator<number> {
    return this.#shards.keys()
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type !== 'committed') return
    const { shard, index, offset } = event
    let history = this.#shards.get(shard)
    if (history === undefined) {
      history = { entries: [], offsets: new Map() }
      this.#shards.set(shard, history)
    }
    while (history.entries.length < index) history.entries.push(this.#decided(node, shard, history.entries.length + 1))
    const known = history.offsets.get(index)
    if (known !== undefined && known !== offset) {
      throw new Violation(
        this.property,
        `shard ${shard}, index ${index}: the next offset is ${known}, and ${offset} on node ${node}`,
      )
    }
    history.offsets.set(index, offset)
  }

  #decided(node: number, shard: number, index: number): Committed {
    const { nodes } = this.#truth
    const holders = new Map<number, number[]>()
    const quorum = this.#truth.quorumOf(shard)
    for (const each of nodes) {
      const entry = this.#truth.durableEntry(each, shard, index)
      const replaced = this.#truth.replacedEntry(each, shard, index)
      // A disk that was replaced counts as well: its node had said what it held, and that was on its way.
      for (const held of replaced === undefined || replaced.crc === entry?.crc ? [entry] : [entry, replaced]) {
        if (held === undefined) continue
        const by = holders.get(held.crc) ?? []
        by.push(each)
        holders.set(held.crc, by)
        if (by.length >= quorum) return { crc: held.crc, term: held.term }
      }
    }
    const found = [...holders].map(([crc, held]) => `${crc.toString(16)} on ${held.join(', ')}`).join('; ')
    throw new Violation(
      this.property,
      `node ${node} calls index ${index} of shard ${shard} committed; on disks: ${found || 'nothing'} (a quorum is ${quorum})`,
    )
  }
}
