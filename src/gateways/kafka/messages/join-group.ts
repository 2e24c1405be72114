/**
 * Joins a consumer group and waits until the group's next generation is complete.
 *
 * - 1 adds the time a rebalance may take; from 4 on a new member is first sent away with an id to come back with, so that an
 *   answer that is lost leaves no ghost in the group; 5 adds static members (KIP-345); 6 is flexible.
 * - 7 repeats the protocol's type and lets its name be null; 8 adds a reason; 9 tells a leader that it need not assign.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const joinGroupRequestProtocol = {
  name: { type: 'string' },
  metadata: { type: 'bytes' },
} as const satisfies StructDefinition
export type JoinGroupRequestProtocol = StructOf<typeof joinGroupRequestProtocol>

export const joinGroupRequest = {
  name: 'JoinGroupRequest',
  apiKey: 11,
  versions: '0-9',
  flexible: '6+',
  fields: {
    groupId: { type: 'string' },
    sessionTimeoutMs: { type: 'int32' },
    rebalanceTimeoutMs: { type: 'int32', versions: '1+', default: -1 },
    memberId: { type: 'string' },
    groupInstanceId: { type: 'string', versions: '5+', nullable: '5+', default: null },
    protocolType: { type: 'string' },
    protocols: { type: 'array', of: joinGroupRequestProtocol },
    reason: { type: 'string', versions: '8+', nullable: '8+', default: null },
  },
} as const satisfies MessageDefinition
export type JoinGroupRequest = MessageOf<typeof joinGroupRequest>
export type JoinGroupRequestDraft = DraftOf<typeof joinGroupRequest>

export const joinGroupResponseMember = {
  memberId: { type: 'string' },
  groupInstanceId: { type: 'string', versions: '5+', nullable: '5+', default: null },
  metadata: { type: 'bytes' },
} as const satisfies StructDefinition
export type JoinGroupResponseMember = StructOf<typeof joinGroupResponseMember>

export const joinGroupResponse = {
  name: 'JoinGroupResponse',
  apiKey: 11,
  versions: '0-9',
  flexible: '6+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '2+' },
    errorCode: { type: 'int16' },
    generationId: { type: 'int32', default: -1 },
    protocolType: { type: 'string', versions: '7+', nullable: '7+', default: null },
    protocolName: { type: 'string', nullable: '7+' },
    leader: { type: 'string' },
    skipAssignment: { type: 'bool', versions: '9+', default: false },
    memberId: { type: 'string' },
    members: { type: 'array', of: joinGroupResponseMember },
  },
} as const satisfies MessageDefinition
export type JoinGroupResponse = MessageOf<typeof joinGroupResponse>
export type JoinGroupResponseDraft = DraftOf<typeof joinGroupResponse>
