/**
 * I13: how a node treats its files (T17; ALICE, OSDI'14). What a file system promises is little, and it is promised to those only
 * who keep to these rules:
 *
 *   - writes of one file that are under way at once do not overlap, and nobody reads what is just being written: either order
 *     is possible, and a mixture of both;
 *   - a file takes a new name only after its contents are synced: a name that points to nothing yet is worse than none;
 *   - the directory is synced before anything is promised that rests on a new name: a journal segment that nobody finds holds no
 *     acknowledgement, and what a checkpoint replaces is still needed while the checkpoint can disappear.
 *
 * The rules are about what one process does. What it found when it started it has to sync before it trusts it, and that is
 * seen by the shadow disks.
 */
import { dirname } from 'node:path'
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Disk, DiskFile } from '../../src/platform/index.ts'
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'
import type { Bounds, Meter } from './bounds.ts'

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

  /** `violated`, not thrown: this sees things in the middle of the node's own functions. */
  constructor(violated: (violation: Violation) => void, bounds: Bounds | null = null) {
    this.#violated = violated
    this.#bounds = bounds
  }

  watchDisk(node: number, disk: Disk): Disk {
    const meter = this.#bounds?.meter(node) ?? (() => {})
    const wrong = (what: string): void => this.#violated(new Violation(this.property, `node ${node} ${what}`))
    const process = new Process(wrong, meter)
    this.#processes.set(node, process)
    return process.watch(disk)
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
  /** A checkpoint was renamed, and its directory is not synced since. */
  #checkpointUnnamed = false
  readonly #wrong: (what: string) => void
  readonly #meter: Meter

  constructor(wrong: (what: string) => void, meter: Meter) {
    this.#wrong = wrong
    this.#meter = meter
  }

  unnamedJournal(): string | undefined {
    for (const path of this.#unnamedJournals) {
      const file = this.#files.get(path)
      if (file !== undefined && file.service > 0 && file.synced >= file.service) return path
    }
    return undefined
  }

  watch(disk: Disk): Disk {
    return {
      makeDirectory: (path, done) => disk.makeDirectory(path, done),
      list: (path, done) => disk.list(path, done),
      freeBytes: (path, done) => disk.freeBytes(path, done),
      claim: (path, done) => disk.claim(path, done),
      rename: (from, to, done) => {
        this.#beforeRename(from, to)
        disk.rename(from, to, (error) => {
          if (error === null) this.#renamed(from, to)
          done(error)
        })
      },
      remove: (path, done) => {
        this.#beforeRemoval(path)
        disk.remove(path, (error) => {
          if (error === null) this.#gone(path)
          done(error)
        })
      },
      syncDirectory: (path, done) => {
        const covered = [...this.#files].filter(([name, { named }]) => !named && dirname(name) === path)
        const checkpoint = this.#checkpointUnnamed
        disk.syncDirectory(path, (error) => {
          if (error === null) {
            for (const [name, file] of covered) {
              file.named = true
              this.#unnamedJournals.delete(name)
            }
            if (checkpoint && covered.some(([name]) => name.endsWith('checkpoint'))) this.#checkpointUnnamed = false
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
    }
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
          done(error, count)
        })
      },
      datasync: (done) => {
        const state = this.#state(path)
        const covered = state.changes
        this.#meter('operations', 1)
        file.datasync((error) => {
          this.#meter('operations', -1)
          if (error === null) state.synced = Math.max(state.synced, covered)
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
    const file = this.#files.get(from)
    if (file === undefined || isSegment(from)) return
    if (file.writing.length > 0 || file.synced < file.changes)
      this.#wrong(`renames ${from} to ${to} before its contents are synced`)
  }

  #renamed(from: string, to: string): void {
    const state = this.#state(from)
    this.#files.delete(from)
    this.#unnamedJournals.delete(from)
    this.#files.set(to, { ...state, named: false, changes: 0, synced: 0, service: 0 })
    if (isJournal(to)) this.#unnamedJournals.add(to)
    if (to.endsWith('checkpoint')) this.#checkpointUnnamed = true
  }

  #beforeRemoval(path: string): void {
    if (this.#checkpointUnnamed && isJournal(path))
      this.#wrong(`removes ${path} before the checkpoint's name is synced`)
  }

  #gone(path: string): void {
    this.#files.delete(path)
    this.#unnamedJournals.delete(path)
  }
}

const MAGIC = Buffer.from('TIDEJRNL', 'latin1')
const isJournal = (path: string): boolean => path.includes('/journal/')
/** A spare segment goes into service under another number, as it is: its header will say that it is somebody else's. */
const isSegment = (path: string): boolean => isJournal(path) && path.endsWith('.log')

function startsLikeASegment(buffers: readonly Uint8Array[]): boolean {
  const first = buffers[0]
  return first !== undefined && Buffer.from(first.buffer, first.byteOffset, Math.min(8, first.length)).equals(MAGIC)
}
