/**
 * The connections between nodes as somebody sees them who knows docs/formats/peer-wire.md and nothing of the product's decoder:
 * what a node writes, frame by frame and item by item.
 */
import type { Connection, Network } from '../../src/platform/index.ts'

const CONTROL = 5
const DATA = 6
const HEADER_BYTES = 22

/** Types of items. */
export const Item = {
  preVote: 1,
  preVoteReply: 2,
  vote: 3,
  voteReply: 4,
  append: 5,
  appendReply: 6,
  stepDown: 7,
  moved: 8,
  campaignNow: 9,
  snapshot: 10,
  snapshotReply: 11,
  beatReply: 17,
} as const

/** Gets every item that leaves on one connection. */
export interface ItemWatcher {
  /** `at`: where its fields begin in the frame. */
  item(type: number, frame: Buffer, at: number): void
  /** All items of a frame were seen. */
  frameEnded?(): void
}

/** The network of a node, with a watcher on each connection to a peer, also on those that peers open. */
export function watchPeers(network: Network, peerPort: number, watcher: (remoteHost: string) => ItemWatcher): Network {
  const watched = (connection: Connection): Connection => watch(connection, watcher(connection.remote.host))
  return {
    listen: (at, onConnection, done) =>
      network.listen(at, at.port === peerPort ? (connection) => onConnection(watched(connection)) : onConnection, done),
    connect: (to, done) =>
      network.connect(to, (error, connection) =>
        done(error, connection !== undefined && to.port === peerPort ? watched(connection) : connection),
      ),
  }
}

function watch(connection: Connection, watcher: ItemWatcher): Connection {
  const frames = new Frames((kind, frame) => {
    if (kind === CONTROL) control(frame, watcher)
    else if (kind === DATA) data(frame, watcher)
    watcher.frameEnded?.()
  })
  const { write } = connection
  connection.write = (bytes: Uint8Array): boolean => {
    frames.push(bytes as Buffer)
    return write.call(connection, bytes)
  }
  return connection
}

/** Items of fixed sizes but for requests, replies with labels, and lists. */
function control(frame: Buffer, watcher: ItemWatcher): void {
  for (let at = HEADER_BYTES; at < frame.length; ) {
    const type = frame[at]!
    at++
    watcher.item(type, frame, at)
    const size = sizeOf(type, frame, at)
    if (size === null) return
    at += size
  }
}

function data(frame: Buffer, watcher: ItemWatcher): void {
  for (let at = HEADER_BYTES; at < frame.length; ) {
    const type = frame[at]!
    at++
    watcher.item(type, frame, at)
    if (type === Item.append) {
      let missing = frame.readUInt32LE(at + 36)
      at += 40
      for (; missing > 0; missing--) at += frame.readUInt32LE(at)
    } else if (type === Item.snapshot) at += 72 + frame.readUInt32LE(at + 68)
    else return
  }
}

/** Of an item of replication. */
export function shardOf(frame: Buffer, at: number): number {
  return frame.readUInt32LE(at)
}

/** Of an item of replication. */
export function termOf(frame: Buffer, at: number): number {
  return frame.readUInt32LE(at + 4) + 0x1_0000_0000 * frame.readUInt32LE(at + 8)
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
