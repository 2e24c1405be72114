/**
 * Reads the journal from the first block that the checkpoint does not cover to its end, and gathers at each place the
 * observations on which `recovery.ts` decides.
 *
 * A segment file is *in service* if its header belongs to it (sum, number, disk) and its first block verifies: header and first
 * block are one write under one sync, so until that sync nothing in the file was promised. Others are being prepared, or were
 * hit by damage; which of the two shows in whether anything alive lies in them (`beyond`).
 */
import type { Disk, DiskFile } from '../platform/index.ts'
import { decodeEntry, type Entry } from './entry.ts'
import { KEEP_THE_DIRECTORY, StorageError } from './errors.ts'
import { isNotFound } from './identity.ts'
import {
  BLOCK_ALIGNMENT,
  BLOCK_HEADER_BYTES,
  blockFootprint,
  blockVerifies,
  decodeSegmentHeader,
  isBlockMagic,
  peekBlockHeader,
  type SegmentHeader,
} from './journal-format.ts'
import { JournalSegment } from './journal-segment.ts'
import { journalDirectory, journalSegmentFile, segmentNumberIn } from './layout.ts'
import { call, type Procedure } from './procedure.ts'
import { decide, type Here, type Proof, type Successor } from './recovery.ts'
import { newerFormat } from './versions.ts'
import { WindowReader } from './window-reader.ts'

/** For the search through what is probably nothing: few reads matter more than few bytes. */
const SEARCH_BYTES = 4 << 20

export interface ScanRequest {
  readonly disk: Disk
  readonly directory: string
  readonly diskIncarnation: string
  /** The first sequence that is needed. */
  readonly from: number
  /** The checkpoint was written when everything up to here was synced; 0 for none. */
  readonly through: number
  /** The first block that only the segment in service has, as was written down when it was synced; 0 for none. */
  readonly entered: number
  /** Null refuses the entry as none that we write; false: it counts for nothing, so nothing is kept for it. */
  readonly take: (entry: Entry, sequence: number) => boolean | null
}

export interface LastBlock {
  readonly body: Buffer
  readonly entryCount: number
  /** Those that count. */
  readonly entries: readonly Entry[]
}

export interface ScanResult {
  /** In service and needed, ascending. */
  readonly segments: JournalSegment[]
  /** Files in the journal's folder that nothing needs: below `from`, or prepared and never used. */
  readonly unused: { number: number; path: string; bytes: number }[]
  /** The last good block: not known to be durable, since no block follows it. */
  readonly last: (LastBlock & { readonly sequence: number }) | null
  readonly blocks: number
  readonly entries: number
  readonly bytes: number
  /** Label of the row that ended the journal. */
  readonly ending: string
}

interface Candidate {
  readonly number: number
  readonly path: string
  readonly bytes: number
  readonly reader: WindowReader
  /** Null when the file is not in service. */
  readonly header: SegmentHeader | null
  /** Of its header, in service or not; null: it has none of this directory. */
  readonly incarnation: string | null
}

export function* scanJournal(request: ScanRequest): Procedure<ScanResult> {
  const candidates = yield* openAll(request)
  try {
    return yield* scan(request, candidates)
  } finally {
    for (const { reader } of candidates) yield* call<void>((done) => reader.file.close(() => done(null)))
  }
}

function* openAll({ disk, directory, diskIncarnation, from }: ScanRequest): Procedure<Candidate[]> {
  const candidates: Candidate[] = []
  let names: string[] = []
  try {
    names = yield* call<string[]>((done) => disk.list(journalDirectory(directory), done))
  } catch (error) {
    if (!isNotFound(error)) throw error
    // It is older than the identity, and its name was synced with it.
    throw damage(journalDirectory(directory), 0, from, 'the folder is missing')
  }
  for (const name of names) {
    const number = segmentNumberIn(name)
    if (number === null) continue
    const path = journalSegmentFile(directory, number)
    const file = yield* call<DiskFile>((done) => disk.open(path, 'read', done))
    const bytes = yield* call<number>((done) => file.size(done))
    const reader = new WindowReader(file, bytes)
    const page = yield* reader.view(0, BLOCK_ALIGNMENT)
    const header = decodeSegmentHeader(page)
    if (header === 'newer') throw newerFormat(path, page, 12)
    const isOurs = typeof header === 'object' && header?.diskIncarnation === diskIncarnation
    const incarnation = isOurs ? (header as SegmentHeader).incarnation : null
    let inService = isOurs && (header as SegmentHeader).number === number
    if (inService) {
      const first = yield* observe(
        reader,
        BLOCK_ALIGNMENT,
        header as SegmentHeader,
        (header as SegmentHeader).firstSequence,
      )
      inService = first.here === 'expected'
    }
    candidates.push({ number, path, bytes, reader, header: inService ? (header as SegmentHeader) : null, incarnation })
  }
  return candidates.sort((a, b) => a.number - b.number)
}

