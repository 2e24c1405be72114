/**
 * Who leads what: told by the leaders themselves, never written to a log.
 *
 * A node tells every peer when it starts to lead a shard and when it stops, and the whole list when a session begins. The
 * highest term wins, so news that arrive late, or over different connections in any order, cannot bring an old leader back.
 * A node that restarts leads nothing until it says so: its first list replaces whatever was known of it.
 *
 * The table is a hint for routing. Whether a leader still leads is only ever decided by the shard itself.
 */
import type { NodeId, ShardId } from '../replication/index.ts'

export interface ShardTerm {
  readonly shard: ShardId
  readonly term: number
}

export interface Leader {
  readonly node: NodeId
  readonly term: number
}

interface Known {
  /** Null: that term's leader has stopped leading. The term stays, as the mark below which no news counts. */
  node: NodeId | null
  term: number
  leader: Leader | null
}

export interface LeaderTableEvents {
  changed(shard: ShardId, leader: Leader | null): void
  /** Two nodes claim one term. */
  conflict(shard: ShardId, term: number, nodes: readonly [NodeId, NodeId]): void
}

export class LeaderTable {
  readonly #events: LeaderTableEvents
  readonly #known = new Map<ShardId, Known>()

  constructor(events: LeaderTableEvents) {
    this.#events = events
  }

  leaderOf(shard: ShardId): Leader | null {
    return this.#known.get(shard)?.leader ?? null
  }

  /** Everything that `node` is known to lead. */
  ledBy(node: NodeId): ShardTerm[] {
    const led: ShardTerm[] = []
    for (const [shard, known] of this.#known) if (known.node === node) led.push({ shard, term: known.term })
    return led
  }

  leads(node: NodeId, shard: ShardId, term: number): void {
    const known = this.#known.get(shard)
    if (known !== undefined) {
      if (term < known.term) return
      if (term === known.term) {
        if (known.node === null) return // said after "no longer": an echo
        if (known.node !== node) this.#events.conflict(shard, term, [known.node, node])
        return
      }
    }
    this.#set(shard, node, term)
  }

  /** `node` led the shard in `term` and does so no longer. */
  leadsNoLonger(node: NodeId, shard: ShardId, term: number): void {
    const known = this.#known.get(shard)
    if (known !== undefined && (known.term > term || (known.term === term && known.node !== node))) return
    this.#set(shard, null, term)
  }

  /** Everything that `node` leads: what was known of it and is not in the list is void. */
  replace(node: NodeId, list: readonly ShardTerm[]): void {
    const named = new Set<ShardId>()
    for (const { shard } of list) named.add(shard)
    for (const [shard, known] of this.#known)
      if (known.node === node && !named.has(shard)) this.#set(shard, null, known.term)
    for (const { shard, term } of list) this.leads(node, shard, term)
  }

  /** The shard is removed; its id is never used again. */
  forget(shard: ShardId): void {
    if (this.#known.delete(shard)) this.#events.changed(shard, null)
  }

  #set(shard: ShardId, node: NodeId | null, term: number): void {
    const leader = node === null ? null : { node, term }
    const before = this.#known.get(shard)
    this.#known.set(shard, { node, term, leader })
    if ((before?.node ?? null) === node && (before?.term === term || node === null)) return
    this.#events.changed(shard, leader)
  }
}
