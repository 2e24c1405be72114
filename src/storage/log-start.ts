/**
 * Where a log starts: the lowest index and the lowest offset that are still in it.
 *
 * The two are not the same thing twice. Records may be cut in the middle of an entry, which then stays for the sake of those
 * behind them; so the offset may lie anywhere in the entry at the index, and a start moves on by either of the two.
 */
export interface LogStart {
  readonly index: number
  readonly offset: number
}

export function isLater(one: LogStart, other: LogStart): boolean {
  return one.index > other.index || (one.index === other.index && one.offset > other.offset)
}
