/**
 * What the cluster knows about itself, as a pure function of the metadata shard's log: a map of key → JSON, and typed views
 * over it that are kept up to date change by change.
 *
 *     cluster          {v, id}                                              minted once, by the first leader of shard 1
 *     node/7           {v, id, diskIncarnation, kafka, http, peer, rack}    written when the node is first met, and when it moves
 *     topic/orders     {v, name, id, partitions, configs, internal,         desired placement; the actual one is in each shard
 *                       newProducersFrom}; while it is restored also restoring, and per partition for ever restored: {…}
 *     ids/shard        {v, next}                                            never goes back: shard ids are never reused
 *     ids/producer     {v, next}
 *     ids/deletion     {v, next}                                            ids/producer as it was when a topic was last deleted
 *     outcome/17       {v, number, request, place, error}                   a ring: what was decided lately (`outcomes.ts`)
 *
 * Who is alive and who leads what is *not* here: that changes too often for a log, and old news of it would be worthless.
 *
 * Values are checked when they are read. One that does not fit was written by a newer version or by a defect, and a node that
 * guessed would act on another cluster's shape than its peers, so it stops.
 */
import type { Address } from '../platform/index.ts'
import type { KeyedChange } from '../records/index.ts'
import { AssertionFailed, assert } from '../stdx/index.ts'
import type { CommandErrorCode } from './commands.ts'
import { type Outcome, Outcomes, slotOf } from './outcomes.ts'
import type { NodeLoad, ReplicaPlace } from './placement.ts'

export const METADATA_SHARD = 1
/** Below are the cluster's own shards. */
export const FIRST_PARTITION_SHARD = 16
/** Kafka keeps lower producer ids for nobody, but 0 is what broken clients send. */
export const FIRST_PRODUCER_ID = 1
const VALUE_VERSION = 1

export interface NodeRecord {
  readonly id: number
  /** The identity of the directory that this id belongs to; for the id's whole life. */
  readonly diskIncarnation: string
  readonly kafka: Address
  readonly http: Address | null
  readonly peer: Address
  readonly rack: string | null
}

export interface TopicPartition {
  readonly shard: number
  /** The preferred leader first. */
  readonly replicas: readonly ReplicaPlace[]
  /** Of a topic that was created to be restored: what its log begins with (docs/decisions/0005-backup.md). */
  readonly restored?: RestoredRange
}

/** Offsets of a partition of another cluster that are restored here, under the same numbers. */
export interface RestoredRange {
  /** Of the first batch: this log's first entry begins here. */
  readonly baseOffset: number
  /** The first record that is shown; in the first batch. */
  readonly startOffset: number
  /** After the last record. What is written here begins here. */
  readonly endOffset: number
}

export interface Topic {
  readonly name: string
  /** 16 random bytes as 32 hexadecimal digits: the same name created again is another topic. */
  readonly id: string
  readonly partitions: readonly TopicPartition[]
  readonly configs: Readonly<Record<string, string>>
  /** The cluster's own: group offsets and the like. */
  readonly internal: boolean
  /** No producer with this id or a higher one wrote to an earlier topic of this name. */
  readonly newProducersFrom: number
  /** A restore fills it: until that is finished, nobody else reads or writes it. */
  readonly restoring?: boolean
}

export type MetadataChange =
  | { readonly type: 'cluster'; readonly id: string }
  | { readonly type: 'node'; readonly node: NodeRecord }
  | { readonly type: 'node-removed'; readonly id: number }
  | { readonly type: 'topic'; readonly topic: Topic; readonly before: Topic | null }
  | { readonly type: 'topic-removed'; readonly topic: Topic }
  | { readonly type: 'ids' }
  | { readonly type: 'outcome' }

export class Metadata {
  #clusterId: string | null = null
  #nextShardId = FIRST_PARTITION_SHARD
  #nextProducerId = FIRST_PRODUCER_ID
  #deletionProducerId = FIRST_PRODUCER_ID
  readonly #nodes = new Map<number, NodeRecord>()
  readonly #topics = new Map<string, Topic>()
  /** Invariant: the same topics as `#topics`. */
  readonly #topicsById = new Map<string, Topic>()
  /** Invariant: every partition of `#topics`, and nothing else. */
  readonly #partitions = new Map<number, { readonly topic: Topic; readonly index: number }>()

  readonly #outcomes = new Outcomes()

  get clusterId(): string | null {
    return this.#clusterId
  }

  get outcomes(): Omit<Outcomes, 'put' | 'clear'> {
    return this.#outcomes
  }

  /** No topic has ever had a shard with this id or a higher one. */
  get nextShardId(): number {
    return this.#nextShardId
  }

