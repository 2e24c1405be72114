/** What a backup reads out of a cluster, as any consumer and administrator could. */
import { apis } from '../gateways/kafka/index.ts'
import type { Address } from '../platform/index.ts'
import { BATCH_HEADER_BYTES, STORED_BATCH, splitBatches, validateBatch } from '../records/index.ts'
import { GROUPS_TOPIC, KafkaError, ListOffset } from '../streams/index.ts'
import { type Attempt, type ClusterClient, judge, type TopicInCluster } from './cluster-client.ts'
import { BackupError } from './errors.ts'
import type { ManifestGroup, ManifestPosition } from './manifest.ts'

const VERSIONS = {
  metadata: 12,
  listOffsets: 7,
  fetchById: 13,
  fetchByName: 12,
  describeConfigs: 4,
  listGroups: 4,
} as const
const [COORDINATOR_VERSION, OFFSET_FETCH_VERSION] = [3, 7]
const TOPIC_RESOURCE = 2
const SET_FOR_THE_TOPIC = 1
const FETCH_WAIT_MS = 500
/** A pause of the client's lies between them. */
const RESTORING_LOOKS = 5
/** A holder that holds nothing. */
const NOBODY = '0'.repeat(32)

export interface Marks {
  readonly startOffset: number
  readonly highWatermark: number
}

type NamedTopic = Pick<TopicInCluster, 'name' | 'id'>

/** Where the partition's log starts, and its high-water mark; null where the topic is gone. */
export function readMarks(client: ClusterClient, topic: NamedTopic, partition: number): Promise<Marks | null> {
  return client.askLeader<Marks>(topic, partition, async (leader) => {
    const offsetAt = async (timestamp: number): Promise<Attempt<number>> => {
      const topics = [{ name: topic.name, partitions: [{ partitionIndex: partition, timestamp }] }]
      const answer = await client.ask(leader, apis.listOffsets, VERSIONS.listOffsets, {
        replicaId: -1,
        isolationLevel: 0,
        topics,
      })
      const { errorCode, offset } = answer.topics[0]!.partitions[0]!
      return judge(errorCode, `topic ${topic.name}, partition ${partition}`) ?? { value: offset }
    }
    const start = await offsetAt(ListOffset.earliest)
    if (!('value' in start)) return start
    const end = await offsetAt(ListOffset.latest)
    if (!('value' in end)) return end
    const marks = { startOffset: start.value, highWatermark: end.value }
    return (await refusalOfId(client, leader, topic)) ?? { value: marks }
  })
}

/** Offsets are asked for by name, and another topic may have it by now: then who told them does not know the id any more. */
async function refusalOfId(client: ClusterClient, leader: Address, { name, id }: NamedTopic) {
  const answer = await client.ask(leader, apis.metadata, VERSIONS.metadata, {
    topics: [{ topicId: id, name: null }],
    allowAutoTopicCreation: false,
    includeTopicAuthorizedOperations: false,
  })
  return judge(answer.topics[0]!.errorCode, `topic ${name}`)
}

/** Whole batches from the one that holds `offset` on; none where there is nothing yet. */
export type Fetched = { readonly batches: readonly Buffer[] } | 'out-of-range'

export interface FetchOptions {
  readonly maxBytes: number
  /** As what a restore reads back: by name, and what is hidden from others. */
  readonly replicaId?: number
}

