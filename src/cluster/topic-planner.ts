/**
 * Decides on the creation and deletion of topics: pure functions from a command and the metadata as it stands to an answer and
 * changes of the draft. A topic is created whole or not at all.
 */
import {
  type CommandError,
  type CommandErrorCode,
  type CreateTopicRequest,
  type DeleteTopicRequest,
  type FinishRestoreRequest,
  INTERNAL_TOPICS,
  PARTITIONS_MAX,
  type TopicResult,
  topicNameDefect,
} from './commands.ts'
import type { RestoredRange, Topic } from './metadata.ts'
import type { MetadataDraft } from './metadata-draft.ts'
import {
  defaultReplicationFactor,
  PARTITIONS_DEFAULT,
  type PlacementNode,
  placePartitions,
  type ReplicaPlace,
} from './placement.ts'
import { conflictDefect, replicasDefect, topicSettingDefect } from './topic-config.ts'

export interface PlanContext {
  readonly isUp: (node: number) => boolean
  /** How many nodes the cluster is meant to have: at the first start some have not come yet. */
  readonly expectedNodes: number
  /** Nodes may still come: answer `wait` instead of a refusal for the lack of them. */
  readonly patient: boolean
}

type Creation = CreateTopicRequest & { readonly id: string }

/** A creation that may have been attempted before, as the topic at this place of that request. */
export function createOnce(
  creation: Creation,
  request: string,
  place: number,
  draft: MetadataDraft,
  context: PlanContext,
): TopicResult | 'wait' {
  if (creation.validateOnly) return planCreation(creation, draft, context)
  const { name, id } = creation
  const earlier = draft.outcomeOf(request, place)
  if (earlier === undefined) {
    const result = planCreation(creation, draft, context)
    if (result !== 'wait') draft.putOutcome(request, place, result.error?.code ?? null)
    return result
  }
  if (earlier.error !== null) return refusedEarlier(name, earlier.error)
  const topic = draft.topic(name)
  return topic?.id === id ? { name, error: null, topic } : { name, error: CREATED_AND_GONE }
}

export function deleteOnce(
  deletion: DeleteTopicRequest,
  request: string,
  place: number,
  draft: MetadataDraft,
): TopicResult {
  const { name } = deletion
  const earlier = draft.outcomeOf(request, place)
  if (earlier !== undefined) return earlier.error === null ? { name, error: null } : refusedEarlier(name, earlier.error)
  const result = planDeletion(deletion, draft)
  draft.putOutcome(request, place, result.error?.code ?? null)
  return result
}

/** Neither "done", for whoever is told so looks for it, nor "exists" or anything else that denies it. */
const CREATED_AND_GONE: CommandError = {
  code: 'TIMED_OUT',
  message: 'the answer was lost on its way; the topic was created, and deleted since',
}

export function refusedEarlier(name: string, code: CommandErrorCode): TopicResult {
  return { name, error: { code, message: `refused with ${code}; the answer that said more was lost on its way` } }
}

