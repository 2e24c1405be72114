/**
 * What a reader knows of the times in one partition, and so what a lookup by time has to answer.
 *
 *      offsets      0   1   2   3   4 │ not read yet
 *      times        5   9   7   8  12 │ …
 *      maxima       5   9   9   9  12 │             lookup 10: 4 exactly; lookup 13: nothing below 5
 *
 * Records are read from the start on and without a gap, so the first known one that is old enough is the first of all.
 */
export class RecordTimes {
  readonly #times: number[] = []
  /** Running maxima: ascending, so they can be searched. */
  readonly #maxima: number[] = []

  get length(): number {
    return this.#times.length
  }

  learn(offset: number, time: number): void {
    if (offset !== this.#times.length) return
    this.#times.push(time)
    this.#maxima.push(Math.max(time, this.#maxima.at(-1) ?? Number.NEGATIVE_INFINITY))
  }

  timeAt(offset: number): number {
    return this.#times[offset] ?? Number.NaN
  }

  /** The first known record that is not older than `time`; −1: none of those known. */
  firstAt(time: number): number {
    let low = 0
    let high = this.#maxima.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#maxima[middle]! >= time) high = middle
      else low = middle + 1
    }
    return low < this.#maxima.length ? low : -1
  }

  /**
   * What is wrong with the answer (`offset`, `time`) to a lookup of `asked`, given when the first `known` records were known; or
   * null.
   */
  defectOf(asked: number, known: number, offset: number, time: number): string | null {
    const first = this.firstAt(asked)
    if (first >= 0 && first < known) {
      if (offset !== first) return `the first record at ${asked} is ${first}, and the answer ${offset}`
      return time === this.timeAt(first)
        ? null
        : `record ${first} is of ${this.timeAt(first)}, and the answer says ${time}`
    }
    if (offset === -1) return null
    if (offset < known) return `record ${offset} is of ${this.timeAt(offset)}, before ${asked}`
    return time >= asked ? null : `record ${offset} was found for ${asked}, and is said to be of ${time}`
  }
}
