/**
 * Frames: how a stream of bytes between two nodes falls into pieces that can be trusted.
 *
 *      0  u32  length    of the whole frame, this header included
 *      4  u32  bodyCrc   CRC-32C of the body
 *      8  u8   version   agreed on in the handshake
 *      9  u8   kind      see FrameKind
 *     10  u64  stamp     Lamport time of the sender when the frame left
 *     18  u32  headerCrc CRC-32C of the 18 bytes before it
 *     22       body
 *
 * TCP's own checksum misses about one damaged segment in 65,536, and memory along the way has none, so each frame carries
 * sums. Two of them, because a reader must believe a length before it can check what the length spans. Were there only one,
 * a length that grew on its way would make the reader take the frames behind it for its filling, for as long as more of them
 * come: under steady traffic that is no stall, and nobody notices. So nothing is kept, allocated or waited for on the word of a
 * header whose own sum is not right. (TigerBeetle's messages carry the same two; so do the records of a journal, for the
 * same reason.)
 *
 * The frames that open a connection (hello, welcome, refusal) say version 0 and have an older layout, which never changes, so that
 * two builds of any age can tell each other why they do not match: no headerCrc, the body from byte 18, and bodyCrc over all from
 * byte 8 on. Their length is believed up to 8 KiB and until the handshake's deadline, and no longer: once there is a
 * session, such a frame is damage.
 *
 * Who keeps a frame's bytes decides who copies them. The platform's buffer is gone after the turn. What is decoded into plain
 * values (votes, beats) is read in place; entries live on in logs and journals, so their frame is copied once into a buffer
 * of exactly its size and they are slices of that. docs/formats/peer-wire.md shows the bytes of an example.
 */
import { assert, crc32c } from '../stdx/index.ts'
import { ENTRY_BYTES_MAX, readU64, writeU64 } from '../storage/index.ts'
import { ByteWriter } from './byte-cursor.ts'

export const FRAME_HEADER_BYTES = 22
const HEADER_CRC_AT = 18
/** The versions of the wire that this build speaks. Version 1 had no sum over the header. */
export const WIRE_VERSION_MIN = 2
export const WIRE_VERSION_MAX = 2
export const HANDSHAKE_VERSION = 0
export const HANDSHAKE_HEADER_BYTES = 18

/** Where data is split, so that no frame is worth waiting for. A single larger entry travels alone. */
export const DATA_FRAME_BYTES = 256 << 10
export const HANDSHAKE_FRAME_BYTES_MAX = 8 << 10
/** A request's body has its own, smaller limit: REQUEST_BYTES_MAX. */
export const CONTROL_FRAME_BYTES_MAX = 64 << 20
/** One entry, and the append around it. */
export const DATA_FRAME_BYTES_MAX = ENTRY_BYTES_MAX + 4096

/** Never renumber. */
export const FrameKind = {
  hello: 1,
  welcome: 2,
  refusal: 3,
  confirm: 4,
  control: 5,
  data: 6,
} as const
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind]
export type HandshakeKind = typeof FrameKind.hello | typeof FrameKind.welcome | typeof FrameKind.refusal

/** A writer whose first bytes are left free for the header. */
export function beginFrame(capacity: number): ByteWriter {
  const writer = new ByteWriter(FRAME_HEADER_BYTES + capacity)
  writer.reserve(FRAME_HEADER_BYTES)
  return writer
}

/** Fills in the header at the start of `first`; the frame is `first` followed by `rest`. Returns its length. */
export function sealFrame(
  first: Buffer,
  rest: readonly Buffer[],
  version: number,
  kind: FrameKind,
  stamp: number,
): number {
  let length = first.length
  let crc = crc32c(first.subarray(FRAME_HEADER_BYTES))
  for (const part of rest) {
    length += part.length
    crc = crc32c(part, crc)
  }
  first.writeUInt32LE(length, 0)
  first.writeUInt32LE(crc, 4)
  first[8] = version
  first[9] = kind
  writeU64(first, stamp, 10)
  first.writeUInt32LE(crc32c(first.subarray(0, HEADER_CRC_AT)), HEADER_CRC_AT)
  return length
}

/** The same for a frame that both sides read before they have agreed on a version. */
export function beginHandshake(capacity: number): ByteWriter {
  const writer = new ByteWriter(HANDSHAKE_HEADER_BYTES + capacity)
  writer.reserve(HANDSHAKE_HEADER_BYTES)
  return writer
}

export function sealHandshake(frame: Buffer, kind: HandshakeKind, stamp: number): void {
  assert(frame.length >= FRAME_HEADER_BYTES, () => `handshake frame of ${frame.length} bytes`)
  frame.writeUInt32LE(frame.length, 0)
  frame[8] = HANDSHAKE_VERSION
  frame[9] = kind
  writeU64(frame, stamp, 10)
  frame.writeUInt32LE(crc32c(frame.subarray(8)), 4)
}

