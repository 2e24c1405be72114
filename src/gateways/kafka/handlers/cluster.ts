/** ApiVersions, DescribeCluster, InitProducerId: what this broker speaks, who belongs to it, and who a producer is. */
import { KafkaError } from '../../../streams/index.ts'
import { advertisedApis, type apis } from '../api-table.ts'
import type { ApiVersionsRequest } from '../messages/api-versions.ts'
import type { DescribeClusterRequest } from '../messages/describe-cluster.ts'
import type { InitProducerIdRequest } from '../messages/init-producer-id.ts'
import { type ExchangeOf, endpoint, type HandlerContext } from './context.ts'

const SOFTWARE = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/
const BROKER_ENDPOINTS = 1

export function apiVersions(
  _context: HandlerContext,
  exchange: ExchangeOf<typeof apis.apiVersions>,
  request: ApiVersionsRequest,
): void {
  const { clientSoftwareName, clientSoftwareVersion } = request
  const named = exchange.apiVersion < 3 || (SOFTWARE.test(clientSoftwareName) && SOFTWARE.test(clientSoftwareVersion))
  exchange.respond(
    named
      ? { errorCode: KafkaError.NONE, apiKeys: advertisedApis() }
      : { errorCode: KafkaError.INVALID_REQUEST, apiKeys: [] },
  )
}

export function describeCluster(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.describeCluster>,
  request: DescribeClusterRequest,
): void {
  const { cluster } = context
  const { endpointType } = request
  if (endpointType !== BROKER_ENDPOINTS) {
    const errorMessage = `endpoint type ${endpointType} is not offered: every node is broker and controller alike, ask for type ${BROKER_ENDPOINTS}`
    return exchange.respond({
      throttleTimeMs: 0,
      errorCode: KafkaError.INVALID_REQUEST,
      errorMessage,
      endpointType,
      clusterId: '',
      brokers: [],
    })
  }
  exchange.respond({
    throttleTimeMs: 0,
    errorCode: KafkaError.NONE,
    clusterId: cluster.clusterId ?? '',
    controllerId: cluster.controller() ?? cluster.nodeId,
    brokers: cluster
      .nodes()
      .filter((node) => node.up)
      .map((node) => {
        const { nodeId: brokerId, host, port, rack } = endpoint(node)
        return { brokerId, host, port, rack }
      }),
  })
}

/**
 * A producer without a transactional id gets an id that nobody else has, from any node. What it says of timeouts, of an earlier
 * id or epoch means nothing then, and clients put all sorts of things there: it is not looked at.
 */
export function initProducerId(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.initProducerId>,
  request: InitProducerIdRequest,
): void {
  if (request.transactionalId !== null) {
    return exchange.respond({
      throttleTimeMs: 0,
      errorCode: KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
      producerId: -1,
      producerEpoch: -1,
    })
  }
  context.cluster.allocateProducerIds(1, (error, producerId) => {
    if (error === null)
      exchange.respond({ throttleTimeMs: 0, errorCode: KafkaError.NONE, producerId, producerEpoch: 0 })
    else
      exchange.respond({
        throttleTimeMs: 0,
        errorCode: KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        producerId: -1,
        producerEpoch: -1,
      })
  })
}
