/** The simulated network keeps the contract of a network while nothing is wrong, and each way of being wrong does what it says. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  decodeControl,
  encodeBeat,
  encodeBeatReply,
  encodeMessage,
  type ItemSink,
} from '../../src/cluster/peer-messages.ts'
import { beginFrame, FrameKind, FrameReader, sealFrame, WIRE_VERSION_MAX } from '../../src/cluster/peer-wire.ts'
import { networkContract } from '../../src/platform/contract/network.ts'
import type { Connection } from '../../src/platform/index.ts'
import { MemoryNetwork } from '../../src/platform/memory/index.ts'
import { Prng } from '../../src/stdx/index.ts'
import { connected } from '../faults/network.ts'
import { MachineClock } from '../machine-clock.ts'
import { SeededRandom } from '../seeded-random.ts'
import { VirtualClock, virtualDrive } from '../virtual-clock.ts'
import { Delays, STEADY_NETWORK } from './delays.ts'
import { Links } from './links.ts'
import { BitFlips, Disorder, MidFrame } from './meddlers.ts'
import { type Tap, Taps } from './taps.ts'

const PEER_PORT = 7400

networkContract('tapped network on virtual time', async () => {
  const clock = new VirtualClock()
  const options = { skewPercent: 100, exponential: true, rarePer100k: 0 }
  const delays = new Delays(1, [100, 2000], options, () => clock.now())
  const highWaterBytes = 1024 * 1024
  const network = new MemoryNetwork(
    { scribble: true, highWaterBytes, latencyMs: (from, to, bytes) => delays.travelMs(from, to, bytes) },
    { clock, random: new SeededRandom('pieces') },
  )
  const taps = new Taps({ peerPort: PEER_PORT })
  return {
    drive: virtualDrive(clock),
    client: taps.host('client', network.host('client')),
    server: taps.host('server', network.host('server')),
    serverHost: 'server',
    highWaterBytes,
    cut: () => {
      network.cut('client', 'server')
      network.cut('server', 'client')
    },
    heal: () => network.heal(),
    reset: () => network.reset('client', 'server'),
  }
})

test('delays: a lossy link stalls by retransmission timeouts, a narrow one by its bandwidth', () => {
  const delays = new Delays(7, [1000, 1000], STEADY_NETWORK, () => 0)
  assert.equal(delays.travelMs('a', 'b', 100), 1)
  delays.lose('a', 'b', 1000)
  assert.equal(delays.travelMs('a', 'b', 100), 1 + 200 * (1 + 2 + 4 + 8 + 16))
  assert.equal(delays.travelMs('b', 'a', 100), 1)
  delays.narrow('b', 'a', 10)
  assert.deepEqual([delays.travelMs('b', 'a', 100), delays.travelMs('b', 'a', 100)], [11, 21])
  delays.heal()
  assert.deepEqual([delays.travelMs('a', 'b', 100), delays.travelMs('b', 'a', 100)], [1, 1])
})

test('links: a direction is open again when the last cause is gone', () => {
  const network = new MemoryNetwork({}, { clock: new VirtualClock() })
  const links = new Links(network)
  const healed: string[] = []
  network.heal = (from, to) => void healed.push(`${from}>${to}`)
  for (const _ of [1, 2]) links.cut('a', 'b')
  links.mend('a', 'b')
  assert.deepEqual(healed, [])
  links.mend('a', 'b')
  assert.deepEqual(healed, ['a>b'])
  links.cut('a', 'b')
  links.cut('a', 'c')
  links.healAmong(new Set(['a', 'b']))
  assert.deepEqual(healed, ['a>b', 'a>b'])
})

test('partitions: who hears whom', () => {
  const hear = (shape: Parameters<typeof connected>[0], count: number, sides: readonly number[] = []): string =>
    Array.from({ length: count }, (_, a) =>
      Array.from({ length: count }, (_, b) => (a === b || connected(shape, a, b, count, sides) ? '1' : '0')).join(''),
    ).join(' ')
  assert.equal(hear('single', 3), '100 011 011')
  assert.equal(hear('halves', 4), '1100 1100 0011 0011')
  assert.equal(hear('bridge', 3), '111 110 101')
  assert.equal(hear('ring', 4), '1101 1110 0111 1011')
  assert.equal(hear('uniform', 3, [0, 1, 0]), '101 010 101')
})

test('a machine clock: fast, slow, never back; timers run on the same quartz', () => {
  const world = new VirtualClock()
  const clock = new MachineClock(world)
  world.advance(1000)
  clock.ratePermille = 950
  const fired: number[] = []
  clock.after(950, () => fired.push(world.now()))
  world.advance(1000)
  assert.deepEqual([fired, clock.now()], [[2000], 1950])
  clock.ratePermille = 1000
  world.advance(50)
  assert.equal(clock.now(), 2000)
  clock.wallOffsetMs = -5000
  assert.equal(clock.wall(), world.wall() - 5050)
})

// ── meddlers ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A tap that only takes down what is sent. */
function sink(): { readonly tap: Tap; readonly sent: Buffer[] } {
  const sent: Buffer[] = []
  const tap = { damaged: false, send: (bytes: Buffer) => void sent.push(Buffer.from(bytes)) }
  return { tap: tap as unknown as Tap, sent }
}

