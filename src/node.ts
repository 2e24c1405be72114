/**
 * One node: the composition root. Everything a node is made of is made here, from the bottom of the house to the top, and wired
 * by constructor; no layer reaches for another, and none finds the outside world but through the platform that is handed in.
 *
 *      platform ─► storage ─► replication host ◄─► peer mesh ◄─► cluster
 *                                  │                               │ which shards are here
 *                                  ▼                               ▼
 *                              machines: metadata, partitions, group coordinators
 *                                  ▲
 *                              gateways: Kafka, HTTP
 *
 * The order of the start matters: the disk is claimed and read before anything listens, all listeners are bound before the
 * metadata shard is opened (the first leader registers the addresses), and peers are dialled last.
 */
import { createHash } from 'node:crypto'
import {
  CLUSTER_DEFAULTS,
  Cluster,
  FIRST_PARTITION_SHARD,
  isFinalRefusal,
  MESH_DEFAULTS,
  METADATA_SHARD,
  metadataMembers,
  type NodeRecord,
  PeerMesh,
  welcomeNewcomers,
} from './cluster/index.ts'
import { type ClusterStatus, HttpGateway, type NodeStatus } from './gateways/http/index.ts'
import { GATEWAY_DEFAULTS, KafkaGateway } from './gateways/kafka/index.ts'
import { CARE_DEFAULTS, type CareOptions, NodeCare } from './node-care.ts'
import { NodeDisk } from './node-disk.ts'
import { formatAddress, type NodeOptions } from './node-options.ts'
import { NodeReport } from './node-report.ts'
import { NodeShards } from './node-shards.ts'
import { type LogLine, Metrics, type NodeEvent, NodeLog, type TraceFile } from './observability/index.ts'
import type { Address, Network, Platform, Timer } from './platform/index.ts'
import { HOST_DEFAULTS, type HostOptions, LamportClock, ReplicationHost, type ShardSpec } from './replication/index.ts'
import { assert, must, TypedError } from './stdx/index.ts'
import { Storage, type StorageOptions } from './storage/index.ts'
import type { StreamsOptions } from './streams/index.ts'

export { type LogLine, TraceFile } from './observability/index.ts'

/** Why a node ended or refused to start; `exitCode` is what a process says: 1 refused, 70 stopped to protect data. */
export class NodeError extends TypedError<
  | { code: 'REFUSED_BY_CLUSTER'; exitCode: 1; refusal: string }
  | { code: 'START_FAILED'; exitCode: 1 }
  | { code: 'STOPPED_TO_PROTECT_DATA'; exitCode: 70 }
> {}

export interface NodeTuning {
  readonly host?: Partial<Omit<HostOptions, 'self'>>
  readonly mesh?: Partial<typeof MESH_DEFAULTS>
  readonly storage?: Pick<
    StorageOptions,
    'journalSegmentBytes' | 'shardSegmentBytes' | 'shardLogFlushBytes' | 'shardLogsBufferBytesMax'
  >
  readonly streams?: Partial<StreamsOptions>
  readonly care?: Partial<CareOptions>
}

export interface NodeCollaborators {
  readonly platform: Platform
  /** Where the other nodes are, if not on the platform's network: clusters inside one process have one of their own. */
  readonly peerNetwork?: Network
  readonly log: (line: LogLine) => void
  /** The node stops by itself and will not come back. */
  readonly terminated: (error: NodeError) => void
  readonly dashboardDirectory: string
  readonly version: string
  readonly memoryBytes: () => number
  readonly traceFile?: TraceFile | null
  /** HTTP is left out where nobody looks. */
  readonly withHttp?: boolean
  /** Shards with machines of the host program's own, the same on every node, opened before anybody is dialled. */
  readonly ownShards?: readonly ShardSpec[]
  readonly tuning?: NodeTuning
}

const RESIGN_PATIENCE_MS = 3000
/** By then a node that was waited for has served. */
const PAGE_AFTER_MS = 1000

