/**
 * I3: leader completeness (Raft §5.4.3). Whoever is elected in a term has every entry that was committed in an earlier one.
 *
 * "Earlier" is by term, not by time: a candidate may hear of its votes so late that others have elected and committed in
 * higher terms meanwhile, and is right to lead a term that nobody waits for. So for each term the highest index is kept that
 * somebody in that term reported as committed; it may have been committed in a lower one, never in a higher.
 *
 * The new leader's log is read from its disk. It is there: its vote for itself was synced behind it. One comparison does for
 * the whole log, since sums are chained.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Checker, Truth } from '../observer.ts'
import { Violation } from '../violation.ts'
import type { OneHistory } from './one-history.ts'

export class LeaderCompleteness implements Checker {
  readonly property = 'a new leader has everything that was committed'
  readonly #truth: Truth
  readonly #history: OneHistory
  /** By shard: term ► highest index committed in it. */
  readonly #committed = new Map<number, Map<number, number>>()

  /** Must be told of events after `history`. */
  constructor(truth: Truth, history: OneHistory) {
    this.#truth = truth
    this.#history = history
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type === 'committed') this.#note(event.shard, event.term, event.index)
    else if (event.type === 'standing-changed' && event.role === 'leader') this.#elected(node, event.shard, event.term)
  }

  #note(shard: number, term: number, index: number): void {
    let terms = this.#committed.get(shard)
    if (terms === undefined) {
      terms = new Map()
      this.#committed.set(shard, terms)
    }
    if (index > (terms.get(term) ?? 0)) terms.set(term, index)
  }

  #elected(node: number, shard: number, term: number): void {
    let due = 0
    for (const [in_, index] of this.#committed.get(shard) ?? []) if (in_ < term && index > due) due = index
    if (due === 0) return
    const held = this.#truth.durableEntry(node, shard, due)
    // Below a snapshot that was installed there are no entries: it stands for them.
    if (held === undefined && this.#truth.durableLastIndex(node, shard) > due) return
    const { crc } = this.#history.entryAt(shard, due) ?? {}
    if (crc === undefined || held?.crc === crc) return
    const what = held === undefined ? 'nothing' : `${held.crc.toString(16)} of term ${held.term}`
    throw new Violation(
      this.property,
      `node ${node} leads shard ${shard} in term ${term}; at index ${due} ${crc.toString(16)} is committed, and its disk has ${what}`,
    )
  }
}
