/** A pending timer. `cancel` is idempotent; a cancelled timer never fires. */
export interface Timer {
  cancel(): void
}

/**
 * Time, and the event loop's turn.
 *
 * `now` is monotonic and the only clock that may decide anything. `wall` labels records for people and is never compared
 * for safety (it jumps).
 */
export interface Clock {
  /** Milliseconds since an arbitrary origin, monotonic, with sub-millisecond fractions. */
  now(): number
  /** Milliseconds since 1970, integer. May jump in either direction. */
  wall(): number
  /** Runs `callback` once, not before `delayMs` have passed. */
  after(delayMs: number, callback: () => void): Timer
  /** Runs `callback` every `intervalMs`, never twice for missed intervals. */
  every(intervalMs: number, callback: () => void): Timer
  /**
   * Runs `callback` at the end of the event-loop turn in progress, after everything that the sockets have delivered in it.
   * One turn is the unit of batching everywhere: one entry per shard, one journal block, one frame per peer.
   */
  endOfTurn(callback: () => void): void
}
