/**
 * Members leave a group at once, instead of by silence.
 *
 * - 3 takes many members, each with a result; 4 is flexible; 5 adds a reason.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const memberIdentity = {
  memberId: { type: 'string' },
  groupInstanceId: { type: 'string', nullable: '3+', default: null },
  reason: { type: 'string', versions: '5+', nullable: '5+', default: null },
} as const satisfies StructDefinition
export type MemberIdentity = StructOf<typeof memberIdentity>

export const leaveGroupRequest = {
  name: 'LeaveGroupRequest',
  apiKey: 13,
  versions: '0-5',
  flexible: '4+',
  fields: {
    groupId: { type: 'string' },
    memberId: { type: 'string', versions: '0-2' },
    members: { type: 'array', of: memberIdentity, versions: '3+' },
  },
} as const satisfies MessageDefinition
export type LeaveGroupRequest = MessageOf<typeof leaveGroupRequest>
export type LeaveGroupRequestDraft = DraftOf<typeof leaveGroupRequest>

export const memberResponse = {
  memberId: { type: 'string' },
  groupInstanceId: { type: 'string', nullable: '3+' },
  errorCode: { type: 'int16' },
} as const satisfies StructDefinition
export type MemberResponse = StructOf<typeof memberResponse>

export const leaveGroupResponse = {
  name: 'LeaveGroupResponse',
  apiKey: 13,
  versions: '0-5',
  flexible: '4+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+' },
    errorCode: { type: 'int16' },
    members: { type: 'array', of: memberResponse, versions: '3+' },
  },
} as const satisfies MessageDefinition
export type LeaveGroupResponse = MessageOf<typeof leaveGroupResponse>
export type LeaveGroupResponseDraft = DraftOf<typeof leaveGroupResponse>
