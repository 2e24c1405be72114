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
import type { RaftEvent } from './events.ts'
import type { Message, NodeId } from './messages.ts'
import { Raft, type Ready } from './raft.ts'
import type { CatchUpRead, RaftOptions } from './raft-core.ts'
import { ORIGIN, RaftLog } from './raft-log.ts'

export const SHARD = 16
export const ELECTION_TIMEOUT_MS = 1000

export interface Write {
  readonly sequence: number
  readonly hardState: { readonly term: number; readonly vote: NodeId } | null
  readonly entries: readonly Entry[]
}

/** What a power loss spares. */
export interface Disk {
  term: number
  vote: NodeId
  entries: Entry[]
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
  /** The shard log: committed entries, by index − 1. */
  committed: Entry[]
  reads: CatchUpRead[]
  heardAt: Map<NodeId, number>
  answeredAt: Map<NodeId, number>
}

export interface HarnessOptions {
  readonly voters: readonly NodeId[]
  readonly learners?: readonly NodeId[]
  readonly raft?: Partial<RaftOptions>
  readonly below?: (bound: number) => number
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
      committed: [],
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
    const at = this.flights.indexOf(flight)
    assert(at >= 0, 'not in flight')
    this.flights.splice(at, 1)
    const node = this.nodes.get(flight.to)
    if (node?.up) this.act(flight.to, (raft) => raft.step(flight.from, flight.message))
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
    node.reads = []
    for (const other of this.nodes.keys()) if (other !== id) this.disconnect(id, other)
  }

  restart(id: NodeId): void {
    const node = this.node(id)
    assert(!node.up, `node ${id} is up`)
    node.up = true
    node.committed = []
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
    for (let at = read.fromIndex - 1; at < node.committed.length; at++) {
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
        ...this.options.raft,
      },
      {
        term: disk.term,
        vote: disk.vote,
        commit: 0,
        log: new RaftLog({ shard: SHARD, anchor: ORIGIN, epochs: [], entries: disk.entries }),
      },
      {
        contact,
        random: { below, bytes: (length) => Buffer.alloc(length), chance: () => false },
        now: () => this.now,
        stamp: () => node.raft.log.lastIndex + 1,
        trace: (event) => this.#trace(node.id, event),
      },
    )
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
      for (const entry of ready.committed) node.committed.push(entry)
      if (ready.committed.length > 0) this.#observe(`${id}: commit ${describeEntries(ready.committed)}`)
      for (const read of ready.reads) {
        this.#observe(`${id}: wants to read from ${read.fromIndex} for node ${read.peer}`)
        node.reads.push(read)
      }
      this.options.onReady?.(node, ready)
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

/** Appends travel on the data connection, everything else on the control connection. */
export function isControl(message: Message): boolean {
  return message.type !== 'append'
}

function pair(a: NodeId, b: NodeId): string {
  return a < b ? `${a}-${b}` : `${b}-${a}`
}

/** In the journal, a later entry replaces everything from its index on. */
function applyWrite(disk: Disk, write: Write): void {
  if (write.hardState !== null) {
    disk.term = write.hardState.term
    disk.vote = write.hardState.vote
  }
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
  return `${entry.index}/${entry.term} ${entry.kind === EntryKind.leadership ? 'leadership' : `"${payloadOf(entry)}"`}`
}

export function describeEntries(entries: readonly Entry[]): string {
  return `[${entries.map(describeEntry).join(', ')}]`
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
    default:
      return head
  }
}
