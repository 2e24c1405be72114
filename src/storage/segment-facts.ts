/**
 * What may be cut from a log is decided by whole segments; this is what whoever decides has to know of them.
 *
 * Entries that were handed to the log and are not written yet count to the segment in use, where most of them will be: a
 * decision that did not see them would take a log for older than it is.
 *
 * A damaged file may not say where it starts, or how old it is: it counts to the one before it then, and as younger than anything. So
 * what it may hold stays until it is repaired, and what lies before it goes when its time has come.
 */
import type { Entry } from './entry.ts'
import type { Segment } from './segment.ts'
import { maxTimestampOf } from './timestamps.ts'

export interface SegmentFacts {
  readonly firstIndex: number
  readonly firstOffset: number
  readonly bytes: number
  /** Of its records; −1 when it has none, or none with a time; infinite when nobody can tell. */
  readonly maxTimestamp: number
  /** Wall clock; 0 when it is not known. */
  readonly createdMs: number
  /** Nothing will be added to it. */
  readonly sealed: boolean
  /** What compaction has left: there are holes. */
  readonly cleaned?: boolean
}

/**
 * The time of the youngest record of one of these; where none has a time, when the segment was left, which is when the next one was begun
 * that says so (a cleaned one does not: it is made anew again and again). Infinite: nobody can tell. Minus infinite: it has no records.
 */
export function youngestIn(segments: readonly SegmentFacts[], at: number): number {
  const { maxTimestamp, firstOffset } = segments[at]!
  if (maxTimestamp >= 0) return maxTimestamp
  if (segments[at + 1]?.firstOffset === firstOffset) return Number.NEGATIVE_INFINITY
  for (let next = at + 1; next < segments.length; next++)
    if (segments[next]!.createdMs > 0) return segments[next]!.createdMs
  return Number.POSITIVE_INFINITY
}

/** Of segments whose numbers are known, and of what comes after them. */
export function segmentFacts(segments: readonly Segment[], buffered: readonly Entry[]): SegmentFacts[] {
  const facts: SegmentFacts[] = []
  for (const [i, segment] of segments.entries()) {
    const { firstIndex, firstOffset, createdMs } = segment
    const bytes = segment.bytes ?? 0
    const maxTimestamp = segment.timestampKnown ? segment.maxTimestamp : Number.POSITIVE_INFINITY
    const before = facts.at(-1)
    if (firstOffset === null && before !== undefined)
      facts[facts.length - 1] = {
        ...before,
        bytes: before.bytes + bytes,
        maxTimestamp: Math.max(before.maxTimestamp, maxTimestamp),
      }
    else
      facts.push({
        firstIndex,
        // The log's first: it starts nowhere above.
        firstOffset: firstOffset ?? 0,
        bytes,
        maxTimestamp,
        createdMs: createdMs ?? 0,
        sealed: i + 1 < segments.length,
      })
  }
  const first = buffered[0]
  if (first === undefined) return facts
  const inUse = facts.pop() ?? {
    firstIndex: first.index,
    firstOffset: first.firstOffset,
    bytes: 0,
    maxTimestamp: -1,
    createdMs: 0,
    sealed: false,
  }
  let { bytes, maxTimestamp } = inUse
  for (const entry of buffered) {
    bytes += entry.bytes.length
    maxTimestamp = Math.max(maxTimestamp, maxTimestampOf(entry))
  }
  return [...facts, { ...inUse, bytes, maxTimestamp }]
}

/**
 * With the cleaned part of the log in front. The segment that holds the floor counts from there: the rest of it is cleaned. How many of
 * its bytes that is nobody knows without reading it, so none is counted: retention keeps too much rather than too little.
 */
export function withCleaned(
  cleaned: readonly Segment[],
  committed: readonly SegmentFacts[],
  floor: { readonly index: number; readonly offset: number },
): SegmentFacts[] {
  const facts = cleaned.map(({ firstIndex, firstOffset, bytes, maxTimestamp }) => ({
    ...{ firstIndex, firstOffset: firstOffset!, bytes: bytes!, maxTimestamp },
    ...{ createdMs: 0, sealed: true, cleaned: true },
  }))
  const holder = committed[0]
  if (holder === undefined || holder.firstOffset >= floor.offset) return [...facts, ...committed]
  return [...facts, { ...holder, firstIndex: floor.index, firstOffset: floor.offset, bytes: 0 }, ...committed.slice(1)]
}