export function planCreation(request: Creation, draft: MetadataDraft, context: PlanContext): TopicResult | 'wait' {
  const { name } = request
  const refuse = (code: CommandErrorCode, message: string): TopicResult => ({ name, error: { code, message } })
  const nameDefect = topicNameDefect(name)
  if (nameDefect !== null) return refuse('INVALID_TOPIC_NAME', nameDefect)
  const internal = request.internal === true
  if (!internal && INTERNAL_TOPICS.includes(name)) {
    return refuse('INVALID_TOPIC_NAME', `topic '${name}' is the cluster's own, and created by it when it is needed`)
  }
  const present = draft.topic(name)
  if (present !== undefined) {
    // A restore that goes on where it was stopped asks for the same topic again.
    if (request.restored !== undefined && present.restoring === true && restoresAlike(request, present))
      return { name, error: null, topic: present }
    return refuse('TOPIC_EXISTS', existsMessage(request, present))
  }
  const rangeDefect = request.restored === undefined ? null : restoredDefect(request.restored)
  if (rangeDefect !== null) return refuse('INVALID_REQUEST', rangeDefect)
  const configs: Record<string, string> = {}
  for (const [setting, value] of Object.entries(request.configs)) {
    if (value === null) continue
    const defect = topicSettingDefect(setting, value)
    if (defect !== null) return refuse('INVALID_CONFIG', defect)
    configs[setting] = value
  }
  const nodes = draft
    .nodes()
    .map(({ id, diskIncarnation, rack }): PlacementNode => ({ id, disk: diskIncarnation, rack, up: context.isUp(id) }))
  const placed =
    request.assignments != null && request.assignments.length > 0
      ? assign(request, nodes)
      : place(request, nodes, draft, context)
  if (placed === 'wait') return placed
  if ('code' in placed) return { name, error: placed }
  // What is restored was in force: what contradicts itself in it does no more harm than it did.
  const conflict = request.restored == null ? conflictDefect(configs) : null
  const defect = conflict ?? replicasDefect(configs, placed[0]!.length)
  if (defect !== null) return refuse('INVALID_CONFIG', defect)
  const firstShard = request.validateOnly ? draft.nextShardId : draft.takeShardIds(placed.length)
  const { restored } = request
  const partitions = placed.map((replicas, i) => ({
    shard: firstShard + i,
    replicas,
    ...(restored === undefined ? {} : { restored: restored[i]! }),
  }))
  // Of names that are gone nothing is kept, so whoever could write when the last topic was deleted may have written to this name.
  const newProducersFrom = draft.deletionProducerId
  const topic: Topic = {
    name,
    id: request.id,
    partitions,
    configs,
    internal,
    newProducersFrom,
    ...(restored === undefined ? {} : { restoring: true }),
  }
  if (!request.validateOnly) draft.putTopic(topic)
  return { name, error: null, topic }
}

function existsMessage({ name, restored }: CreateTopicRequest, present: Topic): string {
  if (present.restoring !== true) return `Topic '${name}' already exists.`
  const what = restored === undefined ? 'is being restored from a backup' : 'is being restored from another backup'
  return `Topic '${name}' already exists and ${what}. To give that up, delete the topic.`
}

function restoredDefect(restored: readonly RestoredRange[]): string | null {
  if (restored.length === 0) return 'A topic to be restored has at least one partition.'
  const wrong = restored.findIndex(
    ({ baseOffset, startOffset, endOffset }) => baseOffset > startOffset || startOffset > endOffset,
  )
  return wrong < 0 ? null : `Partition ${wrong} cannot begin above where it ends: ${JSON.stringify(restored[wrong])}.`
}

function restoresAlike({ restored, configs }: CreateTopicRequest, present: Topic): boolean {
  const same = (a: RestoredRange, b: RestoredRange | undefined): boolean =>
    a.baseOffset === b?.baseOffset && a.startOffset === b.startOffset && a.endOffset === b.endOffset
  return (
    restored!.length === present.partitions.length &&
    restored!.every((range, i) => same(range, present.partitions[i]!.restored)) &&
    Object.keys(present.configs).every((setting) => configs[setting] === present.configs[setting]) &&
    Object.keys(configs).every((setting) => configs[setting] === null || setting in present.configs)
  )
}

/** Whoever filled the topic says that it is whole. */
export function planFinish({ name, id }: FinishRestoreRequest, draft: MetadataDraft): TopicResult {
  const topic = draft.topic(name)
  if (topic === undefined || topic.id !== id) {
    return { name, error: { code: 'UNKNOWN_TOPIC', message: `Topic '${name}' with id ${id} does not exist.` } }
  }
  if (topic.restoring !== true) return { name, error: null, topic }
  const { restoring: _over, ...open } = topic
  draft.putTopic(open)
  return { name, error: null, topic: open }
}

