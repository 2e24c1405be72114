/** ListOffsets and OffsetForLeaderEpoch: where a partition begins, ends, was at a time, and where a generation ended. */
import { KafkaError, type OffsetDone } from '../../../streams/index.ts'
import type { apis } from '../api-table.ts'
import type {
  ListOffsetsPartition,
  ListOffsetsPartitionResponse,
  ListOffsetsRequest,
} from '../messages/list-offsets.ts'
import type { OffsetForLeaderEpochRequest } from '../messages/offset-for-leader-epoch.ts'
import { absent, type ExchangeOf, type HandlerContext } from './context.ts'

/** From here on "not known yet" has a code of its own; before, clients understand that a leader is missing. */
const OFFSET_NOT_AVAILABLE_VERSION = 5

/** What one request asks twice, it is told twice; but a lookup by time may have to read a whole log, and is made once. */
export function listOffsets(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.listOffsets>,
  request: ListOffsetsRequest,
): void {
  let missing = 1
  const settle = (): void => {
    if (--missing === 0) exchange.respond({ topics })
  }
  const answers = new Map<string, ListOffsetsPartitionResponse>()
  const ask = (
    name: string,
    { partitionIndex, currentLeaderEpoch, timestamp }: ListOffsetsPartition,
  ): ListOffsetsPartitionResponse => {
    const question = `${partitionIndex} ${currentLeaderEpoch} ${timestamp} ${name}`
    const known = answers.get(question)
    if (known !== undefined) return known
    const answer: ListOffsetsPartitionResponse = {
      partitionIndex,
      errorCode: absent(context, name, partitionIndex),
      oldStyleOffsets: [],
      timestamp: -1,
      offset: -1,
      leaderEpoch: -1,
    }
    answers.set(question, answer)
    const partition = context.streams.find(name, partitionIndex)
    if (partition === undefined) return answer
    if (partition.restoring) {
      answer.errorCode =
        exchange.apiVersion < OFFSET_NOT_AVAILABLE_VERSION
          ? KafkaError.LEADER_NOT_AVAILABLE
          : KafkaError.OFFSET_NOT_AVAILABLE
      return answer
    }
    missing++
    const done: OffsetDone = (error, offset, found, leaderEpoch) => {
      answer.errorCode = error
      answer.offset = offset
      answer.timestamp = found
      answer.leaderEpoch = leaderEpoch
      if (offset >= 0) answer.oldStyleOffsets = [offset]
      settle()
    }
    partition.listOffset(timestamp, currentLeaderEpoch, done, exchange)
    return answer
  }
  const topics = request.topics.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map((asked) => ask(name, asked)),
  }))
  settle()
}

export function offsetForLeaderEpoch(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.offsetForLeaderEpoch>,
  request: OffsetForLeaderEpochRequest,
): void {
  const topics = request.topics.map(({ topic, partitions }) => ({
    topic,
    partitions: partitions.map(({ partition: index, currentLeaderEpoch, leaderEpoch }) => {
      const partition = context.streams.find(topic, index)
      if (partition === undefined)
        return { partition: index, errorCode: absent(context, topic, index), leaderEpoch: -1, endOffset: -1 }
      const { error, leaderEpoch: epoch, endOffset } = partition.epochEnd(leaderEpoch, currentLeaderEpoch)
      return { partition: index, errorCode: error, leaderEpoch: epoch, endOffset }
    }),
  }))
  exchange.respond({ throttleTimeMs: 0, topics })
}
