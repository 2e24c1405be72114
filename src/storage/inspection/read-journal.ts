/**
 * One segment of the journal, block by block, judged by the table that an opening judges by (`recovery.ts`).
 *
 * The file may be written to while it is read. Its end is then found a little too early, which is no harm. But a place that was
 * read before the writer came there, beside a place that was read after, looks like a hole. So whatever looks like damage
 * is looked at a second time, from the disk, with what the directory says now; and a file whose header has changed meanwhile has
 * begun another life.
 */
import { EntryKind } from '../entry.ts'
import { decodeHardState } from '../hard-state.ts'
import {
  BLOCK_ALIGNMENT,
  BLOCK_HEADER_BYTES,
  type BlockHeader,
  blockFootprint,
  decodeSegmentHeader,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
} from '../journal-format.ts'
import { proofOf } from '../journal-scan.ts'
import type { Procedure } from '../procedure.ts'
import { decide, type Row, type Successor } from '../recovery.ts'
import { glimpse, hex32, type Output } from './items.ts'
import {
  blockEnd,
  type Expected,
  type Observed,
  observeBlock,
  restInWords,
  type Survey,
  survey,
} from './journal-search.ts'
import { Budget, GIVEN_UP, type Source } from './source.ts'

/** What the rest of the data directory says about this file. */
export interface JournalPlace {
  /** In its name; null for a name that is none of ours. */
  readonly number: number | null
  /** Of the identity; null if there is none beside it. */
  readonly diskIncarnation: string | null
  /** The checkpoint's: the first block that is needed, and the last that was synced when it was written. 0 for unknown. */
  readonly from: number
  readonly through: number
  /** First block of the segment that was in service last, as far as that was written down. */
  readonly entered: number
  /** The next segment in service. */
  readonly successor: { readonly path: string; readonly firstSequence: number } | null
  /** Everything in it is below `from`: an opening does not read it. */
  readonly unneeded: boolean
  /** A good block with this sequence or a higher one in a later file: its path. */
  readonly beyond: (sequence: number) => Procedure<string | null>
  /** The same, as it is now. */
  readonly again: () => Procedure<JournalPlace>
}

export function* readJournal(source: Source, place: JournalPlace, out: Output): Procedure<void> {
  const budget = new Budget(source.size)
  yield* new JournalReading(source, place, out, budget).read()
  if (budget.exhausted) out.note(GIVEN_UP)
}

class JournalReading {
  readonly #source: Source
  #place: JournalPlace
  readonly #out: Output
  readonly #budget: Budget

  constructor(source: Source, place: JournalPlace, out: Output, budget: Budget) {
    this.#source = source
    this.#place = place
    this.#out = out
    this.#budget = budget
  }

