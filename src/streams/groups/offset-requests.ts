/** OffsetCommit as changes of the log, OffsetFetch as answers from the book. */
import { KafkaError } from '../errors.ts'
import { encodeOffsetRecord, offsetKey } from './group-record.ts'
import type {
  OffsetCommitRequest,
  OffsetCommitResponse,
  OffsetFetchGroupRequest,
  OffsetFetchGroupResponse,
} from './messages.ts'
import type { OffsetBook } from './offset-book.ts'

/** The records of a commit; a partition that `defectOf` refuses is left out, the others are not. */
export function offsetChanges(
  request: OffsetCommitRequest,
  committedAt: number,
  metadataMaxBytes: number,
): { readonly key: string; readonly value: Buffer }[] {
  const changes: { key: string; value: Buffer }[] = []
  for (const { name, partitions } of request.topics) {
    for (const each of partitions) {
      if (defectOf(name, each.committedMetadata, metadataMaxBytes) !== KafkaError.NONE) continue
      const value = encodeOffsetRecord({
        offset: each.committedOffset,
        leaderEpoch: each.committedLeaderEpoch ?? -1,
        committedAt,
        metadata: each.committedMetadata ?? '',
      })
      changes.push({ key: offsetKey(request.groupId, name, each.partitionIndex), value })
    }
  }
  return changes
}

/** `failed` speaks for every partition; without it, those that were left out are told why. */
export function commitResponse(
  request: OffsetCommitRequest,
  failed: number,
  metadataMaxBytes: number,
): OffsetCommitResponse {
  const topics = request.topics.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map(({ partitionIndex, committedMetadata }) => ({
      partitionIndex,
      errorCode: failed === KafkaError.NONE ? defectOf(name, committedMetadata, metadataMaxBytes) : failed,
    })),
  }))
  return { throttleTimeMs: 0, topics }
}

/** What was never committed is −1, and no error. */
export function fetchedTopics(book: OffsetBook, request: OffsetFetchGroupRequest): OffsetFetchGroupResponse['topics'] {
  const { groupId } = request
  const wanted =
    request.topics ??
    Array.from(book.topics(groupId), ([name, partitions]) => ({ name, partitionIndexes: [...partitions.keys()] }))
  return wanted.map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((partitionIndex) => {
      const record = book.get(groupId, name, partitionIndex)
      return {
        partitionIndex,
        committedOffset: record?.offset ?? -1,
        committedLeaderEpoch: record?.leaderEpoch ?? -1,
        metadata: record?.metadata ?? '',
        errorCode: KafkaError.NONE,
      }
    }),
  }))
}

/** No topic has a slash in its name, and none may: the records' keys are read by their slashes. */
function defectOf(topic: string, metadata: string | null | undefined, metadataMaxBytes: number): number {
  if (topic === '' || topic.includes('/')) return KafkaError.UNKNOWN_TOPIC_OR_PARTITION
  return Buffer.byteLength(metadata ?? '') > metadataMaxBytes ? KafkaError.OFFSET_METADATA_TOO_LARGE : KafkaError.NONE
}
