/**
 * Fuzzes what a peer can send: frames, items and handshakes.
 *
 * Each round builds a valid stream from random messages and feeds it to the reader whole, byte by byte, and split at random: it
 * must give back the same messages every time. Then the stream is damaged, in two ways. A flipped bit anywhere must be found by
 * a frame's sum, so whatever is delivered before is a prefix of the truth. And bytes that are changed *under a valid sum*, as
 * only a faulty peer would send them, must be refused or understood as something well-formed, without a throw and without
 * reading beyond the frame.
 */
import { type Message, SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNK_BYTES_MAX } from '../replication/index.ts'
import { assert, Prng } from '../stdx/index.ts'
import { type Entry, EntryKind, encodeEntry } from '../storage/index.ts'
import type { ByteWriter } from './byte-cursor.ts'
import { decodeHello, decodeRefusal, encodeHello, encodeRefusal, type Hello } from './handshake.ts'
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
import { type Append, type Data, decodeData, writeData } from './peer-messages-data.ts'
import {
  beginFrame,
  FRAME_HEADER_BYTES,
  FrameKind,
  FrameReader,
  HANDSHAKE_HEADER_BYTES,
  sealFrame,
  WIRE_VERSION_MAX,
} from './peer-wire.ts'

/** Writes down what it is given, as text that can be compared. */
export class Recorder implements ItemSink {
  readonly closed = false
  readonly lines: string[] = []

  message(message: Message): void {
    if (message.type === 'snapshot') {
      const { chunk, ...head } = message
      this.lines.push(`${JSON.stringify(head)} ${chunk.toString('latin1')}`)
      return
    }
    if (message.type !== 'append') {
      this.lines.push(JSON.stringify(message))
      return
    }
    // An append may arrive in pieces: what counts is the sequence of entries and of empty appends.
    const { entries, ...head } = message
    if (entries.length === 0) this.lines.push(JSON.stringify(head))
    let { previousIndex, previousTerm } = message
    for (const entry of entries) {
      this.lines.push(JSON.stringify({ ...head, previousIndex, previousTerm, entry: entry.bytes.toString('latin1') }))
      previousIndex = entry.index
      previousTerm = entry.term
    }
  }

  beat(number: number): void {
    this.lines.push(`beat ${number}`)
  }

  beatReply(number: number, wall: number): void {
    this.lines.push(`reply ${number} ${wall}`)
  }

  request(id: number, method: string, body: Buffer): void {
    this.lines.push(`request ${id} ${method} ${body.toString('hex')}`)
  }

  response(id: number, failed: boolean, body: Buffer): void {
    this.lines.push(`response ${id} ${failed} ${body.toString('hex')}`)
  }

  leading(whole: boolean, list: readonly { shard: number; term: number }[]): void {
    this.lines.push(`leading ${whole} ${JSON.stringify(list)}`)
  }

  leadsNoLonger(shard: number, term: number): void {
    this.lines.push(`leads no longer ${shard} ${term}`)
  }
}

/** Decodes a stream of frames into lines. A defect becomes `null` and is kept. */
export class Receiver {
  readonly recorder = new Recorder()
  readonly stamps: number[] = []
  readonly reader: FrameReader
  defect: string | null = null

  constructor(ownsFrames = true) {
    this.reader = new FrameReader({
      frame: (kind, stamp, frame) => {
        if (this.defect !== null) return
        this.stamps.push(stamp)
        if (kind === FrameKind.control) this.defect = decodeControl(frame, this.recorder)
        else if (kind === FrameKind.data) this.defect = decodeData(frame, this.recorder)
      },
    })
    this.reader.limitBytes = 4 << 20
    this.reader.version = WIRE_VERSION_MAX
    this.reader.handshakeOver = true
    this.reader.ownsFrames = ownsFrames
  }

  push(bytes: Buffer): void {
    if (this.defect !== null) return
    // The platform's buffer is only lent: it is overwritten afterwards, so that whoever kept a slice of it is found out.
    const lent = Buffer.from(bytes)
    const defect = this.reader.push(lent)
    lent.fill(0xdb)
    this.defect ??= defect
  }
}

