/** What members and administrators ask of a group's coordinator: found by the group's id, refused where it is another node's. */
import {
  GROUPS_TOPIC,
  type GroupCoordinator,
  KafkaError,
  type OffsetFetchGroupResponse,
} from '../../../streams/index.ts'
import type { apis } from '../api-table.ts'
import type { Exchange } from '../exchange.ts'
import type { DeleteGroupsRequest } from '../messages/delete-groups.ts'
import type { DescribeGroupsRequest } from '../messages/describe-groups.ts'
import type { HeartbeatRequest } from '../messages/heartbeat.ts'
import type { JoinGroupRequest } from '../messages/join-group.ts'
import type { LeaveGroupRequest } from '../messages/leave-group.ts'
import type { ListGroupsRequest } from '../messages/list-groups.ts'
import type { OffsetCommitRequest } from '../messages/offset-commit.ts'
import type { OffsetFetchRequest } from '../messages/offset-fetch.ts'
import type { SyncGroupRequest } from '../messages/sync-group.ts'
import type { ExchangeOf, HandlerContext } from './context.ts'

const NOT_COORDINATOR = KafkaError.NOT_COORDINATOR
const MANY_GROUPS_VERSION = 8

function coordinatorOf(context: HandlerContext, groupId: string): GroupCoordinator | undefined {
  const partitions = context.cluster.topic(GROUPS_TOPIC)?.partitions.length
  return partitions === undefined || context.chance('kafka/not-coordinator')
    ? undefined
    : context.groups.of(groupId, partitions)
}

function whoAsks(exchange: Exchange) {
  return { clientId: exchange.clientId, clientHost: `/${exchange.requester.host}`, apiVersion: exchange.apiVersion }
}

export function joinGroup(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.joinGroup>,
  request: JoinGroupRequest,
): void {
  const coordinator = coordinatorOf(context, request.groupId)
  if (coordinator === undefined) {
    const protocolName = exchange.apiVersion >= 7 ? null : ''
    return exchange.respond({
      errorCode: NOT_COORDINATOR,
      protocolName,
      leader: '',
      memberId: request.memberId,
      members: [],
    })
  }
  coordinator.join(request, whoAsks(exchange as never), (response) => exchange.respond(response))
}

export function syncGroup(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.syncGroup>,
  request: SyncGroupRequest,
): void {
  const coordinator = coordinatorOf(context, request.groupId)
  if (coordinator === undefined) return exchange.respond({ errorCode: NOT_COORDINATOR, assignment: Buffer.alloc(0) })
  coordinator.sync(request, (response) => exchange.respond(response))
}

export function heartbeat(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.heartbeat>,
  request: HeartbeatRequest,
): void {
  const coordinator = coordinatorOf(context, request.groupId)
  if (coordinator === undefined) return exchange.respond({ errorCode: NOT_COORDINATOR })
  coordinator.heartbeat(request, (response) => exchange.respond(response))
}

export function leaveGroup(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.leaveGroup>,
  request: LeaveGroupRequest,
): void {
  const coordinator = coordinatorOf(context, request.groupId)
  if (coordinator === undefined) return exchange.respond({ errorCode: NOT_COORDINATOR })
  coordinator.leave(request, whoAsks(exchange as never), (response) => exchange.respond(response))
}

export function offsetCommit(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.offsetCommit>,
  request: OffsetCommitRequest,
): void {
  type Topics = typeof request.topics
  const refuse = (topic: Topics[number], errorCode: number) => ({
    name: topic.name,
    partitions: topic.partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
  })
  const coordinator = coordinatorOf(context, request.groupId)
  if (coordinator === undefined)
    return exchange.respond({ topics: request.topics.map((topic) => refuse(topic, NOT_COORDINATOR)) })
  // Offsets of what does not exist would be found by a later topic of the same name.
  const exists = (name: string, partition: number): boolean =>
    context.cluster.topic(name)?.partitions[partition] !== undefined
  const those = (wanted: boolean): Topics =>
    request.topics
      .map((topic) => ({
        ...topic,
        partitions: topic.partitions.filter(({ partitionIndex }) => exists(topic.name, partitionIndex) === wanted),
      }))
      .filter(({ partitions }) => partitions.length > 0)
  coordinator.commitOffsets({ ...request, topics: those(true) }, whoAsks(exchange as never), ({ topics }) => {
    const refused = those(false).map((topic) => refuse(topic, KafkaError.UNKNOWN_TOPIC_OR_PARTITION))
    exchange.respond({
      topics: [
        ...topics.map((topic) => joined(topic, refused)),
        ...refused.filter(({ name }) => !topics.some((topic) => topic.name === name)),
      ],
    })
  })
}

