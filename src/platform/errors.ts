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

/** What the outside world can answer instead of doing what it was asked. */
export class PlatformError extends TypedError<PlatformFailure> {}
