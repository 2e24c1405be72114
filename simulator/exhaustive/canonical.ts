/**
 * The state of a replica as text: two replicas with the same text behave the same from then on.
 *
 * The walk takes whatever it finds (fields, maps, arrays), so a field that is added to the core
 * tomorrow is part of the state tomorrow. What must be known by name is what *looks* different and is not:
 *
 *   - how long a replica still waits: the explorer lets it campaign at any moment, so patience decides nothing;
 *   - sequence numbers of writes: only their distance from the last completed one counts;
 *   - derived sums, and what `ready()` has just drained.
 *
 * A name that is missing here makes more states, never fewer: the error is on the safe side. The same text can be made with
 * the two peers exchanged, which is what symmetry needs; there a missing name would be on the other side, so the exchange is
 * checked against a replica that lived through the exchanged history (`replica-states.ts`).
 */
import type { Entry } from '../../src/storage/index.ts'
import { OPENED } from './opened-core.ts'

/** Numbers the entries of an exploration: same number, same bytes. */
export class EntryNumbers {
  readonly #numbers = new Map<string, number>()
  readonly entries: Entry[] = []

  of(entry: Entry): number {
    const key = `${entry.index}/${entry.term}/${entry.crc}`
    let number = this.#numbers.get(key)
    if (number === undefined) {
      number = this.entries.length
      this.#numbers.set(key, number)
      this.entries.push(entry)
    }
    return number
  }
}

/**
 * Not state, or state that decides nothing where campaigns may start at any moment, no time passes (`confirmed` is asked by
 * leases alone), appends are far from the limit of what may be in flight, and receipt is not acknowledged.
 */
const IGNORED: ReadonlySet<string> = new Set([
  'options',
  'configuration',
  'contact',
  'now',
  'stamp',
  'trace',
  'random',
  'roles',
  'campaigns',
  'patience',
  'suspicious',
  'madeWay',
  'quorumHeardAt',
  'inDoubt',
  'dirty',
  'standingChanged',
  'messages',
  'reads',
  'uncommittedBytes',
  'confirmed',
  'inflight',
  'reportedReceived',
])
/** Node ids. */
const NODE_FIELDS: ReadonlySet<string> = new Set(['vote', 'leader', 'node', 'to', 'peer', 'from'])
/** Numbers of writes, which grow for ever. */
const SEQUENCE_FIELDS: ReadonlySet<string> = new Set(['sequence', 'issued', 'completed', 'hardStateWrite', 'write'])
/** Messages that leave with one write leave into a network without order or number. */
const SETS: ReadonlySet<string> = new Set(['held'])

export interface View {
  readonly numbers: EntryNumbers
  /** The last write completed. */
  readonly completed: number
  /** See the replica's peers, nodes 2 and 3, the other way round. */
  readonly exchanged: boolean
}

export function canonical(value: unknown, view: View): string {
  return new Walk(view).text(value, '')
}

class Walk {
  readonly #view: View
  /** What the walk is inside of: a core knows its role, and the role its core. */
  readonly #path: object[] = []

  constructor(view: View) {
    this.#view = view
  }

  text(value: unknown, name: string): string {
    if (typeof value === 'number') return this.#number(value, name)
    if (typeof value !== 'object' || value === null) return String(value)
    if (isEntry(value)) return `e${this.#view.numbers.of(value)}`
    if (value instanceof Uint8Array) return `b${Buffer.from(value).toString('hex')}`
    const above = this.#path.indexOf(value)
    if (above >= 0) return `@${above}`
    this.#path.push(value)
    const text = this.#compound(value, name)
    this.#path.pop()
    return text
  }

  #compound(value: object, name: string): string {
    if (Array.isArray(value)) {
      const texts = value.map((each) => this.text(each, name))
      return `[${(SETS.has(name) ? [...new Set(texts)].sort() : texts).join()}]`
    }
    if (value instanceof Map) return this.#map(value as Map<unknown, unknown>)
    if (value instanceof Set) return `{${[...value].map((each) => this.text(each, name)).sort()}}`
    return this.#object(value)
  }

  #number(value: number, name: string): string {
    if (SEQUENCE_FIELDS.has(name)) return String(Math.max(0, value - this.#view.completed))
    return String(NODE_FIELDS.has(name) ? this.#node(value) : value)
  }

  #node(node: number): number {
    return this.#view.exchanged && (node === 2 || node === 3) ? 5 - node : node
  }

  /** By node. */
  #map(map: Map<unknown, unknown>): string {
    const rows = [...map].map(([key, value]) => ({ key: typeof key === 'number' ? this.#node(key) : key, value }))
    rows.sort((a, b) => (String(a.key) < String(b.key) ? -1 : 1))
    return `{${rows.map(({ key, value }) => `${String(key)}:${this.text(value, '')}`).join()}}`
  }

  #object(value: object): string {
    let text = `${value.constructor.name}(`
    for (const field of Object.keys(value)) {
      const name = field.startsWith(OPENED) ? field.slice(OPENED.length) : field
      const held = (value as Record<string, unknown>)[field]
      if (IGNORED.has(name) || typeof held === 'function') continue
      text += `${name}=${this.text(held, name)};`
    }
    return `${text})`
  }
}

function isEntry(value: object): value is Entry {
  return 'previousCrc' in value && 'bytes' in value && 'crc' in value
}
