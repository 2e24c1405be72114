/**
 * Links that fall silent, end, or become slow (F2, F5–F10), and connections whose bytes do something else (`streams.ts`).
 *
 * Silence is the harder half: a cut link keeps its bytes and delivers them when it heals, as TCP would send them again, and nobody
 * is told meanwhile. Cuts are directed, and several may hold one direction; it is open again when the last of them ends.
 *
 *      partition     uniform: every node draws a side        halves        single        leader against the rest
 *                    bridge: two halves that share one node  ring: each hears its two neighbours only
 *      planes        nodes hear each other, clients are cut; or clients are there, and nodes are cut
 *      swizzle       a random subset is clogged node by node over seconds, and unclogged in another order
 *
 * The swizzle is FoundationDB's "reigning champion": it walks a cluster through many different partitions in a few seconds, each
 * of which begins with what the one before has left behind.
 */
import type { Target } from '../scenario/scenario.ts'
import { CLIENTS, type Family, host, type Injection } from './injection.ts'

export type Direction = 'both' | 'in' | 'out'

export type PartitionShape = 'uniform' | 'halves' | 'single' | 'leader' | 'bridge' | 'ring'

export interface Clog {
  readonly node: number
  readonly afterMs: number
  readonly untilMs: number
}

export type NetworkFault =
  | {
      readonly kind: 'isolate'
      readonly atMs: number
      readonly target: Target
      readonly direction: Direction
      readonly clientsToo: boolean
      readonly forMs: number
    }
  | { readonly kind: 'cut'; readonly atMs: number; readonly from: number; readonly to: number; readonly forMs: number }
  /** `order`: the nodes as the shape lays them out. `sides`: for a uniform one, where each of them is. */
  | {
      readonly kind: 'partition'
      readonly atMs: number
      readonly shape: PartitionShape
      readonly order: readonly number[]
      readonly sides: readonly number[]
      /** Clients hear only the larger side. */
      readonly clientsToo: boolean
      readonly forMs: number
    }
  /** Clients cannot reach the node; its peers can. */
  | { readonly kind: 'cut-clients'; readonly atMs: number; readonly target: Target; readonly forMs: number }
  | { readonly kind: 'swizzle'; readonly atMs: number; readonly clogs: readonly Clog[]; readonly clientsToo: boolean }
  | {
      readonly kind: 'slow-network'
      readonly atMs: number
      readonly target: Target
      readonly factor: number
      readonly forMs: number
    }
  /** Segments are lost and sent again: the streams of the node stall, by turns. */
  | {
      readonly kind: 'lossy-network'
      readonly atMs: number
      readonly target: Target
      readonly permille: number
      readonly forMs: number
    }
  | {
      readonly kind: 'narrow-network'
      readonly atMs: number
      readonly target: Target
      readonly bytesPerMs: number
      readonly forMs: number
    }

const SHAPES: readonly PartitionShape[] = ['uniform', 'halves', 'single', 'leader', 'bridge', 'ring']

export type Cut = readonly [from: string, to: string]

