/**
 * One connection to a broker, as promises. Our own codec over the platform's network instead of a client library: batches stay
 * the bytes that they are. It ends with the first thing that goes wrong on it, and whoever waits hears so.
 */
import {
  type Api,
  type DraftOf,
  FrameReader,
  type MessageDefinition,
  type MessageOf,
  Reader,
  readCorrelationId,
  readResponse,
  Writer,
  writeRequest,
} from '../gateways/kafka/index.ts'
import type { Address, Clock, Connection, Network, Timer } from '../platform/index.ts'

/** The request may have been carried out or not: ask again. */
export class LinkLost extends Error {}

interface Waiting {
  readonly answered: (frame: Reader) => void
  readonly failed: (error: Error) => void
  readonly timer: Timer
}

const FRAME_BYTES_MAX = 256 << 20
const CLIENT_ID = 'tidemark-backup'

export class Link {
  readonly #to: Address
  readonly #clock: Clock
  readonly #reader = new FrameReader(FRAME_BYTES_MAX)
  readonly #waiting = new Map<number, Waiting>()
  readonly #connected: Promise<Connection>
  #connection: Connection | null = null
  #nextCorrelationId = 1
  #over: LinkLost | null = null

  constructor(to: Address, network: Network, clock: Clock) {
    this.#to = to
    this.#clock = clock
    this.#connected = new Promise((resolve, reject) => {
      network.connect(to, (error, connection) => {
        if (error !== null || connection === undefined) return reject(this.#end(error?.message ?? 'no connection'))
        if (this.#over !== null) {
          connection.destroy()
          return reject(this.#over)
        }
        this.#connection = connection
        connection.handler = {
          received: (bytes) => this.#received(bytes),
          drained: () => {},
          closed: (reason) => void this.#end(reason),
        }
        resolve(connection)
      })
    })
    // Whoever asks hears of it; nobody may be asking yet.
    this.#connected.catch(() => {})
  }

  get isOpen(): boolean {
    return this.#over === null
  }

  async request<Q extends MessageDefinition, R extends MessageDefinition>(
    api: Api<Q, R>,
    version: number,
    message: DraftOf<Q>,
    timeoutMs: number,
  ): Promise<MessageOf<R>> {
    if (this.#over !== null) throw this.#over
    const correlationId = this.#nextCorrelationId++
    const answer = new Promise<MessageOf<R>>((resolve, reject) => {
      const timer = this.#clock.after(timeoutMs, () => void this.#end(`no answer within ${timeoutMs} ms`))
      const answered = (reader: Reader): void => resolve(readResponse(reader, api, version))
      this.#waiting.set(correlationId, { answered, failed: reject, timer })
    })
    answer.catch(() => {})
    const connection = await this.#connected
    const writer = new Writer(1024)
    writeRequest(writer, api, version, correlationId, CLIENT_ID, message)
    if (this.#over === null) connection.write(writer.takeBuffer())
    return answer
  }

  close(): void {
    this.#end('closed')
  }

  #received(bytes: Buffer): void {
    try {
      this.#read(bytes)
    } catch (error) {
      // Another program, or a byte that was hurt on its way: on a new connection the same question may be answered.
      const { host, port } = this.#to
      this.#end(`what answers at ${host}:${port} does not speak Kafka: ${(error as Error).message}`)
    }
  }

  #read(bytes: Buffer): void {
    this.#reader.read(bytes, (frame) => {
      // Promises resolve after the turn in which the bytes are valid.
      const reader = new Reader(Buffer.from(frame))
      const correlationId = readCorrelationId(reader)
      const waiting = this.#waiting.get(correlationId)
      if (waiting === undefined) {
        this.#end('an answer to nothing')
        return false
      }
      waiting.answered(reader)
      this.#waiting.delete(correlationId)
      waiting.timer.cancel()
      return this.#over === null
    })
  }

  #end(reason: string): LinkLost {
    if (this.#over !== null) return this.#over
    this.#over = new LinkLost(reason)
    this.#connection?.destroy()
    for (const { failed, timer } of this.#waiting.values()) {
      timer.cancel()
      failed(this.#over)
    }
    this.#waiting.clear()
    return this.#over
  }
}
