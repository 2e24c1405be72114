/**
 * Lamport's clock ("Time, Clocks, and the Ordering of Events in a Distributed System", 1978): a number that every event
 * raises and every message carries, so that whatever could have caused something has the smaller stamp. It needs no wall
 * clock, survives any skew, and gives all nodes one reproducible order of everything (stamp, then shard).
 *
 * A restarted node starts above the highest stamp it finds on its disk.
 */
export class LamportClock {
  #stamp: number

  constructor(above = 0) {
    this.#stamp = above
  }

  get stamp(): number {
    return this.#stamp
  }

  /** The stamp of a local event: of an entry, of a message about to leave. */
  tick(): number {
    return ++this.#stamp
  }

  /** A message arrived: max(own, received) + 1. */
  observe(received: number): void {
    this.#stamp = Math.max(received, this.#stamp) + 1
  }
}
