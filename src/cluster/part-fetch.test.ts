/** Parts on their way between nodes: in pieces, from one cleaning of one peer, from somebody who reaches far enough. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { VirtualClock } from '../../simulator/virtual-clock.ts'
import { encodeBatch } from '../records/index.ts'
import type { NodeId } from '../replication/index.ts'
import { Prng } from '../stdx/index.ts'
import type { Caretaker, CleanedPart, Entry, LogStart, PartArrival } from '../storage/index.ts'
import { EntryKind, encodeEntry, nextOffsetAfter } from '../storage/index.ts'
import { ClusterError } from './errors.ts'
import type { ClusterEvent } from './events.ts'
import { PartFetch, type PartSource } from './part-fetch.ts'
import type { RequestDone, RequestHandler } from './peer-requests.ts'

const SHARD = 16
const FLOOR = { index: 101, offset: 100 }

/** Of the first hundred entries those that the predicate leaves. */
function entriesOf(left: (i: number) => boolean, bytes: (i: number) => number = () => 50): Entry[] {
  const entries: Entry[] = []
  for (let i = 0; i < 100; i++) {
    if (!left(i)) continue
    const payload = [encodeBatch([{ key: null, value: Buffer.alloc(bytes(i), i) }], { timestamp: 0, baseOffset: i })]
    const place = { shard: SHARD, term: 1, index: i + 1, stamp: i + 1, firstOffset: i, recordCount: 1 }
    entries.push(encodeEntry({ kind: EntryKind.data, ...place, previousCrc: 0, payload }))
  }
  return entries
}

class Peer implements PartSource {
  entries: Entry[]
  cleaned: { floor: LogStart | null; generation: number } = { floor: FLOOR, generation: 1 }
  reaches = true
  asked = 0
  held = 0
  readonly startOffset = 0
  /** Before the answer to the so-manieth question. */
  before: (question: number) => void = () => {}

  constructor(entries: Entry[]) {
    this.entries = entries
  }

  hold(): void {
    this.held++
  }

  readBelow(
    floor: LogStart,
    offset: number,
    maxBytes: number,
    done: (error: Error | null, entries: readonly Entry[] | null) => void,
  ): void {
    this.before(++this.asked)
    if (!this.reaches) return done(null, null)
    const found: Entry[] = []
    let bytes = 0
    for (const entry of this.entries) {
      if (nextOffsetAfter(entry) <= offset || entry.index >= floor.index || bytes >= maxBytes) continue
      found.push(entry)
      bytes += entry.bytes.length
    }
    done(null, found)
  }
}

/** Node 1 asks; what arrives is kept in memory. */
class Nodes {
  readonly clock = new VirtualClock()
  readonly peers = new Map<NodeId, Peer>()
  readonly events: ClusterEvent[] = []
  readonly abandoned: number[] = []
  readonly fetch: PartFetch
  readonly handlers = new Map<NodeId, RequestHandler>()
  arrived: Entry[] = []
  /** What the disk says of what comes. */
  refusal: Error | null = null

  constructor(peers: Record<number, Peer>) {
    for (const [id, peer] of Object.entries(peers)) {
      this.peers.set(Number(id), peer)
      this.#node(Number(id), peer)
    }
    this.fetch = this.#node(1, null)
  }

  #node(self: NodeId, source: PartSource | null): PartFetch {
    return new PartFetch({
      self,
      clock: this.clock,
      caretaker: { receivePart: (_shard, floor, begin) => begin(this.#arrival(floor)) } as Caretaker,
      mesh: {
        handle: (_method, handler) => void this.handlers.set(self, handler),
        request: (to, _method, body, _timeoutMs, done) => this.#request(self, to, Buffer.from(body), done),
      },
      source: () => source,
      replicasOf: () => [1, ...this.peers.keys()],
      trace: (event) => this.events.push(event),
      chance: () => false,
    })
  }

  #request(from: NodeId, to: NodeId, body: Buffer, done: RequestDone): void {
    this.clock.endOfTurn(() => {
      const handler = this.handlers.get(to)
      const down = new ClusterError({ code: 'PEER_DOWN', node: to, method: '' } as never, 'there is no session with it')
      if (handler === undefined || !this.peers.has(to)) return done(down)
      handler(from, body, (error, answer) => this.clock.endOfTurn(() => done(error, answer)))
    })
  }