export type FrameDefect = 'length' | 'header' | 'crc' | 'version' | 'kind' | 'stamp'

export interface FrameSink {
  /** A whole, verified frame. Unless the reader owns its frames, the bytes are valid for this call only. */
  frame(kind: FrameKind, stamp: number, frame: Buffer): void
}

export class FrameReader {
  readonly #sink: FrameSink
  /** Longest frame that is believed. Grows when the handshake is over. */
  limitBytes = HANDSHAKE_FRAME_BYTES_MAX
  /** The agreed version; 0 until there is one. */
  version = HANDSHAKE_VERSION
  /** There is a session: from here on every frame is of the agreed version. */
  handshakeOver = false
  /** Every frame gets a buffer of its own, which what is decoded from it may keep. */
  ownsFrames = false
  readonly #header = Buffer.alloc(FRAME_HEADER_BYTES)
  /** Of `#header`; only while a header is split over two chunks. */
  #headerFilled = 0
  #frame: Buffer | null = null
  #frameFilled = 0
  #stopped = false

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** The bytes so far end inside a frame. */
  get inFrame(): boolean {
    return this.#frame !== null || this.#headerFilled > 0
  }

  /** Nothing more is delivered, not even the rest of the chunk in progress. */
  stop(): void {
    this.#stopped = true
    this.#frame = null
  }

  /** Delivers the frames that these bytes complete. After a defect the position in the stream is lost for good. */
  push(chunk: Buffer): FrameDefect | null {
    let at = 0
    while (!this.#stopped) {
      if (this.#frame !== null) {
        const count = Math.min(this.#frame.length - this.#frameFilled, chunk.length - at)
        chunk.copy(this.#frame, this.#frameFilled, at, at + count)
        this.#frameFilled += count
        at += count
        if (this.#frameFilled < this.#frame.length) return null
        const frame = this.#frame
        this.#frame = null
        const defect = this.#deliver(frame)
        if (defect !== null) return defect
        continue
      }
      if (at === chunk.length) return null
      if (this.#headerFilled > 0 || chunk.length - at < FRAME_HEADER_BYTES) {
        const count = Math.min(FRAME_HEADER_BYTES - this.#headerFilled, chunk.length - at)
        chunk.copy(this.#header, this.#headerFilled, at, at + count)
        this.#headerFilled += count
        at += count
        const defect = this.#defectOf(this.#header, 0, this.#headerFilled)
        if (defect !== null) return defect
        if (this.#headerFilled < FRAME_HEADER_BYTES) return null
        this.#headerFilled = 0
        this.#begin(this.#header, 0)
        continue
      }
      const defect = this.#defectOf(chunk, at, FRAME_HEADER_BYTES)
      if (defect !== null) return defect
      const length = chunk.readUInt32LE(at)
      if (this.ownsFrames || chunk.length - at < length) {
        this.#begin(chunk, at)
        at += FRAME_HEADER_BYTES
        continue
      }
      const damage = this.#deliver(chunk.subarray(at, at + length))
      if (damage !== null) return damage
      at += length
    }
    return null
  }

  /** What is wrong with the header of which `count` bytes are here. The sum comes before anything is done on its word. */
  #defectOf(header: Buffer, at: number, count: number): FrameDefect | null {
    if (count < 4) return null
    // Also before the sum is here: whoever speaks another protocol need not send so much to be shown out.
    const length = header.readUInt32LE(at)
    if (length < FRAME_HEADER_BYTES || length > this.limitBytes) return 'length'
    if (count < FRAME_HEADER_BYTES) return null
    const version = header[at + 8]!
    const kind = header[at + 9]!
    if (version === HANDSHAKE_VERSION) {
      if (this.handshakeOver || kind >= FrameKind.confirm) return 'version'
      return kind < FrameKind.hello ? 'kind' : null
    }
    if (version !== this.version) return 'version'
    if (crc32c(header.subarray(at, at + HEADER_CRC_AT)) !== header.readUInt32LE(at + HEADER_CRC_AT)) return 'header'
    return kind < FrameKind.confirm || kind > FrameKind.data ? 'kind' : null
  }

  #begin(header: Buffer, at: number): void {
    this.#frame = Buffer.allocUnsafeSlow(header.readUInt32LE(at))
    header.copy(this.#frame, 0, at, at + FRAME_HEADER_BYTES)
    this.#frameFilled = FRAME_HEADER_BYTES
  }

  #deliver(frame: Buffer): FrameDefect | null {
    const summedFrom = frame[8] === HANDSHAKE_VERSION ? 8 : FRAME_HEADER_BYTES
    if (crc32c(frame.subarray(summedFrom)) !== frame.readUInt32LE(4)) return 'crc'
    const stamp = readU64(frame, 10)
    if (stamp < 0) return 'stamp'
    this.#sink.frame(frame[9] as FrameKind, stamp, frame)
    return null
  }
}
