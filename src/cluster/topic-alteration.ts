/**
 * Decides on a change of a topic's settings: a pure function from a command and the metadata as it stands to an answer and a
 * change of the draft. All of a topic's changes are made, or none.
 */
import type { AlterTopicRequest, CommandErrorCode, SettingChange, TopicResult } from './commands.ts'
import type { MetadataDraft } from './metadata-draft.ts'
import { conflictDefect, replicasDefect, TOPIC_SETTINGS, topicSettingDefect } from './topic-config.ts'
import { refusedEarlier } from './topic-planner.ts'

/**
 * An alteration that may have been attempted before. Its steps would do no harm twice, were nobody else there: but whoever saw
 * what it did, and took it back, must not see it come again (a short `retention.ms`, and records are gone).
 */
export function alterOnce(
  alteration: AlterTopicRequest,
  request: string,
  place: number,
  draft: MetadataDraft,
): TopicResult {
  const { name, validateOnly } = alteration
  if (validateOnly) return planAlteration(alteration, draft)
  const earlier = draft.outcomeOf(request, place)
  if (earlier === undefined) {
    const result = planAlteration(alteration, draft)
    draft.putOutcome(request, place, result.error?.code ?? null)
    return result
  }
  if (earlier.error !== null) return refusedEarlier(name, earlier.error)
  const topic = draft.topic(name)
  return topic === undefined ? { name, error: null } : { name, error: null, topic }
}

export function planAlteration(request: AlterTopicRequest, draft: MetadataDraft): TopicResult {
  const { name, changes, replace, validateOnly } = request
  const refuse = (code: CommandErrorCode, message: string): TopicResult => ({ name, error: { code, message } })
  const topic = draft.topic(name)
  if (topic === undefined) return refuse('UNKNOWN_TOPIC', `Topic '${name}' does not exist.`)
  if (topic.internal) return refuse('INVALID_REQUEST', `Topic '${name}' is the cluster's own.`)
  const configs: Record<string, string> = replace ? {} : { ...topic.configs }
  const seen = new Set<string>()
  for (const change of changes) {
    if (seen.has(change.name)) return refuse('INVALID_REQUEST', `${change.name} is named twice`)
    seen.add(change.name)
    const failure = apply(change, configs)
    if (failure !== null) return refuse(...failure)
  }
  const replicas = topic.partitions[0]?.replicas.length
  // What was there before stays: other settings can be changed all the same.
  const isNew = seen.has('min.insync.replicas') && replicas !== undefined
  const lagIsNew = seen.has('min.compaction.lag.ms') || seen.has('max.compaction.lag.ms')
  const defect = (lagIsNew ? conflictDefect(configs) : null) ?? (isNew ? replicasDefect(configs, replicas) : null)
  if (defect !== null) return refuse('INVALID_CONFIG', defect)
  const altered = { ...topic, configs }
  const same = JSON.stringify(sorted(configs)) === JSON.stringify(sorted(topic.configs))
  if (!validateOnly && !same) draft.putTopic(altered)
  return { name, error: null, topic: altered }
}

function apply(
  { name, operation, value }: SettingChange,
  configs: Record<string, string>,
): readonly [CommandErrorCode, string] | null {
  const setting = Object.hasOwn(TOPIC_SETTINGS, name) ? TOPIC_SETTINGS[name]! : null
  if (setting === null) return ['INVALID_CONFIG', topicSettingDefect(name, '')!]
  if (operation === 'delete') {
    delete configs[name]
    return null
  }
  if (value === null) return ['INVALID_REQUEST', `${name} must have a value`]
  if (operation === 'set') configs[name] = value
  else {
    if (setting.type !== 'list') return ['INVALID_CONFIG', `${name} is no list: it can be set and deleted`]
    const parts = listOf(configs[name] ?? setting.defaultValue)
    const named = listOf(value)
    const kept =
      operation === 'append'
        ? [...parts, ...named.filter((part) => !parts.includes(part))]
        : parts.filter((part) => !named.includes(part))
    configs[name] = kept.join(',')
  }
  const defect = topicSettingDefect(name, configs[name]!)
  return defect === null ? null : ['INVALID_CONFIG', defect]
}

function listOf(value: string): string[] {
  return value.split(',').map((part) => part.trim())
}

function sorted(configs: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(configs).sort(([a], [b]) => (a < b ? -1 : 1))
}
