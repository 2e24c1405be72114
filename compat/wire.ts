/**
 * What a topic really holds: its batches as the leaders serve them, read with a client that has nothing on top. A library that
 * quietly sends uncompressed what it was told to compress is found here, and a broker that unpacks what it was given.
 */
import { leadersOf, RawClient } from '../bench/raw-client.ts'
import { apis } from '../src/gateways/kafka/index.ts'
import {
  baseOffsetOf,
  baseSequenceOf,
  codecOf,
  forEachRecord,
  lastOffsetOf,
  producerIdOf,
  splitBatches,
} from '../src/records/index.ts'
import { CODEC_NAMES, type CodecName, type Incoming } from './driver.ts'

export interface WireBatch {
  readonly partition: number
  readonly codec: CodecName
  readonly baseOffset: number
  readonly lastOffset: number
  readonly producerId: number
  readonly baseSequence: number
  readonly bytes: number
  readonly records: readonly Incoming[]
}

const FETCH_VERSION = 11

/** Every batch of the topic, up to its high-water marks. */
export async function batchesOf(broker: string, topic: string): Promise<WireBatch[]> {
  const first = await RawClient.connect(broker)
  const found: WireBatch[] = []
  try {
    const leaders = await leadersOf(first, topic)
    for (const [partition, leader] of leaders.entries()) {
      const client = leader === broker ? first : await RawClient.connect(leader)
      for (let offset = 0; ; ) {
        const batches = await fetchBatches(client, topic, partition, offset)
        if (batches.length === 0) break
        found.push(...batches)
        offset = batches.at(-1)!.lastOffset + 1
      }
      if (client !== first) client.close()
    }
  } finally {
    first.close()
  }
  return found
}

async function fetchBatches(
  client: RawClient,
  topic: string,
  partition: number,
  fetchOffset: number,
): Promise<WireBatch[]> {
  const response = await client.request(apis.fetch, FETCH_VERSION, {
    maxWaitMs: 0,
    minBytes: 1,
    topics: [{ topic, partitions: [{ partition, fetchOffset, partitionMaxBytes: 8 << 20 }] }],
  })
  const answer = response.responses[0]!.partitions[0]!
  if (answer.errorCode !== 0)
    throw new Error(`fetching ${topic}/${partition} from ${fetchOffset}: error ${answer.errorCode}`)
  const batches = splitBatches(Buffer.from((answer.records ?? Buffer.alloc(0)) as Buffer))
  if (batches === null) throw new Error(`${topic}/${partition} serves bytes at ${fetchOffset} that are no batches`)
  return batches.map((batch) => {
    const records: Incoming[] = []
    forEachRecord(batch, 0, ({ offset, key, value }) => {
      records.push({ partition, offset, key: copied(key), value: copied(value) })
    })
    return {
      partition,
      codec: CODEC_NAMES[codecOf(batch, 0)]!,
      baseOffset: baseOffsetOf(batch, 0),
      lastOffset: lastOffsetOf(batch, 0),
      producerId: producerIdOf(batch, 0),
      baseSequence: baseSequenceOf(batch, 0),
      bytes: batch.length,
      records,
    }
  })
}

function copied(bytes: Buffer | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes)
}
