/**
 * A member is alive; the answer tells it when it has to join again.
 *
 * - 3 adds static members; 4 is flexible.
 */
import type { DraftOf, MessageDefinition, MessageOf } from '../message-definition.ts'

export const heartbeatRequest = {
  name: 'HeartbeatRequest',
  apiKey: 12,
  versions: '0-4',
  flexible: '4+',
  fields: {
    groupId: { type: 'string' },
    generationId: { type: 'int32' },
    memberId: { type: 'string' },
    groupInstanceId: { type: 'string', versions: '3+', nullable: '3+', default: null },
  },
} as const satisfies MessageDefinition
export type HeartbeatRequest = MessageOf<typeof heartbeatRequest>
export type HeartbeatRequestDraft = DraftOf<typeof heartbeatRequest>

export const heartbeatResponse = {
  name: 'HeartbeatResponse',
  apiKey: 12,
  versions: '0-4',
  flexible: '4+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+' },
    errorCode: { type: 'int16' },
  },
} as const satisfies MessageDefinition
export type HeartbeatResponse = MessageOf<typeof heartbeatResponse>
export type HeartbeatResponseDraft = DraftOf<typeof heartbeatResponse>
