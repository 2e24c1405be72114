/** Old sessions: what is recorded of both sides, and who gives himself away by believing it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ChannelRole, decodeHello, encodeConfirm, encodeHello } from '../../src/cluster/handshake.ts'
import { encodeBeat } from '../../src/cluster/peer-messages.ts'
import { beginFrame, FrameKind, sealFrame, WIRE_VERSION_MAX } from '../../src/cluster/peer-wire.ts'
import type { Connection, ConnectionHandler, Network } from '../../src/platform/index.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { OldAnswers, play, type RecordedSession, SessionRecorder } from './replay.ts'
import type { Tap } from './taps.ts'

type Side = typeof FrameKind.hello | typeof FrameKind.welcome

function hello(kind: Side, role: ChannelRole, nonce: string): Buffer {
  const address = { host: 'h', port: 1 }
  const self = { clusterId: 'c', clusterHash: '', kafka: address, http: null, peer: address, rack: null }
  const versions = { versionMin: WIRE_VERSION_MAX, versionMax: WIRE_VERSION_MAX }
  const who = { node: kind === FrameKind.hello ? 2 : 1, processIncarnation: 'p', diskIncarnation: 'd' }
  return encodeHello({ ...self, ...versions, ...who, role, nonce, expected: 0, challenge: 'x' }, kind, 1)
}

function beat(): Buffer {
  const writer = beginFrame(16)
  encodeBeat(writer, 1)
  const frame = writer.take()
  sealFrame(frame, [], WIRE_VERSION_MAX, FrameKind.control, 2)
  return frame
}

function session(kind: Side, rest: Buffer): RecordedSession {
  const connections = (['control', 'data'] as const).map((role) => Buffer.concat([hello(kind, role, 'old'), rest]))
  return { incarnation: 'p', connections }
}

/** Plays an old session to somebody who answers every hello with `answer`. */
function played(answer: Buffer): { readonly written: number[]; readonly believed: boolean; readonly closed: number } {
  const written: number[] = []
  let believed = false
  let closed = 0
  const handlers: ConnectionHandler[] = []
  const connection = (): Connection => {
    const made = {
      set handler(handler: ConnectionHandler) {
        handlers.push(handler)
      },
      write: (bytes: Buffer) => written.push(bytes[9]!),
      destroy: () => closed++,
    }
    return made as unknown as Connection
  }
  const network: Network = { listen() {}, connect: (_to, done) => done(null, connection()) }
  const confirm = encodeConfirm('of then', WIRE_VERSION_MAX, 2)
  play(session(FrameKind.hello, confirm), network, { host: 'a', port: 1 }, () => {
    believed = true
  })
  for (const handler of handlers) handler.received(Buffer.from(answer))
  return { written, believed, closed }
}

test('an acceptor that goes on to speak believes the old session; a welcome alone is nothing', () => {
  const welcome = hello(FrameKind.welcome, 'control', 'old')
  const { hello: asked, confirm } = FrameKind
  assert.deepEqual(played(welcome), { written: [asked, asked, confirm, confirm], believed: false, closed: 0 })
  assert.equal(played(Buffer.concat([welcome, beat()])).believed, true)
})

test('a welcome that was damaged on its way is not taken for a frame of a session (seed 30471)', () => {
  for (let bit = 0; bit < 8 * 22; bit++) {
    const damaged = hello(FrameKind.welcome, 'control', 'old')
    damaged[bit >> 3]! ^= 1 << (bit & 7)
    const { believed, closed } = played(damaged)
    assert.equal(believed, false, `bit ${bit}`)
    // A length that has grown is waited for, as by a dialler, until the attempt is over.
    assert.ok(closed === 2 || bit < 32, `bit ${bit}`)
  }
})

// ── what the acceptor had said ────────────────────────────────────────────────────────────────────────────────────────────

interface Dialler {
  readonly tap: Tap
  readonly heard: Buffer[]
  readonly sent: Buffer[]
}

