import { TypedError } from '../stdx/index.ts'

/** What a command could not do; the message is the line that the user sees. */
export class CliError extends TypedError<
  | { code: 'USAGE'; option: string }
  | { code: 'UNREACHABLE'; address: string }
  | { code: 'REFUSED'; subject: string }
  | { code: 'OUTPUT'; errno: string }
> {}
