import { deepStrictEqual, ok, strictEqual, throws } from 'node:assert'
import { describe, test } from 'node:test'
import { AssertionFailed, Prng } from '../../stdx/index.ts'
import { advertisedApis, apiByKey, apis } from './api-table.ts'
import { allCodecs, encodeByTable, fuzz, randomMessage, versionsOf } from './codec.fuzz.ts'
import { ZERO_UUID } from './message-definition.ts'
import { BY_REFERENCE_BYTES_MIN, DecodeError, ELEMENTS_MAX, EncodeError, Reader, Writer } from './primitives.ts'
import { readCorrelationId, readRequestHeader, readResponse, writeRequest, writeResponse } from './request-header.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/[\s|]/g, ''), 'hex')

function refuses(code: string, run: () => unknown): void {
  throws(run, (error) => error instanceof DecodeError && error.code === code)
}

describe('codec', () => {
  test('every message, every version: a made-up message comes back as it was, byte for byte as the twin writes it', () => {
    const prng = new Prng(7)
    for (const codec of allCodecs()) {
      for (const version of versionsOf(codec)) {
        for (let i = 0; i < 3; i++) {
          const message = randomMessage(prng, codec.definition, version)
          const bytes = codec.encodeToBuffer(message, version)
          deepStrictEqual(
            bytes,
            encodeByTable(codec.definition, version, message),
            `${codec.definition.name} v${version}`,
          )
          const reader = new Reader(bytes)
          deepStrictEqual(codec.decode(reader, version), message)
          strictEqual(reader.left, 0)
        }
      }
    }
  })

  test('every message, every version: cut at any byte it is refused', () => {
    const prng = new Prng(11)
    for (const codec of allCodecs()) {
      for (const version of versionsOf(codec)) {
        const bytes = codec.encodeToBuffer(randomMessage(prng, codec.definition, version), version)
        // Large records make long messages; their inside is one slice, so its bytes need not be tried one by one.
        const step = bytes.length > 3000 ? 97 : 1
        for (let length = 0; length < bytes.length; length += step) {
          throws(
            () => codec.decode(new Reader(bytes, 0, length), version),
            (error) =>
              error instanceof DecodeError && error.message.startsWith(`${codec.definition.name} v${version}: `),
          )
        }
      }
    }
  })

  test('agrees with its twin on damaged bytes and tags from the future', () => fuzz(1, 400))

  test('a draft may leave out what some version lacks and what has a default', () => {
    const bytes = apis.produce.response.encodeToBuffer(
      { responses: [{ name: 't', partitionResponses: [{ index: 0, errorCode: 0, baseOffset: 5 }] }] },
      11,
    )
    deepStrictEqual(apis.produce.response.decodeFrom(bytes, 11), {
      responses: [
        {
          name: 't',
          partitionResponses: [
            {
              index: 0,
              errorCode: 0,
              baseOffset: 5,
              logAppendTimeMs: -1,
              logStartOffset: -1,
              recordErrors: [],
              errorMessage: null,
              currentLeader: { leaderId: -1, leaderEpoch: -1 },
            },
          ],
        },
      ],
      throttleTimeMs: 0,
      nodeEndpoints: [],
    })
    strictEqual(
      apis.deleteTopics.request.decodeFrom(hex('02 00 | 0000000000000000 0000000000000000 | 00 | 00000000 00'), 6)
        .topics[0]?.name,
      null,
    )
    strictEqual(
      apis.metadata.request.decodeFrom(hex('02 0000000000000000 0000000000000000 0261 00 | 00 00 00'), 12).topics?.[0]
        ?.topicId,
      ZERO_UUID,
    )
  })

  test('HoldLog, our own: these bytes are what other versions send', () => {
    const request = {
      name: 'tides',
      topicId: 'ab'.repeat(16),
      partitionIndex: 3,
      holder: 'cd'.repeat(16),
      holderName: 'a backup',
      offset: 0x0102,
      leaseMs: 30_000,
    }
    const asked = hex(
      `06 7469646573 | ${'ab'.repeat(16)} | 00000003 | ${'cd'.repeat(16)} | 09 61206261636b7570 | 0000000000000102 | 00007530 | 00`,
    )
    deepStrictEqual(apis.holdLog.request.encodeToBuffer(request, 0), asked)
    deepStrictEqual(apis.holdLog.request.decodeFrom(asked, 0), request)
    const response = { errorCode: 1, errorMessage: 'gone', logStartOffset: 7, renewed: false }
    const told = hex('0001 | 05 676f6e65 | 0000000000000007 | 00')
    deepStrictEqual(apis.holdLog.response.encodeToBuffer(response, 0), told)
    deepStrictEqual(apis.holdLog.response.decodeFrom(told, 0), response)
    const renewed = { errorCode: 0, errorMessage: null, logStartOffset: 7, renewed: true }
    deepStrictEqual(
      apis.holdLog.response.encodeToBuffer(renewed, 0),
      hex('0000 | 00 | 0000000000000007 | 01 00 01 | 01'),
    )
    strictEqual(apiByKey(1003), apis.holdLog)
  })

  test('the answer to an unknown ApiVersions version, as Kafka writes it', () => {
    const writer = new Writer()
    writeResponse(writer, apis.apiVersions, 0, 9, {
      errorCode: 35,
      apiKeys: [{ apiKey: 18, minVersion: 0, maxVersion: 4 }],
    })
    deepStrictEqual(writer.takeBuffer(), hex('00000010 | 00000009 | 0023 | 00000001 | 0012 0000 0004'))
  })

  test('null where this version has none is an EncodeError that names the field', () => {
    throws(
      () => apis.metadata.request.encodeToBuffer({ topics: null }, 0),
      (error) => error instanceof EncodeError && error.code === 'NULL_NOT_ALLOWED' && error.message.includes('topics'),
    )
    throws(
      () => apis.heartbeat.request.encodeToBuffer({ groupId: 'x'.repeat(40_000), generationId: 1, memberId: '' }, 0),
      EncodeError,
    )
    strictEqual(
      apis.heartbeat.request.encodeToBuffer({ groupId: 'x'.repeat(40_000), generationId: 1, memberId: '' }, 4).length,
      40_010,
    )
    throws(() => apis.heartbeat.request.encodeToBuffer({ groupId: '', generationId: 1, memberId: '' }, 5), EncodeError)
    refuses('UNSUPPORTED_VERSION', () => apis.heartbeat.request.decodeFrom(Buffer.alloc(10), -1))
  })

  test('absurd lengths and counts are refused before anything is allocated', () => {
    refuses('TOO_MANY_ELEMENTS', () => apis.metadata.request.decodeFrom(hex('7fffffff 0001 61'), 1))
    refuses('INVALID_LENGTH', () => apis.metadata.request.decodeFrom(hex('fffffffe'), 1))
    refuses('INVALID_LENGTH', () => apis.metadata.request.decodeFrom(hex('ffffffff'), 0))
    refuses('INVALID_LENGTH', () => apis.heartbeat.request.decodeFrom(hex('ffff'), 0))
    refuses('TRUNCATED', () => apis.heartbeat.request.decodeFrom(hex('7fff 61'), 0))
    refuses('TRUNCATED', () =>
      apis.produce.request.decodeFrom(hex('ffff ffff 00000000 00000001 000161 00000001 00000000 7fffffff'), 3),
    )
    refuses('INVALID_VARINT', () => apis.heartbeat.request.decodeFrom(hex('ffffffff7f'), 4))
    refuses('OUT_OF_RANGE', () =>
      apis.initProducerId.response.decodeFrom(hex('00000000 0000 7fffffffffffffff 0000'), 0),
    )
    const many = Buffer.alloc(4 + (ELEMENTS_MAX + 1) * 2)
    many.writeInt32BE(ELEMENTS_MAX + 1)
    refuses('TOO_MANY_ELEMENTS', () => apis.deleteGroups.request.decodeFrom(many, 0))
  })

  test('a tagged field must be as long as its section says', () => {
    // FetchRequest v12: cluster id "ab" in tag 0, said to take 4 bytes but taking 3.
    const start = '00000000 00000000 00000000 00 00000000 00000000 01 01 01'
    strictEqual(apis.fetch.request.decodeFrom(hex(`ffffffff ${start} 01 00 03 03 6162`), 12).clusterId, 'ab')
    refuses('INVALID_TAG', () => apis.fetch.request.decodeFrom(hex(`ffffffff ${start} 01 00 04 03 6162 00`), 12))
    refuses('INVALID_TAG', () => apis.fetch.request.decodeFrom(hex(`ffffffff ${start} 01 00 02 03 6162 00`), 12))
  })

  test('decoded records are a slice of the frame, decoded bytes are a copy', () => {
    const produce = apis.produce.request.encodeToBuffer(
      {
        acks: -1,
        timeoutMs: 1,
        topicData: [{ name: 't', partitionData: [{ index: 0, records: Buffer.from('batch') }] }],
      },
      9,
    )
    strictEqual(
      apis.produce.request.decodeFrom(produce, 9).topicData[0]?.partitionData[0]?.records?.buffer,
      produce.buffer,
    )
    const sync = apis.syncGroup.response.encodeToBuffer({ errorCode: 0, assignment: Buffer.from('mine') }, 3)
    const { assignment } = apis.syncGroup.response.decodeFrom(sync, 3)
    strictEqual(assignment.toString(), 'mine')
    strictEqual(assignment.buffer.byteLength, 4)
  })
})