  get nextProducerId(): number {
    return this.#nextProducerId
  }

  /** No producer with this id or a higher one existed when a topic was last deleted. */
  get deletionProducerId(): number {
    return this.#deletionProducerId
  }

  get nodes(): ReadonlyMap<number, NodeRecord> {
    return this.#nodes
  }

  get topics(): ReadonlyMap<string, Topic> {
    return this.#topics
  }

  topicById(id: string): Topic | undefined {
    return this.#topicsById.get(id)
  }

  partitionOf(shard: number): { readonly topic: Topic; readonly index: number } | undefined {
    return this.#partitions.get(shard)
  }

  /** Takes one committed change, in log order; null deletes the key. */
  set(key: string, value: Buffer | null): MetadataChange {
    if (key.startsWith('topic/')) return this.#setTopic(key, value)
    if (key.startsWith('node/')) return this.#setNode(key, value)
    const fields = readFields(key, value)
    if (key.startsWith('outcome/')) {
      this.#outcomes.put(readOutcome(key, fields))
      return { type: 'outcome' }
    }
    if (key === 'cluster') {
      this.#clusterId = fields.text('id')
      return { type: 'cluster', id: this.#clusterId }
    }
    const next = fields.natural('next')
    if (key === 'ids/shard') this.#nextShardId = next
    else if (key === 'ids/producer') this.#nextProducerId = next
    else if (key === 'ids/deletion') this.#deletionProducerId = next
    else throw new AssertionFailed(`metadata key ${JSON.stringify(key)} is unknown to this version`)
    return { type: 'ids' }
  }

  clear(): void {
    this.#clusterId = null
    this.#nextShardId = FIRST_PARTITION_SHARD
    this.#nextProducerId = FIRST_PRODUCER_ID
    this.#deletionProducerId = FIRST_PRODUCER_ID
    this.#nodes.clear()
    this.#topics.clear()
    this.#topicsById.clear()
    this.#partitions.clear()
    this.#outcomes.clear()
  }

  #setNode(key: string, value: Buffer | null): MetadataChange {
    if (value === null) {
      const id = Number(key.slice('node/'.length))
      this.#nodes.delete(id)
      return { type: 'node-removed', id }
    }
    const node = readNode(key, value)
    assert(key === nodeKey(node.id), () => `metadata ${key} holds node ${node.id}`)
    this.#nodes.set(node.id, node)
    return { type: 'node', node }
  }

  #setTopic(key: string, value: Buffer | null): MetadataChange {
    const name = key.slice('topic/'.length)
    const before = this.#topics.get(name) ?? null
    if (before !== null) {
      this.#topics.delete(name)
      this.#topicsById.delete(before.id)
      for (const { shard } of before.partitions) this.#partitions.delete(shard)
    }
    if (value === null) return before === null ? { type: 'ids' } : { type: 'topic-removed', topic: before }
    const topic = readTopic(key, value)
    assert(topic.name === name, () => `metadata ${key} holds topic ${topic.name}`)
    this.#topics.set(name, topic)
    this.#topicsById.set(topic.id, topic)
    topic.partitions.forEach(({ shard }, index) => {
      assert(!this.#partitions.has(shard), () => `shard ${shard} belongs to two partitions`)
      this.#partitions.set(shard, { topic, index })
    })
    return { type: 'topic', topic, before }
  }
}

/** What each node carries, over all these topics. */
export function loadOf(topics: Iterable<Topic>): Map<number, NodeLoad> {
  const load = new Map<number, NodeLoad>()
  for (const { partitions } of topics) {
    for (const { replicas } of partitions) {
      replicas.forEach(({ node }, rank) => {
        const old = load.get(node) ?? { leaders: 0, replicas: 0 }
        load.set(node, { leaders: old.leaders + (rank === 0 ? 1 : 0), replicas: old.replicas + 1 })
      })
    }
  }
  return load
}

export function clusterChange(id: string): KeyedChange {
  return { key: 'cluster', value: encode({ id }) }
}

export function nodeChange(node: NodeRecord): KeyedChange {
  return { key: nodeKey(node.id), value: encode(node) }
}

export function topicChange(topic: Topic): KeyedChange {
  return { key: topicKey(topic.name), value: encode(topic) }
}

export function topicRemoval(name: string): KeyedChange {
  return { key: topicKey(name), value: null }
}

export function idsChange(kind: 'shard' | 'producer' | 'deletion', next: number): KeyedChange {
  return { key: `ids/${kind}`, value: encode({ next }) }
}

