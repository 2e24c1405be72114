/** The checkers that read what nodes send to each other: what promises something, before and after the promise can be kept. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Connection, Network } from '../../src/platform/index.ts'
import { encodeHardState } from '../../src/storage/index.ts'
import { Support } from './support.ts'
import { TermDurable } from './term-durable.ts'

const SHARD = 16
const none = (): void => {}

/** A wire that keeps nothing, on which node 1 writes to node 2. */
function wireOf(checker: TermDurable | Support): (frame: Buffer) => void {
  const connection = { write: () => true, remote: { host: 'node-2', port: 7400 } } as unknown as Connection
  const network: Network = { listen: none, connect: (_to, done) => done(null, connection) }
  let watched: Connection | undefined
  checker.watchNetwork(1, network).connect({ host: 'node-2', port: 7400 }, (_error, opened) => {
    watched = opened
  })
  return (frame) => watched!.write(frame)
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
  const wrong: string[] = []
  const checker = new TermDurable(7400, (violation) => wrong.push(violation.message))
  const send = wireOf(checker)
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

test('whose beats support a leader follows it', () => {
  const time = { now: 1 }
  const wrong: string[] = []
  const checker = new Support(
    7400,
    () => time.now,
    (violation) => wrong.push(violation.message),
  )
  const stands = (node: number, role: 'leader' | 'follower', term: number): void =>
    checker.node(node, {
      layer: 'replication',
      event: { type: 'standing-changed', shard: SHARD, role, term, leader: null },
    } as NodeEvent)
  const acknowledgement = (term: number) => item(6, term, 29)
  const moved = (term: number) => item(8, term, 12)
  const reply = item(17, 0, 12)
  const say = (send: (frame: Buffer) => void, ...items: Buffer[]): void => send(frameOf(5, Buffer.concat(items)))
  const one = wireOf(checker)
  stands(2, 'leader', 4)
  stands(1, 'follower', 4)
  say(one, acknowledgement(4), reply)
  assert.equal(checker.replies, 1)
  // In the turn in which it moves, what it will say about that is still on its way.
  time.now = 2
  stands(1, 'follower', 5)
  say(one, reply)
  assert.deepEqual(wrong, [])
  time.now = 3
  say(one, reply)
  assert.match(
    wrong.pop() ?? 'nothing',
    /node 1 answers a beat of node 2.* shard 16 in term 4.* in term 5 since 2\.000 ms/,
  )
  // Nothing was acknowledged on a new connection, and nothing is promised by it.
  const two = wireOf(checker)
  say(two, reply)
  // Said on this connection, if only in the frame of the reply.
  say(one, reply, moved(5))
  say(one, reply)
  // A later leadership is another one; whoever leads no more may be told anything.
  stands(2, 'leader', 6)
  stands(1, 'follower', 6)
  say(two, acknowledgement(6))
  stands(1, 'follower', 7)
  stands(2, 'follower', 6)
  time.now = 4
  say(two, reply)
  assert.deepEqual(wrong, [])
})
