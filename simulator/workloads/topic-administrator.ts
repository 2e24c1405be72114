/**
 * Somebody who creates and deletes topics, and creates them again under the same name.
 *
 * Each administrator has names that nobody else uses and does one thing at a time, so as long as every answer came it knows what
 * there is, and every further answer is either right or wrong:
 *
 *      absent ──create──► done, a new id          present ──delete──► done
 *             ──delete──► there is no such topic          ──create──► there is one
 *
 * Where an answer did not come the name is given up and another one is used: what was asked may still happen, at any time. What
 * it writes into its topics says which incarnation it was written for, and may never be read in another.
 *
 * Nodes learn of changes one after the other. So only the process that has answered must show what it said (cluster.ts: "after
 * this node's own metadata shows it"); the others must in the end.
 */
import { apis } from '../../src/gateways/kafka/index.ts'
import type { Address, Clock } from '../../src/platform/index.ts'
import { must, type Prng } from '../../src/stdx/index.ts'
import { KAFKA_ERRORS, KafkaError, kafkaErrorName } from '../../src/streams/index.ts'
import type { KafkaClient } from '../kafka-client.ts'
import type { ClientEvent } from '../observer.ts'
import { Violation } from '../violation.ts'
import { OwnTopic } from './own-topic.ts'
import { badCreation } from './refused-creations.ts'

export interface TopicAdministratorOptions {
  readonly name: string
  /** Names in use at a time. */
  readonly topics: number
  readonly intervalMs: number
  readonly replication: number
  readonly nodes: readonly Address[]
  /** Nobody expects this node to serve ever again: its disk is damaged. */
  readonly isGone?: (host: string) => boolean
}

export interface TopicAdministratorCollaborators {
  readonly client: KafkaClient
  readonly clock: Clock
  readonly prng: Prng
  readonly emit: (event: ClientEvent) => void
  readonly violated: (violation: Violation) => void
}

const VERSION = { create: 7, delete: 6, metadata: 12, produce: 9, fetch: 11, configs: 1 } as const
/** Beyond the cluster's own patience with a command. */
const TIMEOUT_MS = 7000
const READ_TIMEOUT_MS = 3000
const AUDIT_MS = 300
const RETENTION = 'retention.ms'
/** Longer than any clock jumps. */
const RETENTION_MS = 9_000_000_000_000_000
const ZERO_ID = '0'.repeat(32)
/** How often a name that is given up is cleaned away. */
const CLEANINGS_MAX = 3

type Deed = 'create' | 'delete' | 'produce' | 'read' | 'look' | 'list' | 'settings' | 'refused' | 'clean'

export class TopicAdministrator {
  readonly #options: TopicAdministratorOptions
  readonly #with: TopicAdministratorCollaborators
  readonly #topics: OwnTopic[]
  readonly #givenUp: { readonly name: string; cleanings: number }[] = []
  #names = 0
  #values = 0
  #busy = false
  #stopped = false
  /** Nodes that do not show yet what there is. */
  #behind: string[] = ['nobody was asked']
  #auditing = false
  /** What was done, and answered. */
  readonly deeds = new Map<Deed, number>()

  constructor(options: TopicAdministratorOptions, collaborators: TopicAdministratorCollaborators) {
    this.#options = options
    this.#with = collaborators
    this.#topics = Array.from({ length: options.topics }, () => this.#fresh())
  }

  start(): void {
    this.#next()
  }

  /** Nothing is changed any more; every node must come to show what there is. */
  stop(): void {
    this.#stopped = true
    if (!this.#busy) this.#audit()
  }

  get drained(): boolean {
    return this.#stopped && this.#behind.length === 0
  }

  /** What is missing, for people. */
  get waitingFor(): string {
    return `${this.#options.name}: ${this.#behind.join('; ')}`
  }

  #fresh(): OwnTopic {
    return new OwnTopic(`${this.#options.name}-t${this.#names++}`)
  }

  #next(): void {
    const { clock, prng } = this.#with
    clock.after((this.#options.intervalMs * (50 + prng.below(101))) / 100, () => {
      if (this.#stopped) return
      this.#busy = true
      const topic = must(this.#topics[prng.below(this.#topics.length)], 'a topic')
      const deed = this.#choose(topic)
      this.#do(deed, topic, (answered) => {
        this.#busy = false
        if (answered) this.deeds.set(deed, (this.deeds.get(deed) ?? 0) + 1)
        if (this.#stopped) this.#audit()
        else this.#next()
      })
    })
  }

