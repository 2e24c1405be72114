/**
 * Files of a shard's log that no checkpoint on the disk names any more. They go when there is time, a few at once, so that reads
 * find a gap in between.
 *
 * A failure leaves useless files, no wrong ones: the next cut tries again, and so does the next opening. Names that a power loss brings
 * back are known as useless by the checkpoint.
 */
import { basename } from 'node:path'
import type { Disk } from '../platform/index.ts'
import { TypedError } from '../stdx/index.ts'
import type { Procedure } from './procedure.ts'
import type { Segment } from './segment.ts'
import { removeFiles } from './shard-folders.ts'

const REMOVED_AT_ONCE = 8

export class UselessFiles {
  readonly #disk: Disk
  readonly #directory: string
  #due: Segment[] = []
  /** Those that could not be removed. */
  #notRemoved: Segment[] = []

  constructor(disk: Disk, directory: string) {
    this.#disk = disk
    this.#directory = directory
  }

  /** There is something to remove. */
  get any(): boolean {
    return this.#due.length > 0
  }

  add(segments: readonly Segment[]): void {
    this.#due.push(...segments)
  }

  tryAgain(): void {
    this.#due.push(...this.#notRemoved.splice(0))
  }

  /**
   * `inUse`: a log that has begun anew at the same entry has a file of that name again. `keepDamaged` puts aside what is not to be lost
   * and names the rest.
   */
  *removeSome(
    inUse: readonly Segment[],
    keepDamaged: (segments: readonly Segment[]) => Procedure<string[]>,
  ): Procedure<void> {
    const isTaken = ({ path }: Segment): boolean => inUse.some((segment) => segment.path === path)
    const segments = this.#due.splice(0, REMOVED_AT_ONCE).filter((segment) => !isTaken(segment))
    const indexes = segments.map(({ indexPath }) => basename(indexPath))
    try {
      const names = yield* keepDamaged(segments)
      yield* removeFiles(this.#disk, this.#directory, [...names, ...indexes])
    } catch (error) {
      if (!(error instanceof TypedError)) throw error
      this.#notRemoved.push(...segments)
    }
  }
}
