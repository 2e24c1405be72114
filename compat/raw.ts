/**
 * The edges that well-behaved clients never touch: what is malformed, unknown, too large or out of turn. Each is answered as
 * Apache Kafka answers it: by the same error code, or, where its protocol has no words, by a closed connection. After each the
 * node must serve the next client as if nothing had happened.
 */
import { leadersOf, RawClient } from '../bench/raw-client.ts'
import { apis } from '../src/gateways/kafka/index.ts'
import { type BatchOptions, encodeBatch, sumOf } from '../src/records/index.ts'
import { frame, framed, provoke } from './hostile.ts'

export interface RawCheck {
  readonly name: string
  readonly run: (brokers: readonly string[]) => Promise<string>
}

export const RAW_CHECKS: readonly RawCheck[] = [
  { name: 'frames', run: frames },
  { name: 'unknown-apis', run: unknownApis },
  { name: 'api-versions', run: apiVersions },
  { name: 'answer-order', run: answerOrder },
  { name: 'damaged-batches', run: damagedBatches },
  { name: 'too-large', run: tooLarge },
  { name: 'acks', run: acks },
  { name: 'sequences', run: sequences },
  { name: 'unknown-partitions', run: unknownPartitions },
  { name: 'auto-creation', run: autoCreation },
  { name: 'topic-names', run: topicNames },
  { name: 'create-topics', run: createTopics },
  { name: 'fetch-edges', run: fetchEdges },
  { name: 'group-refusals', run: groupRefusals },
  { name: 'offsets', run: offsets },
  { name: 'unknown-groups', run: unknownGroups },
  { name: 'describe-unknown', run: describeUnknown },
]

/** Kafka's error codes, by their names. */
const E = {
  NONE: 0,
  OFFSET_OUT_OF_RANGE: 1,
  CORRUPT_MESSAGE: 2,
  UNKNOWN_TOPIC_OR_PARTITION: 3,
  MESSAGE_TOO_LARGE: 10,
  OFFSET_METADATA_TOO_LARGE: 12,
  INVALID_TOPIC_EXCEPTION: 17,
  INVALID_REQUIRED_ACKS: 21,
  ILLEGAL_GENERATION: 22,
  INCONSISTENT_GROUP_PROTOCOL: 23,
  INVALID_GROUP_ID: 24,
  UNKNOWN_MEMBER_ID: 25,
  INVALID_SESSION_TIMEOUT: 26,
  INVALID_TIMESTAMP: 32,
  UNSUPPORTED_VERSION: 35,
  TOPIC_ALREADY_EXISTS: 36,
  INVALID_PARTITIONS: 37,
  INVALID_REPLICATION_FACTOR: 38,
  INVALID_CONFIG: 40,
  INVALID_REQUEST: 42,
  OUT_OF_ORDER_SEQUENCE_NUMBER: 45,
  INVALID_PRODUCER_EPOCH: 47,
  NON_EMPTY_GROUP: 68,
  GROUP_ID_NOT_FOUND: 69,
  FETCH_SESSION_ID_NOT_FOUND: 70,
  UNKNOWN_LEADER_EPOCH: 75,
  UNSUPPORTED_COMPRESSION_TYPE: 76,
  MEMBER_ID_REQUIRED: 79,
  INVALID_RECORD: 87,
  UNKNOWN_TOPIC_ID: 100,
} as const

const METADATA = 3
const PRODUCE = 0
const FETCH = 1
const API_VERSIONS = 18

async function frames([broker]: readonly string[]): Promise<string> {
  const junk = Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  const cases: [string, Buffer, boolean][] = [
    ['a length of 2 GiB', framed(Buffer.alloc(16), 0x7fff_ffff), false],
    ['a length just above the limit', framed(Buffer.alloc(16), (100 << 20) + 1), false],
    ['a negative length', framed(Buffer.alloc(16), -1), false],
    ['the most negative length', framed(Buffer.alloc(16), -0x8000_0000), false],
    ['an empty frame', framed(Buffer.alloc(0)), false],
    ['a frame shorter than a header', framed(Buffer.from([0, 3, 0])), false],
    ['HTTP', junk, false],
    ['half a frame, then the end', framed(Buffer.alloc(40), 400), true],
    ['half a length, then the end', Buffer.from([0, 0]), true],
    ['a client id longer than its frame', framed(Buffer.from([0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff])), false],
    ['a body that ends early', frame(METADATA, 1, Buffer.from([0, 0, 0, 5])), false],
    ['an array of 2^31 - 1 topics', frame(METADATA, 1, Buffer.from([0x7f, 0xff, 0xff, 0xff])), false],
    ['an array of -2 topics', frame(METADATA, 1, Buffer.from([0xff, 0xff, 0xff, 0xfe])), false],
    ['a varint without end', frame(METADATA, 9, Buffer.alloc(64, 0xff)), false],
  ]
  for (const [what, bytes, end] of cases) {
    const { closed, answer } = await provoke(broker!, bytes, { end })
    check(closed && answer.length === 0, `${what}: ${closed ? `answered by ${answer.length} bytes` : 'the connection stays open'}`)
    await serves(broker!, what)
  }
  return `${cases.length} kinds: closed without an answer, the node serves on`
}