  #arrival(floor: LogStart): PartArrival {
    const taken: Entry[] = []
    const arrival = {
      floor,
      get nextOffset() {
        return taken.length === 0 ? 0 : nextOffsetAfter(taken.at(-1)!)
      },
      add: (entries: readonly Entry[], done: (error: Error | null) => void) => {
        if (this.refusal === null) taken.push(...entries)
        this.clock.endOfTurn(() => done(this.refusal))
      },
      finish: (done: (error: Error | null, part?: CleanedPart) => void) => {
        this.arrived = taken
        done(null, { floorOffset: floor.offset, generation: 9, segments: [] })
      },
      abandon: (done: () => void = () => {}) => {
        this.abandoned.push(taken.length)
        done()
      },
    }
    return arrival as unknown as PartArrival
  }

  ask(floor: LogStart | null = FLOOR, mayBe?: (floor: LogStart) => boolean): string | LogStart {
    let outcome: string | LogStart | null = null
    this.fetch.fetch({ shard: SHARD, floor, startOffset: 0, ...(mayBe ? { mayBe } : {}) }, (reason, _part, of) => {
      outcome = reason ?? of!
    })
    while (outcome === null && this.clock.step());
    assert.ok(outcome !== null)
    return outcome
  }
}

const indexes = (entries: readonly Entry[]): number[] => entries.map(({ index }) => index)

test('a part comes as it is, whatever its entries’ sizes are against those of the pieces', () => {
  const prng = new Prng('pieces')
  for (let round = 0; round < 5; round++) {
    const sizes = Array.from({ length: 100 }, () => (prng.below(10) === 0 ? 3 << 20 : prng.below(200_000)))
    const peer = new Peer(
      entriesOf(
        () => prng.below(2) === 0,
        (i) => sizes[i]!,
      ),
    )
    const nodes = new Nodes({ 2: peer })
    assert.deepEqual(nodes.ask(), FLOOR)
    assert.deepEqual(indexes(nodes.arrived), indexes(peer.entries))
    assert.ok(nodes.arrived.every((entry, i) => entry.bytes.equals(peer.entries[i]!.bytes)))
  }
})

test('what was cleaned again meanwhile is begun anew: of two states a deleted key could rise', () => {
  // Entry 10 is a value, entry 90 the tombstone of its key: the first cleaning leaves both, the second neither.
  const before = entriesOf(
    (i) => i % 10 === 0,
    () => 400_000,
  )
  const after = before.filter(({ index }) => index !== 11 && index !== 91)
  const [changing, steady] = [new Peer(before), new Peer(after)]
  changing.before = (question) => {
    if (question !== 3) return
    changing.entries = after
    changing.cleaned = { floor: FLOOR, generation: 2 }
  }
  const nodes = new Nodes({ 2: changing, 3: steady })
  assert.deepEqual(nodes.ask(), FLOOR)
  assert.deepEqual(indexes(nodes.arrived), indexes(after))
  assert.equal(nodes.abandoned.length, 1)
  assert.ok(nodes.abandoned[0]! > 0, 'what had come of the first state')
})

test('a peer that does not answer for a while in the middle of it goes on where it was; one that stays away is given up', () => {
  const entries = entriesOf(
    (i) => i % 10 === 0,
    () => 400_000,
  )
  for (const awayMs of [2000, 60_000]) {
    const [away, steady] = [new Peer(entries), new Peer(entries)]
    const nodes = new Nodes({ 2: away, 3: steady })
    away.before = (question) => {
      if (question !== 3) return
      nodes.peers.delete(2)
      nodes.clock.after(awayMs, () => nodes.peers.set(2, away))
    }
    assert.deepEqual(nodes.ask(), FLOOR)
    assert.deepEqual(indexes(nodes.arrived), indexes(entries))
    assert.deepEqual([nodes.abandoned.length, steady.asked > 0], awayMs === 2000 ? [0, false] : [1, true])
  }
})

