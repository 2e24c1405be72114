/**
 * The committed offsets of a coordinator's groups, as the coordinator's log has them: an index over its keyed records by
 * group, topic and partition. Only the leader keeps one, built when it takes over.
 */
import { type OffsetRecord, offsetKey } from './group-record.ts'

type Partitions = Map<number, OffsetRecord>

export class OffsetBook {
  readonly #groups = new Map<string, Map<string, Partitions>>()

  groups(): IterableIterator<string> {
    return this.#groups.keys()
  }

  has(groupId: string): boolean {
    return this.#groups.has(groupId)
  }

  get(groupId: string, topic: string, partition: number): OffsetRecord | undefined {
    return this.#groups.get(groupId)?.get(topic)?.get(partition)
  }

  topics(groupId: string): ReadonlyMap<string, ReadonlyMap<number, OffsetRecord>> {
    return this.#groups.get(groupId) ?? new Map()
  }

  /** Null forgets. */
  set(groupId: string, topic: string, partition: number, record: OffsetRecord | null): void {
    if (record === null) {
      this.#delete(groupId, topic, partition)
      return
    }
    const topics = this.#groups.get(groupId) ?? new Map<string, Partitions>()
    const partitions = topics.get(topic) ?? new Map<number, OffsetRecord>()
    this.#groups.set(groupId, topics)
    topics.set(topic, partitions)
    partitions.set(partition, record)
  }

  /** Keys of the records of a group, of one topic or of all. */
  *keys(groupId: string, onlyTopic: string | null = null): Generator<string> {
    for (const [topic, partitions] of this.topics(groupId)) {
      if (onlyTopic !== null && topic !== onlyTopic) continue
      for (const partition of partitions.keys()) yield offsetKey(groupId, topic, partition)
    }
  }

  clear(): void {
    this.#groups.clear()
  }

  #delete(groupId: string, topic: string, partition: number): void {
    const topics = this.#groups.get(groupId)
    const partitions = topics?.get(topic)
    if (topics === undefined || partitions === undefined) return
    partitions.delete(partition)
    if (partitions.size === 0) topics.delete(topic)
    if (topics.size === 0) this.#groups.delete(groupId)
  }
}
