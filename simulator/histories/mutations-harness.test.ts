/**
 * Ways in which a good history goes bad. Each looks for a place where its change cannot be explained away (values are written
 * once; "surely before" means returned before called), and answers null where the history has none. What all mutations share is here, the mutations themselves in `*-mutations-harness`.
 */
import type { Prng } from '../../src/stdx/index.ts'
import type { Operation, Output } from './history.ts'

export type Mutation = (history: readonly Operation[], prng: Prng) => Operation[] | null

export const surelyBefore = (a: Operation, b: Operation): boolean => a.return < b.call
export const isKnown = (operation: Operation): boolean => operation.output !== null

/** The same history with some operations in another form. */
export function changed(history: readonly Operation[], ...changes: Operation[]): Operation[] {
  return history.map((operation) => changes.find(({ id }) => id === operation.id) ?? operation)
}

export function answering<T extends Operation>(operation: T, output: Output): Operation {
  return { ...operation, output }
}

/** One of all pairs that fit; the search starts at a random place. */
export function pair<A extends Operation, B extends Operation>(
  prng: Prng,
  as: readonly A[],
  bs: readonly B[],
  fits: (a: A, b: B) => boolean,
): [A, B] | null {
  if (as.length === 0 || bs.length === 0) return null
  const [fromA, fromB] = [prng.below(as.length), prng.below(bs.length)]
  for (let i = 0; i < as.length; i++) {
    for (let j = 0; j < bs.length; j++) {
      const [a, b] = [as[(fromA + i) % as.length]!, bs[(fromB + j) % bs.length]!]
      if ((a as Operation) !== b && fits(a, b)) return [a, b]
    }
  }
  return null
}
