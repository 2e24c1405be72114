/**
 * Cuts Kafka's frames (int32 length, then that many bytes) out of a byte stream.
 *
 * The common case copies nothing: a frame that arrived whole is handed on as a slice of what the socket gave, and must be used
 * up within the turn. Only a frame that straddles two reads is gathered into a buffer of its own; a large one grows with the
 * bytes that really came, because the length in front of it is a claim and not a fact.
 */
import { TypedError } from '../../stdx/index.ts'

export class FrameError extends TypedError<{ code: 'FRAME_LENGTH'; length: number; limit: number }> {}

const TRUSTED_BYTES = 1 << 20

export class FrameReader {
  readonly #limit: number
  /** A frame in the making: the length prefix included. */
  #partial: Buffer = Buffer.alloc(0)
  #filled = 0
  /** Bytes of the frame in the making, prefix included; 0 while fewer than four bytes of it are here. */
  #wanted = 0

  constructor(frameBytesMax: number) {
    this.#limit = frameBytesMax
  }

  /** Bytes held back for a frame that is not whole yet. */
  get heldBytes(): number {
    return this.#filled
  }

  /**
   * Hands each whole frame (without its length) to `take`, until `take` returns false: then the rest is kept, to be gone on
   * with by `resume`. Throws `FrameError` for a length that no client means.
   */
  read(bytes: Buffer, take: (frame: Buffer) => boolean): boolean {
    let at = 0
    if (this.#filled > 0) {
      at = this.#fill(bytes)
      if (this.#wanted === 0 || this.#filled < this.#wanted) return true
      const frame = this.#partial.subarray(4, this.#wanted)
      this.#reset()
      if (!take(frame)) {
        this.#keep(bytes.subarray(at))
        return false
      }
    }
    while (bytes.length - at >= 4) {
      const length = this.#lengthAt(bytes, at)
      if (bytes.length - at - 4 < length) break
      const frame = bytes.subarray(at + 4, at + 4 + length)
      at += 4 + length
      if (!take(frame)) {
        this.#keep(bytes.subarray(at))
        return false
      }
    }
    if (at < bytes.length) this.#begin(bytes.subarray(at))
    return true
  }

  /** What was left when `take` said stop, as bytes to `read` again. */
  takeKept(): Buffer {
    const kept = this.#kept
    this.#kept = Buffer.alloc(0)
    return kept
  }

  /** Bytes that arrived while reading was stopped. */
  keep(bytes: Buffer): void {
    this.#keep(bytes)
  }

  #kept: Buffer = Buffer.alloc(0)

  #keep(bytes: Buffer): void {
    if (bytes.length > 0) this.#kept = Buffer.concat([this.#kept, bytes])
  }

  #lengthAt(bytes: Buffer, at: number): number {
    const length = bytes.readInt32BE(at)
    if (length < 0 || length > this.#limit) {
      throw new FrameError(
        { code: 'FRAME_LENGTH', length, limit: this.#limit },
        `a request announces ${length} bytes, allowed are 0 to ${this.#limit}; is this a Kafka client?`,
      )
    }
    return length
  }

  #begin(bytes: Buffer): void {
    if (bytes.length >= 4) this.#wanted = 4 + this.#lengthAt(bytes, 0)
    this.#partial = Buffer.allocUnsafe(
      this.#wanted === 0 ? 4 : Math.min(this.#wanted, Math.max(TRUSTED_BYTES, bytes.length)),
    )
    bytes.copy(this.#partial)
    this.#filled = bytes.length
  }

  /** Takes from `bytes` what the frame in the making lacks; returns how much that was. */
  #fill(bytes: Buffer): number {
    let at = 0
    if (this.#wanted === 0) {
      at = Math.min(4 - this.#filled, bytes.length)
      bytes.copy(this.#partial, this.#filled, 0, at)
      this.#filled += at
      if (this.#filled < 4) return at
      this.#wanted = 4 + this.#lengthAt(this.#partial, 0)
    }
    const take = Math.min(this.#wanted - this.#filled, bytes.length - at)
    if (this.#filled + take > this.#partial.length) {
      const capacity = Math.min(
        this.#wanted,
        Math.max(2 * this.#partial.length, this.#filled + take, Math.min(this.#wanted, TRUSTED_BYTES)),
      )
      const grown = Buffer.allocUnsafe(capacity)
      this.#partial.copy(grown, 0, 0, this.#filled)
      this.#partial = grown
    }
    bytes.copy(this.#partial, this.#filled, at, at + take)
    this.#filled += take
    return at + take
  }

  #reset(): void {
    this.#partial = Buffer.alloc(0)
    this.#filled = 0
    this.#wanted = 0
  }
}