interface CommittedTopic {
  readonly name: string
  readonly partitions: readonly { readonly partitionIndex: number; readonly errorCode: number }[]
}

/** The topic's answer with the partitions that were refused: a topic stands in an answer once. */
function joined({ name, partitions }: CommittedTopic, refused: readonly CommittedTopic[]) {
  const more = refused.find((topic) => topic.name === name)?.partitions ?? []
  return { name, partitions: [...partitions, ...more] }
}

export function offsetFetch(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.offsetFetch>,
  request: OffsetFetchRequest,
): void {
  const many = exchange.apiVersion >= MANY_GROUPS_VERSION
  const asked = many
    ? request.groups.map(({ groupId, topics }) => ({ groupId, topics }))
    : [{ groupId: request.groupId, topics: request.topics }]
  const groups: OffsetFetchGroupResponse[] = []
  let missing = asked.length
  const settle = (group: OffsetFetchGroupResponse): void => {
    groups.push(group)
    if (--missing > 0) return
    if (many) exchange.respond({ groups })
    else exchange.respond({ topics: offsetsOf(group, exchange.apiVersion, request), errorCode: group.errorCode })
  }
  if (missing === 0) return exchange.respond({ groups })
  for (const each of asked) {
    const coordinator = coordinatorOf(context, each.groupId)
    if (coordinator === undefined) settle({ groupId: each.groupId, errorCode: NOT_COORDINATOR, topics: [] })
    else coordinator.fetchOffsets(each, settle)
  }
}

/** Version 1 has no field for the group's error: each partition carries it. */
function offsetsOf(
  group: OffsetFetchGroupResponse,
  apiVersion: number,
  request: OffsetFetchRequest,
): OffsetFetchGroupResponse['topics'] {
  const { errorCode, topics } = group
  if (errorCode === KafkaError.NONE || apiVersion >= 2) return topics
  return (request.topics ?? []).map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((partitionIndex) => ({
      partitionIndex,
      committedOffset: -1,
      committedLeaderEpoch: -1,
      metadata: '',
      errorCode,
    })),
  }))
}

export function describeGroups(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.describeGroups>,
  request: DescribeGroupsRequest,
): void {
  const groups = request.groups.map((groupId) => {
    const coordinator = coordinatorOf(context, groupId)
    if (coordinator !== undefined) return coordinator.describe([groupId])[0]!
    return { errorCode: NOT_COORDINATOR, groupId, groupState: '', protocolType: '', protocolData: '', members: [] }
  })
  exchange.respond({ groups })
}

export function listGroups(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.listGroups>,
  request: ListGroupsRequest,
): void {
  const groups = []
  // Who takes the answer for all there is must not be told half of it.
  let errorCode: number = KafkaError.NONE
  for (const coordinator of context.groups.all()) {
    const listed = coordinator.list(request)
    if (listed.errorCode === KafkaError.NONE) groups.push(...listed.groups)
    else if (listed.errorCode === KafkaError.COORDINATOR_LOAD_IN_PROGRESS) errorCode = listed.errorCode
  }
  exchange.respond({ errorCode, groups })
}

export function deleteGroups(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.deleteGroups>,
  request: DeleteGroupsRequest,
): void {
  const results: { groupId: string; errorCode: number }[] = []
  let missing = request.groupsNames.length
  const settle = (answers: readonly { groupId: string; errorCode: number }[]): void => {
    results.push(...answers)
    if (--missing === 0) exchange.respond({ throttleTimeMs: 0, results })
  }
  if (missing === 0) return exchange.respond({ throttleTimeMs: 0, results })
  for (const groupId of request.groupsNames) {
    const coordinator = coordinatorOf(context, groupId)
    if (coordinator === undefined) settle([{ groupId, errorCode: NOT_COORDINATOR }])
    else coordinator.delete([groupId], (response) => settle(response.results))
  }
}
