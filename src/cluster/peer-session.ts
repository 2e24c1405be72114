/**
 * One session with one incarnation of a peer: what leaves in a turn, and what arrives.
 *
 *      send ──► control items (encoded at once) ─┐
 *               appends, snapshots (as messages) ┴─► flush, at the end of the turn: one control frame, then the data
 *
 * A beat is not answered by the frame of the turn in which it arrived, unless replication has had its say in that turn. The
 * order matters: a reply means "until one election timeout after you sent this, I help nobody to replace you", and must
 * therefore follow, on the same connection, the messages that say for which shards this is already untrue ('moved'):
 *
 *      1. in one turn node 2 reads a vote of node 3 for shard 7 in term 5, and then a beat of node 1, which leads shard 7 in
 *         term 4. Node 2's core has moved to term 5, but what it wants to send is only collected at the end of the turn;
 *      2. were the beat answered first, node 1 would believe for a while that node 2 stands by it in shard 7, while node 2
 *         already votes for node 3;
 *      3. so the reply waits until an end of turn has passed since the beat arrived. `moved` is queued by then.
 */
import type { Message, NodeId } from '../replication/index.ts'
import type { ByteWriter } from './byte-cursor.ts'
import type { Hello } from './handshake.ts'
import type { ShardTerm } from './leader-table.ts'
import type { ChannelOwner, PeerChannel } from './peer-channel.ts'
import {
  decodeControl,
  encodeBeat,
  encodeBeatReply,
  encodeLeading,
  encodeLeadsNoLonger,
  encodeMessage,
  encodeRequest,
  encodeResponse,
  type ItemSink,
} from './peer-messages.ts'
import { type Data, decodeData, writeData } from './peer-messages-data.ts'
import {
  beginFrame,
  CONTROL_FRAME_BYTES_MAX,
  DATA_FRAME_BYTES_MAX,
  type FrameDefect,
  FrameKind,
  sealFrame,
} from './peer-wire.ts'

export interface SessionEvents {
  message(from: NodeId, message: Message): void
  beat(session: PeerSession, number: number): void
  beatReply(session: PeerSession, number: number, wall: number): void
  request(session: PeerSession, id: number, method: string, body: Buffer): void
  response(session: PeerSession, id: number, failed: boolean, body: Buffer): void
  leading(from: NodeId, whole: boolean, list: readonly ShardTerm[]): void
  leadsNoLonger(from: NodeId, shard: number, term: number): void
  /** Something waits to leave: flush this session at the end of the turn. */
  dirty(session: PeerSession): void
  /** The session is over, by the other side or by damage. Not told after `close`. */
  over(session: PeerSession, reason: string, defect: string | null): void
}

export interface SessionOptions {
  readonly hello: Hello
  readonly version: number
  /** Unsent bytes on one connection, beyond which the session is given up. */
  readonly queueBytesMax: number
}

export interface SessionCollaborators {
  readonly control: PeerChannel
  readonly data: PeerChannel
  readonly lamport: Lamport
  readonly wall: () => number
  readonly events: SessionEvents
}

export interface Lamport {
  tick(): number
  observe(stamp: number): void
}

export class PeerSession implements ChannelOwner, ItemSink {
  readonly node: NodeId
  readonly hello: Hello
  readonly #version: number
  readonly #queueBytesMax: number
  readonly #control: PeerChannel
  readonly #data: PeerChannel
  readonly #with: SessionCollaborators
  /** The control frame of this turn, null while there is nothing to say. */
  #items: ByteWriter | null = null
  /** Of this turn, for the data connection. */
  #bulk: Data[] = []
  #bulkBytes = 0
  #isDirty = false
  /** The beat that the next flush answers, and all before it. 0: none. */
  #dueReply = 0
  /** When the session came up. */
  readonly since: number
  closed = false

