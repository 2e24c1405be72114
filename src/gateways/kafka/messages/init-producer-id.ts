/**
 * A producer's identity, under which its batches are numbered so that a retry is recognized.
 *
 * - 2 is flexible; 3 lets a producer keep its id and raise its epoch; 4 and 5 allow more errors.
 */
import type { DraftOf, MessageDefinition, MessageOf } from '../message-definition.ts'

export const initProducerIdRequest = {
  name: 'InitProducerIdRequest',
  apiKey: 22,
  versions: '0-5',
  flexible: '2+',
  fields: {
    transactionalId: { type: 'string', nullable: '0+' },
    transactionTimeoutMs: { type: 'int32' },
    producerId: { type: 'int64', versions: '3+', default: -1 },
    producerEpoch: { type: 'int16', versions: '3+', default: -1 },
  },
} as const satisfies MessageDefinition
export type InitProducerIdRequest = MessageOf<typeof initProducerIdRequest>
export type InitProducerIdRequestDraft = DraftOf<typeof initProducerIdRequest>

export const initProducerIdResponse = {
  name: 'InitProducerIdResponse',
  apiKey: 22,
  versions: '0-5',
  flexible: '2+',
  fields: {
    throttleTimeMs: { type: 'int32' },
    errorCode: { type: 'int16' },
    producerId: { type: 'int64', default: -1 },
    producerEpoch: { type: 'int16' },
  },
} as const satisfies MessageDefinition
export type InitProducerIdResponse = MessageOf<typeof initProducerIdResponse>
export type InitProducerIdResponseDraft = DraftOf<typeof initProducerIdResponse>
