/**
 * Replaces the settings of topics: what is not named goes back to its default.
 *
 * - 2 is flexible; versions do not differ otherwise.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const alterConfigsEntry = {
  name: { type: 'string' },
  value: { type: 'string', nullable: '0+' },
} as const satisfies StructDefinition
export type AlterConfigsEntry = StructOf<typeof alterConfigsEntry>

export const alterConfigsResource = {
  resourceType: { type: 'int8' },
  resourceName: { type: 'string' },
  configs: { type: 'array', of: alterConfigsEntry },
} as const satisfies StructDefinition
export type AlterConfigsResource = StructOf<typeof alterConfigsResource>

export const alterConfigsRequest = {
  name: 'AlterConfigsRequest',
  apiKey: 33,
  versions: '0-2',
  flexible: '2+',
  fields: {
    resources: { type: 'array', of: alterConfigsResource },
    validateOnly: { type: 'bool' },
  },
} as const satisfies MessageDefinition
export type AlterConfigsRequest = MessageOf<typeof alterConfigsRequest>
export type AlterConfigsRequestDraft = DraftOf<typeof alterConfigsRequest>

export const alterConfigsResult = {
  errorCode: { type: 'int16' },
  errorMessage: { type: 'string', nullable: '0+' },
  resourceType: { type: 'int8' },
  resourceName: { type: 'string' },
} as const satisfies StructDefinition
export type AlterConfigsResult = StructOf<typeof alterConfigsResult>

export const alterConfigsResponse = {
  name: 'AlterConfigsResponse',
  apiKey: 33,
  versions: '0-2',
  flexible: '2+',
  fields: {
    throttleTimeMs: { type: 'int32' },
    responses: { type: 'array', of: alterConfigsResult },
  },
} as const satisfies MessageDefinition
export type AlterConfigsResponse = MessageOf<typeof alterConfigsResponse>
export type AlterConfigsResponseDraft = DraftOf<typeof alterConfigsResponse>
