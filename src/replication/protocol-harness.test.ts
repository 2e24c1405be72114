/**
 * A handful of replicas of one shard in a test tube: disks whose writes complete when told to, links that deliver when told to,
 * a clock that moves when told to. Stories (`testdata/*.txt`) are told to it in text; random walks drive it by method.
 *
 * It is faithful where the protocol leans on the world. A disk completes writes in order, and in its journal a later entry
 * replaces everything from its index on. A link has two connections, control and data, each in order and neither in order with
 * the other. A session that ends takes what was in flight with it, and a heartbeat's reply stands behind what its sender sent
 * before on the control connection.
 */
import assert from 'node:assert/strict'
import { type Entry, EntryKind, encodeEntry, nextOffsetAfter, payloadOf } from '../storage/index.ts'
import type { Contact } from './contact.ts'
import { CutReason, decodeCut, encodeCut, type LogStart } from './cut.ts'
import type { RaftEvent } from './events.ts'
import type { Message, NodeId } from './messages.ts'
import { Raft, type Ready } from './raft.ts'
import type { CatchUpRead, RaftOptions } from './raft-core.ts'
import { ORIGIN, RaftLog } from './raft-log.ts'
import type { Snapshot } from './snapshot.ts'

export const SHARD = 16
export const ELECTION_TIMEOUT_MS = 1000

export interface Write {
  readonly sequence: number
  readonly hardState: { readonly term: number; readonly vote: NodeId } | null
  entries: readonly Entry[]
}

/** A snapshot on its way to the disk, and the writes that were handed out before it: their entries do not count beside it. */
export interface Install {
  readonly snapshot: Snapshot
  readonly before: readonly Write[]
  /** Checkpoints carry the hard state as it is in memory: that binds the node earlier, and never harms. */
  readonly hardState: { readonly term: number; readonly vote: NodeId }
}

/** What a power loss spares. */
export interface Disk {
  term: number
  vote: NodeId
  /** By index − 1. There are none below an installed snapshot. */
  entries: Entry[]
  /** A checkpoint: what a start begins with. */
  base?: { readonly snapshot: Snapshot; readonly start: LogStart }
}

export interface Flight {
  readonly from: NodeId
  readonly to: NodeId
  readonly message: Message
}

export interface HarnessNode {
  readonly id: NodeId
  raft: Raft
  up: boolean
  disk: Disk
  /** Handed out and not completed, oldest first. */
  writes: Write[]
  installs: Install[]
  /** The shard log: committed entries, by index − 1. None below an installed snapshot. */
  committed: Entry[]
  /** The machine: what the committed entries say, in order. */
  state: string[]
  applied: { index: number; term: number; crc: number; nextOffset: number }
  reads: CatchUpRead[]
  heardAt: Map<NodeId, number>
  answeredAt: Map<NodeId, number>
}

export interface HarnessOptions {
  readonly voters: readonly NodeId[]
  readonly learners?: readonly NodeId[]
  readonly raft?: Partial<RaftOptions>
  readonly below?: (bound: number) => number
  readonly chance?: (site: string) => boolean
  /** Told of everything, in order. */
  readonly observe?: (line: string) => void
  readonly onReady?: (node: HarnessNode, ready: Ready) => void
}

export class ProtocolHarness {
  readonly nodes = new Map<NodeId, HarnessNode>()
  readonly options: HarnessOptions
  /** In order per (from, to, connection). */
  flights: Flight[] = []
  now = 0
  readonly #sessions = new Set<string>()
  readonly #observe: (line: string) => void

  constructor(options: HarnessOptions) {
    this.options = options
    this.#observe = options.observe ?? (() => {})
  }

  /** All sessions to those that are there already come up with it. */
  add(id: NodeId, disk: Disk = { term: 0, vote: 0, entries: [] }): HarnessNode {
    const fresh = {
      id,
      up: true,
      disk,
      writes: [],
      installs: [],
      committed: [],
      state: [],
      applied: NOTHING_APPLIED,
      reads: [],
      heardAt: new Map(),
      answeredAt: new Map(),
    }
    const node: HarnessNode = { ...fresh, raft: undefined as unknown as Raft }
    node.raft = this.#boot(node)
    this.nodes.set(id, node)
    this.#connectAll(node)
    return node
  }

