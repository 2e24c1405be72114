/** `tidemark topic create | list | describe | delete`. */
import type kafkajs from 'kafkajs'
import { ClusterClient, LinkLost } from '../backup/index.ts'
import type { ClusterStatus, ShardStatus } from '../gateways/http/index.ts'
import { apis } from '../gateways/kafka/index.ts'
import { parseAddress } from '../node-options.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { colors } from './colors.ts'
import { CliError } from './errors.ts'
import { type ClientFlags, kafkaClient, speaking } from './kafka-client.ts'
import { output, tell } from './output.ts'
import { bytes, count, jsonLine, table } from './print.ts'
import { ask, damageLine, damagesOf } from './status.ts'

const CREATE_VERSION = 7

interface NewTopic {
  readonly name: string
  /** −1: what the broker does where nothing is said. */
  readonly numPartitions: number
  readonly replicationFactor: number
  readonly assignments: readonly never[]
  readonly configs: readonly { readonly name: string; readonly value: string }[]
}

interface CreateFlags extends ClientFlags {
  readonly partitions?: string
  readonly replication?: string
  readonly config?: readonly string[]
}

export async function createTopic(name: string, flags: CreateFlags): Promise<number> {
  const configEntries = (flags.config ?? []).map((pair) => {
    const at = pair.indexOf('=')
    if (at < 1)
      throw new CliError(
        { code: 'USAGE', option: 'config' },
        `--config ${pair}: must be KEY=VALUE, for example retention.ms=86400000`,
      )
    return { name: pair.slice(0, at), value: pair.slice(at + 1) }
  })
  const names = configEntries.map((entry) => entry.name)
  const twice = names.find((setting, i) => names.indexOf(setting) !== i)
  if (twice !== undefined)
    throw new CliError({ code: 'USAGE', option: 'config' }, `--config ${twice}: is given twice; give one value`)
  const numPartitions = wholeNumber('partitions', flags.partitions)
  const replicationFactor = wholeNumber('replication', flags.replication)
  const created = await withAdmin(flags, `topic ${name}`, (admin) =>
    admin.createTopics({
      waitForLeaders: false,
      topics: [{ topic: name, numPartitions, replicationFactor, configEntries }],
    }),
  ).catch(async (error: CliError) => {
    if (error.code !== 'REFUSED') throw error
    const topic = { name, numPartitions: numPartitions ?? -1, replicationFactor: replicationFactor ?? -1 }
    throw await inFull(error, flags, { ...topic, assignments: [], configs: configEntries })
  })
  if (!created)
    throw new CliError(
      { code: 'REFUSED', subject: name },
      `topic ${name} exists already; see: tidemark topic describe ${name}`,
    )
  if (flags.json === true) output.line(jsonLine({ topic: name, created: true }))
  else output.line(`created topic ${name}`)
  return 0
}

/** The client drops the sentence with which a broker refuses. Asked once more, to try it only, the broker says it again. */
async function inFull(refusal: CliError, flags: ClientFlags, topic: NewTopic): Promise<CliError> {
  const brokers = flags.brokers.split(',').map((broker) => parseAddress('brokers', broker))
  const client = new ClusterClient({ brokers, patienceMs: 0 }, nodePlatform())
  try {
    const request = { topics: [topic], timeoutMs: 5000, validateOnly: true }
    const answer = await client.ask(client.anyBroker(), apis.createTopics, CREATE_VERSION, request)
    const message = answer.topics[0]?.errorMessage ?? null
    return message === null ? refusal : new CliError(refusal.details, `topic ${topic.name}: ${message}`)
  } catch (error) {
    // The broker went away: what is known is told.
    if (error instanceof LinkLost) return refusal
    throw error
  } finally {
    client.close()
  }
}

export async function listTopics(flags: ClientFlags): Promise<number> {
  const { topics } = await withAdmin(flags, 'topics', (admin) => admin.fetchTopicMetadata())
  const rows = topics
    .map(({ name, partitions }) => ({
      topic: name,
      partitions: partitions.length,
      replication: partitions[0]?.replicas.length ?? 0,
    }))
    .sort((a, b) => (a.topic < b.topic ? -1 : 1))
  if (flags.json === true) output.line(jsonLine(rows))
  else if (rows.length === 0) output.line('no topics yet; create one with: tidemark topic create NAME')
  else {
    output.line(
      table(rows, [
        { title: 'topic', value: (row) => row.topic },
        { title: 'partitions', value: (row) => String(row.partitions), right: true },
        { title: 'replication', value: (row) => String(row.replication), right: true },
      ]),
    )
  }
  return 0
}

interface DescribeFlags extends ClientFlags {
  readonly http: string
}