export function outcomeChange(outcome: Outcome): KeyedChange {
  return { key: outcomeKey(outcome.number), value: encode(outcome) }
}

function nodeKey(id: number): string {
  return `node/${id}`
}

function topicKey(name: string): string {
  return `topic/${name}`
}

function outcomeKey(number: number): string {
  return `outcome/${slotOf(number)}`
}

function encode(fields: object): Buffer {
  return Buffer.from(JSON.stringify({ v: VALUE_VERSION, ...fields }))
}

export function readNode(key: string, value: Buffer): NodeRecord {
  const fields = readFields(key, value)
  return {
    id: fields.natural('id'),
    diskIncarnation: fields.text('diskIncarnation'),
    kafka: fields.address('kafka'),
    http: fields.isNull('http') ? null : fields.address('http'),
    peer: fields.address('peer'),
    rack: fields.isNull('rack') ? null : fields.text('rack'),
  }
}

function readTopic(key: string, value: Buffer): Topic {
  const fields = readFields(key, value)
  const configs: Record<string, string> = {}
  const given = fields.object('configs')
  for (const name of Object.keys(given.raw)) configs[name] = given.text(name)
  return {
    name: fields.text('name'),
    id: fields.text('id'),
    partitions: fields.objects('partitions').map((partition) => ({
      shard: partition.natural('shard'),
      replicas: partition
        .objects('replicas')
        .map((replica) => ({ node: replica.natural('node'), disk: replica.text('disk') })),
      ...(partition.has('restored') ? { restored: readRestored(partition.object('restored')) } : {}),
    })),
    configs,
    internal: fields.flag('internal'),
    newProducersFrom: fields.natural('newProducersFrom'),
    ...(fields.has('restoring') && fields.flag('restoring') ? { restoring: true } : {}),
  }
}

function readRestored(fields: Fields): RestoredRange {
  return {
    baseOffset: fields.natural('baseOffset'),
    startOffset: fields.natural('startOffset'),
    endOffset: fields.natural('endOffset'),
  }
}

function readOutcome(key: string, fields: Fields): Outcome {
  const number = fields.natural('number')
  assert(key === outcomeKey(number), () => `metadata ${key} holds outcome ${number}`)
  return {
    number,
    request: fields.text('request'),
    place: fields.natural('place'),
    error: fields.isNull('error') ? null : (fields.text('error') as CommandErrorCode),
  }
}

function readFields(key: string, value: Buffer | null): Fields {
  assert(value !== null, () => `metadata ${key} cannot be deleted`)
  let raw: unknown
  try {
    raw = JSON.parse(value.toString())
  } catch {
    throw new AssertionFailed(`metadata ${key} is not JSON`)
  }
  const fields = new Fields(key, raw)
  const version = fields.natural('v')
  assert(
    version === VALUE_VERSION,
    () => `metadata ${key} has format version ${version}, this node reads ${VALUE_VERSION}: run a newer Tidemark`,
  )
  return fields
}

/** One JSON object, read field by field with the type that is expected there. */
class Fields {
  readonly raw: Readonly<Record<string, unknown>>
  readonly #where: string

  constructor(where: string, raw: unknown) {
    this.#where = where
    assert(typeof raw === 'object' && raw !== null && !Array.isArray(raw), () => `metadata ${where} is not an object`)
    this.raw = raw as Record<string, unknown>
  }

  has(name: string): boolean {
    return this.raw[name] !== undefined
  }

  isNull(name: string): boolean {
    return this.raw[name] === null
  }

  text(name: string): string {
    const value = this.raw[name]
    assert(typeof value === 'string', () => this.#defect(name, 'text'))
    return value
  }

  flag(name: string): boolean {
    const value = this.raw[name]
    assert(typeof value === 'boolean', () => this.#defect(name, 'true or false'))
    return value
  }

  natural(name: string): number {
    const value = this.raw[name]
    assert(Number.isSafeInteger(value) && (value as number) >= 0, () => this.#defect(name, 'a natural number'))
    return value as number
  }

  object(name: string): Fields {
    return new Fields(`${this.#where}.${name}`, this.raw[name])
  }

  objects(name: string): Fields[] {
    const value = this.raw[name]
    assert(Array.isArray(value), () => this.#defect(name, 'a list'))
    return value.map((item, i) => new Fields(`${this.#where}.${name}[${i}]`, item))
  }

  address(name: string): Address {
    const fields = this.object(name)
    return { host: fields.text('host'), port: fields.natural('port') }
  }

  #defect(name: string, expected: string): string {
    return `metadata ${this.#where}: ${name} is ${JSON.stringify(this.raw[name])}, expected ${expected}`
  }
}
