/**
 * The edges that well-behaved clients never touch: what is malformed, unknown, too large or out of turn. Each is answered as
 * Apache Kafka answers it: by the same error code, or, where its protocol has no words, by a closed connection. After each the
 * node must serve the next client as if nothing had happened.
 */
import { apis } from '../src/gateways/kafka/index.ts'
import { frame, framed, provoke } from './hostile.ts'
import { BATCH_CHECKS } from './raw-batches.ts'
import { GROUP_CHECKS } from './raw-groups.ts'
import { batch, check, E, partitionAt, type RawCheck, same, withClient, withTopic } from './raw-tools.ts'
import { TOPIC_CHECKS } from './raw-topics.ts'

export const RAW_CHECKS: readonly RawCheck[] = [
  { name: 'frames', run: frames },
  { name: 'unknown-apis', run: unknownApis },
  { name: 'api-versions', run: apiVersions },
  { name: 'answer-order', run: answerOrder },
  ...BATCH_CHECKS,
  ...TOPIC_CHECKS,
  ...GROUP_CHECKS,
]

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
    check(
      closed && answer.length === 0,
      `${what}: ${closed ? `answered by ${answer.length} bytes` : 'the connection stays open'}`,
    )
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
    check(
      closed && answer.length === 0,
      `${what}: ${closed ? `answered by ${answer.length} bytes` : 'the connection stays open'}`,
    )
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
    const note = (what: string) => (error: Error | null) =>
      void order.push(error === null ? what : `${what}: ${error.message}`)
    client.send(
      apis.fetch,
      11,
      { maxWaitMs: 300, minBytes: 1, topics: [{ topic, partitions: [partitionAt(0)] }] },
      note('poll'),
    )
    client.send(apis.metadata, 5, { topics: [] }, note('metadata'))
    client.send(
      apis.produce,
      7,
      { acks: -1, timeoutMs: 1000, topicData: [{ name: topic, partitionData: [{ index: 0, records: batch() }] }] },
      note('produce'),
    )
    const startedAt = performance.now()
    await client.request(apis.apiVersions, 0, {})
    const tookMs = performance.now() - startedAt
    same(order.join(), 'poll,metadata,produce', 'order of the answers')
    // The long poll is woken by the produce request behind it, which is served while the poll waits.
    return `in the order of the requests, after ${tookMs.toFixed(0)} ms`
  })
}

async function serves(broker: string, after: string): Promise<void> {
  const { errorCode } = await withClient(broker, (client) => client.request(apis.apiVersions, 0, {}))
  same(errorCode, E.NONE, `ApiVersions after ${after}`)
}
