/** What a backup or a restore could not do: each names the file or the topic, and the way out. */
import { TypedError } from '../stdx/index.ts'

export type BackupFailure =
  /** Nothing in the folder is a backup's. */
  | { code: 'NOT_A_BACKUP'; path: string }
  /** Segments without a manifest: the first backup was never finished. */
  | { code: 'UNFINISHED'; path: string }
  | { code: 'MANIFEST_DAMAGED'; path: string; reason: string }
  | { code: 'VERSION_UNKNOWN'; path: string; version: number }
  | { code: 'SEGMENT_MISSING'; path: string }
  | { code: 'SEGMENT_DAMAGED'; path: string; position: number; reason: string }
  /** Whole, and not the file that the manifest means. */
  | { code: 'SEGMENT_FOREIGN'; path: string; reason: string }
  | { code: 'FOLDER_IN_USE'; path: string }
  | { code: 'OTHER_CLUSTER'; path: string; expected: string; found: string }
  | { code: 'LOG_WENT_BACK'; topic: string; partition: number; endOffset: number; backedUpTo: number }
  | { code: 'BATCH_UNUSABLE'; topic: string; partition: number; offset: number }
  | { code: 'TOPIC_UNKNOWN'; topic: string }
  /** `earliestMs`: the largest time in the first batch that could be restored. */
  | { code: 'UNTIL_TOO_EARLY'; untilMs: number; earliestMs: number }
  | { code: 'TOPIC_EXISTS'; topics: readonly string[] }
  | { code: 'OFFSETS_MISSING'; topic: string; partition: number; offset: number }
  | { code: 'GROUP_ACTIVE'; group: string }
  | { code: 'READ_BACK_DIFFERS'; topic: string; partition: number; offset: number }
  | { code: 'UNREACHABLE'; brokers: string }
  | { code: 'REFUSED'; subject: string; error: number }

export class BackupError extends TypedError<BackupFailure> {}