function dialler(): Dialler {
  const [heard, sent]: Buffer[][] = [[], []]
  const tap = {
    meddler: null,
    send: (bytes: Buffer) => sent!.push(bytes),
    received: (bytes: Buffer) => heard!.push(bytes),
  }
  return { tap: tap as unknown as Tap, heard: heard!, sent: sent! }
}

function deceived(old: RecordedSession | null): { meddler: OldAnswers; clock: VirtualClock; events: string[] } {
  const clock = new VirtualClock()
  const events: string[] = []
  const meddler = new OldAnswers(clock, () => old, {
    over: () => events.push('over'),
    believed: () => events.push('believed'),
  })
  return { meddler, clock, events }
}

test('an attempt to connect is answered with old welcomes, each on its connection, and confirming them is believing', () => {
  const { meddler, clock, events } = deceived(session(FrameKind.welcome, beat()))
  const both = [dialler(), dialler()] as const
  for (const [i, role] of (['control', 'data'] as const).entries())
    meddler.frame(hello(FrameKind.hello, role, 'new'), both[i]!.tap)
  clock.advance(5)
  for (const [i, role] of (['control', 'data'] as const).entries()) {
    const [welcome] = both[i]!.heard
    assert.deepEqual(
      [both[i]!.sent.length, decodeHello(welcome!)?.role, decodeHello(welcome!)?.nonce],
      [0, role, 'old'],
    )
    assert.equal(welcome!.length, welcome!.readUInt32LE(0))
    assert.equal(both[i]!.tap.meddler, meddler)
  }
  assert.deepEqual(events, ['over'])
  meddler.frame(encodeConfirm('x', WIRE_VERSION_MAX, 3), both[1].tap)
  assert.deepEqual(events, ['over', 'believed'])
  // The next attempt is left alone.
  const next = dialler()
  meddler.frame(hello(FrameKind.hello, 'data', 'newer'), next.tap)
  meddler.frame(encodeConfirm('y', WIRE_VERSION_MAX, 3), next.tap)
  assert.deepEqual([next.sent.length, events.length], [2, 2])
})

test('without an old session, or for an introduction, everything passes', () => {
  for (const [old, role] of [
    [null, 'control'],
    [session(FrameKind.welcome, beat()), 'introduction'],
  ] as const) {
    const { meddler, clock, events } = deceived(old)
    const one = dialler()
    meddler.frame(hello(FrameKind.hello, role, 'new'), one.tap)
    clock.advance(5)
    assert.deepEqual([one.sent.length, one.heard.length, events], [1, 0, []])
  }
})

test('a recorder keeps what either side said, and nothing of an attempt with one connection', () => {
  const recorder = new SessionRecorder()
  const said = (local: string, remoteHost: string, bytes: Buffer): Tap => {
    const tap = { local, remoteHost } as unknown as Tap
    recorder.wrote(tap, bytes)
    recorder.wrote(tap, beat())
    return tap
  }
  const taps = (['control', 'data'] as const).flatMap((role) => [
    said('node-2', 'node-1', hello(FrameKind.hello, role, 'n')),
    said('node-1', 'node-2', hello(FrameKind.welcome, role, 'n')),
  ])
  const lone = said('node-1', 'node-2', hello(FrameKind.welcome, 'introduction', 'm'))
  for (const tap of [lone, ...taps]) recorder.ended(tap)
  for (const [from, to, kind] of [
    ['node-2', 'node-1', FrameKind.hello],
    ['node-1', 'node-2', FrameKind.welcome],
  ] as const) {
    const [kept, ...more] = recorder.sessions(from, to)
    assert.equal(more.length, 0)
    const expected = Buffer.concat([hello(kind, 'control', 'n'), beat()])
    assert.ok(kept!.connections[0]!.equals(expected))
    assert.equal(kept!.connections.length, 2)
  }
})
