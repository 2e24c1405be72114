import type { NodeId } from './messages.ts'

/**
 * Liveness belongs to pairs of nodes, not to shards: one heartbeat per pair, whatever the number of shards. This is the table
 * that leader stickiness, pre-vote, check-quorum and leases all ask. It is filled by `cluster/heartbeat.ts`.
 */
export interface Contact {
  /** This node heard a beat of that node's present incarnation within the election timeout, over a session that is up. */
  alive(node: NodeId): boolean
  /**
   * When (monotonic, here) the latest of our own beats that this node has answered was *sent*; −Infinity without a session.
   * Until one election timeout after that moment the node helps nobody to replace us, unless its end of the session closes
   * before: that is evidence at once. So a lease on this is not proof against a reset that only the other side has seen
   * (docs/decisions/0002).
   */
  answeredAt(node: NodeId): number
}