function controlFrame(): Buffer {
  const writer = beginFrame(240)
  encodeMessage(writer, { type: 'moved', shard: 3, term: 4 })
  encodeMessage(writer, { type: 'vote-reply', shard: 3, term: 4, granted: true })
  encodeBeat(writer, 8)
  encodeMessage(writer, { type: 'step-down', shard: 5, term: 1 })
  encodeBeatReply(writer, 7, 1)
  const frame = writer.take()
  sealFrame(frame, [], WIRE_VERSION_MAX, FrameKind.control, 99)
  return frame
}

test('bit flips: one bit of a frame, once per connection', () => {
  let flips = 0
  const meddler = new BitFlips(2, new Prng(3), () => flips++)
  const frame = controlFrame()
  const { tap, sent } = sink()
  meddler.frame(frame, tap)
  meddler.frame(frame, tap)
  const bits = [...sent[0]!].reduce(
    (sum, byte, i) => sum + (byte ^ frame[i]!).toString(2).replaceAll('0', '').length,
    0,
  )
  assert.deepEqual([bits, flips, tap.damaged, sent[1]!.equals(frame)], [1, 1, true, true])
})

test('disorder: beats, their replies and `moved` pass in order; each other message alone, lost or twice', () => {
  const clock = new VirtualClock()
  const rates = { losePermille: 0, repeatPermille: 1000, latePermille: 0, lateMs: 5 }
  const meddler = new Disorder(rates, new Prng(3), clock)
  const { tap, sent } = sink()
  meddler.frame(controlFrame(), tap)
  assert.equal(sent.length, 3)
  clock.advance(10)
  assert.equal(sent.length, 5)
  assert.deepEqual(meddler.hits, { lost: 0, repeated: 2, late: 0 })
  const lengths: number[] = []
  const reader = new FrameReader({ frame: (kind, stamp, frame) => lengths.push(kind, stamp, frame.length) })
  reader.version = WIRE_VERSION_MAX
  for (const frame of sent) assert.equal(reader.push(frame), null)
  assert.deepEqual(lengths.slice(0, 3), [FrameKind.control, 99, sent[0]!.length])

  const lost = new Disorder({ ...rates, losePermille: 1000 }, new Prng(3), clock)
  const nothing = sink()
  lost.frame(controlFrame(), nothing.tap)
  assert.deepEqual([nothing.sent.length, lost.hits.lost], [1, 2])
})

