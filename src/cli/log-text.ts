/** Words for what is in the files, shared by the commands that print it. */
import { decodeCompaction, decodeCut } from '../replication/index.ts'
import { decodeHardState, type Entry, EntryKind, type FileKind, payloadOf } from '../storage/index.ts'

export const KIND_NAMES: Readonly<Record<FileKind, string>> = {
  journal: 'journal',
  'shard-log': 'shard log',
  'shard-index': 'index',
  checkpoint: 'checkpoint',
  identity: 'identity',
  terms: 'terms',
}

/** Of a key or value that is shown to people. */
const SHOWN_BYTES_MAX = 60
/** Control characters (category Cc) and the line ends beyond ASCII. */
const CONTROL = /[\p{Cc}\u2028\u2029]/gu

export function entryKindName(kind: number): string {
  for (const [name, value] of Object.entries(EntryKind))
    if (value === kind) return name === 'hardState' ? 'hard state' : name
  return String(kind)
}

/** What an entry says that has no records; empty for one that has. */
export function detailsOf(entry: Entry): string {
  const payload = payloadOf(entry)
  switch (entry.kind) {
    case EntryKind.hardState: {
      const state = decodeHardState(entry)
      return state === null ? '?' : state.vote === 0 ? 'no vote' : `vote for ${state.vote}`
    }
    case EntryKind.cut: {
      const compaction = decodeCompaction(payload)
      if (compaction !== null) {
        const { floor, tombstonesBelow } = compaction
        return `compaction below ${floor.index}, offset ${floor.offset}; tombstones stay from offset ${tombstonesBelow} on`
      }
      const start = decodeCut(payload)
      return start === null ? '?' : `start ${start.index}, offset ${start.offset}`
    }
    case EntryKind.configuration:
      return shown(payload)
    default:
      return ''
  }
}

/** `text` for what is UTF-8 and can be read, else `0x…`. Never a byte that a terminal obeys. */
export function shown(bytes: Buffer | null, bytesMax = SHOWN_BYTES_MAX): string {
  if (bytes === null) return 'null'
  const text = readableText(bytes)
  const cut = bytes.length > bytesMax ? ` … (${bytes.length} bytes)` : ''
  if (text === null) return `0x${bytes.toString('hex', 0, Math.min(bytes.length, bytesMax >> 1))}${cut}`
  return cut === '' ? text : `${text.slice(0, bytesMax)}${cut}`
}

/** Line ends and tabs become escapes; null for what is no text. */
function readableText(bytes: Buffer): string | null {
  const text = bytes.toString('utf8')
  if (text.includes('\ufffd')) return null
  let readable = true
  const escaped = text.replace(CONTROL, (character) => {
    const known = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[character]
    readable &&= known !== undefined
    return known ?? ''
  })
  return readable ? escaped : null
}

/** For scripts: what it is, whole. */
export function asJson(bytes: Buffer | null): { utf8: string } | { hex: string } | null {
  if (bytes === null) return null
  const utf8 = bytes.toString('utf8')
  return Buffer.from(utf8, 'utf8').equals(bytes) ? { utf8 } : { hex: bytes.toString('hex') }
}

/** A time for people; the number itself where it is none. */
export function time(ms: number): string {
  if (ms < 0) return '-'
  return ms <= 8.64e15 ? new Date(ms).toISOString() : String(ms)
}

export function byteRange(from: number, to: number): string {
  if (to <= from) return `before byte ${from}`
  return to === from + 1 ? `byte ${from}` : `bytes ${from}–${to - 1}`
}
