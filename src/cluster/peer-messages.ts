/**
 * What is inside frames: items, one after the other, each a type byte and its fields.
 *
 * The body of a control frame is everything that one turn had to say to one peer: votes, acknowledgements, beats, requests,
 * news of leaders. The body of a data frame is appends, whose entries are the leader's own bytes, verbatim: small ones are
 * copied into the frame (one buffer is cheaper than many), large ones are handed to the socket by reference.
 *
 * An append that is larger than a frame is sent as several, each a complete message: the next one's predecessor is the last
 * entry of the one before. To Raft this looks like a leader that pipelines (thesis §10.2.1), which it is.
 *
 * The decoder believes nothing. Beyond the frame's sum, every entry carries its own; and since an entry found in the wrong
 * place must not enter a log, entries are checked here, once, to be of the append's shard, consecutive, and each the successor
 * (by sum) of the one before. Behind this door they need no second look.
 */
import type { Message } from '../replication/index.ts'
import { unreachable } from '../stdx/index.ts'
import { decodeEntry, type Entry, EntryKind } from '../storage/index.ts'
import { ByteReader, ByteWriter } from './byte-cursor.ts'
import type { ShardTerm } from './leader-table.ts'
import { beginFrame, DATA_FRAME_BYTES, FRAME_HEADER_BYTES, FrameKind, sealFrame } from './peer-wire.ts'

export type Append = Extract<Message, { type: 'append' }>

/** Entries from this size on are sent by reference. Below, one copy costs less than one more buffer for the kernel. */
export const COPY_BYTES_MAX = 4096

/** Never renumber. */
export const ItemType = {
  preVote: 1,
  preVoteReply: 2,
  vote: 3,
  voteReply: 4,
  append: 5,
  appendReply: 6,
  stepDown: 7,
  moved: 8,
  campaignNow: 9,
  beat: 16,
  beatReply: 17,
  request: 18,
  response: 19,
  leading: 20,
  leadsNoLonger: 21,
} as const

/** Receives decoded items, in order. */
export interface ItemSink {
  /** True once the session is over: the rest of the frame is not delivered. */
  readonly closed: boolean
  message(message: Message): void
  beat(number: number): void
  beatReply(number: number, wall: number): void
  request(id: number, method: string, body: Buffer): void
  /** `failed`: the body is an error's description. */
  response(id: number, failed: boolean, body: Buffer): void
  /** `whole`: this is all that the peer leads. */
  leading(whole: boolean, list: readonly ShardTerm[]): void
  leadsNoLonger(shard: number, term: number): void
}

export function encodeMessage(into: ByteWriter, message: Exclude<Message, Append>): void {
  const { type } = message
  switch (type) {
    case 'pre-vote':
    case 'vote':
      into.u8(type === 'vote' ? ItemType.vote : ItemType.preVote)
      into.u32(message.shard)
      into.u64(message.term)
      into.u64(message.lastIndex)
      into.u64(message.lastTerm)
      if (type === 'vote') into.flag(message.transfer)
      return
    case 'pre-vote-reply':
    case 'vote-reply':
      into.u8(type === 'vote-reply' ? ItemType.voteReply : ItemType.preVoteReply)
      into.u32(message.shard)
      into.u64(message.term)
      into.flag(message.granted)
      return
    case 'append-reply':
      into.u8(ItemType.appendReply)
      into.u32(message.shard)
      into.u64(message.term)
      into.u64(message.received)
      into.u64(message.journaled)
      into.flag(message.rejected !== null)
      if (message.rejected === null) return
      into.u64(message.rejected.previousIndex)
      into.u64(message.rejected.hintIndex)
      into.u64(message.rejected.hintTerm)
      return
    case 'step-down':
      encodeShardTerm(into, ItemType.stepDown, message.shard, message.term)
      return
    case 'moved':
      encodeShardTerm(into, ItemType.moved, message.shard, message.term)
      return
    case 'campaign-now':
      encodeShardTerm(into, ItemType.campaignNow, message.shard, message.term)
      return
    default:
      unreachable(type)
  }
}

function encodeShardTerm(into: ByteWriter, type: number, shard: number, term: number): void {
  into.u8(type)
  into.u32(shard)
  into.u64(term)
}