const NUMBERS = [0, 1, 255, 65_536, 2 ** 31, 2 ** 32 - 1]
const LARGE = [...NUMBERS, 2 ** 32, 2 ** 40 + 7, Number.MAX_SAFE_INTEGER]
const TERMS = [...NUMBERS, 2 ** 40 + 7, 2 ** 52 - 9]

function pick<T>(prng: Prng, from: readonly T[]): T {
  return from[prng.below(from.length)]!
}

export function randomEntries(prng: Prng, shard: number, firstIndex: number, count: number, bytesMax: number): Entry[] {
  const entries: Entry[] = []
  for (let i = 0; i < count; i++) {
    entries.push(
      encodeEntry({
        kind: pick(prng, [EntryKind.leadership, EntryKind.configuration, EntryKind.data, EntryKind.cut]),
        shard,
        term: prng.below(9),
        index: firstIndex + i,
        stamp: prng.below(1e6),
        firstOffset: prng.below(1e6),
        recordCount: prng.below(9),
        previousCrc: entries[i - 1]?.crc ?? prng.uint32(),
        payload: [prng.bytes(prng.below(bytesMax))],
      }),
    )
  }
  return entries
}

function randomAppend(prng: Prng): Append {
  const shard = pick(prng, NUMBERS)
  const previousIndex = prng.below(1e6)
  const bytesMax = pick(prng, [10, 10, 300, 5000, 5000, 300_000])
  const entries = randomEntries(prng, shard, previousIndex + 1, prng.below(bytesMax > 5000 ? 3 : 12), bytesMax)
  return {
    type: 'append',
    shard,
    // No entry is of a later term than the leader that sends it.
    term: pick(prng, TERMS) + 9,
    previousIndex,
    previousTerm: pick(prng, TERMS),
    commit: pick(prng, LARGE),
    entries,
  }
}

function randomSnapshotChunk(prng: Prng): Data {
  const chunk = prng.bytes(pick(prng, [0, 1, 300, 4095, 4096, SNAPSHOT_CHUNK_BYTES_MAX]))
  const at = pick(prng, [0, 1, SNAPSHOT_BYTES_MAX - chunk.length])
  const totalBytes = pick(prng, [at + chunk.length, SNAPSHOT_BYTES_MAX])
  const entryTerm = pick(prng, TERMS.slice(1))
  const head = {
    index: pick(prng, LARGE.slice(1)),
    entryTerm,
    crc: prng.uint32(),
    nextOffset: pick(prng, LARGE),
    stamp: pick(prng, LARGE),
    totalBytes,
    sum: prng.uint32(),
  }
  return { type: 'snapshot', shard: pick(prng, NUMBERS), term: Math.max(entryTerm, pick(prng, TERMS)), head, at, chunk }
}

export function randomMessage(prng: Prng): Exclude<Message, Data> {
  const shard = pick(prng, NUMBERS)
  const term = pick(prng, TERMS)
  switch (prng.below(9)) {
    case 0:
      return { type: 'pre-vote', shard, term, lastIndex: pick(prng, LARGE), lastTerm: pick(prng, TERMS) }
    case 1:
      return {
        type: 'vote',
        shard,
        term,
        lastIndex: pick(prng, LARGE),
        lastTerm: pick(prng, TERMS),
        transfer: prng.below(2) === 1,
      }
    case 2:
      return { type: 'pre-vote-reply', shard, term, granted: prng.below(2) === 1 }
    case 3:
      return { type: 'vote-reply', shard, term, granted: prng.below(2) === 1 }
    case 4: {
      const rejected = { previousIndex: pick(prng, LARGE), hintIndex: pick(prng, LARGE), hintTerm: pick(prng, TERMS) }
      return {
        type: 'append-reply',
        shard,
        term,
        received: pick(prng, LARGE),
        journaled: pick(prng, LARGE),
        rejected: prng.below(2) === 1 ? rejected : null,
      }
    }
    case 5:
      return { type: 'snapshot-reply', shard, term, index: pick(prng, LARGE), received: pick(prng, LARGE) }
    default:
      return { type: pick(prng, ['step-down', 'moved', 'campaign-now'] as const), shard, term }
  }
}

