/**
 * The shards of one node: which machine runs on which, and who is told that this node leads.
 *
 *     metadata says                        here
 *     a replica is on this node     ──►    a replica is opened, and on it
 *                                             a partition of records, or
 *                                             a coordinator of groups, for the topic that keeps their positions
 *     it is gone, or set otherwise  ──►    so is the machine
 */
import { type Cluster, METADATA_SHARD, type PeerMesh, type ReplicaPlace, type Topic } from './cluster/index.ts'
import type { Clock, Random } from './platform/index.ts'
import type { ReplicationHost, Shard, Standing, StateMachine } from './replication/index.ts'
import {
  GROUPS_TOPIC,
  GroupCoordinator,
  GroupCoordinators,
  partitionSettings,
  STREAMS_DEFAULTS,
  Streams,
  type StreamsEvent,
  type StreamsOptions,
} from './streams/index.ts'

export interface NodeShardsOptions {
  readonly groupInitialRebalanceDelayMs: number
  readonly streams?: Partial<StreamsOptions> | undefined
}

export interface NodeShardsCollaborators {
  readonly clock: Clock
  readonly random: Random
  readonly mesh: PeerMesh
  readonly trace: (event: StreamsEvent) => void
  /** Made after this, and there before the first shard is. */
  readonly host: () => ReplicationHost
  readonly topicById: Cluster['topicById']
}

export class NodeShards {
  readonly streams: Streams
  readonly groups = new GroupCoordinators()
  readonly #options: NodeShardsOptions
  readonly #with: NodeShardsCollaborators
  /** Term in which this node was last announced as a shard's leader. */
  readonly #announced = new Map<number, number>()

  constructor(options: NodeShardsOptions, collaborators: NodeShardsCollaborators) {
    this.#options = options
    this.#with = collaborators
    const { clock, random, trace } = collaborators
    this.streams = new Streams({ ...STREAMS_DEFAULTS, ...options.streams }, { clock, random, trace })
  }

  open(topic: Topic, partition: number, shard: number, replicas: readonly ReplicaPlace[]): void {
    const voters = replicas.map(({ node }) => node)
    const origin = topic.partitions[partition]?.restored
    const machine = (handle: Shard) => this.#machine(topic, partition, handle)
    this.#with.host().open({ shard, voters, learners: [], machine, ...(origin === undefined ? {} : { origin }) })
  }

  configure(topic: Topic, shard: number): void {
    this.streams.partition(shard)?.configure(partitionSettings(topic.configs))
  }

  remove(topic: Topic, partition: number, shard: number): void {
    const { host, mesh } = this.#with
    if (topic.name === GROUPS_TOPIC) this.groups.remove(partition)
    else this.streams.remove(shard)
    host().remove(shard, METADATA_SHARD)
    mesh.leaders.forget(shard)
    this.#announced.delete(shard)
  }

  /** A later topic of the same name must not be read from where this one was left. */
  forgetPositions(topic: Topic): void {
    for (const coordinator of this.groups.all()) coordinator.forgetTopic(topic.name, () => {})
  }

  standingChanged(shard: number, { role, term }: Standing): void {
    const { mesh } = this.#with
    const announced = this.#announced.get(shard)
    if (announced !== undefined && (role !== 'leader' || announced !== term)) {
      this.#announced.delete(shard)
      mesh.announceNotLeading(shard, announced)
    }
    if (role === 'leader' && announced !== term) {
      this.#announced.set(shard, term)
      mesh.announceLeading(shard, term)
    }
  }

  #machine(topic: Topic, index: number, shard: Shard): StateMachine {
    const { clock, random, trace, topicById } = this.#with
    if (topic.name !== GROUPS_TOPIC) {
      const { id, name, configs, newProducersFrom } = topic
      const settings = partitionSettings(configs)
      const range = topic.partitions[index]?.restored
      const finished = (): boolean => topicById(id)?.restoring !== true
      const restored = range === undefined ? {} : { restored: { endOffset: range.endOffset, finished } }
      return this.streams.create({ topic: name, index, settings, newProducersFrom, ...restored }, shard)
    }
    const { groupInitialRebalanceDelayMs } = this.#options
    const coordinator = new GroupCoordinator({ groupInitialRebalanceDelayMs }, { shard, clock, random, trace })
    this.groups.add(index, coordinator)
    return coordinator
  }
}
