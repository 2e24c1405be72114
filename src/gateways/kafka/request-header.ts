/**
 * What stands before every message: the frame's length, then a header that says what the message is.
 *
 *     request   int32 length | int16 api key | int16 version | int32 correlation id | client id | tags when flexible | body
 *     response  int32 length | int32 correlation id | tags when flexible | body
 *
 * Two old decisions shine through. The client id stays a classic nullable string in flexible headers, because a broker must
 * be able to read it before it knows the version. And a response to ApiVersions never has the tagged section, because a
 * client that asks in a version the broker does not have must still be able to read the answer (KIP-511).
 */
import { type AnyApi, apiByKey, apis } from './api-table.ts'
import type { Codec } from './codec.ts'
import type { DraftOf, MessageDefinition, MessageOf } from './message-definition.ts'
import type { Reader, Writer } from './primitives.ts'

/** The half of an `Api` that each direction needs. */
interface RequestSide<Q extends MessageDefinition> {
  readonly apiKey: number
  readonly flexibleFrom: number
  readonly request: Codec<Q>
}

interface ResponseSide<R extends MessageDefinition> {
  readonly apiKey: number
  readonly flexibleFrom: number
  readonly response: Codec<R>
}

export interface RequestHeader {
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number
  readonly clientId: string | null
  /** Undefined for a key that we do not speak. The version is not checked against it yet. */
  readonly api: AnyApi | undefined
}

/**
 * Leaves the reader at the body. Of an unknown API no more than the classic header is read, since nothing tells whether
 * its version is flexible; there is no answer to it anyway.
 */
export function readRequestHeader(reader: Reader): RequestHeader {
  const apiKey = reader.int16()
  const apiVersion = reader.int16()
  const correlationId = reader.int32()
  const clientId = reader.nullableString()
  const api = apiByKey(apiKey)
  if (api !== undefined && apiVersion >= api.flexibleFrom) reader.skipTags()
  return { apiKey, apiVersion, correlationId, clientId, api }
}

/** A whole request frame, for clients. */
export function writeRequest<Q extends MessageDefinition>(
  writer: Writer,
  api: RequestSide<Q>,
  version: number,
  correlationId: number,
  clientId: string | null,
  message: DraftOf<Q>,
): void {
  writer.beginFrame()
  try {
    writer.int16(api.apiKey)
    writer.int16(version)
    writer.int32(correlationId)
    writer.nullableString(clientId)
    if (version >= api.flexibleFrom) writer.int8(0)
    api.request.encode(writer, message, version)
  } catch (error) {
    writer.abandonFrame()
    throw error
  }
  writer.endFrame()
}

/**
 * A whole response frame. When the message cannot be said in the version, the frame is taken back and `EncodeError` is
 * thrown: frames before it stay whole.
 */
export function writeResponse<R extends MessageDefinition>(
  writer: Writer,
  api: ResponseSide<R>,
  version: number,
  correlationId: number,
  message: DraftOf<R>,
): void {
  writer.beginFrame()
  try {
    writer.int32(correlationId)
    if (hasResponseTags(api, version)) writer.int8(0)
    api.response.encode(writer, message, version)
  } catch (error) {
    writer.abandonFrame()
    throw error
  }
  writer.endFrame()
}

/** For clients: the correlation id says to which request, and hence to which API and version, the rest belongs. */
export function readCorrelationId(reader: Reader): number {
  return reader.int32()
}

/** The rest of a response frame, after its correlation id. */
export function readResponse<R extends MessageDefinition>(
  reader: Reader,
  api: ResponseSide<R>,
  version: number,
): MessageOf<R> {
  if (hasResponseTags(api, version)) reader.skipTags()
  return api.response.decode(reader, version)
}

function hasResponseTags(api: { readonly apiKey: number; readonly flexibleFrom: number }, version: number): boolean {
  return version >= api.flexibleFrom && api.apiKey !== apis.apiVersions.apiKey
}