/** Writes one random item both as bytes and as what the recorder should say. */
function randomItem(prng: Prng, into: ByteWriter, expected: Recorder): void {
  const number = pick(prng, NUMBERS)
  switch (prng.below(9)) {
    case 0:
      encodeBeat(into, number)
      expected.beat(number)
      break
    case 1: {
      const wall = pick(prng, LARGE)
      encodeBeatReply(into, number, wall)
      expected.beatReply(number, wall)
      break
    }
    case 2: {
      const body = prng.bytes(prng.below(200))
      const method = pick(prng, ['', 'status', 'größer'])
      encodeRequest(into, number, method, body)
      expected.request(number, method, body)
      break
    }
    case 3: {
      const body = prng.bytes(prng.below(200))
      encodeResponse(into, number, body.length > 100, body)
      expected.response(number, body.length > 100, body)
      break
    }
    case 4: {
      const list = Array.from({ length: prng.below(5) }, () => ({
        shard: pick(prng, NUMBERS),
        term: pick(prng, TERMS),
      }))
      encodeLeading(into, list.length > 2, list)
      expected.leading(list.length > 2, list)
      break
    }
    case 5: {
      const term = pick(prng, TERMS)
      encodeLeadsNoLonger(into, number, term)
      expected.leadsNoLonger(number, term)
      break
    }
    default: {
      const message = randomMessage(prng)
      encodeMessage(into, message)
      expected.message(message)
    }
  }
}

interface Stream {
  readonly bytes: Buffer
  readonly frames: readonly Buffer[]
  readonly expected: readonly string[]
}

function randomStream(prng: Prng): Stream {
  const expected = new Recorder()
  const parts: Buffer[] = []
  for (let frame = prng.below(4); frame >= 0; frame--) {
    if (prng.below(2) === 0) {
      const writer = beginFrame(prng.below(64))
      for (let items = prng.below(6); items >= 0; items--) randomItem(prng, writer, expected)
      const bytes = writer.take()
      sealFrame(bytes, [], WIRE_VERSION_MAX, FrameKind.control, pick(prng, LARGE))
      parts.push(bytes)
    } else {
      const messages = Array.from({ length: 1 + prng.below(4) }, () =>
        prng.below(4) === 0 ? randomSnapshotChunk(prng) : randomAppend(prng),
      )
      for (const message of messages) expected.message(message)
      writeData(
        messages,
        WIRE_VERSION_MAX,
        () => pick(prng, LARGE),
        (part) => parts.push(part),
      )
    }
  }
  const bytes = Buffer.concat(parts)
  const frames: Buffer[] = []
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at))
    frames.push(bytes.subarray(at, at + bytes.readUInt32LE(at)))
  return { bytes, frames, expected: expected.lines }
}

function expectSame(how: string, receiver: Receiver, expected: readonly string[]): void {
  assert(receiver.defect === null, () => `${how}: defect ${receiver.defect} in a valid stream`)
  const { lines } = receiver.recorder
  assert(lines.length === expected.length, () => `${how}: ${lines.length} items, expected ${expected.length}`)
  for (let i = 0; i < lines.length; i++) assert(lines[i] === expected[i], () => `${how}: item ${i} differs`)
  assert(!receiver.reader.inFrame, () => `${how}: ends inside a frame`)
}

function feedSplit(receiver: Receiver, bytes: Buffer, next: () => number): void {
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + next())
    receiver.push(bytes.subarray(at, end))
    at = end
  }
}

function checkFlipped(prng: Prng, { bytes, expected }: Stream): void {
  const damaged = Buffer.from(bytes)
  const at = prng.below(damaged.length)
  damaged[at] = damaged[at]! ^ (1 << prng.below(8))
  const receiver = new Receiver()
  feedSplit(receiver, damaged, () => 1 + prng.below(3000))
  const { lines } = receiver.recorder
  for (let i = 0; i < lines.length; i++)
    assert(lines[i] === expected[i], () => `a flipped bit at ${at} went through in item ${i}`)
  // Not even waited for: whatever a bit of a header says, its own sum is checked before the reader acts on it.
  assert(receiver.defect !== null, () => `a flipped bit at ${at} of ${bytes.length} was not noticed`)
}

