import type { CommandErrorCode } from '../../../cluster/index.ts'
import { KafkaError, type KafkaErrorCode } from '../../../streams/index.ts'

/** The cluster's refusals in Kafka's words. */
const ERRORS: Readonly<Record<CommandErrorCode, KafkaErrorCode>> = {
  TOPIC_EXISTS: KafkaError.TOPIC_ALREADY_EXISTS,
  UNKNOWN_TOPIC: KafkaError.UNKNOWN_TOPIC_OR_PARTITION,
  INVALID_TOPIC_NAME: KafkaError.INVALID_TOPIC_EXCEPTION,
  INVALID_PARTITIONS: KafkaError.INVALID_PARTITIONS,
  INVALID_REPLICATION_FACTOR: KafkaError.INVALID_REPLICATION_FACTOR,
  INVALID_ASSIGNMENT: KafkaError.INVALID_REPLICA_ASSIGNMENT,
  INVALID_CONFIG: KafkaError.INVALID_CONFIG,
  INVALID_REQUEST: KafkaError.INVALID_REQUEST,
  NO_CONTROLLER: KafkaError.NOT_CONTROLLER,
  TIMED_OUT: KafkaError.REQUEST_TIMED_OUT,
}

export function errorOfCommand(code: CommandErrorCode): KafkaErrorCode {
  return ERRORS[code]
}
