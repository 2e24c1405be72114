/**
 * The wire between the nodes: a session with every peer, kept up, and watched.
 *
 *                      ┌ control ─ beats, votes, acknowledgements, requests, news of leaders ┐
 *      node 1 ◄────────┤                                                                    ├────────► node 2
 *                      └ data ──── appends, in frames of at most 256 KiB ────────────────────┘
 *
 * Two connections, so that no beat waits behind a megabyte. Within a connection order is kept, between connections nothing is
 * promised and nothing relies on it (trap "order assumed between connections"). A session is one incarnation of each side:
 * when either connection ends, both end, everything queued is dropped, and `peerDown` says so at once. Whatever is sent while
 * there is no session is dropped too: the next `peerUp` makes replication probe from the start, so there is nothing to keep.
 *
 * All that a turn sends to a peer leaves in one frame per connection. Whoever collects a turn's messages at its end (the
 * replication host) may call `flush` afterwards, and they leave in that turn; without it they leave in the next.
 *
 * A connection can be open for minutes after the other side is gone. The heartbeat finds out: a session without a beat for the
 * election timeout is destroyed, so that the next attempt to connect can begin, and one that stops in the middle of a frame as
 * well (a damaged length would wait for ever).
 */
import type { Address, Listener, PlatformError, Timer } from '../platform/index.ts'
import type { Contact, Message, NodeId, ShardId, Wire, WireEvents } from '../replication/index.ts'
import { assert } from '../stdx/index.ts'
import { Doorkeeper } from './doorkeeper.ts'
import { agreedVersion, type Hello } from './handshake.ts'
import type { HandshakeParty } from './handshake-party.ts'
import { Heartbeat } from './heartbeat.ts'
import { type Leader, LeaderTable } from './leader-table.ts'
import { PeerAcceptor } from './peer-accept.ts'
import type { PeerChannel } from './peer-channel.ts'
import { type DialCollaborators, type DialOptions, introduce, PeerDialer } from './peer-dial.ts'
import type { PeerMeshCollaborators, PeerMeshOptions, PeerStatus } from './peer-mesh-options.ts'
import { PeerRequests, type RequestDone, type RequestHandler } from './peer-requests.ts'
import { PeerSession, type SessionEvents } from './peer-session.ts'

export * from './peer-mesh-options.ts'

export class PeerMesh implements Wire {
  readonly #options: PeerMeshOptions
  readonly #with: PeerMeshCollaborators
  readonly #doorkeeper: Doorkeeper
  readonly #heartbeat: Heartbeat
  readonly #requests: PeerRequests
  readonly #acceptor: PeerAcceptor
  readonly #dial: DialCollaborators
  readonly #dialOptions: DialOptions
  readonly #addresses = new Map<NodeId, Address>()
  readonly #dialers = new Map<NodeId, PeerDialer>()
  readonly #sessions = new Map<NodeId, PeerSession>()
  readonly #listeners: WireEvents[] = []
  readonly #introductions: ((hello: Hello) => void)[] = []
  readonly #leaderListeners: ((shard: ShardId, leader: Leader | null) => void)[] = []
  /** What this node leads, by shard, with the term. */
  readonly #leading = new Map<ShardId, number>()
  readonly #sessionEvents: SessionEvents
  #dirty: PeerSession[] = []
  #flushPlanned = false
  #previousTickAt: number
  #everUp = false
  #dataHeld = false
  #listener: Listener | null = null
  #ticker: Timer | null = null
  #state: 'idle' | 'started' | 'stopped' = 'idle'

  /** Who leads what, as far as this node has heard. */
  readonly leaders: LeaderTable

