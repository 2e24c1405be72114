/**
 * What is inside frames: items, one after the other, each a type byte and its fields.
 *
 * The body of a control frame is everything that one turn had to say to one peer: votes, acknowledgements, beats, requests,
 * news of leaders. The body of a data frame is appends, whose entries are the leader's own bytes, verbatim, and chunks of
 * snapshots: small ones are copied into the frame (one buffer is cheaper than many), large ones are handed to the socket by
 * reference.
 */
import type { Message } from '../replication/index.ts'
import { unreachable } from '../stdx/index.ts'
import { ByteReader, type ByteWriter } from './byte-cursor.ts'
import type { ShardTerm } from './leader-table.ts'
import type { Data } from './peer-messages-data.ts'
import { FRAME_HEADER_BYTES } from './peer-wire.ts'

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
  snapshot: 10,
  snapshotReply: 11,
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

export function encodeMessage(into: ByteWriter, message: Exclude<Message, Data>): void {
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
    case 'snapshot-reply':
      into.u8(ItemType.snapshotReply)
      into.u32(message.shard)
      into.u64(message.term)
      into.u64(message.index)
      into.u64(message.received)
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
  // A clock before 1970 is wrong, and must not stop the beats: nothing rests on it.
  into.u64(Math.max(0, wall))
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
        const term = reader.term()
        const lastIndex = reader.u64()
        const lastTerm = reader.term()
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
        const term = reader.term()
        const granted = reader.flag()
        if (!reader.failed)
          sink.message({ type: type === ItemType.voteReply ? 'vote-reply' : 'pre-vote-reply', shard, term, granted })
        break
      }
      case ItemType.appendReply:
        decodeAppendReply(reader, sink)
        break
      case ItemType.snapshotReply: {
        const shard = reader.u32()
        const term = reader.term()
        const index = reader.u64()
        const received = reader.u64()
        if (!reader.failed) sink.message({ type: 'snapshot-reply', shard, term, index, received })
        break
      }
      case ItemType.stepDown:
      case ItemType.moved:
      case ItemType.campaignNow: {
        const shard = reader.u32()
        const term = reader.term()
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
        const term = reader.term()
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
  const term = reader.term()
  const received = reader.u64()
  const journaled = reader.u64()
  let rejected = null
  if (reader.flag()) rejected = { previousIndex: reader.u64(), hintIndex: reader.u64(), hintTerm: reader.term() }
  if (!reader.failed) sink.message({ type: 'append-reply', shard, term, received, journaled, rejected })
}

function decodeLeading(reader: ByteReader, sink: ItemSink): void {
  const whole = reader.flag()
  const count = reader.u32()
  // Twelve bytes each: a count that the frame cannot hold must not become an allocation.
  if (count > reader.remaining / 12) reader.failed = true
  if (reader.failed) return
  const list: ShardTerm[] = []
  for (let i = 0; i < count; i++) list.push({ shard: reader.u32(), term: reader.term() })
  if (!reader.failed) sink.leading(whole, list)
}