export function encodeBeat(into: ByteWriter, number: number): void {
  into.u8(ItemType.beat)
  into.u32(number)
}

export function encodeBeatReply(into: ByteWriter, number: number, wall: number): void {
  into.u8(ItemType.beatReply)
  into.u32(number)
  into.u64(wall)
}

export function encodeRequest(into: ByteWriter, id: number, method: string, body: Uint8Array): void {
  into.u8(ItemType.request)
  into.u32(id)
  into.text(method)
  into.blob(body)
}

export function encodeResponse(into: ByteWriter, id: number, failed: boolean, body: Uint8Array): void {
  into.u8(ItemType.response)
  into.u32(id)
  into.flag(failed)
  into.blob(body)
}

export function encodeLeading(into: ByteWriter, whole: boolean, list: readonly ShardTerm[]): void {
  into.u8(ItemType.leading)
  into.flag(whole)
  into.u32(list.length)
  for (const { shard, term } of list) {
    into.u32(shard)
    into.u64(term)
  }
}

export function encodeLeadsNoLonger(into: ByteWriter, shard: number, term: number): void {
  encodeShardTerm(into, ItemType.leadsNoLonger, shard, term)
}

/** Type, shard, term, previous index and term, commit, count. */
const APPEND_HEADER_BYTES = 1 + 4 + 8 + 8 + 8 + 8 + 4

/** Sends the appends as data frames: `write` is handed the parts of one frame after the other, in order. */
export function writeAppends(
  appends: readonly Append[],
  version: number,
  stamp: () => number,
  write: (part: Buffer) => void,
): void {
  let first: Buffer | null = null
  let rest: Buffer[] = []
  let writer = beginFrame(1024)
  let length = FRAME_HEADER_BYTES

  const cut = (): void => {
    const part = writer.take()
    if (first === null) first = part
    else if (part.length > 0) rest.push(part)
  }
  const seal = (): void => {
    cut()
    sealFrame(first!, rest, version, FrameKind.data, stamp())
    write(first!)
    for (const part of rest) write(part)
    first = null
    rest = []
    writer = beginFrame(1024)
    length = FRAME_HEADER_BYTES
  }

  for (const append of appends) {
    const { entries } = append
    let next = 0
    let previousIndex = append.previousIndex
    let previousTerm = append.previousTerm
    do {
      if (
        length > FRAME_HEADER_BYTES &&
        length + APPEND_HEADER_BYTES + (entries[next]?.bytes.length ?? 0) > DATA_FRAME_BYTES
      )
        seal()
      const from = next
      let bytes = APPEND_HEADER_BYTES
      while (
        next < entries.length &&
        (next === from || length + bytes + entries[next]!.bytes.length <= DATA_FRAME_BYTES)
      ) {
        bytes += entries[next]!.bytes.length
        next++
      }
      writer.u8(ItemType.append)
      writer.u32(append.shard)
      writer.u64(append.term)
      writer.u64(previousIndex)
      writer.u64(previousTerm)
      writer.u64(append.commit)
      writer.u32(next - from)
      for (let i = from; i < next; i++) {
        const entry = entries[i]!
        if (entry.bytes.length < COPY_BYTES_MAX) {
          writer.raw(entry.bytes)
          continue
        }
        cut()
        rest.push(entry.bytes)
        writer = new ByteWriter(256)
      }
      length += bytes
      if (next > from) {
        previousIndex = entries[next - 1]!.index
        previousTerm = entries[next - 1]!.term
      }
    } while (next < entries.length)
  }
  if (length > FRAME_HEADER_BYTES) seal()
}

export type ItemDefect = 'item type' | 'item fields' | 'entry' | 'entry out of place'

