/**
 * One Kafka client's connection.
 *
 *      bytes ─► frames ─► header ─► body ─► handler        (at once, in order: idempotent producers pipeline)
 *                            │                  │
 *                            └► exchanges  ◄────┘ settled in any order
 *                               [#1][#2][#3]…
 *                                 └► responses leave in the order of the requests, all of a turn in one write
 *
 * Kafka promises answers in request order, and clients throw on anything else. So a long poll holds up what was asked after
 * it on the same connection; clients know, and fetch on a connection of their own.
 *
 * Pushing back: a connection stops reading when it has too much in flight, when a turn's answers are large enough, when its
 * answers are not taken, or when the shards have no room. The rest of what had arrived is kept, the kernel's buffers fill, and
 * the client feels it. A request of a hundred bytes may ask for megabytes, so requests are counted by what they bring about:
 * answers are made as soon as they are due, to know their size, and of fetches that are not answered yet there are few.
 *
 * What cannot be decoded has no error code in Kafka's protocol: the connection is closed, as Kafka does, and the reason is
 * traced. Only an unknown *version of ApiVersions* gets an answer that every client can read.
 */
import type { Clock, Connection, ConnectionHandler } from '../../platform/index.ts'
import { type AnyApi, type Api, apis } from './api-table.ts'
import type { Codec } from './codec.ts'
import { DecodeError, EncodeError } from './codec-errors.ts'
import type { KafkaEvent } from './events.ts'
import { Exchange, type ExchangeOwner, type Requester } from './exchange.ts'
import { FrameError, FrameReader } from './frame-reader.ts'
import type { MessageDefinition, MessageOf } from './message-definition.ts'
import { Reader } from './reader.ts'
import { type RequestHeader, readRequestHeader, writeResponse } from './request-header.ts'
import { Writer } from './writer.ts'

/** Answers made in a turn before the rest of the requests has to wait for them to be sent. */
const ANSWER_BYTES_MAX = 4 << 20
/** No client has more than one or two; each may hold an answer of the largest size. */
const OPEN_FETCHES_MAX = 4

export interface ConnectionOptions {
  readonly requestBytesMax: number
  /** Requests taken and not yet answered. */
  readonly inFlightMax: number
}

export interface ConnectionCollaborators {
  readonly connection: Connection
  readonly clock: Clock
  readonly chance: (site: string) => boolean
  readonly trace: (event: KafkaEvent) => void
  /** Does what was asked and settles the exchange, now or later. */
  readonly handle: (exchange: Exchange, request: MessageOf<MessageDefinition>) => void
  /** False while shards push back; then `onRoom` calls when it is worth trying again. */
  readonly hasRoom: () => boolean
  readonly onRoom: (callback: () => void) => void
  /** Asks for `flush` when the turn's work is done. */
  readonly scheduleFlush: (connection: KafkaConnection) => void
  readonly closed: (connection: KafkaConnection) => void
}

export class KafkaConnection implements ConnectionHandler, ExchangeOwner {
  readonly #options: ConnectionOptions
  readonly #with: ConnectionCollaborators
  readonly #frames: FrameReader
  readonly #reader = new Reader(Buffer.alloc(0))
  readonly #writer = new Writer(4096)
  readonly #requester: Requester
  /** Requests in their order; those before `#head` are answered and forgotten. */
  #exchanges: Exchange[] = []
  #head = 0
  /** Fetches taken and not settled. */
  #fetching = 0
  /** Why reading stopped, if it did. `answers`: until those of this turn are sent. */
  #stopped: 'no' | 'in-flight' | 'answers' | 'unsent' | 'room' = 'no'
  #flushPlanned = false
  /** An answer that could not be made: the connection ends with the turn. */
  #defect: string | null = null
  #closed = false

  constructor(options: ConnectionOptions, collaborators: ConnectionCollaborators) {
    this.#options = options
    this.#with = collaborators
    this.#frames = new FrameReader(options.requestBytesMax)
    this.#requester = { principal: 'anonymous', host: collaborators.connection.remote.host }
  }

  get remote(): string {
    const { host, port } = this.#with.connection.remote
    return `${host}:${port}`
  }

  get inFlight(): number {
    return this.#exchanges.length - this.#head
  }

