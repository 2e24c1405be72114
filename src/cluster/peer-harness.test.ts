/** What the tests of the mesh share: nodes that write down what they hear, and a peer made by hand that may misbehave. */
import type { Address, Connection, Network, Platform } from '../platform/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { LamportClock, type Message, type NodeId } from '../replication/index.ts'
import { must } from '../stdx/index.ts'
import { type EntryKind, encodeEntry } from '../storage/index.ts'
import type { ClusterEvent } from './events.ts'
import {
  decodeHello,
  decodeRefusal,
  encodeConfirm,
  encodeHello,
  type Hello,
  type Refusal,
  type SelfDescription,
} from './handshake.ts'
import { PeerMesh } from './peer-mesh.ts'
import { MESH_DEFAULTS, type PeerMeshOptions, type RefusalContext } from './peer-mesh-options.ts'
import { decodeControl, type ItemSink } from './peer-messages.ts'
import type { Append } from './peer-messages-data.ts'
import { FrameKind, FrameReader, WIRE_VERSION_MAX, WIRE_VERSION_MIN } from './peer-wire.ts'

/** Quick to connect; patient, since the machine that runs the tests may be busy. */
export const FAST: Omit<PeerMeshOptions, 'self' | 'listen'> = {
  ...MESH_DEFAULTS,
  heartbeatIntervalMs: 20,
  electionTimeoutMs: 2000,
  handshakeTimeoutMs: 500,
  reconnectMinMs: 5,
  reconnectMaxMs: 20,
  refusedRetryMs: 30,
}

/** For tests in which silence has to be found. */
export const IMPATIENT = { electionTimeoutMs: 200 }

export function describe(node: NodeId, changes: Partial<SelfDescription> = {}): SelfDescription {
  return {
    node,
    diskIncarnation: `disk-${node}`,
    clusterId: 'c1',
    clusterHash: 'h1',
    kafka: { host: '127.0.0.1', port: 9000 + node },
    http: null,
    peer: { host: '127.0.0.1', port: 7000 + node },
    rack: null,
    ...changes,
  }
}

export function appendOf(shard: number, firstIndex: number, sizes: readonly number[]): Append {
  const entries: Append['entries'][number][] = []
  for (const size of sizes) {
    entries.push(
      encodeEntry({
        kind: 3 as EntryKind,
        shard,
        term: 1,
        index: firstIndex + entries.length,
        stamp: 1,
        firstOffset: 0,
        recordCount: 0,
        previousCrc: entries.at(-1)?.crc ?? 0,
        payload: [Buffer.alloc(size, firstIndex)],
      }),
    )
  }
  return { type: 'append', shard, term: 1, previousIndex: firstIndex - 1, previousTerm: 1, commit: 0, entries }
}

export interface TestNodeOptions {
  readonly network: Network
  readonly listen?: Address
  readonly self?: Partial<SelfDescription>
  readonly mesh?: Partial<PeerMeshOptions>
  readonly admit?: (hello: Hello) => Refusal | null
}

export class TestNode {
  readonly id: NodeId
  readonly mesh: PeerMesh
  readonly platform: Platform
  readonly lamport = new LamportClock()
  readonly events: ClusterEvent[] = []
  readonly messages: { readonly from: NodeId; readonly message: Message }[] = []
  /** `up 2`, `down 2`. */
  readonly sessions: string[] = []
  readonly refusals: { readonly refusal: Refusal; readonly context: RefusalContext }[] = []
  onMessage: (from: NodeId, message: Message) => void = () => {}
  #waiting: (() => void)[] = []

  constructor(id: NodeId, options: TestNodeOptions) {
    this.id = id
    this.platform = { ...nodePlatform(), network: options.network }
    this.mesh = new PeerMesh(
      { ...FAST, self: id, listen: options.listen ?? { host: '127.0.0.1', port: 0 }, ...options.mesh },
      {
        platform: this.platform,
        lamport: this.lamport,
        trace: (event) => {
          this.events.push(event)
          this.#check()
        },
        describe: () => describe(id, options.self),
        admit: options.admit ?? (() => null),
        onRefused: (refusal, context) => {
          this.refusals.push({ refusal, context })
          this.#check()
        },
      },
    )
    this.mesh.attach({
      message: (from, message) => {
        this.messages.push({ from, message })
        this.onMessage(from, message)
        this.#check()
      },
      peerUp: (node) => {
        this.sessions.push(`up ${node}`)
        this.#check()
      },
      peerDown: (node) => {
        this.sessions.push(`down ${node}`)
        this.#check()
      },
      contactTick: () => this.#check(),
    })
  }

