/**
 * Several steps, one after the other, over calls that complete by callback.
 *
 * Nested callbacks hide the order of steps that must be seen (write, sync, rename, sync the directory); promises would need
 * the engine's microtask queue between two steps, which a simulator then has to drain. A generator gives the straight line
 * without either: it yields "start this and resume me", and whoever completes the call resumes it in the same stack.
 *
 *     run(function* () {
 *       const file = yield* call<DiskFile>((done) => disk.open(path, 'read', done))
 *       …
 *     }(), done)
 */
import { TypedError } from '../stdx/index.ts'

type Resume = (error: Error | null, value?: unknown) => void
export type Procedure<T> = Generator<(resume: Resume) => void, T, unknown>

/** One call as a step: its value, or its error thrown at this place. */
export function* call<T>(start: (done: (error: Error | null, value?: T) => void) => void): Procedure<T> {
  return (yield start as (resume: Resume) => void) as T
}

/**
 * `done` gets what the procedure returned or the typed error that it threw or met. Anything else thrown inside it is a
 * mistake of ours and is not caught.
 */
export function run<T>(procedure: Procedure<T>, done: (error: Error | null, value?: T) => void): void {
  const advance: Resume = (error, value) => {
    let step: IteratorResult<(resume: Resume) => void, T>
    try {
      step = error === null ? procedure.next(value) : procedure.throw(error)
    } catch (thrown) {
      if (!(thrown instanceof TypedError)) throw thrown
      done(thrown)
      return
    }
    if (step.done === true) done(null, step.value)
    else step.value(advance)
  }
  advance(null)
}
