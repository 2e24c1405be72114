/**
 * What this broker speaks: the first question on nearly every connection.
 *
 * A client asks in the highest version it knows itself. A broker that does not know that version answers in version 0 with
 * UNSUPPORTED_VERSION and the range of ApiVersions alone, and the client asks again (KIP-511).
 *
 * - 1 adds the throttle time (a quota's delay, which we never impose).
 * - 3 is flexible; the client says what software it is, the broker what features it has, in tagged fields.
 * - 4 only fixes the range of those features.
 */
import type { DraftOf, MessageDefinition, MessageOf, StructDefinition, StructOf } from '../message-definition.ts'

export const apiVersionsRequest = {
  name: 'ApiVersionsRequest',
  apiKey: 18,
  versions: '0-4',
  flexible: '3+',
  fields: {
    clientSoftwareName: { type: 'string', versions: '3+' },
    clientSoftwareVersion: { type: 'string', versions: '3+' },
  },
} as const satisfies MessageDefinition
export type ApiVersionsRequest = MessageOf<typeof apiVersionsRequest>
export type ApiVersionsRequestDraft = DraftOf<typeof apiVersionsRequest>

export const apiVersion = {
  apiKey: { type: 'int16' },
  minVersion: { type: 'int16' },
  maxVersion: { type: 'int16' },
} as const satisfies StructDefinition
export type ApiVersion = StructOf<typeof apiVersion>

export const supportedFeatureKey = {
  name: { type: 'string' },
  minVersion: { type: 'int16' },
  maxVersion: { type: 'int16' },
} as const satisfies StructDefinition
export type SupportedFeatureKey = StructOf<typeof supportedFeatureKey>

export const finalizedFeatureKey = {
  name: { type: 'string' },
  maxVersionLevel: { type: 'int16' },
  minVersionLevel: { type: 'int16' },
} as const satisfies StructDefinition
export type FinalizedFeatureKey = StructOf<typeof finalizedFeatureKey>

export const apiVersionsResponse = {
  name: 'ApiVersionsResponse',
  apiKey: 18,
  versions: '0-4',
  flexible: '3+',
  fields: {
    errorCode: { type: 'int16' },
    apiKeys: { type: 'array', of: apiVersion },
    throttleTimeMs: { type: 'int32', versions: '1+' },
    supportedFeatures: { type: 'array', of: supportedFeatureKey, versions: '3+', tag: 0 },
    finalizedFeaturesEpoch: { type: 'int64', versions: '3+', tag: 1, default: -1 },
    finalizedFeatures: { type: 'array', of: finalizedFeatureKey, versions: '3+', tag: 2 },
    zkMigrationReady: { type: 'bool', versions: '3+', tag: 3, default: false },
  },
} as const satisfies MessageDefinition
export type ApiVersionsResponse = MessageOf<typeof apiVersionsResponse>
export type ApiVersionsResponseDraft = DraftOf<typeof apiVersionsResponse>
