/**
 * Writes frames: requests and responses, one after the other, into one growing buffer, so that what an event-loop turn has
 * to say to a connection leaves in one write.
 *
 * Three things make it more than a cursor:
 *
 * - **Nothing is measured beforehand.** A frame's length, and the length of a tagged field, are filled in when the end is
 *   known. Measuring first would walk every message and every string twice.
 * - **Records are not copied when they are large.** A Fetch response of a megabyte is a few hundred bytes around slices of
 *   the log. The writer cuts: what was written so far becomes a chunk, the slice becomes a chunk, and writing goes on
 *   behind it. Small slices are copied, for below a few KiB a copy is cheaper than one more vector element in the system call.
 * - **Bytes handed out are never written again**, since the socket may hold them for as long as the peer is slow. The slab is
 *   consumed from left to right and forgotten when it is used up; nobody has to give anything back.
 *
 *     slab   |  taken before  | a chunk | a chunk | the open segment →     free     |
 *                                                 ^ #segment         ^ at           ^ limit
 */
import { assert } from '../../stdx/index.ts'
import { EncodeError } from './codec-errors.ts'

/** From here on a slice costs less than its copy. */
export const BY_REFERENCE_BYTES_MIN = 4096
const SLAB_BYTES = 16 * 1024
/** Strings up to here are written by a loop, which is cheaper than the call into the runtime. */
const SHORT_STRING = 40
const TWO_TO_32 = 0x1_0000_0000
const NOTHING = Buffer.alloc(0)

export class Writer {
  readonly #slabBytes: number
  #slab: Buffer
  #at = 0
  /** Where the segment starts that is not yet a chunk. Invariant: 0 ≤ segment ≤ at ≤ slab.length. */
  #segment = 0
  #chunks: Buffer[] = []
  /** Bytes in #chunks. */
  #chunkBytes = 0

  /** Of the frame that is open: where its length belongs; in which slab, since the slab may have been replaced. */
  #frameSlab: Buffer | null = null
  #frameAt = 0
  #frameStart = 0
  #frameChunks = 0

  /** The slab may be handed in; it is then the writer's. */
  constructor(slab: Buffer | number = SLAB_BYTES) {
    this.#slab = typeof slab === 'number' ? NOTHING : slab
    this.#slabBytes = typeof slab === 'number' ? slab : Math.max(slab.length, 256)
  }

  /** Bytes written and not yet taken. */
  get length(): number {
    return this.#chunkBytes + this.#at - this.#segment
  }

