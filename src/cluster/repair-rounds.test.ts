/** Repairs on real files: what can be repaired is, whatever else cannot. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { chain, type HandClock, World } from '../storage/harness.test.ts'
import { type Entry, readU64, type Storage } from '../storage/index.ts'
import { damagesIn, fileOf, flip, scrub, writeClosed } from '../storage/repair-harness.test.ts'
import { LogRepair } from './log-repair.ts'
import type { PartFetch } from './part-fetch.ts'

const SHARD = 16
const FOLDER = `/data/shards/${SHARD}`
const path = (firstIndex: number): string => fileOf(SHARD, firstIndex)

/** What a peer has from an entry on; null: not that one. */
type Peer = (index: number) => readonly Entry[] | null

/** Node 1, with a log of some files. */
class Node {
  readonly world = new World()
  readonly asked: string[] = []
  readonly firsts: readonly number[]
  readonly storage: Storage
  readonly repair: LogRepair
  gaveUp = 0
  #timers: (() => void)[] = []

  constructor(
    log: readonly Entry[],
    damage: (node: Node) => void,
    peers: Readonly<Record<number, Peer>>,
    options = {},
  ) {
    const { world } = this
    this.firsts = writeClosed(world, SHARD, log, options)
    this.storage = world.open(options)
    this.storage.openShardLog(SHARD)
    damage(this)
    scrub(world, this.storage)
    this.repair = this.#repairs(world.clock, peers)
  }

  #repairs(clock: HandClock, peers: Readonly<Record<number, Peer>>): LogRepair {
    const after = (_ms: number, fire: () => void): { cancel(): void } => {
      this.#timers.push(fire)
      return { cancel: () => {} }
    }
    return new LogRepair({
      self: 1,
      clock: {
        now: () => clock.now(),
        wall: () => clock.wall(),
        endOfTurn: (run) => clock.endOfTurn(run),
        after,
        every: () => assert.fail('nothing is done over and over'),
      },
      caretaker: this.storage.caretaker,
      mesh: {
        handle: () => {},
        request: (to, _method, body, _timeoutMs, done) =>
          clock.endOfTurn(() => {
            const request = Buffer.from(body)
            const [from, through, skip] = [readU64(request, 8), readU64(request, 16), readU64(request, 24)]
            this.asked.push(`${to}: ${from}–${through}`)
            const entries = peers[to]!(from)?.filter(({ index }) => index <= through) ?? []
            done(null, Buffer.concat(entries.map(({ bytes }) => bytes)).subarray(skip))
          }),
      },
      read: () => assert.fail('nobody asks it'),
      parts: { fetch: (_question, done) => done('nobody compacts') } as PartFetch,
      replicasOf: () => [1, ...Object.keys(peers).map(Number)],
      startAtState: () => void this.gaveUp++,
      repaired: () => {},
      trace: () => {},
    })
  }

  /** So many times everything is tried that can be tried. */
  rounds(times: number): void {
    this.storage.caretaker.onDamage(SHARD)
    for (let round = 0; round < times; round++) {
      this.world.clock.settle()
      for (const fire of this.#timers.splice(0)) fire()
    }
    this.world.clock.settle()
  }
}

const LOG = chain(SHARD, 60, 1000)
const without =
  (log: readonly Entry[], ...missing: number[]): Peer =>
  (index) => {
    if (missing.includes(index)) return null
    const end = missing.filter((other) => other > index).sort((a, b) => a - b)[0] ?? log.length + 1
    return log.slice(index - 1, end - 1)
  }

test('repair: a file that nobody has keeps no other one waiting, and says of itself alone why it is not repaired', () => {
  let lost: number[] = []
  const peer: Peer = (index) => without(LOG, ...lost)(index)
  const node = new Node(
    LOG,
    ({ world, firsts }) => {
      for (const at of [1, 4]) flip(world, path(firsts[at]!), 300)
      const [from, to] = [firsts[4]!, firsts[5]!]
      lost = Array.from({ length: to - from }, (_, i) => from + i)
    },
    { 2: peer, 3: peer },
  )
  assert.equal(damagesIn(node.storage).length, 2)
  node.rounds(1)
  assert.deepEqual(
    node.repair.damages.map(({ file, unrepaired }) => [file, unrepaired]),
    [[path(lost[0]!), `entries ${lost[0]} to ${lost.at(-1)}: node 3 has no entry ${lost[0]}`]],
  )
  assert.deepEqual([node.repair.repaired, node.gaveUp], [1, 2])
  lost = []
  node.rounds(2)
  assert.deepEqual(node.repair.damages, [])
})

test('repair: of three damaged replicas each entry is whole on two, so nobody is asked only once', () => {
  const lacks = { first: 0, second: 0 }
  const node = new Node(
    LOG,
    ({ world, firsts }) => {
      const first = firsts[2]!
      flip(world, path(first), 300)
      Object.assign(lacks, { first: first + 2, second: first + 4 })
    },
    { 2: (index) => without(LOG, lacks.first)(index), 3: (index) => without(LOG, lacks.second)(index) },
  )
  node.rounds(1)
  assert.deepEqual([node.repair.damages, node.repair.repaired], [[], 1])
})

test('repair: what both others lack may be whole in the damaged file itself', () => {
  const big = chain(SHARD, 20, 30_000)
  const damage = ({ world, firsts }: Node): void => flip(world, path(firsts[0]!), 300)
  const peers = { 2: without(big, 6), 3: without(big, 6) }
  const node = new Node(big, damage, peers, { shardSegmentBytes: 256 << 10 })
  assert.equal(node.firsts[1], 10)
  node.rounds(1)
  assert.deepEqual([node.repair.damages, node.repair.repaired], [[], 1])
})

test('repair: where the others do not answer this node copies nothing of its own', () => {
  const node = new Node(LOG, ({ world, firsts }) => flip(world, path(firsts[1]!), 900), {})
  node.rounds(3)
  assert.deepEqual([node.asked, node.repair.repaired, node.gaveUp], [[], 0, 4])
  assert.deepEqual(
    node.world.list(FOLDER).filter((name) => name.endsWith('.repair')),
    [],
  )
})

test('repair: an entry of this node’s own file that does not fit ends the attempt, and is not tried over and over', () => {
  const big = chain(SHARD, 20, 30_000)
  // Entry 7 as another log has it: its own sum is right, and a read may begin with it.
  const stray = chain(SHARD, 7, 30_000, 9).at(-1)!
  const damage = ({ world, firsts }: Node): void => {
    const file = path(firsts[0]!)
    flip(world, file, 300)
    world.disk.platter.overwrite(file, world.read(file).indexOf(big[6]!.bytes), stray.bytes)
  }
  const node = new Node(big, damage, { 2: without(big, 7), 3: without(big, 7) }, { shardSegmentBytes: 256 << 10 })
  node.rounds(1)
  assert.deepEqual([node.repair.repaired, node.repair.damages.length], [0, 1])
  assert.ok(node.asked.length < 20, `${node.asked.length} questions`)
})
