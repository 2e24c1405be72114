/** Who is asked for what a log has lost, what he may answer, and when it is given up for good. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { VirtualClock } from '../../simulator/virtual-clock.ts'
import { PlatformError } from '../platform/index.ts'
import type { NodeId } from '../replication/index.ts'
import type { Caretaker, Entry, LogDamage, SegmentRepair } from '../storage/index.ts'
import { EntryKind, encodeEntry, StorageError } from '../storage/index.ts'
import { ClusterError } from './errors.ts'
import type { ClusterEvent } from './events.ts'
import { type EntriesDone, LogRepair } from './log-repair.ts'
import type { PartFetch } from './part-fetch.ts'
import type { RequestHandler } from './peer-requests.ts'

const SHARD = 16
const FILE = '/data/shards/16/1.log'

function chainOf(count: number): Entry[] {
  const entries: Entry[] = []
  for (let i = 0; i < count; i++) {
    const place = { shard: SHARD, term: 1, index: i + 1, stamp: i + 1, firstOffset: i, recordCount: 1 }
    const previousCrc = entries.at(-1)?.crc ?? 0
    entries.push(encodeEntry({ kind: EntryKind.data, ...place, previousCrc, payload: [Buffer.alloc(40, i)] }))
  }
  return entries
}

const LOG = chainOf(10)

/** What a peer's own log says when it is asked for entry `index`. */
type Peer = (index: number, done: EntriesDone) => void

const has: Peer = (index, done) => done(null, LOG.slice(index - 1))
const startsAbove: Peer = (_index, done) => done(null, [])
const lags: Peer = (_index, done) => done(null, null)
const fails = (error: Error): Peer => {
  return (_index, done) => done(error, null)
}
const rot = new StorageError(
  { code: 'SHARD_LOG_DAMAGED', shard: SHARD, file: FILE, position: 1, reason: 'a sum' },
  'rot',
)
const cutMeanwhile = new StorageError({ code: 'BELOW_LOG_START', shard: SHARD, index: 1, start: 5 }, 'it starts above')
const noDescriptor = new PlatformError(
  { code: 'DISK_FAILED', path: FILE, operation: 'open', errno: 'EMFILE' },
  'too many open files',
)

/** Node 1 has lost entries 1 to 10. */
class Nodes {
  readonly clock = new VirtualClock()
  readonly handlers = new Map<NodeId, RequestHandler>()
  readonly events: ClusterEvent[] = []
  readonly repair: LogRepair
  readonly peers = new Map<NodeId, Peer | null>()
  readonly #caretaker = this.#keeper() as Caretaker
  readonly taken: Entry[] = []
  /** What the disk says of what comes. */
  refusal: Error | null = null
  gaveUp = 0
  #damages: LogDamage[] = [{ shard: SHARD, file: FILE, position: 100, reason: 'rot' }]

  constructor(peers: Readonly<Record<number, Peer | null>>) {
    for (const [id, peer] of Object.entries(peers)) this.peers.set(Number(id), peer)
    for (const id of this.peers.keys()) this.#node(id, {} as Caretaker)
    this.repair = this.#node(1, this.#caretaker)
  }

  #node(self: NodeId, caretaker: Caretaker): LogRepair {
    return new LogRepair({
      self,
      clock: this.clock,
      caretaker,
      mesh: {
        handle: (_method, handler) => void this.handlers.set(self, handler),
        request: (to, _method, body, _timeoutMs, done) =>
          this.clock.endOfTurn(() => {
            const handler = this.handlers.get(to)
            const down = new ClusterError({ code: 'PEER_DOWN', node: to }, 'there is no session with it')
            if (handler === undefined || this.peers.get(to) === null) return done(down)
            handler(self, Buffer.from(body), (error, answer) => this.clock.endOfTurn(() => done(error, answer)))
          }),
      },
      read: (_shard, index, _maxBytes, done) => this.peers.get(self)!(index, done),
      parts: { fetch: (_question, done) => done('nobody has it') } as PartFetch,
      replicasOf: () => [1, ...this.peers.keys()],
      startAtState: () => void this.gaveUp++,
      repaired: () => {},
      trace: (event) => void this.events.push(event),
    })
  }

  #keeper(): Partial<Caretaker> {
    const nodes = this
    return {
      get damages() {
        return nodes.#damages
      },
      lostPart: () => null,
      startOffset: () => 0,
      mayReplace: () => true,
      checkpoint: () => {},
      beginRepair: (_shard, tried, begin) =>
        this.clock.endOfTurn(() => begin(tried.has(FILE) || this.#damages.length === 0 ? null : this.#segmentRepair())),
      readOwn: (_shard, _index, _maxBytes, done) => this.clock.endOfTurn(() => done([])),
      completeRepair: (_repair, done) => {
        this.#damages = []
        done(null, 'done')
      },
    }
  }

  #segmentRepair(): SegmentRepair {
    const { taken, clock } = this

    const repair = {
      range: { shard: SHARD, firstIndex: 1, lastIndex: LOG.length, file: FILE },
      lastIndex: LOG.length,
      get nextIndex() {
        return taken.length + 1
      },
      get complete() {
        return taken.length === LOG.length
      },
      add: (entries: readonly Entry[], done: (error: Error | null) => void) => {
        if (this.refusal === null) taken.push(...entries)
        clock.endOfTurn(() => done(this.refusal))
      },
      discard: (done: () => void) => {
        taken.length = 0
        done()
      },
    }
    return repair as unknown as SegmentRepair
  }

  /** Until everybody was asked once. */
  attempt(): this {
    this.#caretaker.onDamage(SHARD)
    const isOver = (): boolean => this.repair.repaired > 0 || this.events.some(({ type }) => type === 'log-unrepaired')
    while (!isOver() && this.clock.step());
    assert.ok(isOver())
    this.clock.advance(1)
    return this
  }

  get reason(): string {
    return this.repair.damages[0]!.unrepaired!
  }
}

