/**
 * Metadata: which nodes, which topics, who leads what. Any node answers.
 *
 * Clients act on this answer for minutes, and after a wrong one they wait for their own refresh interval. So where a topic is
 * to be created it is created before the answer leaves, and where a partition has no leader at this moment the request is
 * parked for as long as an election usually takes, and answered as soon as there is one.
 *
 * The wrong answer most often given is the leader that died a moment ago. Clients see its connection close and ask another
 * node within a millisecond, often before that node has come to read the end of its own connection to the dead one. Told the
 * old leader they try it, fail, and wait for their second, longer delay. So leaders on other nodes are asked for a sign of
 * life first. It costs a round trip between nodes, and never more than `SIGN_OF_LIFE_MS`.
 */

import type { Topic } from '../../../cluster/index.ts'
import { topicNameDefect } from '../../../cluster/index.ts'
import type { Timer } from '../../../platform/index.ts'
import { GROUPS_TOPIC, KafkaError, type KafkaErrorCode } from '../../../streams/index.ts'
import type { apis } from '../api-table.ts'
import { ZERO_UUID } from '../message-definition.ts'
import type { MetadataRequest } from '../messages/metadata.ts'
import { errorOfCommand } from './command-errors.ts'
import { type ExchangeOf, endpoint, type HandlerContext } from './context.ts'

/** A leader that takes longer is named all the same: it may be slow, and there is no other yet. */
const SIGN_OF_LIFE_MS = 100

type MetadataExchange = ExchangeOf<typeof apis.metadata>

export function metadata(context: HandlerContext, exchange: MetadataExchange, request: MetadataRequest): void {
  new MetadataCall(context, exchange, request).run()
}

interface Asked {
  readonly name: string | null
  readonly topicId: string
  error: KafkaErrorCode
}

class MetadataCall {
  readonly #context: HandlerContext
  readonly #exchange: MetadataExchange
  readonly #request: MetadataRequest
  /** Null: all topics. */
  readonly #asked: Asked[] | null
  #stopListening: (() => void) | null = null
  #patience: Timer | null = null

  constructor(context: HandlerContext, exchange: MetadataExchange, request: MetadataRequest) {
    this.#context = context
    this.#exchange = exchange
    this.#request = request
    const { topics } = request
    // In version 0 an empty list means all, later null does.
    const all = topics === null || (exchange.apiVersion === 0 && topics.length === 0)
    this.#asked = all ? null : topics.map(({ name, topicId }) => ({ name, topicId, error: KafkaError.NONE }))
  }