async function unknownApis([broker]: readonly string[]): Promise<string> {
  const cases: [string, number, number][] = [
    ['key 9999', 9999, 0],
    ['key -1', -1, 0],
    ['a controller’s key (Vote)', 52, 0],
    ['Metadata 99', METADATA, 99],
    ['Metadata -1', METADATA, -1],
    ['Fetch 3', FETCH, 3],
    ['Produce 2, which is advertised and not served', PRODUCE, 2],
    ['Produce 127', PRODUCE, 127],
  ]
  for (const [what, key, version] of cases) {
    const { closed, answer } = await provoke(broker!, frame(key, version, Buffer.alloc(32)))
    check(closed && answer.length === 0, `${what}: ${closed ? `answered by ${answer.length} bytes` : 'the connection stays open'}`)
    await serves(broker!, what)
  }
  return `${cases.length} kinds: closed, as Kafka does`
}

async function apiVersions([broker]: readonly string[]): Promise<string> {
  // KIP-511: version 0's body, with this one key, whatever version was asked for.
  for (const version of [5, 99, 0x7fff]) {
    const { answer } = await provoke(broker!, frame(API_VERSIONS, version, Buffer.from([0])))
    same(answer.length, 4 + 4 + 2 + 4 + 6, `bytes of the answer to ApiVersions ${version}`)
    same(answer.readInt32BE(4), 7, 'correlation id')
    same(answer.readInt16BE(8), E.UNSUPPORTED_VERSION, 'error')
    same([answer.readInt32BE(10), answer.readInt16BE(14)].join(), `1,${API_VERSIONS}`, 'keys')
  }
  return await withClient(broker!, async (client) => {
    for (const version of [0, 1, 2, 3, 4]) {
      const named = { clientSoftwareName: 'compat', clientSoftwareVersion: '1.0' }
      const { errorCode, apiKeys } = await client.request(apis.apiVersions, version, named)
      same(errorCode, E.NONE, `error of ApiVersions ${version}`)
      check(apiKeys.length > 15, `ApiVersions ${version} lists ${apiKeys.length} keys`)
    }
    const unnamed = { clientSoftwareName: '', clientSoftwareVersion: '-' }
    const { errorCode } = await client.request(apis.apiVersions, 3, unnamed)
    same(errorCode, E.INVALID_REQUEST, 'error for a client without a name')
    return 'unknown versions are answered in version 0'
  })
}

async function answerOrder(brokers: readonly string[]): Promise<string> {
  return await withTopic(brokers, 'order', async (client, topic) => {
    const order: string[] = []
    const note = (what: string) => (error: Error | null) => void order.push(error === null ? what : `${what}: ${error.message}`)
    client.send(apis.fetch, 11, { maxWaitMs: 300, minBytes: 1, topics: [{ topic, partitions: [partitionAt(0)] }] }, note('poll'))
    client.send(apis.metadata, 5, { topics: [] }, note('metadata'))
    client.send(apis.produce, 7, { acks: -1, timeoutMs: 1000, topicData: [{ name: topic, partitionData: [{ index: 0, records: batch() }] }] }, note('produce'))
    const startedAt = performance.now()
    await client.request(apis.apiVersions, 0, {})
    const tookMs = performance.now() - startedAt
    same(order.join(), 'poll,metadata,produce', 'order of the answers')
    // The long poll is woken by the produce request behind it, which is served while the poll waits.
    return `in the order of the requests, after ${tookMs.toFixed(0)} ms`
  })
}

