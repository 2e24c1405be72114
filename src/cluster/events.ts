/** What the cluster layer tells its observers. One union, discriminated by `type`; metrics, traces and checkers read it. */
import type { Refusal } from './handshake.ts'

export type ClusterEvent =
  /** The session with `node` is up: both connections are verified. `incarnation` is that of its process. */
  | { readonly type: 'peer-up'; readonly node: number; readonly incarnation: string }
  | { readonly type: 'peer-down'; readonly node: number; readonly reason: string }
  /** A connection could not be made, or ended before the session was up. The next attempt follows after `retryMs`. */
  | { readonly type: 'peer-unreachable'; readonly node: number; readonly reason: string; readonly retryMs: number }
  /** This node refused another one. `node` is the id that the other one claims. */
  | { readonly type: 'peer-refused'; readonly node: number; readonly refusal: Refusal }
  /** Another node refused this one. */
  | { readonly type: 'refused-by-peer'; readonly node: number; readonly refusal: Refusal }
  /** Bytes arrived that no correct node sends. The connection was closed. */
  | { readonly type: 'peer-damaged'; readonly node: number; readonly defect: string }
  /** No beat for longer than the election timeout, while the connections look open. */
  | { readonly type: 'peer-silent'; readonly node: number; readonly silentMs: number }
  /** This node itself stood still (a stopped process, a long computation): nobody is suspected for that time. */
  | { readonly type: 'self-paused'; readonly pausedMs: number }
  /** Two nodes claim to lead one shard in one term, which agreement makes impossible. */
  | {
      readonly type: 'leader-conflict'
      readonly shard: number
      readonly term: number
      readonly nodes: readonly [number, number]
    }
  /** The cluster has its id, as of the metadata applied here. */
  | { readonly type: 'cluster-formed'; readonly clusterId: string }
  /** This node decides on commands from now on, or does so no longer. */
  | { readonly type: 'controller-gained' }
  | { readonly type: 'controller-lost' }
  | { readonly type: 'node-registered'; readonly node: number; readonly diskIncarnation: string }
  /** Committed and applied here. */
  | { readonly type: 'topic-created'; readonly topic: string; readonly id: string; readonly partitions: number }
  | { readonly type: 'topic-removed'; readonly topic: string; readonly id: string; readonly shards: readonly number[] }
  /** What is damaged in this node's log of the shard could not be repaired yet. */
  | { readonly type: 'log-unrepaired'; readonly shard: number; readonly file: string; readonly reason: string }
  /** A replica that is placed at the floor of a compacted log could not get yet what lies below. */
  | { readonly type: 'part-not-fetched'; readonly shard: number; readonly index: number; readonly reason: string }
  /** A shard that this node leads goes back to the node that placement prefers. */
  | { readonly type: 'leader-handed-back'; readonly shard: number; readonly to: number }
