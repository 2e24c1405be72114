/**
 * The fault budget: how much may be broken at once so that the cluster must survive.
 *
 * A node is *impaired* while it is down, paused or cut off, however many faults hold it there. At no time are more than a minority
 * of the nodes impaired (one node of one survives its own restarts). A fault that would exceed it when its time comes is
 * passed over. A machine that is *damaged* for good (its disk lost what others count on) stays impaired for ever.
 *
 *      within    at most a minority impaired at any time; blackouts, slow and one-way links, clocks within 5 %  ─► must survive
 *      beyond    any number impaired for long, clocks out of bounds, disks of a quorum damaged
 *                                                                    ─► unavailable, loudly, and never wrong
 *
 * One seed in twelve goes beyond. Safety is asked of it at every moment, as of all others; what it must be able to do in the end
 * depends on what was broken for good.
 */
export class Budget {
  readonly minority: number
  /** How many may be impaired at once. */
  readonly most: number
  /** Impaired nodes, with how many faults hold each. */
  readonly #impaired = new Map<number, number>()
  readonly #damaged = new Set<number>()

  constructor(nodes: number, beyond = false) {
    this.minority = nodes === 1 ? 1 : Math.floor((nodes - 1) / 2)
    this.most = beyond ? nodes : this.minority
  }

  get impaired(): ReadonlySet<number> {
    return new Set(this.#impaired.keys())
  }

  /** Nodes that cannot come back as they were. */
  get damaged(): ReadonlySet<number> {
    return this.#damaged
  }

  /** May this node be impaired now? */
  within(id: number): boolean {
    return this.#impaired.has(id) || this.#impaired.size < this.most
  }

  withinAll(ids: readonly number[]): boolean {
    return new Set([...this.#impaired.keys(), ...ids]).size <= this.most
  }

  impair(id: number): void {
    this.#impaired.set(id, (this.#impaired.get(id) ?? 0) + 1)
  }

  repair(id: number): void {
    const left = (this.#impaired.get(id) ?? 1) - 1
    if (left > 0) this.#impaired.set(id, left)
    else this.#impaired.delete(id)
  }

  /** For ever. */
  damage(id: number): void {
    if (this.#damaged.has(id)) return
    this.#damaged.add(id)
    this.impair(id)
  }
}
