/**
 * I6: no message of a term leaves a node before that term is on its disk (T1). Every such message says "I have been in this
 * term"; a node that could forget it in a power loss might vote in it once more.
 *
 * Read off the connections between nodes, frame by frame, by docs/formats/peer-wire.md and not by the product's decoder; what
 * is durable is known from the shadow disks. Exempt are the questions and answers of a pre-vote (a term that nobody has taken
 * yet) and the two that must not wait: `moved` and `step-down`.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Network } from '../../src/platform/index.ts'
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'
import { Item, shardOf, termOf, watchPeers } from './peer-frames.ts'

export class TermDurable implements Checker {
  readonly property = 'no message of a term before the term is durable'
  readonly #peerPort: number
  /** Highest term of a hard state that is synced, by node and shard. */
  readonly #durable = new Map<string, number>()
  /** Nobody remembers anything of a shard that was removed. */
  readonly #removed = new Set<number>()
  /** Not thrown: this sees things in the middle of the node's own functions. */
  readonly #violated: (violation: Violation) => void
  messages = 0

  constructor(peerPort: number, violated: (violation: Violation) => void) {
    this.#peerPort = peerPort
    this.#violated = violated
  }

  vote(node: number, shard: number, term: number): void {
    const key = `${node}/${shard}`
    if (term > (this.#durable.get(key) ?? 0)) this.#durable.set(key, term)
  }

  wiped(node: number): void {
    for (const key of [...this.#durable.keys()]) if (key.startsWith(`${node}/`)) this.#durable.delete(key)
  }

  node(_node: number, { event }: NodeEvent): void {
    if (event.type === 'topic-removed') for (const shard of event.shards) this.#removed.add(shard)
  }

  watchNetwork(node: number, network: Network): Network {
    return watchPeers(network, this.#peerPort, () => ({
      item: (type, frame, at) => {
        if (NAMES[type] !== undefined) this.#promises(node, type, frame, at)
      },
    }))
  }

  #promises(node: number, type: number, frame: Buffer, at: number): void {
    this.messages++
    const shard = shardOf(frame, at)
    const term = termOf(frame, at)
    const durable = this.#durable.get(`${node}/${shard}`) ?? 0
    if (term <= durable || this.#removed.has(shard)) return
    const violation = new Violation(
      this.property,
      `node ${node} sends ${NAMES[type]} of term ${term} about shard ${shard}; on its disk is term ${durable}`,
    )
    this.#violated(violation)
  }
}

/** What promises something. */
const NAMES: Readonly<Record<number, string>> = {
  [Item.vote]: 'a vote request',
  [Item.voteReply]: 'a vote',
  [Item.append]: 'an append',
  [Item.appendReply]: 'an acknowledgement',
  [Item.campaignNow]: 'a call to campaign',
  [Item.snapshot]: 'a snapshot',
  [Item.snapshotReply]: "a snapshot's acknowledgement",
}
