/**
 * A state of the cluster as a row of whole numbers, and when two of them are the same.
 *
 *     replica 0 · replica 1 · replica 2 · who led which term · what is committed · budgets · messages on the way …
 *
 * A message on the way is one number: which, from whom, to whom (2 bits each). Replicas differ by their names only, so of the six
 * states that differ by names one, the smallest, stands for all. Turning the ring is only a matter of places; its reflection also
 * exchanges what each replica calls its next and its last (`replica-states.ts`).
 */
import { must } from '../../src/stdx/index.ts'
import type { ReplicaStates } from './replica-states.ts'

export const REPLICAS = [0, 1, 2] as const
/** Places in a state, after the replicas. */
export const LEADERS = 3
export const COMMITTED = 4
export const BUDGET = 5
export const NETWORK = 6

export function flightOf(message: number, from: number, to: number): number {
  return (message << 4) | (from << 2) | to
}

export function messageOf(flight: number): number {
  return flight >> 4
}

export function senderOf(flight: number): number {
  return (flight >> 2) & 3
}

export function receiverOf(flight: number): number {
  return flight & 3
}

/** Which node takes the place of 0, 1 and 2, and whether that turns the ring around. */
const WAYS: readonly (readonly [number, number, number, number])[] = [
  [0, 1, 2, 0],
  [1, 2, 0, 0],
  [2, 0, 1, 0],
  [0, 2, 1, 1],
  [1, 0, 2, 1],
  [2, 1, 0, 1],
]

export interface ShapeOptions {
  readonly replicas: ReplicaStates
  /** Messages of one connection keep their order; else what is on the way is a set. */
  readonly ordered: boolean
  readonly symmetry: boolean
}

export class ClusterShape {
  readonly #replicas: ReplicaStates
  readonly #ordered: boolean
  readonly #symmetry: boolean

  constructor({ replicas, ordered, symmetry }: ShapeOptions) {
    this.#replicas = replicas
    this.#ordered = ordered
    this.#symmetry = symmetry
  }

  /** Sender, receiver, and which of their two connections: appends have one for themselves. */
  connection(flight: number): number {
    return ((flight & 15) << 1) | (this.#replicas.messages.isData(flight >> 4) ? 1 : 0)
  }

  /** By connection, and there in order of sending where that counts. Stable, and mostly sorted. */
  sort(network: Int32Array): void {
    const ordered = this.#ordered
    for (let i = 1; i < network.length; i++) {
      const flight = network[i]!
      const key = ordered ? this.connection(flight) : flight
      let at = i
      for (; at > 0; at--) {
        const before = network[at - 1]!
        if ((ordered ? this.connection(before) : before) <= key) break
        network[at] = before
      }
      network[at] = flight
    }
  }

  /** The smallest of the six that differ by the replicas' names. */
  canonical(state: Int32Array): Int32Array {
    if (!this.#symmetry) return state
    const smallest = [0, 0, 0]
    let best: Int32Array | null = null
    // The replicas decide, and only where two of the six agree in them the rest does.
    for (let look = 0; look < 2; look++) {
      for (let way = 0; way < WAYS.length; way++) {
        const [a, b, c, reflected] = WAYS[way]!
        const x = this.#seenAs(state[a]!, reflected)
        const y = this.#seenAs(state[b]!, reflected)
        const z = this.#seenAs(state[c]!, reflected)
        const order = x - smallest[0]! || y - smallest[1]! || z - smallest[2]!
        if (look === 0) {
          if (way > 0 && order >= 0) continue
          smallest[0] = x
          smallest[1] = y
          smallest[2] = z
        } else if (order === 0) {
          const renamed = this.#renamed(state, a, b, smallest)
          if (best === null || isLess(renamed, best)) best = renamed
        }
      }
    }
    return must(best, 'one of six')
  }

  #seenAs(replica: number, reflected: number): number {
    return reflected === 0 ? replica : this.#replicas.mirrored(replica)
  }

  #renamed(state: Int32Array, a: number, b: number, replicas: readonly number[]): Int32Array {
    const renamed = new Int32Array(state.length)
    renamed.set(replicas)
    let leaders = 0
    for (let shift = 0, rest = state[LEADERS]!; rest !== 0; shift += 2, rest >>>= 2)
      if ((rest & 3) !== 0) leaders |= (renamedNode((rest & 3) - 1, a, b) + 1) << shift
    renamed[LEADERS] = leaders
    renamed[COMMITTED] = state[COMMITTED]!
    renamed[BUDGET] = state[BUDGET]!
    for (let at = NETWORK; at < state.length; at++) {
      const flight = state[at]!
      renamed[at] = (flight & ~15) | (renamedNode((flight >> 2) & 3, a, b) << 2) | renamedNode(flight & 3, a, b)
    }
    this.sort(renamed.subarray(NETWORK))
    return renamed
  }
}

function renamedNode(node: number, a: number, b: number): number {
  return node === a ? 0 : node === b ? 1 : 2
}

function isLess(a: Int32Array, b: Int32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! < b[i]!
  return false
}
