/**
 * A cluster as a backup sees it: which brokers and leaders there are, and requests that are asked again while leaders move.
 *
 * Everything asked here may be asked twice: reads, commits of positions, and the appends of a restore, which name their offset.
 */
import { type Api, apis, type DraftOf, type MessageDefinition, type MessageOf } from '../gateways/kafka/index.ts'
import type { Address, Clock, Network, Timer } from '../platform/index.ts'
import { must } from '../stdx/index.ts'
import { KAFKA_ERRORS, kafkaErrorName } from '../streams/index.ts'
import { BackupError } from './errors.ts'
import { Link, LinkLost } from './link.ts'

export interface ClusterClientOptions {
  readonly brokers: readonly Address[]
  /** How long one thing may fail before it is given up. */
  readonly patienceMs: number
}

export interface ClusterClientCollaborators {
  readonly network: Network
  readonly clock: Clock
}

export interface TopicInCluster {
  readonly name: string
  readonly id: string
  readonly internal: boolean
  /** By partition: where its leader is; null where there is none at this moment. */
  readonly leaders: readonly (Address | null)[]
  /** By partition: the latest term that any broker knows of; where it is the same, nobody else has led in between. */
  readonly leaderEpochs: readonly number[]
  readonly replicationFactor: number
}

/** What one attempt made of it: an answer, or an error code that a later attempt may not meet. */
export type Attempt<T> = { readonly value: T } | { readonly again: string }

type MetadataAnswer = MessageOf<typeof apis.metadata.response.definition>
type TopicAnswer = MetadataAnswer['topics'][number]

const METADATA_VERSION = 12
/** After the first answer to a question that goes to all. */
const OTHERS_WAIT_MS = 1000
const REQUEST_TIMEOUT_MS = 10_000
const PAUSE_MS = 100

export class ClusterClient {
  readonly #options: ClusterClientOptions
  readonly #with: ClusterClientCollaborators
  readonly #links = new Map<string, Link>()
  #brokers: readonly Address[] = []
  #clusterId = ''
  #topics = new Map<string, TopicInCluster>()
  #next = 0
  #refreshing: Promise<void> | null = null
  /** Why a broker did not say where everything is, the last time that one did not. */
  #silence = 'no broker answers'

  constructor(options: ClusterClientOptions, collaborators: ClusterClientCollaborators) {
    this.#options = options
    this.#with = collaborators
  }

  get clusterId(): string {
    return this.#clusterId
  }

  get brokers(): readonly Address[] {
    return this.#brokers
  }

  /** As the last answer of the cluster has it. */
  get topics(): ReadonlyMap<string, TopicInCluster> {
    return this.#topics
  }

