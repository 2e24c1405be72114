/**
 * The metadata as it will be once the commands planned so far are committed. The controller plans a batch of commands against
 * one draft, so that the second creation of a name in the same batch sees the first, and logs the draft's changes as one unit.
 */
import type { KeyedChange } from '../records/index.ts'
import type { ProposedChange } from '../replication/index.ts'
import type { CommandErrorCode } from './commands.ts'
import {
  clusterChange,
  idsChange,
  loadOf,
  type Metadata,
  type NodeRecord,
  nodeChange,
  outcomeChange,
  type Topic,
  topicChange,
  topicRemoval,
} from './metadata.ts'
import { attemptKey, type Outcome } from './outcomes.ts'
import type { NodeLoad } from './placement.ts'

export class MetadataDraft {
  readonly #base: Metadata
  readonly #topics = new Map<string, Topic | null>()
  /** In the order of the commands: the log tells everything, also what was created and removed in one batch. */
  readonly #topicChanges: ProposedChange[] = []
  readonly #outcomes = new Map<string, Outcome>()
  readonly #nodes = new Map<number, NodeRecord>()
  #clusterId: string | null
  #nextShardId: number
  #nextProducerId: number
  #deletionProducerId: number
  #load: Map<number, NodeLoad> | null = null

  constructor(base: Metadata) {
    this.#base = base
    this.#clusterId = base.clusterId
    this.#nextShardId = base.nextShardId
    this.#nextProducerId = base.nextProducerId
    this.#deletionProducerId = base.deletionProducerId
  }

  /** For a trial that must leave no trace. */
  clone(): MetadataDraft {
    const copy = new MetadataDraft(this.#base)
    for (const [name, topic] of this.#topics) copy.#topics.set(name, topic)
    for (const change of this.#topicChanges) copy.#topicChanges.push(change)
    for (const [key, outcome] of this.#outcomes) copy.#outcomes.set(key, outcome)
    for (const [id, node] of this.#nodes) copy.#nodes.set(id, node)
    copy.#clusterId = this.#clusterId
    copy.#nextShardId = this.#nextShardId
    copy.#nextProducerId = this.#nextProducerId
    copy.#deletionProducerId = this.#deletionProducerId
    return copy
  }

  get clusterId(): string | null {
    return this.#clusterId
  }

  mintCluster(id: string): void {
    this.#clusterId = id
  }

  node(id: number): NodeRecord | undefined {
    return this.#nodes.get(id) ?? this.#base.nodes.get(id)
  }

  nodes(): NodeRecord[] {
    const all = new Map([...this.#base.nodes, ...this.#nodes])
    return [...all.values()].sort((a, b) => a.id - b.id)
  }

  putNode(node: NodeRecord): void {
    this.#nodes.set(node.id, node)
  }

  topic(name: string): Topic | undefined {
    const planned = this.#topics.get(name)
    return planned === undefined ? this.#base.topics.get(name) : (planned ?? undefined)
  }

  putTopic(topic: Topic): void {
    if (this.topic(topic.name) !== undefined) this.#load = null
    this.#topics.set(topic.name, topic)
    this.#topicChanges.push(topicChange(topic))
    const load = this.#load
    if (load === null) return
    for (const [node, added] of loadOf([topic])) {
      const old = load.get(node) ?? { leaders: 0, replicas: 0 }
      load.set(node, { leaders: old.leaders + added.leaders, replicas: old.replicas + added.replicas })
    }
  }

  removeTopic(name: string): void {
    if (this.topic(name) === undefined) return
    this.#topics.set(name, null)
    this.#topicChanges.push(topicRemoval(name))
    this.#deletionProducerId = this.#nextProducerId
    this.#load = null
  }

  outcomeOf(request: string, place: number): Outcome | undefined {
    return this.#outcomes.get(attemptKey(request, place)) ?? this.#base.outcomes.of(request, place)
  }

  /** Of what was planned last. */
  putOutcome(request: string, place: number, error: CommandErrorCode | null): void {
    const number = this.#base.outcomes.next + this.#outcomes.size
    const outcome = { number, request, place, error }
    this.#outcomes.set(attemptKey(request, place), outcome)
    this.#topicChanges.push({ ...outcomeChange(outcome), joined: error === null })
  }

  /** Counted once per draft, then kept up to date. */
  load(): Map<number, NodeLoad> {
    if (this.#load === null) {
      const topics = [...this.#base.topics.values()].filter(({ name }) => !this.#topics.has(name))
      for (const topic of this.#topics.values()) if (topic !== null) topics.push(topic)
      this.#load = loadOf(topics)
    }
    return this.#load
  }

  get nextShardId(): number {
    return this.#nextShardId
  }

  takeShardIds(count: number): number {
    const first = this.#nextShardId
    this.#nextShardId += count
    return first
  }

  get deletionProducerId(): number {
    return this.#deletionProducerId
  }

  takeProducerIds(count: number): number {
    const first = this.#nextProducerId
    this.#nextProducerId += count
    return first
  }

  /** A change that changes nothing. */
  confirmation(): KeyedChange {
    return idsChange('producer', this.#base.nextProducerId)
  }

  /** Ids before topics: whoever applies a topic knows already that its shards are in use. */
  changes(): ProposedChange[] {
    const base = this.#base
    const changes: ProposedChange[] = []
    if (this.#clusterId !== null && this.#clusterId !== base.clusterId) changes.push(clusterChange(this.#clusterId))
    for (const node of this.#nodes.values()) changes.push(nodeChange(node))
    if (this.#nextShardId !== base.nextShardId) changes.push(idsChange('shard', this.#nextShardId))
    if (this.#nextProducerId !== base.nextProducerId) changes.push(idsChange('producer', this.#nextProducerId))
    if (this.#deletionProducerId !== base.deletionProducerId)
      changes.push(idsChange('deletion', this.#deletionProducerId))
    for (const change of this.#topicChanges) changes.push(change)
    return changes
  }
}
