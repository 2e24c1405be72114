/**
 * The cluster as one node sees it, and the layers above use it: who is there, which topics exist, who leads what, and the
 * commands that change it. Reads are local and synchronous; commands go to the controller, wherever it is.
 *
 *      gateways, streams
 *            │ nodes() topics() leaderOf() createTopics() …
 *      ┌─────▼─────────────────────────────────────────────────────────────┐
 *      │ Cluster      Forwarder ──► controller, here or over the wire      │
 *      │                 Controller (only while this node leads shard 1)   │
 *      │                     │ changes                                     │
 *      │              MetadataMachine ◄── the metadata shard's log         │
 *      │                 Metadata (views)  Hosting (what is opened here)   │
 *      └───────────────────────────────────────────────────────────────────┘
 *
 * Three sources make up the picture: the log (nodes, topics, placement), sessions (who is up) and gossip (who leads). The
 * first is the truth and may be late, the other two are hints and always now.
 */
import type { Timer } from '../platform/index.ts'
import { forEachKeyedChange } from '../records/index.ts'
import type { Shard, Standing, StateMachine } from '../replication/index.ts'
import { type Entry, EntryKind, payloadOf } from '../storage/index.ts'
import type { ClusterCollaborators, ClusterNode, ClusterOptions } from './cluster-interfaces.ts'
import {
  type AlterTopicRequest,
  COMMAND_TYPES,
  type CommandError,
  type CommandReply,
  type CreateTopicRequest,
  type DeleteTopicRequest,
  decodeCommand,
  type FinishRestoreRequest,
  type TopicResult,
} from './commands.ts'
import { Controller } from './controller.ts'
import { Forwarder } from './forwarder.ts'
import type { Hello, Refusal } from './handshake.ts'
import { Hosting } from './hosting.ts'
import { mintRequestId, mintTopicId } from './ids.ts'
import { BALANCE_INTERVAL_MS, LeaderBalance, type LedPartition } from './leader-balance.ts'
import type { Leader } from './leader-table.ts'
import { admitPeer, unknownDiskMessage } from './membership.ts'
import {
  FIRST_PARTITION_SHARD,
  METADATA_SHARD,
  Metadata,
  type MetadataChange,
  type NodeRecord,
  readNode,
  type Topic,
} from './metadata.ts'
import { type MetadataListener, MetadataMachine } from './metadata-machine.ts'
import type { RequestDone } from './peer-requests.ts'
import { ProducerIds } from './producer-ids.ts'

export class Cluster implements MetadataListener {
  readonly nodeId: number
  readonly #options: ClusterOptions
  readonly #with: ClusterCollaborators
  readonly #metadata = new Metadata()
  readonly #controller: Controller
  readonly #forwarder: Forwarder
  readonly #hosting: Hosting
  readonly #balance: LeaderBalance
  readonly #producerIds: ProducerIds
  #machine: MetadataMachine | null = null
  #standing: Standing | null = null
  /** Directories met in sessions: until the metadata names them, this process remembers them itself. */
  readonly #disksMet = new Map<number, string>()
  readonly #listeners = new Set<() => void>()
  #changePlanned = false
  #balanceTimer: Timer | null = null