  start(): Promise<Address> {
    return new Promise((resolve, reject) =>
      this.mesh.start((error, address) => (error ? reject(error) : resolve(must(address, 'address')))),
    )
  }

  stop(): Promise<void> {
    return new Promise((resolve) => this.mesh.stop(resolve))
  }

  /** Resolves as soon as an event of this node makes the condition true. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.push(() => {
        if (condition()) resolve()
        else this.#waiting.push(check)
      })
      const check = must(this.#waiting.at(-1), 'the check just added')
    })
  }

  #check(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const check of waiting) check()
  }

  seen(type: ClusterEvent['type']): boolean {
    return this.events.some((event) => event.type === type)
  }

  request(to: NodeId, method: string, body: string, timeoutMs = 1000): Promise<string> {
    return new Promise((resolve, reject) =>
      this.mesh.request(to, method, Buffer.from(body), timeoutMs, (error, answer) =>
        error ? reject(error) : resolve(String(answer)),
      ),
    )
  }
}

/** A dialling peer made by hand. It answers no beats and says what the test tells it to. */
export class RawPeer {
  readonly items: string[] = []
  readonly refusals: Refusal[] = []
  /** Frames received per connection after the handshake. */
  readonly frames = { control: 0, data: 0 }
  readonly closed = new Set<string>()
  control!: Connection
  data!: Connection
  #changed: () => void = () => {}

  static async connect(
    network: Network,
    to: Address,
    hello: Partial<Hello> & { readonly node: NodeId },
  ): Promise<RawPeer> {
    const peer = new RawPeer()
    let welcomes = 0
    let challenge = ''
    for (const role of ['control', 'data'] as const) {
      const connection = await new Promise<Connection>((resolve, reject) =>
        network.connect(to, (error, made) => {
          if (error || !made) return reject(error)
          peer.#listen(role, made, (welcome) => {
            welcomes++
            challenge = welcome.challenge ?? ''
          })
          resolve(made)
        }),
      )
      peer[role] = connection
      const full: Hello = {
        ...describe(hello.node),
        versionMin: WIRE_VERSION_MIN,
        versionMax: WIRE_VERSION_MAX,
        nonce: 'n1',
        expected: 0,
        processIncarnation: 'raw',
        ...hello,
        role,
      }
      connection.write(encodeHello(full, FrameKind.hello, 1))
    }
    await peer.until(() => welcomes === 2 || peer.refusals.length > 0 || peer.closed.size > 0)
    const confirm = encodeConfirm(hello.challenge ?? challenge, WIRE_VERSION_MAX, 2)
    if (welcomes === 2) for (const connection of [peer.control, peer.data]) connection.write(confirm)
    return peer
  }

  #listen(role: 'control' | 'data', connection: Connection, welcome: (hello: Hello) => void): void {
    const sink: ItemSink = {
      closed: false,
      message: (message) => this.items.push(message.type),
      beat: () => this.items.push('beat'),
      beatReply: (number) => this.items.push(`beat-reply ${number}`),
      request: (_id, method) => this.items.push(`request ${method}`),
      response: () => this.items.push('response'),
      leading: () => this.items.push('leading'),
      leadsNoLonger: () => this.items.push('leads no longer'),
    }
    const reader = new FrameReader({
      frame: (kind, _stamp, frame) => {
        if (kind === FrameKind.refusal) this.refusals.push(must(decodeRefusal(frame), 'refusal').refusal)
        else if (kind === FrameKind.welcome) {
          welcome(must(decodeHello(frame), 'welcome'))
        } else {
          this.frames[role]++
          if (kind === FrameKind.control) decodeControl(frame, sink)
        }
      },
    })
    reader.version = WIRE_VERSION_MAX
    reader.limitBytes = 1 << 30
    connection.handler = {
      received: (bytes) => {
        reader.push(bytes)
        this.#changed()
      },
      drained: () => {},
      closed: () => {
        this.closed.add(role)
        this.#changed()
      },
    }
  }

  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve()
    return new Promise((resolve) => {
      this.#changed = () => {
        if (!condition()) return
        this.#changed = () => {}
        resolve()
      }
    })
  }

  destroy(): void {
    this.control.destroy()
    this.data.destroy()
  }
}
