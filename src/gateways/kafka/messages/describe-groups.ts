/**
 * Members and assignments of groups, for people.
 *
 * - 3 adds the authorized operations; 4 static members; 5 is flexible.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const describeGroupsRequest = {
  name: 'DescribeGroupsRequest',
  apiKey: 15,
  versions: '0-5',
  flexible: '5+',
  fields: {
    groups: { type: 'array', of: 'string' },
    includeAuthorizedOperations: { type: 'bool', versions: '3+' },
  },
} as const satisfies MessageDefinition
export type DescribeGroupsRequest = MessageOf<typeof describeGroupsRequest>
export type DescribeGroupsRequestDraft = DraftOf<typeof describeGroupsRequest>

export const describedGroupMember = {
  memberId: { type: 'string' },
  groupInstanceId: { type: 'string', versions: '4+', nullable: '4+', default: null },
  clientId: { type: 'string' },
  clientHost: { type: 'string' },
  memberMetadata: { type: 'bytes' },
  memberAssignment: { type: 'bytes' },
} as const satisfies StructDefinition
export type DescribedGroupMember = StructOf<typeof describedGroupMember>

export const describedGroup = {
  errorCode: { type: 'int16' },
  groupId: { type: 'string' },
  groupState: { type: 'string' },
  protocolType: { type: 'string' },
  protocolData: { type: 'string' },
  members: { type: 'array', of: describedGroupMember },
  authorizedOperations: { type: 'int32', versions: '3+', default: -2147483648 },
} as const satisfies StructDefinition
export type DescribedGroup = StructOf<typeof describedGroup>

export const describeGroupsResponse = {
  name: 'DescribeGroupsResponse',
  apiKey: 15,
  versions: '0-5',
  flexible: '5+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+' },
    groups: { type: 'array', of: describedGroup },
  },
} as const satisfies MessageDefinition
export type DescribeGroupsResponse = MessageOf<typeof describeGroupsResponse>
export type DescribeGroupsResponseDraft = DraftOf<typeof describeGroupsResponse>