async function damagedBatches(brokers: readonly string[]): Promise<string> {
  return await withTopic(brokers, 'damaged', async (client, topic) => {
    const cases: [string, Buffer | null, number, number?][] = [
      ['a flipped bit', changed((bytes) => bytes.writeUInt8(bytes.at(-1)! ^ 1, bytes.length - 1)), E.CORRUPT_MESSAGE],
      ['a wrong CRC', changed((bytes) => bytes.writeUInt32BE(0xdeadbeef, 17)), E.CORRUPT_MESSAGE],
      ['magic 1', changed((bytes) => bytes.writeInt8(1, 16)), E.INVALID_RECORD],
      ['magic 0', changed((bytes) => bytes.writeInt8(0, 16)), E.INVALID_RECORD],
      ['magic 3', changed((bytes) => bytes.writeInt8(3, 16)), E.CORRUPT_MESSAGE],
      ['magic -1', changed((bytes) => bytes.writeInt8(-1, 16)), E.CORRUPT_MESSAGE],
      ['a truncated batch', batch().subarray(0, -5), E.INVALID_RECORD],
      ['a header alone', batch().subarray(0, 30), E.INVALID_RECORD],
      ['a negative length', changed((bytes) => bytes.writeInt32BE(-1, 8)), E.CORRUPT_MESSAGE],
      ['a length of 3', changed((bytes) => bytes.writeInt32BE(3, 8)), E.CORRUPT_MESSAGE],
      ['no bytes', Buffer.alloc(0), E.INVALID_RECORD],
      ['null', null, E.INVALID_RECORD],
      ['two batches', Buffer.concat([batch(), batch()]), E.INVALID_RECORD],
      ['a control batch', batch({ control: true }), E.INVALID_RECORD],
      ['a claim of append time', summed((bytes) => bytes.writeInt16BE(8, 21)), E.INVALID_TIMESTAMP],
      ['a count of 5 where there is 1', summed((bytes) => bytes.writeInt32BE(5, 57) && bytes.writeInt32BE(4, 23)), E.INVALID_RECORD],
      ['a count of -1', summed((bytes) => bytes.writeInt32BE(-1, 57)), E.INVALID_RECORD],
      ['zstd before version 7', summed((bytes) => bytes.writeInt16BE(4, 21)), E.UNSUPPORTED_COMPRESSION_TYPE, 5],
    ]
    const wrong: string[] = []
    for (const [what, records, expected, version] of cases) {
      const { errorCode } = await produce(client, topic, records, { version: version ?? 7 })
      if (errorCode !== expected) wrong.push(`${what}: error ${errorCode}, Kafka answers ${expected}`)
    }
    check(wrong.length === 0, wrong.join('; '))
    same((await produce(client, topic, batch())).baseOffset, 0, 'offset of the first whole batch')
    return `${cases.length} kinds refused, none stored`
  })
}

async function tooLarge(brokers: readonly string[]): Promise<string> {
  return await withTopic(brokers, 'large', async (client, topic) => {
    const large = encodeBatch([{ key: null, value: Buffer.alloc(1_100_000) }], { timestamp: 1 })
    same((await produce(client, topic, large)).errorCode, E.MESSAGE_TOO_LARGE, 'error for 1.1 MB')
    const justFits = encodeBatch([{ key: null, value: Buffer.alloc(1_048_588 - 61 - 12) }], { timestamp: 1 })
    check(justFits.length <= 1_048_588, `the batch that should fit has ${justFits.length} bytes`)
    same((await produce(client, topic, justFits)).errorCode, E.NONE, `error for ${justFits.length} bytes`)
    const key = Buffer.alloc(1_200_000, 'k')
    const largeKey = encodeBatch([{ key, value: null }], { timestamp: 1 })
    same((await produce(client, topic, largeKey)).errorCode, E.MESSAGE_TOO_LARGE, 'error for a key of 1.2 MB')
    return 'by max.message.bytes, to the byte'
  })
}

async function acks(brokers: readonly string[]): Promise<string> {
  return await withTopic(brokers, 'acks', async (client, topic, leader) => {
    for (const level of [2, 5, -2]) {
      same((await produce(client, topic, batch(), { acks: level })).errorCode, E.INVALID_REQUIRED_ACKS, `error for acks = ${level}`)
    }
    same((await produce(client, topic, batch(), { acks: 1 })).errorCode, E.NONE, 'error for acks = 1')
    // Without an answer there is nobody to wait for, but the order of the connection holds.
    const silent = { acks: 0, timeoutMs: 1000, topicData: [{ name: topic, partitionData: [{ index: 0, records: batch() }] }] }
    let answered = false
    client.send(apis.produce, 7, silent, (error) => {
      answered = error === null
    })
    same((await produce(client, topic, batch())).baseOffset, 2, 'offset behind a batch with acks = 0')
    check(!answered, 'a request with acks = 0 was answered')
    const failing = await RawClient.connect(leader)
    const bad = { ...silent, topicData: [{ name: topic, partitionData: [{ index: 77, records: batch() }] }] }
    await new Promise<void>((resolve) => failing.send(apis.produce, 7, bad, () => resolve()))
    check(!failing.isOpen, 'a failed write with acks = 0 left the connection open')
    return '2, 5, -2 refused; 0 silent, and hung up on failure'
  })
}

