/** What bytes from strangers can do wrong as record batches, as one table. */
import { TypedError } from '../stdx/index.ts'
import type { BatchDefect } from './batch-validation.ts'

export type RecordsFailure =
  /** The bytes are not a record batch v2, or lie about themselves. */
  | { code: 'BATCH_INVALID'; defect: BatchDefect }
  /** The records inside a batch whose header is sound do not parse. */
  | { code: 'RECORD_INVALID'; recordIndex: number }
  /** Compression codec bits that no version of the format defines. */
  | { code: 'CODEC_UNKNOWN'; codec: number }
  /** A codec the format defines and this runtime cannot run. */
  | { code: 'CODEC_UNAVAILABLE'; codec: string }
  /** The compressed bytes do not decompress. */
  | { code: 'DECOMPRESSION_FAILED'; codec: string }
  /** The records would take more memory than allowed: a decompression bomb, or a limit that is too low. */
  | { code: 'DECOMPRESSED_TOO_LARGE'; codec: string; limitBytes: number }

/** What bytes from a client or a disk can do wrong as record batches. */
export class RecordsError extends TypedError<RecordsFailure> {}
