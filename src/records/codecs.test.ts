import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as zlib from 'node:zlib'
import { compressSync } from 'snappy'
import { Codec, canCompress, compress, decompress, RecordsError } from './index.ts'

const MIB = 1 << 20

function refused(code: string): (error: unknown) => boolean {
  return (error) => error instanceof RecordsError && error.code === code
}

/** Packing zstd needs Node.js 22.15; what this runtime cannot pack, frames made elsewhere cover below. */
const codecs = Object.entries(Codec).filter(([, codec]) => codec !== Codec.none && canCompress(codec))

for (const [name, codec] of codecs) {
  test(`${name}: round trip, limit, damage`, () => {
    const text = Buffer.from('the tide comes in, the tide goes out; '.repeat(5000))
    const packed = compress(codec, text)
    assert.deepEqual(Buffer.from(decompress(codec, packed)), text)
    assert.deepEqual(Buffer.from(decompress(codec, compress(codec, Buffer.from('x')))), Buffer.from('x'))
    assert.ok(packed.length < text.length / 4)
    assert.deepEqual(Buffer.from(decompress(codec, packed, text.length)), text)
    assert.throws(() => decompress(codec, packed, text.length - 1), refused('DECOMPRESSED_TOO_LARGE'))
    assert.throws(() => decompress(codec, packed.subarray(0, packed.length >> 1)), RecordsError)
    assert.throws(() => decompress(codec, Buffer.from('not packed by anything at all')), RecordsError)
    assert.throws(() => decompress(codec, Buffer.alloc(0)), RecordsError)
  })

  test(`${name}: a decompression bomb is stopped`, () => {
    const bomb = compress(codec, Buffer.alloc(32 * MIB))
    assert.ok(bomb.length < 4 * MIB)
    assert.throws(() => decompress(codec, bomb, MIB), refused('DECOMPRESSED_TOO_LARGE'))
  })
}

test('snappy: a raw block without frames, and frames one after the other', () => {
  const text = Buffer.from('raw '.repeat(1000))
  assert.deepEqual(Buffer.from(decompress(Codec.snappy, compressSync(text))), text)
  const packed = compress(Codec.snappy, text)
  assert.deepEqual(decompress(Codec.snappy, Buffer.concat([packed, packed])), Buffer.concat([text, text]))
})

/** Built by hand from RFC 8878 (raw and run-length blocks), so that every Node.js reads the same frames. */
test('zstd: frames made elsewhere', () => {
  const raw = Buffer.concat([Buffer.from('28b52ffd2005', 'hex'), Buffer.from([0x29, 0, 0]), Buffer.from('tides')])
  assert.equal(decompress(Codec.zstd, raw).toString(), 'tides')
  const runs = Buffer.concat([
    Buffer.from('28b52ffd0058', 'hex'),
    Buffer.from([0x02 | ((100_000 << 3) & 0xff), (100_000 >> 5) & 0xff, (100_000 >> 13) & 0xff]),
    Buffer.from('a'),
    Buffer.from([0x03 | ((100_000 << 3) & 0xff), (100_000 >> 5) & 0xff, (100_000 >> 13) & 0xff]),
    Buffer.from('b'),
  ])
  assert.equal(decompress(Codec.zstd, runs).toString(), 'a'.repeat(100_000) + 'b'.repeat(100_000))
  assert.throws(() => decompress(Codec.zstd, runs, 150_000), refused('DECOMPRESSED_TOO_LARGE'))
  const hugeWindow = Buffer.concat([Buffer.from('28b52ffd00f8', 'hex'), runs.subarray(6)])
  assert.throws(() => decompress(Codec.zstd, hugeWindow, MIB), RecordsError)
})

test('gzip: what node:zlib of a client made', () => {
  assert.equal(decompress(Codec.gzip, zlib.gzipSync('tide', { level: 1 })).toString(), 'tide')
})