  /** What was written since the last call, in order. The bytes are final: nothing will be written into them. */
  take(): Buffer[] {
    assert(this.#frameSlab === null, 'take() inside a frame')
    this.#cut()
    const chunks = this.#chunks
    this.#chunks = []
    this.#chunkBytes = 0
    return chunks
  }

  /** As `take`, in one buffer: for requests, tests and tools. */
  takeBuffer(): Buffer {
    const chunks = this.take()
    return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
  }

  /** Forgets the free rest of the slab: a connection that falls silent should hold no memory. */
  release(): void {
    assert(this.length === 0, 'release() with bytes that nobody took')
    this.#slab = NOTHING
    this.#at = 0
    this.#segment = 0
  }

  /** Opens a frame: four bytes of length, then whatever is written until `endFrame`. */
  beginFrame(): void {
    assert(this.#frameSlab === null, 'frames do not nest')
    this.#ensure(4)
    this.#frameSlab = this.#slab
    this.#frameAt = this.#at
    this.#frameStart = this.length
    this.#frameChunks = this.#chunks.length
    this.#at += 4
  }

  endFrame(): void {
    assert(this.#frameSlab !== null, 'endFrame() without beginFrame()')
    this.#frameSlab.writeInt32BE(this.length - this.#frameStart - 4, this.#frameAt)
    this.#frameSlab = null
  }

  /** Takes the open frame back, for when its content turned out to be unsayable; frames before it stay. */
  abandonFrame(): void {
    assert(this.#frameSlab !== null, 'abandonFrame() without beginFrame()')
    this.#frameSlab = null
    if (this.#chunks.length === this.#frameChunks) {
      this.#at = this.#segment + (this.#frameStart - this.#chunkBytes)
      return
    }
    // A slice was sent by reference, which made a chunk of the segment that the frame began in.
    const before = this.#chunks.slice(0, this.#frameChunks)
    let bytes = 0
    for (const chunk of before) bytes += chunk.length
    if (bytes < this.#frameStart) before.push(this.#chunks[this.#frameChunks]!.subarray(0, this.#frameStart - bytes))
    this.#chunks = before
    this.#chunkBytes = this.#frameStart
    this.#segment = this.#at
  }

  bool(value: boolean): void {
    this.int8(value ? 1 : 0)
  }

  int8(value: number): void {
    if (this.#at + 1 > this.#slab.length) this.#grow(1)
    this.#slab[this.#at++] = value
  }

  int16(value: number): void {
    if (this.#at + 2 > this.#slab.length) this.#grow(2)
    const slab = this.#slab
    const at = this.#at
    slab[at] = value >> 8
    slab[at + 1] = value
    this.#at = at + 2
  }

  int32(value: number): void {
    if (this.#at + 4 > this.#slab.length) this.#grow(4)
    const slab = this.#slab
    const at = this.#at
    slab[at] = value >> 24
    slab[at + 1] = value >> 16
    slab[at + 2] = value >> 8
    slab[at + 3] = value
    this.#at = at + 4
  }

  int64(value: number): void {
    if (!Number.isSafeInteger(value))
      throw new EncodeError({ code: 'OUT_OF_RANGE', value }, `not a 64-bit integer: ${value}`)
    if (this.#at + 8 > this.#slab.length) this.#grow(8)
    const high = Math.floor(value / TWO_TO_32)
    const low = value - high * TWO_TO_32
    const slab = this.#slab
    const at = this.#at
    slab[at] = high >> 24
    slab[at + 1] = high >> 16
    slab[at + 2] = high >> 8
    slab[at + 3] = high
    slab[at + 4] = low >>> 24
    slab[at + 5] = low >>> 16
    slab[at + 6] = low >>> 8
    slab[at + 7] = low
    this.#at = at + 8
  }

  uvarint(value: number): void {
    if (this.#at + 5 > this.#slab.length) this.#grow(5)
    const slab = this.#slab
    let at = this.#at
    let rest = value
    while (rest > 0x7f) {
      slab[at++] = (rest & 0x7f) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    slab[at++] = rest
    this.#at = at
  }

  uuid(hex: string): void {
    if (this.#at + 16 > this.#slab.length) this.#grow(16)
    const written = this.#slab.write(hex, this.#at, 16, 'hex')
    assert(written === 16 && hex.length === 32, () => `a uuid is 32 hexadecimal digits: ${hex}`)
    this.#at += 16
  }

  string(value: string): void {
    const length = value.length
    if (length <= SHORT_STRING) {
      // UTF-8 takes at most three bytes for each of JavaScript's sixteen-bit units.
      if (this.#at + 2 + length * 3 > this.#slab.length) this.#grow(2 + length * 3)
      const written = this.#short(value, this.#at + 2)
      this.#slab[this.#at] = written >> 8
      this.#slab[this.#at + 1] = written
      this.#at += 2 + written
      return
    }
    const bytes = Buffer.byteLength(value)
    if (bytes > 0x7fff)
      throw new EncodeError({ code: 'STRING_TOO_LONG', bytes }, `a string of ${bytes} bytes, limit 32767`)
    this.int16(bytes)
    this.#long(value, bytes)
  }

  nullableString(value: string | null): void {
    if (value === null) this.int16(-1)
    else this.string(value)
  }

  compactString(value: string): void {
    const length = value.length
    if (length <= SHORT_STRING) {
      // 3 × 40 + 1 < 128: the length takes one byte, whatever the characters are.
      if (this.#at + 1 + length * 3 > this.#slab.length) this.#grow(1 + length * 3)
      const written = this.#short(value, this.#at + 1)
      this.#slab[this.#at] = written + 1
      this.#at += 1 + written
      return
    }
    const bytes = Buffer.byteLength(value)
    this.uvarint(bytes + 1)
    this.#long(value, bytes)
  }

  compactNullableString(value: string | null): void {
    if (value === null) this.int8(0)
    else this.compactString(value)
  }

  #short(value: string, at: number): number {
    const slab = this.#slab
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i)
      if (code > 0x7f) return slab.write(value, at, 'utf8')
      slab[at + i] = code
    }
    return value.length
  }

  #long(value: string, bytes: number): void {
    this.#ensure(bytes)
    this.#slab.write(value, this.#at, 'utf8')
    this.#at += bytes
  }

  bytesField(value: Buffer): void {
    this.int32(value.length)
    this.#copy(value)
  }

  nullableBytesField(value: Buffer | null): void {
    if (value === null) this.int32(-1)
    else this.bytesField(value)
  }

  compactBytesField(value: Buffer): void {
    this.uvarint(value.length + 1)
    this.#copy(value)
  }

  compactNullableBytesField(value: Buffer | null): void {
    if (value === null) this.int8(0)
    else this.compactBytesField(value)
  }

  /** Slices of `BY_REFERENCE_BYTES_MIN` and more are handed out as they are: nobody may change them any more. */
  records(value: Buffer | readonly Buffer[]): void {
    this.int32(recordsLength(value))
    this.#slices(value)
  }

  nullableRecords(value: Buffer | readonly Buffer[] | null): void {
    if (value === null) this.int32(-1)
    else this.records(value)
  }

  compactRecords(value: Buffer | readonly Buffer[]): void {
    this.uvarint(recordsLength(value) + 1)
    this.#slices(value)
  }

  compactNullableRecords(value: Buffer | readonly Buffer[] | null): void {
    if (value === null) this.int8(0)
    else this.compactRecords(value)
  }

  #slices(value: Buffer | readonly Buffer[]): void {
    if (value instanceof Uint8Array) this.#slice(value)
    else for (const slice of value) this.#slice(slice)
  }

  #slice(slice: Buffer): void {
    if (slice.length < BY_REFERENCE_BYTES_MIN) {
      this.#copy(slice)
      return
    }
    this.#cut()
    this.#chunks.push(slice)
    this.#chunkBytes += slice.length
  }

  #copy(bytes: Buffer): void {
    this.#ensure(bytes.length)
    this.#slab.set(bytes, this.#at)
    this.#at += bytes.length
  }

  array(count: number): void {
    this.int32(count)
  }

  compactArray(count: number): void {
    this.uvarint(count + 1)
  }

  /**
   * Opens a tagged field; what it returns belongs into `endTag`. One byte is set aside for the size, which nearly always
   * does; a longer content is moved up by the bytes that its size needs.
   */
  beginTag(tag: number): number {
    this.uvarint(tag)
    this.int8(0)
    return this.#at - this.#segment
  }

  endTag(contentStart: number): void {
    const start = this.#segment + contentStart
    const size = this.#at - start
    if (size > 0x7f) {
      const extra = size < 0x4000 ? 1 : size < 0x20_0000 ? 2 : size < 0x1000_0000 ? 3 : 4
      this.#ensure(extra)
      const moved = this.#segment + contentStart
      this.#slab.copyWithin(moved + extra, moved, moved + size)
      this.#at = moved - 1
      this.uvarint(size)
      this.#at += size
    } else {
      this.#slab[start - 1] = size
    }
  }

  /** Makes a chunk of the open segment. */
  #cut(): void {
    const length = this.#at - this.#segment
    if (length === 0) return
    this.#chunks.push(this.#slab.subarray(this.#segment, this.#at))
    this.#chunkBytes += length
    this.#segment = this.#at
  }

  #ensure(bytes: number): void {
    if (this.#at + bytes > this.#slab.length) this.#grow(bytes)
  }

  /** A new slab, with the open segment moved to its start; the chunks before it stay in the old one. */
  #grow(bytes: number): void {
    const open = this.#at - this.#segment
    const slab = Buffer.allocUnsafeSlow(Math.max(this.#slabBytes, (open + bytes) * 2))
    if (open > 0) this.#slab.copy(slab, 0, this.#segment, this.#at)
    if (this.#frameSlab === this.#slab && this.#frameAt >= this.#segment) {
      this.#frameSlab = slab
      this.#frameAt -= this.#segment
    }
    this.#slab = slab
    this.#at = open
    this.#segment = 0
  }
}

function recordsLength(value: Buffer | readonly Buffer[]): number {
  if (value instanceof Uint8Array) return value.length
  let length = 0
  for (const slice of value) length += slice.length
  return length
}