export function fetchBatches(
  client: ClusterClient,
  topic: NamedTopic,
  partition: number,
  offset: number,
  { maxBytes, replicaId }: FetchOptions,
): Promise<Fetched | null> {
  const subject = `topic ${topic.name}, partition ${partition}`
  const version = replicaId === undefined ? VERSIONS.fetchById : VERSIONS.fetchByName
  return client.askLeader<Fetched>(topic, partition, async (leader) => {
    const partitions = [{ partition, fetchOffset: offset, partitionMaxBytes: maxBytes }]
    const { responses } = await client.ask(leader, apis.fetch, version, {
      ...(replicaId === undefined ? {} : { replicaId }),
      maxWaitMs: FETCH_WAIT_MS,
      minBytes: 1,
      maxBytes,
      sessionEpoch: -1,
      topics: [{ topic: topic.name, topicId: topic.id, partitions }],
      forgottenTopicsData: [],
    })
    const answer = responses[0]?.partitions[0]
    if (answer === undefined) return { again: 'an empty answer' }
    if (answer.errorCode === KafkaError.OFFSET_OUT_OF_RANGE) return { value: 'out-of-range' }
    const refused = judge(answer.errorCode, subject)
    if (refused !== null) return refused
    const batches = splitBatches(answer.records ?? Buffer.alloc(0))
    // A byte that was hurt on its way is right the next time; one that is wrong on the disk is not, and the patience ends.
    if (batches === null || batches.some(isBroken)) return { again: `batches that are none at offset ${offset}` }
    return { value: { batches } }
  })
}

function isBroken(batch: Buffer): boolean {
  return batch.length < BATCH_HEADER_BYTES || validateBatch(batch, 0, STORED_BATCH) !== null
}

/**
 * Whether a restore is filling the topic, or was given up in the middle: nobody else may read it. Its leader then has no offsets to
 * tell, as one that was only just elected; HoldLog, which is asked here to end a hold that there is not, tells the two apart. It is looked
 * at a few times, for the leader may be the last to hear that the topic is open.
 */
export async function isBeingRestored(client: ClusterClient, topic: NamedTopic): Promise<boolean> {
  const { name, id: topicId } = topic
  let looks = 0
  const answer = await client.askLeader<boolean>(topic, 0, async (leader) => {
    const topics = [{ name, partitions: [{ partitionIndex: 0, timestamp: ListOffset.latest }] }]
    const request = { replicaId: -1, isolationLevel: 0, topics }
    const listed = await client.ask(leader, apis.listOffsets, VERSIONS.listOffsets, request)
    if (listed.topics[0]!.partitions[0]!.errorCode !== KafkaError.OFFSET_NOT_AVAILABLE) return { value: false }
    const hold = { name, topicId, partitionIndex: 0, holder: NOBODY, holderName: '', offset: 0, leaseMs: 0 }
    const { errorCode, errorMessage } = await client.ask(leader, apis.holdLog, 0, hold)
    if (errorCode === KafkaError.OFFSET_NOT_AVAILABLE)
      return ++looks < RESTORING_LOOKS ? { again: 'it is being restored' } : { value: true }
    return judge(errorCode, `topic ${name}`, errorMessage) ?? { value: false }
  })
  return answer === true
}

/** What was set for the topic; what it leaves to defaults is not in it. Null: the topic is gone. */
export function readSettings(client: ClusterClient, { name, id }: NamedTopic): Promise<Record<string, string> | null> {
  const subject = `settings of topic ${name}`
  return client.persist<Record<string, string> | null>(subject, async () => {
    const resources = [{ resourceType: TOPIC_RESOURCE, resourceName: name, configurationKeys: null }]
    const answer = await client.ask(client.anyBroker(), apis.describeConfigs, VERSIONS.describeConfigs, { resources })
    const { errorCode, errorMessage, configs } = answer.results[0]!
    if (errorCode === KafkaError.UNKNOWN_TOPIC_OR_PARTITION) {
      await client.refresh()
      if (client.topics.get(name)?.id !== id) return { value: null }
    }
    const refused = judge(errorCode, subject, errorMessage)
    if (refused !== null) return refused
    const set = configs.filter(({ configSource, value }) => configSource === SET_FOR_THE_TOPIC && value !== null)
    return { value: Object.fromEntries(set.map(({ name, value }) => [name, value as string])) }
  })
}

