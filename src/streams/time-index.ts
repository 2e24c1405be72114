/**
 * Where to start looking for the first record that is not older than a given time.
 *
 * Timestamps come from producers and need not ascend, so there is nothing to search for directly. What does ascend is the
 * *running maximum*: if all records before offset o are older than t, the answer is at o or behind it. So the index keeps points
 * (offset, maximum of all timestamps before it); the last point whose maximum is below t is a safe start, and a scan from there
 * gives the exact answer.
 *
 *      records     5  9  7  8 │ 6  3  9  8 │ 12  4 …
 *      points                 (4, 9)       (8, 9)          t = 10: start at 8, find 12
 *
 * The points are spaced by bytes. When there are too many, every second one goes and the spacing doubles: any log, however long,
 * costs a few kilobytes. The index is a function of the log, equal on all replicas, and part of the snapshot.
 */
const POINTS_MAX = 512
const SPACING_BYTES = 256 << 10

/** Part of a log: of its records from `from` on and below `to` none is younger than `maximum`. */
export interface TimeSpan {
  readonly from: number
  readonly to: number
  readonly maximum: number
}

export class TimeIndex {
  #offsets: number[] = []
  /** Ascending. */
  #maxima: number[] = []
  #spacing = SPACING_BYTES
  #bytesSincePoint = 0
  #maximum = Number.NEGATIVE_INFINITY
  /** The first batch that holds a record with the maximum. */
  #maximumOffset = -1

  /** The next batch of the log. */
  add(baseOffset: number, maxTimestamp: number, bytes: number): void {
    this.#bytesSincePoint += bytes
    if (maxTimestamp <= this.#maximum) return
    if (this.#bytesSincePoint >= this.#spacing && this.#maximum !== Number.NEGATIVE_INFINITY) this.#addPoint(baseOffset)
    this.#maximum = maxTimestamp
    this.#maximumOffset = baseOffset
  }

  #addPoint(offset: number): void {
    this.#bytesSincePoint = 0
    this.#offsets.push(offset)
    this.#maxima.push(this.#maximum)
    if (this.#offsets.length <= POINTS_MAX) return
    this.#offsets = this.#offsets.filter((_, i) => i % 2 === 1)
    this.#maxima = this.#maxima.filter((_, i) => i % 2 === 1)
    this.#spacing *= 2
  }

  /** An offset before which every record is older than `timestamp`. */
  startFor(timestamp: number): number {
    let low = 0
    let high = this.#maxima.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#maxima[middle]! < timestamp) low = middle + 1
      else high = middle
    }
    return low === 0 ? 0 : this.#offsets[low - 1]!
  }

  /** The first offset, not before `from`, at which there may be a record that is not older; −1: nowhere. */
  nextFrom(timestamp: number, from: number): number {
    return timestamp > this.#maximum ? -1 : Math.max(from, this.startFor(timestamp))
  }

  /** The whole log, in order. */
  spans(): TimeSpan[] {
    if (this.#maximumOffset < 0) return []
    const starts = [0, ...this.#offsets]
    const maxima = [...this.#maxima, this.#maximum]
    return starts.map((from, i) => ({ from, to: starts[i + 1] ?? Number.POSITIVE_INFINITY, maximum: maxima[i]! }))
  }

  get snapshotBytes(): number {
    return 36 + this.#offsets.length * 16
  }

  write(into: Buffer, from: number): number {
    let at = into.writeDoubleLE(this.#spacing, from)
    at = into.writeDoubleLE(this.#bytesSincePoint, at)
    at = into.writeDoubleLE(this.#maximum, at)
    at = into.writeDoubleLE(this.#maximumOffset, at)
    at = into.writeUInt32LE(this.#offsets.length, at)
    for (let i = 0; i < this.#offsets.length; i++) {
      at = into.writeDoubleLE(this.#offsets[i]!, at)
      at = into.writeDoubleLE(this.#maxima[i]!, at)
    }
    return at
  }

  read(from: Buffer, start: number): number {
    this.#spacing = from.readDoubleLE(start)
    this.#bytesSincePoint = from.readDoubleLE(start + 8)
    this.#maximum = from.readDoubleLE(start + 16)
    this.#maximumOffset = from.readDoubleLE(start + 24)
    const count = from.readUInt32LE(start + 32)
    this.#offsets = []
    this.#maxima = []
    let at = start + 36
    for (let i = 0; i < count; i++, at += 16) {
      this.#offsets.push(from.readDoubleLE(at))
      this.#maxima.push(from.readDoubleLE(at + 8))
    }
    return at
  }
}
