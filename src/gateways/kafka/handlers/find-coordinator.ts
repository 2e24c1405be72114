/**
 * FindCoordinator: which node leads the partition that a group hashes to. The topic of the groups is created when the first
 * client asks; the request waits for that, and for an election that is under way.
 */
import type { Timer } from '../../../platform/index.ts'
import { GROUPS_TOPIC, GROUPS_TOPIC_PARTITIONS, KafkaError, partitionOfGroup } from '../../../streams/index.ts'
import type { apis } from '../api-table.ts'
import type { FindCoordinatorRequest } from '../messages/find-coordinator.ts'
import { type ExchangeOf, endpoint, type HandlerContext } from './context.ts'

type FindExchange = ExchangeOf<typeof apis.findCoordinator>

const SIGN_OF_LIFE_MS = 100
const GROUP_KEY = 0
const BATCHED_VERSION = 4

export function findCoordinator(
  context: HandlerContext,
  exchange: FindExchange,
  request: FindCoordinatorRequest,
): void {
  if (request.keyType !== GROUP_KEY || context.cluster.topic(GROUPS_TOPIC) !== undefined)
    return new Search(context, exchange, request).run()
  const topic = {
    name: GROUPS_TOPIC,
    partitions: GROUPS_TOPIC_PARTITIONS,
    replicationFactor: -1,
    configs: {},
    validateOnly: false,
    internal: true,
  }
  context.cluster.createTopics([topic], () => new Search(context, exchange, request).run())
}

class Search {
  readonly #context: HandlerContext
  readonly #exchange: FindExchange
  readonly #request: FindCoordinatorRequest
  readonly #keys: readonly string[]
  #stopListening: (() => void) | null = null
  #patience: Timer | null = null

  constructor(context: HandlerContext, exchange: FindExchange, request: FindCoordinatorRequest) {
    this.#context = context
    this.#exchange = exchange
    this.#request = request
    this.#keys = exchange.apiVersion >= BATCHED_VERSION ? request.coordinatorKeys : [request.key]
  }

  /** As with leaders in Metadata: the coordinator that died a moment ago must not be named again. */
  run(): void {
    const { cluster } = this.#context
    const named =
      this.#request.keyType === GROUP_KEY
        ? this.#keys.flatMap((key) => (key === '' ? [] : (this.#nodeFor(key)?.id ?? [])))
        : []
    const others = named.filter((node) => node !== cluster.nodeId)
    if (others.length === 0) this.#waitForLeaders()
    else cluster.hearFrom(others, SIGN_OF_LIFE_MS, () => this.#waitForLeaders())
  }

  #waitForLeaders(): void {
    if (!this.#exchange.isOpen) return
    if (this.#complete()) return this.#answer()
    const { cluster, clock, metadataPatienceMs } = this.#context
    this.#stopListening = cluster.onChange(() => {
      if (this.#complete()) this.#answer()
    })
    this.#patience = clock.after(metadataPatienceMs, () => this.#answer())
    this.#exchange.onAbandon = () => this.#stopWaiting()
  }

  #stopWaiting(): void {
    this.#stopListening?.()
    this.#patience?.cancel()
  }

  #complete(): boolean {
    return this.#request.keyType !== GROUP_KEY || this.#keys.every((key) => key === '' || this.#nodeFor(key) !== null)
  }

  #nodeFor(groupId: string) {
    const { cluster } = this.#context
    const topic = cluster.topic(GROUPS_TOPIC)
    if (topic === undefined) return null
    const leader = cluster.leaderOf(topic.partitions[partitionOfGroup(groupId, topic.partitions.length)]!.shard)
    return leader === null ? null : (cluster.nodes().find((node) => node.id === leader.node) ?? null)
  }

  #answer(): void {
    this.#stopWaiting()
    const coordinators = this.#keys.map((key) => this.#coordinator(key))
    if (this.#exchange.apiVersion >= BATCHED_VERSION) return this.#exchange.respond({ coordinators })
    this.#exchange.respond(coordinators[0]!)
  }

  #coordinator(key: string) {
    const none = { key, nodeId: -1, host: '', port: -1 }
    if (this.#request.keyType !== GROUP_KEY)
      return {
        ...none,
        errorCode: KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        errorMessage: 'transactions are not offered by this version',
      }
    if (key === '')
      return { ...none, errorCode: KafkaError.INVALID_GROUP_ID, errorMessage: 'a group id must not be empty' }
    const node = this.#nodeFor(key)
    if (node === null)
      return {
        ...none,
        errorCode: KafkaError.COORDINATOR_NOT_AVAILABLE,
        errorMessage: `no node leads the partition of ${GROUPS_TOPIC} that group ${key} belongs to`,
      }
    const { nodeId, host, port } = endpoint(node)
    return { key, nodeId, host, port, errorCode: KafkaError.NONE, errorMessage: null }
  }
}