/**
 * The ids of all groups. Each is known to the leader of one partition of the groups' topic, so all of them are asked, and all
 * must have read what they lead. A partition that moved meanwhile may have been listed by nobody: nothing counts unless all were
 * led by the same before and after.
 */
export function readGroupIds(client: ClusterClient): Promise<string[]> {
  return client.persist('consumer groups', async () => {
    await client.refresh()
    const topic = client.topics.get(GROUPS_TOPIC)
    if (topic === undefined) return { value: [] }
    const leaders = new Map<string, Address>()
    for (const leader of topic.leaders) {
      if (leader === null) return { again: `a partition of ${GROUPS_TOPIC} has no leader` }
      leaders.set(`${leader.host}:${leader.port}`, leader)
    }
    const ids = new Set<string>()
    for (const leader of leaders.values()) {
      const filter = { statesFilter: [], typesFilter: [] }
      const answer = await client.ask(leader, apis.listGroups, VERSIONS.listGroups, filter)
      const refused = judge(answer.errorCode, 'consumer groups')
      if (refused !== null) return refused
      for (const { groupId } of answer.groups) ids.add(groupId)
    }
    await client.refresh()
    if (!isLedAlike(topic, client.topics.get(GROUPS_TOPIC)))
      return { again: `leaders of ${GROUPS_TOPIC} moved while their groups were listed` }
    return { value: [...ids].sort() }
  })
}

function isLedAlike(before: TopicInCluster, now: TopicInCluster | undefined): boolean {
  const { id, leaders, leaderEpochs } = before
  const isSame = (leader: Address | null, partition: number): boolean => {
    const other = now?.leaders[partition]
    return (
      leader?.host === other?.host &&
      leader?.port === other?.port &&
      leaderEpochs[partition] === now?.leaderEpochs[partition]
    )
  }
  return id === now?.id && leaders.length === now.leaders.length && leaders.every(isSame)
}

/** Asks the group's coordinator, wherever that is now. */
export function askCoordinator<T>(
  client: ClusterClient,
  group: string,
  attempt: (coordinator: Address) => Promise<Attempt<T>>,
): Promise<T> {
  return client.persist(`group ${group}`, async () => {
    const found = await client.ask(client.anyBroker(), apis.findCoordinator, COORDINATOR_VERSION, {
      key: group,
      keyType: 0,
      coordinatorKeys: [],
    })
    const refused = judge(found.errorCode, `group ${group}`, found.errorMessage)
    return refused ?? attempt({ host: found.host, port: found.port })
  })
}

export async function readGroup(client: ClusterClient, id: string): Promise<ManifestGroup> {
  const positions = await askCoordinator<ManifestPosition[]>(client, id, async (coordinator) => {
    const request = { groupId: id, topics: null, groups: [] }
    const answer = await client.ask(coordinator, apis.offsetFetch, OFFSET_FETCH_VERSION, request)
    const refused = judge(answer.errorCode, `group ${id}`)
    if (refused !== null) return refused
    const found: ManifestPosition[] = []
    for (const { name, partitions } of answer.topics) {
      for (const { partitionIndex, committedOffset, metadata } of partitions) {
        if (committedOffset < 0) continue
        found.push({ topic: name, partition: partitionIndex, offset: committedOffset, metadata: metadata ?? '' })
      }
    }
    return { value: found }
  })
  return { id, positions }
}

/** The topics to be backed up: those that were named, or all but the cluster's own. */
export function pickTopics(client: ClusterClient, names: readonly string[] | null): TopicInCluster[] {
  const all = [...client.topics.values()].filter(({ internal }) => !internal)
  if (names === null) return all.sort((a, b) => (a.name < b.name ? -1 : 1))
  return [...new Set(names)].sort().map((name) => {
    const topic = all.find((one) => one.name === name)
    if (topic === undefined)
      throw new BackupError(
        { code: 'TOPIC_UNKNOWN', topic: name },
        `topic ${name} does not exist; see: tidemark topic list`,
      )
    return topic
  })
}
