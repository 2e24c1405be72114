/**
 * Reads the primitive types of the Kafka protocol out of one frame.
 *
 * All of it comes from strangers, so every read is checked against the end of the frame before a byte is touched or a byte
 * allocated: a length is believed only if that many bytes are left, an array count only if its elements could fit into them
 * at their smallest, and all arrays of a message together have a limit, since a two-byte element becomes an object of
 * forty. What fails is a `DecodeError` that says where.
 *
 * Numbers are big-endian. Two families of lengths exist side by side (KIP-482):
 *
 *                   classic                          compact, in flexible versions
 *     string        int16 length, −1 = null          uvarint length + 1, 0 = null
 *     bytes         int32 length, −1 = null          uvarint length + 1, 0 = null
 *     array         int32 count,  −1 = null          uvarint count + 1,  0 = null
 *
 * 64-bit integers are read as safe integers: offsets, timestamps and producer ids do not come near 2^53, and what lies
 * beyond is refused rather than rounded.
 *
 * The methods are small on purpose, so that the engine inlines them into the code that `codec.ts` compiles.
 */
import { DecodeError, type DecodeFailure } from './codec-errors.ts'

/** More elements in one message than any client sends: a hundred thousand topics with ten partitions each. */
export const ELEMENTS_MAX = 1_000_000
const EMPTY = Buffer.alloc(0)
const TWO_TO_32 = 0x1_0000_0000

