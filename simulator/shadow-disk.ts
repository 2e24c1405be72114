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
 *
 * One more thing makes entries durable, and others void: a checkpoint with a snapshot that another replica sent. It stands for
 * the log up to its index, and of the journal's older blocks nothing of the shard counts any more.
 */
import { dirname } from 'node:path'
import { type Disk, type DiskFile, diskThrough, fileThrough } from '../src/platform/index.ts'
import { type Checkpoint, decodeCheckpoint } from '../src/storage/checkpoint-format.ts'
import { decodeEntry, decodeHardState, EntryKind, payloadOf } from '../src/storage/index.ts'
import { BLOCK_ALIGNMENT, BLOCK_HEADER_BYTES, blockFootprint, peekBlockHeader } from '../src/storage/journal-format.ts'

export interface DurableEntry {
  readonly term: number
  readonly crc: number
  /** Of the entry before it; undefined for what a snapshot stands for. */
  readonly previousCrc?: number
}

/** An entry of a shard's log, as a block of the journal holds it. */
export interface SyncedEntry extends DurableEntry {
  readonly shard: number
  readonly index: number
  /** The first index that stays, if the entry is a cut. */
  readonly cutTo: number | null
  readonly cut?: { readonly index: number; readonly offset: number; readonly reason: number }
  /** Of the whole entry. */
  readonly bytes?: number
}

/** A vote for `vote` in `term` is on the disk. One that was written and lost before its sync has been told to nobody. */
export type VoteSeen = (shard: number, term: number, vote: number) => void

interface Seen {
  readonly shard: number
  /** 0 for a hard state. */
  readonly index: number
  readonly entry: SyncedEntry
  readonly vote: number
  /** Of its block. */
  readonly sequence: number
}

export class ShadowDisk {
  /** By shard, then by index − 1: the log as the synced part of the journal holds it. Nothing below an installed snapshot. */
  readonly durable = new Map<number, DurableEntry[]>()
  /** The same of a disk that was replaced. */
  readonly #replaced = new Map<number, DurableEntry[]>()
  /** Written, and in no completed sync; by path. */
  readonly #pending = new Map<string, Seen[]>()
  /** By shard: entries in blocks up to this do not count. */
  #journalAfter = new Map<number, number>()
  /** The last file that was written to become the checkpoint; its name, and whether that is under way to the directory. */
  #written: { readonly path: string; readonly bytes: Buffer; named: boolean } | null = null
  /** No checkpoint was written by this process. */
  #isStarting = true
  readonly #voteSeen: VoteSeen
  readonly #entrySeen: (entry: SyncedEntry) => void
  readonly #checkpointSeen: (checkpoint: Checkpoint) => void

  constructor(
    voteSeen: VoteSeen,
    entrySeen: (entry: SyncedEntry) => void = () => {},
    checkpointSeen: (checkpoint: Checkpoint) => void = () => {},
  ) {
    this.#voteSeen = voteSeen
    this.#entrySeen = entrySeen
    this.#checkpointSeen = checkpointSeen
  }

  /** The process or the machine ended: what was not synced may be there or not, so it does not count. */
  crashed(): void {
    this.#pending.clear()
    this.#written = null
    this.#isStarting = true
  }

  entryAt(shard: number, index: number): DurableEntry | undefined {
    return this.durable.get(shard)?.[index - 1]
  }

  /** An empty disk is in its place, or the node has put its journal aside: what counts then is in its checkpoint. */
  replaced(): void {
    for (const [shard, log] of this.durable) this.#replaced.set(shard, log)
    this.durable.clear()
  }

  replacedAt(shard: number, index: number): DurableEntry | undefined {
    return this.#replaced.get(shard)?.[index - 1]
  }

  lastIndex(shard: number): number {
    return this.durable.get(shard)?.length ?? 0
  }

