/**
 * The evidence for the promise that no acknowledgement leaves before a quorum's disks hold it: a file per process with what
 * recovery found, what was synced and what was acknowledged, with a monotonic time that all processes of one machine share. `tools/check-trace.ts`
 * reads the files of all nodes together. On only where TIDEMARK_TRACE names a directory.
 *
 *     {"t":11.2,"node":1,"type":"recovered","ending":"clean end","fresh":false,"segments":2,"blocks":41}
 *     {"t":12.5,"node":1,"type":"appended","shard":16,"index":7,"firstOffset":40,"records":3}
 *     {"t":12.9,"node":2,"type":"journaled","shard":16,"term":2,"index":7}
 *     {"t":13.1,"node":1,"type":"acknowledged","shard":16,"term":2,"index":7,"offset":43}
 *     {"t":19.8,"node":3,"type":"truncated","shard":16,"fromIndex":8}
 *
 * A line must be with the operating system before anybody can act upon what it tells: a node that is killed right after an
 * acknowledgement left for its leader would otherwise take the proof with it. So every line is written by itself and at
 * once. Nothing is synced: the lines speak about the journal, they do not replace it.
 */
import type { Clock } from '../platform/index.ts'
import type { NodeEvent } from './node-event.ts'

export interface TraceCollaborators {
  readonly clock: Clock
  /** Hands the line to the operating system before it returns. */
  readonly write: (line: string) => void
}

export class TraceFile {
  readonly #node: number
  readonly #clock: Clock
  readonly #write: (line: string) => void

  constructor(node: number, collaborators: TraceCollaborators) {
    this.#node = node
    this.#clock = collaborators.clock
    this.#write = collaborators.write
  }

  note({ event }: NodeEvent): void {
    switch (event.type) {
      case 'journaled':
        this.#add('journaled', `"shard":${event.shard},"term":${event.term},"index":${event.index}`)
        return
      case 'recovery-done':
        this.#add(
          'recovered',
          `"ending":${JSON.stringify(event.ending)},"fresh":${event.fresh},"segments":${event.segments},"blocks":${event.blocks}`,
        )
        return
      case 'log-truncated':
        this.#add('truncated', `"shard":${event.shard},"fromIndex":${event.fromIndex}`)
        return
      case 'stream-appended':
        this.#add(
          'appended',
          `"shard":${event.shard},"index":${event.index},"firstOffset":${event.firstOffset},"records":${event.records}`,
        )
        return
      case 'stream-acknowledged':
        this.#add(
          'acknowledged',
          `"shard":${event.shard},"term":${event.term},"index":${event.index},"offset":${event.offset}`,
        )
        return
    }
  }

  #add(type: string, fields: string): void {
    this.#write(`{"t":${this.#clock.now().toFixed(4)},"node":${this.#node},"type":"${type}",${fields}}\n`)
  }
}
