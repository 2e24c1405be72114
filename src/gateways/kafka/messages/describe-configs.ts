/**
 * The settings of topics and brokers, with where each value comes from.
 *
 * - 0 told only whether a value is the default: the only version with `isDefault`.
 * - 1 adds the source of a value and the sources it shadows; 3 types and documentation; 4 is flexible.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const describeConfigsResource = {
  resourceType: { type: 'int8' },
  resourceName: { type: 'string' },
  configurationKeys: { type: 'array', of: 'string', nullable: '0+' },
} as const satisfies StructDefinition
export type DescribeConfigsResource = StructOf<typeof describeConfigsResource>

export const describeConfigsRequest = {
  name: 'DescribeConfigsRequest',
  apiKey: 32,
  versions: '0-4',
  flexible: '4+',
  fields: {
    resources: { type: 'array', of: describeConfigsResource },
    includeSynonyms: { type: 'bool', versions: '1+', default: false },
    includeDocumentation: { type: 'bool', versions: '3+', default: false },
  },
} as const satisfies MessageDefinition
export type DescribeConfigsRequest = MessageOf<typeof describeConfigsRequest>
export type DescribeConfigsRequestDraft = DraftOf<typeof describeConfigsRequest>

export const describeConfigsSynonym = {
  name: { type: 'string' },
  value: { type: 'string', nullable: '0+' },
  source: { type: 'int8' },
} as const satisfies StructDefinition
export type DescribeConfigsSynonym = StructOf<typeof describeConfigsSynonym>

export const describeConfigsResourceResult = {
  name: { type: 'string' },
  value: { type: 'string', nullable: '0+' },
  readOnly: { type: 'bool' },
  isDefault: { type: 'bool', versions: '0' },
  configSource: { type: 'int8', versions: '1+', default: -1 },
  isSensitive: { type: 'bool' },
  synonyms: { type: 'array', of: describeConfigsSynonym, versions: '1+' },
  configType: { type: 'int8', versions: '3+', default: 0 },
  documentation: { type: 'string', versions: '3+', nullable: '0+' },
} as const satisfies StructDefinition
export type DescribeConfigsResourceResult = StructOf<typeof describeConfigsResourceResult>

export const describeConfigsResult = {
  errorCode: { type: 'int16' },
  errorMessage: { type: 'string', nullable: '0+' },
  resourceType: { type: 'int8' },
  resourceName: { type: 'string' },
  configs: { type: 'array', of: describeConfigsResourceResult },
} as const satisfies StructDefinition
export type DescribeConfigsResult = StructOf<typeof describeConfigsResult>

export const describeConfigsResponse = {
  name: 'DescribeConfigsResponse',
  apiKey: 32,
  versions: '0-4',
  flexible: '4+',
  fields: {
    throttleTimeMs: { type: 'int32' },
    results: { type: 'array', of: describeConfigsResult },
  },
} as const satisfies MessageDefinition
export type DescribeConfigsResponse = MessageOf<typeof describeConfigsResponse>
export type DescribeConfigsResponseDraft = DraftOf<typeof describeConfigsResponse>