export const networkFaults: Family<NetworkFault['kind']> = {
  isolate: {
    draw: ({ atMs, target, forMs, prng }) => {
      const direction = (['both', 'both', 'in', 'out'] as const)[prng.below(4)]!
      return { kind: 'isolate', atMs, target, direction, clientsToo: prng.below(2) === 0, forMs }
    },
    inject: ({ target, direction, clientsToo, forMs }, at) => {
      const { id, state } = at.target(target)
      if (state === 'down' || !at.budget.within(id)) return false
      const cuts = aroundNode(at, id, clientsToo).filter(
        ([from]) => direction === 'both' || (from === host(id)) === (direction === 'out'),
      )
      const what = `${direction}${clientsToo ? ', clients too' : ''}`
      at.impairFor([id], forMs)
      cutFor(at, cuts, forMs, `node ${id} is cut off (${what}) for ${forMs} ms`)
      return true
    },
  },

  cut: {
    draw: ({ atMs, forMs, prng, nodes, node }) => {
      const from = node()
      return { kind: 'cut', atMs, from, to: 1 + ((from + prng.below(Math.max(1, nodes - 1))) % nodes), forMs }
    },
    inject: ({ from, to, forMs }, at) => {
      if (from === to) return false
      cutFor(at, [[host(from), host(to)]], forMs, `node ${to} hears nothing of node ${from} for ${forMs} ms`)
      return true
    },
  },

  partition: {
    draw: ({ atMs, forMs, prng, nodes }) => {
      const order = shuffled(nodes, (bound) => prng.below(bound))
      return {
        kind: 'partition',
        atMs,
        shape: SHAPES[prng.below(SHAPES.length)]!,
        order,
        sides: order.map(() => prng.below(2)),
        clientsToo: prng.below(2) === 0,
        forMs,
      }
    },
    inject: (fault, at) => {
      const first = fault.shape === 'leader' ? at.target('leader').id : fault.order[0]!
      const order = [first, ...fault.order.filter((node) => node !== first)]
      if (order.length < 3) return false
      const { shape, sides, forMs, clientsToo } = fault
      const hear = (a: number, b: number): boolean => connected(shape, a, b, order.length, sides)
      const pairs = order.flatMap((a, i) => order.flatMap((b, j) => (i === j || hear(i, j) ? [] : [[a, b] as const])))
      if (pairs.length === 0) return false
      const small = shape === 'bridge' || shape === 'ring' ? [] : smallerSide(order, pairs)
      if (!at.budget.withinAll(small)) return false
      const cuts = pairs.map(([a, b]): Cut => [host(a), host(b)])
      if (clientsToo) for (const id of small) cuts.push([host(id), CLIENTS], [CLIENTS, host(id)])
      at.impairFor(small, forMs)
      const apart = small.length > 0 ? ` (${small.join(', ')} apart${clientsToo ? ', without clients' : ''})` : ''
      cutFor(at, cuts, forMs, `the network is partitioned, ${shape} of ${order.join(', ')}${apart}, for ${forMs} ms`)
      return true
    },
  },

  'cut-clients': {
    draw: ({ atMs, target, forMs }) => ({ kind: 'cut-clients', atMs, target, forMs }),
    inject: ({ target, forMs }, at) => {
      const { id, state } = at.target(target)
      if (state === 'down' || !at.budget.within(id)) return false
      at.impairFor([id], forMs)
      const cuts: Cut[] = [
        [host(id), CLIENTS],
        [CLIENTS, host(id)],
      ]
      cutFor(at, cuts, forMs, `clients do not reach node ${id} for ${forMs} ms`)
      return true
    },
  },

  swizzle: {
    draw: ({ atMs, prng, nodes }) => {
      const subset = shuffled(nodes, (bound) => prng.below(bound)).slice(0, 1 + prng.below(nodes))
      const clogged = subset.map((node) => ({ node, afterMs: prng.below(2500) }))
      const clogs = clogged.map(({ node, afterMs }) => ({ node, afterMs, untilMs: 2500 + prng.below(2500) }))
      return { kind: 'swizzle', atMs, clogs, clientsToo: prng.below(3) === 0 }
    },
    inject: ({ clogs, clientsToo }, at) => {
      // A majority is clogged for a moment: nothing but time is lost, so it costs nothing of the budget.
      at.world.note(0, `the links of ${clogs.map(({ node }) => `node ${node}`).join(', ')} are clogged and unclogged`)
      for (const { node, afterMs, untilMs } of clogs) {
        const cuts = aroundNode(at, node, clientsToo)
        at.after(afterMs, () => cutFor(at, cuts, untilMs - afterMs, `node ${node} is clogged`))
      }
      return true
    },
  },

  'slow-network': {
    draw: ({ atMs, target, forMs, prng }) => ({
      kind: 'slow-network',
      atMs,
      target,
      factor: 2 + prng.below(100),
      forMs,
    }),
    inject: ({ target, factor, forMs }, at) => {
      const { id, state, host: name } = at.target(target)
      const { factors } = at.world.delays
      if (state === 'down' || factors.has(name)) return false
      at.world.note(id, `its network is ${factor} times slower for ${forMs} ms`)
      factors.set(name, factor)
      at.after(forMs, () => factors.delete(name))
      return true
    },
  },

  'lossy-network': {
    draw: ({ atMs, target, forMs, prng }) => ({
      kind: 'lossy-network',
      atMs,
      target,
      permille: [5, 30, 100, 300][prng.below(4)]!,
      forMs,
    }),
    inject: ({ target, permille, forMs }, at) => {
      const { id } = at.target(target)
      const links = aroundNode(at, id, true)
      at.world.note(id, `loses ${permille / 10} % of what it sends and is sent for ${forMs} ms`)
      for (const [from, to] of links) at.world.delays.lose(from, to, permille)
      at.after(forMs, () => {
        for (const [from, to] of links) at.world.delays.lose(from, to, 0)
      })
      return true
    },
  },

  'narrow-network': {
    draw: ({ atMs, target, forMs, prng }) => ({
      kind: 'narrow-network',
      atMs,
      target,
      bytesPerMs: [4, 40, 400][prng.below(3)]!,
      forMs,
    }),
    inject: ({ target, bytesPerMs, forMs }, at) => {
      const { id } = at.target(target)
      const links = aroundNode(at, id, true)
      at.world.note(id, `has ${bytesPerMs} kB/s on each link for ${forMs} ms`)
      for (const [from, to] of links) at.world.delays.narrow(from, to, bytesPerMs)
      at.after(forMs, () => {
        for (const [from, to] of links) at.world.delays.narrow(from, to, 0)
      })
      return true
    },
  },
}

