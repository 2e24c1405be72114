/**
 * Where to start reading in a segment. A point every 64 KiB of log; whoever looks for an index, an offset or a time starts at
 * the last point that cannot be too far and reads on from there.
 *
 *     position   64 ────────── 65k ────────── 131k ──────── …
 *     point       •             •              •
 *                 index, first offset, and the highest timestamp of all entries *before* the point
 *
 * The timestamps of a log need not rise, but "the highest so far" does: so the last point below which every record is older
 * than the time asked for is found by bisection, too.
 */
import type { Entry } from './entry.ts'

const INTERVAL_BYTES = 64 << 10
/** index, offset, position, maxTimestampBefore. */
const STRIDE = 4

export const POINT_BYTES = 32

export class SparseIndex {
  /** Four numbers per point, ascending in the first three. */
  readonly points: number[]

  constructor(points: number[] = []) {
    this.points = points
  }

  get count(): number {
    return this.points.length / STRIDE
  }

  /** `entry` starts at `position`; entries come in order. */
  add(entry: Entry, position: number, maxTimestampBefore: number): void {
    const { points } = this
    if (points.length > 0 && position - points[points.length - 2]! < INTERVAL_BYTES) return
    points.push(entry.index, entry.firstOffset, position, maxTimestampBefore)
  }

  /** Position of the last point at or below the index, or `otherwise`. */
  positionOfIndex(index: number, otherwise: number): number {
    return this.#position(0, index, otherwise)
  }

  positionOfOffset(offset: number, otherwise: number): number {
    return this.#position(1, offset, otherwise)
  }

  /** Index of the last point before which every record is older than `timestamp`, or `otherwise`. */
  indexOfTimestamp(timestamp: number, otherwise: number): number {
    let [low, high] = [0, this.count]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.points[middle * STRIDE + 3]! < timestamp) low = middle + 1
      else high = middle
    }
    return low === 0 ? otherwise : this.points[(low - 1) * STRIDE]!
  }

  /** This index for everything before `other`'s first point, `other` from there on. */
  followedBy(other: SparseIndex): SparseIndex {
    const from = other.points[2] ?? Number.POSITIVE_INFINITY
    const kept: number[] = []
    for (let at = 0; at < this.points.length && this.points[at + 2]! < from; at += STRIDE) {
      for (let i = 0; i < STRIDE; i++) kept.push(this.points[at + i]!)
    }
    return new SparseIndex(kept.concat(other.points))
  }

  #position(column: number, value: number, otherwise: number): number {
    let [low, high] = [0, this.count]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.points[middle * STRIDE + column]! <= value) low = middle + 1
      else high = middle
    }
    return low === 0 ? otherwise : this.points[(low - 1) * STRIDE + 2]!
  }
}
