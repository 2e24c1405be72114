/**
 * A map of one data directory as it lies on the platter: which file is what, and what a fault may do to it so that its owner can
 * know.
 *
 * A replica that lost something must notice, or it is a liar without intent: it votes and acknowledges as if it had never
 * promised what it forgot, and with that two out of three disks can lose what was on a quorum. Most damage is noticed by a sum,
 * a name or a chain. One kind cannot be, by nobody: if the *last* things that were written are missing or unreadable, the
 * directory is the same, bit by bit, as after a power loss in the middle of an unfinished write, which is to be cut and never
 * was acknowledged (Alagappan et al., "Protocol-Aware Recovery", FAST '18, §3.3, come to the same limit and solve it with other
 * replicas' help).
 *
 *     journal   │ h │ n−5 │ n−4 │ n−3 │ n−2 │ n−1 │ n │
 *               └── detectable: n−1 proves them ──┘    └ n may be in flight; then nothing proves n−1 but itself
 *
 * The beginning of the last file has a witness elsewhere: once its first block is on the disk, `terms` says so. So the file may be
 * gone, or begin with rot, though nothing follows it; it may not be shorter, or what it was before.
 *
 * So this atlas divides damage in two. `detectable`: the node stops or refuses with a typed error, or nothing was harmed; one
 * machine of three may have it, and counts as impaired for ever. Everything else is *amnesia*, and beyond what Raft promises to
 * survive on one node.
 */
import type { Platter, PlatterFile } from '../../src/platform/memory/index.ts'
import { decodeIdentity } from '../../src/storage/identity.ts'
import {
  BLOCK_ALIGNMENT,
  BLOCK_HEADER_BYTES,
  blockFootprint,
  blockVerifies,
  decodeSegmentHeader,
  peekBlockHeader,
} from '../../src/storage/journal-format.ts'
import { decodeTerms, type Terms } from '../../src/storage/terms.ts'

export type FileKind = 'identity' | 'checkpoint' | 'journal' | 'shard-log' | 'shard-index' | 'other'

export const FILE_KINDS: readonly FileKind[] = ['identity', 'checkpoint', 'journal', 'shard-log', 'shard-index']

/** Bytes [from, to) of a file. */
export interface Region {
  readonly path: string
  readonly kind: FileKind
  readonly from: number
  readonly to: number
}

export function kindOf(path: string): FileKind {
  const name = path.slice(path.lastIndexOf('/') + 1)
  if (name === 'identity' || name === 'checkpoint') return name
  if (/\/journal\/\d{20}\.log$/.test(path)) return 'journal'
  if (/\/shards\/\d+\/\d{20}\.log$/.test(path)) return 'shard-log'
  if (/\/shards\/\d+\/\d{20}\.index$/.test(path)) return 'shard-index'
  return 'other'
}

/** A block of the journal: header and body. */
export interface JournalBlock extends Region {
  readonly sequence: number
}

interface JournalFile {
  readonly path: string
  readonly firstSequence: number
  readonly blocks: readonly JournalBlock[]
}

export class Atlas {
  readonly #platter: Platter
  readonly #directory: string
  readonly #files: readonly PlatterFile[]

  constructor(platter: Platter, directory: string) {
    this.#platter = platter
    this.#directory = directory
    this.#files = platter.files(directory)
  }

  files(kind: FileKind): readonly PlatterFile[] {
    return this.#files.filter(({ path }) => kindOf(path) === kind)
  }

  /** Every byte of every file that the node may look at. */
  everything(kind: FileKind): Region[] {
    return this.files(kind)
      .filter(({ bytes }) => bytes > 0)
      .map(({ path, bytes }) => ({ path, kind, from: 0, to: bytes }))
  }

