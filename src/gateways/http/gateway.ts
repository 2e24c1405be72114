/**
 * What people and their scripts look at: health, metrics, the cluster as JSON, and one live page.
 *
 * None of it is on the path of a record, so it uses a library for HTTP, promises, and JSON. It only reads: whatever changes
 * the cluster goes through the Kafka protocol. Everything it says comes from functions handed in by the composition root.
 *
 * The port is bound at the start, the library and the page come when somebody asks, or a little later: a node that is wanted for
 * its first write should not load them before.
 */
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Context, Hono } from 'hono'
import type { Address } from '../../platform/index.ts'
import { HttpError } from './errors.ts'
import { openApi } from './open-api.ts'
import { type PageFile, readPage } from './page-files.ts'
import type { ClusterStatus, NodeStatus } from './status.ts'

export interface HttpOptions {
  readonly listen: Address
  /** Where index.html and its companions are. */
  readonly dashboardDirectory: string
}

export interface HttpSources {
  readonly nodeStatus: () => NodeStatus
  /** Asks the other nodes; those that do not answer in time are shown as such. */
  readonly clusterStatus: () => Promise<ClusterStatus>
  /** Prometheus' text format, with its content type. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>
}

/**
 * The page draws names that clients chose; whatever they contain, nothing but its own files may run. It may ask other nodes
 * of its cluster when its own has gone.
 */
const PAGE_HEADERS = {
  'cache-control': 'no-cache',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' http: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
}

export class HttpGateway {
  readonly #options: HttpOptions
  readonly #sources: HttpSources
  #server: Server | null = null
  #address: Address | null = null
  #answer: Promise<RequestListener> | null = null
  #page: Promise<ReadonlyMap<string, PageFile>> | null = null

  constructor(options: HttpOptions, sources: HttpSources) {
    this.#options = options
    this.#sources = sources
  }

  get address(): Address | null {
    return this.#address
  }

  start(): Promise<Address> {
    const { host, port } = this.#options.listen
    return new Promise((resolve, reject) => {
      const server = createServer((request, response) => {
        this.#answer ??= this.#listener()
        this.#answer.then(
          (answer) => answer(request, response),
          // The package's files are gone or damaged: no reason to end a node that serves.
          (error: Error) => response.writeHead(500).end(`${error.message}\n`),
        )
      })
      server.listen(port, host, () => {
        this.#address = { host, port: (server.address() as AddressInfo).port }
        resolve(this.#address)
      })
      this.#server = server
      // For good, not once: a later error (no file descriptor left for a connection) must not end the node.
      server.on('error', (error: NodeJS.ErrnoException) => {
        if (this.#address !== null) return
        this.#server = null
        if (error.code === 'EADDRINUSE') {
          reject(
            new HttpError(
              { code: 'ADDRESS_IN_USE', host, port },
              `--http ${host}:${port}: the port is in use; stop the other program or choose another port`,
            ),
          )
        } else reject(new HttpError({ code: 'LISTEN_FAILED', host, port }, `--http ${host}:${port}: ${error.message}`))
      })
    })
  }

  /** Reads the page's files, if nobody has asked for it yet: later, the disk may hang. */
  readPage(): Promise<ReadonlyMap<string, PageFile>> {
    this.#page ??= readPage(this.#options.dashboardDirectory)
    return this.#page
  }

  stop(): Promise<void> {
    const server = this.#server
    this.#server = null
    if (server === null) return Promise.resolve()
    return new Promise((resolve) => {
      server.close(() => resolve())
      // Open pages poll over connections that are kept alive; they must not keep the node from ending.
      server.closeAllConnections()
    })
  }

  /** The paths that are answered, with `:name` for what varies. */
  async routes(): Promise<string[]> {
    return (await this.#routes()).routes.map(({ path }) => path)
  }

  async #listener(): Promise<RequestListener> {
    const [{ getRequestListener }, app] = await Promise.all([import('@hono/node-server'), this.#routes()])
    return getRequestListener(app.fetch, { overrideGlobalObjects: false })
  }

  async #routes(): Promise<Hono> {
    const app = new (await import('hono')).Hono()
    app.get('/health/live', (c) => c.text('live\n'))
    app.get('/health/ready', (c) => {
      const { ready, waitingFor } = this.#sources.nodeStatus()
      return ready ? c.text('ready\n') : c.text(`${waitingFor ?? 'not ready'}\n`, 503)
    })
    app.get('/metrics', async (c) => {
      const { contentType, text } = await this.#sources.metrics()
      return c.body(text, 200, { 'content-type': contentType })
    })
    app.get('/api/node', (c) => c.json(this.#sources.nodeStatus()))
    app.get('/api/cluster', async (c) => {
      const status = await this.#sources.clusterStatus()
      const origin = c.req.header('origin')
      if (origin !== undefined) {
        c.header('vary', 'origin')
        if (isNeighbour(origin, status)) c.header('access-control-allow-origin', origin)
      }
      return c.json(status)
    })
    app.get('/api/openapi.json', (c) => c.json(openApi))
    app.get('/', (c) => this.#file(c, 'index.html'))
    app.get('/dashboard/:file', (c) => this.#file(c, c.req.param('file')))
    app.notFound((c) => c.json({ error: 'NOT_FOUND', message: `nothing at ${c.req.path}; see /api/openapi.json` }, 404))
    app.onError((error, c) => c.json({ error: 'INTERNAL', message: error.message }, 500))
    return app
  }

  async #file(c: Context, name: string): Promise<Response> {
    const file = (await this.readPage()).get(name)
    if (file !== undefined) return c.body(file.body, 200, { ...PAGE_HEADERS, 'content-type': file.contentType })
    return c.json({ error: 'NOT_FOUND', message: `the page has no file ${name}, or it was not installed` }, 404)
  }
}

/**
 * A page that lost its node goes on through another one, which its browser sees as a foreign origin. Pages of this cluster's
 * own nodes may read the answer; any other page that the person happens to have open may not.
 */
function isNeighbour(origin: string, status: ClusterStatus): boolean {
  if (!URL.canParse(origin)) return false
  const { host } = new URL(origin)
  return status.nodes.some(({ http }) => http !== null && sameHost(host, http))
}

/** A browser says localhost where a node says 127.0.0.1. */
function sameHost(a: string, b: string): boolean {
  const plain = (host: string): string =>
    host.toLowerCase().replace(/^(?:localhost|127\.0\.0\.1|\[::1\])(?=:|$)/, 'loopback')
  return plain(a) === plain(b)
}