export class Reader {
  /** The frame, usually inside a larger buffer. */
  bytes: Buffer
  /** The next byte to read. Invariant: start ≤ at ≤ end ≤ bytes.length. */
  at: number
  start: number
  end: number
  #elementsLeft: number

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.bytes = bytes
    this.start = start
    this.at = start
    this.end = end
    this.#elementsLeft = ELEMENTS_MAX
  }

  /** Starts over with another frame: one reader serves a connection for its whole life. */
  reset(bytes: Buffer, start: number, end: number): this {
    this.bytes = bytes
    this.start = start
    this.at = start
    this.end = end
    this.#elementsLeft = ELEMENTS_MAX
    return this
  }

  get left(): number {
    return this.end - this.at
  }

  bool(): boolean {
    const at = this.at
    if (at + 1 > this.end) this.#truncated(1)
    this.at = at + 1
    return this.bytes[at] !== 0
  }

  int8(): number {
    const at = this.at
    if (at + 1 > this.end) this.#truncated(1)
    this.at = at + 1
    return (this.bytes[at]! << 24) >> 24
  }

  int16(): number {
    const at = this.at
    if (at + 2 > this.end) this.#truncated(2)
    this.at = at + 2
    const b = this.bytes
    return (((b[at]! << 8) | b[at + 1]!) << 16) >> 16
  }

  int32(): number {
    const at = this.at
    if (at + 4 > this.end) this.#truncated(4)
    this.at = at + 4
    const b = this.bytes
    return (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!
  }

  int64(): number {
    const at = this.at
    if (at + 8 > this.end) this.#truncated(8)
    const b = this.bytes
    const high = (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!
    const low = ((b[at + 4]! << 24) | (b[at + 5]! << 16) | (b[at + 6]! << 8) | b[at + 7]!) >>> 0
    const value = high * TWO_TO_32 + low
    if (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER) {
      this.#fail({ code: 'OUT_OF_RANGE', at: at - this.start }, 'a 64-bit number beyond ±2^53')
    }
    this.at = at + 8
    return value
  }

  uvarint(): number {
    const at = this.at
    if (at < this.end) {
      const first = this.bytes[at]!
      if (first < 0x80) {
        this.at = at + 1
        return first
      }
    }
    return this.#longUvarint()
  }

  #longUvarint(): number {
    const b = this.bytes
    const start = this.at
    let value = 0
    for (let i = 0; i < 5; i++) {
      const at = start + i
      if (at >= this.end) this.#truncated(i + 1)
      const byte = b[at]!
      // The fifth byte has room for four bits only: 4 × 7 + 4 = 32.
      if (i === 4 && byte > 0x0f) break
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte < 0x80) {
        this.at = at + 1
        return value
      }
    }
    this.#fail({ code: 'INVALID_VARINT', at: start - this.start }, 'a varint longer than 32 bits')
  }

  uuid(): string {
    const at = this.at
    if (at + 16 > this.end) this.#truncated(16)
    this.at = at + 16
    return this.bytes.toString('hex', at, at + 16)
  }

  string(): string {
    const length = this.int16()
    if (length < 0) this.#invalidLength(length)
    return this.#text(length)
  }

  nullableString(): string | null {
    const length = this.int16()
    if (length >= 0) return this.#text(length)
    if (length !== -1) this.#invalidLength(length)
    return null
  }

  compactString(): string {
    const length = this.uvarint() - 1
    if (length < 0) this.#invalidLength(length)
    return this.#text(length)
  }

  compactNullableString(): string | null {
    const length = this.uvarint() - 1
    return length < 0 ? null : this.#text(length)
  }

  #text(length: number): string {
    const at = this.at
    if (length > this.end - at) this.#truncated(length)
    this.at = at + length
    return length === 0 ? '' : this.bytes.toString('utf8', at, at + length)
  }

  bytesField(): Buffer {
    const length = this.int32()
    if (length < 0) this.#invalidLength(length)
    return this.#copy(length)
  }

  nullableBytesField(): Buffer | null {
    const length = this.int32()
    if (length >= 0) return this.#copy(length)
    if (length !== -1) this.#invalidLength(length)
    return null
  }

  compactBytesField(): Buffer {
    const length = this.uvarint() - 1
    if (length < 0) this.#invalidLength(length)
    return this.#copy(length)
  }

  compactNullableBytesField(): Buffer | null {
    const length = this.uvarint() - 1
    return length < 0 ? null : this.#copy(length)
  }

  /** A copy that keeps neither the frame nor a shared pool alive: group members hold these for hours. */
  #copy(length: number): Buffer {
    const at = this.at
    if (length > this.end - at) this.#truncated(length)
    this.at = at + length
    if (length === 0) return EMPTY
    const copy = Buffer.allocUnsafeSlow(length)
    this.bytes.copy(copy, 0, at, at + length)
    return copy
  }

  records(): Buffer {
    const length = this.int32()
    if (length < 0) this.#invalidLength(length)
    return this.#slice(length)
  }

  nullableRecords(): Buffer | null {
    const length = this.int32()
    if (length >= 0) return this.#slice(length)
    if (length !== -1) this.#invalidLength(length)
    return null
  }

  compactRecords(): Buffer {
    const length = this.uvarint() - 1
    if (length < 0) this.#invalidLength(length)
    return this.#slice(length)
  }

  compactNullableRecords(): Buffer | null {
    const length = this.uvarint() - 1
    return length < 0 ? null : this.#slice(length)
  }

  /** No copy: the bytes are the frame's own. */
  #slice(length: number): Buffer {
    const at = this.at
    if (length > this.end - at) this.#truncated(length)
    this.at = at + length
    return this.bytes.subarray(at, at + length)
  }

  /** How many elements follow, each of at least `elementBytesMin` bytes. */
  array(elementBytesMin: number): number {
    const count = this.int32()
    if (count < 0) this.#invalidLength(count)
    return this.#count(count, elementBytesMin)
  }

  /** As `array`, and −1 for null. */
  nullableArray(elementBytesMin: number): number {
    const count = this.int32()
    if (count >= 0) return this.#count(count, elementBytesMin)
    if (count !== -1) this.#invalidLength(count)
    return -1
  }

  compactArray(elementBytesMin: number): number {
    const count = this.uvarint() - 1
    if (count < 0) this.#invalidLength(count)
    return this.#count(count, elementBytesMin)
  }

  compactNullableArray(elementBytesMin: number): number {
    const count = this.uvarint() - 1
    return count < 0 ? -1 : this.#count(count, elementBytesMin)
  }

  #count(count: number, elementBytesMin: number): number {
    if (count * elementBytesMin > this.end - this.at || count > this.#elementsLeft) {
      this.#fail(
        { code: 'TOO_MANY_ELEMENTS', at: this.at - this.start, count },
        `${count} elements in the ${this.end - this.at} bytes that are left`,
      )
    }
    this.#elementsLeft -= count
    return count
  }

  /** Skips a tagged section none of whose fields the version knows. */
  skipTags(): void {
    if (this.at < this.end && this.bytes[this.at] === 0) {
      this.at++
      return
    }
    for (let count = this.uvarint(); count > 0; count--) {
      this.uvarint()
      this.at = this.tagEnd()
    }
  }

  /** Reads the size of a tagged field and says where the field ends. */
  tagEnd(): number {
    const size = this.uvarint()
    if (size > this.end - this.at) this.#truncated(size)
    return this.at + size
  }

  /** After a known tagged field: its content must be as long as was said. */
  closeTag(tag: number, end: number): void {
    if (this.at === end) return
    this.#fail(
      { code: 'INVALID_TAG', at: this.at - this.start, tag },
      `tagged field ${tag} that ends ${this.at - end} bytes off`,
    )
  }

  #truncated(wanted: number): never {
    const left = this.end - this.at
    this.#fail({ code: 'TRUNCATED', at: this.at - this.start, wanted, left }, `${wanted} bytes where ${left} are left`)
  }

  #invalidLength(length: number): never {
    this.#fail({ code: 'INVALID_LENGTH', at: this.at - this.start, length }, `length ${length}`)
  }

  #fail(failure: DecodeFailure, what: string): never {
    throw new DecodeError(failure, `${what}, at byte ${this.at - this.start} of ${this.end - this.start}`)
  }
}
