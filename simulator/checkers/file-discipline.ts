/**
 * I13: how a node treats its files (T17; ALICE, OSDI'14). What a file system promises is little, and it is promised to those only
 * who keep to these rules:
 *
 *   - writes of one file that are under way at once do not overlap, and nobody reads what is just being written: either order
 *     is possible, and a mixture of both;
 *   - a file takes a new name only after its contents are synced: a name that points to nothing yet is worse than none;
 *   - the directory is synced before anything is promised that rests on a new name: a journal segment that nobody finds holds no
 *     acknowledgement;
 *   - a journal segment goes, or serves again under another name, only when the checkpoint whose name is *synced* needs none of
 *     its blocks: a power loss brings that one back, or a later one, which needs less.
 *
 * The rules are about what one process does. What it found when it started it has to sync before it trusts it, and that is
 * seen by the shadow disks.
 */
import { dirname } from 'node:path'
import type { NodeEvent } from '../../src/observability/index.ts'
import { type Disk, type DiskFile, diskThrough } from '../../src/platform/index.ts'
import type { Checkpoint } from '../../src/storage/checkpoint-format.ts'
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'
import type { Bounds, Meter } from './bounds.ts'
import { JournalBlocks } from './journal-blocks.ts'

/** Of one process, a file by its name. */
interface FileState {
  /** Ranges under way. */
  readonly writing: Range[]
  readonly reading: Range[]
  /** Writes and truncations that completed, and how many of them a completed sync covers. */
  changes: number
  synced: number
  /** A directory sync that began after the name was there has succeeded. */
  named: boolean
  /** So many changes make it a segment in service: it has its header. 0: it is being prepared, and nothing in it counts. */
  service: number
}

interface Range {
  readonly from: number
  readonly to: number
}

const overlaps = (a: Range, b: Range): boolean => a.from < b.to && b.from < a.to

export class FileDiscipline implements Checker {
  readonly property = 'files are written by the rules'
  readonly #violated: (violation: Violation) => void
  readonly #bounds: Bounds | null
  readonly #processes = new Map<number, Process>()
  /** By node: the first block that the checkpoint on its disk needs. */
  readonly #journalFrom = new Map<number, number>()

  /** `violated`, not thrown: this sees things in the middle of the node's own functions. */
  constructor(violated: (violation: Violation) => void, bounds: Bounds | null = null) {
    this.#violated = violated
    this.#bounds = bounds
  }

  watchDisk(node: number, disk: Disk): Disk {
    const meter = this.#bounds?.meter(node) ?? (() => {})
    const wrong = (what: string): void => this.#violated(new Violation(this.property, `node ${node} ${what}`))
    const process = new Process(wrong, meter, () => this.#journalFrom.get(node) ?? 0)
    this.#processes.set(node, process)
    return process.watch(disk)
  }

  checkpointed(node: number, { journalFrom }: Checkpoint): void {
    this.#journalFrom.set(node, journalFrom)
  }

  wiped(node: number): void {
    this.#journalFrom.delete(node)
  }

  /** An entry is told to be on this node's disk. */
  node(node: number, { event }: NodeEvent): void {
    if (event.type !== 'journaled') return
    const path = this.#processes.get(node)?.unnamedJournal()
    if (path === undefined) return
    const what = `node ${node} says that shard ${event.shard} is journaled up to ${event.index}, and the name of ${path} is not synced`
    throw new Violation(this.property, what)
  }
}

class Process {
  readonly #files = new Map<string, FileState>()
  /** Journal segments in use whose names are not durable yet. */
  readonly #unnamedJournals = new Set<string>()
  readonly #blocks = new JournalBlocks()
  readonly #wrong: (what: string) => void
  readonly #meter: Meter
  readonly #journalFrom: () => number

  constructor(wrong: (what: string) => void, meter: Meter, journalFrom: () => number) {
    this.#wrong = wrong
    this.#meter = meter
    this.#journalFrom = journalFrom
  }

  unnamedJournal(): string | undefined {
    for (const path of this.#unnamedJournals) {
      const file = this.#files.get(path)
      if (file !== undefined && file.service > 0 && file.synced >= file.service) return path
    }
    return undefined
  }