/** Delivers the items of a control frame's body. */
export function decodeControl(frame: Buffer, sink: ItemSink): ItemDefect | null {
  const reader = new ByteReader(frame, FRAME_HEADER_BYTES)
  while (reader.remaining > 0 && !sink.closed) {
    const type = reader.u8()
    switch (type) {
      case ItemType.preVote:
      case ItemType.vote: {
        const shard = reader.u32()
        const term = reader.u64()
        const lastIndex = reader.u64()
        const lastTerm = reader.u64()
        if (type === ItemType.preVote) {
          if (!reader.failed) sink.message({ type: 'pre-vote', shard, term, lastIndex, lastTerm })
          break
        }
        const transfer = reader.flag()
        if (!reader.failed) sink.message({ type: 'vote', shard, term, lastIndex, lastTerm, transfer })
        break
      }
      case ItemType.preVoteReply:
      case ItemType.voteReply: {
        const shard = reader.u32()
        const term = reader.u64()
        const granted = reader.flag()
        if (!reader.failed)
          sink.message({ type: type === ItemType.voteReply ? 'vote-reply' : 'pre-vote-reply', shard, term, granted })
        break
      }
      case ItemType.appendReply:
        decodeAppendReply(reader, sink)
        break
      case ItemType.stepDown:
      case ItemType.moved:
      case ItemType.campaignNow: {
        const shard = reader.u32()
        const term = reader.u64()
        const name = type === ItemType.stepDown ? 'step-down' : type === ItemType.moved ? 'moved' : 'campaign-now'
        if (!reader.failed) sink.message({ type: name, shard, term })
        break
      }
      case ItemType.beat: {
        const number = reader.u32()
        if (!reader.failed) sink.beat(number)
        break
      }
      case ItemType.beatReply: {
        const number = reader.u32()
        const wall = reader.u64()
        if (!reader.failed) sink.beatReply(number, wall)
        break
      }
      case ItemType.request: {
        const id = reader.u32()
        const method = reader.text()
        const body = reader.blob()
        if (!reader.failed) sink.request(id, method, body)
        break
      }
      case ItemType.response: {
        const id = reader.u32()
        const failed = reader.flag()
        const body = reader.blob()
        if (!reader.failed) sink.response(id, failed, body)
        break
      }
      case ItemType.leading:
        decodeLeading(reader, sink)
        break
      case ItemType.leadsNoLonger: {
        const shard = reader.u32()
        const term = reader.u64()
        if (!reader.failed) sink.leadsNoLonger(shard, term)
        break
      }
      default:
        return 'item type'
    }
    if (reader.failed) return 'item fields'
  }
  return null
}

function decodeAppendReply(reader: ByteReader, sink: ItemSink): void {
  const shard = reader.u32()
  const term = reader.u64()
  const received = reader.u64()
  const journaled = reader.u64()
  let rejected = null
  if (reader.flag()) rejected = { previousIndex: reader.u64(), hintIndex: reader.u64(), hintTerm: reader.u64() }
  if (!reader.failed) sink.message({ type: 'append-reply', shard, term, received, journaled, rejected })
}

function decodeLeading(reader: ByteReader, sink: ItemSink): void {
  const whole = reader.flag()
  const count = reader.u32()
  // Twelve bytes each: a count that the frame cannot hold must not become an allocation.
  if (count > reader.remaining / 12) reader.failed = true
  if (reader.failed) return
  const list: ShardTerm[] = []
  for (let i = 0; i < count; i++) list.push({ shard: reader.u32(), term: reader.u64() })
  if (!reader.failed) sink.leading(whole, list)
}

/** Delivers the appends of a data frame. Their entries are slices of `frame`, which must be theirs to keep. */
export function decodeData(frame: Buffer, sink: ItemSink): ItemDefect | null {
  const reader = new ByteReader(frame, FRAME_HEADER_BYTES)
  while (reader.remaining > 0 && !sink.closed) {
    if (reader.u8() !== ItemType.append) return 'item type'
    const shard = reader.u32()
    const term = reader.u64()
    const previousIndex = reader.u64()
    const previousTerm = reader.u64()
    const commit = reader.u64()
    const count = reader.u32()
    if (reader.failed) return 'item fields'
    const entries: Entry[] = []
    for (let i = 0; i < count; i++) {
      const entry = decodeEntry(frame, reader.at)
      if (typeof entry === 'string') return 'entry'
      if (entry.kind === EntryKind.hardState || entry.shard !== shard || entry.index !== previousIndex + 1 + i)
        return 'entry out of place'
      if (i > 0 && entry.previousCrc !== entries[i - 1]!.crc) return 'entry out of place'
      reader.at += entry.bytes.length
      entries.push(entry)
    }
    sink.message({ type: 'append', shard, term, previousIndex, previousTerm, commit, entries })
  }
  return null
}
