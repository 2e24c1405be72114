/**
 * One segment of a shard's log, entry by entry, under the rules that every reader of it keeps: each entry's own sum, its shard,
 * the index after the one before, the chain of sums, and offsets without a hole.
 *
 * Entries have no alignment. Behind a damaged place the next one is found by what is the same in all headers of one shard:
 *
 *     8  version 1 · kind · reserved 0 0 · shard        then a length that agrees with the payload's, and the sum
 */
import { basename } from 'node:path'
import { crc32c } from '../../stdx/index.ts'
import {
  crcThrough,
  ENTRY_BYTES_MAX,
  ENTRY_HEADER_BYTES,
  ENTRY_VERSION,
  type Entry,
  EntryKind,
  nextOffsetAfter,
} from '../entry.ts'
import { isOfCleanedSegment } from '../layout.ts'
import type { Procedure } from '../procedure.ts'
import { decodeShardSegmentHeader, SHARD_SEGMENT_HEADER_BYTES, type ShardSegmentHeader } from '../segment-format.ts'
import { WINDOW_BYTES } from '../window-reader.ts'
import { glimpse, hex32, type Output } from './items.ts'
import { Budget, GIVEN_UP, type Source } from './source.ts'

/** What the rest of the data directory says about this file. */
export interface ShardLogPlace {
  /** Of the folder and the name; null for names that are none of ours. */
  readonly shard: number | null
  readonly firstIndex: number | null
  /** Bytes that the checkpoint vouches for; infinite for a segment that was left, null where nobody says. */
  readonly vouchedBytes: number | null
  /** Where the next segment starts; null for the last one. */
  readonly nextFirstIndex: number | null
  /** The log's start: entries below count no more. */
  readonly startIndex: number
  /** Of a cleaned segment that the checkpoint names: its length, and the sum of all of it. */
  readonly written: { readonly bytes: number; readonly crc: number } | null
  /** An entry of this file that others name with its sum: the next segment's header its last one, the checkpoint the last one that it has. */
  readonly link: { readonly index: number; readonly crc: number } | null
}

const UNNAMED = 'the checkpoint does not name it: it was being made, or was replaced, and a start removes it'
const BEHIND =
  'bytes behind the end that the checkpoint names: they were being written, and the journal has what belongs here'
const CUT_OFF =
  'it ends inside an entry: no checkpoint is beside it that would say how far it counts, and whether something is missing'
const LINKS = [EntryKind.leadership, EntryKind.configuration, EntryKind.data, EntryKind.cut]

export function* readShardLog(source: Source, place: ShardLogPlace, out: Output): Procedure<void> {
  const budget = new Budget(source.size)
  yield* new ShardLogReading(source, place, out, budget).read()
  if (budget.exhausted) out.note(GIVEN_UP)
}

class ShardLogReading {
  readonly #source: Source
  readonly #place: ShardLogPlace
  readonly #out: Output
  readonly #budget: Budget
  #shard: number | null
  #firstIndex: number | null = null
  #previous: Entry | null = null
  /** Of what was read so far; null behind damage. */
  #crc: number | null = 0

  constructor(source: Source, place: ShardLogPlace, out: Output, budget: Budget) {
    this.#source = source
    this.#place = place
    this.#out = out
    this.#budget = budget
    this.#shard = place.shard
  }

