/** What groups say, in the shapes of Kafka's responses. */

import { KafkaError } from '../errors.ts'
import { EMPTY_BYTES, type Member, type Membership, metadataFor } from './membership.ts'
import type { JoinGroupResponse, LeaveGroupResponse, LeavingMember, SyncGroupResponse } from './messages.ts'

/** Versions below 7 have no null for the protocol's name. */
export function joinError(errorCode: number, memberId: string, apiVersion: number): JoinGroupResponse {
  return {
    throttleTimeMs: 0,
    errorCode,
    generationId: -1,
    protocolType: null,
    protocolName: apiVersion >= 7 ? null : '',
    leader: '',
    skipAssignment: false,
    memberId,
    members: [],
  }
}

export function syncError(errorCode: number): SyncGroupResponse {
  return { throttleTimeMs: 0, errorCode, protocolType: null, protocolName: null, assignment: EMPTY_BYTES }
}

/** What every member of a generation is told alike. */
interface Generation {
  readonly generation: number
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly members: Membership
}

/** Only who leads gets the members, with what each subscribes to: it assigns for them. */
export function joinAnswer(
  group: Generation,
  member: Member,
  leader: string,
  skipAssignment: boolean,
): JoinGroupResponse {
  const members: JoinGroupResponse['members'] = []
  if (leader === member.id) {
    for (const each of group.members.values()) {
      const metadata = metadataFor(each, group.protocolName)
      members.push({ memberId: each.id, groupInstanceId: each.instanceId, metadata })
    }
  }
  return {
    throttleTimeMs: 0,
    errorCode: KafkaError.NONE,
    generationId: group.generation,
    protocolType: group.protocolType,
    protocolName: group.protocolName,
    leader,
    skipAssignment,
    memberId: member.id,
    members,
  }
}

export function syncAnswer(group: Generation, member: Member): SyncGroupResponse {
  const { protocolType, protocolName } = group
  return { throttleTimeMs: 0, errorCode: KafkaError.NONE, protocolType, protocolName, assignment: member.assignment }
}

/** There is no such group, so nobody could leave it. */
export function nobodyLeft(leaving: readonly LeavingMember[]): LeaveGroupResponse {
  const members = leaving.map(({ memberId, groupInstanceId = null }) => ({
    memberId,
    groupInstanceId,
    errorCode: KafkaError.UNKNOWN_MEMBER_ID,
  }))
  return { throttleTimeMs: 0, errorCode: KafkaError.NONE, members }
}