  watch(disk: Disk): Disk {
    return diskThrough(disk, {
      rename: (from, to, done) => {
        this.#beforeRename(from, to)
        disk.rename(from, to, (error) => {
          if (error === null) this.#renamed(from, to)
          done(error)
        })
      },
      remove: (path, done) => {
        this.#beforeLoss(path, 'removes')
        disk.remove(path, (error) => {
          if (error === null) this.#gone(path)
          done(error)
        })
      },
      syncDirectory: (path, done) => {
        const covered = [...this.#files].filter(([name, { named }]) => !named && dirname(name) === path)
        disk.syncDirectory(path, (error) => {
          if (error === null) {
            for (const [name, file] of covered) {
              file.named = true
              this.#unnamedJournals.delete(name)
            }
          }
          done(error)
        })
      },
      open: (path, mode, done) => {
        const isNew = (mode === 'create' || mode === 'exclusive') && !this.#files.has(path)
        disk.open(path, mode, (error, file) => {
          if (file === undefined) return done(error)
          this.#meter('openFiles', 1)
          const state = this.#state(path)
          if (isNew) {
            state.named = false
            if (isJournal(path)) this.#unnamedJournals.add(path)
          }
          done(null, this.#watchFile(file))
        })
      },
    })
  }

  #state(path: string): FileState {
    let state = this.#files.get(path)
    if (state === undefined) {
      state = { writing: [], reading: [], changes: 0, synced: 0, named: true, service: 0 }
      this.#files.set(path, state)
    }
    return state
  }

  #watchFile(file: DiskFile): DiskFile {
    const { path } = file
    let unsynced: { readonly bytes: Buffer; readonly position: number }[] = []
    return {
      path,
      write: (buffers, position, done) => {
        const state = this.#state(path)
        const header = position === 0 && isJournal(path) && startsLikeASegment(buffers)
        let length = 0
        for (const buffer of buffers) length += buffer.length
        const range = { from: position, to: position + length }
        if (state.writing.some((other) => overlaps(range, other)))
          this.#wrong(`writes ${path} from ${range.from} to ${range.to} while a write there is under way`)
        if (state.reading.some((other) => overlaps(range, other)))
          this.#wrong(`writes ${path} from ${range.from} to ${range.to} while it is read there`)
        state.writing.push(range)
        this.#meter('operations', 1)
        file.write(buffers, position, (error) => {
          this.#meter('operations', -1)
          state.writing.splice(state.writing.indexOf(range), 1)
          state.changes++
          if (header) state.service = state.changes
          if (isSegment(path) && (header || state.service > 0))
            unsynced.push({ bytes: Buffer.concat(buffers), position })
          done(error)
        })
      },
      read: (into, position, done) => {
        const state = this.#state(path)
        const range = { from: position, to: position + into.length }
        if (state.writing.some((other) => overlaps(range, other)))
          this.#wrong(`reads ${path} from ${range.from} to ${range.to} while it is written there`)
        state.reading.push(range)
        this.#meter('operations', 1)
        file.read(into, position, (error, count) => {
          this.#meter('operations', -1)
          state.reading.splice(state.reading.indexOf(range), 1)
          if (isSegment(path) && count !== undefined)
            this.#blocks.note(path, asBuffer(into).subarray(0, count), position)
          done(error, count)
        })
      },
      datasync: (done) => {
        const state = this.#state(path)
        const covered = state.changes
        const written = unsynced
        unsynced = []
        this.#meter('operations', 1)
        file.datasync((error) => {
          this.#meter('operations', -1)
          if (error === null) {
            state.synced = Math.max(state.synced, covered)
            for (const { bytes, position } of written) this.#blocks.note(path, bytes, position)
          }
          done(error)
        })
      },
      truncate: (length, done) => {
        const state = this.#state(path)
        if (state.writing.some(({ to }) => to > length))
          this.#wrong(`cuts ${path} at ${length} while it is written above`)
        file.truncate(length, (error) => {
          state.changes++
          done(error)
        })
      },
      size: (done) => file.size(done),
      close: (done) =>
        file.close((error) => {
          this.#meter('openFiles', -1)
          done(error)
        }),
    }
  }

  #beforeRename(from: string, to: string): void {
    if (isSegment(from)) return this.#beforeLoss(from, 'gives another name to')
    const file = this.#files.get(from)
    // What goes to the quarantine nobody relies on.
    if (file === undefined || /[\\/]quarantine[\\/]/.test(to)) return
    if (file.writing.length > 0 || file.synced < file.changes)
      this.#wrong(`renames ${from} to ${to} before its contents are synced`)
  }

  #renamed(from: string, to: string): void {
    const state = this.#state(from)
    this.#files.delete(from)
    this.#unnamedJournals.delete(from)
    this.#files.set(to, { ...state, named: false, changes: 0, synced: 0, service: 0 })
    for (const path of [from, to]) this.#blocks.gone(path)
    if (isJournal(to)) this.#unnamedJournals.add(to)
  }

  #beforeLoss(path: string, does: string): void {
    const journalFrom = this.#journalFrom()
    const needed = this.#blocks.neededOf(path, journalFrom)
    if (needed === null) return
    const { first, last } = needed
    const why = `the checkpoint whose name is synced needs the journal from block ${journalFrom} on`
    this.#wrong(`${does} ${path}, which alone holds blocks ${first} to ${last}: ${why}`)
  }

  #gone(path: string): void {
    this.#files.delete(path)
    this.#unnamedJournals.delete(path)
    this.#blocks.gone(path)
  }
}

const MAGIC = Buffer.from('TIDEJRNL', 'latin1')
const isJournal = (path: string): boolean => path.includes('/journal/')
/** A spare segment goes into service under another number, as it is: its header will say that it is somebody else's. */
const isSegment = (path: string): boolean => isJournal(path) && path.endsWith('.log')

function startsLikeASegment(buffers: readonly Uint8Array[]): boolean {
  const first = buffers[0]
  return first !== undefined && asBuffer(first).subarray(0, 8).equals(MAGIC)
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