  node(id: NodeId): HarnessNode {
    const node = this.nodes.get(id)
    if (node === undefined) throw new Error(`no node ${id}`)
    return node
  }

  running(): HarnessNode[] {
    return [...this.nodes.values()].filter((node) => node.up)
  }

  /** Does something to a running node and hands out what follows from it. */
  act(id: NodeId, action: (raft: Raft) => void): void {
    const node = this.node(id)
    if (!node.up) throw new Error(`node ${id} is down`)
    action(node.raft)
    this.#pump(node)
  }

  /** Delivers one message in flight, which must be the first of its connection. */
  deliver(flight: Flight): void {
    this.deliverTogether([flight])
  }

  /** Messages to one node that come in one turn: it has heard them all before it says anything. */
  deliverTogether(flights: readonly Flight[]): void {
    const to = flights[0]?.to ?? 0
    for (const flight of flights) {
      const at = this.flights.indexOf(flight)
      assert(at >= 0 && flight.to === to, 'not in flight')
      this.flights.splice(at, 1)
    }
    if (this.nodes.get(to)?.up !== true) return
    this.act(to, (raft) => {
      for (const { from, message } of flights) raft.step(from, message)
    })
  }

  /** A message of those that the protocol may see twice is put in line again. */
  echo(below: (bound: number) => number): void {
    const types = ['append', 'append-reply', 'snapshot', 'snapshot-reply']
    const repeatable = this.flights.filter(({ message }) => types.includes(message.type))
    if (repeatable.length > 0) this.repeat(repeatable[below(repeatable.length)]!)
  }

  /** Behind what the message's connection has in flight. */
  repeat(flight: Flight): void {
    this.flights.push({ ...flight })
  }

  /** The first message of every connection. */
  deliverable(): Flight[] {
    const seen = new Set<string>()
    return this.flights.filter((flight) => {
      const key = `${flight.from}>${flight.to}${isControl(flight.message)}`
      if (seen.has(key)) return false
      seen.add(key)
      return true
    })
  }

  /** The oldest write of the node reaches the platter. */
  sync(id: NodeId): void {
    const node = this.node(id)
    const write = node.writes.shift()
    if (write === undefined) throw new Error(`node ${id} has nothing to write`)
    applyWrite(node.disk, write)
    this.act(id, (raft) => raft.persisted(write.sequence))
  }

  /** The oldest snapshot that the node was given to install is on its disk, in place of what was there. */
  install(id: NodeId): void {
    const node = this.node(id)
    const install = node.installs.shift()
    if (install === undefined) throw new Error(`node ${id} installs nothing`)
    const { snapshot, before, hardState } = install
    takeHardState(node.disk, hardState)
    const { index, nextOffset, epochs } = snapshot
    for (const write of before) write.entries = []
    const kept = { ...snapshot, epochs: epochs.slice(-1) }
    node.disk.base = { snapshot: kept, start: { index: index + 1, offset: nextOffset } }
    node.disk.entries = []
    node.disk.entries.length = index
    node.committed = []
    node.committed.length = index
    applySnapshot(node, snapshot)
    this.#observe(`${id}: installed the snapshot at ${index}`)
    this.act(id, (raft) => raft.snapshotInstalled())
  }

  /** What the machine has applied becomes what the next start begins with. */
  checkpoint(id: NodeId): void {
    const node = this.node(id)
    const { startIndex: index, startOffset: offset } = node.raft.log
    if (node.raft.installing || node.applied.index === 0) return
    // Storage waits for the journal to hold what a checkpoint stands for.
    if (node.writes.some(({ entries }) => entries.some(({ index }) => index <= node.applied.index))) return
    takeHardState(node.disk, node.raft)
    node.disk.base = { snapshot: snapshotOf(node), start: { index, offset } }
  }

  proposeCut(id: NodeId, index: number): void {
    const { raft, committed } = this.node(id)
    const offset = committed[index - 1]?.firstOffset ?? raft.log.endOffset
    const payload = [encodeCut({ index, offset }, CutReason.snapshot)]
    const stamp = raft.log.lastIndex + 1
    this.act(id, (leader) => void leader.propose({ kind: EntryKind.cut, recordCount: 0, payload, stamp }))
  }

