/**
 * Variable-length integers as the records of a batch hold them: zigzag (0, −1, 1, −2 … become 0, 1, 2, 3 …), then seven bits
 * per byte, lowest first, the high bit set on all bytes but the last (Protocol Buffers' `sint32` and `sint64`).
 *
 * JavaScript's bit operators end at 32 bits and a timestamp delta has 64, so the long form collects the low 28 bits with
 * shifts and the rest by multiplication, which is exact up to 2^53. A value beyond that was never written by us and means
 * nothing as an offset or a time: it reads as NaN, which the callers refuse.
 *
 * Reading needs two results, the value and where it ends. The cursor keeps the second, so a walk over a batch allocates one
 * object, not one per number.
 */
export class VarintCursor {
  readonly bytes: Buffer
  /** The next byte to read. After a failed read the value is unspecified. */
  at: number
  readonly end: number

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  /** A signed number of up to 32 bits; NaN when the bytes end, or go on beyond five. */
  readVarint(): number {
    const bytes = this.bytes
    let at = this.at
    const end = this.end
    let raw = 0
    for (let shift = 0; shift < 35; shift += 7) {
      if (at >= end) return Number.NaN
      const byte = bytes[at++]!
      raw |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        if (shift === 28 && byte > 0x0f) return Number.NaN
        this.at = at
        return (raw >>> 1) ^ -(raw & 1)
      }
    }
    return Number.NaN
  }

  /** A signed number of up to 64 bits; NaN when the bytes end, go on beyond ten, or the value is no safe integer. */
  readVarlong(): number {
    const bytes = this.bytes
    let at = this.at
    const end = this.end
    let low = 0
    for (let shift = 0; shift < 28; shift += 7) {
      if (at >= end) return Number.NaN
      const byte = bytes[at++]!
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        this.at = at
        return (low >>> 1) ^ -(low & 1)
      }
    }
    let high = 0
    let scale = 1
    for (let count = 4; count < 10; count++, scale *= 0x80) {
      if (at >= end) return Number.NaN
      const byte = bytes[at++]!
      high += (byte & 0x7f) * scale
      if (byte < 0x80) {
        this.at = at
        // Unzigzag of high·2^28 + low by halves: the low bit is the sign, and (raw >> 1) is high·2^27 + (low >> 1).
        const magnitude = high * 0x800_0000 + (low >>> 1)
        const value = low & 1 ? -magnitude - 1 : magnitude
        return Number.isSafeInteger(value) ? value : Number.NaN
      }
    }
    return Number.NaN
  }
}

/** Bytes that `writeVarint` takes for this value. */
export function varintBytes(value: number): number {
  let raw = ((value << 1) ^ (value >> 31)) >>> 0
  let count = 1
  while (raw >= 0x80) {
    raw >>>= 7
    count++
  }
  return count
}

/** Writes a signed 32-bit number and returns the position after it. */
export function writeVarint(into: Buffer, value: number, at: number): number {
  let raw = ((value << 1) ^ (value >> 31)) >>> 0
  while (raw >= 0x80) {
    into[at++] = (raw & 0x7f) | 0x80
    raw >>>= 7
  }
  into[at++] = raw
  return at
}

/** Bytes that `writeVarlong` takes for this value. */
export function varlongBytes(value: number): number {
  let magnitude = value < 0 ? -(value + 1) : value
  let count = 1
  for (magnitude = Math.floor(magnitude / 0x40); magnitude > 0; magnitude = Math.floor(magnitude / 0x80)) count++
  return count
}

/** Writes a signed safe integer and returns the position after it. */
export function writeVarlong(into: Buffer, value: number, at: number): number {
  let magnitude = value < 0 ? -(value + 1) : value
  let byte = (magnitude % 0x40) * 2 + (value < 0 ? 1 : 0)
  magnitude = Math.floor(magnitude / 0x40)
  while (magnitude > 0) {
    into[at++] = byte | 0x80
    byte = magnitude % 0x80
    magnitude = Math.floor(magnitude / 0x80)
  }
  into[at++] = byte
  return at
}
