/**
 * What Kafka clients speak to: a listener, its connections, and the handlers behind them.
 *
 * Answers that become ready in a turn are sent at its end, all of a connection in one write. The driver calls `flush` right
 * after it has applied what a turn committed, so acknowledgements leave in that very turn.
 */
import type { Cluster } from '../../cluster/index.ts'
import type { Address, Clock, Connection, Listener, Network, PlatformError } from '../../platform/index.ts'
import type { GroupCoordinators, Partition, Streams } from '../../streams/index.ts'
import { type ApiName, apis } from './api-table.ts'
import { KafkaConnection } from './connection.ts'
import type { KafkaEvent } from './events.ts'
import type { Exchange } from './exchange.ts'
import { HANDLERS, type HandlerContext } from './handlers/index.ts'
import type { MessageDefinition, MessageOf } from './message-definition.ts'

export interface GatewayOptions {
  readonly listen: Address
  readonly requestBytesMax: number
  readonly inFlightMax: number
  readonly defaultPartitions: number
  readonly metadataPatienceMs: number
}

export const GATEWAY_DEFAULTS: Omit<GatewayOptions, 'listen'> = {
  requestBytesMax: 100 << 20,
  inFlightMax: 4096,
  defaultPartitions: 4,
  metadataPatienceMs: 1000,
}

export interface GatewayCollaborators {
  readonly network: Network
  readonly clock: Clock
  /** Rare things that clients must bear anyway; see `Random`. */
  readonly chance: (site: string) => boolean
  readonly cluster: Cluster
  readonly streams: Streams
  readonly groups: GroupCoordinators
  readonly trace: (event: KafkaEvent) => void
}

export class KafkaGateway {
  readonly #options: GatewayOptions
  readonly #with: GatewayCollaborators
  readonly #context: HandlerContext
  readonly #handlers: readonly ((typeof HANDLERS)[ApiName] | undefined)[]
  readonly #connections = new Set<KafkaConnection>()
  #toFlush: KafkaConnection[] = []
  #flushPlanned = false
  /** The partition that the request in progress has filled. */
  #full: Partition | null = null
  #listener: Listener | null = null

  constructor(options: GatewayOptions, collaborators: GatewayCollaborators) {
    this.#options = options
    this.#with = collaborators
    const { cluster, streams, groups, clock, chance, trace } = collaborators
    this.#context = {
      cluster,
      streams,
      groups,
      clock,
      chance,
      trace,
      defaultPartitions: options.defaultPartitions,
      metadataPatienceMs: options.metadataPatienceMs,
      pushBack: (partition) => {
        this.#full = partition
      },
    }
    const handlers: ((typeof HANDLERS)[ApiName] | undefined)[] = []
    for (const name of Object.keys(HANDLERS) as ApiName[]) handlers[apis[name].apiKey] = HANDLERS[name]
    this.#handlers = Array.from(handlers)
  }

  get address(): Address | null {
    return this.#listener?.address ?? null
  }

  start(done: (error: PlatformError | null, address?: Address) => void): void {
    const accept = (connection: Connection): void => this.#accept(connection)
    this.#with.network.listen(this.#options.listen, accept, (error, listener) => {
      if (error !== null || listener === undefined) return done(error)
      this.#listener = listener
      this.#with.trace({ type: 'listening', host: listener.address.host, port: listener.address.port })
      done(null, listener.address)
    })
  }

  stop(done: () => void): void {
    const listener = this.#listener
    this.#listener = null
    for (const connection of [...this.#connections]) connection.close('the node stops')
    if (listener === null) this.#with.clock.endOfTurn(done)
    else listener.close(done)
  }

  #accept(connection: Connection): void {
    const client: KafkaConnection = new KafkaConnection(
      { requestBytesMax: this.#options.requestBytesMax, inFlightMax: this.#options.inFlightMax },
      {
        connection,
        clock: this.#with.clock,
        chance: this.#with.chance,
        trace: this.#with.trace,
        handle: (exchange, request) => this.#handle(exchange, request),
        hasRoom: () => this.#full === null,
        onRoom: (callback) => this.#onRoom(callback),
        scheduleFlush: this.#scheduleFlush,
        closed: (closed) => this.#connections.delete(closed),
      },
    )
    connection.handler = client
    this.#connections.add(client)
    this.#with.trace({ type: 'connected', remote: client.remote })
  }

  #handle(exchange: Exchange, request: MessageOf<MessageDefinition>): void {
    this.#full = null
    this.#handlers[exchange.api.apiKey]!(this.#context, exchange, request as never)
  }

  #onRoom(callback: () => void): void {
    const full = this.#full
    this.#full = null
    full?.shard.onRoom(callback)
  }

  readonly #scheduleFlush = (connection: KafkaConnection): void => {
    this.#toFlush.push(connection)
    if (this.#flushPlanned) return
    this.#flushPlanned = true
    this.#with.clock.endOfTurn(this.flush)
  }

  /** Sends every answer that is due. */
  readonly flush = (): void => {
    this.#flushPlanned = false
    if (this.#toFlush.length === 0) return
    const connections = this.#toFlush
    this.#toFlush = []
    for (const connection of connections) connection.flush()
  }
}