async function sequences(brokers: readonly string[]): Promise<string> {
  return await withTopic(brokers, 'sequences', async (client, topic) => {
    const { producerId } = await client.request(apis.initProducerId, 1, { transactionalId: null, transactionTimeoutMs: -1 })
    const send = (baseSequence: number, producerEpoch = 0) =>
      produce(client, topic, batch({ producerId, producerEpoch, baseSequence }))
    for (const sequence of [0, 1, 2, 3, 4, 5]) same((await send(sequence)).baseOffset, sequence, `offset of sequence ${sequence}`)
    for (const sequence of [1, 3, 5]) {
      const again = await send(sequence)
      same(`${again.errorCode}/${again.baseOffset}`, `0/${sequence}`, `answer to sequence ${sequence} again`)
    }
    same((await send(9)).errorCode, E.OUT_OF_ORDER_SEQUENCE_NUMBER, 'error for a gap')
    same((await send(7, 1)).errorCode, E.OUT_OF_ORDER_SEQUENCE_NUMBER, 'error for a new epoch that does not begin at 0')
    same((await send(0, 1)).baseOffset, 6, 'offset of a new epoch')
    same((await send(6, 0)).errorCode, E.INVALID_PRODUCER_EPOCH, 'error for the old epoch')
    const other = await client.request(apis.initProducerId, 4, { transactionalId: null, transactionTimeoutMs: 5000, producerId: 0, producerEpoch: 0 })
    check(other.errorCode === E.NONE && other.producerId !== producerId, `another producer got ${JSON.stringify(other)}`)
    const stranger = batch({ producerId: other.producerId, producerEpoch: 0, baseSequence: 41 })
    same((await produce(client, topic, stranger)).errorCode, E.NONE, 'error for an unknown producer that goes on')
    return 'duplicates get their first offset; 45 and 47 as in Kafka'
  })
}

async function unknownPartitions(brokers: readonly string[]): Promise<string> {
  return await withTopic(brokers, 'known', async (client, topic) => {
    for (const [name, index] of [
      [topic, 99],
      [topic, -1],
      ['raw.no-such-topic', 0],
      ['not/a:name', 0],
    ] as const) {
      const what = `${name}/${index}`
      same((await produce(client, name, batch(), { index })).errorCode, E.UNKNOWN_TOPIC_OR_PARTITION, `Produce to ${what}`)
      const asked = [{ topic: name, partitions: [{ ...partitionAt(0), partition: index }] }]
      const fetched = await client.request(apis.fetch, 11, { maxWaitMs: 100, minBytes: 1, topics: asked })
      same(fetched.responses[0]?.partitions[0]?.errorCode, E.UNKNOWN_TOPIC_OR_PARTITION, `Fetch of ${what}`)
      const listed = await client.request(apis.listOffsets, 5, { replicaId: -1, topics: [{ name, partitions: [{ partitionIndex: index, timestamp: -1 }] }] })
      same(listed.topics[0]?.partitions[0]?.errorCode, E.UNKNOWN_TOPIC_OR_PARTITION, `ListOffsets of ${what}`)
      const epoch = await client.request(apis.offsetForLeaderEpoch, 3, { topics: [{ topic: name, partitions: [{ partition: index, leaderEpoch: 1 }] }] })
      same(epoch.topics[0]?.partitions[0]?.errorCode, E.UNKNOWN_TOPIC_OR_PARTITION, `OffsetForLeaderEpoch of ${what}`)
    }
    const nobody = '00000000000000000000000000000007'
    const topicId = toUuidLike((await client.request(apis.metadata, 12, { topics: [{ name: topic }] })).topics[0]!.topicId, nobody)
    const byId = await client.request(apis.fetch, 13, { maxWaitMs: 100, minBytes: 1, topics: [{ topicId, partitions: [partitionAt(0)] }] })
    same(byId.responses[0]?.partitions[0]?.errorCode, E.UNKNOWN_TOPIC_ID, 'Fetch of an unknown topic id')
    return 'Produce, Fetch, ListOffsets, OffsetForLeaderEpoch: 3; by id: 100'
  })
}

