/** High-water marks only rise: in each process step by step, and nobody's journal loses what it was synced to hold. */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Checker, Truth } from '../observer.ts'
import { Violation } from '../violation.ts'

export class Marks implements Checker {
  readonly property = 'marks never go back'
  readonly #truth: Truth
  /** By node and shard, of the process that runs now. */
  readonly #commits = new Map<string, number>()
  readonly #opened = new Set<string>()

  constructor(truth: Truth) {
    this.#truth = truth
  }

  started(node: number): void {
    for (const kept of [this.#commits, this.#opened]) {
      for (const key of [...kept.keys()]) if (key.startsWith(`${node}/`)) kept.delete(key)
    }
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type === 'committed') {
      const key = `${node}/${event.shard}`
      const before = this.#commits.get(key) ?? 0
      if (event.index <= before)
        throw new Violation(this.property, `node ${node}, shard ${event.shard}: index ${event.index} after ${before}`)
      this.#commits.set(key, event.index)
      this.#opened.add(key)
    } else if (event.type === 'journaled') this.#journaled(node, event.shard, event.index)
    else if (event.type === 'standing-changed') this.#opened.add(`${node}/${event.shard}`)
  }

  /** The first word of a shard after a start says what was found on the disk. */
  #journaled(node: number, shard: number, index: number): void {
    const key = `${node}/${shard}`
    if (this.#opened.has(key)) return
    this.#opened.add(key)
    const synced = this.#truth.durableLastIndex(node, shard)
    if (index < synced) {
      throw new Violation(
        this.property,
        `node ${node} found shard ${shard} up to index ${index}, and its disk was synced up to ${synced}`,
      )
    }
  }
}
