import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNK_BYTES_MAX } from '../replication/index.ts'
import { Prng } from '../stdx/index.ts'
import { type Entry, EntryKind, encodeEntry, payloadOf } from '../storage/index.ts'
import { ByteWriter } from './byte-cursor.ts'
import { encodeRefusal } from './handshake.ts'
import { encodeBeat, encodeBeatReply } from './peer-messages.ts'
import { type Append, type Data, decodeData, type SnapshotChunk, writeData } from './peer-messages-data.ts'
import { fuzz, Receiver, randomEntries } from './peer-wire.fuzz.ts'
import {
  beginFrame,
  DATA_FRAME_BYTES,
  FRAME_HEADER_BYTES,
  FrameKind,
  FrameReader,
  sealFrame,
  WIRE_VERSION_MAX,
} from './peer-wire.ts'

function beatFrame(number: number, stamp = 1): Buffer {
  const writer = beginFrame(16)
  encodeBeat(writer, number)
  const frame = writer.take()
  sealFrame(frame, [], WIRE_VERSION_MAX, FrameKind.control, stamp)
  return frame
}

function append(entries: readonly Entry[], shard = 16): Append {
  return {
    type: 'append',
    shard,
    term: 9,
    previousIndex: (entries[0]?.index ?? 1) - 1,
    previousTerm: 2,
    commit: 5,
    entries,
  }
}

function framesOf(messages: readonly Data[]): { parts: Buffer[]; frames: Buffer[] } {
  const parts: Buffer[] = []
  writeData(
    messages,
    WIRE_VERSION_MAX,
    () => 9,
    (part) => parts.push(part),
  )
  const bytes = Buffer.concat(parts)
  const frames: Buffer[] = []
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at))
    frames.push(bytes.subarray(at, at + bytes.readUInt32LE(at)))
  return { parts, frames }
}

test('the bytes of the example in docs/formats/peer-wire.md', () => {
  assert.equal(beatFrame(7, 42).toString('hex'), '1b0000002caf50d302052a00000000000000ea42b06c' + '1007000000')
})

test('frames: what a fuzzer finds in a second', () => {
  fuzz(1, 60)
  fuzz(Date.now() & 0xffff, 20)
})

test('frames: the length is checked before anything is buffered', () => {
  const receiver = new Receiver()
  receiver.reader.limitBytes = 100
  const header = Buffer.alloc(4)
  header.writeUInt32LE(101, 0)
  receiver.push(header)
  assert.equal(receiver.defect, 'length')
  const short = new Receiver()
  short.push(Buffer.from([FRAME_HEADER_BYTES - 1, 0, 0, 0]))
  assert.equal(short.defect, 'length')
})

test('frames: a flipped bit of a header is found before a byte of the body is waited for', () => {
  const frame = beatFrame(7)
  for (const limitBytes of [4 << 20, 0xffff_ffff]) {
    for (let bit = 0; bit < 8 * FRAME_HEADER_BYTES; bit++) {
      const damaged = Buffer.from(frame)
      damaged[bit >> 3]! ^= 1 << (bit & 7)
      for (const piece of [1, 7, FRAME_HEADER_BYTES]) {
        const { reader, recorder } = new Receiver()
        reader.limitBytes = limitBytes
        let defect: string | null = null
        for (let at = 0; at < FRAME_HEADER_BYTES && defect === null; at += piece)
          defect = reader.push(damaged.subarray(at, Math.min(at + piece, FRAME_HEADER_BYTES)))
        const expected = bit >> 3 === 8 ? /version/ : bit < 32 ? /header|length/ : /header/
        assert.match(String(defect), expected, `bit ${bit} in pieces of ${piece}`)
        assert.deepEqual(recorder.lines, [])
      }
    }
  }
})

test('frames: one without a body is delivered when its header is whole', () => {
  for (const owned of [true, false]) {
    const kinds: number[] = []
    const reader = new FrameReader({ frame: (kind) => void kinds.push(kind) })
    reader.version = WIRE_VERSION_MAX
    reader.ownsFrames = owned
    const frame = beginFrame(0).take()
    sealFrame(frame, [], WIRE_VERSION_MAX, FrameKind.control, 1)
    assert.equal(reader.push(frame), null)
    assert.equal(reader.push(frame.subarray(0, 5)), null)
    assert.equal(reader.push(frame.subarray(5)), null)
    assert.deepEqual([kinds, reader.inFrame], [[FrameKind.control, FrameKind.control], false])
  }
})

test('frames: a frame of another version is not read', () => {
  const frame = beatFrame(1)
  sealFrame(frame, [], WIRE_VERSION_MAX + 1, FrameKind.control, 1)
  const receiver = new Receiver()
  receiver.push(frame)
  assert.equal(receiver.defect, 'version')
})

test('frames: before the handshake nothing but the handshake is read', () => {
  const reader = new FrameReader({ frame: () => assert.fail('delivered') })
  assert.equal(reader.push(beatFrame(1)), 'version')
})

test('frames: a refusal is read before and after a version is agreed on, and no more in a session', () => {
  const refusal = encodeRefusal({ code: 'VERSION', message: '' }, 1, 5)
  const read: FrameKind[] = []
  const reader = new FrameReader({ frame: (kind) => void read.push(kind) })
  assert.equal(reader.push(refusal), null)
  for (const byte of refusal) assert.equal(reader.push(Buffer.from([byte])), null)
  assert.deepEqual(read, [FrameKind.refusal, FrameKind.refusal])
  reader.version = WIRE_VERSION_MAX
  assert.equal(reader.push(refusal), null)
  assert.equal(read.length, 3)
  reader.handshakeOver = true
  assert.equal(reader.push(refusal), 'version')
})

