/**
 * F21, T19: a node whose journal does not come back from its disk leads nothing after a second, so that its clients go to somebody who
 * can serve them. It is told from below, by how long a write or sync of a journal segment in service has been under way.
 *
 * Time counts while the process runs: one that sleeps can give nothing up. Who is the only voter of a shard has nobody to give it to.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import { type Disk, type DiskFile, diskThrough, fileThrough } from '../../src/platform/index.ts'
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'

const LIMIT_MS = 1000
/** The word has to go round: some beats on top. */
const BEATS = 3
const JOURNAL = /[\\/]journal[\\/]/

/** The journal's operations of one process, by their beginnings. */
interface Process {
  readonly under: Map<object, number>
  /** Shards with more voters than this one that it leads. */
  readonly leads: Set<number>
}

export class StuckLeaders implements Checker {
  readonly property = 'a leader whose disk is stuck gives way'
  readonly #limitMs: number
  readonly #now: () => number
  readonly #isAwake: (node: number) => boolean
  readonly #quorumOf: (shard: number) => number
  readonly #processes = new Map<number, Process>()

  constructor(
    heartbeatMs: number,
    {
      now,
      isAwake,
      quorumOf,
    }: { now: () => number; isAwake: (node: number) => boolean; quorumOf: (shard: number) => number },
  ) {
    this.#limitMs = LIMIT_MS + BEATS * heartbeatMs
    this.#now = now
    this.#isAwake = isAwake
    this.#quorumOf = quorumOf
  }

  started(node: number): void {
    this.#processes.set(node, { under: new Map(), leads: new Set() })
  }

  watchDisk(node: number, disk: Disk): Disk {
    const process = this.#processOf(node)
    return diskThrough(disk, {
      open: (path, mode, done) =>
        disk.open(path, mode, (error, file) =>
          done(error, file === undefined || !JOURNAL.test(path) ? file : this.#watch(process, file)),
        ),
    })
  }

  #processOf(node: number): Process {
    const known = this.#processes.get(node)
    if (known !== undefined) return known
    this.started(node)
    return this.#processOf(node)
  }

  #watch(process: Process, file: DiskFile): DiskFile {
    // Zeros are written ahead of time, and nobody waits for them.
    let inService = false
    const under = <T extends unknown[]>(done: (...answer: T) => void): ((...answer: T) => void) => {
      const operation = {}
      if (inService) process.under.set(operation, this.#now())
      return (...answer) => {
        process.under.delete(operation)
        done(...answer)
      }
    }
    return fileThrough(file, {
      write: (buffers, position, done) => {
        inService ||= buffers[0]?.[0] !== 0
        file.write(buffers, position, under(done))
      },
      datasync: (done) => file.datasync(under(done)),
    })
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type === 'topic-removed')
      for (const { leads } of this.#processes.values()) for (const shard of event.shards) leads.delete(shard)
    if (event.type === 'standing-changed' && this.#quorumOf(event.shard) > 1) {
      const { leads } = this.#processOf(node)
      if (event.role === 'leader') leads.add(event.shard)
      else leads.delete(event.shard)
    }
    if (event.type === 'self-paused') this.#restart(node)
    for (const each of this.#processes.keys()) this.#look(each)
  }

  /** The operations that are under way begin now, as far as their process could know. */
  #restart(node: number): void {
    const { under } = this.#processOf(node)
    for (const operation of under.keys()) under.set(operation, this.#now())
  }

  #look(node: number): void {
    const { under, leads } = this.#processOf(node)
    if (under.size === 0) return
    if (!this.#isAwake(node)) return this.#restart(node)
    if (leads.size === 0) return
    const waitedMs = this.#now() - Math.min(...under.values())
    if (waitedMs <= this.#limitMs) return
    const what = `the journal of node ${node} has not come back for ${Math.round(waitedMs)} ms, and it leads shards ${[...leads].join(', ')}`
    throw new Violation(this.property, what)
  }
}