  close(): void {
    for (const link of this.#links.values()) link.close()
    this.#links.clear()
  }

  pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#with.clock.after(PAUSE_MS, resolve)
    })
  }

  /** One request to one broker; throws `LinkLost` where no answer came. */
  ask<Q extends MessageDefinition, R extends MessageDefinition>(
    to: Address,
    api: Api<Q, R>,
    version: number,
    message: DraftOf<Q>,
  ): Promise<MessageOf<R>> {
    const key = `${to.host}:${to.port}`
    let link = this.#links.get(key)
    if (link === undefined || !link.isOpen) {
      link = new Link(to, this.#with.network, this.#with.clock)
      this.#links.set(key, link)
    }
    return link.request(api, version, message, REQUEST_TIMEOUT_MS)
  }

  /** Any broker, another one each time. */
  anyBroker(): Address {
    const known = this.#brokers.length > 0 ? this.#brokers : this.#options.brokers
    return must(known[this.#next++ % known.length], 'a broker')
  }

  /** Tries until it is done or the patience is over; between attempts it looks where the leaders are now. */
  async persist<T>(subject: string, attempt: () => Promise<Attempt<T>>): Promise<T> {
    const { clock } = this.#with
    const deadline = clock.now() + this.#options.patienceMs
    for (;;) {
      let again: string
      try {
        const outcome = await attempt()
        if ('value' in outcome) return outcome.value
        again = outcome.again
      } catch (error) {
        if (!(error instanceof LinkLost)) throw error
        again = error.message
      }
      if (clock.now() >= deadline) throw this.#unreachable(subject, again)
      await this.pause()
      await this.#look()
    }
  }

  #unreachable(subject: string, reason: string): BackupError {
    const brokers = this.#options.brokers.map(({ host, port }) => `${host}:${port}`).join(',')
    return new BackupError(
      { code: 'UNREACHABLE', brokers },
      `${subject}: given up after ${Math.round(this.#options.patienceMs / 1000)} s at --brokers ${brokers} (${reason}); ` +
        'what is done is kept, and the same command goes on from there',
    )
  }

  /** Asks where everything is; those who ask meanwhile share the answer. Throws where nobody answers for long. */
  async refresh(): Promise<void> {
    await this.persist('metadata', async () => ((await this.#look()) ? { value: null } : { again: this.#silence }))
  }

  async #look(): Promise<boolean> {
    const before = this.#topics
    this.#refreshing ??= this.#askMetadata().finally(() => {
      this.#refreshing = null
    })
    await this.#refreshing
    return this.#topics !== before
  }

  /**
   * Of all brokers, for one that is cut off from the others, or behind, does not know what there is. Those that take long are waited for
   * a little.
   */
  async #askMetadata(): Promise<void> {
    const known = new Map(
      [...this.#options.brokers, ...this.#brokers].map((each) => [`${each.host}:${each.port}`, each]),
    )
    const request = { topics: null, allowAutoTopicCreation: false, includeTopicAuthorizedOperations: false }
    const answers: MetadataAnswer[] = []
    let patience: Timer | null = null
    await new Promise<void>((resolve, reject) => {
      let left = known.size
      const ask = async (broker: Address): Promise<void> => {
        try {
          answers.push(await this.ask(broker, apis.metadata, METADATA_VERSION, request))
          patience ??= this.#with.clock.after(OTHERS_WAIT_MS, resolve)
        } catch (error) {
          if (error instanceof LinkLost) this.#silence = `no broker answers: ${error.message}`
          else reject(error)
        }
        if (--left === 0) resolve()
      }
      for (const broker of known.values()) void ask(broker)
    }).finally(() => patience?.cancel())
    if (answers.length > 0) this.#take([...answers])
  }

  #take(answers: readonly MetadataAnswer[]): void {
    const places = new Map<number, Address>()
    for (const { brokers } of answers) for (const { nodeId, host, port } of brokers) places.set(nodeId, { host, port })
    this.#brokers = [...places.values()]
    this.#clusterId = answers.find(({ clusterId }) => clusterId !== null)?.clusterId ?? ''
    const byName = new Map<string, TopicAnswer[]>()
    for (const topic of answers.flatMap(({ topics }) => topics))
      if (topic.name !== null) byName.set(topic.name, [...(byName.get(topic.name) ?? []), topic])
    const topics = new Map<string, TopicInCluster>()
    for (const [name, told] of byName) topics.set(name, agreed(name, told, places))
    this.#topics = topics
  }

  /** As the last answer of the cluster has it; null: there is none, or the topic is another one. */
  leaderOf({ name, id }: { readonly name: string; readonly id: string }, partition: number): Address | null {
    const known = this.#topics.get(name)
    return known?.id === id ? (known.leaders[partition] ?? null) : null
  }

  /** Asks the partition's leader, again and again where there is none or another one. Null: the topic is gone. */
  askLeader<T>(
    topic: { readonly name: string; readonly id: string },
    partition: number,
    attempt: (leader: Address) => Promise<Attempt<T>>,
  ): Promise<T | null> {
    return this.persist<T | null>(`topic ${topic.name}, partition ${partition}`, async () => {
      const known = this.#topics.get(topic.name)
      if (known?.id !== topic.id) {
        await this.refresh()
        if (this.#topics.get(topic.name)?.id !== topic.id) return { value: null }
      }
      const leader = this.leaderOf(topic, partition)
      return leader === null ? { again: 'no leader' } : attempt(leader)
    })
  }
}

/** Of topics of one name the one that most brokers know; of its leaders those of the latest term. */
function agreed(name: string, told: readonly TopicAnswer[], places: ReadonlyMap<number, Address>): TopicInCluster {
  const knownBy = ({ topicId }: TopicAnswer): number => told.filter((other) => other.topicId === topicId).length
  const first = told.reduce((best, each) => (knownBy(each) > knownBy(best) ? each : best))
  const leaders: (Address | null)[] = []
  const leaderEpochs: number[] = []
  for (const { topicId, partitions } of told) {
    if (topicId !== first.topicId) continue
    for (const { partitionIndex, leaderId, leaderEpoch } of partitions) {
      const leader = places.get(leaderId) ?? null
      const known = leaderEpochs[partitionIndex] ?? -2
      if (leaderEpoch < known || (leaderEpoch === known && leader === null)) continue
      leaders[partitionIndex] = leader
      leaderEpochs[partitionIndex] = leaderEpoch
    }
  }
  const replicationFactor = first.partitions[0]?.replicaNodes.length ?? 1
  return { name, id: first.topicId, internal: first.isInternal, leaders, leaderEpochs, replicationFactor }
}

/** Null where the code is no error; `again` where another attempt may meet another answer; throws for the rest. */
export function judge(code: number, subject: string, message: string | null = null): { readonly again: string } | null {
  if (code === 0) return null
  const name = kafkaErrorName(code)
  if (KAFKA_ERRORS.get(code)?.retriable === true) return { again: name }
  throw new BackupError(
    { code: 'REFUSED', subject, error: code },
    `${subject}: refused with ${name}${message === null ? '' : `: ${message}`}`,
  )
}