/** `wasGiven`: the HTTP address is not the default, so that a node must answer there. */
export async function describeTopic(name: string, flags: DescribeFlags, wasGiven: boolean): Promise<number> {
  const { clusterId, described } = await withAdmin(flags, `topic ${name}`, async (admin) => {
    if (!(await admin.listTopics()).includes(name)) throw unknown(name)
    const { topics } = await admin.fetchTopicMetadata({ topics: [name] })
    const offsets = new Map((await admin.fetchTopicOffsets(name)).map((offset) => [offset.partition, offset]))
    const described = topics[0]!.partitions
      .map(({ partitionId, leader, replicas, isr }) => ({
        partition: partitionId,
        leader,
        replicas,
        inSync: isr,
        logStart: Number(offsets.get(partitionId)?.low ?? 0),
        highWatermark: Number(offsets.get(partitionId)?.high ?? 0),
      }))
      .sort((a, b) => a.partition - b.partition)
    return { clusterId: (await admin.describeCluster()).clusterId, described }
  })
  const told = await toldBy(flags, clusterId).catch((error: unknown) => {
    if (wasGiven || !(error instanceof CliError)) throw error
    tell(`what is stored, damaged and why logs start where they do is not shown: ${error.message}\n`)
    return null
  })
  const shards = (told?.shards ?? []).filter(({ topic }) => topic === name)
  const kept = new Map(shards.map((shard) => [shard.partition, keptOf(shard)]))
  const rows = described.map((row) => ({ ...row, ...kept.get(row.partition) }))
  const partitionOf = new Map(shards.map(({ shard, partition }) => [shard, partition]))
  const damages = told === null ? [] : damagesOf(told).filter(({ shard }) => partitionOf.has(shard))
  if (flags.json === true) {
    const withPlaces = damages.map((damage) => ({ partition: partitionOf.get(damage.shard)!, ...damage }))
    output.line(jsonLine({ topic: name, partitions: rows, ...(told === null ? {} : { damages: withPlaces }) }))
    return 0
  }
  output.line(
    table(rows, [
      { title: 'partition', value: (row) => String(row.partition), right: true },
      { title: 'leader', value: (row) => (row.leader < 0 ? 'none' : String(row.leader)), right: true },
      { title: 'replicas', value: (row) => row.replicas.join(',') },
      { title: 'in sync', value: (row) => row.inSync.join(',') },
      { title: 'log start', value: (row) => count(row.logStart), right: true },
      { title: 'high-water mark', value: (row) => count(row.highWatermark), right: true },
      ...(told === null ? [] : KEPT_COLUMNS),
    ]),
  )
  for (const damage of damages)
    output.line(colors.red(`partition ${partitionOf.get(damage.shard)}, ${damageLine(damage)}`))
  return 0
}

/** What a node says of its cluster, if it is the one that was asked for the topic. */
async function toldBy({ http, brokers }: DescribeFlags, clusterId: string): Promise<ClusterStatus> {
  const told = await ask(http)
  if (told.cluster === clusterId) return told
  throw new CliError(
    { code: 'REFUSED', subject: http },
    `--http ${http} is of cluster ${told.cluster}, --brokers ${brokers} of ${clusterId}; give the HTTP address of a node of that one`,
  )
}

interface Kept {
  readonly storedBytes?: number | null
  readonly startMovedBy?: string | null
  readonly startHeldBy?: string | null
}

const KEPT_COLUMNS = [
  {
    title: 'stored',
    value: ({ storedBytes }: Kept) => (storedBytes == null ? '-' : bytes(storedBytes)),
    right: true,
  },
  { title: 'start moved by', value: ({ startMovedBy }: Kept) => startMovedBy ?? '-' },
  { title: 'start held by', value: ({ startHeldBy }: Kept) => startHeldBy ?? '-' },
]

/** As the partition's leader says. */
function keptOf({ storedBytes, startMovedBy, startHeldBy }: ShardStatus): Kept {
  return { storedBytes, startMovedBy, startHeldBy }
}

export async function deleteTopic(name: string, flags: ClientFlags): Promise<number> {
  await withAdmin(flags, `topic ${name}`, async (admin) => {
    if (!(await admin.listTopics()).includes(name)) throw unknown(name)
    await admin.deleteTopics({ topics: [name] })
  })
  if (flags.json === true) output.line(jsonLine({ topic: name, deleted: true }))
  else output.line(`deleted topic ${name}`)
  return 0
}

async function withAdmin<T>(
  flags: ClientFlags,
  subject: string,
  work: (admin: kafkajs.Admin) => Promise<T>,
): Promise<T> {
  return speaking(flags, subject, async () => {
    const admin = kafkaClient(flags).admin()
    await admin.connect()
    try {
      return await work(admin)
    } finally {
      await admin.disconnect()
    }
  })
}

function unknown(name: string): CliError {
  return new CliError({ code: 'REFUSED', subject: name }, `topic ${name} does not exist; see: tidemark topic list`)
}

/** −1 asks the cluster for its default. */
function wholeNumber(option: string, text: string | undefined): number {
  if (text === undefined) return -1
  if (!/^[1-9]\d{0,5}$/.test(text))
    throw new CliError({ code: 'USAGE', option }, `--${option} ${text}: must be a whole number from 1`)
  return Number(text)
}
