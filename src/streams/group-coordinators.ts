/**
 * The coordinators that this node holds: one per local replica of a partition of `__consumer_offsets`. A group belongs to the
 * partition that its id hashes to, and its coordinator is whoever leads that partition, so groups spread over the cluster.
 */
import { createHash } from 'node:crypto'
import type { GroupCoordinator } from './group-coordinator.ts'

export const GROUPS_TOPIC = '__consumer_offsets'
/** Fixed when the topic is created: a group must always hash to the same partition. */
export const GROUPS_TOPIC_PARTITIONS = 8

export class GroupCoordinators {
  readonly #byPartition = new Map<number, GroupCoordinator>()

  add(partition: number, coordinator: GroupCoordinator): void {
    this.#byPartition.set(partition, coordinator)
  }

  remove(partition: number): void {
    this.#byPartition.delete(partition)
  }

  find(partition: number): GroupCoordinator | undefined {
    return this.#byPartition.get(partition)
  }

  all(): IterableIterator<GroupCoordinator> {
    return this.#byPartition.values()
  }

  /** The one for this group, if its partition has a replica here; whether it leads it knows itself. */
  of(groupId: string, partitions: number): GroupCoordinator | undefined {
    return this.#byPartition.get(partitionOfGroup(groupId, partitions))
  }
}

export function partitionOfGroup(groupId: string, partitions: number): number {
  return createHash('sha1').update(groupId).digest().readUInt32BE(0) % partitions
}
