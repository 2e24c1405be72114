/** The one union of what streams tell those who watch: metrics, the dashboard, the simulator's checkers. */
import type { KafkaErrorCode } from './errors.ts'
import type { GroupEvent } from './groups/events.ts'

/** What streams tell those who watch: metrics, the dashboard, the simulator's checkers. Per turn or rarer, never per record. */
export type StreamsEvent = PartitionEvent | GroupEvent

export type PartitionEvent =
  /** What one turn brought for a partition became one entry of its log. */
  | {
      readonly type: 'stream-appended'
      readonly shard: number
      readonly index: number
      readonly firstOffset: number
      readonly records: number
      readonly batches: number
      readonly bytes: number
      /** Some were taken in an earlier turn, and waited for a handover of leadership that came to nothing. */
      readonly heldBack: boolean
    }
  /**
   * Producers are about to hear of their writes, all of them below `offset` and in entries up to `index`. The entry at `index`
   * is of `term`, in which this node leads: what a quorum must have on its disks by now.
   */
  | {
      readonly type: 'stream-acknowledged'
      readonly shard: number
      readonly term: number
      readonly index: number
      readonly offset: number
      readonly answers: number
    }
  /** A batch was refused. */
  | { readonly type: 'stream-refused'; readonly shard: number; readonly error: KafkaErrorCode; readonly reason: string }
  /** An idempotent producer sent a batch again that is in the log already. */
  | {
      readonly type: 'stream-duplicate'
      readonly shard: number
      readonly producerId: number
      readonly baseOffset: number
    }
  /** Leadership was lost while producers waited: they were told to ask the next leader. */
  | { readonly type: 'stream-abandoned'; readonly shard: number; readonly term: number; readonly waiters: number }
