/** A whole node in this process, alone, with the sizes and the disk that a measurement wants. */
import { surroundings } from '../src/embedding.ts'
import { apis } from '../src/gateways/kafka/index.ts'
import { TidemarkNode, type TraceFile } from '../src/node.ts'
import { parseNodeOptions } from '../src/node-options.ts'
import type { Platform } from '../src/platform/index.ts'
import { encodeBatch } from '../src/records/index.ts'
import { leadersOf, RawClient } from './raw-client.ts'

export interface LocalNodeOptions {
  readonly data: string
  readonly platform: Platform
  readonly topic: string
  readonly partitions: number
  readonly traceFile?: TraceFile
  readonly storage: { readonly journalSegmentBytes?: number; readonly shardSegmentBytes?: number }
}

export interface LocalNode {
  readonly node: TidemarkNode
  readonly broker: string
}

/** The topic is there, and every partition has its leader. */
export async function startLocalNode(options: LocalNodeOptions): Promise<LocalNode> {
  const { data, platform, topic, partitions, traceFile = null, storage } = options
  const address = '127.0.0.1:0'
  const node = await TidemarkNode.start(parseNodeOptions({ id: '1', data, kafka: address, peer: address }), {
    ...surroundings(platform),
    withHttp: false,
    log: () => {},
    terminated: (error) => {
      throw error
    },
    traceFile,
    tuning: { storage },
  })
  const { host, port } = node.kafkaAddress
  const broker = `${host}:${port}`
  const client = await RawClient.connect(broker)
  const topics = [{ name: topic, numPartitions: partitions, replicationFactor: 1, assignments: [], configs: [] }]
  await client.request(apis.createTopics, 5, { topics, timeoutMs: 60_000 })
  await leadersOf(client, topic, 60_000)
  client.close()
  return { node, broker }
}

/** A batch of equal records, to be sent again and again. */
export function sameRecords(count: number, bytes: number): Buffer {
  const records = Array.from({ length: count }, () => ({ key: null, value: Buffer.alloc(bytes, 'x') }))
  return encodeBatch(records, { timestamp: Date.now() })
}

export async function produceTo(client: RawClient, topic: string, index: number, records: Buffer): Promise<void> {
  const { responses } = await client.request(apis.produce, 7, {
    transactionalId: null,
    acks: -1,
    timeoutMs: 30_000,
    topicData: [{ name: topic, partitionData: [{ index, records }] }],
  })
  const errorCode = responses[0]?.partitionResponses[0]?.errorCode
  if (errorCode !== 0) throw new Error(`partition ${index} of ${topic} answered ${errorCode}`)
}
