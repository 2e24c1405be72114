/** The checker that reads what nodes send to each other: every message that promises something, before and after its term is durable. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Connection, Network } from '../../src/platform/index.ts'
import { encodeHardState } from '../../src/storage/index.ts'
import { TermDurable } from './term-durable.ts'

const SHARD = 16
const none = (): void => {}

/** A wire that keeps nothing, and what a node writes into it. */
function wireBench(): { checker: TermDurable; wrong: string[]; send: (frame: Buffer) => void } {
  const wrong: string[] = []
  const checker = new TermDurable(7400, (violation) => wrong.push(violation.message))
  const connection = { write: () => true } as unknown as Connection
  const network: Network = { listen: none, connect: (_to, done) => done(null, connection) }
  let watched: Connection | undefined
  checker.watchNetwork(1, network).connect({ host: 'b', port: 7400 }, (_error, opened) => {
    watched = opened
  })
  return { checker, wrong, send: (frame) => watched!.write(frame) }
}

/** docs/formats/peer-wire.md: only what a reader of terms looks at. */
function frameOf(kind: number, body: Buffer): Buffer {
  const header = Buffer.alloc(22)
  header.writeUInt32LE(22 + body.length, 0)
  header[8] = 2
  header[9] = kind
  return Buffer.concat([header, body])
}

function item(type: number, term: number, bytes: number): Buffer {
  const fields = Buffer.alloc(1 + bytes)
  fields[0] = type
  fields.writeUInt32LE(SHARD, 1)
  fields.writeBigUInt64LE(BigInt(term), 5)
  return fields
}

test('no message of a term before it is durable', () => {
  const { checker, wrong, send } = wireBench()
  checker.vote(1, SHARD, 3)
  const beat = Buffer.from([16, 0, 0, 0, 0])
  // A pre-vote and its answer, and what must not wait, may speak of any term.
  const free = [item(1, 9, 28), item(2, 9, 13), item(7, 9, 12), item(8, 9, 12), beat]
  const request = Buffer.concat([Buffer.from([18, 0, 0, 0, 0, 2, 0]), Buffer.from('ab'), Buffer.from([1, 0, 0, 0, 7])])
  send(frameOf(5, Buffer.concat([...free, request, item(3, 3, 29), item(4, 2, 13), item(6, 3, 29)])))
  const entry = encodeHardState(SHARD, 1, 1).bytes
  const append = item(5, 3, 40)
  append.writeUInt32LE(2, 37)
  send(frameOf(6, Buffer.concat([append, entry, entry, item(10, 2, 72)])))
  assert.deepEqual(wrong, [])
  assert.equal(checker.messages, 5)
  for (const [kind, type, bytes] of [
    [5, 3, 29],
    [5, 4, 13],
    [5, 6, 29],
    [5, 11, 28],
    [6, 5, 40],
    [6, 10, 72],
  ] as const) {
    send(frameOf(kind, Buffer.concat(kind === 5 ? [...free, request, item(type, 4, bytes)] : [item(type, 4, bytes)])))
    assert.match(wrong.pop() ?? 'nothing', /of term 4 about shard 16; on its disk is term 3/, `item ${type}`)
  }
  // In pieces.
  const frame = frameOf(5, item(4, 5, 13))
  send(frame.subarray(0, 20))
  send(frame.subarray(20))
  assert.equal(wrong.length, 1)
})
