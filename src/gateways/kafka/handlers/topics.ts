/** CreateTopics, DeleteTopics, DescribeConfigs: any node takes them, the controller decides, the answer follows the commit. */
import { TOPIC_SETTINGS, type Topic, type TopicResult, topicNameDefect } from '../../../cluster/index.ts'
import { KafkaError } from '../../../streams/index.ts'
import type { apis } from '../api-table.ts'
import { ZERO_UUID } from '../message-definition.ts'
import type { CreateTopicsRequest } from '../messages/create-topics.ts'
import type { DeleteTopicsRequest } from '../messages/delete-topics.ts'
import type { DescribeConfigsRequest } from '../messages/describe-configs.ts'
import { errorOfCommand } from './command-errors.ts'
import type { ExchangeOf, HandlerContext } from './context.ts'

/** Where a value comes from, in Kafka's numbers. */
const DEFAULT_SOURCE = 5
const TOPIC_SOURCE = 1
const TOPIC_RESOURCE = 2
const BROKER_RESOURCE = 4
const CONFIG_TYPES = { long: 5, int: 3, double: 6, string: 2, list: 7 } as const

export function createTopics(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.createTopics>,
  request: CreateTopicsRequest,
): void {
  const asked = request.topics
  const names = asked.map(({ name }) => name)
  const repeated = new Set(names.filter((name, i) => names.indexOf(name) !== i))
  const wanted = asked.filter(({ name }) => !repeated.has(name))
  const commands = wanted.map(({ name, numPartitions, replicationFactor, assignments, configs }) => ({
    name,
    partitions: numPartitions === -1 && assignments.length === 0 ? context.defaultPartitions : numPartitions,
    replicationFactor,
    assignments:
      assignments.length === 0
        ? null
        : assignments.map(({ partitionIndex, brokerIds }) => ({ partition: partitionIndex, replicas: brokerIds })),
    configs: Object.fromEntries(configs.map((config) => [config.name, config.value])),
    validateOnly: request.validateOnly,
  }))
  const answer = (results: readonly TopicResult[]): void => {
    const byName = new Map(results.map((result) => [result.name, result]))
    const topics = [...new Set(names)].map((name) => {
      const result = byName.get(name)
      if (result === undefined)
        return {
          name,
          errorCode: KafkaError.INVALID_REQUEST,
          errorMessage: `topic ${name} is named twice in one request`,
          configs: null,
        }
      const { error, topic } = result
      if (error !== null || topic === undefined)
        return {
          name,
          errorCode: error === null ? KafkaError.UNKNOWN_SERVER_ERROR : errorOfCommand(error.code),
          errorMessage: error?.message ?? null,
          configs: null,
        }
      return {
        name,
        topicId: topic.id,
        errorCode: KafkaError.NONE,
        errorMessage: null,
        numPartitions: topic.partitions.length,
        replicationFactor: topic.partitions[0]?.replicas.length ?? -1,
        configs: settingsOf(topic).map(({ key, value, isDefault }) => ({
          name: key,
          value,
          readOnly: false,
          configSource: isDefault ? DEFAULT_SOURCE : TOPIC_SOURCE,
          isSensitive: false,
        })),
      }
    })
    exchange.respond({ topics })
  }
  if (commands.length === 0) answer([])
  else context.cluster.createTopics(commands, answer)
}

export function deleteTopics(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.deleteTopics>,
  request: DeleteTopicsRequest,
): void {
  const asked =
    exchange.apiVersion >= 6 ? request.topics : request.topicNames.map((name) => ({ name, topicId: ZERO_UUID }))
  const resolved = asked.map(({ name, topicId }) => ({
    name: name ?? context.cluster.topicById(topicId)?.name ?? null,
    topicId,
  }))
  /** Once each; who names a topic by its id means no other of that name. */
  const wanted = new Map<string, string | null>()
  asked.forEach(({ name: given, topicId }, i) => {
    const { name } = resolved[i]!
    if (name !== null && !wanted.has(name)) wanted.set(name, given === null ? topicId : null)
  })
  const answer = (results: readonly TopicResult[]): void => {
    const byName = new Map(results.map((result) => [result.name, result]))
    const responses = resolved.map(({ name, topicId }) => {
      if (name === null) return { name: null, topicId, errorCode: KafkaError.UNKNOWN_TOPIC_ID, errorMessage: null }
      const error = byName.get(name)?.error ?? null
      return {
        name,
        topicId,
        errorCode: error === null ? KafkaError.NONE : errorOfCommand(error.code),
        errorMessage: error?.message ?? null,
      }
    })
    exchange.respond({ responses })
  }
  if (wanted.size === 0) answer([])
  else
    context.cluster.deleteTopics(
      [...wanted].map(([name, id]) => ({ name, id })),
      answer,
    )
}

export function describeConfigs(
  context: HandlerContext,
  exchange: ExchangeOf<typeof apis.describeConfigs>,
  request: DescribeConfigsRequest,
): void {
  const results = request.resources.map(({ resourceType, resourceName, configurationKeys }) => {
    const described = { resourceType, resourceName, errorMessage: null, configs: [] }
    if (resourceType === BROKER_RESOURCE) return { ...described, errorCode: KafkaError.NONE }
    if (resourceType !== TOPIC_RESOURCE)
      return {
        ...described,
        errorCode: KafkaError.INVALID_REQUEST,
        errorMessage: `resource type ${resourceType} has no settings here; topics are type ${TOPIC_RESOURCE}`,
      }
    const defect = topicNameDefect(resourceName)
    if (defect !== null) return { ...described, errorCode: KafkaError.INVALID_TOPIC_EXCEPTION, errorMessage: defect }
    const topic = context.cluster.topic(resourceName)
    if (topic === undefined)
      return {
        ...described,
        errorCode: KafkaError.UNKNOWN_TOPIC_OR_PARTITION,
        errorMessage: `topic ${resourceName} does not exist`,
      }
    const configs = settingsOf(topic)
      .filter(
        ({ key }) => configurationKeys === null || configurationKeys.length === 0 || configurationKeys.includes(key),
      )
      .map(({ key, value, isDefault }) => {
        const { type, defaultValue, doc } = TOPIC_SETTINGS[key]!
        const synonyms = [
          ...(isDefault ? [] : [{ name: key, value, source: TOPIC_SOURCE }]),
          { name: key, value: defaultValue, source: DEFAULT_SOURCE },
        ]
        return {
          name: key,
          value,
          readOnly: false,
          isDefault,
          configSource: isDefault ? DEFAULT_SOURCE : TOPIC_SOURCE,
          isSensitive: false,
          synonyms: request.includeSynonyms ? synonyms : [],
          configType: CONFIG_TYPES[type],
          documentation: request.includeDocumentation ? doc : null,
        }
      })
    return { ...described, errorCode: KafkaError.NONE, configs }
  })
  exchange.respond({ results } as never)
}

function settingsOf(topic: Topic): { readonly key: string; readonly value: string; readonly isDefault: boolean }[] {
  return Object.entries(TOPIC_SETTINGS).map(([key, { defaultValue }]) => {
    const value = topic.configs[key]
    return { key, value: value ?? defaultValue, isDefault: value === undefined }
  })
}
