/** Batches that may not be stored, and what idempotent producers are told: by the codes of Apache Kafka. */
import { RawClient } from '../bench/raw-client.ts'
import { apis } from '../src/gateways/kafka/index.ts'
import { encodeBatch } from '../src/records/index.ts'
import { batch, changed, check, E, produce, type RawCheck, same, summed, withTopic } from './raw-tools.ts'

export const BATCH_CHECKS: readonly RawCheck[] = [
  { name: 'damaged-batches', run: damagedBatches },
  { name: 'too-large', run: tooLarge },
  { name: 'acks', run: acks },
  { name: 'sequences', run: sequences },
]

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
      [
        'a count of 5 where there is 1',
        summed((bytes) => bytes.writeInt32BE(5, 57) && bytes.writeInt32BE(4, 23)),
        E.INVALID_RECORD,
      ],
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
      same(
        (await produce(client, topic, batch(), { acks: level })).errorCode,
        E.INVALID_REQUIRED_ACKS,
        `error for acks = ${level}`,
      )
    }
    same((await produce(client, topic, batch(), { acks: 1 })).errorCode, E.NONE, 'error for acks = 1')
    // Without an answer there is nobody to wait for, but the order of the connection holds.
    const silent = {
      acks: 0,
      timeoutMs: 1000,
      topicData: [{ name: topic, partitionData: [{ index: 0, records: batch() }] }],
    }
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
    const { producerId } = await client.request(apis.initProducerId, 1, {
      transactionalId: null,
      transactionTimeoutMs: -1,
    })
    const send = (baseSequence: number, producerEpoch = 0) =>
      produce(client, topic, batch({ producerId, producerEpoch, baseSequence }))
    for (const sequence of [0, 1, 2, 3, 4, 5])
      same((await send(sequence)).baseOffset, sequence, `offset of sequence ${sequence}`)
    for (const sequence of [1, 3, 5]) {
      const again = await send(sequence)
      same(`${again.errorCode}/${again.baseOffset}`, `0/${sequence}`, `answer to sequence ${sequence} again`)
    }
    same((await send(9)).errorCode, E.OUT_OF_ORDER_SEQUENCE_NUMBER, 'error for a gap')
    same((await send(7, 1)).errorCode, E.OUT_OF_ORDER_SEQUENCE_NUMBER, 'error for a new epoch that does not begin at 0')
    same((await send(0, 1)).baseOffset, 6, 'offset of a new epoch')
    same((await send(6, 0)).errorCode, E.INVALID_PRODUCER_EPOCH, 'error for the old epoch')
    const other = await client.request(apis.initProducerId, 4, {
      transactionalId: null,
      transactionTimeoutMs: 5000,
      producerId: 0,
      producerEpoch: 0,
    })
    check(
      other.errorCode === E.NONE && other.producerId !== producerId,
      `another producer got ${JSON.stringify(other)}`,
    )
    const beginning = batch({ producerId: other.producerId, producerEpoch: 0, baseSequence: 0 })
    same((await produce(client, topic, beginning)).baseOffset, 7, 'offset of another producer’s beginning')
    const deleted = await client.request(apis.deleteTopics, 4, { topicNames: [topic], timeoutMs: 5000 })
    same(deleted.responses[0]!.errorCode, E.NONE, 'error of deleting the topic')
    await withTopic(brokers, 'sequences', async (anew) => {
      const further = batch({ producerId, producerEpoch: 1, baseSequence: 41 })
      same((await produce(anew, topic, further)).errorCode, E.NONE, 'error for going on in a topic that was made anew')
      return ''
    })
    return 'duplicates get their first offset; 45 and 47 as in Kafka; goes on where a topic is made anew'
  })
}
