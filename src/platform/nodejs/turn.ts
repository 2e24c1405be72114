/**
 * The end of an event-loop turn, in two steps.
 *
 *     timers ─► sockets, files ─► check: 1. callbacks of `atEnd`   (an entry per shard, a journal block)
 *                                        2. flushes of `atFlush`   (what the sockets were given in this turn)
 *
 * `setImmediate` runs in the loop's check phase, after everything that the poll phase delivered. Sockets are flushed after
 * the callbacks, in the same immediate, so what the end of a turn writes leaves with that turn and not one later.
 * A callback that is added while the end of a turn runs belongs to the next turn: nobody can starve the sockets.
 */
export class Turn {
  #callbacks: (() => void)[] = []
  #flushes: (() => void)[] = []
  #scheduled = false
  #flushing = false

  atEnd(callback: () => void): void {
    this.#callbacks.push(callback)
    this.#schedule()
  }

  /** Each caller registers once per turn; what is added by a flush waits for the next turn. */
  atFlush(flush: () => void): void {
    this.#flushes.push(flush)
    if (!this.#flushing) this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(this.#end)
  }

  readonly #end = (): void => {
    this.#scheduled = false
    const callbacks = this.#callbacks
    this.#callbacks = []
    let next = 0
    try {
      while (next < callbacks.length) callbacks[next++]!()
    } finally {
      // One callback that throws must not silence the others, should the program around us survive it.
      if (next < callbacks.length) this.#callbacks = callbacks.slice(next).concat(this.#callbacks)
      this.#flush()
      if (this.#callbacks.length > 0) this.#schedule()
    }
  }

  #flush(): void {
    const flushes = this.#flushes
    if (flushes.length === 0) return
    this.#flushes = []
    this.#flushing = true
    let next = 0
    try {
      while (next < flushes.length) flushes[next++]!()
    } finally {
      this.#flushing = false
      if (next < flushes.length) this.#flushes = flushes.slice(next).concat(this.#flushes)
      if (this.#flushes.length > 0) this.#schedule()
    }
  }
}
