import type { Message, NodeId } from './messages.ts'

/**
 * What replication needs of the network: fire and forget. A message arrives, in the order of its connection, or the session
 * ends; then `peerDown` is called, and `peerUp` once a new session is there. There is nothing to retransmit in between.
 */
export interface Wire {
  /** Leaves at the end of the turn. Dropped without a word when there is no session: `peerUp` starts from a probe anyway. */
  send(to: NodeId, message: Message): void
  isUp(node: NodeId): boolean
  /** Bytes queued on the data connection and not yet taken by the operating system. */
  queuedBytes(node: NodeId): number
}

/** What the network tells replication. */
export interface WireEvents {
  message(from: NodeId, message: Message): void
  peerUp(node: NodeId): void
  peerDown(node: NodeId): void
  /** After each heartbeat interval: the contact table may have aged. */
  contactTick(): void
}
