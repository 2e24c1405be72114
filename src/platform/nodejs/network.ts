/** TCP by way of `node:net`. The streams of one turn's bytes are in `connection.ts`. */
import { connect, createServer, type Socket } from 'node:net'
import { connectError, listenError } from '../errno.ts'
import type { PlatformError } from '../errors.ts'
import type { Address, Connection, Listener, Network } from '../network.ts'
import { NodeConnection } from './connection.ts'
import type { Turn } from './turn.ts'

export interface NodeNetworkOptions {
  /** Above this many queued bytes `write` answers false. */
  readonly highWaterBytes?: number
  /** A connection attempt that got no answer is given up: silence can last minutes in the kernel. */
  readonly connectTimeoutMs?: number
}

const WILDCARDS = new Set(['', '*', '0.0.0.0', '::', '[::]'])

/** The first probe of an idle connection: finds clients that vanished without a word. */
const KEEP_ALIVE_DELAY_MS = 60_000

export class NodeNetwork implements Network {
  readonly #turn: Turn
  readonly #highWaterBytes: number
  readonly #connectTimeoutMs: number

  constructor(options: NodeNetworkOptions, turn: Turn) {
    this.#turn = turn
    this.#highWaterBytes = options.highWaterBytes ?? 1024 * 1024
    this.#connectTimeoutMs = options.connectTimeoutMs ?? 5000
  }

  listen(
    at: Address,
    onConnection: (connection: Connection) => void,
    done: (error: PlatformError | null, listener?: Listener) => void,
  ): void {
    const server = createServer({
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
    })
    let listening = false
    server.on('error', (error) => {
      if (!listening) done(listenError(at.host, at.port, error))
      // Afterwards: one connection could not be accepted (descriptors ran out). The others go on.
    })
    server.on('connection', (socket) => onConnection(this.#wrap(socket)))
    server.on('listening', () => {
      listening = true
      const bound = server.address()
      const port = bound !== null && typeof bound === 'object' ? bound.port : at.port
      done(null, {
        address: { host: at.host, port },
        close: (closed) => {
          // The port is free at once; Node.js' own callback would wait for the established connections.
          server.close()
          setImmediate(closed)
        },
      })
    })
    try {
      // Without a host Node.js listens on `::` for both families, or on 0.0.0.0 where there is no IPv6.
      if (WILDCARDS.has(at.host)) server.listen({ port: at.port, exclusive: true })
      else server.listen({ host: at.host, port: at.port, exclusive: true })
    } catch (error) {
      setImmediate(done, listenError(at.host, at.port, error as Error))
    }
  }

  connect(to: Address, done: (error: PlatformError | null, connection?: Connection) => void): void {
    let socket: Socket
    try {
      socket = connect({
        host: to.host,
        port: to.port,
        allowHalfOpen: true,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
      })
    } catch (error) {
      return void setImmediate(done, connectError(to.host, to.port, error as Error))
    }
    const timeout = setTimeout(() => {
      socket.destroy(Object.assign(new Error(`no answer in ${this.#connectTimeoutMs} ms`), { code: 'ETIMEDOUT' }))
    }, this.#connectTimeoutMs)
    const failed = (error: Error): void => {
      clearTimeout(timeout)
      done(connectError(to.host, to.port, error))
    }
    socket.once('error', failed)
    socket.once('connect', () => {
      clearTimeout(timeout)
      // The connection listens for errors from here on, before the only other listener goes.
      const connection = this.#wrap(socket)
      socket.off('error', failed)
      done(null, connection)
    })
  }

  #wrap(socket: Socket): NodeConnection {
    return new NodeConnection({ highWaterBytes: this.#highWaterBytes }, { socket, turn: this.#turn })
  }
}