test('disorder: what was acknowledged in a term follows the first answer of a later one, once', () => {
  const meddler = new Disorder(
    { losePermille: 0, repeatPermille: 1, latePermille: 0, lateMs: 1 },
    new Prng(3),
    new VirtualClock(),
  )
  const { tap, sent } = sink()
  const rejected = { previousIndex: 9, hintIndex: 4, hintTerm: 3 }
  const said: [number, number, number, typeof rejected | null][] = [
    [7, 3, 20, null],
    [7, 3, 15, null],
    [8, 1, 2, null],
    [7, 5, 0, rejected],
    [7, 5, 6, null],
    [7, 6, 7, null],
  ]
  for (const [shard, term, received, refused] of said) {
    const writer = beginFrame(64)
    encodeMessage(writer, { type: 'append-reply', shard, term, received, journaled: received, rejected: refused })
    const frame = writer.take()
    sealFrame(frame, [], WIRE_VERSION_MAX, FrameKind.control, 1)
    meddler.frame(frame, tap)
  }
  const heard: string[] = []
  const recorder = { message: (message: object) => void heard.push(JSON.stringify(Object.values(message).slice(1, 4))) }
  for (const frame of sent) assert.equal(decodeControl(frame, recorder as unknown as ItemSink), null)
  assert.deepEqual(heard, ['[7,3,20]', '[7,3,15]', '[8,1,2]', '[7,5,0]', '[7,3,20]', '[7,5,6]', '[7,6,7]', '[7,5,6]'])
  assert.equal(meddler.hits.repeated, 2)
})

test('a tap: ends in the middle of a frame, is forgotten by one side, is left unread', async () => {
  const clock = new VirtualClock()
  const drive = virtualDrive(clock)
  const network = new MemoryNetwork({}, { clock })
  const taps = new Taps({ peerPort: PEER_PORT })
  const [near, far] = await pairOf(network, taps, drive, 'b')
  const heard: Buffer[] = []
  const ends: string[] = []
  far.handler = {
    received: (bytes) => void heard.push(Buffer.from(bytes)),
    drained() {},
    closed: () => void ends.push('far'),
  }
  near.handler = { received() {}, drained() {}, closed: () => void ends.push('near') }
  const frame = controlFrame()
  taps.slow('b', 'a', true)
  near.write(frame)
  clock.advance(100)
  assert.equal(heard.length, 0)
  taps.slow('b', 'a', false)
  clock.advance(100)
  assert.ok(Buffer.concat(heard).equals(frame))

  const meddler: MidFrame = new MidFrame(new Prng(1), (tap) => clock.after(1, () => tap.abort()))
  taps.meddle('a', 'b', meddler)
  near.write(frame)
  clock.advance(100)
  const bytes = Buffer.concat(heard).length
  assert.ok(bytes > frame.length && bytes < 2 * frame.length)
  assert.deepEqual(ends.sort(), ['far', 'near'])
  taps.leave('a', 'b', meddler)

  const [one, other] = await pairOf(network, taps, drive, 'c')
  ends.length = 0
  one.handler = { received() {}, drained() {}, closed: () => void ends.push('near') }
  other.handler = { received() {}, drained() {}, closed: () => void ends.push('far') }
  for (const tap of taps.of('a', 'c')) tap.forget()
  other.write(frame)
  clock.advance(5000)
  assert.deepEqual(ends, ['near'])
})

async function pairOf(
  network: MemoryNetwork,
  taps: Taps,
  drive: ReturnType<typeof virtualDrive>,
  server: string,
): Promise<[Connection, Connection]> {
  const ends: { near?: Connection; far?: Connection; listening?: boolean } = {}
  const at = { host: server, port: PEER_PORT }
  taps.host(server, network.host(server)).listen(
    at,
    (connection) => (ends.far = connection),
    () => (ends.listening = true),
  )
  await drive.until(() => ends.listening === true, 'listening')
  taps.host('a', network.host('a')).connect(at, (_error, connection) => {
    if (connection !== undefined) ends.near = connection
  })
  await drive.until(() => ends.near !== undefined && ends.far !== undefined, 'connected')
  return [ends.near!, ends.far!]
}
