/** What `Cluster` is given, and what it gives: its options, its collaborators, and the hooks through which it acts. */
import type { Clock, Random } from '../platform/index.ts'
import type { ClusterEvent } from './events.ts'
import type { HostingEvents } from './hosting.ts'
import type { NodeRecord, Topic } from './metadata.ts'
import type { PeerMesh } from './peer-mesh.ts'

export interface ClusterOptions {
  readonly nodeId: number
  readonly diskIncarnation: string
  /** As the data directory remembers it. */
  readonly clusterId: string | null
  readonly clusterHash: string
  /** The ids of `--cluster`, this node's included; only this node's where none was given. */
  readonly members: readonly number[]
  /** How long a command may look for a controller and wait for its answer. */
  readonly commandTimeoutMs: number
  /** Leaders return to their preferred nodes by themselves. */
  readonly balanceLeaders: boolean
}

export const CLUSTER_DEFAULTS = { commandTimeoutMs: 5000, balanceLeaders: true } as const

/** What the cluster needs of the peer mesh. */
export type ClusterMesh = Pick<
  PeerMesh,
  'attach' | 'request' | 'handle' | 'isUp' | 'helloOf' | 'peers' | 'setPeer' | 'leaders' | 'onLeaderChange'
>

export interface ClusterCollaborators {
  readonly clock: Clock
  readonly random: Random
  readonly mesh: ClusterMesh
  /** This node with the addresses at which others reach it; asked once listeners are up. */
  readonly self: () => NodeRecord
  readonly hooks: ClusterHooks
  readonly trace: (event: ClusterEvent) => void
}

/** What the composition root does on behalf of the metadata. Called in log order, in the turn of the change. */
export interface ClusterHooks extends HostingEvents {
  /** The cluster has its id: the data directory must remember it. */
  clusterIdKnown(id: string): void
  /** A node that is not of `--cluster` was registered: whoever leads the metadata shard feeds it as a learner. */
  learnerKnown(node: number): void
  /** A follower's journal holds all that is committed of a shard that this node leads. */
  isCaughtUp(shard: number, node: number): boolean
  transferLeadership(shard: number, to: number): void
  /** The topic is gone, wherever its replicas were: what else refers to it by name must forget it. */
  topicRemoved(topic: Topic): void
  /** Metadata came as a snapshot, now or at the start: `wasRemoved` may know of shards of which nothing was ever told here. */
  metadataSkipped(): void
  /** The metadata says that this node's id belongs to another data directory: it must stop, with this message. */
  evicted(message: string): void
}

export interface ClusterNode extends NodeRecord {
  /** This node, or a verified session with it is up. */
  readonly up: boolean
}
