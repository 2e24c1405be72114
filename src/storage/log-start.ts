/**
 * Where a log starts: the lowest index and the lowest offset that are still in it.
 *
 * The two are not the same thing twice. Records may be cut in the middle of an entry, which then stays for the sake of those
 * behind them; so the offset may lie anywhere in the entry at the index. And compaction moves the index alone: what lies below is
 * still found, by offset (cleaned-part.ts). So a start moves on by either of the two.
 */
export interface LogStart {
  readonly index: number
  readonly offset: number
}

/** Offsets first: a log that was compacted has a high index, and its low offsets are cut all the same. */
export function isLater(one: LogStart, other: LogStart): boolean {
  return one.offset > other.offset || (one.offset === other.offset && one.index > other.index)
}

/** Neither goes back. */
export function laterStart(one: LogStart, other: LogStart): LogStart {
  return { index: Math.max(one.index, other.index), offset: Math.max(one.offset, other.offset) }
}
