/**
 * How the disks of the cluster are, as far as it bears on who leads and on what may be appended (docs/decisions/0007).
 *
 *     low      its last bytes are for votes, metadata and the like: it takes no records, and leads no partition where another could
 *     stuck    it does not answer: its node leads nothing, and does not try to
 */
import type { NodeId } from './messages.ts'
import { majorityOf } from './quorum.ts'

export interface Disks {
  /** Nothing is wrong with any, and all in reach have said so: the rest need not be asked. */
  readonly allWell: boolean
  /** Why this node's takes no records, in a sentence for clients; null: it does. */
  readonly low: string | null
  readonly stuck: boolean
  /** This node's or another's, as far as is known. */
  isLow(node: NodeId): boolean
  /** It is, or it has not been heard of since its session began. */
  mayBeLow(node: NodeId): boolean
  /** Neither low nor stuck, as far as is known. */
  isWell(node: NodeId): boolean
}

export const WELL: Disks = {
  allWell: true,
  low: null,
  stuck: false,
  isLow: () => false,
  mayBeLow: () => false,
  isWell: () => true,
}

/** Entries commit without the others. */
export function areQuorum(voters: readonly NodeId[], isAble: (voter: NodeId) => boolean): boolean {
  return voters.filter(isAble).length >= majorityOf(voters.length)
}

/** Why a leader among these voters takes no records; null: it does. */
export function refusalOf(
  voters: readonly NodeId[],
  disks: Disks,
  isReached: (node: NodeId) => boolean,
): string | null {
  if (disks.allWell) return null
  if (disks.low !== null) return disks.low
  const low = voters.filter((node) => disks.isLow(node))
  if (low.length === 0 || areQuorum(voters, (node) => isReached(node) && disks.isWell(node))) return null
  const whose = low.length === 1 ? `the disk of node ${low[0]} is` : `the disks of nodes ${low.join(' and ')} are`
  return `${whose} low, and without there is no quorum: writes are refused until there is more; reads, deletes and administration go on`
}
