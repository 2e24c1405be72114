/**
 * Produce: the hot path. One object per request, which waits in the partitions' own queues; no closure, no promise, and
 * the records stay where the socket put them until the turn's entry is built.
 *
 * There is no timer per request: a leader that cannot reach a quorum steps down within the election timeout, which fails
 * everybody who waits. So the answer comes, sooner than any client's own timeout.
 */
import type { Topic } from '../../../cluster/index.ts'
import {
  KafkaError,
  type KafkaErrorCode,
  type Partition,
  type ProduceLevel,
  type ProduceWaiter,
} from '../../../streams/index.ts'
import type { apis } from '../api-table.ts'
import type { StructDraftOf } from '../message-definition.ts'
import type { ProduceRequest, partitionProduceResponse } from '../messages/produce.ts'
import { currentLeader, type ExchangeOf, endpoint, type HandlerContext } from './context.ts'

type ProduceExchange = ExchangeOf<typeof apis.produce>
type PartitionAnswer = StructDraftOf<typeof partitionProduceResponse>

const LEVELS: Readonly<Record<number, ProduceLevel>> = { [-1]: 'quorum-journal', 1: 'leader-journal', 0: 'none' }
/** zstd came with this version; older clients could not read what it would make. */
const ZSTD_VERSION = 7
const NOTHING = Buffer.alloc(0)

export function produce(context: HandlerContext, exchange: ProduceExchange, request: ProduceRequest): void {
  new ProduceCall(context, exchange, request).run()
}

class ProduceCall implements ProduceWaiter {
  readonly #context: HandlerContext
  readonly #exchange: ProduceExchange
  readonly #request: ProduceRequest
  /** By slot: topics in order, their partitions in order. */
  readonly #answers: PartitionAnswer[] = []
  #missing = 0

  constructor(context: HandlerContext, exchange: ProduceExchange, request: ProduceRequest) {
    this.#context = context
    this.#exchange = exchange
    this.#request = request
    for (const { partitionData } of request.topicData) this.#missing += partitionData.length
  }

  run(): void {
    const { acks, topicData, transactionalId } = this.#request
    const level = LEVELS[acks]
    if (this.#missing === 0) return this.#finish()
    const zstdAllowed = this.#exchange.apiVersion >= ZSTD_VERSION
    // A batch that is acknowledged by nobody still counts as done at once.
    if (level === 'none') this.#missing++
    let slot = 0
    for (const { name, partitionData } of topicData) {
      for (const { index, records } of partitionData) {
        if (level === undefined)
          this.#refuse(slot, index, KafkaError.INVALID_REQUIRED_ACKS, `acks must be -1, 0 or 1, not ${acks}`)
        else if (transactionalId !== null)
          this.#refuse(
            slot,
            index,
            KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            'transactions are not offered by this version',
          )
        else this.#append(slot, name, index, records ?? NOTHING, level, zstdAllowed)
        slot++
      }
    }
    if (level === 'none') this.#exchange.stayQuiet()
  }

  #append(slot: number, name: string, index: number, records: Buffer, level: ProduceLevel, zstdAllowed: boolean): void {
    const partition: Partition | undefined = this.#context.streams.find(name, index)
    if (partition === undefined) {
      const error = this.#topicHas(name, index)
        ? KafkaError.NOT_LEADER_OR_FOLLOWER
        : KafkaError.UNKNOWN_TOPIC_OR_PARTITION
      this.#refuse(slot, index, error, null)
      return
    }
    this.#answers[slot] = { index, errorCode: 0, baseOffset: -1 }
    if (this.#context.chance('kafka/produce-refused')) {
      partition.turnAway(records, this, slot, 'come back later')
      return
    }
    if (partition.restoring) {
      this.produced(slot, KafkaError.LEADER_NOT_AVAILABLE, -1, -1, -1, 'the topic is being restored from a backup')
      return
    }
    partition.produce(records, level, this, slot, zstdAllowed)
    if (!partition.hasRoom) this.#context.pushBack(partition)
  }

  #topicHas(name: string, index: number): boolean {
    return this.#context.cluster.topic(name)?.partitions[index] !== undefined
  }

  #refuse(slot: number, index: number, error: KafkaErrorCode, message: string | null): void {
    this.#answers[slot] = { index, errorCode: 0, baseOffset: -1 }
    this.produced(slot, error, -1, -1, -1, message)
  }

  produced(
    slot: number,
    error: number,
    baseOffset: number,
    logAppendTimeMs: number,
    logStartOffset: number,
    errorMessage: string | null,
  ): void {
    const { index } = this.#answers[slot]!
    this.#answers[slot] = { index, errorCode: error, baseOffset, logAppendTimeMs, logStartOffset, errorMessage }
    if (this.#request.acks === 0) {
      if (error !== KafkaError.NONE)
        this.#exchange.hangUp(`a write with acks = 0 failed with error ${error}: ${errorMessage ?? ''}`)
      return
    }
    if (--this.#missing === 0) this.#finish()
  }

  #finish(): void {
    const { topicData } = this.#request
    let slot = 0
    let redirects = false
    const responses = topicData.map(({ name, partitionData }) => ({
      name,
      partitionResponses: partitionData.map(({ index }) => {
        const answer = this.#answers[slot++]!
        if (answer.errorCode !== KafkaError.NOT_LEADER_OR_FOLLOWER) return answer
        redirects = true
        const topic: Topic | undefined = this.#context.cluster.topic(name)
        return { ...answer, currentLeader: currentLeader(this.#context, topic, index) }
      }),
    }))
    this.#exchange.respond({ responses, nodeEndpoints: redirects ? this.#context.cluster.nodes().map(endpoint) : [] })
  }
}