async function autoCreation([broker]: readonly string[]): Promise<string> {
  return await withClient(broker!, async (client) => {
    const name = 'raw.auto'
    const ask = (allowAutoTopicCreation: boolean) =>
      client.request(apis.metadata, 9, { topics: [{ name }], allowAutoTopicCreation }).then(({ topics }) => topics[0]!)
    same((await ask(false)).errorCode, E.UNKNOWN_TOPIC_OR_PARTITION, 'error without creation')
    const startedAt = performance.now()
    const created = await ask(true)
    const tookMs = performance.now() - startedAt
    same(created.errorCode, E.NONE, 'error with creation')
    same(created.partitions.length, 4, 'partitions')
    check(created.partitions.every(({ leaderId }) => leaderId > 0), 'a partition has no leader in the first answer')
    const { topics, brokers, controllerId } = await client.request(apis.metadata, 9, { topics: [] })
    same(topics.length, 0, 'topics when none is asked for')
    check(brokers.some(({ nodeId }) => nodeId === controllerId), `controller ${controllerId} is not among the brokers`)
    const all = await client.request(apis.metadata, 9, { topics: null })
    check(all.topics.some((topic) => topic.name === name), 'the topic is not among all topics')
    const first = await client.request(apis.metadata, 0, { topics: [] })
    check(first.topics.length === all.topics.length, `version 0 shows ${first.topics.length} of ${all.topics.length} topics`)
    return `4 partitions, all with leaders, in the first answer (${tookMs.toFixed(0)} ms)`
  })
}

async function topicNames([broker]: readonly string[]): Promise<string> {
  const names = ['', '.', '..', 'a b', 'ä', 'a/b', 'a:b', 'x'.repeat(250)]
  return await withClient(broker!, async (client) => {
    for (const name of names) {
      const shown = JSON.stringify(name.slice(0, 10))
      const { topics } = await client.request(apis.metadata, 9, { topics: [{ name }], allowAutoTopicCreation: true })
      same(topics[0]?.errorCode, E.INVALID_TOPIC_EXCEPTION, `Metadata of ${shown}`)
      same((await create(client, { name })).errorCode, E.INVALID_TOPIC_EXCEPTION, `CreateTopics of ${shown}`)
    }
    same((await create(client, { name: 'x'.repeat(249) })).errorCode, E.NONE, 'CreateTopics of 249 characters')
    return `${names.length} names refused`
  })
}

async function createTopics(brokers: readonly string[]): Promise<string> {
  return await withClient(brokers[0]!, async (client) => {
    const name = 'raw.created'
    same((await create(client, { name }, true)).errorCode, E.NONE, 'error of a validation')
    const absent = await client.request(apis.metadata, 9, { topics: [{ name }], allowAutoTopicCreation: false })
    same(absent.topics[0]?.errorCode, E.UNKNOWN_TOPIC_OR_PARTITION, 'a validation creates nothing, so Metadata')
    same((await create(client, { name, numPartitions: 3 })).numPartitions, 3, 'partitions')
    const topic = { name: 'raw.refused' }
    const config = (key: string, value: string) => ({ ...topic, configs: [{ name: key, value }] })
    same((await create(client, { name })).errorCode, E.TOPIC_ALREADY_EXISTS, 'again')
    same((await create(client, { ...topic, numPartitions: 0 })).errorCode, E.INVALID_PARTITIONS, '0 partitions')
    same((await create(client, { ...topic, numPartitions: -2 })).errorCode, E.INVALID_PARTITIONS, '-2 partitions')
    same((await create(client, { ...topic, replicationFactor: 9 })).errorCode, E.INVALID_REPLICATION_FACTOR, '9 replicas')
    same((await create(client, { ...topic, replicationFactor: 0 })).errorCode, E.INVALID_REPLICATION_FACTOR, '0 replicas')
    same((await create(client, config('no.such.setting', '1'))).errorCode, E.INVALID_CONFIG, 'an unknown setting')
    same((await create(client, config('retention.ms', 'soon'))).errorCode, E.INVALID_CONFIG, 'a setting that is no number')
    const twice = await client.request(apis.createTopics, 7, { topics: [wanted(topic), wanted(topic)] })
    same(twice.topics.map(({ errorCode }) => errorCode).join(), String(E.INVALID_REQUEST), 'a topic named twice')
    const deleted = await client.request(apis.deleteTopics, 4, { topicNames: [name, 'raw.no-such-topic'], timeoutMs: 5000 })
    same(deleted.responses.map(({ errorCode }) => errorCode).join(), `${E.NONE},${E.UNKNOWN_TOPIC_OR_PARTITION}`, 'deleting')
    return 'refusals with Kafka’s codes; a deleted topic is gone'
  })
}

