/** What `/api/node` and `/api/cluster` say. Stable names: scripts and `tidemark status` rely on them. */

export interface NodeStatus {
  readonly node: number
  readonly version: string
  readonly cluster: string | null
  readonly kafka: string
  readonly http: string | null
  readonly peer: string
  readonly rack: string | null
  readonly diskIncarnation: string
  readonly uptimeMs: number
  readonly memoryBytes: number
  readonly ready: boolean
  /** Why not, in a sentence; null when ready. */
  readonly waitingFor: string | null
  readonly disk: DiskStatus
  readonly counters: Counters
  readonly journal: JournalStatus
  readonly files: FilesStatus
  readonly shards: readonly ReplicaStatus[]
}

/** The journal's low-water mark, by state: what no checkpoint covers yet must stay. */
export interface JournalStatus {
  /** Closed segments that are still there. */
  readonly segments: number
  /** A shard that needs the oldest of them; null: nobody, it goes with the next checkpoint. */
  readonly heldBy: number | null
}

/** What is known to be wrong with a node's files, and how far the scrubber is. Counts since the start of the node. */
export interface FilesStatus {
  /** Damaged ranges of logs, and those of them that were repaired from other replicas. */
  readonly found: number
  readonly repaired: number
  /** Small files, and indexes, that the node wrote again from what it knew. */
  readonly rewritten: number
  /** Not repaired yet; reads of them are answered with an error that asks to try again. */
  readonly damages: readonly {
    readonly shard: number
    readonly file: string
    readonly position: number
    readonly reason: string
    /** Which entries nobody could give so far, and why; null: it is being tried. */
    readonly unrepaired: string | null
  }[]
  readonly scrub: {
    /** 0: files are not scrubbed. */
    readonly bytesPerSecond: number
    readonly bytes: number
    readonly passes: number
  }
}

/** What a log keeps, and why it starts where it does. */
export interface KeptStatus {
  /** In files and buffers of the node; null when not known yet. */
  readonly storedBytes: number | null
  /** What moved the start last: retention.ms, retention.bytes, request, snapshot; null: nothing since the node was started. */
  readonly startMovedBy: string | null
  /** What keeps it from starting higher, in a line for people; null where another node decides that. */
  readonly startHeldBy: string | null
}

/** Of the file system that holds the data directory. */
export interface DiskStatus {
  /** Null where the file system does not say. */
  readonly freeBytes: number | null
  readonly totalBytes: number | null
  /** With less than this free, records are refused. */
  readonly reserveBytes: number
  /** Why records are refused, in a sentence; null when they are not. */
  readonly low: string | null
  /** For how long a journal write has not come back, once that is too long; 0: the disk answers. */
  readonly stuckMs: number
}

/** Since the start of the node. Rates are differences of two looks. */
export interface Counters {
  readonly recordsIn: number
  readonly bytesIn: number
  readonly recordsOut: number
  readonly bytesOut: number
  readonly journalSyncs: number
  readonly journalBytes: number
  readonly kafkaConnections: number
}

/** One replica as its own node sees it. */
export interface ReplicaStatus extends KeptStatus {
  readonly shard: number
  readonly topic: string | null
  readonly partition: number | null
  readonly role: 'leader' | 'follower' | 'candidate' | 'learner'
  /** It has lost a part of its log, and has no vote until it has it again. */
  readonly recovering: boolean
  readonly term: number
  readonly leader: number | null
  /** The same as `startHeldBy` for programs: names of settings, pin, follower, snapshot, compaction, segment-in-use, unlimited. */
  readonly startHoldKinds: readonly string[]
  /** Low-water mark: the log starts here. */
  readonly startOffset: number
  /** High-water mark: nothing at or above is shown. */
  readonly highWatermark: number
  readonly endOffset: number
  readonly commitIndex: number
  readonly lastIndex: number
  /** Highest index in this node's synced journal. */
  readonly journaledIndex: number
}

export interface ClusterStatus {
  readonly cluster: string | null
  /** Who decides about topics and placement. */
  readonly controller: number | null
  readonly nodes: readonly ClusterNodeStatus[]
  readonly shards: readonly ShardStatus[]
}

export interface ClusterNodeStatus {
  readonly node: number
  readonly up: boolean
  readonly kafka: string
  readonly http: string | null
  readonly peer: string
  readonly rack: string | null
  /** Null when the node did not answer. */
  readonly uptimeMs: number | null
  readonly memoryBytes: number | null
  readonly disk: DiskStatus | null
  readonly leads: number
  readonly replicas: number
  readonly counters: Counters | null
  readonly journal: JournalStatus | null
  readonly files: FilesStatus | null
}

