/**
 * What was decided on recent requests, so that a second attempt is told what the first one did, and does nothing more: the
 * completion records of RIFL (Lee et al., "Implementing Linearizability at Large Scale and Low Latency", SOSP 2015, §3).
 *
 *      attempt 1   request 7f…, since 41 ──► one entry: topic/orders removed, outcome 41 = 7f…/0 done ──► answer lost
 *      attempt 2   request 7f…, since 41 ──► the next controller finds 7f…/0: "done", and whatever is called orders now stays
 *
 * A record is in the entry of its change, so there is never one without the other. Records are numbered in the order of the
 * log, and a ring keeps the last of them. RIFL lets its clients say which records may go; here they say what they had seen
 * when they began (`since`). If all that came after is still here, a request without a record was never carried out, and may
 * be; if not, nobody knows, and nothing is done.
 */
import type { CommandErrorCode } from './commands.ts'

/** Of one topic each. At most 130 bytes in the metadata's snapshot. */
export const OUTCOMES_KEPT = 1024

export interface Outcome {
  readonly number: number
  /** What its origin drew for it. */
  readonly request: string
  /** Which of the request's topics. */
  readonly place: number
  /** Null: it was done. */
  readonly error: CommandErrorCode | null
}

export class Outcomes {
  readonly #ring: Outcome[] = []
  readonly #byRequest = new Map<string, Outcome>()
  #next = 0

  /** How many there have been, ever. */
  get next(): number {
    return this.#next
  }

  /** Some that came after the first `since` are not here any more. */
  forgotSome(since: number): boolean {
    return this.#next - since > OUTCOMES_KEPT
  }

  of(request: string, place: number): Outcome | undefined {
    return this.#byRequest.get(attemptKey(request, place))
  }

  put(outcome: Outcome): void {
    const slot = slotOf(outcome.number)
    const before = this.#ring[slot]
    if (before !== undefined) this.#byRequest.delete(attemptKey(before.request, before.place))
    this.#ring[slot] = outcome
    this.#byRequest.set(attemptKey(outcome.request, outcome.place), outcome)
    this.#next = Math.max(this.#next, outcome.number + 1)
  }

  clear(): void {
    this.#ring.length = 0
    this.#byRequest.clear()
    this.#next = 0
  }
}

export function slotOf(number: number): number {
  return number % OUTCOMES_KEPT
}

export function attemptKey(request: string, place: number): string {
  return `${request}/${place}`
}