/** Both directions of each link of a node. */
export function aroundNode(at: Injection, id: number, clientsToo: boolean): Cut[] {
  const others = at.world.nodes.filter((each) => each !== id).map(host)
  if (clientsToo) others.push(CLIENTS)
  return others.flatMap((other): Cut[] => [
    [host(id), other],
    [other, host(id)],
  ])
}

/** Do places `a` and `b` of so many hear each other? */
export function connected(
  shape: PartitionShape,
  a: number,
  b: number,
  count: number,
  sides: readonly number[],
): boolean {
  switch (shape) {
    case 'uniform':
      return sides[a] === sides[b]
    case 'halves':
      return a < count >> 1 === b < count >> 1
    case 'single':
    case 'leader':
      return (a === 0) === (b === 0)
    case 'bridge': {
      // Place 0 hears both halves, which do not hear each other.
      const half = (place: number): boolean => place <= (count - 1) >> 1
      return a === 0 || b === 0 || half(a) === half(b)
    }
    case 'ring':
      return (a + 1) % count === b || (b + 1) % count === a
  }
}

/** With two sides: the nodes of the smaller one; of equal ones, that without the first node. */
function smallerSide(order: readonly number[], apart: readonly (readonly [number, number])[]): number[] {
  const others = apart.filter(([a]) => a === order[0]).map(([, b]) => b)
  const mine = order.filter((node) => !others.includes(node))
  return others.length <= mine.length ? others : mine
}

/** The nodes in any order. */
function shuffled(nodes: number, below: (bound: number) => number): number[] {
  const order = Array.from({ length: nodes }, (_, i) => i + 1)
  for (let i = nodes - 1; i > 0; i--) {
    const j = below(i + 1)
    ;[order[i], order[j]] = [order[j]!, order[i]!]
  }
  return order
}

export function cutFor(at: Injection, cuts: readonly Cut[], forMs: number, text: string): void {
  at.world.note(0, text)
  for (const [from, to] of cuts) at.links.cut(from, to)
  at.after(forMs, () => {
    for (const [from, to] of cuts) at.links.mend(from, to)
  })
}