  constructor(options: PeerMeshOptions, collaborators: PeerMeshCollaborators) {
    this.#options = options
    this.#with = collaborators
    const { clock, network, random } = collaborators.platform
    this.#doorkeeper = new Doorkeeper(options.self, random.bytes(16).toString('hex'), {
      describe: collaborators.describe,
      admit: collaborators.admit,
      connectedDisk: (node) => this.helloOf(node)?.diskIncarnation ?? null,
    })
    this.#heartbeat = new Heartbeat(options)
    this.#requests = new PeerRequests(options.self, clock)
    this.#previousTickAt = clock.now()
    this.leaders = new LeaderTable({
      changed: (shard, leader) => {
        for (const listener of this.#leaderListeners) listener(shard, leader)
      },
      conflict: (shard, term, nodes) => collaborators.trace({ type: 'leader-conflict', shard, term, nodes }),
    })
    const party = this.#party()
    this.#acceptor = new PeerAcceptor(options.handshakeTimeoutMs, party)
    this.#dial = { network, random, party }
    this.#dialOptions = {
      reconnectMinMs: options.reconnectMinMs,
      reconnectMaxMs: options.reconnectMaxMs,
      refusedRetryMs: options.refusedRetryMs,
      timeoutMs: options.handshakeTimeoutMs,
      steadyMs: options.electionTimeoutMs,
    }
    this.#sessionEvents = this.#listenToSessions()
  }

  // ── life ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Everything that the wire tells goes to everybody who is attached, in the order of attachment. Before `start`. */
  attach(events: WireEvents): void {
    this.#listeners.push(events)
  }

  start(done: (error: PlatformError | null, address?: Address) => void): void {
    assert(this.#state === 'idle', 'the mesh starts once')
    const { network, clock } = this.#with.platform
    network.listen(
      this.#options.listen,
      (connection) => (this.#state === 'started' ? this.#acceptor.accept(connection) : connection.destroy()),
      (error, listener) => {
        if (error !== null || listener === undefined) return done(error)
        this.#listener = listener
        if (this.#state === 'stopped') return listener.close(() => done(null, listener.address))
        this.#state = 'started'
        this.#previousTickAt = clock.now()
        this.#ticker = clock.every(this.#options.heartbeatIntervalMs, () => this.#tick())
        for (const dialer of this.#dialers.values()) dialer.start()
        done(null, listener.address)
      },
    )
  }

  /** Sends what is queued, closes every session without telling anybody here, and stops listening. */
  stop(done: () => void): void {
    const listener = this.#listener
    this.#listener = null
    this.#state = 'stopped'
    this.#ticker?.cancel()
    for (const dialer of this.#dialers.values()) dialer.stop()
    this.#acceptor.stop()
    for (const session of this.#sessions.values()) session.end()
    this.#sessions.clear()
    this.#requests.stop()
    if (listener === null) this.#with.platform.clock.endOfTurn(done)
    else listener.close(done)
  }

  get address(): Address | null {
    return this.#listener?.address ?? null
  }

  get processIncarnation(): string {
    return this.#doorkeeper.processIncarnation
  }

  /** A member and where it is. It is dialled from now on if its id is smaller than ours, else it dials us. */
  setPeer(node: NodeId, address: Address): void {
    assert(node !== this.#options.self, 'a node is not its own peer')
    this.#addresses.set(node, address)
    if (node > this.#options.self) return
    const known = this.#dialers.get(node)
    known?.setAddress(address)
    if (known !== undefined) return
    const dialer = new PeerDialer(node, address, this.#dialOptions, this.#dial)
    this.#dialers.set(node, dialer)
    if (this.#state === 'started') dialer.start()
  }

  /** No longer a member: its session ends, and `admit` should refuse it from now on. */
  removePeer(node: NodeId): void {
    this.#addresses.delete(node)
    this.#dialers.get(node)?.stop()
    this.#dialers.delete(node)
    this.#end(node, 'removed')
  }

  /** Shows this node to an address and learns who is there; the way in for a node that knows no ids. No session comes of it. */
  introduce(address: Address, done: (failure: string | null, hello?: Hello) => void): void {
    introduce(address, this.#options.handshakeTimeoutMs, this.#dial, done)
  }

  /** Somebody has introduced itself here, and was admitted. */
  onIntroduction(listener: (hello: Hello) => void): void {
    this.#introductions.push(listener)
  }

  // ── replication's wire ────────────────────────────────────────────────────────────────────────────────────────────────

  get contact(): Contact {
    return this.#heartbeat
  }

  send(to: NodeId, message: Message): void {
    assert(to !== this.#options.self, 'what a node tells itself does not go through the wire')
    this.#sessions.get(to)?.send(message)
  }

  isUp(node: NodeId): boolean {
    return this.#sessions.has(node)
  }

  queuedBytes(node: NodeId): number {
    return this.#sessions.get(node)?.queuedBytes ?? 0
  }

  /** What was sent so far leaves with this turn. */
  flush(): void {
    const dirty = this.#dirty
    this.#dirty = []
    for (const session of dirty) session.flush()
  }

  /** While held, no appends are read: the kernel's buffers fill and push back to the leaders. Control is read all the same. */
  holdData(hold: boolean): void {
    if (this.#dataHeld === hold) return
    this.#dataHeld = hold
    for (const session of this.#sessions.values()) session.holdData(hold)
  }

  // ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  request(to: NodeId, method: string, body: Uint8Array, timeoutMs: number, done: RequestDone): void {
    assert(to !== this.#options.self, 'what a node asks itself does not go through the wire')
    this.#requests.request(to, this.#sessions.get(to) ?? null, method, body, timeoutMs, done)
  }

  handle(method: string, handler: RequestHandler): void {
    this.#requests.handle(method, handler)
  }

  // ── who leads what ────────────────────────────────────────────────────────────────────────────────────────────────────

  announceLeading(shard: ShardId, term: number): void {
    this.#leading.set(shard, term)
    this.leaders.leads(this.#options.self, shard, term)
    for (const session of this.#sessions.values()) session.leadingOut(false, [{ shard, term }])
  }

  /** This node led the shard in `term` and no longer does. */
  announceNotLeading(shard: ShardId, term: number): void {
    if (this.#leading.get(shard) === term) this.#leading.delete(shard)
    this.leaders.leadsNoLonger(this.#options.self, shard, term)
    for (const session of this.#sessions.values()) session.leadsNoLongerOut(shard, term)
  }

  leaderOf(shard: ShardId): Leader | null {
    return this.leaders.leaderOf(shard)
  }

  onLeaderChange(listener: (shard: ShardId, leader: Leader | null) => void): void {
    this.#leaderListeners.push(listener)
  }

  // ── what is known of the peers ────────────────────────────────────────────────────────────────────────────────────────

  /** What the node said of itself when the session began; null without a session. */
  helloOf(node: NodeId): Hello | null {
    return this.#sessions.get(node)?.hello ?? null
  }

  peersUp(): IterableIterator<NodeId> {
    return this.#sessions.keys()
  }

  peers(): PeerStatus[] {
    const nodes = new Set([...this.#addresses.keys(), ...this.#sessions.keys()])
    return [...nodes]
      .sort((a, b) => a - b)
      .map((node) => ({
        node,
        address: this.#addresses.get(node) ?? this.helloOf(node)?.peer ?? null,
        up: this.isUp(node),
        alive: this.#heartbeat.alive(node),
        incarnation: this.#heartbeat.incarnationOf(node),
        queuedBytes: this.queuedBytes(node),
        roundTripMs: this.#heartbeat.roundTripMs(node),
        clockOffset: this.#heartbeat.clockOffset(node),
      }))
  }

  // ── the inside ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #party(): HandshakeParty {
    const { platform, lamport, trace } = this.#with
    return {
      self: this.#options.self,
      clock: platform.clock,
      lamport,
      hello: (role, nonce, expected) => this.#doorkeeper.hello(role, nonce, expected),
      challenge: () => platform.random.bytes(8).toString('hex'),
      judge: (hello, half) => this.#doorkeeper.judge(hello, half),
      established: (hello, control, data) => this.#established(hello, control, data),
      introduced: (hello) => {
        for (const listener of this.#introductions) listener(hello)
      },
      refused: (hello, refusal) => trace({ type: 'peer-refused', node: hello.node, refusal }),
      refusedBy: (node, refusal) => {
        trace({ type: 'refused-by-peer', node, refusal })
        this.#with.onRefused(refusal, { by: node, everUp: this.#everUp })
      },
      unreachable: (node, reason, retryMs) => trace({ type: 'peer-unreachable', node, reason, retryMs }),
      damaged: (node, defect) => trace({ type: 'peer-damaged', node, defect }),
    }
  }

  #established(hello: Hello, control: PeerChannel, data: PeerChannel): void {
    const { node } = hello
    this.#end(node, 'replaced by a new session')
    this.#doorkeeper.letIn(hello)
    const now = this.#with.platform.clock.now()
    const version = agreedVersion(hello)
    const session = new PeerSession({ hello, version, queueBytesMax: this.#options.queueBytesMax }, now, {
      control,
      data,
      lamport: this.#with.lamport,
      wall: () => this.#with.platform.clock.wall(),
      events: this.#sessionEvents,
    })
    this.#sessions.set(node, session)
    this.#everUp = true
    if (this.#dataHeld) session.holdData(true)
    const list = [...this.#leading].map(([shard, term]) => ({ shard, term }))
    session.leadingOut(true, list)
    session.beatOut(this.#heartbeat.peerUp(node, hello.processIncarnation, now).number)
    this.#with.trace({ type: 'peer-up', node, incarnation: hello.processIncarnation })
    for (const listener of this.#listeners) listener.peerUp(node)
  }

  /** Ends the session with `node`, if there is one. */
  #end(node: NodeId, reason: string): void {
    const session = this.#sessions.get(node)
    if (session === undefined) return
    session.close()
    this.#down(session, reason)
  }

  #down(session: PeerSession, reason: string): void {
    const { node } = session
    if (this.#sessions.get(node) !== session) return
    this.#sessions.delete(node)
    this.#heartbeat.peerDown(node)
    this.#with.trace({ type: 'peer-down', node, reason })
    this.#requests.sessionDown(session)
    this.#dialers.get(node)?.sessionDown(this.#with.platform.clock.now() - session.since)
    for (const listener of this.#listeners) listener.peerDown(node)
  }

  #listenToSessions(): SessionEvents {
    const { clock } = this.#with.platform
    return {
      message: (from, message) => {
        for (const listener of this.#listeners) listener.message(from, message)
      },
      beat: (session, number) => {
        this.#heartbeat.beatReceived(session.node, clock.now())
        // One callback per beat: a shared one, registered by an earlier beat, would run too early for this one.
        clock.endOfTurn(() => session.replyDue(number))
      },
      beatReply: (session, number, wall) =>
        this.#heartbeat.beatReplied(session.node, number, clock.now(), wall, clock.wall()),
      request: (session, id, method, body) => this.#requests.received(session, id, method, body),
      response: (session, id, failed, body) => this.#requests.answered(session, id, failed, body),
      leading: (from, whole, list) => {
        if (whole) this.leaders.replace(from, list)
        else for (const { shard, term } of list) this.leaders.leads(from, shard, term)
      },
      leadsNoLonger: (from, shard, term) => this.leaders.leadsNoLonger(from, shard, term),
      dirty: (session) => this.#markDirty(session),
      over: (session, reason, defect) => {
        if (defect !== null) this.#with.trace({ type: 'peer-damaged', node: session.node, defect })
        this.#down(session, reason)
      },
    }
  }

  #markDirty(session: PeerSession): void {
    this.#dirty.push(session)
    if (this.#flushPlanned) return
    this.#flushPlanned = true
    this.#with.platform.clock.endOfTurn(() => {
      this.#flushPlanned = false
      this.flush()
    })
  }

  #tick(): void {
    const now = this.#with.platform.clock.now()
    const { beats, silent, pausedMs, settled } = this.#heartbeat.tick(now)
    const { random } = this.#with.platform
    for (const { node, number } of beats) {
      if (random.chance('cluster/session-ended')) this.#end(node, 'ended without a reason')
      if (!random.chance('cluster/beat-skipped')) this.#sessions.get(node)?.beatOut(number)
    }
    for (const { node, silentMs } of silent) {
      this.#with.trace({ type: 'peer-silent', node, silentMs })
      this.#end(node, `no beat for ${Math.round(silentMs)} ms`)
    }
    this.#endStalled()
    this.#previousTickAt = now
    if (pausedMs > 0) this.#with.trace({ type: 'self-paused', pausedMs })
    if (!settled) return // what waited in the sockets comes first
    for (const listener of this.#listeners) listener.contactTick()
  }

  /** Judged as of the previous tick, like silence. */
  #endStalled(): void {
    for (const session of [...this.#sessions.values()]) {
      const since = session.stalledSince()
      if (since !== null && this.#previousTickAt - since > this.#options.electionTimeoutMs)
        this.#end(session.node, 'stopped in the middle of a frame')
    }
  }
}
