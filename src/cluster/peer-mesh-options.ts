/** What the mesh is told, and what it tells. */
import type { Address, Platform } from '../platform/index.ts'
import type { NodeId } from '../replication/index.ts'
import type { ClusterEvent } from './events.ts'
import type { Hello, Refusal, SelfDescription } from './handshake.ts'
import type { ClockOffset } from './heartbeat.ts'
import type { Lamport } from './peer-session.ts'

export interface PeerMeshOptions {
  readonly self: NodeId
  readonly listen: Address
  readonly heartbeatIntervalMs: number
  readonly electionTimeoutMs: number
  readonly handshakeTimeoutMs: number
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
  readonly refusedRetryMs: number
  /**
   * Unsent bytes on one connection, beyond which the session is given up. A last resort: senders look at `queuedBytes` long
   * before.
   */
  readonly queueBytesMax: number
}

export const MESH_DEFAULTS: Omit<PeerMeshOptions, 'self' | 'listen'> = {
  heartbeatIntervalMs: 100,
  electionTimeoutMs: 1000,
  handshakeTimeoutMs: 1000,
  reconnectMinMs: 20,
  reconnectMaxMs: 250,
  refusedRetryMs: 1000,
  queueBytesMax: 256 << 20,
}

export interface RefusalContext {
  /** Who refused this node. */
  readonly by: NodeId
  /**
   * This node has had a session with somebody since it started. If not, it is the newcomer and the refusal concerns it;
   * otherwise it may be the other one that is out of place.
   */
  readonly everUp: boolean
}

export interface PeerMeshCollaborators {
  readonly platform: Platform
  readonly lamport: Lamport
  readonly trace: (event: ClusterEvent) => void
  readonly describe: () => SelfDescription
  /** May this node have a session with us? What needs no knowledge of the members has been checked already. */
  readonly admit: (hello: Hello) => Refusal | null
  readonly onRefused: (refusal: Refusal, context: RefusalContext) => void
}

export interface PeerStatus {
  readonly node: NodeId
  readonly address: Address | null
  readonly up: boolean
  readonly alive: boolean
  readonly incarnation: string | null
  readonly queuedBytes: number
  readonly roundTripMs: number | null
  readonly clockOffset: ClockOffset | null
}
