import { TypedError } from '../../stdx/index.ts'

/** What can be wrong with bytes. `at` counts from the start of the frame's content. */
export type DecodeFailure =
  /** The frame ends before the value does. */
  | { code: 'TRUNCATED'; at: number; wanted: number; left: number }
  /** A negative length where null is not allowed, or one below −1. */
  | { code: 'INVALID_LENGTH'; at: number; length: number }
  /** More elements than the bytes that are left could hold, or than any message of ours has. */
  | { code: 'TOO_MANY_ELEMENTS'; at: number; count: number }
  /** A 64-bit number beyond the safe integers. */
  | { code: 'OUT_OF_RANGE'; at: number }
  /** A varint that does not end within five bytes, or does not fit 32 bits. */
  | { code: 'INVALID_VARINT'; at: number }
  /** The content of a tagged field is shorter or longer than the section says. */
  | { code: 'INVALID_TAG'; at: number; tag: number }
  | { code: 'UNSUPPORTED_VERSION'; message: string; version: number }

/** The bytes of a frame are not the message that its header announces. The connection that sent them is closed. */
export class DecodeError extends TypedError<DecodeFailure> {}

/** What cannot be said in a version, although it could be in another: a client may cause it, so it is not an assertion. */
export type EncodeFailure =
  | { code: 'NULL_NOT_ALLOWED'; message: string; version: number; field: string }
  | { code: 'STRING_TOO_LONG'; bytes: number }
  | { code: 'OUT_OF_RANGE'; value: number }
  | { code: 'UNSUPPORTED_VERSION'; message: string; version: number }

export class EncodeError extends TypedError<EncodeFailure> {}
