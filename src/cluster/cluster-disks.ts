/**
 * What the nodes know of each other's disks.
 *
 * Each tells the others when its own becomes low or stuck, or well again, and tells every new session how it is. Until it has, a session
 * begins with "nothing is known": a node that comes back with its last bytes is not to be sent megabytes of records in the moment
 * before it could say so. What is on its way may be late, so nothing that must be safe rests on this; it decides who leads and whose
 * reserve is spared.
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
  /** Peers that have not said yet how they are, since their session began. */
  readonly #unheard = new Set<NodeId>()
  /** This node's own was looked at. */
  #isKnown = false
  low: string | null = null
  stuck = false

  /** To be made before anybody else is attached to the mesh: whoever hears of a new session may ask here. */
  constructor(self: NodeId, mesh: Pick<PeerMesh, 'attach' | 'handle' | 'request' | 'peersUp'>, changed: () => void) {
    this.#self = self
    this.#mesh = mesh
    this.#changed = changed
    mesh.attach(this)
    mesh.handle(METHOD, (from, body, reply) => {
      const isFirst = this.#unheard.delete(from)
      this.#note(from, read(body), isFirst)
      reply(null, Buffer.alloc(0))
    })
  }

  get allWell(): boolean {
    return this.#ailing.size + this.#unheard.size === 0 && this.low === null && !this.stuck
  }

  isLow(node: NodeId): boolean {
    return node === this.#self ? this.low !== null : this.#ailing.get(node)?.low === true
  }

  mayBeLow(node: NodeId): boolean {
    return this.isLow(node) || this.#unheard.has(node)
  }

  isWell(node: NodeId): boolean {
    return node === this.#self ? this.low === null && !this.stuck : !this.#ailing.has(node)
  }

  /** How this node's own is from now on. */
  own(low: string | null, stuck: boolean): void {
    const news = !this.#isKnown || (low === null) !== (this.low === null) || stuck !== this.stuck
    this.#isKnown = true
    this.low = low
    this.stuck = stuck
    if (!news) return
    for (const peer of this.#mesh.peersUp()) this.#tell(peer)
    this.#changed()
  }

  message(): void {}

  contactTick(): void {}

  peerUp(node: NodeId): void {
    this.#unheard.add(node)
    this.#note(node, { low: false, stuck: false })
    if (this.#isKnown) this.#tell(node)
  }

  peerDown(node: NodeId): void {
    this.#unheard.delete(node)
  }

  #tell(node: NodeId): void {
    const body = Buffer.of((this.low === null ? 0 : LOW) | (this.stuck ? STUCK : 0))
    // Lost with its session, it is said again in the next.
    this.#mesh.request(node, METHOD, body, TIMEOUT_MS, () => {})
  }

  #note(node: NodeId, standing: Standing, isNews = false): void {
    const known = this.#ailing.get(node)
    if (!isNews && standing.low === (known?.low ?? false) && standing.stuck === (known?.stuck ?? false)) return
    if (standing.low || standing.stuck) this.#ailing.set(node, standing)
    else this.#ailing.delete(node)
    this.#changed()
  }
}

function read(body: Buffer): Standing {
  const flags = body[0] ?? 0
  return { low: (flags & LOW) !== 0, stuck: (flags & STUCK) !== 0 }
}