  #choose(topic: OwnTopic): Deed {
    const roll = this.#with.prng.below(100)
    if (this.#givenUp.length > 0 && roll < 15) return 'clean'
    if (roll < 22) return 'refused'
    if (roll < 28) return 'list'
    if (topic.id === null) return roll < 85 ? 'create' : roll < 93 ? 'delete' : 'look'
    if (roll < 55) return 'produce'
    if (roll < 68) return 'read'
    if (roll < 76) return 'look'
    if (roll < 82) return 'settings'
    return roll < 86 ? 'create' : 'delete'
  }

  #do(deed: Deed, topic: OwnTopic, done: (answered: boolean) => void): void {
    switch (deed) {
      case 'create':
        return this.#create(topic, done)
      case 'delete':
        return this.#delete(topic, done)
      case 'produce':
        return this.#produce(topic, done)
      case 'read':
        return this.#read(topic, done)
      case 'look':
        return this.#look(topic, done)
      case 'list':
        return this.#list(done)
      case 'settings':
        return this.#settings(topic, done)
      case 'refused':
        return this.#refused(done)
      case 'clean':
        return this.#clean(done)
    }
  }

  // ── changes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #create(topic: OwnTopic, done: (answered: boolean) => void): void {
    const { client, clock, prng } = this.#with
    const { name } = topic
    const partitions = 1 + prng.below(2)
    const setting = String(RETENTION_MS + prng.below(1000))
    const wanted = {
      name,
      numPartitions: partitions,
      replicationFactor: this.#options.replication,
      assignments: [],
      configs: [{ name: RETENTION, value: setting }],
    }
    const [at, askedAtMs] = [client.anyBroker(), clock.now()]
    const request = { topics: [wanted], timeoutMs: TIMEOUT_MS, validateOnly: false }
    this.#with.emit({ type: 'topic-create-sent', client: this.#options.name, topic: name, partitions })
    client.request(at, apis.createTopics, VERSION.create, request, TIMEOUT_MS, (_failure, answer) => {
      const result = answer?.topics[0]
      const outcome = outcomeOf(result?.errorCode, KafkaError.TOPIC_ALREADY_EXISTS, 'exists')
      this.#with.emit({ type: 'topic-create', client: this.#options.name, topic: name, partitions, askedAtMs, outcome })
      if (outcome === 'unknown') return this.#giveUp(topic, done)
      if (outcome === 'done') {
        const defect = topic.created(result!.topicId, setting)
        if (defect !== null) this.#wrong(`the creation of ${name} was acknowledged: ${defect}`)
        topic.shownBy(at, client.connection(at))
      } else if (outcome === 'exists' && topic.id === null) {
        this.#wrong(`the creation of ${name} was refused because it exists, and it does not`)
      } else if (outcome === 'refused') this.#checkRefusal(`the creation of ${name}`, result!.errorCode)
      done(true)
    })
  }

  #delete(topic: OwnTopic, done: (answered: boolean) => void): void {
    const { client, clock, prng } = this.#with
    const { name, id } = topic
    const byId = id !== null && prng.below(3) === 0
    const at = client.anyBroker()
    const askedAtMs = clock.now()
    const request = { topics: [byId ? { name: null, topicId: id } : { name, topicId: ZERO_ID }], timeoutMs: TIMEOUT_MS }
    client.request(at, apis.deleteTopics, VERSION.delete, request, TIMEOUT_MS, (_failure, answer) => {
      const code = answer?.responses[0]?.errorCode
      const outcome = outcomeOf(code, KafkaError.UNKNOWN_TOPIC_OR_PARTITION, 'missing')
      this.#with.emit({ type: 'topic-delete', client: this.#options.name, topic: name, askedAtMs, outcome })
      if (outcome === 'unknown') return this.#giveUp(topic, done)
      if (outcome === 'done') {
        if (id === null) this.#wrong(`the deletion of ${name} was acknowledged, and there is none`)
        topic.deleted()
        topic.shownBy(at, client.connection(at))
        client.forgetTopic(name)
      } else if (outcome === 'missing' && id !== null)
        this.#wrong(`the deletion of ${name} was refused because there is none, and there is ${id}`)
      // A node that has not heard of the topic yet does not know its id.
      else if (outcome === 'refused' && !(byId && code === KafkaError.UNKNOWN_TOPIC_ID))
        this.#checkRefusal(`the deletion of ${name}`, code!)
      done(true)
    })
  }

  /** What was asked may still happen: its name means nothing certain any more. */
  #giveUp(topic: OwnTopic, done: (answered: boolean) => void): void {
    this.#topics[this.#topics.indexOf(topic)] = this.#fresh()
    this.#givenUp.push({ name: topic.name, cleanings: 0 })
    this.#with.client.forgetTopic(topic.name)
    done(false)
  }

  #clean(done: (answered: boolean) => void): void {
    const { client, clock, emit } = this.#with
    const doomed = this.#givenUp[0]!
    const askedAtMs = clock.now()
    const topics = [{ name: doomed.name, topicId: ZERO_ID }]
    const request = { topics, timeoutMs: TIMEOUT_MS }
    client.request(client.anyBroker(), apis.deleteTopics, VERSION.delete, request, TIMEOUT_MS, (_failure, answer) => {
      const outcome = outcomeOf(answer?.responses[0]?.errorCode, KafkaError.UNKNOWN_TOPIC_OR_PARTITION, 'missing')
      emit({ type: 'topic-delete', client: this.#options.name, topic: doomed.name, askedAtMs, outcome })
      if (outcome === 'done' || ++doomed.cleanings === CLEANINGS_MAX) this.#givenUp.shift()
      done(outcome !== 'unknown')
    })
  }

  /** What nobody may be given: each has its own refusal. */
  #refused(done: (answered: boolean) => void): void {
    const { client, prng } = this.#with
    const { topic, errors, what } = badCreation(prng, this.#options.nodes.length, `${this.#options.name}-never`)
    const request = { topics: [topic], timeoutMs: TIMEOUT_MS, validateOnly: false }
    client.request(client.anyBroker(), apis.createTopics, VERSION.create, request, TIMEOUT_MS, (_failure, answer) => {
      const code = answer?.topics[0]?.errorCode
      if (code !== undefined && !errors.includes(code) && KAFKA_ERRORS.get(code)?.retriable !== true)
        this.#wrong(`a creation with ${what} was answered with ${kafkaErrorName(code)}`)
      done(code !== undefined)
    })
  }

  #checkRefusal(of: string, code: number): void {
    // Too few nodes are in reach to hold the replicas: true while they are down.
    if (code === KafkaError.INVALID_REPLICATION_FACTOR || KAFKA_ERRORS.get(code)?.retriable === true) return
    this.#wrong(`${of} was refused with ${kafkaErrorName(code)}`)
  }

  // ── what there is ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Asks the process that changed the topic last, if it still lives, else any. */
  #look(topic: OwnTopic, done: (answered: boolean) => void): void {
    const { client } = this.#with
    const at = topic.shownAt ?? client.anyBroker()
    const bound = topic.isShownBy(at, client.connection(at))
    this.#metadata(at, [topic.name], (topics) => {
      const found = topics?.[0]
      if (found !== undefined && bound && topic.isShownBy(at, client.connection(at))) {
        const defect = topic.defectOf(found.errorCode === KafkaError.NONE ? found.topicId : null)
        if (defect !== null) this.#wrong(`the node that answered for ${topic.name} shows something else: ${defect}`)
      }
      done(found !== undefined)
    })
  }

  #list(done: (answered: boolean) => void): void {
    const { client, clock, emit } = this.#with
    const askedAtMs = clock.now()
    this.#metadata(client.anyBroker(), null, (found) => {
      const topics = (found ?? []).map(({ name, topicId, partitions }) => ({
        name: name ?? '',
        id: topicId,
        partitions: partitions.length,
      }))
      if (found !== null) emit({ type: 'topics-listed', client: this.#options.name, askedAtMs, topics })
      done(found !== null)
    })
  }

  #settings(topic: OwnTopic, done: (answered: boolean) => void): void {
    const { client } = this.#with
    const at = topic.shownAt ?? client.anyBroker()
    const bound = topic.isShownBy(at, client.connection(at))
    const request = { resources: [{ resourceType: 2, resourceName: topic.name, configurationKeys: [RETENTION] }] }
    client.request(at, apis.describeConfigs, VERSION.configs, request, READ_TIMEOUT_MS, (_failure, answer) => {
      const result = answer?.results[0]
      if (result !== undefined && bound && topic.isShownBy(at, client.connection(at))) {
        const shown = result.configs.find(({ name }) => name === RETENTION)?.value ?? null
        if (shown !== topic.setting)
          this.#wrong(`${topic.name} was created with ${RETENTION} ${topic.setting}, and shows ${shown}`)
      }
      done(result !== undefined)
    })
  }

  #metadata(at: Address, names: readonly string[] | null, done: (topics: readonly Described[] | null) => void): void {
    const request = {
      topics: names === null ? null : names.map((name) => ({ name, topicId: ZERO_ID })),
      allowAutoTopicCreation: false,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    }
    this.#with.client.request(at, apis.metadata, VERSION.metadata, request, READ_TIMEOUT_MS, (_failure, answer) =>
      done(answer?.topics ?? null),
    )
  }

  // ── what is in them ───────────────────────────────────────────────────────────────────────────────────────────────────

  #produce(topic: OwnTopic, done: (answered: boolean) => void): void {
    const { client, clock } = this.#with
    const leader = client.leaderOf(topic.name, 0)
    if (leader === null) return client.refresh([topic.name], () => done(false))
    this.#knows(leader, topic, (isKnown) => {
      const { batch, value } = topic.nextBatch(this.#values++, clock.wall())
      const topicData = [{ name: topic.name, partitionData: [{ index: 0, records: batch }] }]
      const request = { transactionalId: null, acks: -1, timeoutMs: READ_TIMEOUT_MS, topicData }
      client.request(leader, apis.produce, VERSION.produce, request, READ_TIMEOUT_MS, (failure, answer) => {
        const result = answer?.responses[0]?.partitionResponses[0]
        const isWritten = failure === null && result?.errorCode === KafkaError.NONE
        if (isWritten && isKnown()) topic.written(value)
        else topic.wentAstray(value)
        if (isWritten) return done(true)
        if (result !== undefined) this.#checkRefusal(`a batch for ${topic.name}`, result.errorCode)
        client.refresh([topic.name], () => done(false))
      })
    })
  }

  /**
   * A request that names its topic means, to a node that is behind, the one that had the name before. So the node is asked
   * first which one that is; what it says stays true as long as the connection lasts.
   */
  #knows(at: Address, topic: OwnTopic, done: (isKnown: () => boolean) => void): void {
    const { client } = this.#with
    this.#metadata(at, [topic.name], (topics) => {
      const shown = topics?.[0]
      const connection = client.connection(at)
      const known = shown !== undefined && shown.errorCode === KafkaError.NONE && shown.topicId === topic.id
      done(() => known && connection !== 0 && client.connection(at) === connection)
    })
  }

  #read(topic: OwnTopic, done: (answered: boolean) => void): void {
    const { client } = this.#with
    const leader = client.leaderOf(topic.name, 0)
    if (leader === null) return client.refresh([topic.name], () => done(false))
    const partitions = [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1 << 20 }]
    const topics = [{ topic: topic.name, partitions }]
    const request = { maxWaitMs: 0, minBytes: 1, maxBytes: 1 << 20, topics, forgottenTopicsData: [] }
    this.#knows(leader, topic, (isKnown) => {
      client.request(leader, apis.fetch, VERSION.fetch, request, READ_TIMEOUT_MS, (failure, answer) => {
        const result = answer?.responses[0]?.partitions[0]
        if (failure === null && result?.errorCode === KafkaError.NONE) {
          const defect = isKnown() ? topic.defectOfRecords(result.records, result.highWatermark) : null
          if (defect !== null) this.#wrong(`reading ${topic.name} from its start: ${defect}`)
          return done(true)
        }
        if (result !== undefined) this.#checkRefusal(`a fetch from ${topic.name}`, result.errorCode)
        client.refresh([topic.name], () => done(false))
      })
    })
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Every node that is to come back is asked, until all of them show what there is. */
  #audit(): void {
    if (this.#auditing) return
    this.#auditing = true
    const names = this.#topics.map(({ name }) => name)
    const behind: string[] = []
    const { nodes, isGone = () => false } = this.#options
    const asked = nodes.filter(({ host }) => !isGone(host))
    let missing = asked.length
    for (const node of asked) {
      this.#metadata(node, names, (found) => {
        for (const topic of this.#topics) {
          const shown = found?.find(({ name }) => name === topic.name)
          const defect =
            found === null ? 'no answer' : topic.defectOf(shown?.errorCode === KafkaError.NONE ? shown.topicId : null)
          if (defect !== null) behind.push(`${node.host} on ${topic.name}: ${defect}`)
        }
        if (--missing > 0) return
        this.#auditing = false
        this.#behind = behind
        if (behind.length > 0) this.#with.clock.after(AUDIT_MS, () => this.#audit())
      })
    }
  }

  #wrong(what: string): void {
    this.#with.violated(new Violation('topics are what was asked for', `${this.#options.name}: ${what}`))
  }
}

interface Described {
  readonly name: string | null
  readonly topicId: string
  readonly errorCode: number
  readonly partitions: readonly unknown[]
}

/** No answer, or one that says that it may still be done: `unknown`. */
function outcomeOf<Word extends string>(
  code: number | undefined,
  refusal: number,
  word: Word,
): 'done' | 'refused' | 'unknown' | Word {
  if (code === undefined || code === KafkaError.REQUEST_TIMED_OUT) return 'unknown'
  if (code === KafkaError.NONE) return 'done'
  return code === refusal ? word : 'refused'
}
