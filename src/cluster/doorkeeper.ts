/**
 * Who may have a session with this node: the checks of the handshake in their order, from what needs no memory to what only
 * the members' register knows. Asked by both halves of the handshake, for each connection.
 *
 * Two processes under one id are told apart by their disks. Another disk while the first is connected: the newcomer is the
 * duplicate. The same disk: a directory is claimed by one process at a time, so the older process is dead and its connections
 * have not noticed, and the newer one takes its place. If the older one then knocks again it was not dead after all: somebody
 * has copied a data directory, and two nodes would vote with one voice each. Whichever was replaced is turned away for good.
 */
import type { NodeId } from '../replication/index.ts'
import { type ChannelRole, compareIdentity, type Hello, type Refusal, type SelfDescription } from './handshake.ts'
import type { HandshakeHalf } from './handshake-party.ts'
import { WIRE_VERSION_MAX, WIRE_VERSION_MIN } from './peer-wire.ts'

export interface DoorkeeperCollaborators {
  readonly describe: () => SelfDescription
  readonly admit: (hello: Hello) => Refusal | null
  /** The disk behind the session with that node, if there is a session. */
  readonly connectedDisk: (node: NodeId) => string | null
}

/** Processes that gave way to a successor on the same disk; so many are remembered per node. */
const SUPERSEDED_MAX = 8

export class Doorkeeper {
  readonly #self: NodeId
  readonly processIncarnation: string
  readonly #with: DoorkeeperCollaborators
  /** The last process that was let in, per node, and those before it on the same disk. */
  readonly #last = new Map<NodeId, Hello>()
  readonly #superseded = new Map<NodeId, string[]>()

  constructor(self: NodeId, processIncarnation: string, collaborators: DoorkeeperCollaborators) {
    this.#self = self
    this.processIncarnation = processIncarnation
    this.#with = collaborators
  }

  hello(role: ChannelRole, nonce: string, expected: NodeId): Hello {
    return {
      ...this.#with.describe(),
      versionMin: WIRE_VERSION_MIN,
      versionMax: WIRE_VERSION_MAX,
      role,
      nonce,
      expected,
      processIncarnation: this.processIncarnation,
    }
  }

  /** `half` is the one that this node plays. */
  judge(hello: Hello, half: HandshakeHalf): Refusal | null {
    const { node } = hello
    const mismatch = compareIdentity(this.#with.describe(), this.processIncarnation, hello)
    if (mismatch !== null) return mismatch
    if (hello.role !== 'introduction' && node > this.#self !== (half === 'acceptor')) {
      const [small, large] = [Math.min(this.#self, node), Math.max(this.#self, node)]
      return { code: 'PROTOCOL', message: `node ${small} dials node ${large}, but the larger id has to dial` }
    }
    const connectedDisk = this.#with.connectedDisk(node)
    const isSuperseded = this.#superseded.get(node)?.includes(hello.processIncarnation) ?? false
    if (isSuperseded || (connectedDisk !== null && connectedDisk !== hello.diskIncarnation)) {
      const how = isSuperseded ? ' on a copy of the same data directory' : ''
      return {
        code: 'DUPLICATE_NODE',
        message: `another process runs as node ${node}${how}; give this one an id and a data directory of its own`,
      }
    }
    return this.#with.admit(hello)
  }

  /** A session with this one begins. */
  letIn(hello: Hello): void {
    const last = this.#last.get(hello.node)
    this.#last.set(hello.node, hello)
    if (last === undefined || last.processIncarnation === hello.processIncarnation) return
    if (last.diskIncarnation !== hello.diskIncarnation) return
    const superseded = this.#superseded.get(hello.node) ?? []
    superseded.push(last.processIncarnation)
    this.#superseded.set(hello.node, superseded.slice(-SUPERSEDED_MAX))
  }
}
