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
      this.#refusals.push('granted' in message && !message.granted)
      this.#data.push(message.type === 'append' || (message.type as string) === 'snapshot')
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
