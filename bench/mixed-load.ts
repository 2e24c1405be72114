/**
 * The load of `bench cleaning`, in a process of its own: records with keys to all partitions of several topics, each request to its
 * partition's leader, slice by slice, either as fast as they are answered or so many per second. Frames are made once, some
 * hundreds per partition, so that keys vary and the generator costs as little as it can (load.ts).
 *
 * At a given rate a request does not wait for the one before: a server that halts for a moment is charged with everybody who came
 * in that moment.
 *
 * The only argument is a `MixedLoad` as JSON. For every `Slice` that the parent sends it is sent one `LoadResult`, when everything
 * was answered.
 */
import net from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { apis, FrameReader, Writer, writeRequest } from '../src/gateways/kafka/index.ts'
import { encodeBatch } from '../src/records/index.ts'
import type { LoadResult } from './load.ts'

export interface MixedLoad {
  readonly targets: readonly { readonly topic: string; readonly index: number; readonly leader: string }[]
  /** To each leader. */
  readonly connections: number
  /** On each connection, where no rate is given. */
  readonly inFlight: number
  readonly recordsPerBatch: number
  readonly valueBytes: number
}

export interface Slice {
  readonly seconds: number
  /** Requests per second to all; null: as many as are answered. */
  readonly rate: number | null
}

const load = JSON.parse(process.argv[2]!) as MixedLoad
const VERSION = 7
/** Different keys of a partition, at the least; all of them come round again and again. */
const KEYS = 2000
const BATCHES_MIN = 100
const TICK_MS = 1
const IN_FLIGHT_MAX = 1 << 18
/** int32 length, int16 key, int16 version: then the correlation id. */
const CORRELATION_AT = 8

interface Frames {
  readonly frames: readonly Buffer[]
  /** Answer: correlation id, topic count, topic name, partition count, partition index: then the error code. */
  readonly errorAt: number
}

function framesOf(topic: string, index: number): Frames {
  const { recordsPerBatch, valueBytes } = load
  const count = Math.max(BATCHES_MIN, Math.ceil(KEYS / recordsPerBatch))
  const value = Buffer.alloc(valueBytes, 'x')
  const frames = Array.from({ length: count }, (_, i) => {
    const keyed = Array.from({ length: recordsPerBatch }, (_, j) => ({
      key: Buffer.from(`key-${String((i * recordsPerBatch + j) % KEYS).padStart(8, '0')}`),
      value,
    }))
    const writer = new Writer(4096)
    writeRequest(writer, apis.produce, VERSION, 0, 'load', {
      transactionalId: null,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [{ name: topic, partitionData: [{ index, records: encodeBatch(keyed, { timestamp: Date.now() }) }] }],
    })
    return Buffer.from(writer.takeBuffer())
  })
  return { frames, errorAt: 4 + 4 + 2 + Buffer.byteLength(topic) + 4 + 4 }
}

const latencies = new Float64Array(1 << 23)
let done = 0
let errors = 0
let isFull = false
const clients: Client[] = []

class Client {
  readonly #targets: readonly Frames[]
  /** The longest. */
  readonly #frameBytes: number
  readonly #socket: net.Socket
  readonly #reader = new FrameReader(1 << 20)
  /** By the number of the request: answers come in order. */
  readonly #started = new Float64Array(IN_FLIGHT_MAX)
  #sent = 0
  #answered = 0

  constructor(leader: string, targets: readonly Frames[]) {
    this.#targets = targets
    this.#frameBytes = Math.max(...targets.flatMap(({ frames }) => frames.map(({ length }) => length)))
    const at = leader.lastIndexOf(':')
    this.#socket = net.connect({ host: leader.slice(0, at), port: Number(leader.slice(at + 1)), noDelay: true })
    this.#socket.on('data', (data) => {
      const before = this.#answered
      this.#reader.read(data, this.#answer)
      if (isFull) this.send(this.#answered - before)
    })
    this.#socket.on('error', (error) => fail(error.message))
    this.#socket.on('close', () => fail('the broker closed a connection'))
  }

  get waiting(): number {
    return this.#sent - this.#answered
  }

  readonly #answer = (frame: Buffer): boolean => {
    const number = this.#answered++
    latencies[done++ % latencies.length] = performance.now() - this.#started[number % IN_FLIGHT_MAX]!
    const { errorAt } = this.#targets[number % this.#targets.length]!
    if (frame.readInt16BE(errorAt) !== 0) errors++
    return true
  }

  send(count: number): void {
    if (count === 0) return
    if (this.#sent + count - this.#answered > IN_FLIGHT_MAX) fail('the rate is too much')
    const now = performance.now()
    const bytes = Buffer.allocUnsafeSlow(count * this.#frameBytes)
    let end = 0
    for (let i = 0; i < count; i++, this.#sent++) {
      const { frames } = this.#targets[this.#sent % this.#targets.length]!
      const frame = frames[Math.floor(this.#sent / this.#targets.length) % frames.length]!
      frame.copy(bytes, end)
      bytes.writeInt32BE(this.#sent & 0x7fffffff, end + CORRELATION_AT)
      this.#started[this.#sent % IN_FLIGHT_MAX] = now
      end += frame.length
    }
    this.#socket.write(bytes.subarray(0, end))
  }
}

function fail(reason: string): void {
  console.error(`load: ${reason}`)
  process.exit(1)
}

function sendAtRate(rate: number): NodeJS.Timeout {
  const from = performance.now()
  let sent = 0
  return setInterval(() => {
    const due = Math.floor(((performance.now() - from) * rate) / 1000) - sent
    for (const [i, client] of clients.entries())
      client.send(Math.floor((sent + due + i) / clients.length) - Math.floor((sent + i) / clients.length))
    sent += due
  }, TICK_MS)
}

async function run({ seconds, rate }: Slice): Promise<LoadResult> {
  done = errors = 0
  const from = performance.now()
  const ticking = rate === null ? null : sendAtRate(rate)
  isFull = rate === null
  if (isFull) for (const client of clients) client.send(load.inFlight)
  await setTimeout(seconds * 1000)
  isFull = false
  if (ticking !== null) clearInterval(ticking)
  const result = resultOf((performance.now() - from) / 1000)
  while (clients.some(({ waiting }) => waiting > 0)) await setTimeout(TICK_MS)
  return result
}

function resultOf(elapsedSeconds: number): LoadResult {
  const sorted = latencies.slice(0, done).sort()
  const at = (share: number): number =>
    Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) * 1000) / 1000
  const bytes = done * load.recordsPerBatch * load.valueBytes
  return {
    requestsPerSecond: Math.round(done / elapsedSeconds),
    megabytesPerSecond: Math.round(bytes / elapsedSeconds / 1e5) / 10,
    p50Ms: at(0.5),
    p90Ms: at(0.9),
    p99Ms: at(0.99),
    maxMs: at(1),
    errors,
  }
}

for (const leader of new Set(load.targets.map((target) => target.leader))) {
  const frames = load.targets.filter((target) => target.leader === leader)
  const targets = frames.map(({ topic, index }) => framesOf(topic, index))
  for (let i = 0; i < load.connections; i++) {
    // Each begins elsewhere.
    const from = Math.floor((i * targets.length) / load.connections)
    clients.push(new Client(leader, [...targets.slice(from), ...targets.slice(0, from)]))
  }
}
process.on('message', (slice: Slice) => void run(slice).then((result) => process.send!(result)))
process.on('disconnect', () => process.exit(0))
