/**
 * What one machine's disk truly holds, found out without asking the node: a reader of the bytes that pass between the node
 * and its disk.
 *
 * Every write to a journal segment is taken apart into blocks and entries; when the *inner* disk has completed the sync that
 * covers them, they count as durable. A node may be wrong about its own disk, and a disk may lie to its node; this record
 * sits below both. It outlives crashes, as the disk does: only what was synced is in it, and that can never be lost.
 *
 *      node ── write, datasync ──►  shadow  ──►  disk
 *                                     │ entries written, per file
 *                                     └ entries synced: shard ► index ► (term, sum)
 */
import type { Disk, DiskFile } from '../src/platform/index.ts'
import { decodeEntry, decodeHardState, EntryKind } from '../src/storage/index.ts'
import { BLOCK_ALIGNMENT, BLOCK_HEADER_BYTES, blockFootprint, peekBlockHeader } from '../src/storage/journal-format.ts'

export interface DurableEntry {
  readonly term: number
  readonly crc: number
}

/** A vote for `vote` in `term` is on the disk. One that was written and lost before its sync has been told to nobody. */
export type VoteSeen = (shard: number, term: number, vote: number) => void

interface Seen {
  readonly shard: number
  /** 0 for a hard state. */
  readonly index: number
  readonly entry: DurableEntry
  readonly vote: number
}

export class ShadowDisk {
  /** By shard, then by index − 1: the log as the synced part of the journal holds it. */
  readonly durable = new Map<number, DurableEntry[]>()
  /** Written, and in no completed sync; by path. */
  readonly #pending = new Map<string, Seen[]>()
  readonly #voteSeen: VoteSeen

  constructor(voteSeen: VoteSeen) {
    this.#voteSeen = voteSeen
  }

  /** The process or the machine ended: what was not synced may be there or not, so it does not count. */
  crashed(): void {
    this.#pending.clear()
  }

  entryAt(shard: number, index: number): DurableEntry | undefined {
    return this.durable.get(shard)?.[index - 1]
  }

  lastIndex(shard: number): number {
    return this.durable.get(shard)?.length ?? 0
  }

  watch(disk: Disk): Disk {
    return {
      makeDirectory: (path, done) => disk.makeDirectory(path, done),
      list: (path, done) => disk.list(path, done),
      rename: (from, to, done) => disk.rename(from, to, done),
      remove: (path, done) => disk.remove(path, done),
      syncDirectory: (path, done) => disk.syncDirectory(path, done),
      freeBytes: (path, done) => disk.freeBytes(path, done),
      claim: (path, done) => disk.claim(path, done),
      open: (path, mode, done) => {
        disk.open(path, mode, (error, file) => {
          if (file === undefined) done(error)
          else done(error, /[\\/]journal[\\/]/.test(path) ? this.#watchFile(file) : file)
        })
      },
    }
  }

  #watchFile(file: DiskFile): DiskFile {
    const { path } = file
    return {
      path,
      write: (buffers, position, done) =>
        file.write(buffers, position, (error) => {
          if (error === null) this.#written(path, buffers, position)
          done(error)
        }),
      read: (into, position, done) => file.read(into, position, done),
      datasync: (done) => {
        const covered = this.#pending.get(path) ?? []
        this.#pending.delete(path)
        file.datasync((error) => {
          if (error === null) for (const seen of covered) this.#synced(seen)
          done(error)
        })
      },
      truncate: (length, done) => file.truncate(length, done),
      size: (done) => file.size(done),
      close: (done) => file.close(done),
    }
  }

  #written(path: string, buffers: readonly Uint8Array[], position: number): void {
    if (buffers.length === 1 && buffers[0]!.length > 0 && isZeros(buffers[0]!)) return
    const bytes = Buffer.concat(buffers)
    let pending = this.#pending.get(path)
    if (pending === undefined) {
      pending = []
      this.#pending.set(path, pending)
    }
    for (let at = position === 0 ? BLOCK_ALIGNMENT : 0; at < bytes.length; ) {
      const block = peekBlockHeader(bytes, at)
      if (block === null) break
      const end = at + BLOCK_HEADER_BYTES + block.bodyBytes
      for (let from = at + BLOCK_HEADER_BYTES; from < end; ) {
        const entry = decodeEntry(bytes, from)
        if (typeof entry === 'string') break
        from += entry.bytes.length
        const { kind, shard, term, index, crc } = entry
        const vote = kind === EntryKind.hardState ? decodeHardState(entry)!.vote : 0
        pending.push({ shard, index, entry: { term, crc }, vote })
      }
      at += blockFootprint(block.bodyBytes)
    }
  }

  /** A later entry with an index replaces it and all above (design §6). */
  #synced({ shard, index, entry, vote }: Seen): void {
    if (index === 0) return this.#voteSeen(shard, entry.term, vote)
    let log = this.durable.get(shard)
    if (log === undefined) {
      log = []
      this.durable.set(shard, log)
    }
    // What is written again as it stands (the last block after a start, the tail in a checkpoint) replaces nothing.
    if (log[index - 1]?.crc === entry.crc) return
    log.length = Math.min(log.length, index - 1)
    log[index - 1] = entry
  }
}

function isZeros(bytes: Uint8Array): boolean {
  return bytes[0] === 0 && bytes[bytes.length - 1] === 0 && bytes.length >= BLOCK_ALIGNMENT && bytes[4] === 0
}
