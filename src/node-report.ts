/**
 * What a node says about itself and its cluster: for `/health/ready`, `/api`, the page, `tidemark status` and metrics. Reads only,
 * and only when somebody asks.
 */
import { type Cluster, METADATA_SHARD, type NodeRecord, type PeerMesh } from './cluster/index.ts'
import {
  type ClusterStatus,
  type Counters,
  type FilesStatus,
  type JournalStatus,
  mergeStatus,
  type NodeStatus,
  type ReplicaStatus,
} from './gateways/http/index.ts'
import type { NodeDisk } from './node-disk.ts'
import { formatAddress } from './node-options.ts'
import type { ReplicationHost } from './replication/index.ts'
import { heldBy, holdsOn, movedBy, type Partition } from './streams/index.ts'

export interface ReportSources {
  readonly cluster: Cluster
  readonly host: ReplicationHost
  readonly mesh: PeerMesh
  readonly partition: (shard: number) => Partition | undefined
  readonly journal: () => JournalStatus
  readonly disk: NodeDisk
  readonly files: () => FilesStatus
  /** Voters and learners of the metadata shard. */
  readonly members: readonly number[]
  /** This node as others are to know it. */
  readonly record: () => NodeRecord
  /** Why the node as a whole is not there (yet, or any more); null while it runs. */
  readonly absent: () => string | null
  readonly counters: () => Counters
  readonly version: string
  readonly uptimeMs: () => number
  readonly memoryBytes: () => number
}

const STATUS_TIMEOUT_MS = 1000

export class NodeReport {
  readonly #from: ReportSources

  constructor(sources: ReportSources) {
    this.#from = sources
    sources.mesh.handle('status', (_from, _body, reply) => reply(null, Buffer.from(JSON.stringify(this.status()))))
  }

  /** What keeps this node from serving its shards, in a sentence; null when nothing does. */
  waitingFor(): string | null {
    const { cluster, host, members } = this.#from
    const absent = this.#from.absent() ?? this.#from.disk.stuck
    if (absent !== null) return absent
    if (cluster.clusterId === null)
      return `the cluster is being formed: waiting for a quorum of ${members.length} members`
    if (cluster.controller() === null) return 'no leader of the metadata is known'
    const { id, kafka } = this.#from.record()
    const registered = cluster.nodes().find((node) => node.id === id)
    if (registered === undefined) return 'this node is not registered yet'
    // Clients would be sent where this node was before its restart.
    if (registered.kafka.host !== kafka.host || registered.kafka.port !== kafka.port) {
      return "the cluster does not know this node's present address yet"
    }
    for (const replica of host.replicas()) {
      const { leader, role, settled } = replica.standing
      if (leader === null) {
        const lost = replica.raft.recovering ? ', and this replica, which has lost a part of its log, has no vote' : ''
        return `shard ${replica.id} has no leader${lost}`
      }
      if (role === 'leader' && !settled)
        return `shard ${replica.id} has a new leader, this node, that has committed nothing yet`
    }
    return null
  }

  status(): NodeStatus {
    const { cluster, version, uptimeMs, memoryBytes, counters } = this.#from
    const { id, kafka, http, peer, rack, diskIncarnation } = this.#from.record()
    const waitingFor = this.waitingFor()
    return {
      node: id,
      version,
      cluster: cluster.clusterId,
      kafka: formatAddress(kafka),
      http: http === null ? null : formatAddress(http),
      peer: formatAddress(peer),
      rack,
      diskIncarnation,
      uptimeMs: Math.round(uptimeMs()),
      memoryBytes: memoryBytes(),
      ready: waitingFor === null,
      waitingFor,
      disk: this.#from.disk.status,
      counters: { ...counters() },
      journal: this.#from.journal(),
      files: this.#from.files(),
      shards: [...this.replicas()],
    }
  }

  *replicas(): Generator<ReplicaStatus> {
    for (const replica of this.#from.host.replicas()) {
      const place = this.#from.cluster.partitionOf(replica.id)
      const { role, term, leader } = replica.standing
      const retained = this.#from.partition(replica.id)?.holds ?? []
      const holds = retained.length > 0 ? retained : holdsOn(replica.lowWaterMark)
      yield {
        shard: replica.id,
        topic: place?.topic.name ?? null,
        partition: place?.index ?? null,
        role,
        recovering: replica.raft.recovering,
        term,
        leader,
        startOffset: replica.startOffset,
        highWatermark: replica.committedOffset,
        endOffset: replica.endOffset,
        commitIndex: replica.commitIndex,
        lastIndex: replica.lastIndex,
        journaledIndex: replica.raft.journaledIndex,
        storedBytes: replica.storedBytes,
        startMovedBy: movedBy(replica.lowWaterMark),
        startHeldBy: heldBy(holds),
        startHoldKinds: holds.map(({ kind }) => kind),
      }
    }
  }

  /** The whole cluster, from what every node that answers says of itself. */
  async clusterStatus(): Promise<ClusterStatus> {
    const { cluster, members } = this.#from
    const nodes = cluster.nodes()
    const others = nodes.filter((node) => node.up && node.id !== cluster.nodeId)
    const reports = await Promise.all(others.map((node) => this.#ask(node.id)))
    const known = nodes.map(({ id, up, kafka, http, peer, rack }) => ({
      id,
      up,
      kafka: formatAddress(kafka),
      http: http === null ? null : formatAddress(http),
      peer: formatAddress(peer),
      rack,
    }))
    const placements = [
      { shard: METADATA_SHARD, topic: null, partition: null, replicas: members },
      ...this.#placements(),
    ]
    const answers = [this.status(), ...reports.filter((report) => report !== null)]
    return mergeStatus(known, answers, placements, cluster.controller())
  }

  *#placements() {
    for (const { name: topic, partitions } of this.#from.cluster.topics()) {
      for (const [partition, { shard, replicas }] of partitions.entries()) {
        yield { shard, topic, partition, replicas: replicas.map(({ node }) => node) }
      }
    }
  }

  #ask(node: number): Promise<NodeStatus | null> {
    return new Promise((resolve) => {
      this.#from.mesh.request(node, 'status', Buffer.alloc(0), STATUS_TIMEOUT_MS, (error, body) => {
        resolve(error === null && body !== undefined ? (JSON.parse(body.toString()) as NodeStatus) : null)
      })
    })
  }
}