  isConnected(a: NodeId, b: NodeId): boolean {
    return this.#sessions.has(pair(a, b))
  }

  disconnect(a: NodeId, b: NodeId): void {
    if (!this.#sessions.delete(pair(a, b))) return
    this.flights = this.flights.filter(({ from, to }) => pair(from, to) !== pair(a, b))
    for (const [id, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const node = this.node(id)
      node.heardAt.delete(other)
      node.answeredAt.delete(other)
      if (node.up) this.act(id, (raft) => raft.peerDown(other))
    }
  }

  connect(a: NodeId, b: NodeId): void {
    if (this.isConnected(a, b) || !this.node(a).up || !this.node(b).up) return
    this.#sessions.add(pair(a, b))
    // A handshake shows that the other is there.
    this.node(a).heardAt.set(b, this.now)
    this.node(b).heardAt.set(a, this.now)
    this.act(a, (raft) => raft.peerUp(b))
    this.act(b, (raft) => raft.peerUp(a))
  }

  /** Whatever had not reached the platter is gone. */
  crash(id: NodeId): void {
    const node = this.node(id)
    node.up = false
    node.writes = []
    node.installs = []
    node.reads = []
    for (const other of this.nodes.keys()) if (other !== id) this.disconnect(id, other)
  }

  restart(id: NodeId): void {
    const node = this.node(id)
    assert(!node.up, `node ${id} is up`)
    node.up = true
    const { base } = node.disk
    node.committed.length = base?.snapshot.index ?? 0
    node.state = []
    node.applied = NOTHING_APPLIED
    if (base !== undefined) applySnapshot(node, base.snapshot)
    node.raft = this.#boot(node)
    this.#connectAll(node)
  }

  /** `from` beats, `to` answers. The answer stands behind what `to` sent on the control connection before. */
  beat(from: NodeId, to: NodeId): void {
    if (!this.isConnected(from, to)) return
    this.node(to).heardAt.set(from, this.now)
    for (const flight of this.flights.filter((f) => f.from === to && f.to === from && isControl(f.message)))
      this.deliver(flight)
    if (!this.isConnected(from, to)) return
    this.node(from).answeredAt.set(to, this.now)
    this.node(from).heardAt.set(to, this.now)
  }

  /** The shard log answers the oldest read. */
  answerRead(id: NodeId, maxBytes: number): void {
    const node = this.node(id)
    const read = node.reads.shift()
    if (read === undefined) throw new Error(`node ${id} reads nothing`)
    const entries: Entry[] = []
    let bytes = 0
    for (let at = read.fromIndex - 1; at < node.committed.length && at in node.committed; at++) {
      bytes += node.committed[at]!.bytes.length
      if (entries.length > 0 && bytes > maxBytes) break
      entries.push(node.committed[at]!)
    }
    this.#observe(`${id}: read ${describeEntries(entries)} for node ${read.peer}`)
    this.act(id, (raft) => raft.entriesRead(read.peer, entries))
  }

  #connectAll(node: HarnessNode): void {
    for (const other of this.running()) if (other !== node) this.connect(node.id, other.id)
  }

  #boot(node: HarnessNode): Raft {
    const { disk } = node
    const contact: Contact = {
      alive: (peer) =>
        this.isConnected(node.id, peer) &&
        this.now - (node.heardAt.get(peer) ?? Number.NEGATIVE_INFINITY) < ELECTION_TIMEOUT_MS,
      answeredAt: (peer) =>
        this.isConnected(node.id, peer)
          ? (node.answeredAt.get(peer) ?? Number.NEGATIVE_INFINITY)
          : Number.NEGATIVE_INFINITY,
    }
    const below = this.options.below ?? (() => 0)
    const raft = new Raft(
      {
        shard: SHARD,
        self: node.id,
        voters: this.options.voters,
        learners: this.options.learners ?? [],
        electionTicksMin: 10,
        electionTicksMax: 20,
        electionTimeoutMs: ELECTION_TIMEOUT_MS,
        maxInflightBytes: 1 << 20,
        maxAppendBytes: 1 << 16,
        snapshotChunkBytes: 1 << 16,
        ...this.options.raft,
      },
      {
        term: disk.term,
        vote: disk.vote,
        commit: disk.base?.snapshot.index ?? 0,
        log: recoveredLog(disk),
      },
      {
        contact,
        random: { below, bytes: (length) => Buffer.alloc(length), chance: this.options.chance ?? (() => false) },
        now: () => this.now,
        stamp: () => node.raft.log.lastIndex + 1,
        trace: (event) => this.#trace(node.id, event),
      },
    )
    raft.stateSaysAll()
    return raft
  }

