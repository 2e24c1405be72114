import { TypedError } from '../../stdx/index.ts'

export class HttpError extends TypedError<
  { code: 'ADDRESS_IN_USE'; host: string; port: number } | { code: 'LISTEN_FAILED'; host: string; port: number }
> {}
