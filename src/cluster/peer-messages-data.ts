/**
 * What travels on the data connection: appends, and chunks of snapshots.
 *
 * An append that is larger than a frame is sent as several, each a complete message: the next one's predecessor is the last
 * entry of the one before. To Raft this looks like a leader that pipelines (thesis §10.2.1), which it is.
 *
 * The decoder believes nothing. Beyond the frame's sum, every entry carries its own; and since an entry found in the wrong
 * place must not enter a log, entries are checked here, once, to be of the append's shard, consecutive, and each the successor
 * (by sum) of the one before. Behind this door they need no second look.
 */
import { type Message, SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNK_BYTES_MAX } from '../replication/index.ts'
import { decodeEntry, type Entry, EntryKind } from '../storage/index.ts'
import { ByteReader, ByteWriter } from './byte-cursor.ts'
import { type ItemDefect, type ItemSink, ItemType } from './peer-messages.ts'
import { beginFrame, DATA_FRAME_BYTES, FRAME_HEADER_BYTES, FrameKind, sealFrame } from './peer-wire.ts'

export type Append = Extract<Message, { type: 'append' }>
export type SnapshotChunk = Extract<Message, { type: 'snapshot' }>
/** What travels on the data connection. */
export type Data = Append | SnapshotChunk

/** Entries from this size on are sent by reference. Below, one copy costs less than one more buffer for the kernel. */
export const COPY_BYTES_MAX = 4096

/** Type, shard, term, previous index and term, commit, count. */
const APPEND_HEADER_BYTES = 1 + 4 + 8 + 8 + 8 + 8 + 4

/** Type, shard, term; index, entry's term, crc, next offset, stamp, total bytes, sum; at, length of the chunk. */
const SNAPSHOT_HEADER_BYTES = 1 + 4 + 8 + 8 + 8 + 4 + 8 + 8 + 8 + 4 + 8 + 4

/** Sends them as data frames: `write` is handed the parts of one frame after the other, in order. */
export function writeData(
  messages: readonly Data[],
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

  const raw = (bytes: Buffer): void => {
    if (bytes.length < COPY_BYTES_MAX) {
      writer.raw(bytes)
      return
    }
    cut()
    rest.push(bytes)
    writer = new ByteWriter(256)
  }

  for (const message of messages) {
    if (message.type === 'snapshot') {
      const bytes = SNAPSHOT_HEADER_BYTES + message.chunk.length
      if (length > FRAME_HEADER_BYTES && length + bytes > DATA_FRAME_BYTES) seal()
      encodeSnapshotHead(writer, message)
      raw(message.chunk)
      length += bytes
      continue
    }
    const append = message
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
      for (let i = from; i < next; i++) raw(entries[i]!.bytes)
      length += bytes
      if (next > from) {
        previousIndex = entries[next - 1]!.index
        previousTerm = entries[next - 1]!.term
      }
    } while (next < entries.length)
  }
  if (length > FRAME_HEADER_BYTES) seal()
}

function encodeSnapshotHead(into: ByteWriter, { shard, term, head, at, chunk }: SnapshotChunk): void {
  into.u8(ItemType.snapshot)
  into.u32(shard)
  into.u64(term)
  into.u64(head.index)
  into.u64(head.entryTerm)
  into.u32(head.crc)
  into.u64(head.nextOffset)
  into.u64(head.stamp)
  into.u64(head.totalBytes)
  into.u32(head.sum)
  into.u64(at)
  into.u32(chunk.length)
}

/** Delivers the items of a data frame. Entries and chunks are slices of `frame`, which must be theirs to keep. */
export function decodeData(frame: Buffer, sink: ItemSink): ItemDefect | null {
  const reader = new ByteReader(frame, FRAME_HEADER_BYTES)
  while (reader.remaining > 0 && !sink.closed) {
    const type = reader.u8()
    if (type === ItemType.snapshot) {
      const chunk = decodeSnapshotChunk(reader)
      if (chunk === null) return 'item fields'
      sink.message(chunk)
      continue
    }
    if (type !== ItemType.append) return 'item type'
    const shard = reader.u32()
    const term = reader.term()
    const previousIndex = reader.u64()
    const previousTerm = reader.term()
    const commit = reader.u64()
    const count = reader.u32()
    if (reader.failed) return 'item fields'
    const entries: Entry[] = []
    for (let i = 0; i < count; i++) {
      const entry = decodeEntry(frame, reader.at)
      if (typeof entry === 'string') return 'entry'
      if (entry.kind === EntryKind.hardState || entry.shard !== shard || entry.index !== previousIndex + 1 + i)
        return 'entry out of place'
      if (entry.term > term) return 'entry out of place'
      if (i > 0 && entry.previousCrc !== entries[i - 1]!.crc) return 'entry out of place'
      reader.at += entry.bytes.length
      entries.push(entry)
    }
    sink.message({ type: 'append', shard, term, previousIndex, previousTerm, commit, entries })
  }
  return null
}

/** Null for a chunk that cannot be one of any snapshot: what is announced becomes memory, so it has limits. */
function decodeSnapshotChunk(reader: ByteReader): SnapshotChunk | null {
  const shard = reader.u32()
  const term = reader.term()
  const index = reader.u64()
  const entryTerm = reader.term()
  const crc = reader.u32()
  const nextOffset = reader.u64()
  const stamp = reader.u64()
  const totalBytes = reader.u64()
  const sum = reader.u32()
  const at = reader.u64()
  const length = reader.u32()
  if (reader.failed || length > reader.remaining || length > SNAPSHOT_CHUNK_BYTES_MAX) return null
  if (index < 1 || entryTerm < 1 || entryTerm > term) return null
  if (totalBytes > SNAPSHOT_BYTES_MAX || at + length > totalBytes) return null
  const chunk = reader.bytes.subarray(reader.at, reader.at + length)
  reader.at += length
  const head = { index, entryTerm, crc, nextOffset, stamp, totalBytes, sum }
  return { type: 'snapshot', shard, term, head, at, chunk }
}
