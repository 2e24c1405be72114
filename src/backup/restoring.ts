/**
 * Restoring a backup into a cluster.
 *
 *     check the files ─► plan ─► ask whether it may be ─► create, hidden ─► append ─► read back, compare ─► positions ─► open
 *           nothing is changed up to here ───────────────┘                          a killed run goes on at any of these
 *
 * Nobody but a restore sees the topics before the last step, which opens all of them at once. Appending names the offset, so that
 * a batch can be sent again without becoming two, and a second run asks each partition how far the first one came.
 */
import { replicasDefect, topicSettingDefect } from '../cluster/index.ts'
import { apis } from '../gateways/kafka/index.ts'
import type { Disk } from '../platform/index.ts'
import { baseOffsetOf, forEachRecord, lastOffsetOf, recordCountOf } from '../records/index.ts'
import { ENTRY_RECORDS_MAX } from '../storage/index.ts'
import { KafkaError, kafkaErrorName } from '../streams/index.ts'
import { type ClusterClient, judge } from './cluster-client.ts'
import { BackupError } from './errors.ts'
import { BackupFolder } from './folder.ts'
import type { ManifestGroup, ManifestPosition } from './manifest.ts'
import {
  batchesOf,
  type PartitionPlan,
  pickFrom,
  planTopic,
  refuseEmptied,
  type TopicPlan,
  verifyTopics,
} from './plan.ts'
import type { Progress } from './progress.ts'
import { askCoordinator, fetchBatches } from './reading.ts'
import { forEachOf } from './workers.ts'

export interface RestoreOptions {
  readonly folder: string
  readonly topics: readonly string[] | null
  /** Each partition ends before its first batch with a record later than this. */
  readonly untilMs: number | null
  readonly appendBytes: number
  readonly width: number
}

export const RESTORE_DEFAULTS = { appendBytes: 1 << 20, width: 4 } as const

export interface RestoreCollaborators {
  readonly disk: Disk
  readonly client: ClusterClient
  readonly progress: (event: Progress) => void
}

export interface RestoredTopic {
  readonly plan: TopicPlan
  /** That are in its log now: fewer than offsets where compaction had been. */
  readonly records: number
}

export interface RestoreReport {
  readonly topics: readonly RestoredTopic[]
  readonly groups: number
  /** Positions that pointed behind the end of what was restored, or before its start. */
  readonly clamped: number
}

interface Target {
  readonly plan: TopicPlan
  readonly id: string
}

/** As a debugging consumer a restore reads what is hidden from others. */
const REPLICA_ID = -2
const COMMIT_VERSION = 7
const MAY_BE_LEFT_OUT: readonly string[] = ['compression.type', 'min.insync.replicas']
const NO_MEMBER_ERRORS: readonly number[] = [
  KafkaError.UNKNOWN_MEMBER_ID,
  KafkaError.ILLEGAL_GENERATION,
  KafkaError.REBALANCE_IN_PROGRESS,
]

export async function restoreBackup(
  options: RestoreOptions,
  collaborators: RestoreCollaborators,
): Promise<RestoreReport> {
  return new Restoring(options, collaborators).run()
}

class Restoring {
  readonly #options: RestoreOptions
  readonly #with: RestoreCollaborators
  readonly #folder: BackupFolder

  constructor(options: RestoreOptions, collaborators: RestoreCollaborators) {
    this.#options = options
    this.#with = collaborators
    this.#folder = new BackupFolder(options.folder, collaborators.disk)
  }