test('frames: a reader that is stopped in the middle of a chunk delivers no more', () => {
  let delivered = 0
  const reader = new FrameReader({
    frame: () => {
      delivered++
      reader.stop()
    },
  })
  reader.version = WIRE_VERSION_MAX
  assert.equal(reader.push(Buffer.concat([beatFrame(1), beatFrame(2)])), null)
  assert.equal(delivered, 1)
})

test('snapshots: a chunk that could not be one of any snapshot is refused before anything is kept of it', () => {
  const head = { index: 9, entryTerm: 2, crc: 1, nextOffset: 8, stamp: 7, totalBytes: 100, sum: 3 }
  const chunk = (changes: { head?: object; at?: number; length?: number; term?: number }): string | null => {
    const message: SnapshotChunk = {
      type: 'snapshot',
      shard: 16,
      term: changes.term ?? 3,
      head: { ...head, ...changes.head },
      at: changes.at ?? 0,
      chunk: Buffer.alloc(changes.length ?? 10),
    }
    const [frame] = framesOf([message]).frames
    return decodeData(frame!, new Receiver().recorder)
  }
  assert.equal(chunk({}), null)
  assert.equal(chunk({ at: 90 }), null)
  for (const wrong of [
    { at: 91 },
    { head: { totalBytes: SNAPSHOT_BYTES_MAX + 1 } },
    { head: { totalBytes: SNAPSHOT_BYTES_MAX }, length: SNAPSHOT_CHUNK_BYTES_MAX + 1 },
    { head: { index: 0 } },
    { head: { entryTerm: 0 } },
    { head: { entryTerm: 4 } },
    { term: 2 ** 52 + 1 },
  ])
    assert.equal(chunk(wrong), 'item fields', JSON.stringify(wrong))
})

test('appends: split at 256 KiB, a larger entry alone, each piece naming its predecessor', () => {
  const prng = new Prng(5)
  const sizes = [100_000, 100_000, 100_000, 400_000, 10, 10]
  const entries: Entry[] = []
  for (const size of sizes) {
    entries.push(
      encodeEntry({
        kind: EntryKind.data,
        shard: 16,
        term: 3,
        index: 10 + entries.length,
        stamp: 1,
        firstOffset: 0,
        recordCount: 1,
        previousCrc: entries.at(-1)?.crc ?? 0,
        payload: [prng.bytes(size)],
      }),
    )
  }
  const { parts, frames } = framesOf([append(entries), append([])])
  assert.deepEqual(
    frames.map((frame) => Math.round(frame.length / 100_000)),
    [2, 1, 4, 0],
  )
  for (const frame of frames) assert.ok(frame.length <= DATA_FRAME_BYTES || frame.length < 401_000)
  // Large entries are handed on as they are, small ones are gathered.
  for (const entry of entries) assert.equal(parts.includes(entry.bytes), entry.bytes.length > 4096)
  const heads: unknown[] = []
  for (const frame of frames) {
    const sink = new Receiver().recorder
    sink.message = (message) => {
      if (message.type === 'append') heads.push([message.previousIndex, message.previousTerm, message.entries.length])
    }
    assert.equal(decodeData(frame, sink), null)
  }
  assert.deepEqual(heads, [
    [9, 2, 2],
    [11, 3, 1],
    [12, 3, 1],
    [13, 3, 2],
    [0, 2, 0],
  ])
})

test('appends: decoded entries keep no more than their frame alive', () => {
  const entries = randomEntries(new Prng(3), 16, 1, 3, 200)
  const { frames } = framesOf([append(entries)])
  const received: Entry[] = []
  const receiver = new Receiver()
  receiver.recorder.message = (message) => {
    if (message.type === 'append') received.push(...message.entries)
  }
  receiver.push(Buffer.concat([beatFrame(1), frames[0]!, beatFrame(2)]))
  assert.deepEqual(
    received.map(({ bytes }) => bytes),
    entries.map(({ bytes }) => bytes),
  )
  for (const { bytes } of received) assert.equal(bytes.buffer.byteLength, frames[0]!.length)
})

test('appends: an entry of another shard, out of order or after the wrong predecessor is refused', () => {
  const [first, second, third] = randomEntries(new Prng(4), 16, 1, 3, 20)
  const stranger = randomEntries(new Prng(4), 17, 2, 1, 20)
  const unlinked = randomEntries(new Prng(8), 16, 2, 1, 20)
  const hardState = encodeEntry({
    kind: EntryKind.hardState,
    shard: 16,
    term: 1,
    index: 1,
    stamp: 0,
    firstOffset: 0,
    recordCount: 0,
    previousCrc: 0,
    payload: [],
  })
  const later = encodeEntry({ ...first!, term: 10, payload: [payloadOf(first!)] })
  for (const wrong of [[first!, third!], [first!, stranger[0]!], [first!, unlinked[0]!], [hardState], [later]]) {
    const { frames } = framesOf([append(wrong)])
    assert.equal(decodeData(frames[0]!, new Receiver().recorder), 'entry out of place')
  }
  const { frames } = framesOf([append([first!, second!, third!])])
  assert.equal(decodeData(frames[0]!, new Receiver().recorder), null)
  // A frame whose own sum is right around an entry that was damaged before.
  const damaged = Buffer.from(first!.bytes)
  damaged[40] = damaged[40]! ^ 1
  assert.equal(
    decodeData(framesOf([append([{ ...first!, bytes: damaged }])]).frames[0]!, new Receiver().recorder),
    'entry',
  )
})

test('a wall clock before 1970 does not stop the beats', () => {
  const [before, epoch] = [new ByteWriter(32), new ByteWriter(32)]
  encodeBeatReply(before, 7, -3_046_047_201)
  encodeBeatReply(epoch, 7, 0)
  assert.equal(before.length, epoch.length)
})
