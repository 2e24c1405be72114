/**
 * The groups this broker coordinates.
 *
 * - 3 is flexible; 4 filters by state and tells it; 5 filters by type and tells it.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const listGroupsRequest = {
  name: 'ListGroupsRequest',
  apiKey: 16,
  versions: '0-5',
  flexible: '3+',
  fields: {
    statesFilter: { type: 'array', of: 'string', versions: '4+' },
    typesFilter: { type: 'array', of: 'string', versions: '5+' },
  },
} as const satisfies MessageDefinition
export type ListGroupsRequest = MessageOf<typeof listGroupsRequest>
export type ListGroupsRequestDraft = DraftOf<typeof listGroupsRequest>

export const listedGroup = {
  groupId: { type: 'string' },
  protocolType: { type: 'string' },
  groupState: { type: 'string', versions: '4+' },
  groupType: { type: 'string', versions: '5+' },
} as const satisfies StructDefinition
export type ListedGroup = StructOf<typeof listedGroup>

export const listGroupsResponse = {
  name: 'ListGroupsResponse',
  apiKey: 16,
  versions: '0-5',
  flexible: '3+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+' },
    errorCode: { type: 'int16' },
    groups: { type: 'array', of: listedGroup },
  },
} as const satisfies MessageDefinition
export type ListGroupsResponse = MessageOf<typeof listGroupsResponse>
export type ListGroupsResponseDraft = DraftOf<typeof listGroupsResponse>