describe('writer', () => {
  const fetchOf = (slices: Buffer[]) => ({
    throttleTimeMs: 0,
    responses: [
      {
        topicId: 'ab'.repeat(16),
        partitions: [{ partitionIndex: 0, errorCode: 0, highWatermark: 9, abortedTransactions: null, records: slices }],
      },
    ],
  })

  test('large record slices leave by reference, small ones in the copy around them', () => {
    const large = Buffer.alloc(BY_REFERENCE_BYTES_MIN, 1)
    const small = Buffer.alloc(100, 2)
    const writer = new Writer()
    writeResponse(writer, apis.fetch, 16, 1, fetchOf([small, large, large, small]))
    writeResponse(writer, apis.heartbeat, 4, 2, { errorCode: 0 })
    const chunks = writer.take()
    strictEqual(chunks.length, 4)
    strictEqual(chunks[1], large)
    strictEqual(chunks[2], large)
    const bytes = Buffer.concat(chunks)
    const length = bytes.readInt32BE(0)
    strictEqual(bytes.readInt32BE(4 + length), bytes.length - length - 8)
    const reader = new Reader(bytes, 4, 4 + length)
    strictEqual(readCorrelationId(reader), 1)
    const records = readResponse(reader, apis.fetch, 16).responses[0]?.partitions[0]?.records
    deepStrictEqual(records, Buffer.concat([small, large, large, small]))
    strictEqual(reader.left, 0)
  })

  test('bytes that were taken are never written again, however the slab ends', () => {
    const writer = new Writer(64)
    const taken: Buffer[] = []
    const copies: Buffer[] = []
    for (let i = 0; i < 200; i++) {
      writeResponse(writer, apis.listGroups, 5, i, {
        errorCode: 0,
        groups: Array.from({ length: i % 7 }, (_, g) => ({ groupId: `group-${i}-${g}`, protocolType: 'consumer' })),
      })
      if (i % 3 !== 0) continue
      const bytes = writer.takeBuffer()
      taken.push(bytes)
      copies.push(Buffer.from(bytes))
    }
    deepStrictEqual(taken, copies)
    let frames = 0
    const all = Buffer.concat([...taken, writer.takeBuffer()])
    for (let at = 0; at < all.length; at += 4 + all.readInt32BE(at)) {
      const reader = new Reader(all, at + 4, at + 4 + all.readInt32BE(at))
      strictEqual(readCorrelationId(reader), frames++)
      readResponse(reader, apis.listGroups, 5)
      strictEqual(reader.left, 0)
    }
    strictEqual(frames, 200)
    writer.release()
    strictEqual(writer.length, 0)
  })

  test('a tagged field longer than 127 bytes, across a growing slab', () => {
    const nodeEndpoints = Array.from({ length: 1500 }, (_, nodeId) => ({
      nodeId,
      host: `host-${nodeId}.example`,
      port: 9092,
      rack: null,
    }))
    for (const count of [1, 6, 7, 900, 1500]) {
      const endpoints = nodeEndpoints.slice(0, count)
      const writer = new Writer(64)
      apis.produce.response.encode(writer, { responses: [], nodeEndpoints: endpoints }, 10)
      deepStrictEqual(apis.produce.response.decodeFrom(writer.takeBuffer(), 10).nodeEndpoints, endpoints)
    }
  })

  test('a frame that cannot be finished is taken back, with or without large slices in it', () => {
    for (const slab of [64, 16_384]) {
      for (const slice of [Buffer.alloc(10), Buffer.alloc(BY_REFERENCE_BYTES_MIN)]) {
        const writer = new Writer(slab)
        writeResponse(writer, apis.heartbeat, 0, 1, { errorCode: 0 })
        const impossible = fetchOf([slice, slice])
        const responses = [...impossible.responses, { topic: 'x'.repeat(40_000), partitions: [] }]
        throws(() => writeResponse(writer, apis.fetch, 11, 2, { throttleTimeMs: 0, responses }), EncodeError)
        writeResponse(writer, apis.heartbeat, 0, 3, { errorCode: 7 })
        deepStrictEqual(writer.takeBuffer(), hex('00000006 00000001 0000 | 00000006 00000003 0007'))
      }
    }
  })

  test('misuse is an assertion', () => {
    const writer = new Writer()
    throws(() => writer.endFrame(), AssertionFailed)
    writer.beginFrame()
    throws(() => writer.take(), AssertionFailed)
    throws(() => writer.beginFrame(), AssertionFailed)
    writer.endFrame()
    throws(() => writer.uuid('short'), AssertionFailed)
    throws(() => writer.int64(2 ** 60), EncodeError)
  })
})

