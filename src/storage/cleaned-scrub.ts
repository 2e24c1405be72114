/** One cleaned segment, looked at whole: the checkpoint knows its length and its sum (cleaned-part.ts). */
import type { Disk } from '../platform/index.ts'
import { crc32c } from '../stdx/index.ts'
import type { CleanedSegment } from './cleaned-part.ts'
import { call, type Procedure } from './procedure.ts'
import { damaged, openSegment, readSegment, type Segment } from './segment.ts'

const CHUNK_BYTES = 1 << 20

export class CleanedScrub {
  readonly segment: Segment
  done = false
  readonly #expected: CleanedSegment
  readonly #disk: Disk
  #at = 0
  #crc = 0

  constructor(segment: Segment, expected: CleanedSegment, disk: Disk) {
    this.segment = segment
    this.#expected = expected
    this.#disk = disk
  }

  /** Answers how many bytes it read. */
  *step(): Procedure<number> {
    const { segment } = this
    const { bytes, crc } = this.#expected
    if (segment.dropped) {
      this.done = true
      return 0
    }
    const file = yield* openSegment(this.#disk, segment)
    try {
      const size = yield* call<number>((done) => file.size(done))
      if (size !== bytes) throw damaged(segment, size, `it has ${size} bytes, ${bytes} were written`)
      const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, bytes - this.#at))
      const count = yield* readSegment(segment, file, chunk, this.#at)
      if (count < chunk.length) throw damaged(segment, this.#at + count, 'the file is shorter than was written')
      this.#crc = crc32c(chunk, this.#crc)
      this.#at += count
      if (this.#at < bytes) return count
      if (this.#crc !== crc) throw damaged(segment, 0, 'its sum is not that of what was written')
      this.done = true
      return count
    } finally {
      yield* call<void>((done) => file.close(() => done(null)))
    }
  }
}
