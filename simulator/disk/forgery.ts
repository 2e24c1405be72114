/**
 * An entry that is whole, stands where it belongs, and is not the one that was written: what passes every sum but the chain (T20).
 *
 * A write that goes to the wrong place or is never done is noticed by the sequence of blocks. What is left is a change before the
 * sums were made: memory that lost a bit, a program that wrote over a buffer. Block and entry then read well, and the only
 * witness is the next entry of the shard, which names the sum of the one that it was appended to.
 *
 *     … │ 5 │ 6  │ 7 │ …        7 names the sum of 6
 *     … │ 5 │ 6' │ 7 │ …        6' has a good sum, and not that one
 *
 * So an entry is forged only where the next one is on the disk for certain, and where both count in a start.
 */
import type { Platter } from '../../src/platform/memory/index.ts'
import { crc32c, Prng } from '../../src/stdx/index.ts'
import { decodeCheckpoint } from '../../src/storage/checkpoint-format.ts'
import { decodeEntry, ENTRY_HEADER_BYTES, type Entry } from '../../src/storage/entry.ts'
import { EntryKind } from '../../src/storage/index.ts'
import { BLOCK_HEADER_BYTES } from '../../src/storage/journal-format.ts'
import { Atlas, type JournalBlock } from './atlas.ts'

export interface Forgery {
  readonly path: string
  readonly position: number
  readonly shard: number
  readonly index: number
}

interface Place {
  readonly entry: Entry
  readonly block: JournalBlock
  /** In the file. */
  readonly position: number
}

/** Null: there is no entry that another one would betray. */
export function forgeEntry(platter: Platter, directory: string, pick: number): Forgery | null {
  const candidates = forgeable(platter, directory)
  if (candidates.length === 0) return null
  const prng = new Prng(pick)
  const { entry, block, position } = candidates[prng.below(candidates.length)]!
  const { path, from, to } = block
  const bytes = platter.read(path, from, to - from)
  const at = position - from
  const within = prng.below(entry.bytes.length - ENTRY_HEADER_BYTES)
  bytes[at + ENTRY_HEADER_BYTES + within]! ^= 1 << prng.below(8)
  bytes.writeUInt32LE(crc32c(bytes.subarray(at + 8, at + entry.bytes.length)), at + 4)
  bytes.writeUInt32LE(crc32c(bytes.subarray(8)), 4)
  platter.overwrite(path, from, bytes)
  return { path, position, shard: entry.shard, index: entry.index }
}

function forgeable(platter: Platter, directory: string): Place[] {
  const file = `${directory}/checkpoint`
  if (!platter.has(file)) return []
  const checkpoint = decodeCheckpoint(platter.read(file), file)
  if (checkpoint instanceof Error) return []
  const { shards, removed, journalFrom } = checkpoint
  const blocks = new Atlas(platter, directory).blocks().filter(({ sequence }) => sequence >= journalFrom)
  const last = blocks.at(-1)?.sequence ?? 0
  const logs = new Map<number, Place[]>()
  for (const place of blocks.flatMap((block) => entriesOf(platter, block))) {
    const { shard, index, kind } = place.entry
    const counts = place.block.sequence > (shards.get(shard)?.journalAfter ?? 0)
    if (kind === EntryKind.hardState || !counts || removed.has(shard)) continue
    // A later entry with an index replaces it and all above.
    const log = (logs.get(shard) ?? []).filter((earlier) => earlier.entry.index < index)
    logs.set(shard, [...log, place])
  }
  const found: Place[] = []
  for (const [shard, log] of logs) {
    const covered = shards.get(shard)?.state.index ?? 0
    for (const [i, place] of log.entries()) {
      const next = log[i + 1]
      const isWitness = next?.entry.previousCrc === place.entry.crc && next.block.sequence <= last - 1
      const hasContent = place.entry.bytes.length > ENTRY_HEADER_BYTES
      if (isWitness && hasContent && place.entry.index > covered && place.block.sequence <= last - 2) found.push(place)
    }
  }
  return found
}

function entriesOf(platter: Platter, block: JournalBlock): Place[] {
  const { path, from, to } = block
  const bytes = platter.read(path, from, to - from)
  const places: Place[] = []
  for (let at = BLOCK_HEADER_BYTES; at < bytes.length; ) {
    const entry = decodeEntry(bytes, at)
    if (typeof entry === 'string') break
    places.push({ entry, block, position: from + at })
    at += entry.bytes.length
  }
  return places
}
