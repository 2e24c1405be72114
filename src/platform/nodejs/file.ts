/** One open file. Positions are explicit: a file has no cursor that two writers could disagree about. */
import * as fs from 'node:fs'
import { assert } from '../../stdx/index.ts'
import type { DiskCallback, DiskFile } from '../disk.ts'
import { diskError, diskFull, syncError } from '../errno.ts'

/** The kernel takes at most this many buffers in one call (IOV_MAX on Linux and macOS). */
const BUFFERS_PER_CALL_MAX = 1024

export class NodeFile implements DiskFile {
  readonly path: string
  /** -1 once closed, before the number goes back to the kernel: a late call must not hit whoever gets it next. */
  #descriptor: number

  constructor(path: string, descriptor: number) {
    this.path = path
    this.#descriptor = descriptor
  }

  write(buffers: readonly Uint8Array[], position: number, done: DiskCallback<void>): void {
    const descriptor = this.#open()
    let length = 0
    for (const buffer of buffers) length += buffer.length
    if (length === 0) setImmediate(done, null)
    else this.#writeSome(descriptor, buffers, position, length, done)
  }

  #writeSome(
    descriptor: number,
    buffers: readonly Uint8Array[],
    position: number,
    length: number,
    done: DiskCallback<void>,
  ): void {
    const completed = (error: NodeJS.ErrnoException | null, written: number): void => {
      if (error) done(diskError(this.path, 'write', error))
      else if (written === length) done(null)
      else if (written === 0) done(diskFull(this.path, 'write', `${length} bytes were not taken`))
      // Some bytes fitted, or there were too many buffers for one call: ask for the rest, so that the kernel says why not.
      else this.#writeSome(descriptor, rest(buffers, written), position + written, length - written, done)
    }
    if (buffers.length === 1) fs.write(descriptor, buffers[0]!, 0, length, position, completed)
    else fs.writev(descriptor, buffers.slice(0, BUFFERS_PER_CALL_MAX), position, completed)
  }

  read(into: Uint8Array, position: number, done: DiskCallback<number>): void {
    const descriptor = this.#open()
    if (into.length === 0) setImmediate(done, null, 0)
    else this.#readSome(descriptor, into, position, 0, done)
  }

  #readSome(descriptor: number, into: Uint8Array, position: number, got: number, done: DiskCallback<number>): void {
    fs.read(descriptor, into, got, into.length - got, position + got, (error, bytes) => {
      const total = got + bytes
      if (error) done(diskError(this.path, 'read', error))
      else if (bytes === 0 || total === into.length) done(null, total)
      else this.#readSome(descriptor, into, position, total, done)
    })
  }

  datasync(done: DiskCallback<void>): void {
    fs.fdatasync(this.#open(), (error) => done(error && syncError(this.path, 'sync', error)))
  }

  truncate(length: number, done: DiskCallback<void>): void {
    fs.ftruncate(this.#open(), length, (error) => done(error && diskError(this.path, 'truncate', error)))
  }

  size(done: DiskCallback<number>): void {
    fs.fstat(this.#open(), (error, stats) => {
      if (error) done(diskError(this.path, 'measure', error))
      else done(null, stats.size)
    })
  }

  close(done: DiskCallback<void>): void {
    const descriptor = this.#open()
    this.#descriptor = -1
    fs.close(descriptor, (error) => done(error ? diskError(this.path, 'close', error) : null))
  }

  #open(): number {
    assert(this.#descriptor >= 0, () => `${this.path} is closed`)
    return this.#descriptor
  }
}

/** What is left of `buffers` after `written` bytes. */
function rest(buffers: readonly Uint8Array[], written: number): Uint8Array[] {
  let skip = written
  let first = 0
  while (first < buffers.length && skip >= buffers[first]!.length) skip -= buffers[first++]!.length
  const left = buffers.slice(first)
  if (skip > 0) left[0] = left[0]!.subarray(skip)
  return left
}
