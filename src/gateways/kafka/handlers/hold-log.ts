/** HoldLog: whoever reads a partition slowly keeps what he has still to read; asked of its leader. */
import { KafkaError } from '../../../streams/index.ts'
import type { apis } from '../api-table.ts'
import type { HoldLogRequest } from '../messages/hold-log.ts'
import { absent, type ExchangeOf, type HandlerContext } from './context.ts'

export function holdLog(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.holdLog>,
  request: HoldLogRequest,
): void {
  const { name, topicId, partitionIndex, holder, holderName, offset, leaseMs } = request
  const answer = (errorCode: number, errorMessage: string | null, logStartOffset = -1, renewed = false): void =>
    exchange.respond({ errorCode, errorMessage, logStartOffset, renewed })
  if (context.cluster.topic(name)?.id !== topicId)
    return answer(KafkaError.UNKNOWN_TOPIC_ID, `topic ${name} with id ${topicId} is not here`)
  const partition = context.streams.find(name, partitionIndex)
  if (partition === undefined) return answer(absent(context, name, partitionIndex), null)
  // What is hidden is not cut either.
  if (partition.restoring) return answer(KafkaError.OFFSET_NOT_AVAILABLE, null)
  if (leaseMs !== 0) return partition.hold({ holder, name: holderName, offset, leaseMs }, answer)
  partition.endHold(holder)
  answer(KafkaError.NONE, null, partition.shard.startOffset)
}