  received(bytes: Buffer): void {
    if (this.#closed) return
    if (this.#stopped !== 'no') this.#frames.keep(bytes)
    else this.#read(bytes)
  }

  drained(): void {
    if (this.#stopped === 'unsent') this.#goOn()
  }

  closed(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    for (let i = this.#head; i < this.#exchanges.length; i++) this.#exchanges[i]!.abandon()
    this.#exchanges = []
    this.#head = 0
    this.#with.trace({ type: 'disconnected', remote: this.remote, reason })
    this.#with.closed(this)
  }

  /** Ends the connection for something that the client did wrong or that a produce without an answer could not say. */
  close(reason: string): void {
    if (this.#closed) return
    this.#with.connection.destroy()
    this.closed(reason)
  }

  #read(bytes: Buffer): void {
    try {
      this.#frames.read(bytes, this.#take)
    } catch (error) {
      if (!(error instanceof FrameError || error instanceof DecodeError)) throw error
      this.#with.trace({ type: 'malformed', remote: this.remote, reason: error.message })
      this.close(error.message)
    }
  }

  /** One frame; false stops the reading. */
  readonly #take = (frame: Buffer): boolean => {
    const reader = this.#reader.reset(frame, 0, frame.length)
    const header = readRequestHeader(reader)
    const { api } = header
    if (api === undefined) {
      this.#refuse(`API key ${header.apiKey} is not offered; ApiVersions lists what is`)
      return false
    }
    if (header.apiVersion < api.minServedVersion || header.apiVersion > api.maxVersion) {
      return this.#unsupported(header, api)
    }
    const request = (api.request as unknown as Codec<MessageDefinition>).decode(reader, header.apiVersion)
    const exchange = this.#open(header, api)
    if (exchange.api === apis.fetch) this.#fetching++
    this.#with.handle(exchange, request)
    return this.#mayGoOn()
  }

  #open(header: RequestHeader, api: AnyApi): Exchange {
    const exchange = new Exchange(header, api, this.#requester, this.#with.clock.now(), this)
    this.#exchanges.push(exchange)
    return exchange
  }

  #unsupported(header: RequestHeader, api: AnyApi): boolean {
    if (api !== apis.apiVersions) {
      this.#refuse(
        `${api.name} version ${header.apiVersion} is not served; ${api.minServedVersion} to ${api.maxVersion} are`,
      )
      return false
    }
    // KIP-511: the answer is in version 0, which every client can read, and lists exactly one key.
    const exchange = this.#open({ ...header, apiVersion: 0 }, api) as Exchange<
      typeof apis.apiVersions.response.definition
    >
    const { apiKey, minVersion, maxVersion } = api
    exchange.respond({ errorCode: 35, apiKeys: [{ apiKey, minVersion, maxVersion }] })
    return this.#mayGoOn()
  }

  #refuse(reason: string): void {
    this.#with.trace({ type: 'malformed', remote: this.remote, reason })
    this.close(reason)
  }

  #mayGoOn(): boolean {
    if (this.#closed) return false
    if (this.inFlight >= this.#options.inFlightMax || this.#fetching >= OPEN_FETCHES_MAX) this.#stop('in-flight')
    else if (this.#writer.length >= ANSWER_BYTES_MAX) this.#stop('answers')
    else if (!this.#with.hasRoom()) {
      this.#stop('room')
      this.#with.onRoom(() => {
        if (this.#stopped === 'room') this.#goOn()
      })
    }
    return this.#stopped === 'no'
  }

  #stop(why: 'in-flight' | 'answers' | 'unsent' | 'room'): void {
    if (this.#stopped === 'no') this.#with.connection.pause()
    this.#stopped = why
  }

  #goOn(): void {
    if (this.#closed) return
    this.#stopped = 'no'
    const kept = this.#frames.takeKept()
    if (kept.length > 0) this.#read(kept)
    if (this.#stopped === 'no' && !this.#closed) this.#with.connection.resume()
  }

  settled(exchange: Exchange): void {
    if (exchange.api === apis.fetch) this.#fetching--
    if (exchange !== this.#exchanges[this.#head]) return
    this.#makeAnswers()
    if (this.#flushPlanned) return
    this.#flushPlanned = true
    this.#with.scheduleFlush(this)
    // One request per turn and connection is measured: enough for percentiles, and no cost per record.
    const milliseconds = this.#with.clock.now() - exchange.receivedAtMs
    this.#with.trace({ type: 'request', api: exchange.api.name, milliseconds })
  }

  /** Encodes every answer that is due. */
  #makeAnswers(): void {
    while (this.#head < this.#exchanges.length && this.#defect === null) {
      const exchange = this.#exchanges[this.#head]!
      if (exchange.isOpen) break
      this.#head++
      if (!exchange.isSilent) this.#encode(exchange)
    }
  }

  /** Sends the turn's answers in one go. */
  flush(): void {
    this.#flushPlanned = false
    if (this.#closed) return
    if (this.#defect !== null) {
      this.#refuse(this.#defect)
      return
    }
    if (this.#head === this.#exchanges.length || this.#head > 1024) {
      this.#exchanges = this.#exchanges.slice(this.#head)
      this.#head = 0
    }
    if (this.#with.chance('kafka/answers-lost')) return this.close('closed before its answers')
    this.#send()
    if (this.#with.chance('kafka/idle-closed') && this.inFlight === 0) return this.#with.connection.end()
    const { inFlightMax } = this.#options
    if (this.#stopped === 'answers') this.#goOn()
    else if (this.#stopped === 'in-flight' && this.inFlight < inFlightMax / 2 && this.#fetching < OPEN_FETCHES_MAX)
      this.#goOn()
  }

  #encode(exchange: Exchange): void {
    const { api, apiVersion, correlationId } = exchange
    try {
      writeResponse(this.#writer, api as unknown as Api, apiVersion, correlationId, exchange.response as never)
    } catch (error) {
      if (!(error instanceof EncodeError)) throw error
      // Whoever settled it is in the middle of something: the end of the turn is the moment to hang up.
      this.#defect = `the answer to ${api.name} cannot be said in version ${apiVersion}: ${error.message}`
    }
  }

  #send(): void {
    if (this.#writer.length === 0) return
    const { connection } = this.#with
    let taken = true
    for (const chunk of this.#writer.take()) taken = connection.write(chunk)
    // Whatever else stopped the reading is looked at again when these answers are gone.
    if (!taken && this.#stopped !== 'room') this.#stop('unsent')
  }
}
