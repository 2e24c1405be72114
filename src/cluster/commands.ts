/**
 * What may be asked of the controller, by any node, as plain data: the same objects whether they travel as JSON or not.
 *
 * A command may reach the controller twice: its first leader logged it and died before it could answer, or a connection ended
 * with it on the way. So what changes topics carries the id that its origin drew for the request, and the controller remembers
 * what it decided (`outcomes.ts`).
 */
import type { RestoredRange, Topic } from './metadata.ts'

export const TOPIC_NAME_MAX = 249
/** One topic's placement is one value in the metadata; this keeps it within a few megabytes. */
export const PARTITIONS_MAX = 10_000

/** At once: a block of thousands lasts a node for days. */
export const PRODUCER_IDS_MAX = 100_000

export type CommandErrorCode =
  | 'TOPIC_EXISTS'
  | 'UNKNOWN_TOPIC'
  | 'INVALID_TOPIC_NAME'
  | 'INVALID_PARTITIONS'
  | 'INVALID_REPLICATION_FACTOR'
  | 'INVALID_ASSIGNMENT'
  | 'INVALID_CONFIG'
  | 'INVALID_REQUEST'
  /** No node leads the metadata shard, or none that this node can reach: nothing was done. */
  | 'NO_CONTROLLER'
  /** The answer did not come in time: it may still be done. */
  | 'TIMED_OUT'

export interface CommandError {
  readonly code: CommandErrorCode
  readonly message: string
}

export interface CreateTopicRequest {
  readonly name: string
  /** −1 for the default. */
  readonly partitions: number
  /** −1 for the default. */
  readonly replicationFactor: number
  /** Instead of a placement by the cluster; then the two numbers must be −1. */
  readonly assignments?: readonly { readonly partition: number; readonly replicas: readonly number[] }[] | null
  readonly configs: Readonly<Record<string, string | null>>
  readonly validateOnly: boolean
  /** The cluster's own topics, which clients may neither create nor delete. */
  readonly internal?: boolean
  /** One per partition: the topic is to be filled by a restore, from these offsets on. Then `partitions` is −1. */
  readonly restored?: readonly RestoredRange[]
}

/** The topic with this id holds all that was to be restored: open it. */
export interface FinishRestoreRequest {
  readonly name: string
  readonly id: string
}

export interface DeleteTopicRequest {
  readonly name: string
  /** That very topic; null: the one that has the name. */
  readonly id: string | null
}

/** One step of a change of settings. Lists are extended and shortened by their elements. */
export interface SettingChange {
  readonly name: string
  readonly operation: 'set' | 'delete' | 'append' | 'subtract'
  readonly value: string | null
}

export interface AlterTopicRequest {
  readonly name: string
  readonly changes: readonly SettingChange[]
  /** What is not named goes back to its default. */
  readonly replace: boolean
  readonly validateOnly: boolean
}

export interface TopicResult {
  readonly name: string
  readonly error: CommandError | null
  /** As created, or as it would have been. */
  readonly topic?: Topic
}

interface OnceOnly {
  /** The same in every attempt, and in no other request: 32 hexadecimal digits. */
  readonly request: string
  /** How many outcomes there were, to the origin's knowledge, before the first attempt. */
  readonly since: number
}

export type Command =
  | (OnceOnly & {
      readonly type: 'create-topics'
      readonly topics: readonly (CreateTopicRequest & { readonly id: string })[]
      /** How long the controller may wait for nodes that are expected but have not come yet. */
      readonly patienceMs: number
    })
  | (OnceOnly & { readonly type: 'delete-topics'; readonly topics: readonly DeleteTopicRequest[] })
  | (OnceOnly & { readonly type: 'alter-topics'; readonly topics: readonly AlterTopicRequest[] })
  /** Carried out twice it is as if it had been once. */
  | { readonly type: 'finish-restore'; readonly topics: readonly FinishRestoreRequest[] }
  | { readonly type: 'allocate-producer-ids'; readonly count: number }

export type CommandType = Command['type']
export const COMMAND_TYPES: readonly CommandType[] = [
  'create-topics',
  'delete-topics',
  'alter-topics',
  'finish-restore',
  'allocate-producer-ids',
]

