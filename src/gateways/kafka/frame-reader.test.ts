import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Prng } from '../../stdx/index.ts'
import { FrameError, FrameReader } from './frame-reader.ts'

function framed(...bodies: Buffer[]): Buffer {
  return Buffer.concat(
    bodies.flatMap((body) => {
      const length = Buffer.alloc(4)
      length.writeInt32BE(body.length)
      return [length, body]
    }),
  )
}

test('frames come out the same however the stream was cut', () => {
  const prng = new Prng('frames')
  for (let round = 0; round < 300; round++) {
    const bodies = Array.from({ length: 1 + prng.below(6) }, () => prng.bytes(prng.below(40)))
    const stream = framed(...bodies)
    const reader = new FrameReader(1000)
    const got: Buffer[] = []
    for (let at = 0; at < stream.length; ) {
      const size = 1 + prng.below(round % 3 === 0 ? 1 : 30)
      // A fresh buffer each time, wiped after use: nothing may lean on the socket's memory.
      const piece = Buffer.from(stream.subarray(at, at + size))
      reader.read(piece, (frame) => got.push(Buffer.from(frame)) > 0)
      piece.fill(0xee)
      at += size
    }
    assert.deepEqual(got, bodies)
    assert.equal(reader.heldBytes, 0)
  }
})

test('a stop keeps the rest, and reading goes on where it stopped', () => {
  const bodies = [1, 2, 3, 4].map((n) => Buffer.from([n]))
  const reader = new FrameReader(100)
  const got: number[] = []
  assert.equal(
    reader.read(framed(...bodies), (frame) => got.push(frame[0]!) < 2),
    false,
  )
  assert.deepEqual(got, [1, 2])
  assert.equal(
    reader.read(reader.takeKept(), (frame) => got.push(frame[0]!) > 0),
    true,
  )
  assert.deepEqual(got, [1, 2, 3, 4])
})

test('a length that no client means is refused before anything is allocated for it', () => {
  for (const length of [-1, -2147483648, 2147483647, 1001]) {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32BE(length)
    assert.throws(() => new FrameReader(1000).read(bytes, () => true), FrameError)
  }
})

test('an announced length costs memory only as the bytes arrive', () => {
  const head = Buffer.alloc(8)
  head.writeInt32BE(100 << 20)
  const reader = new FrameReader(100 << 20)
  const before = process.memoryUsage().arrayBuffers
  reader.read(head, () => true)
  assert.ok(process.memoryUsage().arrayBuffers - before < 4 << 20)
})
