/** What a simulation shows to those who check it, in the order in which it happens. */
import type { NodeEvent } from '../src/observability/index.ts'
import type { Disk, Network } from '../src/platform/index.ts'
import type { Checkpoint } from '../src/storage/checkpoint-format.ts'
import type { DurableEntry, SyncedEntry } from './shadow-disk.ts'

/** One outcome that a client has drawn its conclusions from. */
export type ClientEvent =
  | {
      readonly type: 'acknowledged'
      readonly client: string
      readonly topic: string
      readonly partition: number
      readonly baseOffset: number
      readonly values: readonly string[]
    }
  /**
   * With acks = 1: the leader alone had it on its disk. A failover may lose it; if it is anywhere in the end it is at that
   * offset.
   */
  | {
      readonly type: 'acknowledged-by-leader'
      readonly client: string
      readonly topic: string
      readonly partition: number
      readonly baseOffset: number
      readonly values: readonly string[]
    }
  | {
      readonly type: 'produce-failed'
      readonly client: string
      readonly topic: string
      readonly partition: number
      readonly reason: string
    }
  | {
      readonly type: 'fetched'
      readonly client: string
      /** Who answered. */
      readonly by?: number
      readonly topic: string
      readonly partition: number
      readonly askedAtMs: number
      readonly position: number
      readonly highWatermark: number
      /** Of the same answer: below it records were cut away. */
      readonly logStart?: number
      readonly records: readonly { readonly offset: number; readonly value: string }[]
    }
  /** A batch is about to leave for the first time; every value is sent once in a run, retries included. */
  | {
      readonly type: 'sent'
      readonly client: string
      readonly topic: string
      readonly partition: number
      readonly values: readonly string[]
    }
  | RegisterEvent
  | GroupClientEvent
  | AdminEvent

/**
 * An operation on a register has its outcome. `unknown`: no answer, so it may take effect at any time from then on. `index`:
 * where in the shard's log it stands (writes), or up to where the state was that it saw (reads, and compares that failed).
 */
export interface RegisterEvent {
  readonly type: 'register'
  readonly client: string
  /** The log that orders it: registers of one shard share its indexes. */
  readonly shard: number
  readonly key: string
  readonly calledAtMs: number
  readonly operation:
    | { readonly kind: 'read' }
    | { readonly kind: 'write'; readonly value: string }
    | { readonly kind: 'cas'; readonly expected: string | null; readonly value: string }
  readonly outcome:
    | { readonly kind: 'read'; readonly value: string | null; readonly index: number }
    | { readonly kind: 'written'; readonly index: number }
    | { readonly kind: 'unequal'; readonly index: number }
    /** It certainly did not happen. */
    | { readonly kind: 'refused' }
    | { readonly kind: 'unknown' }
}

/** What a member of a consumer group was told; what it read comes as `fetched` with the same `client`. */
export type GroupClientEvent =
  /** It owns exactly these partitions (`topic/partition`) in this generation. None: it gave all of them up, or left. */
  | {
      readonly type: 'group-assigned'
      readonly client: string
      readonly group: string
      readonly member: string
      /** Its name over restarts (KIP-345): a new process takes the place of the old one within a generation. */
      readonly instance?: string | null
      readonly generation: number
      readonly partitions: readonly string[]
    }
  /** A member was told NONE for this commit. `offset`: the next record to be read. */
  | {
      readonly type: 'group-committed'
      readonly client: string
      readonly group: string
      readonly member: string
      readonly generation: number
      readonly topic: string
      readonly partition: number
      readonly offset: number
      readonly askedAtMs: number
    }
  /** A commit without an answer: it may take effect from `askedAtMs` on. */
  | {
      readonly type: 'group-commit-unknown'
      readonly client: string
      readonly group: string
      readonly topic: string
      readonly partition: number
      readonly offset: number
      readonly askedAtMs: number
    }
  /** The answer to OffsetFetch. −1: nothing was ever committed. */
  | {
      readonly type: 'group-position'
      readonly client: string
      readonly group: string
      readonly topic: string
      readonly partition: number
      readonly offset: number
      readonly askedAtMs: number
    }

/** What somebody who administers topics was told. `unknown`: no answer; it may happen at any time from then on. */
export type AdminEvent =
  /** A creation is about to leave. Others may see what it does before whoever asked hears of it. */
  | {
      readonly type: 'topic-create-sent'
      readonly client: string
      readonly topic: string
      readonly partitions: number
    }
  | {
      readonly type: 'topic-create'
      readonly client: string
      readonly topic: string
      readonly partitions: number
      readonly askedAtMs: number
      readonly outcome: 'done' | 'exists' | 'refused' | 'unknown'
    }
  | {
      readonly type: 'topic-delete'
      readonly client: string
      readonly topic: string
      readonly askedAtMs: number
      readonly outcome: 'done' | 'missing' | 'refused' | 'unknown'
    }
  | {
      readonly type: 'records-delete'
      readonly client: string
      readonly topic: string
      readonly partition: number
      /** Everything below may go. */
      readonly before: number
      readonly askedAtMs: number
      readonly outcome: 'done' | 'refused' | 'unknown'
      /** The answer's low-water mark, when done. */
      readonly lowWatermark: number
    }
  /** What one node says there is: every topic's id and number of partitions. */
  | {
      readonly type: 'topics-listed'
      readonly client: string
      readonly askedAtMs: number
      readonly topics: readonly { readonly name: string; readonly id: string; readonly partitions: number }[]
    }

/** What a checker may ask beside the events: the truth below the nodes. */
export interface Truth {
  readonly nodes: readonly number[]
  now(): number
  /** How many disks decide on the shard. */
  quorumOf(shard: number): number
  durableEntry(node: number, shard: number, index: number): DurableEntry | undefined
  /** What was durable on the disk that an empty one replaced. It counted, and what was said of it may arrive afterwards. */
  replacedEntry(node: number, shard: number, index: number): DurableEntry | undefined
  durableLastIndex(node: number, shard: number): number
}

/** A checker: one property, told everything, throwing a `Violation` at the first event that breaks it. */
export interface Checker {
  readonly property: string
  node?(node: number, observed: NodeEvent): void
  /** A new process runs on the node's disk. */
  started?(node: number): void
  /** The node's disk was replaced by an empty one. */
  wiped?(node: number): void
  vote?(node: number, shard: number, term: number, vote: number): void
  /** An entry is on the node's disk, synced: the first time, and again where a block is written again. */
  durable?(node: number, entry: SyncedEntry): void
  /** What the node's disk has as its checkpoint, synced by name: when it is replaced, and when a start reads it. */
  checkpointed?(node: number, checkpoint: Checkpoint): void
  client?(event: ClientEvent): void
  /** Before a process starts: what it gets instead of its disk or network, to be looked at from below. */
  watchDisk?(node: number, disk: Disk): Disk
  watchNetwork?(node: number, network: Network): Network
}
