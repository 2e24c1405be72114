/**
 * Which partitions this node holds, derived from the metadata as it is applied.
 *
 * A replica belongs to a node and its disk: where the placement names this node with another disk, the bytes are not here and
 * must not be made up, so nothing is opened. Additions and removals are told in the order of the log, so that the removal of
 * a topic is told after its creation even when both are caught up at once.
 */
import type { Metadata, MetadataChange, Topic } from './metadata.ts'
import type { ReplicaPlace } from './placement.ts'

export interface HostingEvents {
  replicaAdded(topic: Topic, partition: number, shard: number, replicas: readonly ReplicaPlace[]): void
  /** The topic's settings have changed. */
  replicaConfigured(topic: Topic, partition: number, shard: number): void
  /** The removal is committed and applied: nothing of the shard is needed any more. */
  replicaRemoved(topic: Topic, partition: number, shard: number): void
}

export class Hosting {
  readonly #node: number
  readonly #disk: string
  readonly #events: HostingEvents
  /** The shards for which an addition was told and no removal since. */
  readonly #hosted = new Map<number, { readonly topic: Topic; readonly partition: number }>()

  constructor(node: number, disk: string, events: HostingEvents) {
    this.#node = node
    this.#disk = disk
    this.#events = events
  }

  changed(change: MetadataChange): void {
    if (change.type === 'topic') {
      const kept = new Set(change.topic.partitions.map(({ shard }) => shard))
      if (change.before !== null) this.#remove(change.before, kept)
      this.#update(change.topic)
    } else if (change.type === 'topic-removed') {
      this.#remove(change.topic, new Set())
    }
  }

  restored(metadata: Metadata): void {
    for (const [shard, { topic, partition }] of [...this.#hosted]) {
      if (metadata.partitionOf(shard) === undefined) this.#drop(topic, partition, shard)
    }
    for (const topic of metadata.topics.values()) this.#update(topic)
  }

  #update(topic: Topic): void {
    topic.partitions.forEach(({ shard, replicas }, partition) => {
      const here = replicas.some(({ node, disk }) => node === this.#node && disk === this.#disk)
      const known = this.#hosted.get(shard)
      if (here) this.#hosted.set(shard, { topic, partition })
      if (here && known === undefined) this.#events.replicaAdded(topic, partition, shard, replicas)
      else if (here && !sameSettings(known!.topic, topic)) this.#events.replicaConfigured(topic, partition, shard)
      else if (!here && known !== undefined) this.#drop(topic, partition, shard)
    })
  }

  #remove(topic: Topic, kept: ReadonlySet<number>): void {
    topic.partitions.forEach(({ shard }, partition) => {
      if (!kept.has(shard) && this.#hosted.has(shard)) this.#drop(topic, partition, shard)
    })
  }

  #drop(topic: Topic, partition: number, shard: number): void {
    this.#hosted.delete(shard)
    this.#events.replicaRemoved(topic, partition, shard)
  }
}

function sameSettings({ configs: a }: Topic, { configs: b }: Topic): boolean {
  const names = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...names].every((name) => a[name] === b[name])
}
