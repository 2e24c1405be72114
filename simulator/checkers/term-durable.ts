/**
 * I6: no message of a term leaves a node before that term is on its disk (T1). Every such message says "I have been in this
 * term"; a node that could forget it in a power loss might vote in it once more.
 *
 * Read off the connections between nodes, frame by frame, by docs/formats/peer-wire.md and not by the product's decoder; what
 * is durable is known from the shadow disks. Exempt are the questions and answers of a pre-vote (a term that nobody has taken
 * yet) and the two that must not wait: `moved` and `step-down`.
 */
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Connection, Network } from '../../src/platform/index.ts'
import type { Checker } from '../observer.ts'
import { Violation } from '../violation.ts'

const CONTROL = 5
const DATA = 6
const HEADER_BYTES = 22

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
    const watched = (connection: Connection): Connection => this.#watch(node, connection)
    return {
      listen: (at, onConnection, done) =>
        network.listen(
          at,
          at.port === this.#peerPort ? (connection) => onConnection(watched(connection)) : onConnection,
          done,
        ),
      connect: (to, done) =>
        network.connect(to, (error, connection) =>
          done(error, connection !== undefined && to.port === this.#peerPort ? watched(connection) : connection),
        ),
    }
  }

  #watch(node: number, connection: Connection): Connection {
    const frames = new Frames((kind, frame) => {
      if (kind === CONTROL) this.#control(node, frame)
      else if (kind === DATA) this.#data(node, frame)
    })
    const { write } = connection
    connection.write = (bytes: Uint8Array): boolean => {
      frames.push(bytes as Buffer)
      return write.call(connection, bytes)
    }
    return connection
  }

  /** Items of fixed sizes but for requests, replies with labels, and lists. */
  #control(node: number, frame: Buffer): void {
    for (let at = HEADER_BYTES; at < frame.length; ) {
      const type = frame[at]!
      at++
      if (type === 3 || type === 4 || type === 6 || type === 9 || type === 11) this.#promises(node, type, frame, at)
      const size = sizeOf(type, frame, at)
      if (size === null) return
      at += size
    }
  }

  #data(node: number, frame: Buffer): void {
    for (let at = HEADER_BYTES; at < frame.length; ) {
      const type = frame[at]!
      at++
      this.#promises(node, type, frame, at)
      if (type === 5) {
        let missing = frame.readUInt32LE(at + 36)
        at += 40
        for (; missing > 0; missing--) at += frame.readUInt32LE(at)
      } else if (type === 10) at += 72 + frame.readUInt32LE(at + 68)
      else return
    }
  }

  #promises(node: number, type: number, frame: Buffer, at: number): void {
    this.messages++
    const shard = frame.readUInt32LE(at)
    const term = u64(frame, at + 4)
    const durable = this.#durable.get(`${node}/${shard}`) ?? 0
    if (term <= durable || this.#removed.has(shard)) return
    const violation = new Violation(
      this.property,
      `node ${node} sends ${NAMES[type] ?? `item ${type}`} of term ${term} about shard ${shard}; on its disk is term ${durable}`,
    )
    this.#violated(violation)
  }
}

const NAMES: Readonly<Record<number, string>> = {
  3: 'a vote request',
  4: 'a vote',
  5: 'an append',
  6: 'an acknowledgement',
  9: 'a call to campaign',
  10: 'a snapshot',
  11: "a snapshot's acknowledgement",
}

/** Bytes of an item's fields, or null for one that is not known: the rest of the frame stays unread. */
function sizeOf(type: number, frame: Buffer, at: number): number | null {
  switch (type) {
    case 1:
    case 11:
      return 28
    case 2:
    case 4:
      return 13
    case 3:
      return 29
    case 6:
      return frame[at + 28] === 0 ? 29 : 53
    case 7:
    case 8:
    case 9:
    case 21:
      return 12
    case 16:
      return 4
    case 17:
      return 12
    case 18: {
      const text = 6 + frame.readUInt16LE(at + 4)
      return text + 4 + frame.readUInt32LE(at + text)
    }
    case 19:
      return 9 + frame.readUInt32LE(at + 5)
    case 20:
      return 5 + 12 * frame.readUInt32LE(at + 1)
    default:
      return null
  }
}

function u64(frame: Buffer, at: number): number {
  return frame.readUInt32LE(at) + 0x1_0000_0000 * frame.readUInt32LE(at + 4)
}

/** Whole frames out of what is written, in whatever pieces. */
class Frames {
  readonly #whole: (kind: number, frame: Buffer) => void
  #held: Buffer[] = []
  #missing = 0

  constructor(whole: (kind: number, frame: Buffer) => void) {
    this.#whole = whole
  }

  push(bytes: Buffer): void {
    // Whoever sends a frame writes its header in one piece.
    if (this.#missing === 0) this.#missing = bytes.readUInt32LE(0)
    this.#missing -= bytes.length
    if (this.#missing > 0) {
      this.#held.push(bytes)
      return
    }
    const frame = this.#held.length === 0 ? bytes : Buffer.concat([...this.#held, bytes])
    this.#held = []
    this.#missing = 0
    this.#whole(frame[9]!, frame)
  }
}
