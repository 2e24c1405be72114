/**
 * Where in a log it is worth looking for records that are not older than a given time.
 *
 * Timestamps come from producers and need not ascend, so there is nothing to search for directly. The index divides the log into
 * spans, and knows of each the largest timestamp in it: spans whose largest is below t need not be read.
 *
 *      records   5  9  7  8 │ 6  3  9  8 │ 12  4 …
 *      spans      ≤ 9        │  ≤ 9        │  ≤ 12        t = 10: read the third span, find 12
 *
 * What matters is that a span says nothing of the others. A single record from the future, which is not rare (a producer that takes
 * microseconds for milliseconds), makes its own span promise too much, and no other; and when the log is cut above it, its span
 * goes, and with it all that it said. Running maxima, which were here before, never recovered from such a record.
 *
 * A span has about its share of the log's bytes; when there are too many, neighbours are joined. So any log, however large, costs a
 * few kilobytes. The share is that of the log as it is, not of all that ever went through it.
 *
 * The index is a function of the log's entries (its records, and the cuts in it), equal on all replicas, and part of the snapshot. What
 * an older version wrote becomes spans when it is read, exactly (`readRunningMaxima`), but not the spans that this version would
 * have made, so replicas that began with this version at different entries divide their logs differently. That harms nobody: every
 * division is a true bound, the records decide, and no answer depends on how a log is divided. And they do not go on like that,
 * though each span begins where the one before it ends:
 *   - Where a span ends is for the most part said by the offset of the next batch (`isMark`), not by how much went before. Once two
 *     replicas end a span at the same batch they end all that follow at the same.
 *   - The spans from before go with the records in them, as the log is cut. (In a log that is never cut they stay.)
 *   - Nothing else is kept that could stay different: the share follows from the spans.
 */
const SPANS_MAX = 512
/** Of a log's bytes; at least half of it, since shares are doubled. */
const SHARES = 256
const SHARE_BYTES_MIN = 256 << 10
const SPAN_BYTES = 24

/** Part of a log: of its records from `from` on and below `to` none is younger than `maximum`. */
export interface TimeSpan {
  readonly from: number
  readonly to: number
  readonly maximum: number
}

export class TimeIndex {
  /** Where each span begins, ascending. A span ends where the next one begins, and the last one with the log. */
  #starts: number[] = []
  #maxima: number[] = []
  #bytes: number[] = []
  #totalBytes = 0
  /** Follows from `#totalBytes`: a power of two times the least, so that a log that grows a little divides itself as before. */
  #shareBytes = SHARE_BYTES_MIN
  #cutAt = 0

  /** The entry whose cut it has seen last; 0: none. */
  get cutAt(): number {
    return this.#cutAt
  }

