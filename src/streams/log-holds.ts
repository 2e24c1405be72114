/**
 * Somebody outside, a backup, needs the records of a partition from an offset on, and says so again and again.
 *
 *      hold (offset, lease) ──► which entry holds it? ──► a pin, until the lease ends ──► the low-water mark
 *           ▲                                                  │
 *           └── in good time, with the offset it has come to ──┘   the new pin is set before the old one goes
 *
 * Nobody can say whether one who is silent will come back, so a hold is a lease on this node's monotonic clock and ends by itself.
 * It is this leader's alone: another one learns of it when it is renewed there.
 *
 * Retention and compaction wait for it. DeleteRecords does not, since somebody wants it, and neither does a disk: where records are
 * refused for lack of room, holds end and none is given, for retention is what makes room.
 */
import type { Clock, Timer } from '../platform/index.ts'
import type { Shard } from '../replication/index.ts'
import { indexOf } from './entry-index.ts'
import { KafkaError, type KafkaErrorCode } from './errors.ts'

export interface HoldRequest {
  /** Drawn by the holder: whoever comes with the same renews. */
  readonly holder: string
  /** For people. */
  readonly name: string
  /** The first record that is needed. */
  readonly offset: number
  readonly leaseMs: number
}

/**
 * `logStart`: the offset at which the log starts as the answer is given, −1 where this node cannot say. `renewed`: an earlier hold of the
 * same holder stood until now. He cannot know by himself: this node may have led no more meanwhile, or needed the room.
 */
export type HoldDone = (error: KafkaErrorCode, message: string | null, logStart: number, renewed: boolean) => void

interface Hold {
  readonly release: () => void
  readonly timer: Timer
}

const HOLDS_MAX = 16
const LEASE_MS_MAX = 60_000
/** It is shown on terminals and pages. */
const NAME = /^[\x20-\x7e]{1,80}$/

export class LogHolds {
  readonly #shard: Shard
  readonly #clock: Clock
  readonly #ended: () => void
  readonly #holds = new Map<string, Hold>()

  /** `ended`: what was held may go. */
  constructor(shard: Shard, clock: Clock, ended: () => void) {
    this.#shard = shard
    this.#clock = clock
    this.#ended = ended
  }

  get count(): number {
    return this.#holds.size
  }

  /** `leads`: asked again after every wait. May answer before it returns. What is refused leaves an earlier hold as it was. */
  hold(request: HoldRequest, leads: () => boolean, done: HoldDone): void {
    const wrong = wrongWith(request)
    if (wrong !== null) return done(KafkaError.INVALID_REQUEST, wrong, -1, false)
    if (!leads()) return done(KafkaError.NOT_LEADER_OR_FOLLOWER, null, -1, false)
    if (this.#isBeyond(request, done)) return
    indexOf(this.#shard, request.offset, (index) => {
      if (!leads()) return done(KafkaError.NOT_LEADER_OR_FOLLOWER, null, -1, false)
      if (this.#isBeyond(request, done)) return
      const { startOffset, refusal } = this.#shard
      if (index === null)
        return done(KafkaError.KAFKA_STORAGE_ERROR, 'the log cannot be read there', startOffset, false)
      if (refusal !== null)
        return done(KafkaError.KAFKA_STORAGE_ERROR, `nothing is held: ${refusal}`, startOffset, false)
      if (!this.#holds.has(request.holder) && this.#holds.size >= HOLDS_MAX)
        return done(
          KafkaError.POLICY_VIOLATION,
          `held by ${HOLDS_MAX} already, which is the limit; wait for one to end`,
          startOffset,
          false,
        )
      done(KafkaError.NONE, null, startOffset, this.#place(request, index))
    })
  }

  #isBeyond({ offset }: HoldRequest, done: HoldDone): boolean {
    const { startOffset, committedOffset } = this.#shard
    if (offset >= startOffset && offset <= committedOffset) return false
    const message = `offset ${offset}: the log goes from ${startOffset} to ${committedOffset}`
    done(KafkaError.OFFSET_OUT_OF_RANGE, message, startOffset, false)
    return true
  }

  /** True: it follows an earlier one, with no gap. */
  #place({ holder, name, leaseMs }: HoldRequest, index: number): boolean {
    const lease = `until it ends, or ${leaseMs / 1000} s after its last sign`
    const release = this.#shard.pin(`${name} (${lease})`, index)
    const renewed = this.#drop(holder)
    this.#holds.set(holder, { release, timer: this.#clock.after(leaseMs, () => this.release(holder)) })
    return renewed
  }

  release(holder: string): void {
    if (this.#drop(holder)) this.#ended()
  }

  /** This node leads no more, or needs the room. */
  releaseAll(): void {
    for (const holder of [...this.#holds.keys()]) this.#drop(holder)
  }

  #drop(holder: string): boolean {
    const hold = this.#holds.get(holder)
    hold?.timer.cancel()
    hold?.release()
    return this.#holds.delete(holder)
  }
}

function wrongWith({ name, leaseMs }: HoldRequest): string | null {
  if (!NAME.test(name)) return `name ${JSON.stringify(name.slice(0, 80))}: must be 1 to 80 printable ASCII characters`
  if (leaseMs < 1 || leaseMs > LEASE_MS_MAX)
    return `lease of ${leaseMs} ms: must be from 1 to ${LEASE_MS_MAX}, and can be renewed`
  return null
}
