/**
 * Which broker coordinates a consumer group (key type 0) or a transactional id (1).
 *
 * - 1 adds the key's type and an error message; 3 is flexible; 4 asks for many keys at once and gets a list.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const findCoordinatorRequest = {
  name: 'FindCoordinatorRequest',
  apiKey: 10,
  versions: '0-5',
  flexible: '3+',
  fields: {
    key: { type: 'string', versions: '0-3' },
    keyType: { type: 'int8', versions: '1+', default: 0 },
    coordinatorKeys: { type: 'array', of: 'string', versions: '4+' },
  },
} as const satisfies MessageDefinition
export type FindCoordinatorRequest = MessageOf<typeof findCoordinatorRequest>
export type FindCoordinatorRequestDraft = DraftOf<typeof findCoordinatorRequest>

export const coordinator = {
  key: { type: 'string' },
  nodeId: { type: 'int32' },
  host: { type: 'string' },
  port: { type: 'int32' },
  errorCode: { type: 'int16' },
  errorMessage: { type: 'string', nullable: '4+' },
} as const satisfies StructDefinition
export type Coordinator = StructOf<typeof coordinator>

export const findCoordinatorResponse = {
  name: 'FindCoordinatorResponse',
  apiKey: 10,
  versions: '0-5',
  flexible: '3+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+' },
    errorCode: { type: 'int16', versions: '0-3' },
    errorMessage: { type: 'string', versions: '1-3', nullable: '1-3' },
    nodeId: { type: 'int32', versions: '0-3' },
    host: { type: 'string', versions: '0-3' },
    port: { type: 'int32', versions: '0-3' },
    coordinators: { type: 'array', of: coordinator, versions: '4+' },
  },
} as const satisfies MessageDefinition
export type FindCoordinatorResponse = MessageOf<typeof findCoordinatorResponse>
export type FindCoordinatorResponseDraft = DraftOf<typeof findCoordinatorResponse>
