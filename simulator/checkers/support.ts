/**
 * I11, what the lease of a leader rests on: whose beat replies support it follows it (T14). A follower that has taken a higher term
 * says so to the leader that it has followed, on the connection on which it answers beats, before it answers another one:
 *
 *      node 2 ── append-reply, term 4 ──► node 1, which leads in term 4: from here on replies to beats support it
 *      node 2 takes term 5 ── moved ──► node 1 ── beat-reply ──► node 1      as it must be
 *      node 2 takes term 5 ── beat-reply ──► node 1                         a lie: it may have helped to elect another one
 *
 * Mostly something else keeps such a leader from answering reads (it has asked for the handover itself, or nobody could be elected
 * without a follower that it still has), so its clients cannot tell: this looks at the promise itself. Items are read by
 * docs/formats/peer-wire.md; what a node is, by what it tells. A leader that leads no more is of no concern.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Network } from '../../src/platform/index.ts'
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'
import { Item, type ItemWatcher, shardOf, termOf, watchPeers } from './peer-frames.ts'

interface Stand {
  readonly term: number
  readonly leads: boolean
  /** When the term was taken. */
  readonly sinceMs: number
}

/** What was said about a shard on one connection. */
interface Said {
  /** The last leadership that was acknowledged here. */
  followed: number
  /** The highest term that the other side was told of here. */
  told: number
}

/** How long the end of a turn takes in virtual time, and a little: times are fractions. */
const TURN_MS = 0.0015

export class Support implements Checker {
  readonly property = 'whose beats support a leader follows it'
  readonly #peerPort: number
  readonly #now: () => number
  /** Not thrown: this sees things in the middle of the node's own functions. */
  readonly #violated: (violation: Violation) => void
  /** By node and shard, in the process that runs now. */
  readonly #stands = new Map<string, Stand>()
  readonly #removed = new Set<number>()
  /** Replies to beats that supported somebody. */
  replies = 0

  constructor(peerPort: number, now: () => number, violated: (violation: Violation) => void) {
    this.#peerPort = peerPort
    this.#now = now
    this.#violated = violated
  }

  started(node: number): void {
    for (const key of [...this.#stands.keys()]) if (key.startsWith(`${node}/`)) this.#stands.delete(key)
  }

  node(node: number, { event }: NodeEvent): void {
    if (event.type === 'topic-removed') for (const shard of event.shards) this.#removed.add(shard)
    if (event.type !== 'standing-changed') return
    const { shard, term, role } = event
    const key = `${node}/${shard}`
    const before = this.#stands.get(key)
    const sinceMs = before?.term === term ? before.sinceMs : this.#now()
    this.#stands.set(key, { term, leads: role === 'leader', sinceMs })
  }

  watchNetwork(node: number, network: Network): Network {
    return watchPeers(network, this.#peerPort, (remoteHost) => this.#watcher(node, Number(remoteHost.split('-')[1])))
  }

  #watcher(node: number, leader: number): ItemWatcher {
    const shards = new Map<number, Said>()
    let answersBeat = false
    return {
      item: (type, frame, at) => {
        if (type === Item.beatReply) answersBeat = true
        if (!(type in SPEAKS_OF_TERM)) return
        const [shard, term] = [shardOf(frame, at), termOf(frame, at)]
        const said = shards.get(shard) ?? { followed: 0, told: 0 }
        shards.set(shard, said)
        if (type === Item.appendReply) said.followed = term
        said.told = Math.max(said.told, term)
      },
      // A frame is taken as a whole: nothing is read between two of its items.
      frameEnded: () => {
        if (!answersBeat) return
        answersBeat = false
        for (const [shard, said] of shards) this.#supports(node, leader, shard, said)
      },
    }
  }

  #supports(node: number, leader: number, shard: number, { followed, told }: Said): void {
    const led = this.#stands.get(`${leader}/${shard}`)
    if (led === undefined || !led.leads || led.term !== followed || this.#removed.has(shard)) return
    this.replies++
    const own = this.#stands.get(`${node}/${shard}`)
    if (own === undefined || own.term <= followed || told > followed) return
    // Taken a turn ago: this may answer a beat that was heard before, and what is said about the term leaves right behind it.
    if (this.#now() - own.sinceMs <= TURN_MS) return
    const what = `node ${node} answers a beat of node ${leader}, which leads shard ${shard} in term ${followed}, and has been in term ${own.term} since ${own.sinceMs.toFixed(3)} ms`
    this.#violated(new Violation(this.property, what))
  }
}

/** Items of a control connection with the sender's own term: all but the question of a pre-vote, whose term is not taken yet. */
const SPEAKS_OF_TERM: Readonly<Record<number, true>> = {
  [Item.preVoteReply]: true,
  [Item.vote]: true,
  [Item.voteReply]: true,
  [Item.appendReply]: true,
  [Item.stepDown]: true,
  [Item.moved]: true,
  [Item.campaignNow]: true,
  [Item.snapshotReply]: true,
}
