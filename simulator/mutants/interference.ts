/**
 * Defects between a node and its world: a disk that lies, loses or garbles, while the product's own code stays as it is.
 *
 * They stand for hardware and for the layer below ours. `blind` ones must be found by clients, readers and the nodes' own checks,
 * without anybody who looks below the nodes.
 */

import { type Clock, type Disk, type DiskFile, diskThrough, fileThrough } from '../../src/platform/index.ts'
import { crc32c, must } from '../../src/stdx/index.ts'
import { decodeEntry, decodeHardState, EntryKind, encodeHardState } from '../../src/storage/index.ts'
import { BLOCK_ALIGNMENT, BLOCK_HEADER_BYTES, peekBlockHeader } from '../../src/storage/journal-format.ts'
import type { RunOptions } from '../simulation.ts'
import type { Mutant } from './mutant.ts'

interface InterferenceMutant extends Mutant {
  readonly options: () => RunOptions
}

export const INTERFERENCES: readonly InterferenceMutant[] = [
  {
    name: 'lying-sync',
    trap: 'T2',
    breaks: 'a sync of a file answers before anything is on the disk',
    options: () => ({
      interference: { disk: (_node, disk, clock) => withFiles(disk, (file) => lyingFile(file, clock)) },
    }),
  },
  {
    name: 'lying-sync-blind',
    trap: 'T2',
    breaks: 'the same, and only clients and disks tell',
    options: () => ({
      shadowChecks: false,
      interference: { disk: (_node, disk, clock) => withFiles(disk, (file) => lyingFile(file, clock)) },
    }),
  },
  {
    name: 'names-not-synced',
    trap: 'T17',
    breaks: 'a sync of a directory does nothing, so files and renames are lost with the power',
    options: () => ({
      interference: {
        disk: (_node, disk, clock) =>
          diskThrough(disk, { syncDirectory: (_path, done) => clock.endOfTurn(() => done(null)) }),
      },
    }),
  },
  {
    name: 'hard-states-lost',
    trap: 'T1',
    breaks: 'terms and votes that were synced are gone after a restart',
    options: () => ({
      interference: {
        diskBelow: (_node, disk) => withFiles(disk, (file) => rewritten(file, () => ({ term: 0, vote: 0 }))),
      },
    }),
  },
  {
    name: 'votes-lost',
    trap: 'T1',
    breaks: 'votes that were synced are gone after a restart, their terms are not',
    options: () => ({
      interference: {
        diskBelow: (_node, disk) => withFiles(disk, (file) => rewritten(file, ({ term }) => ({ term, vote: 0 }))),
      },
    }),
  },
  {
    name: 'lost-writes',
    trap: 'T20',
    breaks: 'every hundredth write to a journal is acknowledged, synced, and never made',
    options: () => ({
      interference: { disk: (_node, disk, clock) => withFiles(disk, (file) => losingFile(file, clock, 100)) },
    }),
  },
  {
    name: 'torn-order',
    trap: 'T2',
    breaks: 'the write of a block and its sync are told to be complete in the wrong order',
    options: () => ({
      interference: { disk: (_node, disk, clock) => withFiles(disk, (file) => hastyFile(file, clock)) },
    }),
  },
]

/** By name, afresh for each run: some remember what they did. */
export function interferenceOf(name: string): RunOptions {
  return must(
    INTERFERENCES.find((mutant) => mutant.name === name),
    `a mutant named ${name}`,
  ).options()
}

function withFiles(disk: Disk, change: (file: DiskFile) => Partial<DiskFile>): Disk {
  return diskThrough(disk, {
    open: (path, mode, done) =>
      disk.open(path, mode, (error, file) => {
        if (file === undefined) done(error)
        else done(error, path.includes('journal') ? fileThrough(file, change(file)) : file)
      }),
  })
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

interface HardState {
  readonly term: number
  readonly vote: number
}

/** Writes other hard states than it was given. */
function rewritten(file: DiskFile, change: (state: HardState) => HardState): Partial<DiskFile> {
  return {
    write: (buffers, position, done) => {
      const bytes = Buffer.concat(buffers)
      const at = position === 0 ? BLOCK_ALIGNMENT : 0
      const block = bytes.length > at ? peekBlockHeader(bytes, at) : null
      if (block !== null) rewriteHardStates(bytes, at, block.bodyBytes, change)
      file.write([bytes], position, done)
    },
  }
}

/** The block stays whole and its sum right: only a node that remembers can tell. */
function rewriteHardStates(
  bytes: Buffer,
  at: number,
  bodyBytes: number,
  change: (state: HardState) => HardState,
): void {
  const end = at + BLOCK_HEADER_BYTES + bodyBytes
  for (let from = at + BLOCK_HEADER_BYTES; from < end; ) {
    const entry = decodeEntry(bytes, from)
    if (typeof entry === 'string') return
    if (entry.kind === EntryKind.hardState) {
      const { term, vote } = change(must(decodeHardState(entry), 'a hard state'))
      encodeHardState(entry.shard, term, vote).bytes.copy(bytes, from)
    }
    from += entry.bytes.length
  }
  bytes.writeUInt32LE(crc32c(bytes.subarray(at + 8, end)), at + 4)
}
