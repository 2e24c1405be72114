/**
 * What clients were told fits together:
 *
 *   - an offset holds one value, for every reader and in every acknowledgement, for ever;
 *   - a value is at one offset: nothing is there twice;
 *   - what is read was sent to that partition;
 *   - offsets are dense, and records of one idempotent producer follow each other without a gap;
 *   - reads are linearizable: a fetch shows everything that was acknowledged, and every mark that was shown, before it was
 *     asked for. One exception is granted, to an old mark and never to a wrong record: see lease-doubt.ts.
 *
 * Virtual time makes the last exact: "before" is a fact here, not a clock's opinion.
 */
import type { Checker, ClientEvent } from '../observer.ts'
import { Violation } from '../violation.ts'

interface PartitionHistory {
  readonly values: string[]
  readonly offsets: Map<string, number>
  /** Offsets below which everybody must see from that time on, both rising. */
  readonly known: { readonly atMs: number; readonly offset: number }[]
  acknowledgedEnd: number
  acknowledged: number
}

/** Whether an old mark shown by a node is excused, in an answer that was asked for at that time. */
export type MarkExcuse = (node: number | undefined, askedAtMs: number) => boolean

export class ClientHistory implements Checker {
  readonly property = 'clients see one log'
  readonly #now: () => number
  readonly #isIdempotent: (producer: string) => boolean
  readonly #excuses: MarkExcuse
  readonly #partitions = new Map<string, PartitionHistory>()
  acknowledged = 0
  /** At whatever level its producer had asked for. */
  answered = 0
  fetched = 0

  constructor(now: () => number, isIdempotent: (producer: string) => boolean, excuses: MarkExcuse = () => false) {
    this.#now = now
    this.#excuses = excuses
    this.#isIdempotent = isIdempotent
  }

  client(event: ClientEvent): void {
    if (event.type === 'acknowledged-by-leader') this.answered += event.values.length
    if (event.type !== 'acknowledged' && event.type !== 'fetched') return
    const place = `${event.topic}/${event.partition}`
    const history = this.#partition(place)
    if (event.type === 'acknowledged') {
      event.values.forEach((value, i) => {
        this.#place(history, place, event.baseOffset + i, value, `acknowledged to ${event.client}`)
      })
      const end = event.baseOffset + event.values.length
      history.acknowledgedEnd = Math.max(history.acknowledgedEnd, end)
      this.acknowledged += event.values.length
      this.answered += event.values.length
      this.#learn(history, end)
      return
    }
    let expected = event.position
    for (const { offset, value } of event.records) {
      if (offset !== expected++)
        throw new Violation(
          this.property,
          `${event.client} reads offset ${offset} of ${place} where ${expected - 1} was next`,
        )
      this.#place(history, place, offset, value, `read by ${event.client}`)
    }
    this.fetched += event.records.length
    if (expected > event.highWatermark) {
      throw new Violation(
        this.property,
        `${event.client} was shown offset ${expected - 1} of ${place}, above the mark ${event.highWatermark}`,
      )
    }
    const due = lastBefore(history.known, event.askedAtMs)
    if (event.highWatermark < due && !this.#excuses(event.by, event.askedAtMs)) {
      throw new Violation(
        'reads are linearizable',
        `${event.client} asked for ${place} at ${event.askedAtMs.toFixed(3)} ms and was shown the mark ${event.highWatermark}; ${due} was known before`,
      )
    }
    this.#learn(history, event.highWatermark)
  }

  /** Every acknowledged record was read: asked at the end, when readers say that they have read all. */
  finish(positionOf: (topic: string, partition: number) => number): void {
    for (const [place, { acknowledgedEnd, values, offsets }] of this.#partitions) {
      const [topic, partition] = place.split('/') as [string, string]
      const position = positionOf(topic, Number(partition))
      if (position < acknowledgedEnd)
        throw new Violation(
          this.property,
          `${place} was acknowledged up to ${acknowledgedEnd}, and ends at ${position}`,
        )
      if (position !== values.length)
        throw new Violation(
          this.property,
          `${place} was read up to ${position}, and ${values.length} offsets were seen`,
        )
      this.#order(place, values)
      if (offsets.size !== values.length)
        throw new Violation(this.property, `${place} has ${values.length} records and ${offsets.size} values`)
    }
  }

  /** Records of an idempotent producer are there in its order, all of them. */
  #order(place: string, values: readonly string[]): void {
    const next = new Map<string, number>()
    values.forEach((value, offset) => {
      const [producer, , number] = value.split('#') as [string, string, string]
      if (!this.#isIdempotent(producer)) return
      const expected = next.get(producer) ?? 0
      if (Number(number) !== expected) {
        throw new Violation(
          'order of one producer',
          `${place}, offset ${offset}: record ${number} of ${producer}, where ${expected} was next`,
        )
      }
      next.set(producer, expected + 1)
    })
  }

  #partition(place: string): PartitionHistory {
    let history = this.#partitions.get(place)
    if (history === undefined) {
      history = { values: [], offsets: new Map(), known: [], acknowledgedEnd: 0, acknowledged: 0 }
      this.#partitions.set(place, history)
    }
    return history
  }

  #place(history: PartitionHistory, place: string, offset: number, value: string, how: string): void {
    const there = history.values[offset]
    if (there !== undefined) {
      if (there === value) return
      throw new Violation(
        this.property,
        `${place}, offset ${offset}: ${label(value)} ${how}, and ${label(there)} before`,
      )
    }
    const elsewhere = history.offsets.get(value)
    if (elsewhere !== undefined)
      throw new Violation(
        this.property,
        `${place}: ${label(value)} is at offset ${elsewhere}, and at ${offset} too (${how})`,
      )
    if (value.split('#')[1] !== place)
      throw new Violation(this.property, `${place}, offset ${offset}: ${label(value)} was never sent there`)
    history.values[offset] = value
    history.offsets.set(value, offset)
  }

  #learn(history: PartitionHistory, offset: number): void {
    const last = history.known.at(-1)
    if (last === undefined || offset > last.offset) history.known.push({ atMs: this.#now(), offset })
  }
}

/** What was known strictly before `atMs`. */
function lastBefore(known: readonly { readonly atMs: number; readonly offset: number }[], atMs: number): number {
  for (let i = known.length - 1; i >= 0; i--) if (known[i]!.atMs < atMs) return known[i]!.offset
  return 0
}

function label(value: string): string {
  return value.replace(/#\.*$/, '')
}
