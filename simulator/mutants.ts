/**
 * Deliberately broken clusters: what makes a green run mean something. Each mutant puts one defect between a node and the world
 * (the product's sources stay as they are), and the simulator must find it within a few seeds.
 * `blind` ones must be found by clients, readers and the nodes' own checks, without anybody who looks below the nodes.
 */

import type { Clock, Disk, DiskFile } from '../src/platform/index.ts'
import { crc32c } from '../src/stdx/index.ts'
import { decodeEntry, EntryKind, encodeHardState } from '../src/storage/index.ts'
import { BLOCK_ALIGNMENT, BLOCK_HEADER_BYTES, peekBlockHeader } from '../src/storage/journal-format.ts'
import type { RunOptions } from './simulation.ts'

export interface Mutant {
  readonly name: string
  readonly defect: string
  readonly options: () => RunOptions
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'lying-sync',
    defect: 'a sync of a file answers before anything is on the disk',
    options: () => ({
      interference: { disk: (_node, disk, clock) => withFiles(disk, (file) => lyingFile(file, clock)) },
    }),
  },
  {
    name: 'lying-sync-blind',
    defect: 'the same, and only clients and disks tell',
    options: () => ({
      shadowChecks: false,
      interference: { disk: (_node, disk, clock) => withFiles(disk, (file) => lyingFile(file, clock)) },
    }),
  },
  {
    name: 'names-not-synced',
    defect: 'a sync of a directory does nothing, so files and renames are lost with the power',
    options: () => ({
      interference: {
        disk: (_node, disk, clock) => ({
          ...bound(disk),
          syncDirectory: (_path, done) => clock.endOfTurn(() => done(null)),
        }),
      },
    }),
  },
  {
    name: 'hard-states-lost',
    defect: 'terms and votes that were synced are gone after a restart',
    options: () => ({ interference: { diskBelow: (_node, disk) => withFiles(disk, withoutHardStates) } }),
  },
  {
    name: 'lost-writes',
    defect: 'every hundredth write to a journal is acknowledged, synced, and never made',
    options: () => ({
      interference: { disk: (_node, disk, clock) => withFiles(disk, (file) => losingFile(file, clock, 100)) },
    }),
  },
  {
    name: 'torn-order',
    defect: 'the write of a block and its sync are told to be complete in the wrong order',
    options: () => ({
      interference: { disk: (_node, disk, clock) => withFiles(disk, (file) => hastyFile(file, clock)) },
    }),
  },
]

/** A disk is a class: its methods need it. */
function bound(disk: Disk): Disk {
  return {
    makeDirectory: (path, done) => disk.makeDirectory(path, done),
    list: (path, done) => disk.list(path, done),
    open: (path, mode, done) => disk.open(path, mode, done),
    rename: (from, to, done) => disk.rename(from, to, done),
    remove: (path, done) => disk.remove(path, done),
    syncDirectory: (path, done) => disk.syncDirectory(path, done),
    freeBytes: (path, done) => disk.freeBytes(path, done),
    claim: (path, done) => disk.claim(path, done),
  }
}

function withFiles(disk: Disk, change: (file: DiskFile) => Partial<DiskFile>): Disk {
  return {
    ...bound(disk),
    open: (path, mode, done) =>
      disk.open(path, mode, (error, file) => {
        if (file === undefined) done(error)
        else done(error, path.includes('journal') ? { ...boundFile(file), ...change(file) } : file)
      }),
  }
}

function boundFile(file: DiskFile): DiskFile {
  return {
    path: file.path,
    write: (buffers, position, done) => file.write(buffers, position, done),
    read: (into, position, done) => file.read(into, position, done),
    datasync: (done) => file.datasync(done),
    truncate: (length, done) => file.truncate(length, done),
    size: (done) => file.size(done),
    close: (done) => file.close(done),
  }
}

function lyingFile(_file: DiskFile, clock: Clock): Partial<DiskFile> {
  return { datasync: (done) => clock.endOfTurn(() => done(null)) }
}

function losingFile(file: DiskFile, clock: Clock, oneIn: number): Partial<DiskFile> {
  let writes = 0
  return {
    write: (buffers, position, done) => {
      if (++writes % oneIn === 0) clock.endOfTurn(() => done(null))
      else file.write(buffers, position, done)
    },
  }
}

/** Starts the sync with the write, so that it covers nothing, and answers each when the disk does. */
function hastyFile(file: DiskFile, clock: Clock): Partial<DiskFile> {
  let synced = false
  let waiting: (() => void) | null = null
  return {
    write: (buffers, position, done) => {
      synced = false
      file.datasync(() => {
        synced = true
        waiting?.()
        waiting = null
      })
      file.write(buffers, position, done)
    },
    datasync: (done) => {
      if (synced) clock.endOfTurn(() => done(null))
      else waiting = () => done(null)
    },
  }
}

function withoutHardStates(file: DiskFile): Partial<DiskFile> {
  return {
    write: (buffers, position, done) => {
      const bytes = Buffer.concat(buffers)
      const at = position === 0 ? BLOCK_ALIGNMENT : 0
      const block = bytes.length > at ? peekBlockHeader(bytes, at) : null
      if (block !== null) forgetHardStates(bytes, at, block.bodyBytes)
      file.write([bytes], position, done)
    },
  }
}

/** The block stays whole and its sum right: only a node that remembers can tell. */
function forgetHardStates(bytes: Buffer, at: number, bodyBytes: number): void {
  const end = at + BLOCK_HEADER_BYTES + bodyBytes
  for (let from = at + BLOCK_HEADER_BYTES; from < end; ) {
    const entry = decodeEntry(bytes, from)
    if (typeof entry === 'string') return
    if (entry.kind === EntryKind.hardState) encodeHardState(entry.shard, 0, 0).bytes.copy(bytes, from)
    from += entry.bytes.length
  }
  bytes.writeUInt32LE(crc32c(bytes.subarray(at + 8, end)), at + 4)
}
