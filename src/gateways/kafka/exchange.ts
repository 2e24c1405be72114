import type { AnyApi } from './api-table.ts'
import type { DraftOf, MessageDefinition } from './message-definition.ts'
import type { RequestHeader } from './request-header.ts'

/** Who asks. Every connection carries a principal from the first day; authentication will give it a name. */
export interface Requester {
  readonly principal: string
  readonly host: string
}

/** The connection that a request came from. */
export interface ExchangeOwner {
  settled(exchange: Exchange): void
  close(reason: string): void
}

/**
 * One request on its way to its answer. Handlers hold it as long as they like (a long poll, a parked join) and settle it
 * exactly once; the connection sends the answers in the order of the requests, whatever the order of the settlements.
 */
export class Exchange<R extends MessageDefinition = MessageDefinition> {
  readonly api: AnyApi
  readonly apiVersion: number
  readonly correlationId: number
  readonly clientId: string | null
  readonly requester: Requester
  /** `receivedAtMs` of the clock: when the request was taken from the socket. */
  readonly receivedAtMs: number
  readonly #owner: ExchangeOwner
  /** Called if the connection closes before the exchange is settled: whoever waits elsewhere on its behalf can stop. */
  onAbandon: (() => void) | null = null
  #state: 'open' | 'answered' | 'silent' = 'open'
  #response: unknown = null

  constructor(header: RequestHeader, api: AnyApi, requester: Requester, receivedAtMs: number, owner: ExchangeOwner) {
    this.api = api
    this.apiVersion = header.apiVersion
    this.correlationId = header.correlationId
    this.clientId = header.clientId
    this.requester = requester
    this.receivedAtMs = receivedAtMs
    this.#owner = owner
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  get isSilent(): boolean {
    return this.#state === 'silent'
  }

  /** What to send; null while open or when nothing is to be sent. */
  get response(): unknown {
    return this.#response
  }

  respond(response: DraftOf<R>): void {
    if (this.#state !== 'open') return // its connection has closed
    this.#state = 'answered'
    this.#response = response
    this.#owner.settled(this as unknown as Exchange)
  }

  /** Nothing is sent: Produce with acks = 0. */
  stayQuiet(): void {
    if (this.#state !== 'open') return
    this.#state = 'silent'
    this.#owner.settled(this as unknown as Exchange)
  }

  /** Ends the connection: the only way to say that a write without an answer failed. */
  hangUp(reason: string): void {
    this.#owner.close(reason)
  }

  /** The connection is gone: whatever is settled later has nobody to hear it. */
  abandon(): void {
    if (this.#state !== 'open') return
    this.#state = 'silent'
    this.onAbandon?.()
  }
}
