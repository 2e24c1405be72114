/**
 * The five ways in which the records of a batch may be packed.
 *
 * Produce and fetch never unpack: a batch travels, is stored and is served as its producer sent it. What does look inside is a
 * lookup by time, compaction, and our own readers of batches. Since the bytes come from strangers, each unpacking has a limit on what it
 * may grow to, and none asks for the memory before it knows the size to be below that limit ("zip bomb": 1 MiB of lz4 may
 * claim 255 MiB, 1 MiB of zstd gigabytes).
 *
 *     gzip    node:zlib
 *     snappy  raw blocks, or the frames of xerial's snappy-java, which is what Kafka's Java clients send
 *     lz4     the LZ4 frame format
 *     zstd    node:zlib where this Node.js has it (22.15, 23.8), else a decompressor in JavaScript; packing needs node:zlib
 *
 * The native add-ons are required at the first use, so that starting a node does not pay for them; a platform without their
 * binaries gets a typed error then, and only for that codec.
 */
import { createRequire } from 'node:module'
import * as zlib from 'node:zlib'
import { unreachable } from '../stdx/index.ts'
import { RecordsError } from './errors.ts'
import { assertLz4WithinLimit } from './lz4-frame.ts'
import { packXerial, unpackSnappy } from './xerial.ts'

/** The codec bits of a batch's attributes: never renumber. */
export const Codec = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const
export type Codec = (typeof Codec)[keyof typeof Codec]
export const CODEC_MAX = Codec.zstd

/** What one batch may unpack to, unless the caller says otherwise. */
export const DECOMPRESSED_BYTES_MAX = 128 << 20

type SyncZlib = (bytes: Uint8Array, options?: { maxOutputLength?: number }) => Buffer
/** Not in every Node.js that we support, and so not in the types that we compile against. */
const zstd = zlib as unknown as { zstdCompressSync?: SyncZlib; zstdDecompressSync?: SyncZlib }
const require = createRequire(import.meta.url)

export function codecName(codec: Codec): string {
  for (const [name, value] of Object.entries(Codec)) if (value === codec) return name
  return String(codec)
}

function isCodec(bits: number): bits is Codec {
  return bits >= Codec.none && bits <= CODEC_MAX
}

/** The codec that these attribute bits name. Throws `CODEC_UNKNOWN`. */
export function codecFrom(bits: number): Codec {
  if (isCodec(bits)) return bits
  throw new RecordsError({ code: 'CODEC_UNKNOWN', codec: bits }, `no compression codec has the number ${bits}`)
}

/** Unpacks, or throws a `RecordsError`. With codec `none` the bytes themselves come back. */
export function decompress(codec: Codec, bytes: Buffer, limitBytes = DECOMPRESSED_BYTES_MAX): Buffer {
  try {
    switch (codec) {
      case Codec.none:
        return bytes
      case Codec.gzip:
        return zlib.gunzipSync(bytes, { maxOutputLength: limitBytes })
      case Codec.snappy:
        return unpackSnappy(bytes, limitBytes, addOn<typeof import('snappy')>('snappy', codec).uncompressSync as Unpack)
      case Codec.lz4: {
        const frame = assertLz4WithinLimit(bytes, limitBytes)
        return addOn<typeof import('lz4-napi')>('lz4-napi', codec).decompressFrameSync(frame)
      }
      case Codec.zstd:
        if (zstd.zstdDecompressSync) return zstd.zstdDecompressSync(bytes, { maxOutputLength: limitBytes })
        return unpackZstdPortably(bytes, limitBytes)
      default:
        return unreachable(codec)
    }
  } catch (error) {
    if (error instanceof RecordsError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(codec, limitBytes)
    throw new RecordsError(
      { code: 'DECOMPRESSION_FAILED', codec: codecName(codec) },
      `${bytes.length} bytes do not decompress as ${codecName(codec)}: ${(error as Error).message}`,
      { cause: error },
    )
  }
}

/** Packs; throws `CODEC_UNAVAILABLE` where this runtime cannot. */
export function compress(codec: Codec, bytes: Buffer): Buffer {
  switch (codec) {
    case Codec.none:
      return bytes
    case Codec.gzip:
      return zlib.gzipSync(bytes)
    case Codec.snappy:
      return packXerial(bytes, addOn<typeof import('snappy')>('snappy', codec).compressSync)
    case Codec.lz4:
      return addOn<typeof import('lz4-napi')>('lz4-napi', codec).compressFrameSync(bytes)
    case Codec.zstd:
      if (zstd.zstdCompressSync) return zstd.zstdCompressSync(bytes)
      throw unavailable(codec, 'packing needs Node.js 22.15 or later')
    default:
      return unreachable(codec)
  }
}

/** True where `compress` can run this codec without an add-on that may be missing. */
export function canCompress(codec: Codec): boolean {
  return codec !== Codec.zstd || zstd.zstdCompressSync !== undefined
}

type Unpack = (bytes: Uint8Array) => Buffer

function addOn<T>(name: string, codec: Codec): T {
  try {
    return require(name) as T
  } catch (error) {
    throw unavailable(codec, `the package "${name}" has no binary for this platform`, error)
  }
}

function unavailable(codec: Codec, why: string, cause?: unknown): RecordsError {
  const name = codecName(codec)
  return new RecordsError({ code: 'CODEC_UNAVAILABLE', codec: name }, `${name} is not available here: ${why}`, {
    cause,
  })
}

function tooLarge(codec: Codec, limitBytes: number): RecordsError {
  const name = codecName(codec)
  return new RecordsError(
    { code: 'DECOMPRESSED_TOO_LARGE', codec: name, limitBytes },
    `${name} bytes decompress to more than the limit of ${limitBytes} bytes`,
  )
}

/** A match may reach back this far, and the decompressor asks for that much memory at once. */
const ZSTD_WINDOW_BYTES_MAX = 128 << 20

function unpackZstdPortably(bytes: Buffer, limitBytes: number): Buffer {
  const { Decompress } = addOn<typeof import('fzstd')>('fzstd', Codec.zstd)
  if (zstdWindowBytes(bytes) > Math.max(limitBytes, ZSTD_WINDOW_BYTES_MAX)) throw tooLarge(Codec.zstd, limitBytes)
  const chunks: Uint8Array[] = []
  let total = 0
  const stream = new Decompress((chunk) => {
    total += chunk.length
    if (total > limitBytes) throw tooLarge(Codec.zstd, limitBytes)
    chunks.push(chunk)
  })
  stream.push(bytes, true)
  return Buffer.concat(chunks, total)
}

/** What the first frame's header (RFC 8878 §3.1.1.1) makes a decompressor reserve; 0 where there is no such header. */
function zstdWindowBytes(bytes: Buffer): number {
  if (bytes.length < 18 || bytes.readUInt32LE(0) !== 0xfd2fb528) return 0
  const descriptor = bytes[4]!
  if ((descriptor & 0x20) === 0) {
    const window = 2 ** (10 + (bytes[5]! >> 3))
    return window + (window / 8) * (bytes[5]! & 7)
  }
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!
  const at = 5 + dictionaryBytes
  switch (descriptor >> 6) {
    case 0:
      return bytes[at]!
    case 1:
      return bytes.readUInt16LE(at) + 256
    case 2:
      return bytes.readUInt32LE(at)
    default:
      return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 0x1_0000_0000
  }
}