/** Marks and what is kept as its leader has it. */
export interface ShardStatus extends KeptStatus {
  readonly shard: number
  /** Null for the cluster's own metadata. */
  readonly topic: string | null
  readonly partition: number | null
  readonly leader: number | null
  readonly term: number
  readonly startOffset: number
  readonly highWatermark: number
  readonly endOffset: number
  readonly replicas: readonly {
    readonly node: number
    readonly role: ReplicaStatus['role'] | 'unknown'
    readonly journaledIndex: number | null
    readonly commitIndex: number | null
    /** Entries that the leader has and this replica's journal does not; null when unknown. */
    readonly lag: number | null
  }[]
}

/** What the metadata says of a node, and whether it is in contact. */
export interface KnownNode {
  readonly id: number
  readonly up: boolean
  readonly kafka: string
  readonly http: string | null
  readonly peer: string
  readonly rack: string | null
}

/** Where the replicas of a shard are meant to be. */
export interface Placement {
  readonly shard: number
  readonly topic: string | null
  readonly partition: number | null
  readonly replicas: readonly number[]
}

/**
 * The cluster as one picture, from what each node says of itself. The reports are of slightly different moments and may
 * disagree: the higher term is right, and within a term whoever leads, then whoever knows the leader (Raft §5.1, §5.2: one
 * leader per term at the most). Marks only rise, so the highest that anybody reports is the newest.
 */
export function mergeStatus(
  known: readonly KnownNode[],
  reports: readonly NodeStatus[],
  placements: readonly Placement[],
  controller: number | null,
): ClusterStatus {
  const byNode = new Map(reports.map((report) => [report.node, report]))
  const replicas = new Map(
    reports.map((report) => [report.node, new Map(report.shards.map((shard) => [shard.shard, shard]))]),
  )
  const down = new Set(known.filter((node) => !node.up).map((node) => node.id))
  const shards = placements.map((placement) => mergeShard(placement, replicas, down))
  const leads = tally(shards.flatMap(({ leader }) => (leader === null ? [] : [leader])))
  const placed = tally(placements.flatMap((placement) => placement.replicas))
  return {
    cluster: reports.find((report) => report.cluster !== null)?.cluster ?? null,
    controller,
    nodes: known.map((node) => {
      const report = byNode.get(node.id)
      return {
        node: node.id,
        up: node.up,
        kafka: node.kafka,
        http: node.http,
        peer: node.peer,
        rack: node.rack,
        uptimeMs: report?.uptimeMs ?? null,
        memoryBytes: report?.memoryBytes ?? null,
        disk: report?.disk ?? null,
        leads: leads.get(node.id) ?? 0,
        replicas: placed.get(node.id) ?? 0,
        counters: report?.counters ?? null,
        journal: report?.journal ?? null,
        files: report?.files ?? null,
      }
    }),
    shards,
  }
}

function mergeShard(
  placement: Placement,
  replicas: ReadonlyMap<number, ReadonlyMap<number, ReplicaStatus>>,
  down: ReadonlySet<number>,
): ShardStatus {
  const seen = placement.replicas.map((node) => ({ node, status: replicas.get(node)?.get(placement.shard) }))
  let best: ReplicaStatus | undefined
  for (const { status } of seen) {
    if (status !== undefined && (best === undefined || knowsMore(status, best))) best = status
  }
  // Its followers name a leader until their election timeout has passed, also when it is known to be gone.
  const leader = best === undefined || best.leader === null || down.has(best.leader) ? null : best.leader
  const head = seen.find(({ node }) => node === leader)?.status
  const highest = (mark: (status: ReplicaStatus) => number): number =>
    seen.reduce((most, { status }) => (status === undefined ? most : Math.max(most, mark(status))), 0)
  const highWatermark = highest((status) => status.highWatermark)
  return {
    shard: placement.shard,
    topic: placement.topic,
    partition: placement.partition,
    leader,
    term: best?.term ?? 0,
    startOffset: highest((status) => status.startOffset),
    highWatermark,
    // A lagging follower's end, where nobody better answers, may be below what is committed.
    endOffset: Math.max(highWatermark, (head ?? best)?.endOffset ?? 0),
    storedBytes: head?.storedBytes ?? null,
    startMovedBy: head?.startMovedBy ?? null,
    startHeldBy: head?.startHeldBy ?? null,
    replicas: seen.map(({ node, status }) => ({
      node,
      role: status?.role ?? 'unknown',
      journaledIndex: status?.journaledIndex ?? null,
      commitIndex: status?.commitIndex ?? null,
      lag: status === undefined || head === undefined ? null : Math.max(0, head.lastIndex - status.journaledIndex),
    })),
  }
}

function knowsMore(status: ReplicaStatus, than: ReplicaStatus): boolean {
  if (status.term !== than.term) return status.term > than.term
  const rank = ({ role, leader }: ReplicaStatus): number => (role === 'leader' ? 2 : leader === null ? 0 : 1)
  return rank(status) > rank(than)
}

function tally(nodes: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>()
  for (const node of nodes) counts.set(node, (counts.get(node) ?? 0) + 1)
  return counts
}
