/**
 * The one queue for file operations that nobody's acknowledgement waits for: shard logs, their reads, checkpoints, the
 * preparation of segments.
 *
 * Node.js runs file operations on a pool of four threads, shared with the host program when embedded. 64 background writes
 * at once were measured to raise a journal sync from 0.14 ms to 7–11 ms: the sync waits in the pool behind them, and then in
 * the disk's queue. So at most two run at a time; the journal, which does not come here, always finds a thread free.
 *
 * Reads go first: somebody waits for them, and the writes that they overtake were late on purpose. But while a write waits reads have
 * one place only: some consumers that are behind always have a read waiting, and what is never written stays in memory and in the
 * journal for ever. What nobody waits for at all, as the scrubber's reading, goes when there is nothing else: on a slow disk it would
 * hold up checkpoints, and with them snapshots.
 *
 * Some writes are urgent: a checkpoint, what it must have of the logs, and the bound of terms, without which nobody is elected. On a
 * slow disk the backlog of all logs is long.
 */
import { assert } from '../stdx/index.ts'

const IN_FLIGHT_MAX = 2

/** Starts one file operation and calls `finished` when it has completed. */
export type BackgroundOperation = (finished: () => void) => void

export class Background {
  readonly #reads: BackgroundOperation[] = []
  #readsInFlight = 0
  readonly #urgent: BackgroundOperation[] = []
  readonly #writes: BackgroundOperation[] = []
  readonly #idle: BackgroundOperation[] = []
  readonly #chance: (site: string) => boolean
  /** Invariant: ≤ IN_FLIGHT_MAX, and equal to it whenever a read or a write is queued. */
  #inFlight = 0

  constructor(chance: (site: string) => boolean = () => false) {
    this.#chance = chance
  }

  get inFlight(): number {
    return this.#inFlight
  }

  get queued(): number {
    return this.#reads.length + this.#urgent.length + this.#writes.length
  }

  read(operation: BackgroundOperation): void {
    this.#reads.push(operation)
    this.#start()
  }

  /** `urgent`: before all that are not. */
  write(operation: BackgroundOperation, urgent = false): void {
    if (urgent) this.#urgent.push(operation)
    else this.#writes.push(operation)
    this.#start()
  }

  /** A write that was asked for is urgent now. Not if it has begun. */
  hasten(operation: BackgroundOperation): void {
    const at = this.#writes.indexOf(operation)
    if (at >= 0) this.#urgent.push(...this.#writes.splice(at, 1))
  }

  /** Begun when nothing else is in flight or waits. */
  whenIdle(operation: BackgroundOperation): void {
    this.#idle.push(operation)
    this.#start()
  }

  get #isReadNext(): boolean {
    if (this.#reads.length === 0) return false
    return this.#urgent.length + this.#writes.length === 0 || this.#readsInFlight < IN_FLIGHT_MAX - 1
  }

  #next(): BackgroundOperation | undefined {
    if (this.#urgent.length > 0) return this.#urgent.shift()
    const last = this.#writes.length > 1 && this.#chance('storage/last-write-first')
    const operation = last ? this.#writes.pop() : this.#writes.shift()
    return operation ?? (this.#inFlight === 0 ? this.#idle.shift() : undefined)
  }

  #start(): void {
    while (this.#inFlight < IN_FLIGHT_MAX) {
      const isRead = this.#isReadNext
      const operation = isRead ? this.#reads.shift() : this.#next()
      if (operation === undefined) return
      this.#inFlight++
      if (isRead) this.#readsInFlight++
      let finished = false
      operation(() => {
        assert(!finished, 'a background operation finished twice')
        finished = true
        this.#inFlight--
        if (isRead) this.#readsInFlight--
        this.#start()
      })
    }
  }
}
