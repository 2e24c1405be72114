/** What the raw checks share: Kafka's codes, batches sound and damaged, topics of one partition, and plain comparison. */
import { leadersOf, RawClient } from '../bench/raw-client.ts'
import { apis } from '../src/gateways/kafka/index.ts'
import { type BatchOptions, encodeBatch, sumOf } from '../src/records/index.ts'

export interface RawCheck {
  readonly name: string
  readonly run: (brokers: readonly string[]) => Promise<string>
}

/** Kafka's error codes, by their names. */
export const E = {
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

interface Wanted {
  readonly name: string
  readonly numPartitions?: number
  readonly replicationFactor?: number
  readonly configs?: readonly { readonly name: string; readonly value: string }[]
}

export function partitionAt(fetchOffset: number) {
  return { partition: 0, fetchOffset, partitionMaxBytes: 1 << 20 }
}

export function batch(options: Partial<BatchOptions> = {}, count = 1): Buffer {
  const records = Array.from({ length: count }, (_, i) => ({ key: Buffer.from(`k${i}`), value: Buffer.from(`v${i}`) }))
  return encodeBatch(records, { timestamp: 1_700_000_000_000, ...options })
}

export function changed(change: (bytes: Buffer) => unknown): Buffer {
  const bytes = Buffer.from(batch())
  change(bytes)
  return bytes
}

/** Changed, and summed as if it had been meant. */
export function summed(change: (bytes: Buffer) => unknown): Buffer {
  const bytes = changed(change)
  bytes.writeUInt32BE(sumOf(bytes, 0), 17)
  return bytes
}

export async function produce(
  client: RawClient,
  name: string,
  records: Buffer | null,
  { version = 7, acks = -1, index = 0 } = {},
) {
  const topicData = [{ name, partitionData: [{ index, records }] }]
  const { responses } = await client.request(apis.produce, version, { acks, timeoutMs: 5000, topicData } as never)
  return responses[0]!.partitionResponses[0]!
}

export function wanted({ name, numPartitions = -1, replicationFactor = -1, configs = [] }: Wanted) {
  return { name, numPartitions, replicationFactor, assignments: [], configs: [...configs] }
}

export async function create(client: RawClient, topic: Wanted, validateOnly = false) {
  const { topics } = await client.request(apis.createTopics, 7, { topics: [wanted(topic)], validateOnly })
  return topics[0]!
}

export async function withClient<T>(broker: string, work: (client: RawClient) => Promise<T>): Promise<T> {
  const client = await RawClient.connect(broker)
  try {
    return await work(client)
  } finally {
    client.close()
  }
}

/** A topic of one partition, and a connection to its leader. */
export async function withTopic(
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

export async function withCoordinator<T>(
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

export function same(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected)
    throw new Error(`${what}: ${JSON.stringify(actual)}, Kafka answers ${JSON.stringify(expected)}`)
}

export function check(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(otherwise)
}
