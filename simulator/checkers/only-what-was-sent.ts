/**
 * I9 and I12 as clients see them: what is read was sent, to that partition, byte for byte, and before it was read.
 *
 * A value carries its producer, its place and its number, and a checker could be content with that. But damage does not read
 * labels: only the very bytes that somebody sent may come back (T20, T9).
 */
import type { Checker, ClientEvent } from '../observer.ts'
import { Violation } from '../violation.ts'

export class OnlyWhatWasSent implements Checker {
  readonly property = 'what is read was sent'
  readonly #sent = new Map<string, Set<string>>()
  /** By place, then offset: what was found to be right. Comparing is cheaper than hashing a long value once more. */
  readonly #right = new Map<string, string[]>()

  client(event: ClientEvent): void {
    if (event.type === 'sent') {
      const place = `${event.topic}/${event.partition}`
      let values = this.#sent.get(place)
      if (values === undefined) {
        values = new Set()
        this.#sent.set(place, values)
      }
      for (const value of event.values) {
        if (values.has(value)) throw new Violation(this.property, `${event.client} sends ${label(value)} twice`)
        values.add(value)
      }
    } else if (event.type === 'fetched' && event.records.length > 0) {
      const place = `${event.topic}/${event.partition}`
      const values = this.#sent.get(place)
      let right = this.#right.get(place)
      if (right === undefined) {
        right = []
        this.#right.set(place, right)
      }
      for (const { offset, value } of event.records) {
        if (right[offset] === value) continue
        if (values?.has(value) !== true) {
          const what = `${event.client} reads ${label(value)} at offset ${offset} of ${place}, which nobody sent there`
          throw new Violation(this.property, what)
        }
        right[offset] = value
      }
    }
  }

  wasSent(place: string, value: string): boolean {
    return this.#sent.get(place)?.has(value) === true
  }
}

function label(value: string): string {
  return `"${value.length > 60 ? `${value.slice(0, 60)}…` : value}" (${value.length} characters)`
}