function* scan(request: ScanRequest, candidates: readonly Candidate[]): Procedure<ScanResult> {
  const serving = candidates.filter(({ header }) => header !== null)
  const believes = believerOf(candidates, request)
  // The last one that starts at or below `from`; what lies before it was freed by the checkpoint.
  let at = serving.findLastIndex(({ header }) => header!.firstSequence <= request.from)
  // Where nothing of what is needed was ever synced, no segment need be in service.
  // No segment in service looks like a journal that nobody has written to yet, and so does the only one without its header.
  const proved = proofOf(request.from, request) !== 'none'
  // Where something is missing for certain, whatever looks like a block says which file it was.
  const orphan = at < 0 ? yield* placeBeyond(candidates, -1, 0, request.from, proved ? () => true : believes) : null
  if (orphan !== null) throw damage(orphan, 0, request.from, 'blocks in a segment without its header or first block')
  if (at < 0 && (serving.length > 0 || proved)) {
    const file = serving[0]?.path ?? journalDirectory(request.directory)
    throw damage(file, 0, request.from, 'segment missing: the journal does not reach back to the checkpoint')
  }
  const segments: JournalSegment[] = []
  let last: ScanResult['last'] = null
  let ending = 'empty'
  const counts = { blocks: 0, entries: 0, bytes: 0 }
  while (at >= 0 && at < serving.length) {
    const { number, path, bytes, reader, header } = serving[at]!
    const segment = new JournalSegment(number, path, bytes, header!.firstSequence)
    segments.push(segment)
    const nextFirst = serving[at + 1]?.header?.firstSequence ?? Number.POSITIVE_INFINITY
    let position = BLOCK_ALIGNMENT
    let sequence = header!.firstSequence
    if (nextFirst < sequence) throw damage(serving[at + 1]!.path, 0, nextFirst, 'segments out of order')
    for (;;) {
      const successor: Successor =
        nextFirst === Number.POSITIVE_INFINITY ? 'none' : nextFirst === sequence ? 'continues' : 'gap'
      const seen = yield* observe(reader, position, header!, sequence)
      const proved = proofOf(sequence, request)
      const mayEnd = successor === 'none' && seen.here !== 'expected'
      const beyond = mayEnd && (yield* placeBeyond(candidates, number, position, sequence, believes)) !== null
      const row = decide({ here: seen.here, successor, beyond, proved })
      if (row.verdict === 'damage') throw damage(path, position, sequence, row.label)
      if (row.verdict !== 'take') {
        ending = row.label
        break
      }
      const block = seen.block!
      const entries = decodeBody(block.body, block.entryCount)
      if (entries === null) throw damage(path, position, sequence, 'a whole block with an entry that is not')
      const counting: Entry[] = []
      // A segment that was entered and not yet written leaves an older one as the first: its blocks are not needed.
      for (const entry of sequence < request.from ? [] : entries) {
        const counts = request.take(entry, sequence)
        if (counts === null) throw damage(path, position, sequence, 'an entry of a kind that no log has')
        if (!counts) continue
        segment.note(entry)
        counting.push(entry)
      }
      last = { sequence, body: block.body, entryCount: block.entryCount, entries: counting }
      counts.blocks++
      counts.entries += entries.length
      counts.bytes += block.body.length
      segment.lastSequence = sequence++
      position += blockFootprint(block.body.length)
    }
    at++
  }
  const needed = new Set(segments.map(({ number }) => number))
  const unused = candidates.filter(({ number }) => !needed.has(number))
  return {
    segments,
    unused: unused.map(({ number, path, bytes }) => ({ number, path, bytes })),
    last,
    ...counts,
    ending,
  }
}

