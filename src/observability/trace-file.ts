/**
 * The evidence for the promise that no acknowledgement leaves before a quorum's disks hold it: a file per node with what was
 * synced and what was acknowledged, with a monotonic time that all processes of one machine share. `tools/check-trace.ts`
 * reads the files of all nodes together. On only where TIDEMARK_TRACE names a directory.
 *
 *     {"t":12.5,"node":1,"type":"appended","shard":16,"index":7,"firstOffset":40,"records":3}
 *     {"t":12.9,"node":2,"type":"journaled","shard":16,"term":2,"index":7}
 *     {"t":13.1,"node":1,"type":"acknowledged","shard":16,"offset":43}
 *
 * Lines are appended in order and not synced: they speak about the journal, they do not replace it.
 */
import type { Clock, DiskFile } from '../platform/index.ts'
import type { NodeEvent } from './node-event.ts'

const FLUSH_BYTES = 64 << 10
const FLUSH_MS = 50

export class TraceFile {
  readonly #node: number
  readonly #clock: Clock
  readonly #file: DiskFile
  readonly #failed: (reason: string) => void
  #lines: string[] = []
  #bytes = 0
  #position: number
  #writing = false
  #flushPlanned = false

  constructor(options: { readonly node: number; readonly position: number }, collaborators: { readonly clock: Clock; readonly file: DiskFile; readonly failed: (reason: string) => void }) {
    this.#node = options.node
    this.#position = options.position
    this.#clock = collaborators.clock
    this.#file = collaborators.file
    this.#failed = collaborators.failed
  }

  note({ event }: NodeEvent): void {
    switch (event.type) {
      case 'journaled':
        return this.#add(event.type, `"shard":${event.shard},"term":${event.term},"index":${event.index}`)
      case 'stream-appended':
        return this.#add('appended', `"shard":${event.shard},"index":${event.index},"firstOffset":${event.firstOffset},"records":${event.records}`)
      case 'stream-acknowledged':
        return this.#add('acknowledged', `"shard":${event.shard},"offset":${event.offset}`)
    }
  }

  #add(type: string, fields: string): void {
    const line = `{"t":${this.#clock.now().toFixed(4)},"node":${this.#node},"type":"${type}",${fields}}\n`
    this.#lines.push(line)
    this.#bytes += line.length
    if (this.#bytes >= FLUSH_BYTES) this.#flush()
    else if (!this.#flushPlanned) {
      this.#flushPlanned = true
      this.#clock.after(FLUSH_MS, () => {
        this.#flushPlanned = false
        this.#flush()
      })
    }
  }

  #flush(): void {
    if (this.#writing || this.#lines.length === 0) return
    const bytes = Buffer.from(this.#lines.join(''))
    this.#lines = []
    this.#bytes = 0
    this.#writing = true
    this.#file.write([bytes], this.#position, (error) => {
      this.#writing = false
      if (error !== null) return this.#failed(error.message)
      this.#position += bytes.length
      if (this.#bytes >= FLUSH_BYTES) this.#flush()
    })
  }
}
