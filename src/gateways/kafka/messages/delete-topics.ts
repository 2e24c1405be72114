/**
 * Deletes topics, each with a result of its own.
 *
 * - 4 is flexible; 5 adds error messages; 6 names topics by name or by id, in a list of another shape.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const deleteTopicState = {
  name: { type: 'string', nullable: '6+', default: null },
  topicId: { type: 'uuid' },
} as const satisfies StructDefinition
export type DeleteTopicState = StructOf<typeof deleteTopicState>

export const deleteTopicsRequest = {
  name: 'DeleteTopicsRequest',
  apiKey: 20,
  versions: '0-6',
  flexible: '4+',
  fields: {
    topics: { type: 'array', of: deleteTopicState, versions: '6+' },
    topicNames: { type: 'array', of: 'string', versions: '0-5' },
    timeoutMs: { type: 'int32' },
  },
} as const satisfies MessageDefinition
export type DeleteTopicsRequest = MessageOf<typeof deleteTopicsRequest>
export type DeleteTopicsRequestDraft = DraftOf<typeof deleteTopicsRequest>

export const deletableTopicResult = {
  name: { type: 'string', nullable: '6+' },
  topicId: { type: 'uuid', versions: '6+' },
  errorCode: { type: 'int16' },
  errorMessage: { type: 'string', versions: '5+', nullable: '5+', default: null },
} as const satisfies StructDefinition
export type DeletableTopicResult = StructOf<typeof deletableTopicResult>

export const deleteTopicsResponse = {
  name: 'DeleteTopicsResponse',
  apiKey: 20,
  versions: '0-6',
  flexible: '4+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+' },
    responses: { type: 'array', of: deletableTopicResult },
  },
} as const satisfies MessageDefinition
export type DeleteTopicsResponse = MessageOf<typeof deleteTopicsResponse>
export type DeleteTopicsResponseDraft = DraftOf<typeof deleteTopicsResponse>