  /** Bytes whose damage the node can notice, should it ever need them. */
  detectable(kind: FileKind): Region[] {
    if (kind !== 'journal') return this.everything(kind).filter(({ path }) => this.#hasTwin(kind, path))
    const regions: Region[] = []
    const files = this.#journal()
    const last = lastSequence(files)
    const proved = Math.max(last - 2, this.#entered())
    for (const { path, firstSequence, blocks } of files) {
      if (firstSequence <= proved) regions.push({ path, kind, from: 0, to: BLOCK_ALIGNMENT })
      for (const { sequence, from, to } of blocks) if (sequence <= proved) regions.push({ path, kind, from, to })
    }
    return regions
  }

  /** The last block that was written: damage here is amnesia. */
  lastBlock(): JournalBlock | null {
    const files = this.#journal()
    const last = lastSequence(files)
    for (const { blocks } of files) {
      const block = blocks.find(({ sequence }) => sequence === last)
      if (block !== undefined) return block
    }
    return null
  }

  /** The journal as a start reads it, in order: what a later file repeats counts there. */
  blocks(): JournalBlock[] {
    const files = this.#journal()
    return files.flatMap(({ blocks }, i) => {
      const next = files[i + 1]?.firstSequence ?? Number.POSITIVE_INFINITY
      return blocks.filter(({ sequence }) => sequence < next)
    })
  }

  /**
   * Of the journal's last file, what a later block proves. No file follows that would betray a hole, so whoever takes the first
   * bad block for a torn end would cut here.
   */
  provedAtTheEnd(): JournalBlock[] {
    const files = this.#journal()
    const last = lastSequence(files)
    return (files.at(-1)?.blocks ?? []).filter(({ sequence }) => sequence <= last - 2)
  }

  /** Whose directory this is; null before its first start has come so far. */
  diskIncarnation(): string | null {
    const [file] = this.files('identity')
    if (file === undefined) return null
    const identity = decodeIdentity(this.#platter.read(file.path), file.path)
    return identity instanceof Error ? null : identity.diskIncarnation
  }

  /** A start is certain to find these bytes, in its checkpoint or in an entry of its journal. */
  mentions(bytes: Buffer): boolean {
    const last = this.lastBlock()?.sequence ?? 0
    const proved = this.blocks().filter(({ sequence }) => sequence < last)
    const regions = [...this.everything('checkpoint'), ...proved]
    return regions.some(({ path, from, to }) => this.#platter.read(path, from, to - from).includes(bytes))
  }

  /** Files that may be gone: those that may be shorter or older, and the one of which it is written down that it was in service. */
  removable(kind: FileKind): readonly PlatterFile[] {
    const files = this.missable(kind)
    if (kind !== 'journal') return files
    const serving = this.#journal()
    const last = serving.pop()
    // It may begin with a copy of the block before it, which says nothing of it.
    if (last === undefined || this.#entered() <= lastSequence(serving)) return files
    return this.files(kind).filter(({ path }) => path === last.path || files.some((file) => file.path === path))
  }

  /** First block that only the journal's segment in service has, as `terms` has it. */
  #entered(): number {
    const diskIncarnation = this.diskIncarnation()
    const paths = [`${this.#directory}/terms`, `${this.#directory}/terms.copy`].filter((path) =>
      this.#platter.has(path),
    )
    const found = paths.map((path) => decodeTerms(this.#platter.read(path), path))
    const ours = found.filter((terms) => !(terms instanceof Error) && terms.diskIncarnation === diskIncarnation)
    return Math.max(0, ...ours.map((terms) => (terms as Terms).journalEntered))
  }

  /** Files that the node can miss, in part or altogether: of the journal all but those that a later one does not prove. */
  missable(kind: FileKind): readonly PlatterFile[] {
    if (kind !== 'journal') return this.files(kind).filter(({ path }) => this.#hasTwin(kind, path))
    const serving = this.#journal()
    const last = lastSequence(serving)
    // Each must be followed by one in service, whose blocks a power loss cannot take back.
    const proved = serving.filter((_, i) => (serving[i + 1]?.firstSequence ?? Number.POSITIVE_INFINITY) <= last - 1)
    return this.files(kind).filter(({ path }) => proved.some((file) => file.path === path))
  }

  /** A first start that crashed between the two has one, and needs it. */
  #hasTwin(kind: FileKind, path: string): boolean {
    return (kind !== 'identity' && kind !== 'checkpoint') || this.#platter.has(`${path}.copy`)
  }

  /** Folders that the node can miss. */
  folders(kind: 'journal' | 'shard-log'): string[] {
    if (kind === 'journal') return [`${this.#directory}/journal`].filter((path) => this.#platter.has(path))
    const shards = new Set(this.files('shard-log').map(({ path }) => path.slice(0, path.lastIndexOf('/'))))
    return [...shards].sort()
  }

  /** Segments in service, by their first block, with the blocks that verify and belong to them. */
  #journal(): JournalFile[] {
    const found: JournalFile[] = []
    for (const { path } of this.files('journal')) {
      const bytes = this.#platter.read(path)
      const header = decodeSegmentHeader(bytes)
      if (typeof header === 'string') continue
      const blocks: JournalBlock[] = []
      let sequence = header.firstSequence
      for (let at = BLOCK_ALIGNMENT; ; sequence++) {
        const block = peekBlockHeader(bytes, at)
        if (block === null || block.sequence !== sequence || block.incarnation !== header.incarnation) break
        if (!blockVerifies(bytes, at, block.bodyBytes)) break
        blocks.push({ path, kind: 'journal', sequence, from: at, to: at + BLOCK_HEADER_BYTES + block.bodyBytes })
        at += blockFootprint(block.bodyBytes)
      }
      if (blocks.length > 0) found.push({ path, firstSequence: header.firstSequence, blocks })
    }
    return found.sort((a, b) => a.firstSequence - b.firstSequence)
  }
}

function lastSequence(files: readonly JournalFile[]): number {
  let last = 0
  for (const { blocks } of files) last = Math.max(last, blocks.at(-1)!.sequence)
  return last
}
