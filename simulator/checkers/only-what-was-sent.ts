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
      const values = this.#sent.get(`${event.topic}/${event.partition}`)
      for (const { offset, value } of event.records) {
        if (values?.has(value) === true) continue
        const place = `offset ${offset} of ${event.topic}/${event.partition}`
        throw new Violation(this.property, `${event.client} reads ${label(value)} at ${place}, which nobody sent there`)
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
