/**
 * The part of a shard's log that compaction has gone over.
 *
 *     index    1 ............................ 95 │ 96 ............... 140
 *              cleaned: of every key the latest  │ entries as they were committed, chained by their sums
 *                                      the floor ┘
 *
 * Raft sees a log that starts at the floor, exactly as if it had been cut there. What lies below is found by offset only: there are
 * holes where records were that newer ones have replaced. Replicas need not hold the same bytes below the floor, nor have it at
 * the same place; what they hold says the same, key by key.
 *
 * The list of files is part of the shard's checkpoint record. So it is replaced as a whole, together with the floor, and a file
 * that no record names is none.
 */
import { Segment } from './segment.ts'

export interface CleanedSegment {
  readonly firstIndex: number
  /** Of the cleaning that made it. */
  readonly generation: number
  /** Of its first batch. */
  readonly firstOffset: number
  /** After its last batch. */
  readonly nextOffset: number
  readonly bytes: number
  readonly maxTimestamp: number
  /** CRC-32C of the whole file. */
  readonly crc: number
}

export interface CleanedPart {
  /** Where entries as they were committed begin. Below, offsets have holes. */
  readonly floorOffset: number
  /** Of the last cleaning. */
  readonly generation: number
  /** Ascending. */
  readonly segments: readonly CleanedSegment[]
}

/** Without the segments that lie wholly below the offset. */
export function cleanedFrom(part: CleanedPart, startOffset: number): CleanedPart {
  const first = part.segments.findIndex(({ nextOffset }) => nextOffset > startOffset)
  if (first === 0 || part.segments.length === 0) return part
  return { ...part, segments: first < 0 ? [] : part.segments.slice(first) }
}

/** As a reader wants them. */
export function cleanedSegments(shard: number, directory: string, { segments }: CleanedPart): Segment[] {
  return segments.map(({ firstIndex, generation, firstOffset, nextOffset, bytes, maxTimestamp }) => {
    const segment = new Segment(shard, directory, firstIndex, generation)
    segment.firstOffset = firstOffset
    segment.nextOffset = nextOffset
    segment.bytes = bytes
    segment.maxTimestamp = maxTimestamp
    segment.timestampKnown = true
    return segment
  })
}