export type CommandReply =
  /** `index`: where the metadata shard stood; a node that applied it sees what the answer says. */
  | {
      readonly outcome: 'done'
      readonly index: number
      readonly results: readonly TopicResult[]
      readonly first: number
    }
  | { readonly outcome: 'not-controller' }
  /** More was decided since than is remembered: nothing was done now, and whether it was done before is not known. */
  | { readonly outcome: 'forgotten'; readonly since: number }
  /** Logged, but leadership went before a quorum was known to have it. */
  | { readonly outcome: 'lost' }

/** What a topic may be called (Kafka's rules), as one line for people, or null. */
export function topicNameDefect(name: string): string | null {
  if (name.length === 0) return 'a topic name must not be empty'
  if (name === '.' || name === '..') return `a topic cannot be called '${name}'`
  if (name.length > TOPIC_NAME_MAX)
    return `a topic name has at most ${TOPIC_NAME_MAX} characters, this one ${name.length}`
  if (!/^[a-zA-Z0-9._-]+$/.test(name)) {
    return `a topic name is made of letters, digits, '.', '_' and '-': ${JSON.stringify(name)} is not`
  }
  return null
}

/** The topics that the cluster keeps for itself. */
export const INTERNAL_TOPICS: readonly string[] = ['__consumer_offsets', '__transaction_state']

/** A command as it came over the wire, or null where it is none: what is believed here ends up in the log. */
export function decodeCommand(body: Buffer): Command | null {
  let raw: unknown
  try {
    raw = JSON.parse(body.toString())
  } catch {
    return null
  }
  if (!isObject(raw)) return null
  switch (raw.type) {
    case 'allocate-producer-ids':
      return isCount(raw.count) && (raw.count as number) <= PRODUCER_IDS_MAX ? (raw as Command) : null
    case 'delete-topics':
      return isOnceOnly(raw) && isListOf(raw.topics, isDeletion) ? (raw as Command) : null
    case 'alter-topics':
      return isOnceOnly(raw) && isListOf(raw.topics, isAlteration) ? (raw as Command) : null
    case 'finish-restore':
      return isListOf(raw.topics, isFinish) ? (raw as Command) : null
    case 'create-topics':
      return isOnceOnly(raw) && isCount(raw.patienceMs) && isListOf(raw.topics, isCreation) ? (raw as Command) : null
    default:
      return null
  }
}

type Raw = Readonly<Record<string, unknown>>

function isObject(value: unknown): value is Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isListOf(value: unknown, isItem: (item: Raw) => boolean): boolean {
  return Array.isArray(value) && value.every((item) => isObject(item) && isItem(item))
}

function isDrawn(value: unknown): boolean {
  return typeof value === 'string' && /^[0-9a-f]{32}$/.test(value)
}

function isOnceOnly(item: Raw): boolean {
  return isDrawn(item.request) && isCount(item.since)
}

function isDeletion(item: Raw): boolean {
  return typeof item.name === 'string' && (item.id === null || typeof item.id === 'string')
}

const OPERATIONS: readonly unknown[] = ['set', 'delete', 'append', 'subtract']

function isAlteration(item: Raw): boolean {
  return (
    typeof item.name === 'string' &&
    typeof item.replace === 'boolean' &&
    typeof item.validateOnly === 'boolean' &&
    isListOf(item.changes, isSettingChange)
  )
}

function isSettingChange({ name, operation, value }: Raw): boolean {
  return typeof name === 'string' && OPERATIONS.includes(operation) && (value === null || typeof value === 'string')
}

function isFinish(item: Raw): boolean {
  return typeof item.name === 'string' && isDrawn(item.id)
}

function isRestoredRange({ baseOffset, startOffset, endOffset }: Raw): boolean {
  return isCount(baseOffset) && isCount(startOffset) && isCount(endOffset)
}

function isCreation(item: Raw): boolean {
  return (
    typeof item.name === 'string' &&
    isDrawn(item.id) &&
    Number.isSafeInteger(item.partitions) &&
    Number.isSafeInteger(item.replicationFactor) &&
    typeof item.validateOnly === 'boolean' &&
    (item.internal === undefined || typeof item.internal === 'boolean') &&
    isObject(item.configs) &&
    Object.values(item.configs).every((value) => value === null || typeof value === 'string') &&
    (item.assignments == null || isListOf(item.assignments, isAssignment)) &&
    (item.restored === undefined || isListOf(item.restored, isRestoredRange))
  )
}

function isAssignment(item: Raw): boolean {
  return isCount(item.partition) && Array.isArray(item.replicas) && item.replicas.every(isCount)
}
