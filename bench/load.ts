/**
 * The load, in a process of its own: CONNECTIONS to the leader of one partition, IN-FLIGHT produce requests in all (acks all, one
 * record each), as fast as they are answered. A request is a frame made once, with a new correlation id each time, so that the
 * generator costs as little as it can: on two cores it competes with what it measures.
 *
 * Parent: { broker, topic, connections, inFlight, bytes, warmupSeconds, seconds } as arguments; answers one message.
 */
import net from 'node:net'
import { apis, FrameReader, Writer, writeRequest } from '../src/gateways/kafka/index.ts'
import { encodeBatch } from '../src/records/index.ts'

export interface LoadResult {
  readonly requestsPerSecond: number
  readonly megabytesPerSecond: number
  readonly p50Ms: number
  readonly p90Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly errors: number
}

const [broker, topic, connections, inFlight, bytes, warmup, seconds] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string,
  string,
]
const VERSION = 7
const perConnection = Math.max(1, Math.floor(Number(inFlight) / Number(connections)))

const template = (() => {
  const batch = encodeBatch([{ key: null, value: Buffer.alloc(Number(bytes), 'x') }], { timestamp: Date.now() })
  const writer = new Writer(4096)
  writeRequest(writer, apis.produce, VERSION, 0, 'load', {
    transactionalId: null,
    acks: -1,
    timeoutMs: 30_000,
    topicData: [{ name: topic, partitionData: [{ index: 0, records: batch }] }],
  })
  return writer.takeBuffer()
})()
/** int32 length, int16 key, int16 version: then the correlation id. */
const CORRELATION_AT = 8
/** Answer: correlation id, topic count, topic name, partition count, partition index: then the error code. */
const ERROR_AT = 4 + 4 + 2 + Buffer.byteLength(topic) + 4 + 4

let latencies: number[] = []
let done = 0
let errors = 0

class Client {
  readonly #socket: net.Socket
  readonly #frames = new FrameReader(1 << 20)
  readonly #started: number[] = []
  #sent = 0
  #answered = 0
  #unsent = 0

  constructor() {
    const at = broker.lastIndexOf(':')
    this.#socket = net.connect({ host: broker.slice(0, at), port: Number(broker.slice(at + 1)), noDelay: true })
    this.#socket.on('connect', () => this.#send(perConnection))
    this.#socket.on('data', (data) => {
      const before = this.#answered
      this.#frames.read(data, this.#answer)
      this.#send(this.#answered - before)
    })
    this.#socket.on('error', (error) => fail(error.message))
    this.#socket.on('close', () => fail('the broker closed a connection'))
  }

  readonly #answer = (frame: Buffer): boolean => {
    const slot = this.#answered++ % perConnection
    latencies.push(performance.now() - this.#started[slot]!)
    if (frame.readInt16BE(ERROR_AT) !== 0) errors++
    done++
    return true
  }

  #send(count: number): void {
    this.#unsent += count
    if (this.#unsent === 0) return
    const frames = Buffer.allocUnsafe(template.length * this.#unsent)
    const now = performance.now()
    for (let i = 0; i < this.#unsent; i++) {
      template.copy(frames, i * template.length)
      frames.writeInt32BE(this.#sent & 0x7fffffff, i * template.length + CORRELATION_AT)
      this.#started[this.#sent++ % perConnection] = now
    }
    this.#unsent = 0
    this.#socket.write(frames)
  }
}

function fail(reason: string): void {
  console.error(`load: ${reason}`)
  process.exit(1)
}

for (let i = 0; i < Number(connections); i++) new Client()
setTimeout(() => {
  latencies = []
  done = 0
  errors = 0
  const from = performance.now()
  setTimeout(() => {
    const elapsed = (performance.now() - from) / 1000
    const sorted = Float64Array.from(latencies).sort()
    const at = (share: number): number =>
      Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) * 1000) / 1000
    const result: LoadResult = {
      requestsPerSecond: Math.round(done / elapsed),
      megabytesPerSecond: Math.round((done * Number(bytes)) / elapsed / 1e5) / 10,
      p50Ms: at(0.5),
      p90Ms: at(0.9),
      p99Ms: at(0.99),
      maxMs: at(1),
      errors,
    }
    process.send!(result, () => process.exit(0))
  }, Number(seconds) * 1000)
}, Number(warmup) * 1000)
