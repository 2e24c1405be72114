/**
 * Writing and reading of the small binary values that nodes tell each other. Little-endian; 64-bit values are safe integers.
 *
 * The reader is made for bytes that nobody vouches for: it never throws. A read beyond the end, or a value outside its range,
 * sets `failed` and returns something harmless, and the caller looks at `failed` once, when it has read all it wanted.
 */
import { assert } from '../stdx/index.ts'
import { readU64, writeU64 } from '../storage/index.ts'

const TERM_MAX = 2 ** 52

export class ByteWriter {
  #bytes: Buffer
  #length = 0

  constructor(capacity: number) {
    this.#bytes = Buffer.allocUnsafe(capacity)
  }

  get length(): number {
    return this.#length
  }

  /** Room for `count` bytes that the caller fills later; returns where they start. */
  reserve(count: number): number {
    const at = this.#length
    const length = at + count
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, this.#bytes.length * 2))
      this.#bytes.copy(larger, 0, 0, at)
      this.#bytes = larger
    }
    this.#length = length
    return at
  }

  u8(value: number): void {
    const at = this.reserve(1)
    this.#bytes[at] = value
  }

  flag(value: boolean): void {
    this.u8(value ? 1 : 0)
  }

  u16(value: number): void {
    const at = this.reserve(2)
    this.#bytes.writeUInt16LE(value, at)
  }

  u32(value: number): void {
    const at = this.reserve(4)
    this.#bytes.writeUInt32LE(value, at)
  }

  u64(value: number): void {
    const at = this.reserve(8)
    writeU64(this.#bytes, value, at)
  }

  raw(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length)
    this.#bytes.set(bytes, at)
  }

  /** Bytes with their count before them. */
  blob(bytes: Uint8Array): void {
    this.u32(bytes.length)
    this.raw(bytes)
  }

  text(value: string): void {
    const length = Buffer.byteLength(value)
    assert(length <= 0xffff, () => `text of ${length} bytes`)
    this.u16(length)
    const at = this.reserve(length)
    this.#bytes.write(value, at)
  }

  /** What was written. The writer must not be used afterwards. */
  take(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }
}

export class ByteReader {
  readonly bytes: Buffer
  readonly end: number
  at: number
  failed = false

  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  get remaining(): number {
    return this.end - this.at
  }

  #advance(count: number): number {
    const at = this.at
    if (this.failed || count > this.end - at) {
      this.failed = true
      return -1
    }
    this.at = at + count
    return at
  }

  u8(): number {
    const at = this.#advance(1)
    return at < 0 ? 0 : this.bytes[at]!
  }

  flag(): boolean {
    const value = this.u8()
    if (value > 1) this.failed = true
    return value === 1
  }

  u16(): number {
    const at = this.#advance(2)
    return at < 0 ? 0 : this.bytes.readUInt16LE(at)
  }

  u32(): number {
    const at = this.#advance(4)
    return at < 0 ? 0 : this.bytes.readUInt32LE(at)
  }

  u64(): number {
    const at = this.#advance(8)
    if (at < 0) return 0
    const value = readU64(this.bytes, at)
    if (value >= 0) return value
    this.failed = true
    return 0
  }

  /** No cluster ever gets there, and whoever believed it would have no room for the next ones. */
  term(): number {
    const value = this.u64()
    if (value <= TERM_MAX) return value
    this.failed = true
    return 0
  }

  /** A copy: it may outlive what it was read from. */
  blob(): Buffer {
    const length = this.u32()
    const at = this.#advance(length)
    return at < 0 ? Buffer.alloc(0) : Buffer.from(this.bytes.subarray(at, at + length))
  }

  text(): string {
    const length = this.u16()
    const at = this.#advance(length)
    return at < 0 ? '' : this.bytes.toString('utf8', at, at + length)
  }
}
