/**
 * Heartbeat: who is there, decided once per pair of nodes and not once per shard.
 *
 * Every interval each node sends each peer one numbered beat, and every beat is answered. Two different facts come of it:
 *
 *      here ──── beat 7, sent at 500 ────► peer       the peer heard us: it considers us alive for one election timeout from
 *      here ◄─── answer to 7, at 503 ──── peer        then on. All we know is "not before 500": `answeredAt` is 500, not 503
 *
 *      here ◄─── beat 4 of the peer's own ─ peer      we heard it: it is `alive` here
 *
 * A leader that counts on its followers' patience must use the first (the moment *its* beat left), a follower that wonders
 * whether its leader is gone uses the second. Both hold only within a session, that is for one incarnation of the peer: a
 * process that restarts knows nothing of what its predecessor promised.
 *
 * The hard part is a node that was itself asleep (SIGSTOP, a laptop's lid, a computation of a second). It wakes, and the loop
 * runs timers before sockets:
 *
 *      1. node 2 hears node 1 at 900, is stopped at 950, and goes on at 6000. Node 1 was well all the time, and its beats wait in
 *         the socket's buffer;
 *      2. the tick fires at 6000, before anything is read. Measured by the clock, node 1 has been silent for 5100 ms;
 *      3. node 2 suspects node 1, and with a hundred shards starts a hundred campaigns against healthy leaders.
 *
 * Two rules keep it from that, and no threshold says what a "long" pause is:
 *
 *   - Silence is measured up to the *previous* tick, never up to now. Between two ticks the loop has been through its sockets, so
 *     what had arrived by the previous tick has been processed by this one. At 6000 node 1 is judged as of 900: alive.
 *   - Silence is measured in the time in which this node was attentive: however late a tick comes, it adds no more than two
 *     intervals. Often the others were asleep as well (one machine, or one process with three nodes in it, at a breakpoint), and
 *     need their own first turn before a beat can be on its way. At 6100 node 1 has been silent for 300 ms or so, not for 5200.
 *
 * The first rule costs an interval, which is taken off the allowance, so that a peer is found silent one election timeout after
 * its last beat. The second makes a sluggish node slow to judge, as it should be.
 *
 * Check-quorum compares moments instead, and would have a leader resign at 6000 for answers that wait in its sockets. So a late
 * tick also says that the table is not `settled`, for a round trip or two. Leases and reads do not care: they go by the real
 * clock, and a leader that slept has none.
 *
 * Pure: inputs are method calls with the time, the only output is what `tick` returns.
 */
import type { Contact, NodeId } from '../replication/index.ts'
import { assert, must } from '../stdx/index.ts'

export interface HeartbeatOptions {
  readonly heartbeatIntervalMs: number
  readonly electionTimeoutMs: number
}

export interface Beat {
  readonly node: NodeId
  readonly number: number
}

export interface Tick {
  readonly beats: readonly Beat[]
  /** Peers from which nothing was heard for the election timeout. Their session should be closed; they are named once. */
  readonly silent: readonly { readonly node: NodeId; readonly silentMs: number }[]
  /** How long this node itself stood still, 0 normally. */
  readonly pausedMs: number
  /** False for a few ticks after that: the table is not worth a decision yet. */
  readonly settled: boolean
}

/** The peer's wall clock minus ours, give or take. A label for people: nothing may be decided by it. */
export interface ClockOffset {
  readonly offsetMs: number
  /** Half the round trip: where in it the peer read its clock is unknown. */
  readonly errorMs: number
}

/** After a pause the so-manieth tick decides again: the beats of the first need their way, and the answers theirs. */
const UNSETTLED_TICKS = 3

/** A beat that is not answered within this many further ones never will be: the session is closed long before. */
const UNANSWERED_MAX = 64

class Peer {
  readonly incarnation: string
  /** When the peer was last heard, or its session came up, in attentive time: its silence starts here. */
  heardAt: number
  /** A beat was received in this session, and silence has not outlasted the timeout since. */
  alive = false
  /** Named in a tick's `silent` already. */
  reported = false
  /** Number of the last beat sent in this session; they count from 1. */
  number = 0
  /** When the beats `number − unanswered.length + 1 … number` were sent. */
  readonly unanswered: number[] = []
  answeredAt = Number.NEGATIVE_INFINITY
  roundTripMs: number | null = null
  clockOffset: ClockOffset | null = null

  constructor(incarnation: string, heardAt: number) {
    this.incarnation = incarnation
    this.heardAt = heardAt
  }
}

export class Heartbeat implements Contact {
  readonly #intervalMs: number
  /** How long a peer may be silent at the previous tick; see above. */
  readonly #allowanceMs: number
  readonly #peers = new Map<NodeId, Peer>()
  #previousTickAt: number | null = null
  /** Attentive time at the previous tick. */
  #attentiveMs = 0
  #unsettledTicks = 0

