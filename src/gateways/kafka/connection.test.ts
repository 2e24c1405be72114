import assert from 'node:assert/strict'
import test from 'node:test'
import type { Connection, ConnectionHandler } from '../../platform/index.ts'
import { nodePlatform } from '../../platform/nodejs/index.ts'
import { type Api, apis } from './api-table.ts'
import { KafkaConnection } from './connection.ts'
import type { KafkaEvent } from './events.ts'
import type { Exchange } from './exchange.ts'
import { FrameReader } from './frame-reader.ts'
import type { DraftOf, MessageDefinition, MessageOf } from './message-definition.ts'
import { Reader } from './reader.ts'
import { readCorrelationId, readResponse, writeRequest } from './request-header.ts'
import { Writer } from './writer.ts'

const NO_RECORDS = { throttleTimeMs: 0, errorCode: 0, sessionId: 0, nodeEndpoints: [], responses: [] }

/** The platform's end of a socket, as far as a connection sees it. */
class Wire implements Connection {
  readonly remote = { host: '127.0.0.1', port: 5 }
  handler: ConnectionHandler = { received: () => {}, drained: () => {}, closed: () => {} }
  readonly written: Buffer[] = []
  paused = false
  destroyed = false
  /** What `write` answers. */
  takes = true

  get queuedBytes(): number {
    return 0
  }

  write(bytes: Uint8Array): boolean {
    this.written.push(Buffer.from(bytes))
    return this.takes
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
  }

  end(): void {}

  destroy(): void {
    this.destroyed = true
  }
}

class Rig {
  readonly wire = new Wire()
  readonly events: KafkaEvent[] = []
  readonly exchanges: Exchange[] = []
  readonly connection: KafkaConnection
  full = false
  onHandle: (exchange: Exchange) => void = () => {}
  #onRoom: (() => void)[] = []
  #flushes = 0
  #correlation = 0

  constructor(options: { inFlightMax?: number; requestBytesMax?: number } = {}) {
    this.connection = new KafkaConnection(
      { requestBytesMax: options.requestBytesMax ?? 1 << 20, inFlightMax: options.inFlightMax ?? 100 },
      {
        connection: this.wire,
        clock: nodePlatform().clock,
        chance: () => false,
        trace: (event) => this.events.push(event),
        handle: (exchange) => {
          this.exchanges.push(exchange)
          this.onHandle(exchange)
        },
        hasRoom: () => !this.full,
        onRoom: (callback) => this.#onRoom.push(callback),
        scheduleFlush: () => this.#flushes++,
        closed: () => {},
      },
    )
  }

