/**
 * All the shards of one node, driven together: one event-loop turn is the unit of batching.
 *
 * Whatever happens in a turn (messages from peers, proposals from gateways, a finished fsync) only marks its shard. At the end
 * of the turn every marked shard is asked once; what they all want written becomes one append to the journal (so the number
 * of fdatasyncs does not grow with shards or clients), what they want sent becomes one frame per peer.
 *
 * Costs grow with work: an idle shard is in no list. Only shards without a live leader tick, and check-quorum looks at shards
 * only when some peer's contact has changed between fresh and stale.
 */
import type { Clock, Timer } from '../platform/index.ts'
import { assert, must } from '../stdx/index.ts'
import type { CleanedPart, RecoveredShard, ShardCheckpoint, StorageError } from '../storage/index.ts'
import { areQuorum, type Disks, refusalOf, WELL } from './disks.ts'
import type { HostCollaborators, HostOptions, ShardSpec } from './host-options.ts'
import type { Message, NodeId, ShardId } from './messages.ts'
import { Raft } from './raft.ts'
import type { Allowance } from './raft-core.ts'
import { RaftLog } from './raft-log.ts'
import { Replica } from './replica.ts'
import type { JournalBatch } from './replica-options.ts'
import type { WireEvents } from './wire.ts'

const EARLY_SHARDS_MAX = 4096
const EARLY_MESSAGES_MAX = 8
/** A read that found no file, or no memory, left is tried again so much later. */
const READ_AGAIN_AFTER_MS = 1000

export class ReplicationHost implements WireEvents {
  readonly #options: HostOptions
  readonly #with: HostCollaborators
  readonly #clock: Clock
  readonly #disks: Disks
  readonly #replicas = new Map<ShardId, Replica>()
  readonly #peers = new Set<NodeId>()
  /**
   * Messages for shards that this node is about to learn of: the metadata entry that creates them is on its way here, and the
   * preferred leader, which had it first, campaigns already. Bounded; whoever is dropped is probed again by the leader.
   */
  readonly #early = new Map<ShardId, { readonly from: NodeId; readonly message: Message }[]>()
  #turn: Replica[] = []
  #turnPlanned = false
  readonly #awaitingRoom = new Set<Replica>()
  /** Who was sent no entries, because it takes nothing. */
  readonly #withheldFrom = new Set<NodeId>()
  /** How many reads are under way for a follower that is behind. */
  readonly #reads = new Map<NodeId, number>()
  readonly #ticking = new Set<Replica>()
  #ticker: Timer | null = null
  /** Which peers were fresh when quorums were last checked. */
  #freshPeers = ''
  #resigning = false
  #stopped = false

  constructor(options: HostOptions, collaborators: HostCollaborators) {
    this.#options = options
    this.#with = collaborators
    this.#clock = collaborators.platform.clock
    this.#disks = collaborators.disks ?? WELL
    collaborators.storage.setCheckpointSource({
      activeShards: () => this.#activeShards(),
      capture: (shard) => this.#capture(shard),
      tail: (shard) => this.#replicas.get(shard)?.uncommittedTail() ?? [],
    })
  }

