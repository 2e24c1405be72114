/**
 * A Kafka client without promises, for workloads in virtual time: requests out, one answer or one failure back.
 *
 * It is plain on purpose. It knows no retries and keeps no records: who asked decides what an error means, because what a
 * workload may conclude from silence is exactly what is being tested. A request without an answer in time takes its connection
 * with it, as in the clients that people use, so a late answer can never be taken for another one's.
 */

import type { DraftOf, MessageOf } from '../src/gateways/kafka/index.ts'
import {
  type Api,
  apis,
  FrameReader,
  type MessageDefinition,
  Reader,
  readCorrelationId,
  readResponse,
  Writer,
  writeRequest,
} from '../src/gateways/kafka/index.ts'
import type { Address, Clock, Connection, Network, Timer } from '../src/platform/index.ts'
import { must } from '../src/stdx/index.ts'

export type RequestFailure = 'unreachable' | 'connection-lost' | 'timeout'

interface Expectation {
  readonly timeoutMs: number
  readonly answered: (frame: Reader) => void
  readonly failed: (failure: RequestFailure) => void
}

interface Waiting extends Expectation {
  readonly timer: Timer
}

const FRAME_BYTES_MAX = 64 << 20
const METADATA_VERSION = 12
const METADATA_TIMEOUT_MS = 3000

export interface KafkaClientOptions {
  readonly clientId: string
  readonly bootstrap: readonly Address[]
}

export interface KafkaClientCollaborators {
  readonly network: Network
  readonly clock: Clock
  /** Which bootstrap address next. */
  readonly pick: (bound: number) => number
}

export class KafkaClient {
  readonly #options: KafkaClientOptions
  readonly #with: KafkaClientCollaborators
  readonly #links = new Map<string, Link>()
  readonly #brokers = new Map<number, Address>()
  /** By `topic/partition`. */
  readonly #leaders = new Map<string, { readonly node: number; readonly epoch: number }>()
  #asking: (() => void)[] | null = null
  #connections = 0

  constructor(options: KafkaClientOptions, collaborators: KafkaClientCollaborators) {
    this.#options = options
    this.#with = collaborators
  }