  run(): void {
    const missing = this.#missing()
    if (missing.length === 0) return this.#hearFromLeaders()
    const { defaultPartitions } = this.#context
    const requests = missing.map(({ name }) => ({
      name: name!,
      partitions: defaultPartitions,
      replicationFactor: -1,
      configs: {},
      validateOnly: false,
    }))
    this.#context.cluster.createTopics(requests, (results) => {
      results.forEach(({ error }, i) => {
        if (error !== null && error.code !== 'TOPIC_EXISTS') missing[i]!.error = errorOfCommand(error.code)
      })
      this.#waitForLeaders()
    })
  }

  /** Topics that are asked for by name, do not exist, and may be created by asking. */
  #missing(): Asked[] {
    const missing: Asked[] = []
    for (const asked of this.#asked ?? []) {
      if (asked.name === null) continue
      if (topicNameDefect(asked.name) !== null) asked.error = KafkaError.INVALID_TOPIC_EXCEPTION
      else if (
        this.#context.cluster.topic(asked.name) === undefined &&
        this.#request.allowAutoTopicCreation &&
        asked.name !== GROUPS_TOPIC
      )
        missing.push(asked)
    }
    return missing
  }

  #hearFromLeaders(): void {
    const { cluster } = this.#context
    const leaders = new Set<number>()
    for (const topic of this.#topics()) {
      for (const { shard } of topic.partitions) {
        const leader = cluster.leaderOf(shard)
        if (leader !== null && leader.node !== cluster.nodeId) leaders.add(leader.node)
      }
    }
    if (leaders.size === 0) this.#waitForLeaders()
    else cluster.hearFrom(leaders, SIGN_OF_LIFE_MS, () => this.#waitForLeaders())
  }

  #waitForLeaders(): void {
    const { cluster, clock, metadataPatienceMs } = this.#context
    if (!this.#exchange.isOpen) return
    if (this.#allLed()) return this.#answer()
    this.#stopListening = cluster.onChange(() => {
      if (this.#allLed()) this.#answer()
    })
    this.#patience = clock.after(metadataPatienceMs, () => this.#answer())
    this.#exchange.onAbandon = () => this.#stopWaiting()
  }

  #stopWaiting(): void {
    this.#stopListening?.()
    this.#patience?.cancel()
  }

  #allLed(): boolean {
    for (const topic of this.#topics()) {
      for (const { shard } of topic.partitions) if (this.#context.cluster.leaderOf(shard) === null) return false
    }
    return true
  }

  *#topics(): Generator<Topic> {
    if (this.#asked === null) yield* this.#context.cluster.topics()
    for (const asked of this.#asked ?? []) {
      const topic = this.#find(asked)
      if (topic !== undefined) yield topic
    }
  }

  #find({ name, topicId }: Asked): Topic | undefined {
    const { cluster } = this.#context
    return name === null ? cluster.topicById(topicId) : cluster.topic(name)
  }

  #answer(): void {
    this.#stopWaiting()
    const { cluster } = this.#context
    const nodes = cluster.nodes()
    const up = new Set(nodes.filter((node) => node.up).map((node) => node.id))
    const topics =
      this.#asked === null
        ? [...cluster.topics()].map((topic) => this.#topicAnswer(topic, up))
        : this.#asked.map((asked) => this.#askedAnswer(asked, up))
    this.#exchange.respond({
      // Only nodes that can be reached: a client would spend its connection timeout on the others.
      brokers: nodes.filter((node) => node.up).map(endpoint),
      clusterId: cluster.clusterId,
      // Every node forwards commands, so any live one will do while the true one is being elected.
      controllerId: cluster.controller() ?? cluster.nodeId,
      topics,
    })
  }

  #askedAnswer(asked: Asked, up: ReadonlySet<number>) {
    const topic = this.#find(asked)
    if (topic !== undefined) return this.#topicAnswer(topic, up)
    let errorCode = asked.error
    if (errorCode === KafkaError.NONE)
      errorCode = asked.name === null ? KafkaError.UNKNOWN_TOPIC_ID : KafkaError.UNKNOWN_TOPIC_OR_PARTITION
    const name = asked.name ?? (this.#exchange.apiVersion >= 12 ? null : '')
    return { errorCode, name, topicId: asked.topicId ?? ZERO_UUID, isInternal: false, partitions: [] }
  }

  #topicAnswer(topic: Topic, up: ReadonlySet<number>) {
    const { cluster } = this.#context
    const partitions = topic.partitions.map(({ shard, replicas }, partitionIndex) => {
      const leader = cluster.leaderOf(shard)
      const replicaNodes = replicas.map(({ node }) => node)
      return {
        errorCode: leader === null ? KafkaError.LEADER_NOT_AVAILABLE : KafkaError.NONE,
        partitionIndex,
        leaderId: leader?.node ?? -1,
        leaderEpoch: leader?.term ?? -1,
        replicaNodes,
        isrNodes: replicaNodes.filter((node) => up.has(node)),
        offlineReplicas: replicaNodes.filter((node) => !up.has(node)),
      }
    })
    return { errorCode: KafkaError.NONE, name: topic.name, topicId: topic.id, isInternal: topic.internal, partitions }
  }
}
