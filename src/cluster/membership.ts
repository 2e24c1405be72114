/**
 * Who may come in. Asked at every handshake, by both sides, about the other, after the handshake itself has compared versions,
 * ids and clusters (`handshake.ts`); pure.
 *
 * A vote and an acknowledgement are promises that a disk keeps. So a member is not a name but a name *and its directory*: a
 * node that comes back under its old id with an empty directory has forgotten whom it voted for and what it acknowledged, and
 * could help to elect two leaders or to lose a record that was promised. It is turned away, always, and told the way out.
 *
 *     both know the cluster's id    compared by the handshake
 *     nobody knows one yet          the first start: the same `--cluster` on every member, so the hashes must be equal
 *     only one side does            the other's first start: by the same `--cluster`, or (without a hash) by `--join`
 */
import type { Hello, Refusal, RefusalCode } from './handshake.ts'

/** What this node knows when it is asked. */
export interface Household {
  readonly nodeId: number
  readonly clusterId: string | null
  readonly clusterHash: string
  /** The directory that an id is known to belong to: by the metadata, or by an earlier session of this process. */
  readonly diskOf: (node: number) => string | undefined
}

/** Why the other side may not come in, or null. */
export function admitPeer(hello: Hello, household: Household): Refusal | null {
  const { node, diskIncarnation, clusterId, clusterHash } = hello
  const known = household.diskOf(node)
  if (known !== undefined && known !== diskIncarnation) {
    return { code: 'UNKNOWN_DISK', message: unknownDiskMessage(node, known, diskIncarnation) }
  }
  if (clusterId !== null || household.clusterId !== null || clusterHash === household.clusterHash) return null
  if (clusterHash !== '' && household.clusterHash !== '') {
    return {
      code: 'WRONG_CLUSTER',
      message: `node ${node} and node ${household.nodeId} were started with different --cluster lists: the list must be the same on every member`,
    }
  }
  return {
    code: 'NOT_A_MEMBER',
    message: `node ${node} and node ${household.nodeId} have no cluster in common yet: one was started with --cluster, the other without, and no cluster exists that could be joined`,
  }
}

/** Also what a node tells itself when it learns from the metadata that its id belongs to another directory. */
export function unknownDiskMessage(node: number, known: string, given: string): string {
  return (
    `an empty directory under an id the cluster knows: node ${node} belongs to the data directory ${known}, and came with ${given}. ` +
    'Start it with its own directory. Where that is lost leave the other members running: this version cannot replace a node; ' +
    "what they serve can be taken with 'tidemark backup' and brought into a new cluster with 'tidemark restore'"
  )
}

/**
 * True for refusals that no waiting cures. A node that is told so before it ever had a session stops with that message; one
 * that runs already goes on, since it is then the other side that came wrong.
 */
export function isFinalRefusal(code: RefusalCode): boolean {
  return code === 'WRONG_CLUSTER' || code === 'DUPLICATE_NODE' || code === 'UNKNOWN_DISK' || code === 'VERSION'
}

/** The most voters of the metadata shard: five survive the loss of two, and more would only make every change slower. */
export const METADATA_VOTERS_MAX = 5

/** Who votes on the metadata, and who only learns it, at a cluster's first start: the same on every member. */
export function metadataMembers(members: readonly number[]): { voters: number[]; learners: number[] } {
  return { voters: members.slice(0, METADATA_VOTERS_MAX), learners: members.slice(METADATA_VOTERS_MAX) }
}