  constructor(options: HeartbeatOptions) {
    const { heartbeatIntervalMs, electionTimeoutMs } = options
    assert(
      heartbeatIntervalMs > 0 && electionTimeoutMs >= 3 * heartbeatIntervalMs,
      () =>
        `an election timeout of ${electionTimeoutMs} ms leaves no room for a lost beat of ${heartbeatIntervalMs} ms`,
    )
    this.#intervalMs = heartbeatIntervalMs
    this.#allowanceMs = electionTimeoutMs - heartbeatIntervalMs
  }

  /** The session with this incarnation of the node is up. Returns the first beat, which should leave at once. */
  peerUp(node: NodeId, incarnation: string, now: number): Beat {
    assert(!this.#peers.has(node), () => `node ${node} is up already`)
    const peer = new Peer(incarnation, this.#attentiveAt(now))
    this.#peers.set(node, peer)
    return this.#beat(node, peer, now)
  }

  /** The session ended: evidence at once, whatever was heard a moment ago. */
  peerDown(node: NodeId): void {
    this.#peers.delete(node)
  }

  beatReceived(node: NodeId, now: number): void {
    const peer = this.#peers.get(node)
    if (peer === undefined) return
    peer.heardAt = this.#attentiveAt(now)
    peer.alive = true
    peer.reported = false
  }

  /** The peer has answered our beat `number`. `peerWall` and `wall`: both wall clocks, there at the answer and here now. */
  beatReplied(node: NodeId, number: number, now: number, peerWall: number, wall: number): void {
    const peer = this.#peers.get(node)
    if (peer === undefined) return
    const age = peer.number - number
    // Older than what is remembered, answered already, or never sent: it proves nothing new.
    if (age < 0 || age >= peer.unanswered.length) return
    const position = peer.unanswered.length - 1 - age
    const sentAt = must(peer.unanswered[position], 'a beat within the unanswered ones')
    peer.unanswered.splice(0, position + 1)
    assert(sentAt >= peer.answeredAt, 'beats are answered in order')
    peer.answeredAt = sentAt
    peer.roundTripMs = now - sentAt
    peer.clockOffset = { offsetMs: peerWall - (wall - peer.roundTripMs / 2), errorMs: peer.roundTripMs / 2 }
  }

  /** Once per interval. */
  tick(now: number): Tick {
    const elapsedMs = this.#previousTickAt === null ? 0 : now - this.#previousTickAt
    const judgedAt = this.#attentiveMs
    this.#attentiveMs = this.#attentiveAt(now)
    this.#previousTickAt = now
    const beats: Beat[] = []
    const silent: { node: NodeId; silentMs: number }[] = []
    for (const [node, peer] of this.#peers) {
      beats.push(this.#beat(node, peer, now))
      if (judgedAt - peer.heardAt < this.#allowanceMs || peer.reported) continue
      peer.alive = false
      peer.reported = true
      silent.push({ node, silentMs: this.#attentiveMs - peer.heardAt })
    }
    // A late tick while unsettled, or at the end of it, starts nothing anew: a loop that is always late must still decide.
    const paused = this.#unsettledTicks === 0 && elapsedMs > 2 * this.#intervalMs
    if (paused) this.#unsettledTicks = UNSETTLED_TICKS
    else if (this.#unsettledTicks > 0) this.#unsettledTicks--
    const settled = this.#unsettledTicks === 0
    return { beats, silent, pausedMs: paused ? elapsedMs : 0, settled }
  }

  alive(node: NodeId): boolean {
    return this.#peers.get(node)?.alive ?? false
  }

  answeredAt(node: NodeId): number {
    return this.#peers.get(node)?.answeredAt ?? Number.NEGATIVE_INFINITY
  }

  incarnationOf(node: NodeId): string | null {
    return this.#peers.get(node)?.incarnation ?? null
  }

  roundTripMs(node: NodeId): number | null {
    return this.#peers.get(node)?.roundTripMs ?? null
  }

  clockOffset(node: NodeId): ClockOffset | null {
    return this.#peers.get(node)?.clockOffset ?? null
  }

  /** The attentive time at `now`: since the previous tick, two intervals at the most. */
  #attentiveAt(now: number): number {
    if (this.#previousTickAt === null) return this.#attentiveMs
    return this.#attentiveMs + Math.min(now - this.#previousTickAt, 2 * this.#intervalMs)
  }

  #beat(node: NodeId, peer: Peer, now: number): Beat {
    peer.number++
    peer.unanswered.push(now)
    if (peer.unanswered.length > UNANSWERED_MAX) peer.unanswered.shift()
    return { node, number: peer.number }
  }
}
