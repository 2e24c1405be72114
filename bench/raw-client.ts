/**
 * A Kafka client with nothing on top: frames out, frames in, callbacks by correlation id. For measuring the server rather than
 * a client library, and for checks that need to see single requests.
 */
import net from 'node:net'
import {
  type AnyApi,
  type Api,
  apis,
  type DraftOf,
  FrameReader,
  type MessageDefinition,
  type MessageOf,
  Reader,
  readCorrelationId,
  readResponse,
  Writer,
  writeRequest,
} from '../src/gateways/kafka/index.ts'

type Waiting = {
  readonly api: Api
  readonly version: number
  readonly done: (error: Error | null, response: unknown) => void
}

export class RawClient {
  readonly #socket: net.Socket
  readonly #frames = new FrameReader(256 << 20)
  readonly #writer = new Writer(64 << 10)
  readonly #waiting = new Map<number, Waiting>()
  #correlation = 0
  #flushPlanned = false
  #closedBecause: Error | null = null

  private constructor(socket: net.Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (bytes) => this.#frames.read(bytes, (frame) => this.#answer(frame)))
    socket.on('error', () => {})
    socket.on('close', () => this.#closed(new Error('connection closed')))
  }

  static connect(broker: string, timeoutMs = 5000): Promise<RawClient> {
    const [host, port] = [broker.slice(0, broker.lastIndexOf(':')), Number(broker.slice(broker.lastIndexOf(':') + 1))]
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host, port, timeout: timeoutMs })
      socket.once('connect', () => {
        socket.setTimeout(0)
        resolve(new RawClient(socket))
      })
      socket.once('error', reject)
      socket.once('timeout', () => socket.destroy(new Error(`no connection to ${broker} within ${timeoutMs} ms`)))
    })
  }

  get isOpen(): boolean {
    return this.#closedBecause === null
  }

  close(): void {
    this.#socket.destroy()
  }

  /** All requests of an event-loop turn leave in one write. */
  send<Q extends MessageDefinition, R extends MessageDefinition>(
    api: Api<Q, R>,
    version: number,
    message: DraftOf<Q>,
    done: (error: Error | null, response: MessageOf<R>) => void,
  ): void {
    if (this.#closedBecause !== null) {
      done(this.#closedBecause, null as never)
      return
    }
    this.#correlation = (this.#correlation + 1) | 0
    const correlation = this.#correlation
    this.#waiting.set(correlation, { api: api as unknown as Api, version, done: done as Waiting['done'] })
    writeRequest(this.#writer, api, version, correlation, 'raw', message)
    if (this.#flushPlanned) return
    this.#flushPlanned = true
    setImmediate(() => {
      this.#flushPlanned = false
      this.#socket.cork()
      for (const chunk of this.#writer.take()) this.#socket.write(chunk)
      this.#socket.uncork()
    })
  }

  request<Q extends MessageDefinition, R extends MessageDefinition>(
    api: Api<Q, R>,
    version: number,
    message: DraftOf<Q>,
  ): Promise<MessageOf<R>> {
    return new Promise((resolve, reject) =>
      this.send(api, version, message, (error, response) => (error === null ? resolve(response) : reject(error))),
    )
  }

  #answer(frame: Buffer): boolean {
    const reader = new Reader(frame)
    const correlation = readCorrelationId(reader)
    const waiting = this.#waiting.get(correlation)
    if (waiting === undefined) throw new Error(`an answer nobody asked for: correlation id ${correlation}`)
    this.#waiting.delete(correlation)
    waiting.done(null, readResponse(reader, waiting.api, waiting.version))
    return true
  }

  #closed(error: Error): void {
    this.#closedBecause = error
    for (const waiting of this.#waiting.values()) waiting.done(error, null)
    this.#waiting.clear()
  }
}

/** Leader of every partition of a topic, as `host:port` by partition; waits until all have one. */
export async function leadersOf(client: RawClient, topic: string, timeoutMs = 10_000): Promise<string[]> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const metadata = await client.request(apis.metadata, 9, { topics: [{ name: topic }], allowAutoTopicCreation: true })
    const brokers = new Map(metadata.brokers.map((broker) => [broker.nodeId, `${broker.host}:${broker.port}`]))
    const partitions = metadata.topics[0]?.partitions ?? []
    const leaders = partitions
      .toSorted((a, b) => a.partitionIndex - b.partitionIndex)
      .map((partition) => brokers.get(partition.leaderId))
    if (leaders.length > 0 && leaders.every((leader) => leader !== undefined)) return leaders as string[]
    if (performance.now() > deadline) throw new Error(`topic ${topic} has no leaders after ${timeoutMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export type { AnyApi }
