/**
 * A file read forward through windows: one trip to the disk for a MiB, and memory that does not grow with the file. A window is
 * a buffer of its own, because entries are slices of it.
 */
import type { DiskFile } from '../platform/index.ts'
import { call, type Procedure } from './procedure.ts'

export const WINDOW_BYTES = 1 << 20

export class WindowReader {
  readonly file: DiskFile
  readonly size: number
  #window = Buffer.alloc(0)
  #start = 0

  constructor(file: DiskFile, size: number) {
    this.file = file
    this.size = size
  }

  /** Bytes from `position` on; fewer than `length` only at the end of the file. */
  *view(position: number, length: number): Procedure<Buffer> {
    const end = Math.min(position + length, this.size)
    if (end <= position) return this.#window.subarray(0, 0)
    if (position < this.#start || end > this.#start + this.#window.length) {
      const bytes = Buffer.allocUnsafeSlow(Math.min(Math.max(length, WINDOW_BYTES), this.size - position))
      const count = yield* call<number>((done) => this.file.read(bytes, position, done))
      this.#window = bytes.subarray(0, count)
      this.#start = position
    }
    return this.#window.subarray(position - this.#start, end - this.#start)
  }

  /** The next view is of what the file holds then: somebody may have written to it meanwhile. */
  forget(): void {
    this.#window = Buffer.alloc(0)
  }
}
