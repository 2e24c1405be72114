/**
 * Is the cluster well? Asked of some machines of it, or of all.
 *
 * Well means: every one of them serves, no file of theirs is known to be damaged, and for each shard with a quorum among them somebody
 * among them leads it, nothing is left to commit, and all stand at one index and have it on their disks. A core is asked less (`serves`):
 * its clients go on, so its logs grow while it is looked at; every such shard must have a leader, and what anybody of it knew to be
 * committed must be so on all of it.
 */
import type { ReplicaStatus } from '../src/gateways/http/index.ts'
import type { SimulatedMachine } from './machine.ts'
import type { ReplicaSets } from './replica-sets.ts'

type Replica = ReplicaStatus & { readonly node: number }

/** Where a shard's log starts and ends, by offset. */
export interface ShardState {
  readonly start: number
  readonly end: number
  /** The cluster itself writes to it: metadata, groups. */
  readonly own: boolean
}

export class Convergence {
  readonly #machines: readonly SimulatedMachine[]
  readonly #sets: ReplicaSets

  constructor(machines: readonly SimulatedMachine[], sets: ReplicaSets) {
    this.#machines = machines
    this.#sets = sets
  }

  /** What keeps these nodes from being well, or null. */
  wrong(nodes: readonly number[]): string | null {
    const absent = this.#absent(nodes)
    if (absent !== null) return absent
    for (const id of nodes) {
      const [damage] = this.#machines[id - 1]!.node?.status().files.damages ?? []
      if (damage !== undefined)
        return `node ${id}: ${damage.file} is damaged at byte ${damage.position} (${damage.reason}) and not repaired: ${damage.unrepaired ?? 'under way'}`
    }
    for (const [shard, replicas] of this.#replicas(nodes)) {
      const whole = replicas.length >= this.#sets.quorumOf(shard)
      for (const { node, commitIndex, lastIndex, journaledIndex, recovering } of replicas) {
        const [first] = replicas
        if (whole && recovering) return `node ${node}, shard ${shard}: it has not recovered`
        if (!whole) continue
        if (commitIndex !== lastIndex)
          return `node ${node}, shard ${shard}: ${lastIndex - commitIndex} entries are not committed`
        if (journaledIndex < lastIndex)
          return `node ${node}, shard ${shard}: ${lastIndex - journaledIndex} are not journaled`
        if (first !== undefined && first.commitIndex !== commitIndex)
          return `shard ${shard}: node ${first.node} stands at ${first.commitIndex}, node ${node} at ${commitIndex}`
      }
    }
    for (const id of nodes) {
      // A node waits for shards that nobody can serve, too.
      const waitingFor =
        nodes.length === this.#machines.length ? this.#machines[id - 1]!.node!.status().waitingFor : null
      if (waitingFor !== null) return `node ${id}: ${waitingFor}`
    }
    return null
  }

  /** What keeps a core from serving the shards that it has a quorum of. `from`: marks that it must have reached. */
  serves(nodes: readonly number[], from: ReadonlyMap<number, number>): string | null {
    const absent = this.#absent(nodes)
    if (absent !== null) return absent
    for (const [shard, replicas] of this.#replicas(nodes)) {
      if (replicas.length < this.#sets.quorumOf(shard)) continue
      // Somebody outside who keeps a quorum may be heard by a part of the core only: nobody can tell him from a good leader.
      if (replicas.some(({ leader }) => leader !== null && !nodes.includes(leader))) continue
      const lost = replicas.find(({ leader }) => leader === null)
      if (lost !== undefined) return `shard ${shard}: node ${lost.node} knows nobody who leads it`
      const reached = Math.max(from.get(shard) ?? 0, 0)
      const behind = replicas.find(({ role, commitIndex }) => role !== 'learner' && commitIndex < reached)
      if (behind !== undefined)
        return `shard ${shard}: node ${behind.node} stands at ${behind.commitIndex}, it was at ${reached} before`
    }
    return null
  }

  /** The highest mark that any of them knows, by shard. */
  marks(nodes: readonly number[]): Map<number, number> {
    const marks = new Map<number, number>()
    for (const [shard, replicas] of this.#replicas(nodes))
      marks.set(shard, Math.max(...replicas.map(({ commitIndex }) => commitIndex)))
    return marks
  }

  /** Partitions of these topics, by `topic/partition`, that these nodes lead with a quorum among them: who does, in which term. */
  leaders(nodes: readonly number[], topics: ReadonlySet<string>): Map<string, string> {
    const leaders = new Map<string, string>()
    for (const [shard, replicas] of this.#replicas(nodes)) {
      const leader = replicas.find(({ role }) => role === 'leader')
      if (leader === undefined || replicas.length < this.#sets.quorumOf(shard)) continue
      // Somebody outside who keeps a quorum may lead it in truth.
      if (replicas.some((replica) => replica.leader !== leader.node || replica.term !== leader.term)) continue
      if (leader.topic !== null && topics.has(leader.topic))
        leaders.set(`${leader.topic}/${leader.partition}`, `node ${leader.node} in term ${leader.term}`)
    }
    return leaders
  }

  /** Where the shards' logs start and up to where they are committed. */
  state(nodes: readonly number[]): Map<number, ShardState> {
    const state = new Map<number, ShardState>()
    for (const [shard, replicas] of this.#replicas(nodes)) {
      const { startOffset: start, highWatermark: end, topic } = replicas[0]!
      if (replicas.length >= this.#sets.quorumOf(shard))
        state.set(shard, { start, end, own: topic === null || topic.startsWith('__') })
    }
    return state
  }

  #absent(nodes: readonly number[]): string | null {
    for (const id of nodes) {
      const { state, node } = this.#machines[id - 1]!
      if (state !== 'up' || node === null) return `node ${id} is ${state}`
    }
    return null
  }

  #replicas(nodes: readonly number[]): Map<number, Replica[]> {
    const replicas = new Map<number, Replica[]>()
    for (const id of nodes) {
      for (const status of this.#machines[id - 1]!.node?.status().shards ?? []) {
        const of = replicas.get(status.shard)
        const replica = { ...status, node: id }
        if (of === undefined) replicas.set(status.shard, [replica])
        else of.push(replica)
      }
    }
    return replicas
  }
}