  #install(replica: Replica, checkpoint: ShardCheckpoint, done: () => void): void {
    // Its shard may have been removed meanwhile.
    const isWanted = (): boolean => !this.#stopped && this.#replicas.get(replica.id) === replica
    const install = (cleaned: CleanedPart | null): void => {
      const installed = (error: StorageError | null): void => {
        if (!isWanted()) return
        if (error === null) done()
        else this.#with.fatal(error)
      }
      if (isWanted()) this.#with.storage.installSnapshot(checkpoint, installed, cleaned)
    }
    const { shard, index, nextOffset: offset, startOffset } = checkpoint
    if (startOffset === offset) return install(null)
    const { fetchCleaned } = this.#with
    assert(fetchCleaned !== undefined, 'a compacted log where nobody fetches what compaction has left')
    fetchCleaned({ shard, floor: { index: index + 1, offset }, startOffset }, isWanted, install)
  }

  /** Brings the shard up from what was recovered, or empty. */
  open(spec: ShardSpec): Replica {
    const { storage } = this.#with
    const recovered = storage.recovered.get(spec.shard) ?? null
    storage.recovered.delete(spec.shard)
    const raft = this.#raft(spec, recovered)
    const replica: Replica = new Replica(
      {
        shard: spec.shard,
        self: this.#options.self,
        uncommittedBytesMax: this.#options.uncommittedBytesMax,
        catchUpBytes: this.#options.catchUpBytes,
        tailCacheBytes: this.#tailShare(),
        cut: { everyBytes: this.#options.snapshotEveryBytes, keepEntries: this.#options.snapshotKeepEntries },
        stateSumEvery: this.#options.stateSumEvery,
        baseOffset: spec.origin?.baseOffset ?? 0,
      },
      recovered,
      {
        raft,
        shardLog: storage.openShardLog(spec.shard),
        lamport: this.#with.lamport,
        wire: this.#with.wire,
        trace: this.#with.trace,
        schedule: this.#schedule,
        standingChanged: (changed, standing) => this.#with.standingChanged(changed.id, standing),
        nodeHasRoom: () => this.#hasRoom(),
        refusal: ({ raft: { voters } }) => refusalOf(voters, this.#disks, this.#isReached),
        awaitsRoom: (waiting) => this.#awaitingRoom.add(waiting),
        chance: (site) => this.#with.platform.random.chance(site),
        storageFailed: (error) => this.#with.fatal(error),
        readBegun: (peer) => this.#reads.set(peer, (this.#reads.get(peer) ?? 0) + 1),
        readEnded: (peer) => this.#reads.set(peer, must(this.#reads.get(peer), 'a read') - 1),
        logDamaged: (damaged) => this.#handOver(damaged),
        logUnread: (unread) => this.#readAgain(unread),
        recovered: () => this.#clock.endOfTurn(() => storage.checkpoint()),
        installSnapshot: (installing, checkpoint, done) => this.#install(installing, checkpoint, done),
      },
    )
    this.#replicas.set(spec.shard, replica)
    replica.attach(spec.machine(replica), recovered?.checkpoint ?? null)
    for (const peer of [...spec.voters, ...spec.learners]) {
      if (peer === this.#options.self) continue
      this.#peers.add(peer)
      if (this.#with.wire.isUp(peer)) raft.peerUp(peer)
    }
    // The preferred leader of a new shard need not wait for anybody's patience to end.
    if (recovered === null && spec.voters[0] === this.#options.self && !this.#disks.stuck) raft.campaign()
    for (const { from, message } of this.#early.get(spec.shard) ?? []) raft.step(from, message)
    this.#early.delete(spec.shard)
    return replica
  }

  #raft(spec: ShardSpec, recovered: RecoveredShard | null): Raft {
    const checkpoint = recovered?.checkpoint ?? null
    const { unknownFrom } = this.#with.storage
    const log = new RaftLog({
      shard: spec.shard,
      anchor:
        checkpoint === null
          ? { index: 0, term: 0, crc: 0, nextOffset: spec.origin?.baseOffset ?? 0 }
          : {
              index: checkpoint.index,
              term: checkpoint.entryTerm,
              crc: checkpoint.crc,
              nextOffset: checkpoint.nextOffset,
            },
      epochs: checkpoint?.epochs ?? [],
      entries: recovered?.entries ?? [],
      start:
        checkpoint === null
          ? { index: 1, offset: spec.origin?.startOffset ?? 0 }
          : { index: checkpoint.startIndex, offset: checkpoint.startOffset },
    })
    const {
      snapshotChunkBytes,
      electionTicksMin,
      electionTicksMax,
      inFlightBytesMax,
      appendBytesMax,
      electionTimeoutMs,
      self,
    } = this.#options
    return new Raft(
      {
        shard: spec.shard,
        self,
        voters: spec.voters,
        learners: spec.learners,
        electionTicksMin,
        electionTicksMax,
        maxInflightBytes: inFlightBytesMax,
        maxAppendBytes: appendBytesMax,
        snapshotChunkBytes,
        electionTimeoutMs,
      },
      {
        // What of a shard is lost together with all that was known of it: nobody can say that this replica never voted.
        term: recovered?.term ?? unknownFrom,
        vote: recovered?.vote ?? 0,
        commit: checkpoint?.index ?? 0,
        log,
        recovering: recovered?.recovering ?? unknownFrom > 0,
      },
      {
        contact: this.#with.contact,
        random: this.#with.platform.random,
        now: () => this.#clock.now(),
        stamp: () => this.#with.lamport.tick(),
        trace: this.#with.trace,
        allowance: (node) => this.#allowance(spec, node),
        mayRead: (node) => this.#mayRead(node),
      },
    )
  }

  /**
   * The last bytes of a disk are not for records that a quorum has elsewhere. The follower catches up when it has room. Nor is anything
   * to be queued without end for one that takes nothing: its session would be given up, with all that it says on it.
   */
  #allowance({ shard, voters }: ShardSpec, node: NodeId): Allowance {
    const disks = this.#disks
    if (!disks.allWell && disks.mayBeLow(node) && this.#replicas.get(shard)?.holdsRecords === true) {
      const isAble = (voter: NodeId): boolean => this.#isReached(voter) && disks.isWell(voter) && !disks.mayBeLow(voter)
      if (areQuorum(voters, isAble)) return 'nothing'
    }
    if (!this.#isCrowded(node)) return 'all'
    this.#withheldFrom.add(node)
    return 'little'
  }

  /** What is read will be queued: many shards that ask at once, for one that comes back, find nothing queued yet. */
  #mayRead(node: NodeId): boolean {
    const reads = this.#reads.get(node) ?? 0
    const { catchUpBytes, peerQueueBytesMax } = this.#options
    if (reads === 0 || this.#with.wire.queuedBytes(node) + reads * catchUpBytes < peerQueueBytesMax) return true
    this.#withheldFrom.add(node)
    return false
  }

  #isCrowded(node: NodeId): boolean {
    return this.#with.wire.queuedBytes(node) >= this.#options.peerQueueBytesMax
  }

  /** Whoever was sent nothing because it took nothing, and takes something again. */
  #sendOn(): void {
    let any = false
    for (const node of this.#withheldFrom) if (!this.#isCrowded(node)) any = this.#withheldFrom.delete(node)
    if (any) this.#wakeAll()
  }

  #wakeAll(): void {
    for (const replica of this.#replicas.values()) {
      replica.raft.wake()
      if (replica.raft.hasReady()) this.#schedule(replica)
    }
  }

  readonly #isReached = (node: NodeId): boolean => node === this.#options.self || this.#with.wire.isUp(node)

  /** The committed removal of the shard, an entry of `saidBy`, was applied: nothing of it is needed any more. */
  remove(shard: ShardId, saidBy: ShardId): void {
    const replica = this.#replicas.get(shard)
    if (replica === undefined) return
    this.#replicas.delete(shard)
    this.#ticking.delete(replica)
    // A connection that waits to be read on must not wait for a shard that is gone.
    if (this.#awaitingRoom.delete(replica)) replica.offerRoom()
    this.#with.storage.removeShard(shard, saidBy)
  }

  replica(shard: ShardId): Replica | undefined {
    return this.#replicas.get(shard)
  }

  replicas(): IterableIterator<Replica> {
    return this.#replicas.values()
  }

  message(from: NodeId, message: Message): void {
    const replica = this.#replicas.get(message.shard)
    if (replica === undefined) {
      this.#keepEarly(from, message)
      return
    }
    // Nodes that stop together would hand everything round among themselves.
    if ((this.#resigning || this.#disks.stuck) && message.type === 'campaign-now') return
    replica.raft.step(from, message)
    this.#schedule(replica)
  }

  #keepEarly(from: NodeId, message: Message): void {
    if (message.type === 'snapshot' || (message.type === 'append' && message.entries.length > 0)) return
    if (this.#with.platform.random.chance('replication/early-message-dropped')) return
    let early = this.#early.get(message.shard)
    if (early === undefined) {
      if (this.#early.size >= EARLY_SHARDS_MAX) this.#early.delete(must(this.#early.keys().next().value, 'oldest'))
      early = []
      this.#early.set(message.shard, early)
    }
    if (early.length < EARLY_MESSAGES_MAX) early.push({ from, message })
  }

  /** What was said in a session that is over is no news to a shard that opens later: its sender may have led then, and not since. */
  #forgetEarly(node: NodeId): void {
    for (const [shard, messages] of this.#early) {
      const left = messages.filter(({ from }) => from !== node)
      if (left.length === 0) this.#early.delete(shard)
      else this.#early.set(shard, left)
    }
  }

  peerUp(node: NodeId): void {
    for (const replica of this.#replicas.values()) {
      replica.raft.peerUp(node)
      if (replica.raft.hasReady()) this.#schedule(replica)
    }
    if (!this.#disks.allWell) this.disksChanged()
  }

  /** A closed session is evidence at once: the shards that this peer led are without a leader until they hear otherwise. */
  peerDown(node: NodeId): void {
    this.#forgetEarly(node)
    for (const replica of this.#replicas.values()) {
      replica.raft.peerDown(node)
      if (replica.raft.hasReady() || replica.raft.needsTick) this.#schedule(replica)
    }
    if (!this.#disks.allWell) this.disksChanged()
  }

  /** Some disk became low, stuck, or well again; or somebody who counted came or went while one is. */
  disksChanged(): void {
    this.#giveWay()
    this.#wakeAll()
  }

  /**
   * Where this node's disk does not answer, it leads nothing: nobody is to wait for it who can be served by others. Where it is
   * low, partitions go to those who can take records, if there are any; the rest it leads as before.
   */
  #giveWay(): void {
    const { stuck, low } = this.#disks
    if (!stuck && low === null) return
    for (const replica of this.#replicas.values()) {
      const { raft } = replica
      if (raft.role !== 'leader' || raft.voters.length === 1) continue
      if (stuck) raft.stepDown('disk-stuck')
      else if (replica.holdsRecords && raft.settled && raft.transferringTo === null) {
        const heir = raft.bestSuccessor((node) => this.#isReached(node) && this.#disks.isWell(node))
        if (heir === null) continue
        raft.transfer(heir)
      }
      this.#schedule(replica)
    }
  }

  contactTick(): void {
    this.#giveWay()
    const freshSince = this.#clock.now() - this.#options.electionTimeoutMs
    this.#offerRoom()
    this.#sendOn()
    let fresh = ''
    for (const peer of this.#peers) {
      fresh += this.#with.contact.answeredAt(peer) >= freshSince ? '1' : '0'
      fresh += this.#with.contact.alive(peer) ? '1' : '0'
    }
    if (fresh === this.#freshPeers) return
    this.#freshPeers = fresh
    for (const replica of this.#replicas.values()) {
      const { raft } = replica
      if (raft.role === 'leader') raft.checkQuorum()
      if (raft.hasReady() || raft.needsTick) this.#schedule(replica)
    }
  }

  transfer(shard: ShardId, to: NodeId): void {
    const replica = this.#replicas.get(shard)
    if (replica === undefined || replica.raft.role !== 'leader') return
    replica.raft.transfer(to)
    this.#schedule(replica)
  }

  /** Reads meet damage in its log: whoever follows it may have what it lacks. */
  #handOver(replica: Replica): void {
    const { raft } = replica
    if (this.#stopped || raft.role !== 'leader' || raft.transferringTo !== null) return
    const heir = raft.bestSuccessor((node) => this.#with.wire.isUp(node))
    if (heir === null) return
    raft.transfer(heir)
    this.#schedule(replica)
  }

  /** A follower that is behind waits for what could not be read. */
  #readAgain(replica: Replica): void {
    this.#clock.after(READ_AGAIN_AFTER_MS, () => {
      if (!this.#stopped && this.#replicas.get(replica.id) === replica) replica.logRepaired()
    })
  }

  /** Hands every leadership over to the follower that is furthest along. `done` when none is left, or after `patienceMs`. */
  resign(patienceMs: number, done: () => void): void {
    this.#resigning = true
    const deadline = this.#clock.now() + patienceMs
    const attempt = (): void => {
      let leading = 0
      for (const replica of this.#replicas.values()) {
        if (replica.raft.role !== 'leader') continue
        const well = (node: NodeId): boolean => this.#isReached(node) && this.#disks.isWell(node)
        const heir = replica.raft.bestSuccessor(well) ?? replica.raft.bestSuccessor(this.#isReached)
        if (heir === null) continue
        leading++
        replica.raft.transfer(heir)
        this.#schedule(replica)
      }
      if (leading === 0 || this.#clock.now() >= deadline) done()
      else this.#clock.after(20, attempt)
    }
    attempt()
  }

  stop(): void {
    this.#stopped = true
    this.#ticker?.cancel()
    this.#ticker = null
  }

  readonly #schedule = (replica: Replica): void => {
    if (replica.scheduled) return
    replica.scheduled = true
    this.#turn.push(replica)
    if (this.#turnPlanned) return
    this.#turnPlanned = true
    this.#clock.endOfTurn(this.#endOfTurn)
  }

  readonly #endOfTurn = (): void => {
    this.#turnPlanned = false
    if (this.#stopped) return
    const replicas = this.#turn
    this.#turn = []
    const journal: JournalBatch = { entries: [], persists: [], installs: [] }
    for (const replica of replicas) {
      replica.scheduled = false
      if (this.#replicas.get(replica.id) !== replica) continue
      replica.turn(journal)
      this.#tickIfNeeded(replica)
    }
    if (journal.entries.length > 0) this.#with.storage.append(journal.entries, () => this.#persisted(journal))
    else if (journal.persists.length > 0) this.#persisted(journal)
    for (const { replica, snapshot } of journal.installs) replica.install(snapshot)
    this.#with.endOfTurn()
    this.#offerRoom()
  }

  #offerRoom(): void {
    const hasRoom = this.#hasRoom()
    this.#with.holdAppends(!hasRoom)
    if (!hasRoom) return
    for (const replica of this.#awaitingRoom) {
      if (!replica.hasRoom) continue
      this.#awaitingRoom.delete(replica)
      replica.offerRoom()
    }
  }

  #persisted(journal: JournalBatch): void {
    for (const { replica, sequence } of journal.persists) {
      if (this.#replicas.get(replica.id) !== replica) continue
      replica.persisted(sequence)
    }
  }

  #tickIfNeeded(replica: Replica): void {
    if (!replica.raft.needsTick) {
      if (this.#ticking.delete(replica) && this.#ticking.size === 0) {
        this.#ticker?.cancel()
        this.#ticker = null
      }
      return
    }
    this.#ticking.add(replica)
    this.#ticker ??= this.#clock.every(this.#options.tickMs, () => {
      // Nobody campaigns whose votes would not come to the disk. Leaders in doubt are none for long: they give way.
      if (this.#disks.stuck) return
      for (const ticking of this.#ticking) {
        ticking.raft.tick()
        this.#schedule(ticking)
      }
    })
  }

  #tailShare(): number {
    return Math.max(64 << 10, Math.floor(this.#options.tailCacheBytes / Math.max(1, this.#replicas.size)))
  }

  #hasRoom(): boolean {
    const { storage } = this.#with
    return storage.journalQueuedBytes < this.#options.journalQueueBytesMax && !storage.isBehind
  }

  *#activeShards(): Generator<ShardId> {
    for (const replica of this.#replicas.values()) {
      if (replica.changedSinceCheckpoint) yield replica.id
    }
  }

  #capture(shard: ShardId): ShardCheckpoint {
    const replica = must(this.#replicas.get(shard), `replica of shard ${shard}`)
    // The checkpoint is also the moment to share the cache of tails anew among the shards that have one.
    replica.trim(this.#tailShare())
    return replica.checkpoint()
  }
}
