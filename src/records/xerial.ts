/**
 * Snappy as Kafka's clients use it. Snappy itself has only raw blocks, which state their unpacked size first. The Java client
 * wraps them in the stream format of xerial's snappy-java; librdkafka and others send one raw block; both must be read.
 *
 *     82 'SNAPPY' 00 · version i32 · compatible version i32 · ( length i32 · raw block )*
 *
 * What we pack ourselves is xerial's format, the only one that every reader knows.
 */
import { RecordsError } from './errors.ts'

const MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const HEADER_BYTES = 16
/** snappy-java's default, and small enough for every reader's buffer. */
const BLOCK_BYTES = 32 << 10

/** `unpack` is snappy's own, for one raw block. */
export function unpackSnappy(bytes: Buffer, limitBytes: number, unpack: (block: Uint8Array) => Buffer): Buffer {
  if (!startsStream(bytes, 0)) {
    assertWithin(rawBlockBytes(bytes, 0), limitBytes)
    return unpack(bytes)
  }
  const blocks: Buffer[] = []
  let total = 0
  let at = HEADER_BYTES
  while (at < bytes.length) {
    if (startsStream(bytes, at)) {
      at += HEADER_BYTES // Streams may be concatenated, each with its header.
      continue
    }
    if (bytes.length - at < 4) throw damaged('ends inside a block length')
    const length = bytes.readInt32BE(at)
    at += 4
    if (length < 0 || length > bytes.length - at) throw damaged('ends inside a block')
    total += rawBlockBytes(bytes, at)
    assertWithin(total, limitBytes)
    blocks.push(unpack(bytes.subarray(at, at + length)))
    at += length
  }
  return blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks)
}

export function packXerial(bytes: Buffer, pack: (block: Buffer) => Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  MAGIC.copy(header)
  header.writeInt32BE(1, 8)
  header.writeInt32BE(1, 12)
  const parts: Buffer[] = [header]
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const block = pack(bytes.subarray(at, Math.min(at + BLOCK_BYTES, bytes.length)))
    const length = Buffer.alloc(4)
    length.writeInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}

function startsStream(bytes: Buffer, at: number): boolean {
  return bytes.length - at >= HEADER_BYTES && bytes.compare(MAGIC, 0, MAGIC.length, at, at + MAGIC.length) === 0
}

/** The unpacked size that a raw block claims: an unsigned varint in front. The decompressor refuses a block that lies. */
function rawBlockBytes(bytes: Buffer, from: number): number {
  let value = 0
  let scale = 1
  for (let at = from; at < bytes.length && at < from + 5; at++, scale *= 0x80) {
    value += (bytes[at]! & 0x7f) * scale
    if (bytes[at]! < 0x80) return value
  }
  throw damaged('does not start with a length')
}

function assertWithin(size: number, limitBytes: number): void {
  if (size <= limitBytes) return
  throw new RecordsError(
    { code: 'DECOMPRESSED_TOO_LARGE', codec: 'snappy', limitBytes },
    `snappy bytes decompress to more than the limit of ${limitBytes} bytes`,
  )
}

function damaged(what: string): RecordsError {
  return new RecordsError({ code: 'DECOMPRESSION_FAILED', codec: 'snappy' }, `the snappy block ${what}`)
}
