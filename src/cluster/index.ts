/**
 * Who is here, who owns what, and the wire between nodes.
 *
 *   membership, metadata, placement     `Cluster`, the facade of one node; `Newcomer`, the way in for `--join`
 *   the wire                            `PeerMesh`: sessions, heartbeats, requests, news of leaders
 */
export { Cluster } from './cluster.ts'
export { ClusterDisks } from './cluster-disks.ts'
export {
  CLUSTER_DEFAULTS,
  type ClusterCollaborators,
  type ClusterHooks,
  type ClusterMesh,
  type ClusterNode,
  type ClusterOptions,
} from './cluster-interfaces.ts'
export {
  type AlterTopicRequest,
  type CommandError,
  type CommandErrorCode,
  type CreateTopicRequest,
  type FinishRestoreRequest,
  INTERNAL_TOPICS,
  PARTITIONS_MAX,
  PRODUCER_IDS_MAX,
  type SettingChange,
  type TopicResult,
  topicNameDefect,
} from './commands.ts'
export * from './errors.ts'
export type * from './events.ts'
export type { Hello, Refusal, RefusalCode, SelfDescription } from './handshake.ts'
export { type ClusterDescription, Newcomer, welcomeNewcomers } from './join.ts'
export type { Leader } from './leader-table.ts'
export { LogRepair, type LogRepairCollaborators, type OpenDamage } from './log-repair.ts'
export { isFinalRefusal, METADATA_VOTERS_MAX, metadataMembers } from './membership.ts'
export {
  FIRST_PARTITION_SHARD,
  METADATA_SHARD,
  type NodeRecord,
  type RestoredRange,
  type Topic,
  type TopicPartition,
} from './metadata.ts'
export { PartFetch } from './part-fetch.ts'
export { PeerMesh } from './peer-mesh.ts'
export {
  MESH_DEFAULTS,
  type PeerMeshCollaborators,
  type PeerMeshOptions,
  type PeerStatus,
  type RefusalContext,
} from './peer-mesh-options.ts'
export type { RequestDone, RequestHandler } from './peer-requests.ts'
export { PARTITIONS_DEFAULT, REPLICATION_FACTOR_DEFAULT, type ReplicaPlace } from './placement.ts'
export { replicasDefect, TOPIC_SETTINGS, type TopicSetting, topicSettingDefect } from './topic-config.ts'
