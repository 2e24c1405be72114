/** HoldLog as a client sends it: who is refused, what a hold keeps, and how it is shown. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { RawClient } from '../../../../bench/raw-client.ts'
import { Tidemark } from '../../../index.ts'
import { encodeBatch } from '../../../records/index.ts'
import { KafkaError } from '../../../streams/index.ts'
import { apis } from '../api-table.ts'

const NOBODY = 'f'.repeat(32)

test('a log is held, shown as held with the name, renewed and let go; others are refused', async () => {
  const tidemark = await Tidemark.start({ memory: true, http: '127.0.0.1:0' })
  const client = await RawClient.connect(tidemark.kafka.brokers[0]!)
  try {
    const topic = { name: 'tides', numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }
    const created = await client.request(apis.createTopics, 7, { topics: [topic], timeoutMs: 5000 } as never)
    const { topicId } = created.topics[0]!
    const hold = async (offset: number, more: Record<string, unknown> = {}) => {
      const of = { name: 'tides', topicId, partitionIndex: 0, holder: 'ab'.repeat(16), holderName: 'a backup on tern' }
      return client.request(apis.holdLog, 0, { ...of, offset, leaseMs: 30_000, ...more })
    }
    const shown = async (): Promise<string | null> => {
      const report = await (await fetch(`${tidemark.http.urls[0]!}/api/cluster`)).json()
      return JSON.stringify(report).match(/"startHeldBy":"(held[^"]*)"/)?.[1] ?? null
    }
    for (let sent = 0; sent < 3; ) {
      const records = encodeBatch([{ key: null, value: Buffer.from('v'), timestamp: Date.now() }], { timestamp: 5 })
      const partitionData = [{ index: 0, records }]
      const request = { acks: -1, timeoutMs: 1000, topicData: [{ name: 'tides', partitionData }] }
      const { responses } = await client.request(apis.produce, 9, request)
      if (responses[0]!.partitionResponses[0]!.errorCode === KafkaError.NONE) sent++
    }
    assert.deepEqual(await hold(1), { errorCode: 0, errorMessage: null, logStartOffset: 0, renewed: false })
    assert.deepEqual(await hold(1), { errorCode: 0, errorMessage: null, logStartOffset: 0, renewed: true })
    assert.match(
      (await shown())!,
      /^held by a backup on tern \(until it ends, or 30 s after its last sign\) at entry \d+$/,
    )
    const codes = async (...calls: ReturnType<typeof hold>[]) =>
      (await Promise.all(calls)).map(({ errorCode, logStartOffset }) => [errorCode, logStartOffset])
    assert.deepEqual(
      await codes(
        hold(4),
        hold(1, { topicId: NOBODY }),
        hold(1, { partitionIndex: 1 }),
        hold(1, { leaseMs: -5 }),
        hold(1, { holderName: 'two\nlines' }),
      ),
      [
        [KafkaError.OFFSET_OUT_OF_RANGE, 0],
        [KafkaError.UNKNOWN_TOPIC_ID, -1],
        [KafkaError.UNKNOWN_TOPIC_OR_PARTITION, -1],
        [KafkaError.INVALID_REQUEST, -1],
        [KafkaError.INVALID_REQUEST, -1],
      ],
    )
    // A command is not held; whoever holds is told where the log starts now.
    const partitions = [{ partitionIndex: 0, offset: 3 }]
    const deleted = await client.request(apis.deleteRecords, 1, {
      topics: [{ name: 'tides', partitions }],
      timeoutMs: 5000,
    })
    assert.deepEqual(
      deleted.topics[0]!.partitions.map(({ errorCode, lowWatermark }) => [errorCode, lowWatermark]),
      [[0, 3]],
    )
    assert.deepEqual(await codes(hold(2), hold(3)), [
      [KafkaError.OFFSET_OUT_OF_RANGE, 3],
      [0, 3],
    ])
    assert.deepEqual(await codes(hold(0, { leaseMs: 0, holder: NOBODY })), [[0, 3]], 'that of another stays')
    assert.notEqual(await shown(), null)
    assert.deepEqual(await codes(hold(0, { leaseMs: 0 })), [[0, 3]])
    assert.equal(await shown(), null)
    const own = await client.request(apis.apiVersions, 0, {})
    assert.ok(
      own.apiKeys.every(({ apiKey }) => apiKey < 1000),
      'clients of Kafka are not told of it',
    )
  } finally {
    client.close()
    await tidemark.stop()
  }
})