  async run(): Promise<RestoreReport> {
    const { disk, client, progress } = this.#with
    const manifest = await this.#folder.finishedManifest()
    const topics = pickFrom(manifest, this.#options.topics)
    await client.refresh()
    await verifyTopics(disk, this.#folder, topics, (bytes) => progress({ type: 'checked', bytes }))
    const plans: TopicPlan[] = []
    const { untilMs } = this.#options
    for (const topic of topics) plans.push(await planTopic(disk, this.#folder, topic, untilMs))
    if (untilMs !== null) await refuseEmptied(disk, this.#folder, plans, untilMs)
    await this.#create(plans, true)
    const targets = await this.#create(plans, false)
    const turns = targets.flatMap((target) =>
      target.plan.partitions.map((plan, partition) => ({ target, plan, partition })),
    )
    const records = new Map<TopicPlan, number>()
    progress({ type: 'begun', partitions: turns.length })
    await forEachOf(turns, this.#options.width, async ({ target, plan, partition }, stopped) => {
      await this.#append(target, partition, plan, stopped)
      if (stopped()) return
      const counted = await this.#compare(target, partition, plan)
      records.set(target.plan, (records.get(target.plan) ?? 0) + counted)
      progress({ type: 'partition-done', topic: target.plan.topic.name, partition })
    })
    const [groups, clamped] = await this.#positions(manifest.groups, targets)
    await this.#open(targets)
    return { topics: plans.map((plan) => ({ plan, records: records.get(plan) ?? 0 })), groups, clamped }
  }

  async #create(plans: readonly TopicPlan[], validateOnly: boolean): Promise<Target[]> {
    const { client, progress } = this.#with
    const nodes = Math.max(1, client.brokers.length)
    const wanted = plans.map(({ topic, partitions }) => {
      if (topic.replicationFactor > nodes && validateOnly)
        progress({
          type: 'note',
          text: `topic ${topic.name} had ${topic.replicationFactor} replicas, the cluster has ${nodes} nodes`,
        })
      const replicationFactor = Math.min(topic.replicationFactor, nodes)
      // Accepted once and without effect, or more than the replicas here can meet: no reason to refuse the records.
      const settings = Object.entries(topic.settings).filter(([name, value]) => {
        if (!MAY_BE_LEFT_OUT.includes(name)) return true
        const defect = topicSettingDefect(name, value) ?? replicasDefect({ [name]: value }, replicationFactor)
        if (defect !== null && validateOnly)
          progress({ type: 'note', text: `topic ${topic.name}: a setting is left out: ${defect}` })
        return defect === null
      })
      return {
        name: topic.name,
        replicationFactor,
        configs: settings.map(([name, value]) => ({ name, value })),
        partitions: partitions.map(({ baseOffset, startOffset, endOffset }) => ({
          baseOffset,
          startOffset,
          endOffset,
        })),
      }
    })
    const created = await client.persist('creating the topics', async () => {
      const answer = await client.ask(client.anyBroker(), apis.restoreTopics, 0, { topics: wanted, validateOnly })
      const existing = answer.topics.filter(({ errorCode }) => errorCode === KafkaError.TOPIC_ALREADY_EXISTS)
      if (existing.length > 0) throw topicsExist(existing)
      for (const { name, errorCode, errorMessage } of answer.topics) {
        const refused = judge(errorCode, `topic ${name}`, errorMessage)
        if (refused !== null) return refused
      }
      return { value: answer.topics }
    })
    return plans.map((plan, i) => ({ plan, id: created[i]!.topicId }))
  }

  async #append(target: Target, partition: number, plan: PartitionPlan, stopped: () => boolean): Promise<void> {
    const { disk } = this.#with
    let from = await this.#send(target, partition, [])
    let batches: Buffer[] = []
    let bytes = 0
    const flush = async (): Promise<void> => {
      if (batches.length === 0) return
      from = await this.#send(target, partition, batches)
      batches = []
      bytes = 0
    }
    for await (const batch of batchesOf(disk, this.#folder, plan, from)) {
      if (stopped()) return
      const offsets = lastOffsetOf(batch, 0) + 1 - from
      if (bytes > 0 && (bytes + batch.length > this.#options.appendBytes || offsets > ENTRY_RECORDS_MAX)) await flush()
      batches.push(batch)
      bytes += batch.length
    }
    await flush()
    if (from !== plan.endOffset)
      throw new BackupError(
        { code: 'READ_BACK_DIFFERS', topic: target.plan.topic.name, partition, offset: from },
        `topic ${target.plan.topic.name}, partition ${partition}: ends at ${from} instead of ${plan.endOffset}; is another restore under way?`,
      )
  }

  /** Returns where the partition goes on. Without batches it only asks. */
  async #send({ plan: { topic }, id }: Target, partition: number, batches: readonly Buffer[]): Promise<number> {
    const { client, progress } = this.#with
    const subject = `topic ${topic.name}, partition ${partition}`
    const wantedEnd = batches.length === 0 ? -1 : lastOffsetOf(batches.at(-1)!, 0) + 1
    // The leader writes its epoch into them; so they are copied, to be compared later as they were.
    const records = Buffer.concat(batches)
    const end = await client.askLeader(
      { name: topic.name, id },
      partition,
      async (leader): Promise<{ value: number } | { again: string }> => {
        const request = { name: topic.name, topicId: id, partitionIndex: partition, records }
        const answer = await client.ask(leader, apis.restoreRecords, 0, request)
        const { errorCode, errorMessage, endOffset } = answer
        // An earlier attempt was carried out, and its answer lost.
        if (errorCode === KafkaError.OFFSET_OUT_OF_RANGE && endOffset === wantedEnd) return { value: endOffset }
        // It is in the leader's log, and not committed yet.
        if (errorCode === KafkaError.OFFSET_OUT_OF_RANGE && endOffset >= 0 && endOffset < wantedEnd)
          return { again: 'an earlier attempt is not committed yet' }
        return judge(errorCode, subject, errorMessage) ?? { value: endOffset }
      },
    )
    if (end === null) throw topicGone(topic.name)
    if (batches.length > 0) {
      const counted = batches.reduce((sum, batch) => sum + recordCountOf(batch, 0), 0)
      progress({ type: 'moved', topic: topic.name, partition, records: counted, bytes: records.length })
    }
    return end
  }

  /** Reads back what is in the log now, and holds every batch against the backup's. Returns how many records there are. */
  async #compare({ plan: { topic }, id }: Target, partition: number, plan: PartitionPlan): Promise<number> {
    const { disk, client, progress } = this.#with
    let queue: readonly Buffer[] = []
    let offset = plan.startOffset
    let records = 0
    const differs = (why: string): BackupError =>
      new BackupError(
        { code: 'READ_BACK_DIFFERS', topic: topic.name, partition, offset },
        `topic ${topic.name}, partition ${partition}: at offset ${offset} the cluster does not hold what the backup does (${why}); ` +
          `the topic stays hidden: delete it (tidemark topic delete ${topic.name}) and restore again`,
      )
    for await (const batch of batchesOf(disk, this.#folder, plan)) {
      while (queue.length === 0) {
        const fetched = await fetchBatches(client, { name: topic.name, id }, partition, offset, {
          maxBytes: this.#options.appendBytes,
          replicaId: REPLICA_ID,
        })
        if (fetched === null) throw topicGone(topic.name)
        if (fetched === 'out-of-range') throw differs('nothing is there')
        queue = fetched.batches
      }
      if (!sameButEpoch(batch, queue[0]!)) throw differs(`another batch, with offset ${baseOffsetOf(queue[0]!, 0)}`)
      queue = queue.slice(1)
      offset = lastOffsetOf(batch, 0) + 1
      records += recordsFrom(plan.startOffset, batch)
      progress({ type: 'checked', bytes: batch.length })
    }
    return records
  }

  async #positions(groups: readonly ManifestGroup[], targets: readonly Target[]): Promise<[number, number]> {
    const plans = new Map(targets.map(({ plan }) => [plan.topic.name, plan]))
    let [restored, clamped] = [0, 0]
    await forEachOf(groups, this.#options.width, async ({ id, positions }) => {
      const wanted: ManifestPosition[] = []
      for (const position of positions) {
        const plan = plans.get(position.topic)?.partitions[position.partition]
        if (plan === undefined) continue
        const offset = Math.min(Math.max(position.offset, plan.startOffset), plan.endOffset)
        if (offset !== position.offset) clamped++
        wanted.push({ ...position, offset })
      }
      if (wanted.length === 0) return
      await this.#commit(id, wanted)
      restored++
    })
    return [restored, clamped]
  }

  /** As an administrator does, outside of the group. */
  #commit(groupId: string, positions: readonly ManifestPosition[]): Promise<void> {
    const { client } = this.#with
    const topics = [...new Set(positions.map(({ topic }) => topic))].map((name) => ({
      name,
      partitions: positions
        .filter(({ topic }) => topic === name)
        .map(({ partition, offset, metadata }) => ({
          partitionIndex: partition,
          committedOffset: offset,
          committedMetadata: metadata,
        })),
    }))
    return askCoordinator<void>(client, groupId, async (coordinator) => {
      const request = { groupId, generationIdOrMemberEpoch: -1, memberId: '', topics }
      const answer = await client.ask(coordinator, apis.offsetCommit, COMMIT_VERSION, request)
      for (const { errorCode } of answer.topics.flatMap(({ partitions }) => partitions)) {
        if (NO_MEMBER_ERRORS.includes(errorCode))
          throw new BackupError(
            { code: 'GROUP_ACTIVE', group: groupId },
            `group ${groupId} has members (${kafkaErrorName(errorCode)}): stop its consumers, and run the restore again; it goes on`,
          )
        const refused = judge(errorCode, `positions of group ${groupId}`)
        if (refused !== null) return refused
      }
      return { value: undefined }
    })
  }

  async #open(targets: readonly Target[]): Promise<void> {
    const { client } = this.#with
    const topics = targets.map(({ plan, id }) => ({ name: plan.topic.name, topicId: id }))
    await client.persist('opening the topics', async () => {
      const answer = await client.ask(client.anyBroker(), apis.finishRestore, 0, { topics })
      for (const { name, errorCode, errorMessage } of answer.topics) {
        if (errorCode === KafkaError.UNKNOWN_TOPIC_OR_PARTITION) throw topicGone(name)
        const refused = judge(errorCode, `topic ${name}`, errorMessage)
        if (refused !== null) return refused
      }
      return { value: null }
    })
  }
}

/** Only the first batch may begin below the log's start. */
function recordsFrom(startOffset: number, batch: Buffer): number {
  if (baseOffsetOf(batch, 0) >= startOffset) return recordCountOf(batch, 0)
  let records = 0
  forEachRecord(batch, 0, ({ offset }) => {
    if (offset >= startOffset) records++
  })
  return records
}

/** The epoch is the log's that holds the batch; nothing else may differ. */
function sameButEpoch(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && a.compare(b, 0, 12, 0, 12) === 0 && a.compare(b, 16, b.length, 16) === 0
}

function topicsExist(
  existing: readonly { readonly name: string; readonly errorMessage: string | null }[],
): BackupError {
  const names = existing.map(({ name }) => name)
  const list = existing.map(({ name, errorMessage }) => errorMessage ?? `topic ${name} exists`).join(' ')
  return new BackupError(
    { code: 'TOPIC_EXISTS', topics: names },
    `${list} Nothing was changed: restore into another cluster, or leave topics out with --topic`,
  )
}

function topicGone(name: string): BackupError {
  return new BackupError({ code: 'TOPIC_UNKNOWN', topic: name }, `topic ${name} was deleted while it was restored`)
}
