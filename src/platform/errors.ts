/** One table of errors for everything that the outside world can refuse. */
import { TypedError } from '../stdx/index.ts'

export type PlatformFailure =
  | { code: 'DISK_NOT_FOUND'; path: string }
  | { code: 'DISK_EXISTS'; path: string }
  | { code: 'DISK_NOT_EMPTY'; path: string }
  | { code: 'DISK_FULL'; path: string }
  | { code: 'DISK_DENIED'; path: string }
  | { code: 'DISK_IN_USE'; path: string }
  | { code: 'DISK_FAILED'; path: string; operation: string; errno: string }
  | { code: 'ADDRESS_IN_USE'; host: string; port: number }
  | { code: 'ADDRESS_INVALID'; host: string; port: number }
  | { code: 'CONNECTION_REFUSED'; host: string; port: number }
  | { code: 'CONNECTION_LOST'; reason: string }

/** Files, memory: of what others give back in a moment. */
const EXHAUSTIBLE: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN'])

/** What the outside world can answer instead of doing what it was asked. */
export class PlatformError extends TypedError<PlatformFailure> {}

/** The process or the machine has run out of something for the moment. Nothing is wrong with the file, and nothing was done. */
export function isExhausted(error: unknown): boolean {
  return error instanceof PlatformError && error.details.code === 'DISK_FAILED' && EXHAUSTIBLE.has(error.details.errno)
}
