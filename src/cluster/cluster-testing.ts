/**
 * For tests: several nodes' clusters around one metadata log, without disks and sockets. The log is agreed by decree (what the
 * leader proposes is committed once a majority is reachable); everything above it is real. Time and turns move by hand.
 */
import type { Random } from '../platform/index.ts'
import type { Shard, Standing, StateMachine, WireEvents } from '../replication/index.ts'
import { assert, must, Prng } from '../stdx/index.ts'
import { type Entry, EntryKind, encodeEntry, nextOffsetAfter } from '../storage/index.ts'
import { TestClock } from './clock-testing.ts'
import { Cluster } from './cluster.ts'
import type { ClusterMesh } from './cluster-interfaces.ts'
import { ClusterError } from './errors.ts'
import type { ClusterEvent } from './events.ts'
import type { Hello } from './handshake.ts'
import { LeaderTable } from './leader-table.ts'
import { METADATA_SHARD, type NodeRecord } from './metadata.ts'
import type { RequestDone, RequestHandler } from './peer-requests.ts'

interface Call {
  readonly from: number
  readonly to: number
  readonly done: RequestDone
}

/** The part of the peer mesh that the cluster uses; requests travel at the end of the turn. */
export class TestMesh {
  readonly leaders = new LeaderTable({
    changed: (shard) => this.#leaderChanged(shard),
    conflict: () => assert(false, 'conflict'),
  })
  readonly id: number
  readonly addresses = new Map<number, number>()
  readonly #world: World
  readonly #handlers = new Map<string, RequestHandler>()
  readonly #listeners: WireEvents[] = []
  readonly #leaderListeners: ((shard: number, leader: null) => void)[] = []

  constructor(world: World, id: number) {
    this.#world = world
    this.id = id
  }

  attach(events: WireEvents): void {
    this.#listeners.push(events)
  }

  onLeaderChange(listener: (shard: number, leader: null) => void): void {
    this.#leaderListeners.push(listener)
  }

  #leaderChanged(shard: number): void {
    for (const listener of this.#leaderListeners) listener(shard, null)
  }

  handle(method: string, handler: RequestHandler): void {
    this.#handlers.set(method, handler)
  }

