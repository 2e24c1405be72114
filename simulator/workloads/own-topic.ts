/** What the only administrator of a topic knows of it: whether it is there, as which incarnation, and what is in it. */
import type { Address } from '../../src/platform/index.ts'
import { encodeBatch } from '../../src/records/index.ts'
import { recordsFrom } from './consumer.ts'

export class OwnTopic {
  readonly name: string
  #id: string | null = null
  #setting: string | null = null
  /** Of all incarnations. */
  readonly #ids = new Set<string>()
  /** Acknowledged to be in partition 0 of this incarnation, in that order. */
  #values: string[] = []
  /** Sent by name, and nobody knows to which incarnation: there was no answer, or one of a node that may have been behind. */
  readonly #astray = new Set<string>()
  /** The process that answered last for it, as long as the connection lasts. */
  #shownAt: Address | null = null
  #connection = 0

  constructor(name: string) {
    this.name = name
  }

  /** Null: it is not there. */
  get id(): string | null {
    return this.#id
  }

  get setting(): string | null {
    return this.#setting
  }

  get shownAt(): Address | null {
    return this.#shownAt
  }

  /** The answer came over this connection; 0: it has ended since. */
  shownBy(at: Address, connection: number): void {
    this.#shownAt = at
    this.#connection = connection
  }

  isShownBy({ host, port }: Address, connection: number): boolean {
    const at = this.#shownAt
    return at !== null && at.host === host && at.port === port && connection !== 0 && connection === this.#connection
  }

  /** What is wrong with a creation that was acknowledged, or null. */
  created(id: string, setting: string): string | null {
    const defect =
      this.#id !== null ? `it exists as ${this.#id}` : this.#ids.has(id) ? `${id} is the id of an earlier one` : null
    this.#id = id
    this.#ids.add(id)
    this.#setting = setting
    this.#values = []
    return defect
  }

  deleted(): void {
    this.#id = null
    this.#setting = null
    this.#values = []
  }

  /** What is wrong with an id that is shown (null: none), or null. */
  defectOf(shown: string | null): string | null {
    if (shown === this.#id) return null
    const said = shown === null ? 'it is not there' : this.#ids.has(shown) ? `${shown}, which was deleted` : shown
    return `${said}, and should be ${this.#id ?? 'absent'}`
  }

  nextBatch(number: number, timestamp: number): { readonly batch: Buffer; readonly value: string } {
    const value = `${this.name}#${this.#id}#${number}`
    return { batch: encodeBatch([{ key: null, value: Buffer.from(value) }], { timestamp }), value }
  }

  written(value: string): void {
    if (value.split('#')[1] === this.#id) this.#values.push(value)
  }

  /** It may be in any incarnation that there is or will be, or in none. */
  wentAstray(value: string): void {
    this.#astray.add(value)
  }

  /**
   * What is wrong with the records from the start on, as a node read them that knows this incarnation, or null. An answer may end
   * before the mark: it is as long as it likes.
   */
  defectOfRecords(bytes: Buffer | null | readonly Buffer[], highWatermark: number): string | null {
    const values = recordsFrom(bytes, 0).map(({ value }) => value)
    const alien = values.find((value) => value.split('#')[1] !== this.#id && !this.#astray.has(value))
    if (alien !== undefined) return `${alien} was written for another incarnation than ${this.#id}`
    const acknowledged = new Set(this.#values)
    const order = values.filter((value) => acknowledged.has(value))
    const due = values.length >= highWatermark ? this.#values.length : order.length
    const lost = this.#values.slice(0, due).findIndex((value, i) => order[i] !== value)
    return lost < 0 ? null : `${this.#values[lost]} was acknowledged, and ${order[lost] ?? 'nothing'} is there`
  }
}
