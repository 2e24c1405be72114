/**
 * The leader's assignment into the group, each member's part out of it.
 *
 * - 3 adds static members; 4 is flexible; 5 repeats the protocol's type and name, so that a mix-up is found.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const syncGroupRequestAssignment = {
  memberId: { type: 'string' },
  assignment: { type: 'bytes' },
} as const satisfies StructDefinition
export type SyncGroupRequestAssignment = StructOf<typeof syncGroupRequestAssignment>

export const syncGroupRequest = {
  name: 'SyncGroupRequest',
  apiKey: 14,
  versions: '0-5',
  flexible: '4+',
  fields: {
    groupId: { type: 'string' },
    generationId: { type: 'int32' },
    memberId: { type: 'string' },
    groupInstanceId: { type: 'string', versions: '3+', nullable: '3+', default: null },
    protocolType: { type: 'string', versions: '5+', nullable: '5+', default: null },
    protocolName: { type: 'string', versions: '5+', nullable: '5+', default: null },
    assignments: { type: 'array', of: syncGroupRequestAssignment },
  },
} as const satisfies MessageDefinition
export type SyncGroupRequest = MessageOf<typeof syncGroupRequest>
export type SyncGroupRequestDraft = DraftOf<typeof syncGroupRequest>

export const syncGroupResponse = {
  name: 'SyncGroupResponse',
  apiKey: 14,
  versions: '0-5',
  flexible: '4+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+' },
    errorCode: { type: 'int16' },
    protocolType: { type: 'string', versions: '5+', nullable: '5+', default: null },
    protocolName: { type: 'string', versions: '5+', nullable: '5+', default: null },
    assignment: { type: 'bytes' },
  },
} as const satisfies MessageDefinition
export type SyncGroupResponse = MessageOf<typeof syncGroupResponse>
export type SyncGroupResponseDraft = DraftOf<typeof syncGroupResponse>
