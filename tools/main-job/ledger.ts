/**
 * What was sent, what was acknowledged, and what was read: the evidence that nothing was lost.
 *
 * Every line has a number, which travels as a record header. The ledger is by line number on the sender's side and by
 * (partition, offset) on the reader's, so a line that stands twice in the log is a duplicate, whereas the same place in the log
 * read twice is a redelivery, which a group that is killed owes to nobody but is free to make.
 */
const NOWHERE = -1

export interface Verdict {
  readonly sent: number
  readonly acknowledged: number
  readonly read: number
  readonly lost: number
  readonly duplicated: number
  readonly outOfOrder: number
  readonly wrong: number
  readonly redelivered: number
}

export class Ledger {
  readonly #keyOf: Uint32Array
  readonly #acknowledged: Uint8Array
  /** Where each line stands in the log: partition × 2^40 + offset. */
  readonly #place: Float64Array
  /** The highest line number read so far, by key: a key lives in one partition, whose offsets are read in order. */
  readonly #latestOfKey: Float64Array
  /** Next offset expected, by partition: what lies below was read before. */
  readonly #frontier = new Map<number, number>()
  #sent = 0
  #acknowledgedCount = 0
  #read = 0
  #duplicated = 0
  #outOfOrder = 0
  #wrong = 0
  #redelivered = 0

  constructor(lines: number, keys: number, keyOf: Uint32Array) {
    this.#keyOf = keyOf
    this.#acknowledged = new Uint8Array(lines)
    this.#place = new Float64Array(lines).fill(NOWHERE)
    this.#latestOfKey = new Float64Array(keys).fill(-1)
  }

  get acknowledged(): number {
    return this.#acknowledgedCount
  }

  get read(): number {
    return this.#read
  }

  sent(count: number): void {
    this.#sent += count
  }

  acknowledge(line: number): void {
    if (this.#acknowledged[line] === 1) return
    this.#acknowledged[line] = 1
    this.#acknowledgedCount++
  }

  /** A record came out of the log. `intact`: key and value are the line's own. */
  saw(partition: number, offset: number, line: number, intact: boolean): void {
    const frontier = this.#frontier.get(partition) ?? 0
    if (offset < frontier) {
      this.#redelivered++
      if (this.#place[line] !== placeOf(partition, offset)) this.#wrong++ // another record at an offset read before
      return
    }
    if (offset > frontier) this.#wrong++ // offsets are dense: a gap is a record that the reader was not shown
    this.#frontier.set(partition, offset + 1)
    if (!intact || line < 0 || line >= this.#place.length) {
      this.#wrong++
      return
    }
    if (this.#place[line] !== NOWHERE) {
      this.#duplicated++
      return
    }
    this.#place[line] = placeOf(partition, offset)
    this.#read++
    const key = this.#keyOf[line]!
    if (line < this.#latestOfKey[key]!) this.#outOfOrder++
    else this.#latestOfKey[key] = line
  }

  /** Next offset that a reader has not seen, by partition. */
  get frontier(): ReadonlyMap<number, number> {
    return this.#frontier
  }

  /** Acknowledged lines that no reader has seen. */
  get missing(): number {
    let missing = 0
    for (let line = 0; line < this.#place.length; line++) {
      if (this.#acknowledged[line] === 1 && this.#place[line] === NOWHERE) missing++
    }
    return missing
  }

  verdict(): Verdict {
    return {
      sent: this.#sent,
      acknowledged: this.#acknowledgedCount,
      read: this.#read,
      lost: this.missing,
      duplicated: this.#duplicated,
      outOfOrder: this.#outOfOrder,
      wrong: this.#wrong,
      redelivered: this.#redelivered,
    }
  }
}

function placeOf(partition: number, offset: number): number {
  return partition * 2 ** 40 + offset
}
