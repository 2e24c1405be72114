/**
 * Assertions stay on in production: a node that has found itself wrong must stop before it makes others wrong.
 *
 * An `AssertionFailed` is our own mistake, never a peer's, a client's or a disk's (those are typed errors, which are
 * handled). Nothing below the node catches it: in production it ends the process (exit code 70), in the simulator it ends
 * one node.
 */
export class AssertionFailed extends Error {
  override name = 'AssertionFailed'
}

/** The message is lazy so that building it costs nothing on the path where the condition holds. */
export function assert(condition: boolean, message: string | (() => string)): asserts condition {
  if (condition) return
  throw new AssertionFailed(typeof message === 'string' ? message : message())
}

/** Closes a `switch`: the compiler proves that no case is left, and a value from outside the types still stops us. */
export function unreachable(value: never): never {
  throw new AssertionFailed(`unreachable: ${JSON.stringify(value)}`)
}

/** For a lookup whose presence is an invariant. */
export function must<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new AssertionFailed(`must exist: ${what}`)
  return value
}
