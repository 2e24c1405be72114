import type { Clock } from '../platform/index.ts'
import type { ChannelRole, Hello, Refusal } from './handshake.ts'
import type { PeerChannel } from './peer-channel.ts'
import type { Lamport } from './peer-session.ts'

/** Which half of the handshake the other side plays is known from the half that this side plays. */
export type HandshakeHalf = 'dialer' | 'acceptor'

/** What both halves of the handshake need of the node, and tell it. `PeerMesh` is the only one. */
export interface HandshakeParty {
  readonly self: number
  readonly clock: Clock
  readonly lamport: Lamport
  /** What this node says of itself to `expected` (0: whoever answers). */
  hello(role: ChannelRole, nonce: string, expected: number): Hello
  /** Something that no earlier confirm can contain. */
  challenge(): string
  /** May this one come in? `half` is the one that this node plays. */
  judge(hello: Hello, half: HandshakeHalf): Refusal | null
  established(hello: Hello, control: PeerChannel, data: PeerChannel): void
  /** A node that knows nothing but an address has shown itself, to be dialled or to dial. */
  introduced(hello: Hello): void
  /** This node refused that one. */
  refused(hello: Hello, refusal: Refusal): void
  /** That node refused this one. */
  refusedBy(node: number, refusal: Refusal): void
  unreachable(node: number, reason: string, retryMs: number): void
  /** `node` is 0 where it is not known yet. */
  damaged(node: number, defect: string): void
}