  constructor(options: SessionOptions, now: number, collaborators: SessionCollaborators) {
    this.node = options.hello.node
    this.hello = options.hello
    this.#version = options.version
    this.#queueBytesMax = options.queueBytesMax
    this.#with = collaborators
    this.#control = collaborators.control
    this.#data = collaborators.data
    this.since = now
    for (const channel of [this.#control, this.#data]) channel.owner = this
    this.#open(this.#control, CONTROL_FRAME_BYTES_MAX, false)
    this.#open(this.#data, DATA_FRAME_BYTES_MAX, true)
  }

  #open(channel: PeerChannel, limitBytes: number, ownsFrames: boolean): void {
    channel.reader.limitBytes = limitBytes
    channel.reader.ownsFrames = ownsFrames
    channel.reader.version = this.#version
    channel.reader.handshakeOver = true
  }

  get queuedBytes(): number {
    return this.#data.queuedBytes + this.#bulkBytes
  }

  // ── what leaves ───────────────────────────────────────────────────────────────────────────────────────────────────────

  send(message: Message): void {
    if (message.type === 'append') {
      for (const entry of message.entries) this.#bulkBytes += entry.bytes.length
    } else if (message.type === 'snapshot') this.#bulkBytes += message.chunk.length
    else {
      encodeMessage(this.#writer(), message)
      return
    }
    this.#bulk.push(message)
    this.#markDirty()
  }

  beatOut(number: number): void {
    encodeBeat(this.#writer(), number)
  }

  requestOut(id: number, method: string, body: Uint8Array): void {
    encodeRequest(this.#writer(), id, method, body)
  }

  responseOut(id: number, failed: boolean, body: Uint8Array): void {
    encodeResponse(this.#writer(), id, failed, body)
  }

  leadingOut(whole: boolean, list: readonly ShardTerm[]): void {
    encodeLeading(this.#writer(), whole, list)
  }

  leadsNoLongerOut(shard: number, term: number): void {
    encodeLeadsNoLonger(this.#writer(), shard, term)
  }

  /** To be called no sooner than at the end of the turn in which the beat arrived. */
  replyDue(number: number): void {
    if (this.closed) return
    this.#dueReply = number
    this.#markDirty()
  }

  #writer(): ByteWriter {
    if (this.#items === null) {
      this.#items = beginFrame(240)
      this.#markDirty()
    }
    return this.#items
  }

  #markDirty(): void {
    if (this.#isDirty) return
    this.#isDirty = true
    this.#with.events.dirty(this)
  }

  /** One frame for control, then the data. */
  flush(): void {
    this.#isDirty = false
    if (this.closed) return
    const { lamport } = this.#with
    if (this.#dueReply !== 0) {
      encodeBeatReply(this.#writerForReply(), this.#dueReply, this.#with.wall())
      this.#dueReply = 0
    }
    if (this.#items !== null) {
      const frame = this.#items.take()
      this.#items = null
      sealFrame(frame, [], this.#version, FrameKind.control, lamport.tick())
      this.#control.write(frame)
    }
    if (this.#bulk.length > 0) {
      const bulk = this.#bulk
      this.#bulk = []
      this.#bulkBytes = 0
      writeData(
        bulk,
        this.#version,
        () => lamport.tick(),
        (part) => this.#data.write(part),
      )
    }
    const queuedBytes = Math.max(this.#control.queuedBytes, this.#data.queuedBytes)
    if (queuedBytes <= this.#queueBytesMax) return
    // Dropping single messages would leave a hole that nobody probes for; a new session is probed from its start.
    this.close()
    this.#with.events.over(this, `${queuedBytes} bytes are queued and not taken`, null)
  }

  #writerForReply(): ByteWriter {
    this.#items ??= beginFrame(240)
    return this.#items
  }

  // ── what arrives ──────────────────────────────────────────────────────────────────────────────────────────────────────

  frame(channel: PeerChannel, kind: FrameKind, stamp: number, frame: Buffer): void {
    this.#with.lamport.observe(stamp)
    if (kind === FrameKind.confirm) return // of the second connection: the first has spoken for it
    const expected = channel === this.#control ? FrameKind.control : FrameKind.data
    const defect =
      kind !== expected
        ? 'frame kind'
        : kind === FrameKind.control
          ? decodeControl(frame, this)
          : decodeData(frame, this)
    if (defect === null || this.closed) return
    this.close()
    this.#with.events.over(this, `damaged frame (${defect})`, defect)
  }

  ended(_channel: PeerChannel, reason: string, defect: FrameDefect | null): void {
    if (this.closed) return
    this.close()
    this.#with.events.over(this, reason, defect)
  }

  message(message: Message): void {
    this.#with.events.message(this.node, message)
  }

  beat(number: number): void {
    this.#with.events.beat(this, number)
  }

  beatReply(number: number, wall: number): void {
    this.#with.events.beatReply(this, number, wall)
  }

  request(id: number, method: string, body: Buffer): void {
    this.#with.events.request(this, id, method, body)
  }

  response(id: number, failed: boolean, body: Buffer): void {
    this.#with.events.response(this, id, failed, body)
  }

  leading(whole: boolean, list: readonly ShardTerm[]): void {
    this.#with.events.leading(this.node, whole, list)
  }

  leadsNoLonger(shard: number, term: number): void {
    this.#with.events.leadsNoLonger(this.node, shard, term)
  }

  /** A frame has begun and its end has not come: since when nothing arrived, or null. */
  stalledSince(): number | null {
    let since: number | null = null
    for (const channel of [this.#control, this.#data]) {
      if (channel.reader.inFrame && !channel.paused && (since === null || channel.receivedAt < since))
        since = channel.receivedAt
    }
    return since
  }

  holdData(hold: boolean): void {
    if (hold) this.#data.pause()
    else this.#data.resume()
  }

  /** Drops what is queued. */
  close(): void {
    if (this.closed) return
    this.closed = true
    this.#control.destroy()
    this.#data.destroy()
  }

  /** Sends what is queued, then closes. */
  end(): void {
    if (this.closed) return
    this.flush()
    if (this.closed) return
    this.closed = true
    this.#control.end()
    this.#data.end()
  }
}
