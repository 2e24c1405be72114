/**
 * F20: a node that is told that its disk is low takes no records from then on, until it is told of more. What it was told is seen
 * from below: the answers to its own questions for free space. That it asks, and goes on when there is room, is seen by those who
 * wait for it in the end.
 *
 * Its other duties (votes, metadata, reads, deletions, and staying up) are demanded by everybody else: a machine whose disk is low has
 * no excuse to give up.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import { type Disk, diskThrough } from '../../src/platform/index.ts'
import { reserveOf } from '../../src/storage/disk-watch.ts'
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'

export class LowDisks implements Checker {
  readonly property = 'a disk that is low takes no records'
  readonly #reserveBytes: number | null
  /** The node's process runs: what it is told it hears now, before anything else that happens later. */
  readonly #isAwake: (node: number) => boolean
  /** Nodes that know that less than their reserve is left, and how much. */
  readonly #low = new Map<number, number>()
  /** Questions so far, and how many of them were asked before a node last found that it has enough. */
  #asked = 0
  readonly #ample = new Map<number, number>()

  constructor(reserveBytes: number | null, isAwake: (node: number) => boolean) {
    this.#reserveBytes = reserveBytes
    this.#isAwake = isAwake
  }

  started(node: number): void {
    this.#low.delete(node)
  }

  watchDisk(node: number, disk: Disk): Disk {
    return diskThrough(disk, {
      space: (path, done) => {
        const asked = ++this.#asked
        disk.space(path, (error, space) => {
          // The journal's supply asks too, of its own folder; the watch asks of the data directory itself. So do logs on a disk that is low,
          // and may be answered when it is so no longer.
          const isWatch = path.split('/').length === 2 && asked > (this.#ample.get(node) ?? 0)
          if (isWatch) this.#low.delete(node)
          done(error, space)
          if (space === undefined || space === null || !isWatch || !this.#isAwake(node)) return
          if (space.freeBytes < reserveOf(this.#reserveBytes, space)) this.#low.set(node, space.freeBytes)
        })
      },
    })
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type === 'disk-ample') this.#ample.set(node, this.#asked)
    const freeBytes = this.#low.get(node)
    // What was taken before it knew, and waited for a handover since, is taken.
    if (freeBytes === undefined || event.type !== 'stream-appended' || event.heldBack) return
    const what = `node ${node} has ${freeBytes} bytes left, knows it, and takes ${event.records} records for shard ${event.shard}`
    throw new Violation(this.property, what)
  }
}
