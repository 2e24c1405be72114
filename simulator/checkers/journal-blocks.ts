/**
 * Which blocks of the journal each of its files holds, as far as one process has written and synced them or has read them: what
 * tells a file that may go from one that may not.
 *
 *     1.log │ 1 2 3 4 │   5.log │ 4 5 6 │   6.log │ 7 8          a checkpoint that begins at 5 needs 5.log and 6.log;
 *                                                                    block 4 counts in 5.log, which repeats it
 *
 * A file is known by its header, and its blocks by the rules of recovery: in order, of one incarnation, with a good sum. What a
 * file was in an earlier life, or is being prepared for, counts for nothing.
 */
import { basename } from 'node:path'
import {
  BLOCK_ALIGNMENT,
  blockFootprint,
  blockVerifies,
  decodeSegmentHeader,
  peekBlockHeader,
} from '../../src/storage/journal-format.ts'
import { segmentNumberIn } from '../../src/storage/layout.ts'

interface Segment {
  readonly number: number
  readonly incarnation: string
  readonly first: number
  /** `first` − 1: it is not in service. */
  last: number
  /** Where the next block goes. */
  end: number
}

export class JournalBlocks {
  readonly #segments = new Map<string, Segment>()

  /** These bytes are there, from `position` on. */
  note(path: string, bytes: Buffer, position: number): void {
    if (position === 0) this.#noteHeader(path, bytes)
    const segment = this.#segments.get(path)
    if (segment === undefined) return
    for (;;) {
      const at = segment.end - position
      const block = at < 0 ? null : peekBlockHeader(bytes, at)
      if (block === null || block.sequence !== segment.last + 1 || block.incarnation !== segment.incarnation) return
      if (!blockVerifies(bytes, at, block.bodyBytes)) return
      segment.last = block.sequence
      segment.end += blockFootprint(block.bodyBytes)
    }
  }

  #noteHeader(path: string, bytes: Buffer): void {
    const header = decodeSegmentHeader(bytes)
    const number = segmentNumberIn(basename(path))
    if (typeof header === 'string' || header.number !== number) {
      this.#segments.delete(path)
      return
    }
    const { incarnation, firstSequence: first } = header
    const known = this.#segments.get(path)
    if (known?.incarnation === incarnation && known.first === first) return
    this.#segments.set(path, { number, incarnation, first, last: first - 1, end: BLOCK_ALIGNMENT })
  }

  /** The name is gone, or is another file's. */
  gone(path: string): void {
    this.#segments.delete(path)
  }

  /** The blocks from `journalFrom` on that no later file holds as well; null: nothing is lost with this one. */
  neededOf(path: string, journalFrom: number): { first: number; last: number } | null {
    const segment = this.#segments.get(path)
    if (segment === undefined) return null
    let { last } = segment
    for (const other of this.#segments.values())
      if (other.number > segment.number && other.last >= other.first) last = Math.min(last, other.first - 1)
    const first = Math.max(segment.first, journalFrom)
    return last < first ? null : { first, last }
  }
}