/** Changes a frame's body and makes its sum right again. */
function checkForged(prng: Prng, { frames }: Stream): void {
  const original = pick(prng, frames)
  const kind = original[9] as FrameKind
  let body = Buffer.from(original.subarray(FRAME_HEADER_BYTES))
  for (let edits = 1 + prng.below(3); edits > 0 && body.length > 0; edits--) {
    const at = prng.below(body.length)
    switch (prng.below(4)) {
      case 0:
        body[at] = prng.below(256)
        break
      case 1:
        body = body.subarray(0, at)
        break
      case 2:
        body = Buffer.concat([body.subarray(0, at), prng.bytes(1 + prng.below(9)), body.subarray(at)])
        break
      default:
        if (at + 4 <= body.length) body.writeUInt32LE(pick(prng, NUMBERS), at)
    }
  }
  const writer = beginFrame(body.length)
  writer.raw(body)
  const frame = writer.take()
  sealFrame(frame, [], WIRE_VERSION_MAX, prng.below(8) === 0 ? ((1 + prng.below(6)) as FrameKind) : kind, 1)
  new Receiver().push(frame)
}

function checkHandshake(prng: Prng): void {
  const text = (): string => prng.bytes(1 + prng.below(12)).toString('hex')
  const hello: Hello = {
    versionMin: prng.below(256),
    versionMax: prng.below(256),
    role: pick(prng, ['control', 'data', 'introduction']),
    nonce: text(),
    expected: prng.below(10),
    node: 1 + prng.below(10),
    processIncarnation: text(),
    diskIncarnation: text(),
    clusterId: pick(prng, [null, text()]),
    clusterHash: pick(prng, ['', text()]),
    kafka: { host: text(), port: prng.below(65_536) },
    http: pick(prng, [null, { host: text(), port: 1 }]),
    peer: { host: text(), port: prng.below(65_536) },
    rack: pick(prng, [null, 'küche']),
  }
  const frame = encodeHello(hello, FrameKind.hello, 7)
  assert(
    JSON.stringify(decodeHello(frame)) === JSON.stringify({ ...decodeHello(frame), ...hello }),
    'a hello changed on its way',
  )
  const refusal = { code: 'VERSION', message: text() } as const
  const refused = encodeRefusal(refusal, 3, 8)
  assert(decodeRefusal(refused)?.refusal.message === refusal.message, 'a refusal changed on its way')
  for (const valid of [frame, refused]) {
    const forged = Buffer.from(
      valid.subarray(0, HANDSHAKE_HEADER_BYTES + prng.below(valid.length - HANDSHAKE_HEADER_BYTES + 1)),
    )
    if (forged.length > HANDSHAKE_HEADER_BYTES)
      forged[HANDSHAKE_HEADER_BYTES + prng.below(forged.length - HANDSHAKE_HEADER_BYTES)] = prng.below(256)
    decodeHello(forged)
    decodeRefusal(forged)
  }
}

export function fuzz(seed: number, rounds: number): void {
  const prng = new Prng(seed)
  for (let round = 0; round < rounds; round++) {
    const stream = randomStream(prng)
    const { bytes, expected } = stream
    const whole = new Receiver(prng.below(2) === 0 || stream.frames.some((frame) => frame[9] === FrameKind.data))
    whole.push(bytes)
    expectSame('whole', whole, expected)
    if (bytes.length < 20_000) {
      const single = new Receiver()
      feedSplit(single, bytes, () => 1)
      expectSame('byte by byte', single, expected)
    }
    const split = new Receiver()
    feedSplit(split, bytes, () => 1 + prng.below(pick(prng, [3, 40, 5000, 70_000])))
    expectSame('split', split, expected)
    checkFlipped(prng, stream)
    for (let i = 0; i < 4; i++) checkForged(prng, stream)
    const garbage = new Receiver()
    garbage.push(prng.bytes(prng.below(100)))
    checkHandshake(prng)
  }
}
