/**
 * Consistent hashing: who is responsible for a key, so that one node more or less moves few keys.
 *
 * `hash(key) % n` moves nearly every key when n changes. A ring moves about K/n: every member owns many points on a circle
 * (its *virtual nodes*), a key belongs to the first point clockwise of its own hash, and a new member takes only the arcs that
 * end in its own points (Karger et al. 1997, "Consistent hashing and random trees"; virtual nodes as in Dynamo, SOSP 2007).
 *
 *            B2
 *        A1 ╭──╮ A3        walk(key): clockwise from hash(key), each member once, in the order met
 *          │    │              key ─► C1 ─► A3 ─► B2            replicas of key: C, A, B
 *        B1 ╰──╯ C1 ◄─ key
 *
 * The hard part is balance: with v points per member the arcs still differ by some 1/√v. So whoever assigns keys adds a
 * *bound*: a member that is full is passed over and the key goes to the next on the walk (Mirrokni, Thorup, Zadimoghaddam 2016,
 * "Consistent hashing with bounded loads"). A small slack keeps the cascades short, so moves stay few.
 *
 * Ring positions are a function of names alone: every node of every version computes the same ring.
 */
import { createHash } from 'node:crypto'
import { assert } from '../stdx/index.ts'

export const VIRTUAL_NODES = 128

/** 48 uniform bits of SHA-1: stable over machines and versions, no seed, safe as a number. Not a matter of secrecy. */
export function ringHash(text: string): number {
  return createHash('sha1').update(text).digest().readUIntBE(0, 6)
}

export class HashRing {
  readonly members: readonly string[]
  /** Ascending, with the member that owns the point at the same place in `#owners`. */
  readonly #points: Float64Array
  readonly #owners: Int32Array

  /** The order of `members` does not matter. */
  constructor(members: Iterable<string>, virtualNodes = VIRTUAL_NODES) {
    this.members = [...new Set(members)].sort()
    const points: { at: number; owner: number }[] = []
    this.members.forEach((member, owner) => {
      for (let i = 0; i < virtualNodes; i++) points.push({ at: ringHash(`${member}#${i}`), owner })
    })
    points.sort((a, b) => a.at - b.at || a.owner - b.owner)
    this.#points = Float64Array.from(points, (point) => point.at)
    this.#owners = Int32Array.from(points, (point) => point.owner)
  }

  /** Every member once, in the order in which the key meets them clockwise. */
  walk(key: string): string[] {
    const met: string[] = []
    const seen = new Uint8Array(this.members.length)
    const size = this.#points.length
    let at = this.#firstPointFrom(ringHash(key))
    for (let step = 0; step < size && met.length < this.members.length; step++, at++) {
      if (at === size) at = 0
      const owner = this.#owners[at]!
      if (seen[owner] === 1) continue
      seen[owner] = 1
      met.push(this.members[owner]!)
    }
    return met
  }

  owner(key: string): string {
    assert(this.members.length > 0, 'an empty ring owns nothing')
    return this.#ownerAt(this.#firstPointFrom(ringHash(key)))
  }

  /**
   * Each key to one member, none with more than ⌈(1 + slack) · keys / members⌉ of them. Keys are taken in the given order,
   * which is part of the outcome.
   */
  assignBounded(keys: Iterable<string>, slack: number): Map<string, string> {
    const list = [...new Set(keys)]
    const bound = Math.ceil(((1 + slack) * list.length) / this.members.length)
    const load = new Map<string, number>()
    const assigned = new Map<string, string>()
    for (const key of list) {
      const member = this.walk(key).find((candidate) => (load.get(candidate) ?? 0) < bound)
      assert(member !== undefined, () => `bound ${bound} leaves no room for ${list.length} keys`)
      load.set(member, (load.get(member) ?? 0) + 1)
      assigned.set(key, member)
    }
    return assigned
  }

  #ownerAt(point: number): string {
    return this.members[this.#owners[point === this.#points.length ? 0 : point]!]!
  }

  /** Binary search for the first point at or after `at`; `length` when there is none, which means the first of the circle. */
  #firstPointFrom(at: number): number {
    let low = 0
    let high = this.#points.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#points[middle]! < at) low = middle + 1
      else high = middle
    }
    return low
  }
}
