/**
 * I15: offsets and marks are strictly monotonic. A shard's history maps indexes to offsets, both rising: more index, never
 * less offset, on whichever node the mark is seen. And a leader numbers what it appends without a gap: offsets are dense.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'

interface Mark {
  readonly index: number
  readonly offset: number
}

export class OffsetsRise implements Checker {
  readonly property = 'offsets rise with the index, without a gap'
  /** Highest mark of a shard that any node has told. */
  readonly #marks = new Map<number, Mark>()
  /** By node and shard: where the next record of this leadership goes. */
  readonly #ends = new Map<string, number>()

  started(node: number): void {
    for (const key of [...this.#ends.keys()]) if (key.startsWith(`${node}/`)) this.#ends.delete(key)
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type === 'committed') this.#committed(node, event.shard, event.index, event.offset)
    else if (event.type === 'stream-appended') this.#appended(node, event.shard, event.firstOffset, event.records)
    else if (event.type === 'standing-changed') this.#ends.delete(`${node}/${event.shard}`)
  }

  #committed(node: number, shard: number, index: number, offset: number): void {
    const mark = this.#marks.get(shard)
    if (mark !== undefined && (index >= mark.index ? offset < mark.offset : offset > mark.offset)) {
      throw new Violation(
        this.property,
        `shard ${shard} ends at offset ${mark.offset} with index ${mark.index}, and on node ${node} at ${offset} with ${index}`,
      )
    }
    if (mark === undefined || index > mark.index) this.#marks.set(shard, { index, offset })
  }

  #appended(node: number, shard: number, firstOffset: number, records: number): void {
    const key = `${node}/${shard}`
    const end = this.#ends.get(key)
    if (end !== undefined && end !== firstOffset)
      throw new Violation(
        this.property,
        `node ${node} appends at offset ${firstOffset} of shard ${shard}; ${end} is next`,
      )
    this.#ends.set(key, firstOffset + records)
  }
}