async function fetchEdges(brokers: readonly string[]): Promise<string> {
  return await withTopic(brokers, 'fetch', async (client, topic) => {
    for (let i = 0; i < 3; i++) await produce(client, topic, batch({}, 5))
    const fetch = (more: object, request: object = {}) =>
      client
        .request(apis.fetch, 11, { maxWaitMs: 200, minBytes: 1, topics: [{ topic, partitions: [{ ...partitionAt(0), ...more }] }], ...request })
        .then(({ errorCode, responses }) => ({ top: errorCode, ...responses[0]?.partitions[0] }))
    same((await fetch({ fetchOffset: 16 })).errorCode, E.OFFSET_OUT_OF_RANGE, 'behind the end')
    same((await fetch({ fetchOffset: -1 })).errorCode, E.OFFSET_OUT_OF_RANGE, 'before the start')
    same((await fetch({ currentLeaderEpoch: 9999 })).errorCode, E.UNKNOWN_LEADER_EPOCH, 'a leader epoch that is to come')
    const tiny = await fetch({ fetchOffset: 7, partitionMaxBytes: 1 }, { maxBytes: 1 })
    const tinyRecords = tiny.records as Buffer
    same(Number(tinyRecords.readBigInt64BE(0)), 5, 'base offset of the batch around offset 7, with a limit of one byte')
    same(tinyRecords.readInt32BE(8) + 12, tinyRecords.length, 'bytes of that one batch')
    const startedAt = performance.now()
    const end = await fetch({ fetchOffset: 15 })
    const waitedMs = performance.now() - startedAt
    same(`${end.errorCode}/${end.highWatermark}`, '0/15', 'error and high-water mark at the end')
    check(waitedMs > 150 && waitedMs < 600, `a poll of 200 ms took ${waitedMs.toFixed(0)} ms`)
    same((await fetch({}, { sessionId: 123, sessionEpoch: 1 })).top, E.FETCH_SESSION_ID_NOT_FOUND, 'a session that nobody gave out')
    return 'ranges, epochs, first-batch rule, long poll, sessions'
  })
}

async function groupRefusals(brokers: readonly string[]): Promise<string> {
  return await withCoordinator(brokers, 'raw.group', async (client) => {
    const protocols = [{ name: 'range', metadata: Buffer.from([0, 0]) }]
    const base = { groupId: 'raw.group', sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, memberId: '', protocolType: 'consumer', protocols }
    const join = (more: object) => client.request(apis.joinGroup, 5, { ...base, ...more })
    same((await join({ groupId: '' })).errorCode, E.INVALID_GROUP_ID, 'an empty group id')
    same((await join({ sessionTimeoutMs: 10 })).errorCode, E.INVALID_SESSION_TIMEOUT, 'a session of 10 ms')
    same((await join({ sessionTimeoutMs: 9_999_999 })).errorCode, E.INVALID_SESSION_TIMEOUT, 'a session of hours')
    same((await join({ memberId: 'nobody' })).errorCode, E.UNKNOWN_MEMBER_ID, 'a member that is unknown')
    same((await join({ protocols: [] })).errorCode, E.INCONSISTENT_GROUP_PROTOCOL, 'no protocols')
    const asked = await join({})
    same(asked.errorCode, E.MEMBER_ID_REQUIRED, 'the first join')
    check(asked.memberId.startsWith('raw-'), `the member id ${asked.memberId} does not begin with the client id`)
    const { memberId } = asked
    const joined = await join({ memberId })
    same(`${joined.errorCode}/${joined.generationId}/${joined.leader === memberId}`, '0/1/true', 'error, generation, leadership')
    same(joined.members.length, 1, 'members that the leader is told of')
    const at = { groupId: 'raw.group', generationId: 1, memberId }
    const beat = (more: object) => client.request(apis.heartbeat, 3, { ...at, ...more }).then(({ errorCode }) => errorCode)
    const assignments = [{ memberId, assignment: Buffer.from('mine') }]
    const wrongGeneration = await client.request(apis.syncGroup, 3, { ...at, generationId: 7, assignments })
    same(wrongGeneration.errorCode, E.ILLEGAL_GENERATION, 'SyncGroup of another generation')
    const synced = await client.request(apis.syncGroup, 3, { ...at, assignments })
    same((synced.assignment as Buffer).toString(), 'mine', 'assignment')
    same(await beat({}), E.NONE, 'Heartbeat')
    same(await beat({ generationId: 9 }), E.ILLEGAL_GENERATION, 'Heartbeat of another generation')
    same(await beat({ memberId: 'nobody' }), E.UNKNOWN_MEMBER_ID, 'Heartbeat of a stranger')
    const mixed = await join({ protocolType: 'connect' })
    same(mixed.errorCode, E.INCONSISTENT_GROUP_PROTOCOL, 'another protocol type')
    const occupied = await client.request(apis.deleteGroups, 1, { groupsNames: ['raw.group'] })
    same(occupied.results[0]?.errorCode, E.NON_EMPTY_GROUP, 'deleting a group with members')
    const left = await client.request(apis.leaveGroup, 3, { groupId: 'raw.group', members: [{ memberId: 'nobody' }, { memberId }] })
    same(left.members.map(({ errorCode }) => errorCode).join(), `${E.UNKNOWN_MEMBER_ID},${E.NONE}`, 'leaving')
    const gone = await client.request(apis.deleteGroups, 1, { groupsNames: ['raw.group'] })
    same(gone.results[0]?.errorCode, E.NONE, 'deleting the empty group')
    return 'join, sync, heartbeat, leave, delete'
  })
}

