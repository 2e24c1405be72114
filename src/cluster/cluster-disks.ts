/**
 * What the nodes know of each other's disks.
 *
 * Each tells the others when its own becomes low or stuck, or well again, and tells a new session if there is something to tell:
 * a session begins with "all is well". What is on its way may be late, so nothing that must be safe rests on this; it decides who
 * leads and whose reserve is spared.
 */
import type { Disks, NodeId, WireEvents } from '../replication/index.ts'
import type { PeerMesh } from './peer-mesh.ts'

interface Standing {
  readonly low: boolean
  readonly stuck: boolean
}

/** Its body is one byte of flags. */
const METHOD = 'disk'
const LOW = 1
const STUCK = 2
/** Nobody waits for the answer. */
const TIMEOUT_MS = 5000

export class ClusterDisks implements Disks, WireEvents {
  readonly #self: NodeId
  readonly #mesh: Pick<PeerMesh, 'attach' | 'handle' | 'request' | 'peersUp'>
  readonly #changed: () => void
  /** Peers with something wrong. */
  readonly #ailing = new Map<NodeId, Standing>()
  low: string | null = null
  stuck = false

  /** To be made before anybody else is attached to the mesh: whoever hears of a new session may ask here. */
  constructor(self: NodeId, mesh: Pick<PeerMesh, 'attach' | 'handle' | 'request' | 'peersUp'>, changed: () => void) {
    this.#self = self
    this.#mesh = mesh
    this.#changed = changed
    mesh.attach(this)
    mesh.handle(METHOD, (from, body, reply) => {
      this.#note(from, read(body))
      reply(null, Buffer.alloc(0))
    })
  }

  get allWell(): boolean {
    return this.#ailing.size === 0 && this.low === null && !this.stuck
  }

  isLow(node: NodeId): boolean {
    return node === this.#self ? this.low !== null : this.#ailing.get(node)?.low === true
  }

  isWell(node: NodeId): boolean {
    return node === this.#self ? this.low === null && !this.stuck : !this.#ailing.has(node)
  }

  /** How this node's own is from now on. */
  own(low: string | null, stuck: boolean): void {
    const news = (low === null) !== (this.low === null) || stuck !== this.stuck
    this.low = low
    this.stuck = stuck
    if (!news) return
    for (const peer of this.#mesh.peersUp()) this.#tell(peer)
    this.#changed()
  }

  message(): void {}

  contactTick(): void {}

  peerUp(node: NodeId): void {
    this.#note(node, { low: false, stuck: false })
    if (this.low !== null || this.stuck) this.#tell(node)
  }

  peerDown(_node: NodeId): void {}

  #tell(node: NodeId): void {
    const body = Buffer.of((this.low === null ? 0 : LOW) | (this.stuck ? STUCK : 0))
    // Lost with its session, it is said again in the next.
    this.#mesh.request(node, METHOD, body, TIMEOUT_MS, () => {})
  }

  #note(node: NodeId, standing: Standing): void {
    const known = this.#ailing.get(node)
    if (standing.low === (known?.low ?? false) && standing.stuck === (known?.stuck ?? false)) return
    if (standing.low || standing.stuck) this.#ailing.set(node, standing)
    else this.#ailing.delete(node)
    this.#changed()
  }
}

function read(body: Buffer): Standing {
  const flags = body[0] ?? 0
  return { low: (flags & LOW) !== 0, stuck: (flags & STUCK) !== 0 }
}