test('what a log has lost comes from the first peer that has it', () => {
  for (const other of [null, startsAbove, lags, fails(rot), fails(noDescriptor), fails(cutMeanwhile)]) {
    const nodes = new Nodes({ 2: other, 3: has }).attempt()
    assert.deepEqual([nodes.repair.repaired, nodes.gaveUp, nodes.taken.length], [1, 0, LOG.length])
  }
})

test('what nobody has any more is given up: each peer’s log starts above it, or is damaged there as well', () => {
  for (const [second, third] of [
    [startsAbove, startsAbove],
    [startsAbove, fails(rot)],
    [fails(cutMeanwhile), fails(rot)],
  ] as const) {
    const nodes = new Nodes({ 2: second, 3: third }).attempt()
    assert.deepEqual([nodes.repair.repaired, nodes.gaveUp], [0, 1])
    assert.match(nodes.reason, /entries 1 to 10: node 3 has no entry 1/)
  }
})

test('who only cannot say yet is no proof that nobody has it: nothing is given up, and all are asked again', () => {
  for (const [unsure, reason] of [
    [lags, /node 2 cannot say whether it has entry 1 of shard 16: its replica does not reach up to there yet/],
    [fails(noDescriptor), /node 2 cannot say whether it has entry 1 of shard 16: too many open files/],
    [null, /no session/],
  ] as const) {
    const peers: Record<number, Peer | null> = { 3: startsAbove, 2: unsure }
    const nodes = new Nodes(peers).attempt()
    assert.deepEqual([nodes.repair.repaired, nodes.gaveUp], [0, 0])
    const asLast = new Nodes({ 2: unsure }).attempt()
    assert.equal(asLast.gaveUp, 0)
    assert.match(asLast.reason, reason)
    nodes.peers.set(3, has)
    nodes.clock.advance(60_000)
    assert.equal(nodes.repair.repaired, 1)
  }
})

test('what this node’s own disk refuses says nothing of what the others have; what does not fit does', () => {
  const full = new PlatformError({ code: 'DISK_FULL', path: FILE }, 'no room')
  const details = { code: 'REPAIR_REFUSED', shard: SHARD, index: 1, reason: 'it follows another entry' } as const
  for (const [refusal, gaveUp] of [
    [full, 0],
    [new StorageError(details, 'entry 1 is refused'), 1],
  ] as const) {
    const nodes = new Nodes({ 2: has, 3: has })
    nodes.refusal = refusal
    nodes.attempt()
    assert.equal(nodes.gaveUp, gaveUp)
    assert.match(nodes.reason, /from node 3/)
    nodes.refusal = null
    nodes.clock.advance(60_000)
    assert.equal(nodes.repair.repaired, 1)
  }
})

test('a question that nobody could mean is refused', () => {
  const nodes = new Nodes({ 2: has })
  const body = Buffer.alloc(32)
  body.writeUInt32LE(SHARD, 0)
  for (const [from, through, bytes] of [
    [0n, 5n, 32],
    [5n, 4n, 32],
    [1n, 5n, 31],
  ] as const) {
    body.writeBigUInt64LE(from, 4)
    body.writeBigUInt64LE(through, 12)
    let answer: Error | null = null
    nodes.handlers.get(2)!(1, body.subarray(0, bytes), (error) => {
      answer = error
    })
    assert.equal((answer as ClusterError | null)?.code, 'BAD_RESPONSE')
  }
})
