/**
 * When an old mark is no breach: docs/decisions/0002 says what a lease on beats does not cover.
 *
 * A leader trusts that whoever answered its beat helps nobody else for an election timeout. The one who answered is free sooner if
 * its session with the leader ends, for that is evidence; and if only its side has ended (a reset in between, a process that
 * died, with the news of it lost on the way), the leader does not know:
 *
 *      follower   ────────────┤ session down ── may vote
 *      leader     ────────────┼─────────────────────┤ session down, or no answer for an election timeout
 *                             └───── in doubt ──────┘
 *
 * For exactly that long a mark shown by that leader may be an old one. Everything else stays forbidden, and so is the same
 * of any other node.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Checker } from '../observer.ts'

interface Doubt {
  readonly fromMs: number
  untilMs: number
}

/** By the leader's own clock, which may be slow. */
const CLOCK_MARGIN = 1.1

export class LeaseDoubt implements Checker {
  readonly property = 'reads are linearizable'
  readonly #now: () => number
  readonly #electionTimeoutMs: number
  /** `leader/follower` while the first believes in its session with the second. */
  readonly #up = new Set<string>()
  /** By `leader/follower`: the latest time in which only the follower's end was down. */
  readonly #doubts = new Map<string, Doubt>()

  constructor(now: () => number, electionTimeoutMs: number) {
    this.#now = now
    this.#electionTimeoutMs = electionTimeoutMs
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type === 'peer-up') this.#up.add(`${node}/${event.node}`)
    else if (event.type === 'peer-down') this.#ended(node, event.node)
  }

  /** Its sessions are gone with the process before, and whoever had them may not have heard. */
  started(node: number): void {
    for (const key of [...this.#up, ...this.#doubts.keys()]) {
      const [leader, follower] = key.split('/').map(Number) as [number, number]
      if (leader === node) {
        this.#up.delete(key)
        this.#doubts.delete(key)
      } else if (follower === node && this.#up.has(key)) this.#begin(key)
    }
  }

  /** May `node` have shown an old mark, in an answer that was asked for at `sinceMs` and came now? */
  excuses(node: number | undefined, sinceMs: number): boolean {
    if (node === undefined) return false
    for (const [key, { fromMs, untilMs }] of this.#doubts) {
      if (key.startsWith(`${node}/`) && fromMs <= this.#now() && untilMs >= sinceMs) return true
    }
    return false
  }

  #ended(node: number, peer: number): void {
    const own = `${node}/${peer}`
    this.#up.delete(own)
    const doubt = this.#doubts.get(own)
    if (doubt !== undefined) doubt.untilMs = Math.min(doubt.untilMs, this.#now())
    if (this.#up.has(`${peer}/${node}`)) this.#begin(`${peer}/${node}`)
  }

  #begin(key: string): void {
    const now = this.#now()
    const before = this.#doubts.get(key)
    // Two in a row are one: the leader has not noticed either.
    const fromMs = before !== undefined && before.untilMs >= now ? before.fromMs : now
    this.#doubts.set(key, { fromMs, untilMs: now + CLOCK_MARGIN * this.#electionTimeoutMs })
  }
}