  #pump(node: HarnessNode): void {
    while (node.raft.hasReady()) {
      const ready = node.raft.ready()
      const { id } = node
      if (ready.persistSequence !== 0) {
        const { hardState, entries, persistSequence } = ready
        node.writes.push({ sequence: persistSequence, hardState, entries })
        const state = hardState === null ? '' : ` term=${hardState.term} vote=${hardState.vote}`
        this.#observe(
          `${id}: write #${persistSequence}${state}${entries.length > 0 ? ` ${describeEntries(entries)}` : ''}`,
        )
      }
      for (const { to, message } of ready.messages) {
        const lost = this.isConnected(id, to) ? '' : ' (no session)'
        this.#observe(`${id}->${to}: ${describeMessage(message)}${lost}`)
        if (lost === '') this.flights.push({ from: id, to, message })
      }
      for (const entry of ready.committed) this.#apply(node, entry)
      if (ready.committed.length > 0) this.#observe(`${id}: commit ${describeEntries(ready.committed)}`)
      for (const read of ready.reads) {
        this.#observe(`${id}: wants to read from ${read.fromIndex} for node ${read.peer}`)
        node.reads.push(read)
      }
      if (ready.snapshotWanted) {
        this.#observe(`${id}: takes a snapshot at ${node.applied.index}`)
        node.raft.snapshotTaken(snapshotOf(node))
      }
      if (ready.install !== null) {
        this.#observe(`${id}: is to install the snapshot at ${ready.install.index}`)
        const { term, vote } = node.raft
        node.installs.push({ snapshot: ready.install, before: [...node.writes], hardState: { term, vote } })
      }
      this.options.onReady?.(node, ready)
    }
  }

  #apply(node: HarnessNode, entry: Entry): void {
    assert.equal(entry.index, node.applied.index + 1, `node ${node.id} is given entry ${entry.index} to apply`)
    node.committed[entry.index - 1] = entry
    node.applied = { index: entry.index, term: entry.term, crc: entry.crc, nextOffset: nextOffsetAfter(entry) }
    if (entry.kind === EntryKind.data) node.state.push(payloadOf(entry).toString())
    const start = entry.kind === EntryKind.cut ? decodeCut(payloadOf(entry)) : null
    if (start !== null && start.index > node.raft.log.startIndex) {
      node.raft.cutTo(start)
      this.#observe(`${node.id}: the log starts at ${start.index}`)
    }
  }

  #trace(id: NodeId, event: RaftEvent): void {
    switch (event.type) {
      case 'standing-changed':
        this.#observe(
          `${id}: ${event.role} in term ${event.term}${event.leader === null ? '' : `, leader ${event.leader}`}`,
        )
        break
      case 'campaign-started':
        this.#observe(`${id}: campaigns for term ${event.term} (${event.phase})`)
        break
      case 'leader-stepped-down':
        this.#observe(`${id}: steps down from term ${event.term} (${event.reason})`)
        break
      case 'log-truncated':
        this.#observe(`${id}: truncates ${event.fromIndex}..${event.lastIndex}`)
        break
      case 'replica-suspect':
        this.#observe(`${id}: ${event.error.code}: ${event.error.message}`)
        break
    }
  }
}

/** Appends and snapshots travel on the data connection, everything else on the control connection. */
export function isControl(message: Message): boolean {
  return message.type !== 'append' && message.type !== 'snapshot'
}

const NOTHING_APPLIED = { index: 0, term: 0, crc: 0, nextOffset: 0 }
const NO_CONFIGURATION = Buffer.alloc(0)