type Placed = readonly (readonly ReplicaPlace[])[] | CommandError

function place(
  request: CreateTopicRequest,
  nodes: readonly PlacementNode[],
  draft: MetadataDraft,
  context: PlanContext,
): Placed | 'wait' {
  const partitions = request.restored?.length ?? (request.partitions === -1 ? PARTITIONS_DEFAULT : request.partitions)
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > PARTITIONS_MAX) {
    return {
      code: 'INVALID_PARTITIONS',
      message: `Number of partitions must be between 1 and ${PARTITIONS_MAX}, or -1 for the default: ${partitions} is not.`,
    }
  }
  const meant = Math.max(nodes.length, context.expectedNodes)
  const factor = request.replicationFactor === -1 ? defaultReplicationFactor(meant) : request.replicationFactor
  if (!Number.isInteger(factor) || factor < 1 || factor > 32767) {
    return {
      code: 'INVALID_REPLICATION_FACTOR',
      message: `Replication factor must be at least 1, or -1 for the default: ${factor} is not.`,
    }
  }
  const answer = placePartitions(request.name, partitions, factor, nodes, draft.load())
  if (!('reason' in answer)) return answer
  if (context.patient && factor <= meant) return 'wait'
  const message =
    answer.reason === 'too-few-nodes'
      ? `Replication factor ${factor} needs ${answer.needed} nodes, the cluster has ${answer.registered}.`
      : `Replication factor ${factor} needs ${answer.needed} live nodes, ${answer.live} of ${nodes.length} can be reached.`
  return { code: 'INVALID_REPLICATION_FACTOR', message }
}

/** The client says which node holds what. */
function assign(request: CreateTopicRequest, nodes: readonly PlacementNode[]): Placed {
  if (request.partitions !== -1 || request.replicationFactor !== -1) {
    return {
      code: 'INVALID_REQUEST',
      message: 'Number of partitions and replication factor must be -1 when replicas are assigned.',
    }
  }
  const refuse = (message: string): CommandError => ({ code: 'INVALID_ASSIGNMENT', message })
  const assignments = [...(request.assignments ?? [])].sort((a, b) => a.partition - b.partition)
  if (assignments.length > PARTITIONS_MAX) return refuse(`A topic has at most ${PARTITIONS_MAX} partitions.`)
  const known = new Map(nodes.map((node) => [node.id, node]))
  const factor = assignments[0]!.replicas.length
  const placed: ReplicaPlace[][] = []
  for (const { partition, replicas } of assignments) {
    if (partition !== placed.length)
      return refuse(`Partitions must be 0, 1, 2 and so on: ${placed.length} is missing or doubled.`)
    if (replicas.length === 0) return refuse(`Partition ${partition} has no replica.`)
    if (replicas.length !== factor) {
      return refuse(`Partition ${partition} has ${replicas.length} replicas, partition 0 has ${factor}.`)
    }
    if (new Set(replicas).size !== replicas.length) return refuse(`Partition ${partition} names a node twice.`)
    const places: ReplicaPlace[] = []
    for (const id of replicas) {
      const node = known.get(id)
      if (node === undefined) return refuse(`Partition ${partition} names node ${id}, which the cluster does not know.`)
      places.push({ node: id, disk: node.disk })
    }
    placed.push(places)
  }
  return placed
}

export function planDeletion({ name, id }: DeleteTopicRequest, draft: MetadataDraft): TopicResult {
  const topic = draft.topic(name)
  if (topic === undefined || (id !== null && topic.id !== id)) {
    return { name, error: { code: 'UNKNOWN_TOPIC', message: `Topic '${name}' does not exist.` } }
  }
  if (topic.internal) {
    return { name, error: { code: 'INVALID_REQUEST', message: `Topic '${name}' is the cluster's own.` } }
  }
  draft.removeTopic(name)
  return { name, error: null, topic }
}