describe('headers', () => {
  test('the client id stays classic in flexible headers; the tagged section is skipped', () => {
    const writer = new Writer()
    writeRequest(writer, apis.heartbeat, 4, 77, 'me', { groupId: 'g', generationId: 3, memberId: 'm' })
    const frame = writer.takeBuffer()
    deepStrictEqual(frame, hex('00000017 | 000c 0004 0000004d 0002 6d65 00 | 0267 00000003 026d 00 00'))
    const withTag = hex('000c 0004 0000004d ffff 01 05 02 aaaa | 0267 00000003 026d 00 00')
    const reader = new Reader(withTag)
    const header = readRequestHeader(reader)
    deepStrictEqual(
      { ...header, api: header.api?.name },
      { apiKey: 12, apiVersion: 4, correlationId: 77, clientId: null, api: 'Heartbeat' },
    )
    strictEqual(apis.heartbeat.request.decode(reader, 4).groupId, 'g')
    refuses('TRUNCATED', () => readRequestHeader(new Reader(hex('000c 0004 0000'))))
  })

  test('an unknown API is named by its key alone', () => {
    strictEqual(readRequestHeader(new Reader(hex('03e7 0000 00000001 ffff'))).api, undefined)
    strictEqual(readRequestHeader(new Reader(hex('ffff 0000 00000001 ffff'))).api, undefined)
  })

  test('responses to ApiVersions have no tagged section in the header, others do', () => {
    const writer = new Writer()
    writeResponse(writer, apis.apiVersions, 4, 1, { errorCode: 0, apiKeys: [] })
    deepStrictEqual(writer.takeBuffer(), hex('0000000c 00000001 0000 01 00000000 00'))
    writeResponse(writer, apis.heartbeat, 4, 1, { errorCode: 0 })
    deepStrictEqual(writer.takeBuffer(), hex('0000000c 00000001 00 00000000 0000 00'))
  })
})