function snapshotOf({ applied, raft, state }: HarnessNode): Snapshot {
  const { index, term: entryTerm, crc, nextOffset } = applied
  const epochs = raft.log.epochs.filter(({ firstIndex }) => firstIndex <= index)
  const bytes = Buffer.from(JSON.stringify(state))
  const place = { index, entryTerm, crc, nextOffset, stamp: index }
  return { ...place, epochs, configuration: NO_CONFIGURATION, cleanedFrom: null, state: bytes }
}

function applySnapshot(node: HarnessNode, { index, entryTerm: term, crc, nextOffset, state }: Snapshot): void {
  node.applied = { index, term, crc, nextOffset }
  node.state = JSON.parse(state.toString())
}

function recoveredLog({ base, entries }: Disk): RaftLog {
  if (base === undefined) return new RaftLog({ shard: SHARD, anchor: ORIGIN, epochs: [], entries })
  const { index, entryTerm: term, crc, nextOffset, epochs } = base.snapshot
  const anchor = { index, term, crc, nextOffset }
  return new RaftLog({ shard: SHARD, anchor, epochs, entries: entries.slice(index), start: base.start })
}

function pair(a: NodeId, b: NodeId): string {
  return a < b ? `${a}-${b}` : `${b}-${a}`
}

function takeHardState(disk: Disk, { term, vote }: { readonly term: number; readonly vote: NodeId }): void {
  if (term < disk.term || (term === disk.term && vote === 0)) return
  disk.term = term
  disk.vote = vote
}

/** In the journal, a later entry replaces everything from its index on. */
function applyWrite(disk: Disk, write: Write): void {
  if (write.hardState !== null) takeHardState(disk, write.hardState)
  for (const entry of write.entries) {
    disk.entries.length = entry.index - 1
    disk.entries.push(entry)
  }
}

/** A disk whose log has entries of these terms. Two disks with the same terms hold the same bytes. */
export function diskWithTerms(terms: readonly number[], term: number): Disk {
  const entries: Entry[] = []
  for (const [i, entryTerm] of terms.entries()) {
    const before = entries.at(-1)
    entries.push(
      encodeEntry({
        kind: EntryKind.data,
        shard: SHARD,
        term: entryTerm,
        index: i + 1,
        stamp: i + 1,
        firstOffset: before === undefined ? 0 : nextOffsetAfter(before),
        recordCount: 1,
        previousCrc: before?.crc ?? 0,
        payload: [Buffer.from(`old ${i + 1}`)],
      }),
    )
  }
  return { term, vote: 0, entries }
}

/** index/term and what is in it. */
export function describeEntry(entry: Entry): string {
  const { index, term, kind } = entry
  if (kind === EntryKind.leadership) return `${index}/${term} leadership`
  if (kind === EntryKind.cut) return `${index}/${term} cut to ${decodeCut(payloadOf(entry))?.index}`
  return `${index}/${term} "${payloadOf(entry)}"`
}

export function describeEntries(entries: readonly Entry[]): string {
  return `[${entries
    .filter(() => true) // skips what is below a snapshot
    .map(describeEntry)
    .join(', ')}]`
}

export function describeMessage(message: Message): string {
  const { type, term } = message
  const head = `${type} term=${term}`
  switch (type) {
    case 'pre-vote':
      return `${head} log=${message.lastIndex}/${message.lastTerm}`
    case 'vote':
      return `${head} log=${message.lastIndex}/${message.lastTerm}${message.transfer ? ' transfer' : ''}`
    case 'pre-vote-reply':
    case 'vote-reply':
      return `${head} ${message.granted ? 'yes' : 'no'}`
    case 'append':
      return `${head} after=${message.previousIndex}/${message.previousTerm} commit=${message.commit} ${describeEntries(message.entries)}`
    case 'append-reply':
      if (message.rejected !== null) {
        const { previousIndex, hintIndex, hintTerm } = message.rejected
        return `${head} rejected after=${previousIndex} hint=${hintIndex}/${hintTerm}`
      }
      return `${head} received=${message.received} journaled=${message.journaled}`
    case 'snapshot': {
      const { index, entryTerm, totalBytes } = message.head
      return `${head} of=${index}/${entryTerm} bytes=${message.at}+${message.chunk.length}/${totalBytes}`
    }
    case 'snapshot-reply':
      return `${head} of=${message.index} received=${message.received}`
    default:
      return head
  }
}