  /** The next batch of the log. */
  add(baseOffset: number, maxTimestamp: number, bytes: number): void {
    let last = this.#starts.length - 1
    if (last < 0 || this.#endsBefore(baseOffset, bytes, this.#bytes[last]!)) last = this.#begin(baseOffset)
    if (maxTimestamp > this.#maxima[last]!) this.#maxima[last] = maxTimestamp
    this.#bytes[last]! += bytes
    this.#totalBytes += bytes
    while (this.#shareBytes * SHARES < this.#totalBytes) this.#shareBytes *= 2
  }

  /** The last span, of `spanBytes`, with the batch that comes. A share on the average, not much less, and never more than two. */
  #endsBefore(baseOffset: number, bytes: number, spanBytes: number): boolean {
    if (spanBytes < this.#shareBytes / 2) return false
    return spanBytes >= 2 * this.#shareBytes || isMark(baseOffset, bytes / this.#shareBytes)
  }

  /** Entry `index` cuts the log: it starts at `start` from now on, and ends at `end`. */
  cut(index: number, start: number, end: number): void {
    // A follower that was placed at the log's start has what its leader's index had seen, this among it.
    if (index <= this.#cutAt) return
    this.#cutAt = index
    let gone = 0
    while (gone < this.#starts.length && (this.#starts[gone + 1] ?? end) <= start)
      this.#totalBytes -= this.#bytes[gone++]!
    this.#starts.splice(0, gone)
    this.#maxima.splice(0, gone)
    this.#bytes.splice(0, gone)
    while (this.#shareBytes > SHARE_BYTES_MIN && (this.#shareBytes / 2) * SHARES >= this.#totalBytes)
      this.#shareBytes /= 2
  }

  /** Returns its place. */
  #begin(offset: number): number {
    if (this.#starts.length >= SPANS_MAX) this.#join()
    this.#starts.push(offset)
    this.#maxima.push(Number.NEGATIVE_INFINITY)
    this.#bytes.push(0)
    return this.#starts.length - 1
  }

  /** Neighbours that together are no more than two shares; two that were left beside each other are more, so half of all go. */
  #join(): void {
    const limit = 2 * this.#shareBytes
    let last = 0
    for (let i = 1; i < this.#starts.length; i++) {
      if (this.#bytes[last]! + this.#bytes[i]! > limit) {
        last++
        this.#starts[last] = this.#starts[i]!
        this.#maxima[last] = this.#maxima[i]!
        this.#bytes[last] = this.#bytes[i]!
      } else {
        this.#maxima[last] = Math.max(this.#maxima[last]!, this.#maxima[i]!)
        this.#bytes[last]! += this.#bytes[i]!
      }
    }
    this.#starts.length = last + 1
    this.#maxima.length = last + 1
    this.#bytes.length = last + 1
  }

  /** The first offset, not before `from`, at which there may be a record that is not older; −1: nowhere. */
  nextFrom(timestamp: number, from: number): number {
    for (let i = 0; i < this.#starts.length; i++) {
      const to = this.#starts[i + 1] ?? Number.POSITIVE_INFINITY
      if (to > from && this.#maxima[i]! >= timestamp) return Math.max(from, this.#starts[i]!)
    }
    return -1
  }

  /** In order. */
  spans(): TimeSpan[] {
    return this.#starts.map((from, i) => ({
      from,
      to: this.#starts[i + 1] ?? Number.POSITIVE_INFINITY,
      maximum: this.#maxima[i]!,
    }))
  }

  get snapshotBytes(): number {
    return 12 + this.#starts.length * SPAN_BYTES
  }

  write(into: Buffer, from: number): number {
    let at = into.writeDoubleLE(this.#cutAt, from)
    at = into.writeUInt32LE(this.#starts.length, at)
    for (let i = 0; i < this.#starts.length; i++) {
      at = into.writeDoubleLE(this.#starts[i]!, at)
      at = into.writeDoubleLE(this.#maxima[i]!, at)
      at = into.writeDoubleLE(this.#bytes[i]!, at)
    }
    return at
  }

  read(from: Buffer, start: number): number {
    this.#forget()
    this.#cutAt = from.readDoubleLE(start)
    const count = from.readUInt32LE(start + 8)
    let at = start + 12
    for (let i = 0; i < count; i++, at += SPAN_BYTES)
      this.#append(from.readDoubleLE(at), from.readDoubleLE(at + 8), from.readDoubleLE(at + 16))
    return at
  }

  /**
   * What versions before 5 of the snapshot hold: points, each with the largest timestamp *before* it. A point was set when a
   * batch exceeded everything before, so maxima rise from point to point, and the largest timestamp between two of them is that of
   * the second: nothing is lost. Only how many bytes lie between them is guessed, from the spacing at the time.
   */
  readRunningMaxima(from: Buffer, start: number): number {
    this.#forget()
    const spacing = from.readDoubleLE(start)
    const bytesSincePoint = from.readDoubleLE(start + 8)
    const maximum = from.readDoubleLE(start + 16)
    const count = from.readUInt32LE(start + 32)
    let at = start + 36
    let spanStart = 0
    for (let i = 0; i < count; i++, at += 16) {
      this.#append(spanStart, from.readDoubleLE(at + 8), spacing)
      spanStart = from.readDoubleLE(at)
    }
    if (maximum !== Number.NEGATIVE_INFINITY) this.#append(spanStart, maximum, bytesSincePoint)
    return at
  }

  #append(start: number, maximum: number, bytes: number): void {
    this.#starts.push(start)
    this.#maxima.push(maximum)
    this.#bytes.push(bytes)
    this.#totalBytes += bytes
    while (this.#shareBytes * SHARES < this.#totalBytes) this.#shareBytes *= 2
  }

  #forget(): void {
    this.#starts = []
    this.#maxima = []
    this.#bytes = []
    this.#totalBytes = 0
    this.#shareBytes = SHARE_BYTES_MIN
    this.#cutAt = 0
  }
}

/** True of so large a part of all offsets, spread as if by chance. */
function isMark(offset: number, part: number): boolean {
  let hash = Math.imul(offset ^ (offset >>> 15), 0x2c1b3c6d)
  hash = Math.imul(hash ^ (hash >>> 12), 0x297a2d39)
  return ((hash ^ (hash >>> 15)) >>> 0) / 2 ** 32 < part
}
