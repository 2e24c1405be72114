/**
 * The settings a topic may have, under Kafka's names and with Kafka's value rules, so that whoever creates topics with a
 * Kafka tool learns of a typing error at once. A setting that is not in this table is refused, never ignored: a promise
 * that nobody keeps would be worse than none. Values are kept as the strings that were given.
 */

export interface TopicSetting {
  readonly type: 'long' | 'int' | 'double' | 'string' | 'list'
  /** In force where a topic does not say otherwise. */
  readonly defaultValue: string
  readonly doc: string
  /** What is wrong with the value, or null. */
  readonly defect: (value: string) => string | null
}

const INT_MAX = 2_147_483_647n
const LONG_MAX = 9_223_372_036_854_775_807n

export const TOPIC_SETTINGS: Readonly<Record<string, TopicSetting>> = {
  'cleanup.policy': {
    type: 'list',
    defaultValue: 'delete',
    doc: 'What becomes of old records: delete (by age and size), compact (the latest per key stays), or both.',
    defect: listOf('delete', 'compact'),
  },
  'compression.type': {
    type: 'string',
    defaultValue: 'producer',
    doc: 'Always "producer": records are kept as their producer compressed them.',
    defect: (value) =>
      value === 'producer' ? null : 'must be producer: records are kept as their producer compressed them',
  },
  'delete.retention.ms': {
    type: 'long',
    defaultValue: '86400000',
    doc: 'How long a compacted topic shows that a key was deleted, so that readers learn of it.',
    defect: integer(0n, LONG_MAX),
  },
  'max.compaction.lag.ms': {
    type: 'long',
    defaultValue: '9223372036854775807',
    doc: 'After so long a record of a compacted topic is looked at, however little there is to clean.',
    defect: integer(1n, LONG_MAX),
  },
  'max.message.bytes': {
    type: 'int',
    defaultValue: '1048588',
    doc: 'The largest record batch that is accepted.',
    defect: integer(0n, INT_MAX),
  },
  'message.timestamp.type': {
    type: 'string',
    defaultValue: 'CreateTime',
    doc: 'Whose clock labels a record: the producer’s (CreateTime) or the leader’s (LogAppendTime).',
    defect: oneOf('CreateTime', 'LogAppendTime'),
  },
  'min.cleanable.dirty.ratio': {
    type: 'double',
    defaultValue: '0.5',
    doc: 'A compacted partition is cleaned when this share of its sealed files was never cleaned.',
    defect: share,
  },
  'min.compaction.lag.ms': {
    type: 'long',
    defaultValue: '0',
    doc: 'For so long every record of a compacted topic is there to be read.',
    defect: integer(0n, LONG_MAX),
  },
  'min.insync.replicas': {
    type: 'int',
    defaultValue: '1',
    doc: 'With acks=all a majority of the replicas always has a record in its journal; more cannot be asked for.',
    defect: integer(1n, INT_MAX),
  },
  'retention.bytes': {
    type: 'long',
    defaultValue: '-1',
    doc: 'How large a partition may grow before its oldest segments go; -1 for no limit.',
    defect: integer(-1n, LONG_MAX),
  },
  'retention.ms': {
    type: 'long',
    defaultValue: '604800000',
    doc: 'How long records are kept; -1 for ever.',
    defect: integer(-1n, LONG_MAX),
  },
  'segment.bytes': {
    type: 'int',
    defaultValue: '268435456',
    doc: 'How large one file of a partition may grow; what is cut, is cut by whole files.',
    defect: integer(14n, INT_MAX),
  },
  'segment.jitter.ms': {
    type: 'long',
    defaultValue: '0',
    doc: 'Each file is left at a random age, up to this much below segment.ms.',
    defect: integer(0n, LONG_MAX),
  },
  'segment.ms': {
    type: 'long',
    defaultValue: '604800000',
    doc: 'How old one file of a partition may grow before the next write begins another.',
    defect: integer(1n, LONG_MAX),
  },
}

/** What is wrong with the setting, in one line for people, or null. */
export function topicSettingDefect(name: string, value: string): string | null {
  if (name === 'file.delete.delay.ms')
    return `${name} is not offered: files go when the next checkpoint names them no more`
  if (!Object.hasOwn(TOPIC_SETTINGS, name)) return `Unknown topic config name: ${name}`
  const defect = TOPIC_SETTINGS[name]!.defect(value)
  return defect === null ? null : `Invalid value ${value} for configuration ${name}: ${defect}`
}

/** The same for settings that contradict each other. */
export function conflictDefect(configs: Readonly<Record<string, string>>): string | null {
  const [least, most] = ['min.compaction.lag.ms', 'max.compaction.lag.ms'] as const
  const inForce = (name: string): string => configs[name] ?? TOPIC_SETTINGS[name]!.defaultValue
  if (BigInt(inForce(least)) <= BigInt(inForce(most))) return null
  return `Invalid value ${inForce(least)} for configuration ${least}: must be at most ${most}, which is ${inForce(most)}`
}

/** The same for what depends on how many replicas the topic's partitions have. */
export function replicasDefect(configs: Readonly<Record<string, string>>, replicas: number): string | null {
  const name = 'min.insync.replicas'
  const value = configs[name]
  const majority = Math.floor(replicas / 2) + 1
  if (value === undefined || Number(value) <= majority) return null
  return (
    `Invalid value ${value} for configuration ${name}: must be at most ${majority}, the majority of ` +
    `${replicas} ${replicas === 1 ? 'replica' : 'replicas'}: acks=all waits for the journals of a majority, which meets every lower value`
  )
}

function integer(least: bigint, most: bigint): (value: string) => string | null {
  return (value) => {
    if (!/^[+-]?\d{1,19}$/.test(value.trim())) return 'not a whole number'
    const number = BigInt(value.trim().replace('+', ''))
    return number < least || number > most ? `must be between ${least} and ${most}` : null
  }
}

function share(value: string): string | null {
  if (!/^[+]?(\d+\.?\d*|\.\d+)$/.test(value.trim())) return 'not a number'
  return Number(value) > 1 ? 'must be between 0 and 1' : null
}

function oneOf(...choices: string[]): (value: string) => string | null {
  return (value) => (choices.includes(value) ? null : `must be one of ${choices.join(', ')}`)
}

function listOf(...choices: string[]): (value: string) => string | null {
  return (value) => {
    const parts = value.split(',').map((part) => part.trim())
    return parts.every((part) => choices.includes(part)) ? null : `must be a list of ${choices.join(', ')}`
  }
}
