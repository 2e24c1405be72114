/**
 * Whose disks decide on a shard. Checkers must not take a node's word for how many are a quorum, so this knows it from the
 * scenario; a node is only asked which topic a shard belongs to, which never changes.
 */
import { FIRST_PARTITION_SHARD, METADATA_SHARD, METADATA_VOTERS_MAX } from '../src/cluster/index.ts'
import { GROUPS_TOPIC } from '../src/streams/index.ts'
import type { SimulatedMachine } from './machine.ts'
import type { Scenario } from './scenario/scenario.ts'

/** What a cluster gives a topic that asks for no number. */
export const REPLICATION_DEFAULT = 3

export class ReplicaSets {
  readonly #scenario: Scenario
  readonly #machines: readonly SimulatedMachine[]
  readonly #topics = new Map<number, string>()

  constructor(scenario: Scenario, machines: readonly SimulatedMachine[]) {
    this.#scenario = scenario
    this.#machines = machines
  }

  /** How many disks decide. */
  quorumOf(shard: number): number {
    return (this.#votersOf(shard) >> 1) + 1
  }

  topicOf(shard: number): string | null {
    const known = this.#topics.get(shard)
    if (known !== undefined) return known
    for (const { node } of this.#machines) {
      for (const { shard: each, topic } of node?.status().shards ?? [])
        if (topic !== null) this.#topics.set(each, topic)
      const found = this.#topics.get(shard)
      if (found !== undefined) return found
    }
    return null
  }

  #votersOf(shard: number): number {
    const { nodes, replication } = this.#scenario
    if (shard === METADATA_SHARD) return Math.min(nodes, METADATA_VOTERS_MAX)
    if (shard < FIRST_PARTITION_SHARD) return nodes
    return this.topicOf(shard) === GROUPS_TOPIC ? Math.min(nodes, REPLICATION_DEFAULT) : replication
  }
}