test('who is not cleaned up to the floor, or has a floor that will not do, is passed over', () => {
  const [short, low, good] = [new Peer(entriesOf(() => true)), new Peer([]), new Peer(entriesOf((i) => i > 50))]
  short.reaches = false
  low.cleaned = { floor: { index: 20, offset: 20 }, generation: 1 }
  const nodes = new Nodes({ 2: short, 3: low, 4: good })
  assert.deepEqual(
    nodes.ask(null, ({ index }) => index > 50),
    FLOOR,
  )
  assert.equal(nodes.arrived.length, 49)
  nodes.peers.delete(4)
  assert.match(`${nodes.ask(null, ({ index }) => index > 50)}`, /node 3: its floor is at entry 20|no session/)
})

test('where a log starts is no floor: only one that was compacted has anything to give by its own', () => {
  const peer = new Peer(entriesOf(() => true))
  peer.cleaned = { floor: null, generation: 0 }
  const nodes = new Nodes({ 2: peer })
  assert.match(`${nodes.ask(null, () => true)}`, /node 2: it is not cleaned up to there/)
})

test('who has taken a piece may have the rest as it is; who only asks again and again puts nobody’s cleaning off', () => {
  const peer = new Peer(
    entriesOf(
      () => true,
      () => 100_000,
    ),
  )
  const nodes = new Nodes({ 2: peer })
  assert.deepEqual(nodes.ask(), FLOOR)
  assert.ok(peer.asked > 3)
  assert.equal(peer.held, peer.asked - 1)
  nodes.refusal = new Error('no room')
  const before = peer.held
  for (let attempt = 0; attempt < 3; attempt++) assert.match(`${nodes.ask()}`, /no room/)
  assert.equal(peer.held, before)
})

test('where nobody has it the last reason is told; who is to be placed there tries again until somebody has', () => {
  const nodes = new Nodes({ 2: new Peer(entriesOf(() => true)) })
  nodes.peers.get(2)!.reaches = false
  assert.match(`${nodes.ask()}`, /node 2: it is not cleaned up to there/)
  let part: CleanedPart | null = null
  const isWanted = true
  nodes.fetch.fetchUntil(
    { shard: SHARD, floor: FLOOR, startOffset: 0 },
    () => isWanted,
    (come) => {
      part = come
    },
  )
  nodes.clock.advance(20_000)
  assert.equal(part, null)
  assert.ok(nodes.events.filter(({ type }) => type === 'part-not-fetched').length > 3)
  nodes.peers.get(2)!.reaches = true
  nodes.clock.advance(6000)
  assert.ok(part !== null)
  assert.equal(nodes.arrived.length, 100)
})

test('nothing is asked for any more once it is not wanted, or the node stops', () => {
  for (const stops of [true, false]) {
    const nodes = new Nodes({ 2: new Peer([]) })
    const peer = nodes.peers.get(2)!
    peer.reaches = false
    let wanted = true
    const never = (): void => assert.fail('it has come')
    nodes.fetch.fetchUntil({ shard: SHARD, floor: FLOOR, startOffset: 0 }, () => wanted, never)
    nodes.clock.advance(1000)
    if (stops) nodes.fetch.stop()
    else wanted = false
    const { asked } = peer
    nodes.clock.advance(30_000)
    assert.ok(peer.asked <= asked + 1)
  }
})

test('a question with numbers that nobody could mean is refused, and nothing is read for it', () => {
  const peer = new Peer(entriesOf(() => true))
  const nodes = new Nodes({ 2: peer })
  for (const [at, high] of [
    [4, 0x20_0000],
    [12, 0xffff_ffff],
    [20, 0x20_0000],
    [28, 0xffff_ffff],
    [28, 1],
  ] as const) {
    const body = Buffer.alloc(36)
    body.writeUInt32LE(16, 0)
    body.writeUInt32LE(high, at + 4)
    let answer: Error | Buffer | null = null
    nodes.handlers.get(2)!(1, body, (error, given) => {
      answer = error ?? given!
    })
    assert.ok((answer as unknown) instanceof ClusterError, `${at} ${high}`)
  }
  assert.equal(peer.asked, 0)
})
