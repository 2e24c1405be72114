/** DeleteRecords: the leader of each partition moves the start of its log up, and answers once that is committed. */
import { KafkaError } from '../../../streams/index.ts'
import type { apis } from '../api-table.ts'
import type { DeleteRecordsRequest } from '../messages/delete-records.ts'
import { absent, type ExchangeOf, type HandlerContext } from './context.ts'

export function deleteRecords(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.deleteRecords>,
  request: DeleteRecordsRequest,
): void {
  let missing = 1
  const settle = (): void => {
    if (--missing === 0) exchange.respond({ throttleTimeMs: 0, topics })
  }
  const topics = request.topics.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map(({ partitionIndex, offset }) => {
      const answer = { partitionIndex, lowWatermark: -1, errorCode: KafkaError.NONE as number }
      const partition = context.streams.find(name, partitionIndex)
      if (partition === undefined) {
        answer.errorCode = absent(context, name, partitionIndex)
        return answer
      }
      // What a restore compares must stay.
      if (partition.restoring) {
        answer.errorCode = KafkaError.OFFSET_NOT_AVAILABLE
        return answer
      }
      missing++
      partition.deleteRecords(offset, request.timeoutMs, (error, lowWatermark) => {
        answer.errorCode = error
        answer.lowWatermark = lowWatermark
        settle()
      })
      return answer
    }),
  }))
  settle()
}
