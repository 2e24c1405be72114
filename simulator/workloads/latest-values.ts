/**
 * What is known of a compacted partition, and so what a reading of all of it has to find.
 *
 *      sent       a=1   b=2   a=3   b=∅           acknowledged: offsets 0, 1, 2, 3
 *      may stay         b=2   a=3   b=∅           a=1 may go; b=2 while b=∅ is there
 *      must       ───────────  a=3   b=∅ (its grace)
 *
 * Of every key the latest that was acknowledged before the reading began must be found, or something later; never may something
 * older be the last. A tombstone may be gone after its grace, and then everything older of its key is, too. A reading that takes
 * longer than the grace may have missed the tombstone that it had to see, as in Kafka; nothing is said of that key then. Nor where a
 * reading has gone from one replica to another: one may have got round to a cleaning later than the other.
 *
 * Where retention cuts the log as well (`compact,delete`), what lies below its start is gone, the latest value of a key or not;
 * what lies above it is as above.
 */
export interface KeyedRecord {
  readonly offset: number
  readonly key: string
  /** Null: the key is deleted. */
  readonly value: string | null
}

interface Acknowledged extends KeyedRecord {
  /** Nothing that came after it in the log was there before. */
  readonly sentMs: number
}

export interface Reading {
  readonly startedMs: number
  /** By key, the latest that was acknowledged when it began. */
  readonly due: ReadonlyMap<string, Acknowledged>
  readonly last: Map<string, KeyedRecord>
  /** Whose log is read. */
  at: string | null
  hasMoved: boolean
}

export class LatestValues {
  readonly #graceMs: number
  /** Wall clocks are right, so a grace that ended early is a defect. */
  readonly #clocksAreRight: boolean
  readonly #sent = new Map<string, string>()
  /** Keys of which a tombstone was ever sent. */
  readonly #deleted = new Set<string>()
  readonly #known = new Map<number, KeyedRecord>()
  readonly #latest = new Map<string, Acknowledged>()
  /** After the highest that was acknowledged. */
  end = 0

  constructor(graceMs: number, clocksAreRight: boolean) {
    this.#graceMs = graceMs
    this.#clocksAreRight = clocksAreRight
  }

  sent(key: string, value: string | null): void {
    if (value === null) this.#deleted.add(key)
    else this.#sent.set(value, key)
  }

  /** What is wrong with it, or null. */
  acknowledged(record: KeyedRecord, sentMs: number): string | null {
    const defect = this.#isThere(record)
    if (record.offset >= (this.#latest.get(record.key)?.offset ?? 0))
      this.#latest.set(record.key, { ...record, sentMs })
    this.end = Math.max(this.end, record.offset + 1)
    return defect
  }

  begin(startedMs: number): Reading {
    return { startedMs, due: new Map(this.#latest), last: new Map(), at: null, hasMoved: false }
  }

  readsAt(reading: Reading, node: string): void {
    if (reading.at !== null && reading.at !== node) reading.hasMoved = true
    reading.at = node
  }

  read(reading: Reading, record: KeyedRecord): string | null {
    const { key, value, offset } = record
    const wasSent = value === null ? this.#deleted.has(key) : this.#sent.get(value) === key
    reading.last.set(key, record)
    return wasSent ? this.#isThere(record) : `offset ${offset} holds what nobody sent: ${key} = ${value}`
  }

  #isThere(record: KeyedRecord): string | null {
    const { offset, key, value } = record
    const known = this.#known.get(offset)
    this.#known.set(offset, record)
    if (known === undefined || (known.key === key && known.value === value)) return null
    return `offset ${offset} holds ${key} = ${value}, it held ${known.key} = ${known.value}`
  }

  /** The reading has come to the mark, which lies above all that it had to find. `start`: the log may start there by now. */
  finish(reading: Reading, nowMs: number, start = 0): string | null {
    const { due, last, startedMs } = reading
    // By a clock that jumps or runs ahead, every reading may be.
    const slow = nowMs - startedMs >= this.#graceMs || !this.#clocksAreRight || reading.hasMoved
    for (const [key, latest] of due) {
      if (latest.offset < start || (slow && this.#deleted.has(key))) continue
      const found = last.get(key)
      const what = `${key} = ${latest.value} at offset ${latest.offset}`
      if (found !== undefined && found.offset < latest.offset)
        return `${what} is acknowledged, and the last that is found is ${found.value} at ${found.offset}`
      if (found !== undefined) continue
      if (!this.#deleted.has(key)) return `${what} is acknowledged, and nothing of that key is found`
      const early = nowMs - latest.sentMs < this.#graceMs
      if (latest.value === null && early)
        return `${what} was to be seen for ${this.#graceMs} ms, and is gone after ${Math.floor(nowMs - latest.sentMs)}`
      // A tombstone of which nobody knows whether it was written may have come after it; its grace is over only later.
      if (latest.value !== null && early) return `${what} is acknowledged, and gone before any tombstone may be`
    }
    return null
  }
}