export class TidemarkNode {
  readonly #options: NodeOptions
  readonly #with: NodeCollaborators
  readonly #storage: Storage
  readonly #mesh: PeerMesh
  readonly #disk: NodeDisk
  readonly #cluster: Cluster
  readonly #host: ReplicationHost
  readonly #shards: NodeShards
  readonly #kafka: KafkaGateway
  readonly #http: HttpGateway | null
  #pageTimer: Timer | null = null
  readonly #metrics: Metrics
  readonly #log: NodeLog
  readonly #report: NodeReport
  readonly #care: NodeCare
  readonly #startedAt: number
  #state: 'starting' | 'running' | 'stopping' | 'stopped' = 'starting'

  static async start(options: NodeOptions, collaborators: NodeCollaborators): Promise<TidemarkNode> {
    const { platform } = collaborators
    let opened: TidemarkNode | null = null
    const early: NodeEvent[] = []
    const storage = await promised<Storage>((done) =>
      Storage.open(
        {
          directory: options.data,
          nodeId: options.id,
          clusterHash: hashOfCluster(options),
          hasPeers: options.cluster.length > 1,
          cleaningBytesPerSecond: options.cleaningBytesPerSecond,
          ...collaborators.tuning?.storage,
        },
        {
          platform,
          trace: (event) =>
            opened === null ? early.push({ layer: 'storage', event }) : opened.#note({ layer: 'storage', event }),
          fatal: (error) => {
            if (opened !== null) opened.#fatal(error)
          },
          full: () => {
            if (opened !== null) opened.#disk.refused()
          },
        },
        done,
      ),
    )
    const node: TidemarkNode = new TidemarkNode(options, collaborators, storage)
    opened = node
    for (const event of early) node.#note(event)
    try {
      await node.#open()
    } catch (error) {
      await node.stop()
      throw error
    }
    return node
  }

