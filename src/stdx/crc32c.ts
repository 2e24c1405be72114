/**
 * CRC-32C (Castagnoli), the checksum of Kafka's record batches, of our entries, blocks, files and frames.
 *
 * Two implementations with one meaning: the hardware instruction by way of an optional prebuilt add-on (5 GB/s), and a
 * table-driven one (0.5 GB/s) wherever that add-on is not installed. A property test holds them equal.
 */
import { createRequire } from 'node:module'

type Crc32c = (bytes: Uint8Array, seed?: number) => number

/** Reflected: the lowest bit is the coefficient of the highest power. */
const POLYNOMIAL = 0x82f63b78
const TABLE = /* eight tables for eight bytes a step */ buildTables()

function buildTables(): Uint32Array {
  const tables = new Uint32Array(8 * 256)
  for (let n = 0; n < 256; n++) {
    let c = n
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ POLYNOMIAL : c >>> 1
    tables[n] = c >>> 0
  }
  for (let n = 0; n < 256; n++) {
    let c = tables[n]!
    for (let k = 1; k < 8; k++) {
      c = tables[c & 0xff]! ^ (c >>> 8)
      tables[k * 256 + n] = c >>> 0
    }
  }
  return tables
}

/** The portable implementation; exported for the test that compares it with the native one. */
export function crc32cPortable(bytes: Uint8Array, seed = 0): number {
  const t = TABLE
  let c = ~seed
  let at = 0
  const end = bytes.length
  for (const last = end - 7; at < last; at += 8) {
    c ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    c =
      t[1792 + (c & 0xff)]! ^
      t[1536 + ((c >>> 8) & 0xff)]! ^
      t[1280 + ((c >>> 16) & 0xff)]! ^
      t[1024 + (c >>> 24)]! ^
      t[768 + bytes[at + 4]!]! ^
      t[512 + bytes[at + 5]!]! ^
      t[256 + bytes[at + 6]!]! ^
      t[bytes[at + 7]!]!
  }
  for (; at < end; at++) c = t[(c ^ bytes[at]!) & 0xff]! ^ (c >>> 8)
  return ~c >>> 0
}

/**
 * The CRC of two pieces of bytes, one behind the other, from the CRC of each: `first` of what comes first, `second` of the
 * `secondBytes` bytes behind it. No byte is looked at, so it costs the same for a hundred bytes as for a megabyte.
 *
 * A CRC is the remainder of a polynomial over GF(2). To put n bytes behind something multiplies it by x^(8n), and the remainder
 * of a product is the product of the remainders (as zlib's `crc32_combine` does it, for the other polynomial).
 */
export function crc32cCombine(first: number, second: number, secondBytes: number): number {
  let shift = ONE
  let power = 3
  for (let left = secondBytes; left > 0; left = Math.floor(left / 2), power++)
    if (left % 2 === 1) shift = multiply(POWERS[power]!, shift)
  return (multiply(shift, first) ^ second) >>> 0
}

/** Bits are reflected: the highest is the coefficient of x^0. */
const ONE = 0x8000_0000
/** x^(2^n) modulo the polynomial, far enough for any length that there is. */
const POWERS = buildPowers()

function buildPowers(): Uint32Array {
  const powers = new Uint32Array(56)
  powers[0] = ONE >>> 1
  for (let n = 1; n < powers.length; n++) powers[n] = multiply(powers[n - 1]!, powers[n - 1]!)
  return powers
}

/** Without a branch on the bits, which no processor could foresee. */
function multiply(a: number, b: number): number {
  let product = 0
  let shifted = b | 0
  for (let bit = 31; bit >= 0; bit--) {
    product ^= shifted & -((a >>> bit) & 1)
    shifted = (shifted >>> 1) ^ (POLYNOMIAL & -(shifted & 1))
  }
  return product >>> 0
}

function load(): Crc32c {
  try {
    return (createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: Crc32c }).crc32c
  } catch {
    return crc32cPortable // The add-on has no binary for this platform, or was not installed: slower, same answer.
  }
}

/** CRC-32C of `bytes`, continued from `seed` (the CRC of what came before; 0 at the start). An unsigned 32-bit number. */
export const crc32c: Crc32c = load()