async function offsets(brokers: readonly string[]): Promise<string> {
  return await withTopic(brokers, 'offsets', async (_, topic) => {
    return await withCoordinator(brokers, 'raw.offsets', async (client) => {
      const groupId = 'raw.offsets'
      const commit = async (more: object, partition: object = {}) => {
        const partitions = [{ partitionIndex: 0, committedOffset: 5, committedMetadata: 'mark', ...partition }]
        const { topics } = await client.request(apis.offsetCommit, 6, { groupId, memberId: '', topics: [{ name: topic, partitions }], ...more })
        return topics[0]!.partitions[0]!.errorCode
      }
      same(await commit({}), E.NONE, 'a commit without a group')
      same(await commit({ generationIdOrMemberEpoch: 5, memberId: 'nobody' }), E.UNKNOWN_MEMBER_ID, 'a commit of a stranger')
      const stray = { groupId: 'raw.nobody', generationIdOrMemberEpoch: 5, memberId: 'nobody' }
      await withCoordinator(brokers, 'raw.nobody', async (its) => {
        const partitions = [{ partitionIndex: 0, committedOffset: 5, committedMetadata: '' }]
        const { topics } = await its.request(apis.offsetCommit, 6, { ...stray, topics: [{ name: topic, partitions }] })
        same(topics[0]!.partitions[0]!.errorCode, E.ILLEGAL_GENERATION, 'a commit to an unknown group')
      })
      same(await commit({}, { committedMetadata: 'x'.repeat(5000) }), E.OFFSET_METADATA_TOO_LARGE, 'metadata of 5000 bytes')
      same(await commit({}, { partitionIndex: 99 }), E.UNKNOWN_TOPIC_OR_PARTITION, 'a partition that does not exist')
      const ask = [{ name: topic, partitionIndexes: [0, 1] }]
      const { topics } = await client.request(apis.offsetFetch, 5, { groupId, topics: ask })
      const found = topics[0]!.partitions.map(({ committedOffset, metadata, errorCode }) => `${committedOffset}/${metadata}/${errorCode}`)
      same(found.join(), '5/mark/0,-1//0', 'what is committed')
      const all = await client.request(apis.offsetFetch, 5, { groupId, topics: null })
      same(all.topics.map(({ partitions }) => partitions.length).join(), '1', 'all that is committed')
      return 'commit and fetch; metadata kept'
    })
  })
}

async function unknownGroups(brokers: readonly string[]): Promise<string> {
  const groupId = 'raw.unheard-of'
  return await withCoordinator(brokers, groupId, async (client) => {
    const described = (await client.request(apis.describeGroups, 4, { groups: [groupId] })).groups[0]!
    same(`${described.errorCode}/${described.groupState}/${described.members.length}`, '0/Dead/0', 'DescribeGroups')
    const at = { groupId, generationId: 1, memberId: 'nobody' }
    same((await client.request(apis.heartbeat, 3, at)).errorCode, E.UNKNOWN_MEMBER_ID, 'Heartbeat')
    same((await client.request(apis.syncGroup, 3, { ...at, assignments: [] })).errorCode, E.UNKNOWN_MEMBER_ID, 'SyncGroup')
    const left = await client.request(apis.leaveGroup, 3, { groupId, members: [{ memberId: 'nobody' }] })
    same(left.errorCode || left.members[0]?.errorCode, E.UNKNOWN_MEMBER_ID, 'LeaveGroup')
    const deleted = await client.request(apis.deleteGroups, 1, { groupsNames: [groupId] })
    same(deleted.results[0]?.errorCode, E.GROUP_ID_NOT_FOUND, 'DeleteGroups')
    const fetched = await client.request(apis.offsetFetch, 7, { groupId, topics: null })
    same(`${fetched.errorCode}/${fetched.topics.length}`, '0/0', 'OffsetFetch')
    return 'Dead, 25, 69'
  })
}

