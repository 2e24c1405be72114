/** Numbers the messages of an exploration. None of them names a node, so a number means the same for every sender. */
import type { Message } from '../../src/replication/index.ts'
import { must } from '../../src/stdx/index.ts'
import type { EntryNumbers } from './canonical.ts'

export class Messages {
  readonly #numbers: EntryNumbers
  readonly #byText = new Map<string, number>()
  readonly #messages: Message[] = []
  readonly #texts: string[] = []
  readonly #data: boolean[] = []
  readonly #refusals: boolean[] = []
  /** By message: what it says to those in a later term. −1: not yet known. */
  readonly #stale: number[] = []

  constructor(numbers: EntryNumbers) {
    this.#numbers = numbers
  }

  of(message: Message): number {
    const text = this.#text(message)
    let number = this.#byText.get(text)
    if (number === undefined) {
      number = this.#messages.length
      this.#byText.set(text, number)
      this.#messages.push(message)
      this.#texts.push(text)
      this.#stale.push(-1)
      this.#refusals.push('granted' in message && !message.granted)
      this.#data.push(message.type === 'append' || message.type === 'snapshot')
    }
    return number
  }

  get(number: number): Message {
    return must(this.#messages[number], 'a message')
  }

  /** For people. */
  text(number: number): string {
    return must(this.#texts[number], 'a message')
  }

  /** Travels on the data connection; everything else on the control connection. */
  isData(number: number): boolean {
    return this.#data[number]!
  }

  isRefusal(number: number): boolean {
    return this.#refusals[number]!
  }

  /** The same message to somebody in a later term, who looks at its term and what he has to name in his answer. */
  stale(number: number): number {
    const known = this.#stale[number]!
    if (known >= 0) return known
    const message = this.get(number)
    let stale = number
    if (message.type === 'append') stale = this.of({ ...message, previousTerm: 0, commit: 0, entries: [] })
    else if (message.type === 'vote') stale = this.of({ ...message, lastIndex: 0, lastTerm: 0, transfer: false })
    this.#stale[number] = stale
    return stale
  }

  get types(): string[] {
    return [...new Set(this.#messages.map(({ type }) => type))].sort()
  }

  get size(): number {
    return this.#messages.length
  }

  #text(message: Message): string {
    const { type, shard: _shard, ...fields } = message as Message & Record<string, unknown>
    const parts = Object.entries(fields).map(([name, value]) => {
      if (name !== 'entries') return `${name}=${JSON.stringify(value)}`
      const entries = (value as Extract<Message, { type: 'append' }>['entries']).map(
        (entry) => `${entry.index}/${entry.term}#${this.#numbers.of(entry)}`,
      )
      return `[${entries.join(' ')}]`
    })
    return `${type} ${parts.join(' ')}`
  }
}
