/** What `tidemark restore` asks: topics that nobody else sees yet, batches at the offsets that they had, and to open what is whole. */
import type { TopicResult } from '../../../cluster/index.ts'
import {
  KafkaError,
  type KafkaErrorCode,
  ListOffset,
  type Partition,
  type ProduceWaiter,
} from '../../../streams/index.ts'
import type { apis } from '../api-table.ts'
import { ZERO_UUID } from '../message-definition.ts'
import type { FinishRestoreRequest, RestoreRecordsRequest, RestoreTopicsRequest } from '../messages/restore.ts'
import { errorOfCommand } from './command-errors.ts'
import type { ExchangeOf, HandlerContext } from './context.ts'

type RecordsExchange = ExchangeOf<typeof apis.restoreRecords>

export function restoreTopics(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.restoreTopics>,
  request: RestoreTopicsRequest,
): void {
  const { topics, validateOnly } = request
  const creations = topics.map(({ name, replicationFactor, configs, partitions }) => ({
    name,
    partitions: -1,
    replicationFactor,
    configs: Object.fromEntries(configs.map((config) => [config.name, config.value])),
    validateOnly,
    restored: partitions,
  }))
  if (creations.length === 0) return exchange.respond({ topics: [] })
  context.cluster.createTopics(creations, (results) => exchange.respond({ topics: results.map(toldOf) }))
}

export function finishRestore(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.finishRestore>,
  request: FinishRestoreRequest,
): void {
  const topics = request.topics.map(({ name, topicId }) => ({ name, id: topicId }))
  if (topics.length === 0) return exchange.respond({ topics: [] })
  context.cluster.finishRestore(topics, (results) => exchange.respond({ topics: results.map(toldOf) }))
}

function toldOf({ name, error, topic }: TopicResult) {
  return {
    name,
    topicId: topic?.id ?? ZERO_UUID,
    errorCode: error === null ? KafkaError.NONE : errorOfCommand(error.code),
    errorMessage: error?.message ?? null,
  }
}

export function restoreRecords(
  context: HandlerContext,
  exchange: RecordsExchange,
  request: RestoreRecordsRequest,
): void {
  const { name, topicId, partitionIndex, records } = request
  const refuse = (errorCode: KafkaErrorCode, errorMessage: string | null): void =>
    exchange.respond({ errorCode, errorMessage, endOffset: -1 })
  const topic = context.cluster.topic(name)
  if (topic?.id !== topicId) return refuse(KafkaError.UNKNOWN_TOPIC_ID, `topic ${name} with id ${topicId} is not here`)
  const partition = context.streams.find(name, partitionIndex)
  if (partition === undefined) {
    const absent = topic.partitions[partitionIndex] === undefined
    return refuse(absent ? KafkaError.UNKNOWN_TOPIC_OR_PARTITION : KafkaError.NOT_LEADER_OR_FOLLOWER, null)
  }
  const call = new RestoreCall(exchange, partition)
  if (records.length === 0) call.tellEnd(KafkaError.NONE, null)
  else partition.restoreBatches(records, call, 0)
  if (!partition.hasRoom) context.pushBack(partition)
}

class RestoreCall implements ProduceWaiter {
  readonly #exchange: RecordsExchange
  readonly #partition: Partition

  constructor(exchange: RecordsExchange, partition: Partition) {
    this.#exchange = exchange
    this.#partition = partition
  }

  produced(_slot: number, error: number, _base: number, _time: number, _start: number, message: string | null): void {
    this.tellEnd(error, message)
  }

  /** The end is told by a leader that is sure of being one. */
  tellEnd(errorCode: number, errorMessage: string | null): void {
    this.#partition.listOffset(ListOffset.latest, -1, (refused, endOffset) => {
      if (errorCode === KafkaError.NONE && refused !== KafkaError.NONE)
        this.#exchange.respond({ errorCode: refused, errorMessage: null, endOffset: -1 })
      else this.#exchange.respond({ errorCode, errorMessage, endOffset })
    })
  }
}