  private constructor(options: NodeOptions, collaborators: NodeCollaborators, storage: Storage) {
    const { platform } = collaborators
    const { clock, random } = platform
    this.#options = options
    this.#with = collaborators
    this.#storage = storage
    this.#startedAt = clock.now()
    this.#log = new NodeLog(collaborators.log)
    this.#metrics = new Metrics({
      shards: () => this.#report.replicas(),
      journal: () => storage.journalKept,
      backlog: () => storage,
      memoryBytes: collaborators.memoryBytes,
      disk: () => this.#disk.status,
      damagedRanges: () => storage.caretaker.damages.length,
    })
    const lamport = new LamportClock(storage.highestStamp)
    this.#mesh = new PeerMesh(
      { self: options.id, listen: options.peer, ...MESH_DEFAULTS, ...collaborators.tuning?.mesh },
      {
        platform:
          collaborators.peerNetwork === undefined ? platform : { ...platform, network: collaborators.peerNetwork },
        lamport,
        trace: (event) => this.#note({ layer: 'cluster', event }),
        describe: () => this.#describe(),
        admit: (hello) => this.#cluster.admit(hello),
        onRefused: (refusal, { by, everUp }) => {
          if (isFinalRefusal(refusal.code) && !everUp) {
            this.#terminate(
              new NodeError(
                { code: 'REFUSED_BY_CLUSTER', exitCode: 1, refusal: refusal.code },
                `node ${by} refuses this node: ${refusal.message}`,
              ),
            )
          }
        },
      },
    )
    const { id: node, data: directory, diskReserveBytes: reserveBytes, diskStuckMs: stuckMs } = options
    this.#disk = new NodeDisk(
      { node, directory, reserveBytes, stuckMs },
      {
        platform,
        storage,
        mesh: this.#mesh,
        trace: (event) => this.#note({ layer: 'storage', event }),
        changed: () => this.#host.disksChanged(),
      },
    )
    this.#cluster = new Cluster(
      {
        nodeId: options.id,
        diskIncarnation: storage.identity.diskIncarnation,
        clusterId: storage.identity.clusterId,
        clusterHash: storage.identity.clusterHash,
        members: this.#members,
        ...CLUSTER_DEFAULTS,
      },
      {
        clock,
        random,
        mesh: this.#mesh,
        trace: (event) => this.#note({ layer: 'cluster', event }),
        self: () => this.#record(),
        hooks: {
          clusterIdKnown: (id) => this.#rememberClusterId(id),
          replicaAdded: (topic, partition, shard, replicas) => this.#shards.open(topic, partition, shard, replicas),
          replicaConfigured: (topic, _partition, shard) => this.#shards.configure(topic, shard),
          replicaRemoved: (topic, partition, shard) => this.#shards.remove(topic, partition, shard),
          learnerKnown: () => {},
          isCaughtUp: (shard, peer) => this.#isCaughtUp(shard, peer),
          transferLeadership: (shard, to) => this.#host.transfer(shard, to),
          topicRemoved: (topic) => this.#shards.forgetPositions(topic),
          metadataSkipped: () => this.#removeForgotten(),
          evicted: (message) =>
            this.#terminate(new NodeError({ code: 'REFUSED_BY_CLUSTER', exitCode: 1, refusal: 'EVICTED' }, message)),
        },
      },
    )
    const { groupInitialRebalanceDelayMs } = options
    this.#shards = new NodeShards(
      { groupInitialRebalanceDelayMs, streams: collaborators.tuning?.streams },
      {
        clock,
        random,
        mesh: this.#mesh,
        trace: (event) => this.#note({ layer: 'streams', event }),
        host: () => this.#host,
        topicById: (id) => this.#cluster.topicById(id),
      },
    )
    this.#kafka = new KafkaGateway(
      { ...GATEWAY_DEFAULTS, listen: options.kafka, defaultPartitions: options.defaultPartitions },
      {
        network: platform.network,
        clock,
        chance: (site) => random.chance(site),
        cluster: this.#cluster,
        streams: this.#shards.streams,
        groups: this.#shards.groups,
        trace: (event) => this.#note({ layer: 'kafka', event }),
      },
    )
    this.#care = this.#takeCare()
    this.#host = new ReplicationHost(
      { self: options.id, ...HOST_DEFAULTS, ...collaborators.tuning?.host },
      {
        platform,
        storage,
        wire: this.#mesh,
        contact: this.#mesh.contact,
        disks: this.#disk.all,
        lamport,
        trace: (event) => this.#note({ layer: 'replication', event }),
        standingChanged: (shard, standing) => this.#shards.standingChanged(shard, standing),
        endOfTurn: () => {
          this.#mesh.flush()
          this.#kafka.flush()
        },
        holdAppends: (hold) => this.#mesh.holdData(hold),
        fetchCleaned: (wanted, isWanted, done) => this.#care.parts.fetchUntil(wanted, isWanted, done),
        fatal: (error) => this.#fatal(error),
      },
    )
    this.#mesh.attach(this.#host)
    this.#report = new NodeReport({
      cluster: this.#cluster,
      host: this.#host,
      mesh: this.#mesh,
      partition: (shard) => this.#shards.streams.partition(shard),
      journal: () => this.#storage.journalKept,
      disk: this.#disk,
      files: () => this.#care.status,
      members: this.#members,
      record: () => this.#record(),
      absent: () => (this.#state === 'running' ? null : `the node is ${this.#state}`),
      counters: () => this.#metrics.totals,
      version: collaborators.version,
      uptimeMs: () => clock.now() - this.#startedAt,
      memoryBytes: collaborators.memoryBytes,
    })
    this.#http = collaborators.withHttp === false ? null : this.#httpGateway()
  }

  get #members(): number[] {
    const { cluster, id } = this.#options
    return cluster.length === 0 ? [id] : cluster.map((member) => member.id)
  }

  #takeCare(): NodeCare {
    const { scrubBytesPerSecond, id } = this.#options
    const { clock, random } = this.#with.platform
    return new NodeCare(
      id,
      { scrubBytesPerSecond, ...CARE_DEFAULTS, ...this.#with.tuning?.care },
      {
        clock,
        random,
        caretaker: this.#storage.caretaker,
        mesh: this.#mesh,
        replica: (shard) => this.#host.replica(shard),
        trace: (event) => this.#note({ layer: 'cluster', event }),
      },
    )
  }

  #httpGateway(): HttpGateway {
    return new HttpGateway(
      { listen: this.#options.http, dashboardDirectory: this.#with.dashboardDirectory },
      {
        nodeStatus: () => this.status(),
        clusterStatus: () => this.clusterStatus(),
        metrics: () => this.#metrics.text(),
      },
    )
  }

  async #open(): Promise<void> {
    const { clock } = this.#with.platform
    await listening('kafka', this.#options.kafka, (done) => this.#kafka.start(done))
    await this.#http?.start()
    await listening('peer', this.#options.peer, (done) => this.#mesh.start(done))
    this.#cluster.recall(this.#storage.recovered.get(METADATA_SHARD)?.entries ?? [])
    const { voters, learners } = metadataMembers(this.#members)
    this.#host.open({ shard: METADATA_SHARD, voters, learners, machine: (shard) => this.#cluster.machine(shard) })
    for (const spec of this.#with.ownShards ?? []) {
      assert(
        spec.shard > METADATA_SHARD && spec.shard < FIRST_PARTITION_SHARD,
        () => `shard ${spec.shard} is a topic's`,
      )
      this.#host.open(spec)
    }
    for (const { id, peer } of this.#options.cluster) if (id !== this.#options.id) this.#mesh.setPeer(id, peer)
    welcomeNewcomers(this.#cluster, voters, this.#mesh)
    this.#disk.start()
    this.#state = 'running'
    const http = this.#http
    if (http !== null) this.#pageTimer = clock.after(PAGE_AFTER_MS, () => void http.readPage())
    await new Promise<void>((resolve) => clock.endOfTurn(resolve))
    // The process before may have ended just before it was written.
    this.#allKnown()
  }

  // ── addresses and identity ────────────────────────────────────────────────────────────────────────────────────────────

  get id(): number {
    return this.#options.id
  }

  /** Where Kafka clients reach this node. */
  get kafkaAddress(): Address {
    const { advertiseKafka, kafka } = this.#options
    return advertiseKafka ?? { host: kafka.host, port: this.#kafka.address?.port ?? kafka.port }
  }

  get httpAddress(): Address | null {
    return this.#http?.address ?? null
  }

  get peerAddress(): Address {
    const { advertisePeer, peer } = this.#options
    return advertisePeer ?? { host: peer.host, port: this.#mesh.address?.port ?? peer.port }
  }

  #record(): NodeRecord {
    const { id, rack } = this.#options
    return {
      id,
      diskIncarnation: this.#storage.identity.diskIncarnation,
      kafka: this.kafkaAddress,
      http: this.httpAddress,
      peer: this.peerAddress,
      rack,
    }
  }

  #describe() {
    const { id: node, ...record } = this.#record()
    return { node, ...record, clusterId: this.#cluster.clusterId, clusterHash: this.#storage.identity.clusterHash }
  }

  #rememberClusterId(id: string): void {
    if (this.#storage.identity.clusterId === id) return
    this.#storage.setClusterId(id, (error) => {
      if (error !== null) this.#fatal(error)
    })
  }

  // ── shards ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Metadata that came as a snapshot, now or before the start, may be ahead of the shards on this disk: nobody tells of the
   * creations and removals that it skipped, and what they left would hold the journal for ever.
   */
  #removeForgotten(): void {
    for (const shard of [...this.#storage.recovered.keys()])
      if (this.#cluster.wasRemoved(shard)) this.#storage.removeShard(shard, METADATA_SHARD)
  }

  /**
   * This disk has lost shards and does not know which. Once the metadata here have recovered, and are applied, every one of them is
   * open: what this node can have voted in was created by an entry that it had applied.
   */
  #allKnown(): void {
    const metadata = this.#host.replica(METADATA_SHARD)
    if (this.#state !== 'running' || metadata === undefined || metadata.raft.recovering) return
    if (metadata.commitIndex === metadata.raft.commit) this.#storage.allKnown()
  }

  #isCaughtUp(shard: number, peer: number): boolean {
    const raft = this.#host.replica(shard)?.raft
    return raft !== undefined && this.#disk.all.isWell(peer) && (raft.progress.get(peer)?.match ?? -1) >= raft.commit
  }

  // ── what is seen from outside ─────────────────────────────────────────────────────────────────────────────────────────

  get ready(): boolean {
    return this.#report.waitingFor() === null
  }

  status(): NodeStatus {
    return this.#report.status()
  }

  /** Asks this node to hand the leadership of a shard over. False: it does not lead it, or the other has no vote in it. */
  transferLeadership(shard: number, to: number): boolean {
    const raft = this.#host.replica(shard)?.raft
    if (raft?.role !== 'leader' || to === this.id || !raft.voters.includes(to)) return false
    this.#host.transfer(shard, to)
    return true
  }

  /** The whole cluster, from what every node that answers says of itself. */
  clusterStatus(): Promise<ClusterStatus> {
    return this.#report.clusterStatus()
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Hands leadership over, answers everybody, takes a checkpoint, lets the directory go. */
  async stop(): Promise<void> {
    if (this.#state === 'stopping' || this.#state === 'stopped') return
    const wasRunning = this.#state === 'running'
    this.#state = 'stopping'
    if (wasRunning) await new Promise<void>((resolve) => this.#host.resign(RESIGN_PATIENCE_MS, resolve))
    this.#care.stop()
    this.#shards.streams.close()
    this.#cluster.stop()
    await new Promise<void>((resolve) => this.#kafka.stop(resolve))
    this.#pageTimer?.cancel()
    await this.#http?.stop()
    await new Promise<void>((resolve) => this.#mesh.stop(resolve))
    this.#disk.stop()
    // Nothing may be appended while the directory is being closed: a node that has just started is still electing itself.
    this.#host.stop()
    await new Promise<void>((resolve) => this.#storage.close(resolve))
    this.#state = 'stopped'
  }

  #fatal(cause: Error): void {
    this.#terminate(
      new NodeError(
        { code: 'STOPPED_TO_PROTECT_DATA', exitCode: 70 },
        `node ${this.#options.id} stops to protect its data: ${cause.message}`,
        { cause },
      ),
    )
  }

  /** Without ceremony: whatever is not on the disk by now was not promised. */
  #terminate(error: NodeError): void {
    if (this.#state === 'stopped') return
    this.#state = 'stopped'
    this.#disk.stop()
    this.#care.stop()
    this.#host.stop()
    // Where the process goes on without this node, its clients and peers must not wait for answers that never come.
    this.#with.platform.clock.endOfTurn(() => {
      this.#shards.streams.close()
      this.#cluster.stop()
      this.#kafka.stop(() => {})
      void this.#http?.stop()
      this.#mesh.stop(() => {})
    })
    this.#with.terminated(error)
  }

  #note(observed: NodeEvent): void {
    const { event } = observed
    if (event.type === 'file-repaired') this.#care.rewritten++
    const metadataMoved = event.type === 'replica-recovered' || event.type === 'committed'
    if (metadataMoved && event.shard === METADATA_SHARD && this.#storage.unknownFrom > 0)
      this.#with.platform.clock.endOfTurn(() => this.#allKnown())
    this.#metrics.note(observed)
    this.#log.note(observed)
    this.#with.traceFile?.note(observed)
  }
}

/** Members of one cluster must have been given the same list; before there is a cluster id this is what proves it. */
function hashOfCluster({ cluster }: NodeOptions): string {
  if (cluster.length === 0) return ''
  const list = cluster
    .map(({ id, peer }) => `${id}@${formatAddress(peer)}`)
    .sort()
    .join(',')
  return createHash('sha256').update(list).digest('hex')
}

function promised<T>(start: (done: (error: Error | null, value?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) =>
    start((error, value) => (error === null ? resolve(must(value, 'a value without an error')) : reject(error))),
  )
}

async function listening(
  name: string,
  at: Address,
  start: (done: (error: (Error & { readonly code: string }) | null, address?: Address) => void) => void,
): Promise<void> {
  try {
    await promised<Address>(start)
  } catch (error) {
    const inUse = (error as { code?: string }).code === 'ADDRESS_IN_USE'
    const advice = inUse
      ? 'the port is in use; stop the other program or choose another port'
      : (error as Error).message
    throw new NodeError({ code: 'START_FAILED', exitCode: 1 }, `--${name} ${formatAddress(at)}: ${advice}`, {
      cause: error,
    })
  }
}
