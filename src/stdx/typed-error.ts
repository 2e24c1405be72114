/**
 * One table of errors per layer: each layer declares a union of `{ code, …details }` and a class that extends this one.
 *
 *     class StorageError extends TypedError<{ code: 'JOURNAL_DAMAGED'; file: string; position: number } | …> {}
 *
 * `code` is what programs switch on, `details` are machine-readable, `message` names the thing, the value and the way out.
 */
export class TypedError<D extends { readonly code: string }> extends Error {
  readonly details: D

  constructor(details: D, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = new.target.name
    this.details = details
  }

  get code(): D['code'] {
    return this.details.code
  }
}
