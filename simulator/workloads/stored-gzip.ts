/**
 * A compressed batch whose bytes are the same everywhere: gzip (RFC 1952) around deflate's stored blocks (RFC 1951 §3.2.4), which
 * hold their bytes as they are.
 *
 * Real compressors answer differently from one version to the next, and with them every length, position and hash of a run
 * would depend on the Node.js that ran it. To the product, which never looks inside, and to whoever unpacks it, this is gzip.
 */
import { BATCH_HEADER_BYTES, BATCH_OVERHEAD_BYTES, Codec, sumOf } from '../../src/records/index.ts'

const STORED_MAX = 0xffff
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  return crc >>> 0
})

export function gzipStored(bytes: Buffer): Buffer {
  const parts: Buffer[] = [Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255])]
  for (let at = 0; at === 0 || at < bytes.length; at += STORED_MAX) {
    const block = bytes.subarray(at, at + STORED_MAX)
    const header = Buffer.alloc(5)
    header[0] = at + STORED_MAX >= bytes.length ? 1 : 0
    header.writeUInt16LE(block.length, 1)
    header.writeUInt16LE(block.length ^ 0xffff, 3)
    parts.push(header, block)
  }
  const trailer = Buffer.alloc(8)
  trailer.writeUInt32LE(crc32(bytes), 0)
  trailer.writeUInt32LE(bytes.length, 4)
  return Buffer.concat([...parts, trailer])
}

/** The same batch with its records as gzip. */
export function asGzip(batch: Buffer): Buffer {
  const packed = Buffer.concat([batch.subarray(0, BATCH_HEADER_BYTES), gzipStored(batch.subarray(BATCH_HEADER_BYTES))])
  packed.writeInt32BE(packed.length - BATCH_OVERHEAD_BYTES, 8)
  packed.writeInt16BE(packed.readInt16BE(21) | Codec.gzip, 21)
  packed.writeUInt32BE(sumOf(packed, 0), 17)
  return packed
}

/** CRC-32 (ISO-HDLC): Node.js 20 has none of its own. */
function crc32(bytes: Buffer): number {
  let crc = 0xffffffff
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[i]!) & 0xff]!
  return (crc ^ 0xffffffff) >>> 0
}
