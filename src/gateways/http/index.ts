/** The HTTP gateway: health, metrics, the cluster as JSON, the page. */
export { HttpError } from './errors.ts'
export { HttpGateway, type HttpOptions, type HttpSources } from './gateway.ts'
export * from './status.ts'
