/**
 * One number for everything that happened: two runs of a seed are the same if their traces hash to the same value.
 *
 * Every event of every node goes in, so what one costs decides how fast a seed runs. Lines are gathered and hashed in large
 * pieces, and an event is written down value by value, in the order in which its fields were set, which is part of what must
 * not differ.
 */
import { createHash, type Hash } from 'node:crypto'

const PIECE_CHARACTERS = 32_768

export class Trace {
  readonly #hash: Hash = createHash('sha256')
  #lines = ''

  note(atMs: number, who: number, event: object): void {
    this.#lines += `${atMs} ${who}${written(event)}\n`
    if (this.#lines.length > PIECE_CHARACTERS) this.#flush()
  }

  /** Of everything so far. */
  get digest(): string {
    this.#flush()
    return this.#hash.copy().digest('hex')
  }

  #flush(): void {
    this.#hash.update(this.#lines)
    this.#lines = ''
  }
}

function written(value: object): string {
  let text = ''
  for (const key in value) {
    const field = (value as Record<string, unknown>)[key]
    // What clients sent and read is long; that it is the same follows from all the rest.
    if (key === 'values' || key === 'records') text += ` ${(field as readonly unknown[]).length ?? field}`
    else if (typeof field === 'object' && field !== null) text += ` ${JSON.stringify(field)}`
    else text += ` ${field}`
  }
  return text
}