  *read(): Procedure<void> {
    const header = yield* this.#header()
    if (header === null) this.#crc = null
    if (this.#place.vouchedBytes === 0 && isOfCleanedSegment(basename(this.#source.path))) this.#out.note(UNNAMED)
    let position = SHARD_SEGMENT_HEADER_BYTES
    while (position < this.#source.size && !this.#out.stopped) {
      const entry = yield* this.#source.entry(position, this.#source.size)
      if (typeof entry !== 'string') {
        this.#check(entry, position, header)
        this.#checkLink(entry, position)
        this.#previous = entry
        this.#crc = this.#crc === null ? null : crcThrough(this.#crc, entry)
        this.#out.emit({ type: 'entry', position, sequence: null, entry })
        position += entry.bytes.length
        continue
      }
      const next = yield* this.#next(position)
      if (this.#mayEnd(position, entry, next))
        return this.#end(position, 'not vouched for', this.#place.vouchedBytes === null ? CUT_OFF : BEHIND)
      const what = yield* this.#source.explain(position, this.#source.size, entry)
      const after = next === null ? 'nothing that verifies' : `entry ${next.index} at byte ${next.position}`
      const expected = this.#previous === null ? what.expected : `entry ${this.#previous.index + 1}: ${what.expected}`
      this.#crc = null
      this.#out.damage(position, next?.position ?? this.#source.size, { expected, found: what.found, after })
      if (next === null) return this.#end(position, 'damaged', 'nothing behind the damage verifies')
      // What follows is not the successor of what was read last.
      this.#previous = null
      position = next.position
    }
    this.#end(position, 'end of the file', this.#wholeInWords(position))
  }

  *#header(): Procedure<ShardSegmentHeader | null> {
    const bytes = yield* this.#source.view(0, SHARD_SEGMENT_HEADER_BYTES)
    const header = decodeShardSegmentHeader(bytes)
    const { shard, firstIndex } = this.#place
    if (typeof header === 'object') {
      this.#out.header({ ...header, previousCrc: hex32(header.previousCrc) })
      this.#crc = crc32c(bytes)
      this.#shard = header.shard
      if ((shard ?? header.shard) === header.shard && (firstIndex ?? header.firstIndex) === header.firstIndex) {
        this.#firstIndex = header.firstIndex
        return header
      }
      if (this.#place.vouchedBytes === 0) return null
      const found = `the header of shard ${header.shard}, entry ${header.firstIndex}`
      this.#out.damage(0, bytes.length, {
        expected: `shard ${shard ?? header.shard}, entry ${firstIndex ?? header.firstIndex}`,
        found,
        after: this.#afterHeader(),
      })
      return null
    }
    // A segment that was just made has no header yet, or not all of it; nothing in it counts.
    const { vouchedBytes } = this.#place
    if (vouchedBytes === 0 || (vouchedBytes === null && header === 'short')) return null
    const found =
      header === 'magic'
        ? glimpse(bytes)
        : header === 'short'
          ? `${bytes.length} bytes`
          : header === 'newer'
            ? `format ${bytes.readUInt16LE(14)}, which is newer than this program`
            : header === 'crc'
              ? `bytes without the sum ${hex32(bytes.readUInt32LE(8))}`
              : 'values that cannot be'
    this.#out.damage(0, Math.min(SHARD_SEGMENT_HEADER_BYTES, this.#source.size), {
      expected: 'the header of a shard log segment',
      found,
      after: this.#afterHeader(),
    })
    return null
  }

  #afterHeader(): string {
    return this.#source.size > SHARD_SEGMENT_HEADER_BYTES
      ? `entries from byte ${SHARD_SEGMENT_HEADER_BYTES}`
      : 'nothing'
  }

  #check(entry: Entry, position: number, header: ShardSegmentHeader | null): void {
    const previous = this.#previous
    // What compaction has left ascends with holes.
    const holes = header?.generation !== undefined
    const first = previous === null && header !== null && position === SHARD_SEGMENT_HEADER_BYTES ? header : null
    const expectedIndex = previous === null ? first?.firstIndex : previous.index + 1
    const expectedOffset = previous === null ? first?.firstOffset : nextOffsetAfter(previous)
    const expectedCrc = previous === null ? first?.previousCrc : previous.crc
    const wrong: [boolean, string, string][] = [
      [
        this.#shard !== null && entry.shard !== this.#shard,
        `an entry of shard ${this.#shard}`,
        `one of shard ${entry.shard}`,
      ],
      [
        expectedIndex !== undefined && isOutOfPlace(entry.index, expectedIndex, holes),
        `entry ${expectedIndex}`,
        `entry ${entry.index}`,
      ],
      [
        expectedCrc !== undefined && entry.previousCrc !== expectedCrc,
        `the entry after ${hex32(expectedCrc ?? 0)}`,
        `the one after ${hex32(entry.previousCrc)}`,
      ],
      [
        expectedOffset !== undefined && isOutOfPlace(entry.firstOffset, expectedOffset, holes),
        `offset ${expectedOffset}`,
        `offset ${entry.firstOffset}`,
      ],
      [entry.kind === EntryKind.hardState, 'an entry of a log', 'a hard state'],
    ]
    const hit = wrong.find(([is]) => is)
    const counts = position < (this.#place.vouchedBytes ?? Number.POSITIVE_INFINITY)
    if (hit === undefined || !counts) return
    const [, expected, found] = hit
    this.#out.damage(position, position + entry.bytes.length, { expected, found, after: 'it is whole and shown here' })
  }

  #checkLink({ index, crc, bytes }: Entry, position: number): void {
    const { link } = this.#place
    if (link?.index !== index || link.crc === crc) return
    const expected = `entry ${index} with the sum ${hex32(link.crc)}, as the next segment or the checkpoint has it`
    const after = 'it is whole and shown here'
    this.#out.damage(position, position + bytes.length, { expected, found: `sum ${hex32(crc)}`, after })
  }

  #mayEnd(position: number, defect: string, next: { position: number } | null): boolean {
    const { vouchedBytes } = this.#place
    if (vouchedBytes !== null) return position >= vouchedBytes
    // Nobody says how far it counts: only a file that stops within its last entry is told from damage.
    return defect === 'short' && next === null && this.#place.nextFirstIndex === null
  }

  #end(position: number, label: string, explanation: string): void {
    const { size } = this.#source
    const { vouchedBytes, nextFirstIndex, startIndex, written } = this.#place
    const reached = Math.min(position, size)
    if (!this.#out.stopped && label !== 'damaged') {
      if (written !== null) this.#compare(written)
      const last = this.#previous
      // Without an entry it ends before its first.
      const lastIndex = last?.index ?? (this.#firstIndex === null ? null : this.#firstIndex - 1)
      if (vouchedBytes !== null && Number.isFinite(vouchedBytes) && reached < vouchedBytes) {
        this.#out.damage(reached, vouchedBytes, {
          expected: `${vouchedBytes} bytes, which the checkpoint vouches for`,
          found: `${reached}`,
          after: 'the end of the file',
        })
      } else if (
        nextFirstIndex !== null &&
        nextFirstIndex > startIndex &&
        lastIndex !== null &&
        lastIndex !== nextFirstIndex - 1 &&
        vouchedBytes === Number.POSITIVE_INFINITY
      ) {
        this.#out.damage(reached, reached, {
          expected: `entry ${nextFirstIndex - 1} as the last one, before the next segment`,
          found: last === null ? 'no entry' : `entry ${lastIndex}`,
          after: `the segment of entry ${nextFirstIndex}`,
        })
      }
    }
    const bytes = Math.max(0, size - position)
    const is = bytes === 0 ? 'none' : label === 'damaged' ? 'unread' : 'not vouched for'
    this.#out.end(reached, label, explanation, { bytes, is })
  }

  #compare({ bytes, crc }: { bytes: number; crc: number }): void {
    const { size } = this.#source
    if (size !== bytes) {
      const expected = `${bytes} bytes, as the checkpoint has it`
      this.#out.damage(Math.min(size, bytes), Math.max(size, bytes), { expected, found: `${size}`, after: 'nothing' })
    } else if (this.#crc !== null && this.#crc !== crc) {
      const expected = `bytes with the sum ${hex32(crc)}, as the checkpoint has it`
      this.#out.damage(0, size, { expected, found: `sum ${hex32(this.#crc)}`, after: 'nothing' })
    }
  }

  #wholeInWords(position: number): string {
    const { vouchedBytes, startIndex } = this.#place
    const last = this.#previous
    if (last !== null && last.index < startIndex)
      return `all of it is below the start of the log, ${startIndex}: an opening removes it`
    if (vouchedBytes === Number.POSITIVE_INFINITY) return 'a segment that was left: it is never written again'
    if (vouchedBytes === null) return 'whole'
    if (position > vouchedBytes)
      return `whole; the checkpoint vouches for the first ${vouchedBytes} bytes, the journal has the rest too`
    return 'the segment in use, as the checkpoint knows it'
  }

  /** The next entry of this shard that verifies. */
  *#next(position: number): Procedure<{ position: number; index: number } | null> {
    if (this.#shard === null) return null
    const patterns = LINKS.map((kind) => {
      const pattern = Buffer.from([ENTRY_VERSION, kind, 0, 0, 0, 0, 0, 0])
      pattern.writeUInt32LE(this.#shard!, 4)
      return pattern
    })
    const { size } = this.#source
    // Windows overlap by a header, so that none is missed at their seams.
    for (let start = position + 1; start + ENTRY_HEADER_BYTES <= size; start += WINDOW_BYTES - ENTRY_HEADER_BYTES) {
      const window = yield* this.#source.view(start, Math.min(WINDOW_BYTES, size - start))
      for (const at of places(window, patterns)) {
        const length = window.readUInt32LE(at)
        if (length < ENTRY_HEADER_BYTES || length > ENTRY_BYTES_MAX || start + at + length > size) continue
        if (window.readUInt32LE(at + 56) !== length - ENTRY_HEADER_BYTES || !this.#budget.spend(length)) continue
        const entry = yield* this.#source.entry(start + at, size)
        if (typeof entry === 'object') return { position: start + at, index: entry.index }
      }
      if (window.length < WINDOW_BYTES) return null
    }
    return null
  }
}

function isOutOfPlace(found: number, expected: number, holes: boolean): boolean {
  return holes ? found < expected : found !== expected
}

/** Where whole headers with one of these patterns at byte 8 start, ascending. */
function places(window: Buffer, patterns: readonly Buffer[]): number[] {
  const found: number[] = []
  for (const pattern of patterns) {
    for (let at = window.indexOf(pattern, 8); at >= 0; at = window.indexOf(pattern, at + 1)) {
      if (at - 8 + ENTRY_HEADER_BYTES <= window.length) found.push(at - 8)
    }
  }
  return found.sort((a, b) => a - b)
}