  watch(disk: Disk): Disk {
    return diskThrough(disk, {
      rename: (from, to, done) =>
        disk.rename(from, to, (error) => {
          if (error === null && this.#written?.path === from) this.#written.named = true
          // Also where there is nothing to be put aside: the folder was the damage.
          if (from.endsWith('/journal')) this.replaced()
          done(error)
        }),
      syncDirectory: (path, done) => {
        const written = this.#written
        const covered = written?.named === true && dirname(written.path) === path
        disk.syncDirectory(path, (error) => {
          if (error === null && covered && this.#written === written) {
            this.#written = null
            this.#checkpointed(written.bytes)
          }
          done(error)
        })
      },
      open: (path, mode, done) => {
        disk.open(path, mode, (error, file) => {
          if (file === undefined) done(error)
          else if (/[\\/]journal[\\/]/.test(path)) done(error, this.#watchFile(file))
          else done(error, /[\\/]checkpoint\.copy(\.tmp)?$/.test(path) ? this.#watchCheckpoint(file) : file)
        })
      },
    })
  }

  #watchFile(file: DiskFile): DiskFile {
    const { path } = file
    return fileThrough(file, {
      write: (buffers, position, done) =>
        file.write(buffers, position, (error) => {
          if (error === null) this.#writtenBlocks(path, buffers, position)
          done(error)
        }),
      datasync: (done) => {
        const covered = this.#pending.get(path) ?? []
        this.#pending.delete(path)
        file.datasync((error) => {
          if (error === null) for (const seen of covered) this.#synced(seen)
          done(error)
        })
      },
    })
  }

  /**
   * Of the checkpoint's two files the copy is written last, and a start may find only it whole: what is not in the copy yet holds for
   * nobody. What a start reads there is on the disk: it has synced the directory before. Later only the scrubber reads it.
   */
  #watchCheckpoint(file: DiskFile): DiskFile {
    const { path } = file
    return fileThrough(file, {
      write: (buffers, position, done) => {
        if (position === 0) {
          this.#written = { path, bytes: Buffer.concat(buffers), named: false }
          this.#isStarting = false
        }
        file.write(buffers, position, done)
      },
      read: (into, position, done) =>
        file.read(into, position, (error, count) => {
          if (error === null && position === 0 && this.#isStarting) this.#checkpointed(into.subarray(0, count))
          done(error, count)
        }),
    })
  }

  #checkpointed(bytes: Uint8Array): void {
    const checkpoint = decodeCheckpoint(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 'checkpoint')
    if (checkpoint instanceof Error) return
    this.#follow(checkpoint)
    this.#checkpointSeen(checkpoint)
  }

  /** A checkpoint stands for everything up to its index; it may do so without the journal, when a snapshot was installed. */
  #follow({ shards }: Checkpoint): void {
    const journalAfter = new Map<number, number>()
    for (const [shard, { state, journalAfter: after }] of shards) {
      // It may know of a vote that was on its way to the journal when its writer was killed.
      if (state.term > 0) this.#voteSeen(shard, state.term, state.vote)
      if (after !== 0) journalAfter.set(shard, after)
      const log = this.durable.get(shard)
      const installed = after !== 0 && this.#journalAfter.get(shard) !== after
      // What lies beyond its index is of the same history, unless the snapshot was installed over it.
      const held = state.index === 0 || log?.[state.index - 1]?.crc === state.crc
      if (held && !(installed && state.index > 0)) continue
      if (!installed && log !== undefined && log.length > state.index && log[state.index - 1] === undefined) continue
      const anchored: DurableEntry[] = []
      anchored[state.index - 1] = { term: state.entryTerm, crc: state.crc }
      this.durable.set(shard, anchored)
    }
    this.#journalAfter = journalAfter
  }

  #writtenBlocks(path: string, buffers: readonly Uint8Array[], position: number): void {
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
        const { kind, shard, term, index, crc, previousCrc } = entry
        const vote = kind === EntryKind.hardState ? decodeHardState(entry)!.vote : 0
        const cut = kind === EntryKind.cut ? cutIn(payloadOf(entry)) : null
        const seen = { shard, index, term, crc, previousCrc, cutTo: cut?.index ?? null, bytes: entry.bytes.length }
        const { sequence } = block
        pending.push({ shard, index, entry: cut === null ? seen : { ...seen, cut }, vote, sequence })
      }
      at += blockFootprint(block.bodyBytes)
    }
  }

  /** A later entry with an index replaces it and all above (design §6). */
  #synced({ shard, index, entry, vote, sequence }: Seen): void {
    if (index === 0) return this.#voteSeen(shard, entry.term, vote)
    this.#entrySeen(entry)
    if (sequence <= (this.#journalAfter.get(shard) ?? 0)) return
    let log = this.durable.get(shard)
    if (log === undefined) {
      log = []
      this.durable.set(shard, log)
    }
    // What is written again as it stands (the last block after a start, the tail in a checkpoint) replaces nothing but what that block
    // itself has brought back: it may begin with what it ends by replacing.
    if (log[index - 1]?.crc === entry.crc) {
      if ((log[index]?.previousCrc ?? entry.crc) !== entry.crc) log.length = index
      return
    }
    log.length = Math.min(log.length, index - 1)
    log[index - 1] = entry
  }
}

function cutIn(payload: Buffer): { index: number; offset: number; reason: number } {
  return {
    index: Number(payload.readBigUInt64LE(0)),
    offset: Number(payload.readBigUInt64LE(8)),
    reason: payload[16] ?? 0,
  }
}

function isZeros(bytes: Uint8Array): boolean {
  return bytes[0] === 0 && bytes[bytes.length - 1] === 0 && bytes.length >= BLOCK_ALIGNMENT && bytes[4] === 0
}
