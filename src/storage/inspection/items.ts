/**
 * What is found in the files of a data directory, piece by piece, in the order of their bytes.
 *
 * A reader for people (and for their scripts) differs from the one that opens a directory: it never gives up. What an opening
 * refuses in one sentence is shown here with its place: which bytes, what belongs there, what is there instead, and where the
 * next good piece begins. So nothing in this folder throws for what a file contains; damage is an item like any other.
 */
import type { StoredShard } from '../checkpoint-format.ts'
import type { Entry } from '../entry.ts'

export type FileKind = 'journal' | 'shard-log' | 'shard-index' | 'checkpoint' | 'identity' | 'terms'

/** Fields of a header, in the order and under the names of docs/formats. */
export type Fields = Readonly<Record<string, string | number | null>>

export interface BlockItem {
  readonly type: 'block'
  readonly position: number
  /** Up to where the next one may start. */
  readonly footprint: number
  readonly sequence: number
  readonly incarnation: string
  readonly entryCount: number
  readonly bodyBytes: number
  readonly crc: number
}

export interface EntryItem {
  readonly type: 'entry'
  readonly position: number
  /** Of its block; null in a shard log. */
  readonly sequence: number | null
  /** A slice of a window of the file: copy what is kept. */
  readonly entry: Entry
}

export interface DamageItem {
  readonly type: 'damage'
  /** The bytes in question, `to` exclusive. Equal where something is missing between two good bytes. */
  readonly from: number
  readonly to: number
  readonly expected: string
  readonly found: string
  /** Where the next good piece begins, or that there is none. */
  readonly after: string
}

/** Why the reading of a file ends where it does. There is one for each file that could be read. */
export interface EndItem {
  readonly type: 'end'
  readonly position: number
  /** `clean end`, `torn last block`, `handed over`, … */
  readonly label: string
  readonly explanation: string
  /** Bytes from the position to the end of the file, and what they are. */
  readonly restBytes: number
  readonly rest: Rest
}

export type Rest = 'none' | 'zeros' | 'earlier life' | 'not vouched for' | 'unread'

export type LogItem =
  | { readonly type: 'file'; readonly path: string; readonly kind: FileKind; readonly bytes: number }
  | { readonly type: 'header'; readonly fields: Fields }
  | BlockItem
  | EntryItem
  | {
      readonly type: 'point'
      readonly index: number
      readonly firstOffset: number
      readonly position: number
      readonly maxTimestampBefore: number
    }
  | { readonly type: 'shard'; readonly position: number; readonly bytes: number; readonly stored: StoredShard }
  | { readonly type: 'removed'; readonly shard: number; readonly through: number }
  | { readonly type: 'note'; readonly text: string }
  | DamageItem
  | EndItem
  /** A file or folder that belongs to every data directory, and what follows. */
  | { readonly type: 'missing'; readonly path: string; readonly after: string }
  /** A name that the disk does not let anybody look behind, and of which nobody can say what is there. */
  | { readonly type: 'unreadable'; readonly path: string; readonly found: string; readonly after: string }
  /** It was there when the folder was listed: a running node removes and renames what it no longer needs. */
  | { readonly type: 'gone'; readonly path: string }

/** Takes the items; false when no more are wanted, of any file. */
export type ItemSink = (item: LogItem) => boolean

/** Damage after which a file is not worth a line per finding. */
const DAMAGE_SHOWN_MAX = 100

/** Hands the items of one file on. */
export class Output {
  readonly #sink: ItemSink
  #stopped = false
  #damages = 0

  constructor(sink: ItemSink) {
    this.#sink = sink
  }

  get stopped(): boolean {
    return this.#stopped
  }

  emit(item: LogItem): void {
    if (!this.#stopped && !this.#sink(item)) this.#stopped = true
  }

  header(fields: Fields): void {
    this.emit({ type: 'header', fields })
  }

  note(text: string): void {
    this.emit({ type: 'note', text })
  }

  damage(from: number, to: number, what: { expected: string; found: string; after: string }): void {
    this.#damages++
    if (this.#damages <= DAMAGE_SHOWN_MAX) this.emit({ type: 'damage', from, to, ...what })
    else if (this.#damages === DAMAGE_SHOWN_MAX + 1)
      this.note(`more than ${DAMAGE_SHOWN_MAX} damaged places: the others are not listed`)
  }

  end(position: number, label: string, explanation: string, rest: { bytes: number; is: Rest }): void {
    this.emit({ type: 'end', position, label, explanation, restBytes: rest.bytes, rest: rest.is })
  }
}

export function hex32(sum: number): string {
  return sum.toString(16).padStart(8, '0')
}

/** The first bytes, as they are, for "found". */
export function glimpse(bytes: Buffer): string {
  if (bytes.length === 0) return 'the end of the file'
  if (bytes.every((byte) => byte === 0)) return 'zeros'
  return `the bytes ${bytes
    .subarray(0, 8)
    .toString('hex')
    .replace(/..(?=.)/g, '$& ')}`
}
