import type { Cluster, ClusterNode, Topic } from '../../../cluster/index.ts'
import type { Clock } from '../../../platform/index.ts'
import {
  type GroupCoordinators,
  KafkaError,
  type KafkaErrorCode,
  type Partition,
  type Streams,
} from '../../../streams/index.ts'
import type { Codec } from '../codec.ts'
import type { KafkaEvent } from '../events.ts'
import type { Exchange } from '../exchange.ts'
import type { MessageDefinition } from '../message-definition.ts'

/** What handlers work with. One per gateway. */
export interface HandlerContext {
  readonly cluster: Cluster
  readonly streams: Streams
  readonly groups: GroupCoordinators
  readonly clock: Clock
  readonly chance: (site: string) => boolean
  readonly trace: (event: KafkaEvent) => void
  readonly defaultPartitions: number
  /** How long a Metadata request may wait for an election. */
  readonly metadataPatienceMs: number
  /** The partition takes no more until it has room: its producers' connections are to be read no further. */
  readonly pushBack: (partition: Partition) => void
}

export type ExchangeOf<A> = A extends { readonly response: Codec<infer R extends MessageDefinition> }
  ? Exchange<R>
  : never

/** A node as Kafka clients are told of it. */
export function endpoint(node: ClusterNode): {
  readonly nodeId: number
  readonly host: string
  readonly port: number
  readonly rack: string | null
} {
  return { nodeId: node.id, host: node.kafka.host, port: node.kafka.port, rack: node.rack }
}

/** The partition's leader and generation as far as this node knows, for clients that asked the wrong node (KIP-951). */
export function currentLeader(
  context: HandlerContext,
  topic: Topic | undefined,
  partition: number,
): { readonly leaderId: number; readonly leaderEpoch: number } {
  const shard = topic?.partitions[partition]?.shard
  const leader = shard === undefined ? null : context.cluster.leaderOf(shard)
  return { leaderId: leader?.node ?? -1, leaderEpoch: leader?.term ?? -1 }
}

/** Why this node has no replica of the partition. */
export function absent(context: HandlerContext, topic: string, partition: number): KafkaErrorCode {
  return context.cluster.topic(topic)?.partitions[partition] === undefined
    ? KafkaError.UNKNOWN_TOPIC_OR_PARTITION
    : KafkaError.NOT_LEADER_OR_FOLLOWER
}