  *read(second = false): Procedure<void> {
    const page = Buffer.from(yield* this.#source.view(0, SEGMENT_HEADER_BYTES))
    const header = decodeSegmentHeader(page)
    if (typeof header === 'object' && !second) this.#out.header({ ...header })
    const trouble = typeof header === 'string' ? header : this.#foreign(header)
    if (trouble !== null) return yield* this.#notInService(page, header, { trouble, second })
    const { firstSequence, incarnation } = header as SegmentHeader
    const first = yield* observeBlock(this.#source, BLOCK_ALIGNMENT, { sequence: firstSequence, incarnation })
    if (first.here !== 'expected') return yield* this.#notInService(page, header, { trouble: 'first block', second })
    if (this.#place.unneeded) this.#out.note('everything in it is below the checkpoint: an opening does not read it')
    yield* this.#blocks(page, BLOCK_ALIGNMENT, { sequence: firstSequence, incarnation })
  }

  /** Why a header that verifies is not this file's; null if it is. */
  #foreign(header: SegmentHeader): string | null {
    const { number, diskIncarnation } = this.#place
    if (number !== null && header.number !== number) return `the header of segment ${header.number}`
    if (diskIncarnation !== null && header.diskIncarnation !== diskIncarnation) return 'the header of another disk'
    return null
  }

  /** Header and first block are one write: without either nothing in the file was promised, unless something alive lies in it. */
  *#notInService(
    page: Buffer,
    header: SegmentHeader | string,
    how: { trouble: string; second: boolean },
  ): Procedure<void> {
    const { trouble, second } = how
    const out = this.#out
    const alone = this.#place.from === 0 && this.#place.through === 0
    const own = typeof header === 'object' && trouble === 'first block'
    // Without a checkpoint beside it, a header of another life is all that tells an old block from a living one.
    const foreign = typeof header === 'object' && !own && alone
    const threshold = foreign ? Number.POSITIVE_INFINITY : Math.max(this.#place.from, own ? header.firstSequence : 0)
    const seen = yield* survey(this.#source, BLOCK_ALIGNMENT, threshold, this.#budget)
    const { good } = seen
    if (good === null || (yield* this.#halfAWrite(good.position, good.header, own))) {
      const state = page.every((byte) => byte === 0) ? 'prepared' : 'not in service'
      const why =
        state === 'prepared'
          ? 'no header yet: the file was written ahead and waits for its first block'
          : typeof header === 'string' || own
            ? `${own ? 'no first block' : `no header (${trouble})`}: the one write that would have put the file in service did not finish`
            : `${trouble}: the file waits to be used again`
      const position = good === null ? Math.min(BLOCK_ALIGNMENT, this.#source.size) : 0
      return out.end(position, state, `${why}; ${restInWords(seen)}`, {
        ...seen.rest,
        bytes: this.#source.size - position,
      })
    }
    if (!second) {
      this.#source.forget()
      this.#place = yield* this.#place.again()
      return yield* this.read(true)
    }
    const { position, header: block } = good
    const after = `block ${block.sequence} at byte ${position}`
    if (own) {
      const expected = `block ${header.firstSequence}`
      const first = yield* observeBlock(this.#source, BLOCK_ALIGNMENT, { ...block, sequence: header.firstSequence })
      out.damage(BLOCK_ALIGNMENT, position, { expected, found: first.found, after })
    } else {
      const expected = this.#place.number === null ? 'a header' : `the header of segment ${this.#place.number}`
      out.damage(0, SEGMENT_HEADER_BYTES, { expected, found: this.#headerFound(page, trouble), after })
    }
    yield* this.#blocks(page, position, block)
  }

  /** The first block without its header, or alone behind one that is not its own: a write that the power cut in two. */
  *#halfAWrite(position: number, { sequence, bodyBytes }: BlockHeader, own: boolean): Procedure<boolean> {
    if (own || position !== BLOCK_ALIGNMENT || proofOf(sequence, this.#place) !== 'none') return false
    if (this.#place.successor !== null) return false
    return (yield* survey(this.#source, position + blockFootprint(bodyBytes), sequence, this.#budget)).good === null
  }

  #headerFound(page: Buffer, trouble: string): string {
    if (trouble === 'short') return `${page.length} bytes`
    if (trouble === 'magic') return glimpse(page)
    if (trouble === 'crc') return `bytes without the sum ${hex32(page.readUInt32LE(8))}`
    if (trouble === 'newer') return `format ${page.readUInt16LE(14)}, which is newer than this program`
    return trouble === 'range' ? 'values that cannot be' : trouble
  }

  *#blocks(page: Buffer, start: number, from: Expected): Procedure<void> {
    let position = start
    let expected: Expected = from
    let second = false
    while (!this.#out.stopped) {
      const { sequence } = expected
      const seen = yield* observeBlock(this.#source, position, expected)
      const successor = this.#successor(sequence)
      if (seen.here === 'expected' && successor !== 'continues') {
        yield* this.#take(position, seen)
        position += blockFootprint(seen.header!.bodyBytes)
        expected = { ...expected, sequence: sequence + 1 }
        second = false
        continue
      }
      const rest = yield* this.#beyond(position, expected, seen, successor)
      const row = decide({
        here: seen.here,
        successor,
        beyond: rest.good !== null || rest.elsewhere !== null,
        proved: this.#place.unneeded ? 'none' : proofOf(sequence, this.#place),
      })
      if (row.verdict !== 'damage') return this.#end(position, sequence, row, rest)
      if (!second) {
        second = true
        this.#source.forget()
        if (!(yield* this.#sameHeader(page))) return this.#endOfLife(position)
        this.#place = yield* this.#place.again()
        continue
      }
      second = false
      const resumed = this.#damage(position, sequence, seen, row, rest)
      if (resumed === null) return
      position = resumed.position
      expected = resumed.header
    }
  }

  #successor(sequence: number): Successor {
    const { successor, unneeded } = this.#place
    if (successor === null || unneeded) return 'none'
    return successor.firstSequence > sequence ? 'gap' : 'continues'
  }

  /** What lies behind the place where block n is not: in this file, and, where this is the last one, in later ones. */
  *#beyond(
    position: number,
    { sequence }: Expected,
    seen: Observed,
    successor: Successor,
  ): Procedure<Survey & { elsewhere: string | null }> {
    // A block that verifies where another belongs is itself the next good one.
    const from = seen.here === 'unexpected' ? position : Math.min(position + BLOCK_ALIGNMENT, this.#source.size)
    const threshold = successor === 'continues' ? Number.POSITIVE_INFINITY : sequence
    const found = yield* survey(this.#source, from, threshold, this.#budget)
    const elsewhere = found.good === null && successor === 'none' ? yield* this.#place.beyond(sequence) : null
    if (successor === 'gap') return { ...found, elsewhere: this.#place.successor!.path }
    if (seen.here === 'nothing' && seen.found === 'zeros') return { ...found, elsewhere }
    const is = found.rest.is === 'none' && position >= this.#source.size ? 'none' : 'earlier life'
    return { ...found, rest: { ...found.rest, is }, elsewhere }
  }

  #end(position: number, sequence: number, row: Row, rest: Survey): void {
    const bytes = Math.max(0, this.#source.size - position)
    const words = restInWords(bytes === 0 ? { ...rest, rest: { bytes: 0, is: 'none' } } : rest)
    const explanation =
      row.verdict === 'hand-over'
        ? `block ${sequence} is the first of ${this.#place.successor!.path}`
        : row.verdict === 'cut'
          ? `block ${sequence} is there in part: it was being written and nobody was promised anything; an opening cuts it`
          : `block ${sequence} would be next; ${words}`
    this.#out.end(position, row.label, explanation, { bytes, is: bytes === 0 ? 'none' : rest.rest.is })
  }

  #damage(
    position: number,
    sequence: number,
    seen: Observed,
    row: Row,
    rest: Survey & { elsewhere: string | null },
  ): Survey['good'] {
    const { size } = this.#source
    const { good } = rest
    const to =
      good?.position ??
      (seen.header === null ? Math.min(size, position + BLOCK_ALIGNMENT) : blockEnd(position, seen.header, size))
    const after =
      good !== null
        ? `block ${good.header.sequence} at byte ${good.position}${missing(sequence, good.header.sequence)}`
        : rest.elsewhere !== null
          ? `nothing in this file; the journal goes on in ${rest.elsewhere}`
          : 'nothing that verifies'
    this.#out.damage(Math.min(position, to), to, {
      expected: `block ${sequence} (${row.label})`,
      found: seen.found,
      after,
    })
    if (good === null)
      this.#out.end(position, row.label, 'nothing behind the damage verifies', {
        bytes: Math.max(0, size - position),
        is: rest.rest.is,
      })
    return good
  }

  #endOfLife(position: number): void {
    const bytes = Math.max(0, this.#source.size - position)
    this.#out.end(position, 'used again', 'the node has begun to use the file again while it was read', {
      bytes,
      is: 'unread',
    })
  }

  *#sameHeader(page: Buffer): Procedure<boolean> {
    return (yield* this.#source.view(0, SEGMENT_HEADER_BYTES)).equals(page)
  }

  *#take(position: number, { header, crc }: Observed): Procedure<void> {
    const { sequence, incarnation, entryCount, bodyBytes } = header!
    const footprint = blockFootprint(bodyBytes)
    this.#out.emit({ type: 'block', position, footprint, sequence, incarnation, entryCount, bodyBytes, crc })
    const end = position + BLOCK_HEADER_BYTES + bodyBytes
    const after = `the next block may start at byte ${position + footprint}`
    let count = 0
    for (let at = position + BLOCK_HEADER_BYTES; at < end && !this.#out.stopped; count++) {
      const entry = yield* this.#source.entry(at, end)
      if (typeof entry === 'string') {
        const { expected, found } = yield* this.#source.explain(at, end, entry)
        return this.#out.damage(at, end, {
          expected: `entry ${count + 1} of block ${sequence}: ${expected}`,
          found,
          after,
        })
      }
      this.#out.emit({ type: 'entry', position: at, sequence, entry })
      if (entry.kind === EntryKind.hardState && decodeHardState(entry) === null) {
        const expected = 'a hard state: index 0, four bytes'
        this.#out.damage(at, at + entry.bytes.length, {
          expected,
          found: `index ${entry.index}, ${entry.bytes.length - 64} bytes`,
          after,
        })
      }
      at += entry.bytes.length
    }
    if (count === entryCount || this.#out.stopped) return
    this.#out.damage(position, end, {
      expected: `${entryCount} entries in block ${sequence}`,
      found: `${count}`,
      after,
    })
  }
}

function missing(expected: number, next: number): string {
  if (next <= expected) return ''
  return next === expected + 1 ? ` (block ${expected} is lost)` : ` (blocks ${expected}–${next - 1} are lost)`
}
