/**
 * I2: log matching and the append-only leader (Raft §5.3). An entry is named by its index and term: whoever has one with the
 * same name has the same one, and, since sums are chained, the same log before it. And a leader never takes back what it has
 * in its log: it only appends.
 *
 * Looked at where it counts: in what disks have synced, of all nodes, over the whole run. An entry that was replaced before
 * anybody committed it stays in the memory of this checker, so a term that is used twice at one index is found whenever the
 * second one reaches a disk.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Checker } from '../observer.ts'
import type { SyncedEntry } from '../shadow-disk.ts'
import { Violation } from '../violation.ts'

interface Named {
  readonly term: number
  readonly crc: number
  readonly node: number
}

export class LogMatching implements Checker {
  readonly property = 'one entry per shard, index and term'
  /** By shard, then by index − 1: mostly there is one. */
  readonly #shards = new Map<number, (Named | Named[])[]>()
  /** Term in which a node leads a shard. */
  readonly #leads = new Map<string, number>()

  durable(node: number, { shard, index, term, crc }: SyncedEntry): void {
    let log = this.#shards.get(shard)
    if (log === undefined) {
      log = []
      this.#shards.set(shard, log)
    }
    const there = log[index - 1]
    if (there === undefined) {
      log[index - 1] = { term, crc, node }
      return
    }
    const all = Array.isArray(there) ? there : [there]
    const same = all.find((each) => each.term === term)
    if (same === undefined) log[index - 1] = [...all, { term, crc, node }]
    else if (same.crc !== crc) {
      throw new Violation(
        this.property,
        `shard ${shard}, index ${index}, term ${term}: ${crc.toString(16)} on the disk of node ${node}, ${same.crc.toString(16)} on that of node ${same.node}`,
      )
    }
  }

  started(node: number): void {
    for (const key of [...this.#leads.keys()]) if (key.startsWith(`${node}/`)) this.#leads.delete(key)
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type === 'standing-changed') {
      const key = `${node}/${event.shard}`
      if (event.role === 'leader') this.#leads.set(key, event.term)
      else this.#leads.delete(key)
    } else if (event.type === 'log-truncated' && this.#leads.get(`${node}/${event.shard}`) === event.term) {
      throw new Violation(
        'a leader only appends',
        `node ${node} leads shard ${event.shard} in term ${event.term} and drops its log from index ${event.fromIndex} on`,
      )
    }
  }
}
