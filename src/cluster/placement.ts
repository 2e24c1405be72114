/**
 * Where the replicas of a new topic's partitions go. Pure: the same question has the same answer on every node.
 *
 * Three wishes, in the order in which they win:
 *
 *   1. racks apart: a partition's replicas share a rack only when there are fewer racks than replicas;
 *   2. nobody is overloaded: no node takes more than its bounded share of replicas while another has room;
 *   3. the hash ring: among what is left, the first node that the partition's key meets clockwise, so that the same key
 *      tends to the same nodes and a new node attracts only about K/n of them.
 *
 * The preferred leader is the first replica, and leaders are what costs most, so they are not left to the ring: each topic's
 * leaders are dealt out evenly first (a quota per node), the remainder to the nodes that lead least so far. That keeps both
 * the topic and the cluster within one leader of perfect balance:
 *
 *      4 partitions, 3 nodes that lead nothing yet     ─►  2 1 1
 *      4 more                                          ─►  3 3 2      (not 4 2 2)
 *
 * A replica is placed on a node *and its disk*: the same id with another disk is not the holder of these bytes.
 *
 * Nodes that are down hold a place only when there are not enough live ones, and only if a majority of the replicas is alive:
 * then the partition works at full strength at the default level, and the rest catches up when it is back.
 */
import { HashRing } from './hash-ring.ts'

export interface PlacementNode {
  readonly id: number
  readonly disk: string
  readonly rack: string | null
  readonly up: boolean
}

export interface ReplicaPlace {
  readonly node: number
  readonly disk: string
}

/** What the nodes carry already, over all topics. */
export interface NodeLoad {
  /** Partitions of which the node is the preferred leader. */
  readonly leaders: number
  readonly replicas: number
}

export type PlacementRefusal =
  | { readonly reason: 'too-few-nodes'; readonly needed: number; readonly registered: number }
  | { readonly reason: 'too-few-live'; readonly needed: number; readonly live: number }

/** How far above the mean a node's replicas may go before it is passed over. */
export const REPLICA_SLACK = 0.1

export const REPLICATION_FACTOR_DEFAULT = 3
export const PARTITIONS_DEFAULT = 4

/** The replication factor of those who do not ask for one. */
export function defaultReplicationFactor(nodeCount: number): number {
  return Math.max(1, Math.min(REPLICATION_FACTOR_DEFAULT, nodeCount))
}

/** The replicas of each new partition, preferred leader first; or why there is no such placement. */
export function placePartitions(
  topic: string,
  partitions: number,
  replicationFactor: number,
  nodes: readonly PlacementNode[],
  existing: ReadonlyMap<number, NodeLoad>,
): readonly (readonly ReplicaPlace[])[] | PlacementRefusal {
  const live = nodes.filter((node) => node.up)
  if (nodes.length < replicationFactor) {
    return { reason: 'too-few-nodes', needed: replicationFactor, registered: nodes.length }
  }
  const majority = Math.floor(replicationFactor / 2) + 1
  if (live.length < majority) return { reason: 'too-few-live', needed: majority, live: live.length }
  const hosts = live.length >= replicationFactor ? live : nodes
  return new Placement(topic, partitions, replicationFactor, hosts, existing).place()
}

class Placement {
  readonly #topic: string
  readonly #partitions: number
  readonly #replicationFactor: number
  readonly #hosts: ReadonlyMap<string, PlacementNode>
  readonly #ring: HashRing
  /** Leaders of this topic that each node may still take. Sums to the partitions not yet placed. */
  readonly #quota = new Map<PlacementNode, number>()
  /** What each node carries, with the leaders that it will take: a follower must not get the place that one of those needs. */
  readonly #replicas = new Map<PlacementNode, number>()
  readonly #replicaBound: number

  constructor(
    topic: string,
    partitions: number,
    replicationFactor: number,
    hosts: readonly PlacementNode[],
    existing: ReadonlyMap<number, NodeLoad>,
  ) {
    this.#topic = topic
    this.#partitions = partitions
    this.#replicationFactor = replicationFactor
    this.#hosts = new Map(hosts.map((node) => [String(node.id), node]))
    this.#ring = new HashRing(this.#hosts.keys())
    let total = partitions * replicationFactor
    for (const node of hosts) {
      const held = existing.get(node.id)?.replicas ?? 0
      this.#replicas.set(node, held)
      total += held
    }
    this.#replicaBound = Math.ceil(((1 + REPLICA_SLACK) * total) / hosts.length)
    this.#dealQuotas(existing)
  }

  #dealQuotas(existing: ReadonlyMap<number, NodeLoad>): void {
    const walk = this.#walk(this.#topic)
    const each = Math.floor(this.#partitions / walk.length)
    const remainder = this.#partitions % walk.length
    const leads = (node: PlacementNode): number => existing.get(node.id)?.leaders ?? 0
    // The sort is stable: nodes that lead equally many stay in ring order, which differs from topic to topic.
    const leastFirst = [...walk].sort((a, b) => leads(a) - leads(b))
    leastFirst.forEach((node, i) => {
      const quota = each + (i < remainder ? 1 : 0)
      this.#quota.set(node, quota)
      this.#replicas.set(node, this.#replicas.get(node)! + quota)
    })
  }

  place(): ReplicaPlace[][] {
    const placed: ReplicaPlace[][] = []
    for (let partition = 0; partition < this.#partitions; partition++) {
      const walk = this.#walk(`${this.#topic}/${partition}`)
      const leader = walk.find((node) => this.#quota.get(node)! > 0)!
      this.#quota.set(leader, this.#quota.get(leader)! - 1)
      const replicas = [leader]
      while (replicas.length < this.#replicationFactor) {
        const follower = this.#nextFollower(walk, replicas)
        replicas.push(follower)
        this.#replicas.set(follower, this.#replicas.get(follower)! + 1)
      }
      placed.push(replicas.map(({ id, disk }) => ({ node: id, disk })))
    }
    return placed
  }

  #nextFollower(walk: readonly PlacementNode[], chosen: readonly PlacementNode[]): PlacementNode {
    const racks = new Set(chosen.map(rackOf))
    const free = walk.filter((node) => !chosen.includes(node))
    const apart = free.filter((node) => !racks.has(rackOf(node)))
    const candidates = apart.length > 0 ? apart : free
    const roomy = candidates.find((node) => this.#replicas.get(node)! < this.#replicaBound)
    if (roomy !== undefined) return roomy
    return candidates.reduce((least, node) => (this.#replicas.get(node)! < this.#replicas.get(least)! ? node : least))
  }

  #walk(key: string): PlacementNode[] {
    return this.#ring.walk(key).map((id) => this.#hosts.get(id)!)
  }
}

/** A node that names no rack shares its fate with no other. */
function rackOf(node: PlacementNode): string {
  return node.rack === null ? `node ${node.id}` : `rack ${node.rack}`
}