  /** The leader's address, as far as is known. */
  leaderOf(topic: string, partition: number): Address | null {
    const leader = this.#leaders.get(`${topic}/${partition}`)
    return leader === undefined ? null : (this.#brokers.get(leader.node) ?? null)
  }

  /** A topic was deleted: one of the same name has other leaders, whose generations begin anew. */
  forgetTopic(topic: string): void {
    for (const key of [...this.#leaders.keys()]) if (key.startsWith(`${topic}/`)) this.#leaders.delete(key)
  }

  anyBroker(): Address {
    const known = [...this.#brokers.values()]
    const from = known.length > 0 ? known : this.#options.bootstrap
    return must(from[this.#with.pick(from.length)], 'a bootstrap address')
  }

  /** Asks any node where the leaders are. `done` whether or not somebody answered; those who ask meanwhile share the answer. */
  refresh(topics: readonly string[], done: () => void): void {
    if (this.#asking !== null) {
      this.#asking.push(done)
      return
    }
    this.#asking = [done]
    const { bootstrap } = this.#options
    const at = must(bootstrap[this.#with.pick(bootstrap.length)], 'a bootstrap address')
    const request = {
      topics: topics.map((name) => ({ topicId: '0'.repeat(32), name })),
      allowAutoTopicCreation: false,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    }
    this.request(at, apis.metadata, METADATA_VERSION, request, METADATA_TIMEOUT_MS, (_failure, answer) => {
      if (answer !== null) {
        for (const { nodeId, host, port } of answer.brokers) this.#brokers.set(nodeId, { host, port })
        for (const { name, partitions } of answer.topics) {
          for (const { partitionIndex, leaderId, leaderEpoch } of partitions) {
            const key = `${name}/${partitionIndex}`
            if (leaderId < 0) continue
            // A node that missed an election must not send us back (KIP-320 uses the epoch the same way).
            const epoch = this.#leaders.get(key)?.epoch ?? -1
            if (leaderEpoch >= epoch) this.#leaders.set(key, { node: leaderId, epoch: leaderEpoch })
          }
        }
      }
      const asking = this.#asking ?? []
      this.#asking = null
      for (const callback of asking) callback()
    })
  }

  /** Answers come in the order of the questions, so what may wait for long has a connection, a `lane`, of its own. */
  request<Q extends MessageDefinition, R extends MessageDefinition>(
    to: Address,
    api: Api<Q, R>,
    version: number,
    message: DraftOf<Q>,
    timeoutMs: number,
    done: (failure: RequestFailure | null, answer: MessageOf<R> | null) => void,
    lane = '',
  ): void {
    this.#link(to, lane).send(
      (writer, correlationId, clientId) => writeRequest(writer, api, version, correlationId, clientId, message),
      {
        timeoutMs,
        answered: (reader) => done(null, readResponse(reader, api, version)),
        failed: (failure) => done(failure, null),
      },
    )
  }

  /** Sends what nobody answers: Produce with acks = 0. */
  post<Q extends MessageDefinition, R extends MessageDefinition>(
    to: Address,
    api: Api<Q, R>,
    version: number,
    message: DraftOf<Q>,
    lane = '',
  ): void {
    this.#link(to, lane).send(
      (writer, correlationId, clientId) => writeRequest(writer, api, version, correlationId, clientId, message),
      null,
    )
  }

  /**
   * The number of the connection that a request would take now, 0 if it would need a new one. What came over one connection
   * was said by one process.
   */
  connection(to: Address, lane = ''): number {
    return this.#links.get(keyOf(to, lane))?.number ?? 0
  }

  /** Walks away in the middle: whoever waits on this connection hears that it is lost. */
  disconnect(to: Address, lane = ''): void {
    this.#links.get(keyOf(to, lane))?.abandon()
  }

  /** The client's process ends: its connections do. */
  close(): void {
    for (const link of [...this.#links.values()]) link.abandon()
  }

  #link(to: Address, lane: string): Link {
    const key = keyOf(to, lane)
    const open = this.#links.get(key)
    if (open !== undefined) return open
    const link = new Link(++this.#connections, to, this.#options.clientId, this.#with, (closed) => {
      if (this.#links.get(key) === closed) this.#links.delete(key)
    })
    this.#links.set(key, link)
    return link
  }
}

function keyOf({ host, port }: Address, lane: string): string {
  return `${host}:${port}/${lane}`
}

/** One connection, made at the first request. Ends with the first thing that goes wrong on it. */
class Link {
  readonly number: number
  readonly #clock: Clock
  readonly #clientId: string
  readonly #ended: (link: Link) => void
  readonly #reader = new FrameReader(FRAME_BYTES_MAX)
  readonly #waiting = new Map<number, Waiting>()
  #connection: Connection | null = null
  #unsent: Buffer[] = []
  #nextCorrelationId = 1
  #over = false

  constructor(
    number: number,
    to: Address,
    clientId: string,
    collaborators: KafkaClientCollaborators,
    ended: (link: Link) => void,
  ) {
    this.number = number
    this.#clock = collaborators.clock
    this.#clientId = clientId
    this.#ended = ended
    collaborators.network.connect(to, (error, connection) => {
      if (this.#over) {
        connection?.destroy()
        return
      }
      if (error !== null || connection === undefined) return this.#end('unreachable')
      this.#connection = connection
      connection.handler = {
        received: (bytes) => this.#received(bytes),
        drained: () => {},
        closed: () => this.#end('connection-lost'),
      }
      for (const bytes of this.#unsent) connection.write(bytes)
      this.#unsent = []
    })
  }

  /** `expected` null: no answer will come. */
  send(write: (writer: Writer, correlationId: number, clientId: string) => void, expected: Expectation | null): void {
    const correlationId = this.#nextCorrelationId++
    const writer = new Writer(1024)
    write(writer, correlationId, this.#clientId)
    const bytes = writer.takeBuffer()
    if (expected !== null) {
      const timer = this.#clock.after(expected.timeoutMs, () => this.#end('timeout'))
      this.#waiting.set(correlationId, { ...expected, timer })
    }
    if (this.#connection === null) this.#unsent.push(bytes)
    else this.#connection.write(bytes)
  }

  abandon(): void {
    this.#end('connection-lost')
  }

  #received(bytes: Buffer): void {
    this.#reader.read(bytes, (frame) => {
      const reader = new Reader(frame)
      const correlationId = readCorrelationId(reader)
      const waiting = must(this.#waiting.get(correlationId), `the request that answer ${correlationId} belongs to`)
      this.#waiting.delete(correlationId)
      waiting.timer.cancel()
      waiting.answered(reader)
      return !this.#over
    })
  }

  #end(failure: RequestFailure): void {
    if (this.#over) return
    this.#over = true
    this.#ended(this)
    this.#connection?.destroy()
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const each of waiting) each.timer.cancel()
    for (const each of waiting) each.failed(failure)
  }
}
