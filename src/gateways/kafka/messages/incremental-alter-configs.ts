/**
 * Changes some settings of topics, and leaves the others as they are.
 *
 * - 1 is flexible.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const incrementalAlterConfigsEntry = {
  name: { type: 'string' },
  /** 0 set, 1 delete, 2 append to a list, 3 subtract from it. */
  configOperation: { type: 'int8' },
  value: { type: 'string', nullable: '0+' },
} as const satisfies StructDefinition
export type IncrementalAlterConfigsEntry = StructOf<typeof incrementalAlterConfigsEntry>

export const incrementalAlterConfigsResource = {
  resourceType: { type: 'int8' },
  resourceName: { type: 'string' },
  configs: { type: 'array', of: incrementalAlterConfigsEntry },
} as const satisfies StructDefinition
export type IncrementalAlterConfigsResource = StructOf<typeof incrementalAlterConfigsResource>

export const incrementalAlterConfigsRequest = {
  name: 'IncrementalAlterConfigsRequest',
  apiKey: 44,
  versions: '0-1',
  flexible: '1+',
  fields: {
    resources: { type: 'array', of: incrementalAlterConfigsResource },
    validateOnly: { type: 'bool' },
  },
} as const satisfies MessageDefinition
export type IncrementalAlterConfigsRequest = MessageOf<typeof incrementalAlterConfigsRequest>
export type IncrementalAlterConfigsRequestDraft = DraftOf<typeof incrementalAlterConfigsRequest>

export const incrementalAlterConfigsResult = {
  errorCode: { type: 'int16' },
  errorMessage: { type: 'string', nullable: '0+' },
  resourceType: { type: 'int8' },
  resourceName: { type: 'string' },
} as const satisfies StructDefinition
export type IncrementalAlterConfigsResult = StructOf<typeof incrementalAlterConfigsResult>

export const incrementalAlterConfigsResponse = {
  name: 'IncrementalAlterConfigsResponse',
  apiKey: 44,
  versions: '0-1',
  flexible: '1+',
  fields: {
    throttleTimeMs: { type: 'int32' },
    responses: { type: 'array', of: incrementalAlterConfigsResult },
  },
} as const satisfies MessageDefinition
export type IncrementalAlterConfigsResponse = MessageOf<typeof incrementalAlterConfigsResponse>
export type IncrementalAlterConfigsResponseDraft = DraftOf<typeof incrementalAlterConfigsResponse>
