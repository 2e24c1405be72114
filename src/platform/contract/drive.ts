/**
 * How a contract suite lets time pass: by waiting on a real clock, by advancing a virtual one. The suites know no other way,
 * so one text checks both.
 */
import { AssertionFailed } from '../../stdx/index.ts'
import type { Clock } from '../clock.ts'
import type { PlatformError } from '../errors.ts'

export interface Drive {
  /** Until the condition holds; fails when it never will, or not within a generous time. */
  until(condition: () => boolean, what: string): Promise<void>
  /** At least this long. */
  elapse(durationMs: number): Promise<void>
  /** Time passes while nothing can run. */
  stall(durationMs: number): void
}

const PATIENCE_MS = 10_000

export function realDrive(clock: Clock): Drive {
  return {
    until(condition, what) {
      const deadlineMs = clock.now() + PATIENCE_MS
      return new Promise((resolve, reject) => {
        const look = (): void => {
          if (condition()) resolve()
          else if (clock.now() > deadlineMs) reject(new AssertionFailed(`never happened: ${what}`))
          else clock.endOfTurn(look)
        }
        look()
      })
    },
    elapse: (durationMs) => new Promise((resolve) => clock.after(durationMs, resolve)),
    stall(durationMs) {
      const endMs = clock.now() + durationMs
      while (clock.now() < endMs);
    },
  }
}

/**
 * Makes one call and waits for its answer, as a promise for the tests' convenience. Fails if the callback comes
 * synchronously; throws where the callback is made if it comes twice.
 */
export async function answer<T>(
  drive: Drive,
  call: (done: (error: PlatformError | null, value?: T) => void) => void,
): Promise<T> {
  const outcome = await outcomeOf(drive, call)
  if (outcome.error !== null) throw outcome.error
  return outcome.value as T
}

/** Like `answer`, for a call that is expected to be refused. */
export async function refusal<T>(
  drive: Drive,
  call: (done: (error: PlatformError | null, value?: T) => void) => void,
): Promise<string> {
  const { error } = await outcomeOf(drive, call)
  if (error === null) throw new AssertionFailed('the call was expected to be refused')
  return error.code
}

async function outcomeOf<T>(
  drive: Drive,
  call: (done: (error: PlatformError | null, value?: T) => void) => void,
): Promise<{ error: PlatformError | null; value: T | undefined }> {
  const outcomes: { error: PlatformError | null; value: T | undefined }[] = []
  let inCall = true
  call((error, value) => {
    if (inCall) throw new AssertionFailed('the callback came synchronously')
    if (outcomes.length > 0) throw new AssertionFailed('the callback came twice')
    outcomes.push({ error, value })
  })
  inCall = false
  await drive.until(() => outcomes.length > 0, 'the callback')
  return outcomes[0]!
}