async function describeUnknown([broker]: readonly string[]): Promise<string> {
  return await withClient(broker!, async (client) => {
    const resource = (resourceType: number, resourceName: string) => ({ resourceType, resourceName, configurationKeys: null })
    const { results } = await client.request(apis.describeConfigs, 2, { resources: [resource(2, 'raw.no-such-topic'), resource(2, '')] })
    same(results[0]?.errorCode, E.UNKNOWN_TOPIC_OR_PARTITION, 'DescribeConfigs of an unknown topic')
    same(results[1]?.errorCode, E.INVALID_TOPIC_EXCEPTION, 'DescribeConfigs of a topic without a name')
    const cluster = await client.request(apis.describeCluster, 1, { includeClusterAuthorizedOperations: false })
    check(cluster.errorCode === E.NONE && cluster.clusterId !== '', `DescribeCluster answers ${JSON.stringify(cluster)}`)
    const wrongType = await client.request(apis.describeCluster, 1, { includeClusterAuthorizedOperations: false, endpointType: 9 })
    check(wrongType.errorCode !== E.NONE, 'DescribeCluster of endpoint type 9 is no error')
    return '3, 17'
  })
}

function partitionAt(fetchOffset: number) {
  return { partition: 0, fetchOffset, partitionMaxBytes: 1 << 20 }
}

function batch(options: Partial<BatchOptions> = {}, count = 1): Buffer {
  const records = Array.from({ length: count }, (_, i) => ({ key: Buffer.from(`k${i}`), value: Buffer.from(`v${i}`) }))
  return encodeBatch(records, { timestamp: 1_700_000_000_000, ...options })
}

function changed(change: (bytes: Buffer) => unknown): Buffer {
  const bytes = Buffer.from(batch())
  change(bytes)
  return bytes
}

/** Changed, and summed as if it had been meant. */
function summed(change: (bytes: Buffer) => unknown): Buffer {
  const bytes = changed(change)
  bytes.writeUInt32BE(sumOf(bytes, 0), 17)
  return bytes
}

async function produce(client: RawClient, name: string, records: Buffer | null, { version = 7, acks = -1, index = 0 } = {}) {
  const topicData = [{ name, partitionData: [{ index, records }] }]
  const { responses } = await client.request(apis.produce, version, { acks, timeoutMs: 5000, topicData } as never)
  return responses[0]!.partitionResponses[0]!
}

interface Wanted {
  readonly name: string
  readonly numPartitions?: number
  readonly replicationFactor?: number
  readonly configs?: readonly { readonly name: string; readonly value: string }[]
}

function wanted({ name, numPartitions = -1, replicationFactor = -1, configs = [] }: Wanted) {
  return { name, numPartitions, replicationFactor, assignments: [], configs: [...configs] }
}

async function create(client: RawClient, topic: Wanted, validateOnly = false) {
  const { topics } = await client.request(apis.createTopics, 7, { topics: [wanted(topic)], validateOnly })
  return topics[0]!
}

/** The same way of writing an id as the sample's, with other digits. */
function toUuidLike(sample: string, digits: string): string {
  let i = 0
  return sample.replace(/[0-9a-f]/gi, () => digits[i++]!)
}

async function withClient<T>(broker: string, work: (client: RawClient) => Promise<T>): Promise<T> {
  const client = await RawClient.connect(broker)
  try {
    return await work(client)
  } finally {
    client.close()
  }
}

/** A topic of one partition, and a connection to its leader. */
async function withTopic(
  brokers: readonly string[],
  stem: string,
  work: (client: RawClient, topic: string, leader: string) => Promise<string>,
): Promise<string> {
  const topic = `raw.${stem}`
  const leader = await withClient(brokers[0]!, async (client) => {
    same((await create(client, { name: topic, numPartitions: 1 })).errorCode, E.NONE, `error of creating ${topic}`)
    return (await leadersOf(client, topic))[0]!
  })
  return await withClient(leader, (client) => work(client, topic, leader))
}

async function withCoordinator<T>(
  brokers: readonly string[],
  group: string,
  work: (client: RawClient) => Promise<T>,
): Promise<T> {
  const coordinator = await withClient(brokers[0]!, async (client) => {
    const { errorCode, host, port } = await client.request(apis.findCoordinator, 2, { key: group, keyType: 0 })
    same(errorCode, E.NONE, `error of looking for the coordinator of ${group}`)
    return `${host}:${port}`
  })
  return await withClient(coordinator, work)
}

async function serves(broker: string, after: string): Promise<void> {
  const { errorCode } = await withClient(broker, (client) => client.request(apis.apiVersions, 0, {}))
  same(errorCode, E.NONE, `ApiVersions after ${after}`)
}

function same(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what}: ${JSON.stringify(actual)}, Kafka answers ${JSON.stringify(expected)}`)
}

function check(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(otherwise)
}