  request(to: number, method: string, body: Uint8Array, timeoutMs: number, done: RequestDone): void {
    const world = this.#world
    const call: Call = {
      from: this.id,
      to,
      done: (error, answer) => {
        if (world.calls.delete(call)) done(error, answer)
      },
    }
    world.calls.add(call)
    world.clock.after(timeoutMs, () => call.done(down(to)))
    world.clock.endOfTurn(() => {
      if (!this.isUp(to)) return call.done(down(to))
      const handler = must(world.node(to).mesh.#handlers.get(method), method)
      handler(this.id, Buffer.from(body), (error, answer) => {
        world.clock.endOfTurn(() => {
          if (world.muted.has(to)) return
          call.done(error, answer)
        })
      })
    })
  }

  isUp(node: number): boolean {
    return node !== this.id && this.#world.nodes.has(node) && this.#world.reachable(this.id, node)
  }

  helloOf(node: number): Hello | null {
    if (!this.isUp(node)) return null
    const { diskIncarnation, kafka, http, peer, rack } = record(node)
    const common = { node, kafka, http, peer, rack, diskIncarnation, clusterId: null, clusterHash: 'h' }
    const session = {
      versionMin: 1,
      versionMax: 1,
      role: 'control',
      nonce: 'n',
      expected: 0,
      processIncarnation: 'p',
    } as const
    return { ...common, ...session }
  }

  peers(): ReturnType<ClusterMesh['peers']> {
    return [...this.#world.nodes.keys()]
      .filter((node) => node !== this.id)
      .map((node) => ({
        node,
        address: null,
        up: this.isUp(node),
        alive: this.isUp(node),
        incarnation: null,
        queuedBytes: 0,
        roundTripMs: null,
        clockOffset: null,
      }))
  }

  setPeer(node: number, address: { readonly port: number }): void {
    this.addresses.set(node, address.port)
  }

  notify(event: 'peerUp' | 'peerDown', node: number): void {
    for (const listener of this.#listeners) listener[event](node)
  }
}

function down(node: number): ClusterError {
  return new ClusterError({ code: 'PEER_DOWN', node }, `node ${node} is down`)
}

export function record(id: number): NodeRecord {
  return {
    id,
    diskIncarnation: `disk-${id}`,
    kafka: { host: '127.0.0.1', port: 9000 + id },
    http: { host: '127.0.0.1', port: 8000 + id },
    peer: { host: '127.0.0.1', port: 7000 + id },
    rack: null,
  }
}

export interface TestNode {
  readonly id: number
  readonly mesh: TestMesh
  readonly cluster: Cluster
  readonly replica: TestReplica
  /** What the hooks were told, in order. */
  readonly told: string[]
}

/** One node's copy of the metadata log. */
export class TestReplica implements Shard {
  readonly id = METADATA_SHARD
  readonly #world: World
  readonly node: number
  standing: Standing = { role: 'follower', term: 0, leader: null, settled: false }
  machine: StateMachine | null = null
  applied = 0

  constructor(world: World, node: number) {
    this.#world = world
    this.node = node
  }

  requestProposal(): void {
    this.#world.clock.endOfTurn(() => this.#world.propose(this))
  }

  readonly hasRoom = true
  readonly refusal = null
  onRoom(): void {}

  leadsNow(): boolean {
    return this.standing.settled
  }

  get lastIndex(): number {
    return this.#world.log.length
  }
  readonly endOffset = 0
  get commitIndex(): number {
    return this.applied
  }
  readonly committedOffset = 0
  readonly startIndex = 1
  readonly startOffset = 0
  readonly epochs = []
  readonly lowWaterMark = { moved: null, heldBy: null, floorWaitsFor: null, untilSnapshot: null }
  requestCut(): void {}
  requestCompaction(): void {}
  clean(): boolean {
    return true
  }

  shownFor(): number {
    return 0
  }
  pin(): () => void {
    return () => {}
  }
  segments(): void {}
  configureLog(): void {}
  readCommitted(): null {
    return null
  }

  catchUp(): void {
    const { log } = this.#world
    if (this.applied === log.length) return
    while (this.applied < log.length) this.machine!.apply(log[this.applied++]!)
    this.machine!.applied()
  }

  stand(standing: Standing): void {
    this.standing = standing
    this.machine!.roleChanged(standing)
  }
}

export class World {
  readonly clock = new TestClock()
  readonly nodes = new Map<number, TestNode>()
  readonly log: Entry[] = []
  readonly calls = new Set<Call>()
  readonly events: { readonly node: number; readonly event: ClusterEvent }[] = []
  /** Nodes whose answers are lost on the way. */
  readonly muted = new Set<number>()
  /** Nodes to which nobody has a session. */
  readonly cut = new Set<number>()
  /** Nodes that are connected and hear nothing of commits. */
  readonly slow = new Set<number>()
  /** Proposals go into the log, and nobody hears of the commit. */
  stalled = false
  #term = 0
  readonly #random: Random

  constructor(ids: readonly number[], expected: readonly number[] = ids) {
    const prng = new Prng(1)
    this.#random = { below: (n) => prng.below(n), bytes: (n) => prng.bytes(n), chance: () => false }
    for (const id of ids) this.add(id, expected)
  }

  /** Starts a node; `snapshot` is what its predecessor left. */
  add(
    id: number,
    expected: readonly number[],
    disk = record(id).diskIncarnation,
    snapshot: Buffer | null = null,
  ): TestNode {
    const mesh = new TestMesh(this, id)
    const replica = new TestReplica(this, id)
    const told: string[] = []
    const cluster = new Cluster(
      {
        nodeId: id,
        diskIncarnation: disk,
        clusterId: null,
        clusterHash: 'h',
        members: expected,
        commandTimeoutMs: 5000,
        balanceLeaders: true,
      },
      {
        clock: this.clock,
        random: this.#random,
        mesh,
        self: () => record(id),
        trace: (event) => this.events.push({ node: id, event }),
        hooks: {
          clusterIdKnown: () => told.push('cluster'),
          replicaAdded: (topic, partition, shard) => told.push(`+${topic.name}/${partition}@${shard}`),
          replicaConfigured: (topic, partition, shard) => told.push(`*${topic.name}/${partition}@${shard}`),
          replicaRemoved: (topic, partition, shard) => told.push(`-${topic.name}/${partition}@${shard}`),
          learnerKnown: (learner) => told.push(`learner ${learner}`),
          isCaughtUp: () => true,
          transferLeadership: (shard, to) => told.push(`transfer ${shard} to ${to}`),
          topicRemoved: () => {},
          metadataSkipped: () => told.push('snapshot'),
          evicted: (message) => told.push(`evicted: ${message}`),
        },
      },
    )
    replica.machine = cluster.machine(replica)
    if (snapshot !== null) {
      replica.machine.restore(snapshot)
      replica.applied = snapshot.readDoubleLE(0)
    }
    const node: TestNode = { id, mesh, cluster, replica, told }
    this.nodes.set(id, node)
    for (const other of this.nodes.values()) {
      if (other.id === id) continue
      other.mesh.notify('peerUp', id)
      mesh.notify('peerUp', other.id)
    }
    return node
  }

  node(id: number): TestNode {
    return must(this.nodes.get(id), `node ${id}`)
  }

  reachable(a: number, b: number): boolean {
    return !this.cut.has(a) && !this.cut.has(b)
  }

  isolate(id: number): void {
    this.cut.add(id)
    for (const call of [...this.calls]) if (call.from === id || call.to === id) call.done(down(call.to))
    for (const node of this.nodes.values()) node.mesh.notify('peerDown', id)
  }

  heal(id: number): void {
    this.cut.delete(id)
    for (const node of this.nodes.values()) if (node.id !== id) node.mesh.notify('peerUp', id)
    this.#deliver()
  }

  /** `keep`: whether what nobody has heard of as committed survives the election; a log may do either. */
  elect(id: number, keep = true): void {
    if (!keep) this.log.length = Math.max(...[...this.nodes.values()].map(({ replica }) => replica.applied))
    // Whoever may decide has applied all that was ever committed.
    this.slow.delete(id)
    const term = ++this.#term
    for (const { id: other, mesh } of this.nodes.values()) {
      for (const led of mesh.leaders.ledBy(other)) mesh.leaders.leadsNoLonger(other, led.shard, led.term)
    }
    const isFollower = (node: TestNode): boolean => node.id !== id && !this.cut.has(node.id)
    for (const node of this.nodes.values()) {
      if (isFollower(node) || (node.id !== id && node.replica.standing.role === 'leader')) {
        node.replica.stand({ role: 'follower', term, leader: id, settled: false })
      }
    }
    const leader = this.node(id).replica
    leader.stand({ role: 'leader', term, leader: id, settled: false })
    this.stalled = false
    this.#append({ kind: EntryKind.leadership, recordCount: 0, payload: [] }, leader)
    leader.stand({ role: 'leader', term, leader: id, settled: true })
    for (const node of this.nodes.values()) {
      if (node.id === id || isFollower(node)) node.mesh.leaders.leads(id, METADATA_SHARD, term)
    }
    this.clock.settle()
  }

  /** The leader stops leading before what it proposed is known to be committed. */
  depose(id: number): void {
    this.node(id).replica.stand({ role: 'follower', term: ++this.#term, leader: null, settled: false })
    for (const { mesh } of this.nodes.values()) mesh.leaders.leadsNoLonger(id, METADATA_SHARD, this.#term)
  }

  propose(replica: TestReplica): void {
    if (replica.standing.role !== 'leader') return
    const context = { term: this.#term, firstOffset: 0, stamp: 0 }
    const draft = replica.machine!.draft(context)
    if (draft !== null) this.#append(draft, replica)
  }

  #append(draft: { kind: EntryKind; recordCount: number; payload: readonly Uint8Array[] }, by: TestReplica): void {
    const last = this.log.at(-1)
    const entry = encodeEntry({
      ...draft,
      shard: METADATA_SHARD,
      term: this.#term,
      index: this.log.length + 1,
      stamp: this.log.length + 1,
      firstOffset: last === undefined ? 0 : nextOffsetAfter(last),
      previousCrc: last?.crc ?? 0,
    })
    this.log.push(entry)
    by.machine!.appended(entry)
    this.#deliver()
  }

  #deliver(): void {
    if (this.stalled) return
    for (const { id, replica } of this.nodes.values()) {
      if (!this.cut.has(id) && !this.slow.has(id)) replica.catchUp()
    }
  }

  /** All may hear of commits again. */
  resume(): void {
    this.stalled = false
    this.slow.clear()
    this.#deliver()
    this.clock.settle()
  }
}
