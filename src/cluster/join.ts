/**
 * How a node that was started with `--join` finds the cluster, knowing one address and nobody's id.
 *
 *      newcomer                                   any member
 *        │── introduce ────────────────────────────►│ admitted: it is known now where the newcomer is
 *        │◄──────────────────────── its hello ──────│
 *        │        a session, dialled by the larger id of the two
 *        │── describe-cluster ─────────────────────►│
 *        │◄── cluster id, voters, nodes ────────────│
 *        │── introduce to each of the others ──►
 *
 * Then the newcomer has a session with whoever leads the metadata, is registered by it like any other node, and follows the
 * metadata as a learner. It introduces itself to every member and not only to one, because where its id is the smaller one it
 * is the member that has to dial, and therefore has to know where to.
 */
import type { Address, Clock, Timer } from '../platform/index.ts'
import type { Cluster } from './cluster.ts'
import type { PeerMesh } from './peer-mesh.ts'

const METHOD = 'describe-cluster'
const RETRY_MS = 250
const ANSWER_TIMEOUT_MS = 1000

export interface ClusterDescription {
  readonly clusterId: string
  /** Who votes on the metadata. */
  readonly voters: readonly number[]
  readonly nodes: readonly { readonly id: number; readonly peer: Address }[]
}

export type JoinMesh = Pick<PeerMesh, 'introduce' | 'onIntroduction' | 'setPeer' | 'request' | 'handle' | 'isUp'>

/** Every node of a cluster takes newcomers. `voters` are those with which the metadata shard was opened. */
export function welcomeNewcomers(
  cluster: Pick<Cluster, 'clusterId' | 'nodes'>,
  voters: readonly number[],
  mesh: JoinMesh,
): void {
  mesh.onIntroduction((hello) => mesh.setPeer(hello.node, hello.peer))
  mesh.handle(METHOD, (_from, _body, reply) => {
    const nodes = cluster.nodes().map(({ id, peer }) => ({ id, peer }))
    reply(null, Buffer.from(JSON.stringify({ clusterId: cluster.clusterId, voters, nodes })))
  })
}

export class Newcomer {
  readonly #self: number
  readonly #seed: Address
  readonly #clock: Clock
  readonly #mesh: JoinMesh
  readonly #waiting: (reason: string) => void
  readonly #done: (description: ClusterDescription) => void
  #timer: Timer | null = null
  #stopped = false

  /** `waiting` hears why it is not done yet, once per attempt; the attempts go on until `stop`. */
  constructor(
    self: number,
    seed: Address,
    clock: Clock,
    mesh: JoinMesh,
    waiting: (reason: string) => void,
    done: (description: ClusterDescription) => void,
  ) {
    this.#self = self
    this.#seed = seed
    this.#clock = clock
    this.#mesh = mesh
    this.#waiting = waiting
    this.#done = done
  }

  start(): void {
    this.#mesh.introduce(this.#seed, (failure, hello) => {
      if (this.#stopped) return
      if (failure !== null || hello === undefined) {
        this.#again(failure ?? 'no answer')
        return
      }
      this.#mesh.setPeer(hello.node, hello.peer)
      this.#ask(hello.node)
    })
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  #ask(member: number): void {
    this.#mesh.request(member, METHOD, Buffer.alloc(0), ANSWER_TIMEOUT_MS, (error, body) => {
      if (this.#stopped) return
      const description = error === null ? readDescription(body!) : null
      if (description === null) {
        this.#again(error?.message ?? `node ${member} belongs to no cluster yet`)
        return
      }
      for (const { id, peer } of description.nodes) {
        if (id === this.#self || id === member) continue
        this.#mesh.setPeer(id, peer)
        this.#mesh.introduce(peer, () => {})
      }
      this.#done(description)
    })
  }

  #again(reason: string): void {
    this.#waiting(reason)
    this.#timer = this.#clock.after(RETRY_MS, () => this.start())
  }
}

function readDescription(body: Buffer): ClusterDescription | null {
  try {
    const raw = JSON.parse(body.toString()) as ClusterDescription
    const isAddress = (address: Address): boolean => typeof address.host === 'string' && Number.isInteger(address.port)
    const isWhole =
      typeof raw.clusterId === 'string' &&
      raw.voters.every(Number.isSafeInteger) &&
      raw.nodes.every(({ id, peer }) => Number.isSafeInteger(id) && isAddress(peer))
    return isWhole && raw.nodes.length > 0 ? raw : null
  } catch {
    return null
  }
}
