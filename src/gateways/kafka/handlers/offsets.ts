/** ListOffsets and OffsetForLeaderEpoch: where a partition begins, ends, was at a time, and where a generation ended. */
import { KafkaError } from '../../../streams/index.ts'
import type { apis } from '../api-table.ts'
import type { ListOffsetsRequest } from '../messages/list-offsets.ts'
import type { OffsetForLeaderEpochRequest } from '../messages/offset-for-leader-epoch.ts'
import { absent, type ExchangeOf, type HandlerContext } from './context.ts'

/** From here on "not known yet" has a code of its own; before, clients understand that a leader is missing. */
const OFFSET_NOT_AVAILABLE_VERSION = 5

export function listOffsets(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.listOffsets>,
  request: ListOffsetsRequest,
): void {
  let missing = 1
  const settle = (): void => {
    if (--missing === 0) exchange.respond({ topics })
  }
  const topics = request.topics.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map(({ partitionIndex, currentLeaderEpoch, timestamp }) => {
      const answer = {
        partitionIndex,
        errorCode: absent(context, name, partitionIndex) as number,
        oldStyleOffsets: [] as number[],
        timestamp: -1,
        offset: -1,
        leaderEpoch: -1,
      }
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
      partition.listOffset(timestamp, currentLeaderEpoch, (error, offset, found, leaderEpoch) => {
        answer.errorCode = error
        answer.offset = offset
        answer.timestamp = found
        answer.leaderEpoch = leaderEpoch
        if (offset >= 0) answer.oldStyleOffsets = [offset]
        settle()
      })
      return answer
    }),
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