export function proofOf(sequence: number, { through, entered }: Pick<ScanRequest, 'through' | 'entered'>): Proof {
  if (sequence <= through) return 'checkpoint'
  return sequence <= entered ? 'entered' : 'none'
}

interface Seen {
  readonly here: Here
  readonly block: { body: Buffer; entryCount: number } | null
}

function* observe(reader: WindowReader, position: number, header: SegmentHeader, sequence: number): Procedure<Seen> {
  const head = yield* reader.view(position, BLOCK_HEADER_BYTES)
  if (!isBlockMagic(head, 0)) return { here: 'nothing', block: null }
  const block = peekBlockHeader(head, 0)
  if (block === null || position + BLOCK_HEADER_BYTES + block.bodyBytes > reader.size)
    return { here: 'broken', block: null }
  const bytes = yield* reader.view(position, BLOCK_HEADER_BYTES + block.bodyBytes)
  if (!blockVerifies(bytes, 0, block.bodyBytes)) return { here: 'broken', block: null }
  if (block.sequence < sequence) return { here: 'older', block: null }
  if (block.sequence > sequence || block.incarnation !== header.incarnation) return { here: 'unexpected', block: null }
  return { here: 'expected', block: { body: bytes.subarray(BLOCK_HEADER_BYTES), entryCount: block.entryCount } }
}

/**
 * Whose blocks prove something. A file that was in service before holds payloads of then, and a payload may look like any block: a
 * record can hold a journal. What no client knows is a journal's incarnation, so only those count that a header of this directory names.
 * One that lost its header begins with a block of which there is a note; where there is none, every block counts.
 */
function believerOf(candidates: readonly Candidate[], { entered }: ScanRequest): (incarnation: string) => boolean {
  const known = new Set(candidates.flatMap(({ incarnation }) => incarnation ?? []))
  return (incarnation) => known.has(incarnation) || (entered === 0 && known.size === 0)
}

/**
 * The file of the first good block with this sequence or a higher one that is believed, or null. Looks through the rest of this file and
 * all later ones, at every place where a block can start. Tens of MiB without a match are the ordinary case, so this looks for the magic
 * first and makes nothing of a place without it.
 */
function* placeBeyond(
  candidates: readonly Candidate[],
  number: number,
  position: number,
  sequence: number,
  believes: (incarnation: string) => boolean,
): Procedure<string | null> {
  const longest = Math.max(0, ...candidates.map(({ reader }) => reader.size))
  const window = Buffer.allocUnsafeSlow(Math.min(SEARCH_BYTES, longest))
  for (const { reader, path, number: other } of candidates) {
    if (other < number) continue
    for (let start = other === number ? position + BLOCK_ALIGNMENT : 0; start < reader.size; start += SEARCH_BYTES) {
      const count = yield* call<number>((done) => reader.file.read(window, start, done))
      for (let at = 0; at < count; at += BLOCK_ALIGNMENT) {
        if (!isBlockMagic(window, at)) continue
        const block = peekBlockHeader(window.subarray(0, count), at)
        if (block === null || block.sequence < sequence || !believes(block.incarnation)) continue
        // A first block whose header page is not there: half of the one write that would have put the file in service.
        if (other !== number && start + at === BLOCK_ALIGNMENT && block.sequence === sequence) continue
        const bytes = yield* reader.view(start + at, BLOCK_HEADER_BYTES + block.bodyBytes)
        if (blockVerifies(bytes, 0, block.bodyBytes)) return path
      }
    }
  }
  return null
}

/** The entries of a whole block, or null if they do not fill it exactly. */
export function decodeBody(body: Buffer, entryCount: number): Entry[] | null {
  const entries: Entry[] = []
  let at = 0
  while (at < body.length) {
    const entry = decodeEntry(body, at)
    if (typeof entry === 'string') return null
    entries.push(entry)
    at += entry.bytes.length
  }
  return entries.length === entryCount ? entries : null
}

function damage(file: string, position: number, sequence: number, label: string): StorageError {
  return new StorageError(
    { code: 'JOURNAL_DAMAGED', file, position, sequence, label },
    `the journal is damaged at byte ${position} of ${file}, block ${sequence}: ${label}. ${KEEP_THE_DIRECTORY}`,
  )
}
