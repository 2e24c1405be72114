/** What a simulation shows to those who check it, in the order in which it happens. */
import type { NodeEvent } from '../src/observability/index.ts'
import type { DurableEntry } from './shadow-disk.ts'

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
      readonly topic: string
      readonly partition: number
      readonly askedAtMs: number
      readonly position: number
      readonly highWatermark: number
      readonly records: readonly { readonly offset: number; readonly value: string }[]
    }

/** What a checker may ask beside the events: the truth below the nodes. */
export interface Truth {
  readonly nodes: readonly number[]
  now(): number
  /** How many disks decide on the shard. */
  quorumOf(shard: number): number
  durableEntry(node: number, shard: number, index: number): DurableEntry | undefined
  durableLastIndex(node: number, shard: number): number
}

/** A checker: one property, told everything, throwing a `Violation` at the first event that breaks it. */
export interface Checker {
  readonly property: string
  node?(node: number, observed: NodeEvent): void
  /** A new process runs on the node's disk. */
  started?(node: number): void
  vote?(node: number, shard: number, term: number, vote: number): void
  client?(event: ClientEvent): void
}