  /** A request as bytes. */
  frame<Q extends MessageDefinition, R extends MessageDefinition>(
    api: Api<Q, R>,
    version: number,
    message: DraftOf<Q>,
  ): Buffer {
    const writer = new Writer(256)
    writeRequest(writer, api, version, ++this.#correlation, 'test', message)
    return writer.takeBuffer()
  }

  heartbeat(): Buffer {
    return this.frame(apis.heartbeat, 0, { groupId: 'g', generationId: 1, memberId: 'm' })
  }

  /** The end of a turn. */
  flush(): void {
    if (this.#flushes === 0) return
    this.#flushes = 0
    this.connection.flush()
  }

  makeRoom(): void {
    this.full = false
    for (const callback of this.#onRoom.splice(0)) callback()
  }

  answer(index: number): void {
    ;(this.exchanges[index] as Exchange<typeof apis.heartbeat.response.definition>).respond({ errorCode: 0 })
  }

  /** Correlation ids of what was sent, in order. */
  sent(): number[] {
    const ids: number[] = []
    const frames = new FrameReader(1 << 24)
    for (const bytes of this.wire.written) {
      frames.read(bytes, (frame) => {
        ids.push(readCorrelationId(new Reader(frame)))
        return true
      })
    }
    return ids
  }

  get malformed(): string[] {
    return this.events.flatMap((event) => (event.type === 'malformed' ? [event.reason] : []))
  }
}

test('answers leave in the order of the requests, whatever the order of the settlements, and a parked one holds the rest', () => {
  const rig = new Rig()
  rig.connection.received(Buffer.concat([rig.heartbeat(), rig.heartbeat(), rig.heartbeat(), rig.heartbeat()]))
  assert.equal(rig.exchanges.length, 4)
  rig.answer(3)
  rig.answer(1)
  rig.flush()
  assert.deepEqual(rig.sent(), [])
  rig.answer(0)
  rig.flush()
  assert.deepEqual(rig.sent(), [1, 2])
  assert.equal(rig.wire.written.length, 1, 'all of a turn in one write')
  rig.answer(2)
  rig.flush()
  assert.deepEqual(rig.sent(), [1, 2, 3, 4])
  assert.equal(rig.connection.inFlight, 0)
})

test('a request without an answer (acks = 0) leaves no gap', () => {
  const rig = new Rig()
  rig.connection.received(Buffer.concat([rig.heartbeat(), rig.heartbeat(), rig.heartbeat()]))
  rig.answer(2)
  rig.exchanges[1]!.stayQuiet()
  rig.answer(0)
  rig.flush()
  assert.deepEqual(rig.sent(), [1, 3])
})

test('frames may be split at every byte, and several may come at once', () => {
  const requests = (rig: Rig): Buffer => Buffer.concat([rig.heartbeat(), rig.heartbeat(), rig.heartbeat()])
  const { length } = requests(new Rig())
  for (let at = 0; at <= length; at++) {
    const rig = new Rig()
    const bytes = requests(rig)
    rig.connection.received(bytes.subarray(0, at))
    rig.connection.received(bytes.subarray(at))
    assert.equal(rig.exchanges.length, 3, `split at ${at}`)
  }
  const rig = new Rig()
  for (const byte of requests(rig)) rig.connection.received(Buffer.from([byte]))
  assert.equal(rig.exchanges.length, 3)
  assert.deepEqual(rig.malformed, [])
})

test('an unknown key or version closes the connection, with the reason in the trace', () => {
  const unknownKey = new Rig()
  const key = unknownKey.heartbeat()
  key.writeInt16BE(999, 4)
  unknownKey.connection.received(Buffer.concat([key, unknownKey.heartbeat()]))
  assert.equal(unknownKey.wire.destroyed, true)
  assert.equal(unknownKey.exchanges.length, 0, 'nothing after it is looked at')
  assert.match(unknownKey.malformed[0]!, /API key 999 is not offered/)

  const unknownVersion = new Rig()
  const version = unknownVersion.heartbeat()
  version.writeInt16BE(77, 6)
  unknownVersion.connection.received(version)
  assert.equal(unknownVersion.wire.destroyed, true)
  assert.match(unknownVersion.malformed[0]!, /version 77 is not served/)
})

test('ApiVersions in an unknown version is answered in version 0, in its turn', () => {
  const rig = new Rig()
  const asked = rig.frame(apis.apiVersions, 3, { clientSoftwareName: 'x', clientSoftwareVersion: '1' })
  asked.writeInt16BE(99, 6)
  rig.connection.received(Buffer.concat([rig.heartbeat(), asked]))
  rig.flush()
  assert.deepEqual(rig.sent(), [])
  rig.answer(0)
  rig.flush()
  assert.equal(rig.wire.destroyed, false)
  const frames: Buffer[] = []
  new FrameReader(1 << 20).read(Buffer.concat(rig.wire.written), (frame) => {
    frames.push(Buffer.from(frame))
    return true
  })
  const reader = new Reader(frames[1]!)
  readCorrelationId(reader)
  const response: MessageOf<typeof apis.apiVersions.response.definition> = readResponse(reader, apis.apiVersions, 0)
  assert.equal(response.errorCode, 35)
  assert.deepEqual(
    response.apiKeys.map(({ apiKey }) => apiKey),
    [18],
  )
})

test('a body that is cut short, or lies about a length, closes the connection and calls nobody', () => {
  const whole = new Rig().heartbeat()
  for (let length = 4; length < whole.length; length++) {
    const rig = new Rig()
    const cut = Buffer.from(whole.subarray(0, length))
    cut.writeInt32BE(length - 4, 0)
    rig.connection.received(cut)
    assert.equal(rig.wire.destroyed, true, `cut to ${length} bytes`)
    assert.equal(rig.exchanges.length, 0)
    assert.equal(rig.malformed.length, 1)
  }
})

test('a length below zero or above the limit closes the connection before a byte of it is kept', () => {
  for (const length of [-1, -2_147_483_648, 1001, 2_147_483_647]) {
    const rig = new Rig({ requestBytesMax: 1000 })
    const bytes = Buffer.alloc(8)
    bytes.writeInt32BE(length)
    rig.connection.received(bytes)
    assert.equal(rig.wire.destroyed, true)
    assert.match(rig.malformed[0]!, /is this a Kafka client/)
  }
})

test('too much in flight: reading stops, nothing is lost, and goes on at half', () => {
  const rig = new Rig({ inFlightMax: 4 })
  rig.connection.received(Buffer.concat(Array.from({ length: 6 }, () => rig.heartbeat())))
  assert.equal(rig.exchanges.length, 4)
  assert.equal(rig.wire.paused, true)
  // What the socket had read already comes nevertheless.
  rig.connection.received(rig.heartbeat())
  assert.equal(rig.exchanges.length, 4)
  rig.answer(0)
  rig.answer(1)
  rig.flush()
  assert.equal(rig.exchanges.length, 4, 'not below half yet')
  rig.answer(2)
  rig.flush()
  assert.equal(rig.exchanges.length, 7)
  for (let i = 3; i < 7; i++) rig.answer(i)
  rig.flush()
  assert.equal(rig.wire.paused, false)
  assert.deepEqual(rig.sent(), [1, 2, 3, 4, 5, 6, 7])
})

test('a shard without room stops the reading until it has some', () => {
  const rig = new Rig()
  rig.full = true
  rig.connection.received(Buffer.concat([rig.heartbeat(), rig.heartbeat()]))
  assert.equal(rig.exchanges.length, 1)
  assert.equal(rig.wire.paused, true)
  rig.makeRoom()
  assert.equal(rig.exchanges.length, 2)
  assert.equal(rig.wire.paused, false)
})

test('a client that does not take its answers is read no further until it does', () => {
  const rig = new Rig()
  rig.wire.takes = false
  rig.connection.received(rig.heartbeat())
  rig.answer(0)
  rig.flush()
  assert.equal(rig.wire.paused, true)
  rig.connection.received(rig.heartbeat())
  assert.equal(rig.exchanges.length, 1)
  rig.wire.takes = true
  rig.connection.drained()
  assert.equal(rig.exchanges.length, 2)
  assert.equal(rig.wire.paused, false)
})

test('every reason to stop at once: reading goes on when the last of them is gone', () => {
  const rig = new Rig({ inFlightMax: 2 })
  rig.connection.received(Buffer.concat(Array.from({ length: 3 }, () => rig.heartbeat())))
  assert.equal(rig.exchanges.length, 2)
  rig.wire.takes = false
  rig.answer(0)
  rig.answer(1)
  rig.flush()
  const taken = rig.exchanges.length
  rig.full = true
  rig.wire.takes = true
  rig.connection.drained()
  rig.makeRoom()
  rig.flush()
  for (let i = 2; i < rig.exchanges.length; i++) rig.answer(i)
  rig.flush()
  assert.ok(taken >= 2)
  assert.equal(rig.exchanges.length, 3)
  assert.equal(rig.wire.paused, false)
  assert.deepEqual(rig.sent(), [1, 2, 3])
})

test('a closed connection abandons what waits elsewhere, once, and hears no more', () => {
  const rig = new Rig()
  rig.connection.received(Buffer.concat([rig.heartbeat(), rig.heartbeat()]))
  let abandoned = 0
  rig.exchanges[0]!.onAbandon = () => abandoned++
  rig.connection.closed('gone')
  rig.connection.closed('again')
  rig.connection.received(rig.heartbeat())
  rig.answer(0)
  rig.flush()
  assert.equal(abandoned, 1)
  assert.equal(rig.exchanges.length, 2)
  assert.deepEqual(rig.wire.written, [])
  assert.deepEqual(
    rig.events.map(({ type }) => type),
    ['disconnected'],
  )
})

test('an answer that the version cannot say closes the connection instead of the node', () => {
  const rig = new Rig()
  rig.connection.received(rig.frame(apis.findCoordinator, 1, { key: 'g', keyType: 0 }))
  const asked = rig.exchanges[0] as Exchange<typeof apis.findCoordinator.response.definition>
  asked.respond({ errorCode: 0, errorMessage: null, nodeId: 1, host: 'h'.repeat(40_000), port: 1, coordinators: [] })
  rig.flush()
  assert.equal(rig.wire.destroyed, true)
  assert.deepEqual(rig.wire.written, [])
  assert.match(rig.malformed[0]!, /cannot be said in version 1/)
})

test('few fetches are open at a time, since each may bring megabytes', () => {
  const rig = new Rig()
  const fetch = (): Buffer => rig.frame(apis.fetch, 4, { maxWaitMs: 1, minBytes: 1, topics: [] })
  rig.connection.received(Buffer.concat(Array.from({ length: 6 }, fetch)))
  assert.equal(rig.exchanges.length, 4)
  assert.equal(rig.wire.paused, true)
  const answer = (index: number): void =>
    (rig.exchanges[index] as Exchange<typeof apis.fetch.response.definition>).respond(NO_RECORDS)
  answer(1)
  answer(0)
  rig.flush()
  assert.equal(rig.exchanges.length, 6)
  for (let i = 2; i < 6; i++) answer(i)
  rig.flush()
  assert.equal(rig.wire.paused, false)
  assert.deepEqual(rig.sent(), [1, 2, 3, 4, 5, 6])
})

test('answers of a turn that grow large are sent before the next request is looked at', () => {
  const large = {
    ...NO_RECORDS,
    responses: [
      {
        topic: 't',
        topicId: '0'.repeat(32),
        partitions: [
          {
            partitionIndex: 0,
            errorCode: 0,
            highWatermark: 0,
            abortedTransactions: null,
            records: Buffer.alloc(3 << 20),
          },
        ],
      },
    ],
  }
  const rig = new Rig()
  rig.onHandle = (exchange) => (exchange as Exchange<typeof apis.fetch.response.definition>).respond(large)
  rig.connection.received(
    Buffer.concat(Array.from({ length: 5 }, () => rig.frame(apis.fetch, 4, { maxWaitMs: 1, minBytes: 1, topics: [] }))),
  )
  assert.equal(rig.exchanges.length, 2)
  rig.flush()
  assert.equal(rig.exchanges.length, 4)
  rig.flush()
  rig.flush()
  assert.equal(rig.exchanges.length, 5)
  assert.equal(rig.wire.paused, false)
})
