/**
 * Deletes groups that have no members, with their offsets.
 *
 * - 2 is flexible.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const deleteGroupsRequest = {
  name: 'DeleteGroupsRequest',
  apiKey: 42,
  versions: '0-2',
  flexible: '2+',
  fields: {
    groupsNames: { type: 'array', of: 'string' },
  },
} as const satisfies MessageDefinition
export type DeleteGroupsRequest = MessageOf<typeof deleteGroupsRequest>
export type DeleteGroupsRequestDraft = DraftOf<typeof deleteGroupsRequest>

export const deletableGroupResult = {
  groupId: { type: 'string' },
  errorCode: { type: 'int16' },
} as const satisfies StructDefinition
export type DeletableGroupResult = StructOf<typeof deletableGroupResult>

export const deleteGroupsResponse = {
  name: 'DeleteGroupsResponse',
  apiKey: 42,
  versions: '0-2',
  flexible: '2+',
  fields: {
    throttleTimeMs: { type: 'int32' },
    results: { type: 'array', of: deletableGroupResult },
  },
} as const satisfies MessageDefinition
export type DeleteGroupsResponse = MessageOf<typeof deleteGroupsResponse>
export type DeleteGroupsResponseDraft = DraftOf<typeof deleteGroupsResponse>