  constructor(options: ClusterOptions, collaborators: ClusterCollaborators) {
    this.nodeId = options.nodeId
    this.#options = options
    this.#with = collaborators
    const { clock, random, mesh, hooks } = collaborators
    const appliedIndex = (): number => this.#machine?.appliedIndex ?? 0
    this.#controller = new Controller({
      clock,
      random,
      metadata: this.#metadata,
      expectedNodes: options.members.length,
      isUp: (node) => this.isUp(node),
      present: () => this.#present(),
      change: (changes, done) => this.#machine!.change(changes, done),
      appliedIndex,
    })
    this.#forwarder = new Forwarder({
      self: this.nodeId,
      clock,
      chance: (site) => random.chance(site),
      wire: mesh,
      controller: () => this.controller(),
      local: (command, done) => this.#controller.execute(command, done),
      appliedIndex,
      outcomesSeen: () => this.#metadata.outcomes.next,
    })
    this.#producerIds = new ProducerIds((count, done) => this.#fetchProducerIds(count, done))
    this.#hosting = new Hosting(this.nodeId, options.diskIncarnation, hooks)
    this.#balance = new LeaderBalance(clock.now(), {
      self: this.nodeId,
      led: () => this.#led(),
      isUp: (node) => this.isUp(node),
      isCaughtUp: (shard, node) => hooks.isCaughtUp(shard, node),
      transfer: (shard, to) => {
        collaborators.trace({ type: 'leader-handed-back', shard, to })
        hooks.transferLeadership(shard, to)
      },
    })
    for (const type of COMMAND_TYPES) mesh.handle(type, (_from, body, reply) => this.#serve(body, reply))
    mesh.handle(SIGN_OF_LIFE, (_from, _body, reply) => reply(null, NOTHING))
    mesh.attach({
      message: () => {},
      peerUp: (node) => this.#peerUp(node),
      peerDown: () => this.#presenceChanged(),
      contactTick: () => {},
    })
    mesh.onLeaderChange((changed) => this.#leaderChanged(changed))
    if (options.balanceLeaders) {
      this.#balanceTimer = clock.every(BALANCE_INTERVAL_MS, () => this.#balance.tick(clock.now()))
    }
  }

  /** The state machine of shard 1, for the replication host to drive. */
  machine(shard: Shard): StateMachine {
    this.#machine = new MetadataMachine(shard, () => this.#with.clock.wall(), this.#metadata, this)
    return this.#machine
  }

  /**
   * Entries of the metadata shard that were recovered and are not known to be committed yet. Which directory an id belongs to
   * is believed from them at once: the door must know it before the log does.
   */
  recall(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.kind !== EntryKind.data) continue
      forEachKeyedChange(payloadOf(entry), (key, value) => {
        if (value === null || !key.startsWith('node/')) return
        const { id, diskIncarnation } = readNode(key, value)
        this.#disksMet.set(id, diskIncarnation)
      })
    }
  }

  stop(): void {
    this.#balanceTimer?.cancel()
    this.#forwarder.stop()
    this.#producerIds.stop()
    this.#listeners.clear()
  }

  // ── what is known ─────────────────────────────────────────────────────────────────────────────────────────────────────

  get clusterId(): string | null {
    return this.#metadata.clusterId ?? this.#options.clusterId
  }

  nodes(): ClusterNode[] {
    return [...this.#metadata.nodes.values()]
      .sort((a, b) => a.id - b.id)
      .map((node) => ({ ...node, up: this.isUp(node.id) }))
  }

  isUp(node: number): boolean {
    return node === this.nodeId || this.#with.mesh.isUp(node)
  }

  topics(): Iterable<Topic> {
    return this.#metadata.topics.values()
  }

  topic(name: string): Topic | undefined {
    return this.#metadata.topics.get(name)
  }

  topicById(id: string): Topic | undefined {
    return this.#metadata.topicById(id)
  }

  partitionOf(shard: number): { readonly topic: Topic; readonly index: number } | undefined {
    return this.#metadata.partitionOf(shard)
  }

  /** Null where nobody leads, or the one who did is known to be down. */
  leaderOf(shard: number): Leader | null {
    const leader = this.#with.mesh.leaders.leaderOf(shard)
    return leader !== null && this.isUp(leader.node) ? leader : null
  }

  /** The node that decides on commands, as far as this one knows and can reach it. */
  controller(): number | null {
    if (this.#controller.leads) return this.nodeId
    const leader = this.#with.mesh.leaders.leaderOf(METADATA_SHARD)?.node ?? this.#standing?.leader ?? null
    return leader !== null && leader !== this.nodeId && this.isUp(leader) ? leader : null
  }

  /** True if the shard was a topic's and its removal is applied here: its id is never used again and its files may go. */
  wasRemoved(shard: number): boolean {
    const { nextShardId } = this.#metadata
    return shard >= FIRST_PARTITION_SHARD && shard < nextShardId && this.#metadata.partitionOf(shard) === undefined
  }

  /** After the metadata, a session or a leader changed; once per turn at the most. Returns the way to stop listening. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Asks these nodes for a sign of life. `done`, never before this returns, when each has given one, or its session has ended,
   * or the patience is over: then `isUp` and `leaderOf` know of every process that had ended before the call. Without
   * asking, the end of a process is known only once its closed connections have had their turn here.
   */
  hearFrom(nodes: Iterable<number>, patienceMs: number, done: () => void): void {
    let awaited = 1
    const heard = (): void => {
      if (--awaited === 0) done()
    }
    for (const node of new Set(nodes)) {
      if (node === this.nodeId || !this.isUp(node)) continue
      awaited++
      this.#with.mesh.request(node, SIGN_OF_LIFE, NOTHING, patienceMs, heard)
    }
    this.#with.clock.endOfTurn(heard)
  }

  // ── what may be asked ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Answers after commit, and after this node's own metadata shows it. One result per request, in their order. */
  createTopics(requests: readonly CreateTopicRequest[], done: (results: TopicResult[]) => void): void {
    const topics = requests.map((request) => ({ ...request, id: mintTopicId(this.#with.random) }))
    const request = mintRequestId(this.#with.random)
    this.#forwarder.submit(
      (since, remainingMs) => ({
        type: 'create-topics',
        request,
        since,
        topics,
        patienceMs: Math.floor(remainingMs * PATIENCE_SHARE),
      }),
      this.#options.commandTimeoutMs,
      (error, reply) => done(this.#results(requests, error, reply?.results)),
    )
  }

  /** Answers after commit, and after this node's own metadata shows it. With an id, that topic and no other of its name. */
  deleteTopics(topics: readonly DeleteTopicRequest[], done: (results: TopicResult[]) => void): void {
    const request = mintRequestId(this.#with.random)
    this.#forwarder.submit(
      (since) => ({ type: 'delete-topics', request, since, topics }),
      this.#options.commandTimeoutMs,
      (error, reply) => done(this.#results(topics, error, reply?.results)),
    )
  }

  /** Answers after commit, and after this node's own metadata shows it. */
  alterTopics(topics: readonly AlterTopicRequest[], done: (results: TopicResult[]) => void): void {
    const request = mintRequestId(this.#with.random)
    this.#forwarder.submit(
      (since) => ({ type: 'alter-topics', request, since, topics }),
      this.#options.commandTimeoutMs,
      (error, reply) => done(this.#results(topics, error, reply?.results)),
    )
  }

  /** Opens topics that were restored. Answers after commit, and after this node's own metadata shows it. */
  finishRestore(topics: readonly FinishRestoreRequest[], done: (results: TopicResult[]) => void): void {
    this.#forwarder.submit(
      () => ({ type: 'finish-restore', topics }),
      this.#options.commandTimeoutMs,
      (error, reply) => done(this.#results(topics, error, reply?.results)),
    )
  }

  /** `firstId` and the `count − 1` after it are nobody else's, ever. */
  allocateProducerIds(count: number, done: (error: CommandError | null, firstId: number) => void): void {
    this.#producerIds.take(count, done)
  }

  #fetchProducerIds(count: number, done: (error: CommandError | null, firstId: number) => void): void {
    this.#forwarder.submit(
      () => ({ type: 'allocate-producer-ids', count }),
      this.#options.commandTimeoutMs,
      (error, reply) => done(error, reply?.first ?? 0),
    )
  }

  /** The local topic is preferred to the one in the reply: whoever compares objects then sees one. */
  #results(
    asked: readonly { readonly name: string }[],
    error: CommandError | null,
    results: readonly TopicResult[] | undefined,
  ): TopicResult[] {
    return asked.map(({ name }, i) => {
      const result = results?.[i]
      if (error !== null || result === undefined) {
        return { name, error: error ?? { code: 'TIMED_OUT', message: 'the controller sent no answer for this topic' } }
      }
      const local = this.topic(name)
      return local !== undefined && local.id === result.topic?.id ? { ...result, topic: local } : result
    })
  }

  // ── what the mesh says ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Why the node that says hello may not come in, or null. */
  admit(hello: Hello): Refusal | null {
    const { nodeId, clusterHash } = this.#options
    return admitPeer(hello, {
      nodeId,
      clusterId: this.clusterId,
      clusterHash,
      diskOf: (node) => this.#metadata.nodes.get(node)?.diskIncarnation ?? this.#disksMet.get(node),
    })
  }

  #peerUp(node: number): void {
    const hello = this.#with.mesh.helloOf(node)
    if (hello !== null) this.#disksMet.set(node, hello.diskIncarnation)
    this.#presenceChanged()
  }

  /** The table of leaders has news about this shard. */
  #leaderChanged(shard: number): void {
    if (shard === METADATA_SHARD) this.#forwarder.controllerChanged()
    this.#announceChange()
  }

  #presenceChanged(): void {
    this.#balance.disturbed(this.#with.clock.now())
    this.#controller.presenceChanged()
    this.#forwarder.controllerChanged()
    this.#announceChange()
  }

  #serve(body: Buffer, reply: RequestDone): void {
    const send = (answer: CommandReply): void => reply(null, Buffer.from(JSON.stringify(answer)))
    const command = decodeCommand(body)
    if (command === null) send({ outcome: 'not-controller' })
    else this.#controller.execute(command, send)
  }

  *#present(): Generator<NodeRecord> {
    yield this.#with.self()
    for (const { node } of this.#with.mesh.peers()) {
      const hello = this.#with.mesh.helloOf(node)
      if (hello === null) continue
      const { diskIncarnation, kafka, http, peer, rack } = hello
      yield { id: node, diskIncarnation, kafka, http, peer, rack }
    }
  }

  *#led(): Generator<LedPartition> {
    for (const { partitions } of this.#metadata.topics.values()) {
      for (const { shard, replicas } of partitions) {
        if (this.#with.mesh.leaders.leaderOf(shard)?.node === this.nodeId) yield { shard, preferred: replicas[0]!.node }
      }
    }
  }

  // ── what the metadata's log says ──────────────────────────────────────────────────────────────────────────────────────

  metadataChanged(change: MetadataChange): void {
    this.#traceChange(change)
    if (change.type === 'cluster') this.#with.hooks.clusterIdKnown(change.id)
    else if (change.type === 'node') this.#nodeKnown(change.node)
    else this.#hosting.changed(change)
    if (change.type === 'topic-removed') this.#with.hooks.topicRemoved(change.topic)
    // Deleted and created again behind our back: a snapshot of the metadata shows only the later one.
    else if (change.type === 'topic' && change.before !== null && change.before.id !== change.topic.id)
      this.#with.hooks.topicRemoved(change.before)
  }

  metadataRestored(): void {
    if (this.#metadata.clusterId !== null) this.#with.hooks.clusterIdKnown(this.#metadata.clusterId)
    for (const node of this.#metadata.nodes.values()) this.#nodeKnown(node)
    this.#hosting.restored(this.#metadata)
    this.#announceChange()
  }

  metadataSkipped(): void {
    this.#with.hooks.metadataSkipped()
  }

  #traceChange(change: MetadataChange): void {
    const { trace } = this.#with
    if (change.type === 'cluster') trace({ type: 'cluster-formed', clusterId: change.id })
    else if (change.type === 'node') {
      trace({ type: 'node-registered', node: change.node.id, diskIncarnation: change.node.diskIncarnation })
    } else if (change.type === 'topic') {
      const { name, id, partitions } = change.topic
      if (change.before?.id !== id) trace({ type: 'topic-created', topic: name, id, partitions: partitions.length })
    } else if (change.type === 'topic-removed') {
      const { name: topic, id, partitions } = change.topic
      trace({ type: 'topic-removed', topic, id, shards: partitions.map(({ shard }) => shard) })
    }
  }

  metadataApplied(): void {
    this.#forwarder.applied()
    this.#announceChange()
  }

  metadataStanding(standing: Standing): void {
    this.#standing = standing
    this.#forwarder.controllerChanged()
    this.#announceChange()
  }

  controllerGained(): void {
    this.#with.trace({ type: 'controller-gained' })
    this.#controller.gained()
  }

  controllerLost(): void {
    this.#with.trace({ type: 'controller-lost' })
    this.#controller.lost()
  }

  #nodeKnown(node: NodeRecord): void {
    if (node.id !== this.nodeId) {
      // Where members are is said by --cluster, which an operator can correct; only others must be looked up here.
      if (this.#options.members.includes(node.id)) return
      this.#with.mesh.setPeer(node.id, node.peer)
      this.#with.hooks.learnerKnown(node.id)
    } else if (node.diskIncarnation !== this.#options.diskIncarnation) {
      this.#with.hooks.evicted(unknownDiskMessage(node.id, node.diskIncarnation, this.#options.diskIncarnation))
    }
  }

  #announceChange(): void {
    if (this.#changePlanned || this.#listeners.size === 0) return
    this.#changePlanned = true
    this.#with.clock.endOfTurn(() => {
      this.#changePlanned = false
      for (const listener of [...this.#listeners]) listener()
    })
  }
}

/** Of a command's time, what the controller may spend waiting for nodes; the rest is for the way there and back. */
const SIGN_OF_LIFE = 'sign-of-life'
const NOTHING = Buffer.alloc(0)
const PATIENCE_SHARE = 0.8
