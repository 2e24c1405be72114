/**
 * The partitions that this node holds, by topic and number for clients and by shard for the driver.
 *
 * The cluster's metadata decides which they are; the composition root opens a shard for each and creates its partition here.
 */
import type { Clock, Random } from '../platform/index.ts'
import type { Shard } from '../replication/index.ts'
import { assert } from '../stdx/index.ts'
import type { StreamsEvent } from './events.ts'
import { FetchWaits } from './fetch-wait.ts'
import { Partition, type PartitionOptions } from './partition.ts'
import { RetentionRounds } from './retention.ts'

export interface StreamsOptions {
  /** How often each partition is held against its topic's retention. */
  readonly retentionCheckMs: number
}

export const STREAMS_DEFAULTS: StreamsOptions = { retentionCheckMs: 10_000 }

export interface StreamsCollaborators {
  readonly clock: Clock
  readonly random: Random
  readonly trace: (event: StreamsEvent) => void
}

export class Streams {
  /** Fetches that wait for records, of all connections. */
  readonly waits: FetchWaits
  readonly #with: StreamsCollaborators
  readonly #byTopic = new Map<string, (Partition | undefined)[]>()
  readonly #byShard = new Map<number, Partition>()
  readonly #retention: RetentionRounds

  constructor(options: StreamsOptions, collaborators: StreamsCollaborators) {
    const { clock, random } = collaborators
    this.#with = collaborators
    this.waits = new FetchWaits(clock)
    this.#retention = new RetentionRounds(
      { checkMs: options.retentionCheckMs },
      { clock, below: (bound) => random.below(bound), partitions: () => this.partitions() },
    )
  }

  /** The state machine for this shard, registered under its topic. */
  create(options: PartitionOptions, shard: Shard): Partition {
    const { topic, index } = options
    assert(!this.#byShard.has(shard.id), () => `shard ${shard.id} has a partition already`)
    assert(this.find(topic, index) === undefined, () => `partition ${topic}-${index} exists already`)
    const { clock, trace } = this.#with
    const partition = new Partition(options, { shard, clock, trace })
    let partitions = this.#byTopic.get(topic)
    if (partitions === undefined) {
      partitions = []
      this.#byTopic.set(topic, partitions)
    }
    partitions[index] = partition
    this.#byShard.set(shard.id, partition)
    this.#retention.start()
    return partition
  }

  /** Undefined when this node holds no replica of it. */
  find(topic: string, index: number): Partition | undefined {
    return this.#byTopic.get(topic)?.[index]
  }

  partition(shard: number): Partition | undefined {
    return this.#byShard.get(shard)
  }

  partitions(): IterableIterator<Partition> {
    return this.#byShard.values()
  }

  /** The committed removal of the shard was applied: everyone who waits hears that it is gone. */
  remove(shard: number): void {
    const partition = this.#byShard.get(shard)
    if (partition === undefined) return
    this.#byShard.delete(shard)
    const partitions = this.#byTopic.get(partition.topic)
    if (partitions !== undefined) {
      partitions[partition.index] = undefined
      if (partitions.every((one) => one === undefined)) this.#byTopic.delete(partition.topic)
    }
    partition.remove()
  }

  /** The node stops: parked fetches are answered with what there is. */
  close(): void {
    this.#retention.stop()
    this.waits.close()
  }
}
