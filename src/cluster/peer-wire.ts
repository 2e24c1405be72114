/**
 * Frames: how a stream of bytes between two nodes falls into pieces that can be trusted.
 *
 *      0  u32  length    of the whole frame, these 18 bytes included
 *      4  u32  crc       CRC-32C of everything from byte 8 to the end
 *      8  u8   version   agreed on in the handshake; 0 in the handshake itself, whose layout never changes
 *      9  u8   kind      see FrameKind
 *     10  u64  stamp     Lamport time of the sender when the frame left
 *     18       body
 *
 * TCP's own checksum misses about one damaged segment in 65,536, and memory along the way has none, so each frame carries a
 * sum. The length stands outside it: a reader must believe it before it can check anything. Hence the limit, which is small
 * until the other side has shown who it is, and hence the rule that a frame which stops arriving in its middle ends the
 * session (`PeerMesh`): a damaged length would otherwise wait for bytes that nobody is going to send.
 *
 * Who keeps a frame's bytes decides who copies them. The platform's buffer is gone after the turn. What is decoded into plain
 * values (votes, beats) is read in place; entries live on in logs and journals, so their frame is copied once into a buffer
 * of exactly its size and they are slices of that. docs/formats/peer-wire.md shows the bytes of an example.
 */
import { assert, crc32c } from '../stdx/index.ts'
import { ENTRY_BYTES_MAX, readU64, writeU64 } from '../storage/index.ts'
import { ByteWriter } from './byte-cursor.ts'

export const FRAME_HEADER_BYTES = 18
/** The versions of the wire that this build speaks. */
export const WIRE_VERSION_MIN = 1
export const WIRE_VERSION_MAX = 1
export const HANDSHAKE_VERSION = 0

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
  for (const part of rest) length += part.length
  first.writeUInt32LE(length, 0)
  first[8] = version
  first[9] = kind
  writeU64(first, stamp, 10)
  let crc = crc32c(first.subarray(8))
  for (const part of rest) crc = crc32c(part, crc)
  first.writeUInt32LE(crc, 4)
  return length
}

export type FrameDefect = 'length' | 'crc' | 'version' | 'kind' | 'stamp'

export interface FrameSink {
  /** A whole, verified frame. Unless the reader owns its frames, the bytes are valid for this call only. */
  frame(kind: FrameKind, stamp: number, frame: Buffer): void
}

export class FrameReader {
  readonly #sink: FrameSink
  /** Longest frame that is believed. Grows when the handshake is over. */
  limitBytes = HANDSHAKE_FRAME_BYTES_MAX
  /** The agreed version, which every frame but those of the handshake must carry; 0 until there is one. */
  version = HANDSHAKE_VERSION
  /** Every frame gets a buffer of its own, which what is decoded from it may keep. */
  ownsFrames = false
  readonly #lengthBytes = Buffer.alloc(4)
  /** Of `#lengthBytes`; only while they are split over two chunks. */
  #lengthFilled = 0
  #frame: Buffer | null = null
  #frameFilled = 0
  #stopped = false

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** The bytes so far end inside a frame. */
  get inFrame(): boolean {
    return this.#frame !== null || this.#lengthFilled > 0
  }

  /** Nothing more is delivered, not even the rest of the chunk in progress. */
  stop(): void {
    this.#stopped = true
    this.#frame = null
  }

  /** Delivers the frames that these bytes complete. After a defect the position in the stream is lost for good. */
  push(chunk: Buffer): FrameDefect | null {
    let at = 0
    while (at < chunk.length && !this.#stopped) {
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
      let length: number
      if (this.#lengthFilled > 0 || chunk.length - at < 4) {
        const count = Math.min(4 - this.#lengthFilled, chunk.length - at)
        chunk.copy(this.#lengthBytes, this.#lengthFilled, at, at + count)
        this.#lengthFilled += count
        at += count
        if (this.#lengthFilled < 4) return null
        length = this.#lengthBytes.readUInt32LE(0)
        if (!this.#believable(length)) return 'length'
        this.#begin(length, this.#lengthBytes, 0)
        this.#lengthFilled = 0
        continue
      }
      length = chunk.readUInt32LE(at)
      if (!this.#believable(length)) return 'length'
      if (!this.ownsFrames && chunk.length - at >= length) {
        const defect = this.#deliver(chunk.subarray(at, at + length))
        if (defect !== null) return defect
        at += length
        continue
      }
      this.#begin(length, chunk, at)
      at += 4
    }
    return null
  }

  #believable(length: number): boolean {
    return length >= FRAME_HEADER_BYTES && length <= this.limitBytes
  }

  #begin(length: number, from: Buffer, at: number): void {
    assert(this.#believable(length), () => `frame of ${length} bytes`)
    this.#frame = Buffer.allocUnsafeSlow(length)
    from.copy(this.#frame, 0, at, at + 4)
    this.#frameFilled = 4
  }

  #deliver(frame: Buffer): FrameDefect | null {
    if (crc32c(frame.subarray(8)) !== frame.readUInt32LE(4)) return 'crc'
    const kind = frame[9] as FrameKind
    if (kind < FrameKind.hello || kind > FrameKind.data) return 'kind'
    if (frame[8] !== (kind <= FrameKind.confirm ? HANDSHAKE_VERSION : this.version)) return 'version'
    const stamp = readU64(frame, 10)
    if (stamp < 0) return 'stamp'
    this.#sink.frame(kind, stamp, frame)
    return null
  }
}
