/**
 * I14: what a node uses is bounded (T26). Open files, file operations under way, and bytes that wait in connections have limits
 * that do not grow with the load: whoever is slow is waited for, or dropped, and nobody fills the memory with what others do
 * not take.
 *
 * Where the design names a number it is checked as it stands there: the journal has one write or sync under way, and beside it
 * at most two background operations, since the thread pool has four threads and the journal must always find one (§6).
 */
import type { Disk, DiskFile } from '../../src/platform/index.ts'
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'

export interface Limits {
  readonly openFiles: number
  readonly operations: number
}

/** A shard has one segment open for writing and some for reading; a few shards, the journal, the checkpoint, the identity. */
export const LIMITS: Limits = { openFiles: 256, operations: 16 }

export class Bounds implements Checker {
  readonly property = 'what a node uses is bounded'
  readonly #limits: Limits
  readonly #violated: (violation: Violation) => void
  /** The highest that was seen, in any process. */
  readonly most = { openFiles: 0, operations: 0 }

  constructor(limits: Limits, violated: (violation: Violation) => void) {
    this.#limits = limits
    this.#violated = violated
  }

  watchDisk(node: number, disk: Disk): Disk {
    const uses = { openFiles: 0, operations: 0 }
    const change = (what: keyof Limits, by: number): void => {
      uses[what] += by
      if (uses[what] <= this.most[what]) return
      this.most[what] = uses[what]
      if (uses[what] > this.#limits[what])
        this.#violated(
          new Violation(this.property, `node ${node}: ${what} ${uses[what]}, the limit is ${this.#limits[what]}`),
        )
    }
    const during = <T extends unknown[]>(done: (...answer: T) => void): ((...answer: T) => void) => {
      change('operations', 1)
      return (...answer) => {
        change('operations', -1)
        done(...answer)
      }
    }
    const watchFile = (file: DiskFile): DiskFile => ({
      path: file.path,
      write: (buffers, position, done) => file.write(buffers, position, during(done)),
      read: (into, position, done) => file.read(into, position, during(done)),
      datasync: (done) => file.datasync(during(done)),
      truncate: (length, done) => file.truncate(length, during(done)),
      size: (done) => file.size(during(done)),
      close: (done) =>
        file.close((error) => {
          change('openFiles', -1)
          done(error)
        }),
    })
    return {
      makeDirectory: (path, done) => disk.makeDirectory(path, during(done)),
      list: (path, done) => disk.list(path, during(done)),
      rename: (from, to, done) => disk.rename(from, to, during(done)),
      remove: (path, done) => disk.remove(path, during(done)),
      syncDirectory: (path, done) => disk.syncDirectory(path, during(done)),
      freeBytes: (path, done) => disk.freeBytes(path, done),
      claim: (path, done) => disk.claim(path, done),
      open: (path, mode, done) =>
        disk.open(
          path,
          mode,
          during((error, file) => {
            if (file !== undefined) change('openFiles', 1)
            done(error, file === undefined ? undefined : watchFile(file))
          }),
        ),
    }
  }
}
