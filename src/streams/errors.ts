/**
 * Kafka's error codes, those that we may send: the vocabulary in which streams refuse. They travel as plain numbers, since a
 * produce request of a thousand partitions has a thousand of them; this table says what each number means.
 *
 * `retriable` is what clients conclude from the code, not what we think: an idempotent producer retries a batch forever on
 * one kind and gives up for good on the other, so a wrong choice here either loses data or loops.
 */
const TABLE = [
  [-1, 'UNKNOWN_SERVER_ERROR', false, 'The server met an error it did not expect.'],
  [0, 'NONE', false, ''],
  [1, 'OFFSET_OUT_OF_RANGE', false, 'The offset is below the log start or beyond the log end.'],
  [2, 'CORRUPT_MESSAGE', true, 'The record batch does not match its checksum or its length.'],
  [3, 'UNKNOWN_TOPIC_OR_PARTITION', true, 'There is no such topic or partition here.'],
  [5, 'LEADER_NOT_AVAILABLE', true, 'The partition has no leader at this moment: an election is under way.'],
  [6, 'NOT_LEADER_OR_FOLLOWER', true, 'This node does not lead the partition.'],
  [7, 'REQUEST_TIMED_OUT', true, 'The request took longer than it allowed; its outcome is unknown.'],
  [10, 'MESSAGE_TOO_LARGE', false, 'The record batch is larger than max.message.bytes.'],
  [12, 'OFFSET_METADATA_TOO_LARGE', false, 'The metadata of the committed offset is too large.'],
  [14, 'COORDINATOR_LOAD_IN_PROGRESS', true, 'The coordinator is still reading its state.'],
  [15, 'COORDINATOR_NOT_AVAILABLE', true, 'There is no coordinator at this moment.'],
  [16, 'NOT_COORDINATOR', true, 'This node does not coordinate the group.'],
  [17, 'INVALID_TOPIC_EXCEPTION', false, 'The topic name is not valid.'],
  [18, 'RECORD_LIST_TOO_LARGE', false, 'The records are larger than a segment of the log.'],
  [19, 'NOT_ENOUGH_REPLICAS', true, 'Too few replicas are in reach to take the write.'],
  [20, 'NOT_ENOUGH_REPLICAS_AFTER_APPEND', true, 'The write was taken, but too few replicas have it.'],
  [21, 'INVALID_REQUIRED_ACKS', false, 'acks is neither -1, 0 nor 1.'],
  [22, 'ILLEGAL_GENERATION', false, 'The generation is not the present one of the group.'],
  [23, 'INCONSISTENT_GROUP_PROTOCOL', false, 'The member shares no protocol with the group.'],
  [24, 'INVALID_GROUP_ID', false, 'The group id is not valid.'],
  [25, 'UNKNOWN_MEMBER_ID', false, 'The group does not know this member.'],
  [26, 'INVALID_SESSION_TIMEOUT', false, 'The session timeout is outside the allowed range.'],
  [27, 'REBALANCE_IN_PROGRESS', false, 'The group is rebalancing: join again.'],
  [28, 'INVALID_COMMIT_OFFSET_SIZE', false, 'The offset commit is too large.'],
  [29, 'TOPIC_AUTHORIZATION_FAILED', false, 'Not allowed for this topic.'],
  [30, 'GROUP_AUTHORIZATION_FAILED', false, 'Not allowed for this group.'],
  [31, 'CLUSTER_AUTHORIZATION_FAILED', false, 'Not allowed for this cluster.'],
  [32, 'INVALID_TIMESTAMP', false, 'A timestamp is out of range, or claims to be append time.'],
  [35, 'UNSUPPORTED_VERSION', false, 'This version of the request is not supported.'],
  [36, 'TOPIC_ALREADY_EXISTS', false, 'A topic with this name exists.'],
  [37, 'INVALID_PARTITIONS', false, 'The number of partitions is not valid.'],
  [38, 'INVALID_REPLICATION_FACTOR', false, 'The replication factor is below 1 or above the number of nodes.'],
  [39, 'INVALID_REPLICA_ASSIGNMENT', false, 'The replica assignment is not valid.'],
  [40, 'INVALID_CONFIG', false, 'A configuration value is not valid.'],
  [41, 'NOT_CONTROLLER', true, 'This node does not lead the metadata.'],
  [42, 'INVALID_REQUEST', false, 'The request contradicts itself.'],
  [43, 'UNSUPPORTED_FOR_MESSAGE_FORMAT', false, 'The message format does not support the request.'],
  [44, 'POLICY_VIOLATION', false, 'A policy forbids the request.'],
  [45, 'OUT_OF_ORDER_SEQUENCE_NUMBER', false, 'The sequence number does not follow the last one of this producer.'],
  [46, 'DUPLICATE_SEQUENCE_NUMBER', false, 'The batch was written before, too long ago to know its offset.'],
  [47, 'INVALID_PRODUCER_EPOCH', false, 'A newer incarnation of this producer has written.'],
  [48, 'INVALID_TXN_STATE', false, 'The transaction does not allow this operation in its state.'],
  [49, 'INVALID_PRODUCER_ID_MAPPING', false, 'The producer id does not belong to the transactional id.'],
  [50, 'INVALID_TRANSACTION_TIMEOUT', false, 'The transaction timeout is above the allowed maximum.'],
  [51, 'CONCURRENT_TRANSACTIONS', true, 'Another operation of the transaction is under way.'],
  [53, 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED', false, 'Not allowed for this transactional id.'],
  [54, 'SECURITY_DISABLED', false, 'Security features are not enabled.'],
  [55, 'OPERATION_NOT_ATTEMPTED', false, 'Not attempted, because another part of the request failed.'],
  [56, 'KAFKA_STORAGE_ERROR', true, 'The disk of this node, or of a quorum, takes no records at present.'],
  [58, 'SASL_AUTHENTICATION_FAILED', false, 'Authentication failed.'],
  [59, 'UNKNOWN_PRODUCER_ID', false, 'Nothing is known of this producer id.'],
  [60, 'REASSIGNMENT_IN_PROGRESS', false, 'The partition is being moved.'],
  [68, 'NON_EMPTY_GROUP', false, 'The group has members.'],
  [69, 'GROUP_ID_NOT_FOUND', false, 'There is no such group.'],
  [70, 'FETCH_SESSION_ID_NOT_FOUND', true, 'There is no such fetch session.'],
  [71, 'INVALID_FETCH_SESSION_EPOCH', true, 'The epoch of the fetch session is not the expected one.'],
  [72, 'LISTENER_NOT_FOUND', true, 'The leader has no listener of this kind.'],
  [73, 'TOPIC_DELETION_DISABLED', false, 'Topics cannot be deleted here.'],
  [74, 'FENCED_LEADER_EPOCH', true, 'The request names an older leader epoch than the present one.'],
  [75, 'UNKNOWN_LEADER_EPOCH', true, 'The request names a newer leader epoch than this node knows.'],
  [76, 'UNSUPPORTED_COMPRESSION_TYPE', false, 'The compression codec cannot be used with this request.'],
  [78, 'OFFSET_NOT_AVAILABLE', true, 'A new leader has not yet confirmed its high-water mark.'],
  [79, 'MEMBER_ID_REQUIRED', false, 'Join again with the member id of this response.'],
  [80, 'PREFERRED_LEADER_NOT_AVAILABLE', true, 'The preferred leader is not available.'],
  [81, 'GROUP_MAX_SIZE_REACHED', false, 'The group has as many members as it may have.'],
  [82, 'FENCED_INSTANCE_ID', false, 'Another member has joined under this static instance id.'],
  [83, 'ELIGIBLE_LEADERS_NOT_AVAILABLE', true, 'No replica that may lead is available.'],
  [84, 'ELECTION_NOT_NEEDED', true, 'The partition has the wanted leader.'],
  [85, 'NO_REASSIGNMENT_IN_PROGRESS', false, 'The partition is not being moved.'],
  [86, 'GROUP_SUBSCRIBED_TO_TOPIC', false, 'The group is subscribed to the topic.'],
  [87, 'INVALID_RECORD', false, 'The record batch breaks a rule of its format or of the topic.'],
  [88, 'UNSTABLE_OFFSET_COMMIT', true, 'Offsets of an open transaction are pending.'],
  [89, 'THROTTLING_QUOTA_EXCEEDED', true, 'Too much at once: try again later.'],
  [90, 'PRODUCER_FENCED', false, 'A newer producer uses this transactional id.'],
  [91, 'RESOURCE_NOT_FOUND', false, 'There is no such resource.'],
  [92, 'DUPLICATE_RESOURCE', false, 'The request names a resource twice.'],
  [95, 'INVALID_UPDATE_VERSION', false, 'The update names a version that is not valid.'],
  [100, 'UNKNOWN_TOPIC_ID', true, 'There is no topic with this id here.'],
  [103, 'INCONSISTENT_TOPIC_ID', true, 'The topic id does not match the one of the log.'],
  [104, 'INCONSISTENT_CLUSTER_ID', false, 'The request is for another cluster.'],
  [105, 'TRANSACTIONAL_ID_NOT_FOUND', false, 'There is no such transactional id.'],
  [120, 'TRANSACTION_ABORTABLE', false, 'The transaction can only be aborted.'],
] as const

type Row = (typeof TABLE)[number]
export type KafkaErrorCode = Row[0]
export type KafkaErrorName = Row[1]

export interface KafkaErrorInfo {
  readonly code: KafkaErrorCode
  readonly name: KafkaErrorName
  /** Clients send the same request again, by themselves. */
  readonly retriable: boolean
  readonly message: string
}

/** `KafkaError.NOT_LEADER_OR_FOLLOWER` is 6. */
export const KafkaError = Object.fromEntries(TABLE.map(([code, name]) => [name, code])) as {
  readonly [R in Row as R[1]]: R[0]
}

export const KAFKA_ERRORS: ReadonlyMap<number, KafkaErrorInfo> = new Map(
  TABLE.map(([code, name, retriable, message]) => [code, { code, name, retriable, message }]),
)

/** For logs and for people; a code that is not ours reads as what it is. */
export function kafkaErrorName(code: number): string {
  return KAFKA_ERRORS.get(code)?.name ?? `error ${code}`
}