describe('api table', () => {
  test('the two messages of an API have its key and the same versions, and every key is found', () => {
    for (const api of Object.values(apis)) {
      strictEqual(api.request.definition.apiKey, api.apiKey)
      strictEqual(api.response.definition.apiKey, api.apiKey)
      strictEqual(api.request.definition.versions, api.response.definition.versions)
      strictEqual(api.request.definition.flexible, api.response.definition.flexible)
      strictEqual(api.request.definition.name, `${api.name}Request`)
      strictEqual(apiByKey(api.apiKey), api)
      ok(api.minVersion <= api.minServedVersion && api.minServedVersion <= api.maxVersion)
    }
    strictEqual(apiByKey(4711), undefined)
    strictEqual(apiByKey(-1), undefined)
  })

  test('advertises what old clients look for', () => {
    const ranges = Object.fromEntries(advertisedApis().map((each) => [each.apiKey, [each.minVersion, each.maxVersion]]))
    deepStrictEqual(ranges, {
      0: [0, 11],
      1: [4, 16],
      2: [0, 8],
      3: [0, 12],
      8: [2, 9],
      9: [1, 9],
      10: [0, 5],
      11: [0, 9],
      12: [0, 4],
      13: [0, 5],
      14: [0, 5],
      15: [0, 5],
      16: [0, 5],
      18: [0, 4],
      19: [0, 7],
      20: [0, 6],
      21: [0, 2],
      22: [0, 5],
      23: [2, 4],
      32: [0, 4],
      33: [0, 2],
      42: [0, 2],
      44: [0, 1],
      60: [0, 1],
    })
  })
})
