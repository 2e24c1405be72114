/**
 * Brings leaders back to where placement meant them to be.
 *
 * After a restart the returning node leads nothing and the others lead too much; nothing is wrong, so nothing would change.
 * So each node looks at what it leads itself: where the preferred replica is another node that has been back for a while and
 * holds all that is committed, it hands over. Slowly, one at a time, and only in calm: a transfer costs a moment without a
 * leader, and in the middle of a failure nobody should add to it. Nobody coordinates this and nobody needs to: only a leader
 * can hand over, and it hands over to one node only, so it ends.
 */

export interface LedPartition {
  readonly shard: number
  readonly preferred: number
}

export interface BalanceCollaborators {
  readonly self: number
  /** The partitions that this node leads, settled. */
  readonly led: () => Iterable<LedPartition>
  readonly isUp: (node: number) => boolean
  /** The follower's journal holds all that is committed. */
  readonly isCaughtUp: (shard: number, node: number) => boolean
  readonly transfer: (shard: number, to: number) => void
}

/** How long nodes must neither come nor go before leaders move. */
export const CALM_MS = 3000
/** How long a follower must have been seen with all that is committed. */
export const CAUGHT_UP_MS = 1000
/** At most one transfer per node in this time; how often `tick` is called. */
export const BALANCE_INTERVAL_MS = 1000
/** A transfer that did not happen is not tried again before. */
export const RETRY_AFTER_MS = 30_000

export class LeaderBalance {
  readonly #with: BalanceCollaborators
  #calmSince: number
  #lastTransfer = Number.NEGATIVE_INFINITY
  /** Since when the preferred replica has been seen caught up, without a gap. */
  readonly #ready = new Map<number, number>()
  readonly #tried = new Map<number, number>()

  constructor(now: number, collaborators: BalanceCollaborators) {
    this.#with = collaborators
    this.#calmSince = now
  }

  /** A node came or went. */
  disturbed(now: number): void {
    this.#calmSince = now
    this.#tried.clear()
  }

  tick(now: number): void {
    const seen = new Set<number>()
    let choice: LedPartition | null = null
    for (const partition of this.#with.led()) {
      const { shard, preferred } = partition
      if (preferred === this.#with.self || !this.#with.isUp(preferred)) continue
      if (!this.#with.isCaughtUp(shard, preferred)) continue
      seen.add(shard)
      const since = this.#ready.get(shard)
      if (since === undefined) this.#ready.set(shard, now)
      else if (choice === null && now - since >= CAUGHT_UP_MS && !this.#triedLately(shard, now)) choice = partition
    }
    for (const shard of this.#ready.keys()) if (!seen.has(shard)) this.#ready.delete(shard)
    if (choice === null || now - this.#calmSince < CALM_MS || now - this.#lastTransfer < BALANCE_INTERVAL_MS) return
    this.#lastTransfer = now
    this.#tried.set(choice.shard, now)
    this.#with.transfer(choice.shard, choice.preferred)
  }

  #triedLately(shard: number, now: number): boolean {
    const tried = this.#tried.get(shard)
    if (tried === undefined) return false
    if (now - tried < RETRY_AFTER_MS) return true
    this.#tried.delete(shard)
    return false
  }
}
