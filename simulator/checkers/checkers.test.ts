/** Checkers against small histories: good ones pass, and each way of being wrong is seen. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeEvent } from '../../src/observability/index.ts'
import type { Truth } from '../observer.ts'
import type { DurableEntry } from '../shadow-disk.ts'
import { Violation } from '../violation.ts'
import { Acknowledged } from './acknowledged.ts'
import { ClientHistory, type MarkExcuse } from './client-history.ts'
import { ElectionSafety } from './election-safety.ts'
import { LeaseDoubt } from './lease-doubt.ts'
import { Marks } from './marks.ts'
import { OneHistory } from './one-history.ts'
import { OneVote } from './one-vote.ts'

class Disks implements Truth {
  readonly nodes = [1, 2, 3]
  readonly held = new Map<string, DurableEntry>()
  readonly replaced = new Map<string, DurableEntry>()
  now(): number {
    return 0
  }
  quorumOf(): number {
    return 2
  }
  durableEntry(node: number, shard: number, index: number): DurableEntry | undefined {
    return this.held.get(`${node}/${shard}/${index}`)
  }
  replacedEntry(node: number, shard: number, index: number): DurableEntry | undefined {
    return this.replaced.get(`${node}/${shard}/${index}`)
  }
  durableLastIndex(node: number, shard: number): number {
    return [...this.held.keys()].filter((key) => key.startsWith(`${node}/${shard}/`)).length
  }
  put(node: number, index: number, term: number, crc: number): void {
    this.held.set(`${node}/16/${index}`, { term, crc })
  }
}

const leads = (shard: number, term: number): NodeEvent => ({
  layer: 'replication',
  event: { type: 'standing-changed', shard, role: 'leader', term, leader: 1 },
})
const committed = (index: number, offset = index): NodeEvent => ({
  layer: 'replication',
  event: { type: 'committed', shard: 16, term: 1, index, offset, entries: 1 },
})

test('election safety', () => {
  const checker = new ElectionSafety()
  checker.node(1, leads(16, 1))
  checker.node(2, leads(16, 2))
  checker.node(2, leads(17, 1))
  assert.throws(() => checker.node(3, leads(16, 2)), Violation)
})

test('one vote', () => {
  const checker = new OneVote()
  checker.vote(1, 16, 2, 0)
  checker.vote(1, 16, 2, 3)
  checker.vote(1, 16, 2, 0)
  checker.vote(2, 16, 2, 1)
  assert.throws(() => checker.vote(1, 16, 2, 2), Violation)
  assert.throws(() => checker.node(1, leads(16, 1)), Violation)
})

test('one history, on a quorum', () => {
  const disks = new Disks()
  const checker = new OneHistory(disks)
  disks.put(1, 1, 1, 0xa)
  assert.throws(() => checker.node(1, committed(1)), /a quorum is 2/)
  disks.put(2, 1, 1, 0xb)
  assert.throws(() => checker.node(1, committed(1)), Violation)
  disks.put(3, 1, 1, 0xa)
  checker.node(1, committed(1))
  assert.equal(checker.entryAt(16, 1)?.crc, 0xa)
  assert.throws(() => checker.node(2, committed(1, 7)), /next offset/)
})

test('marks', () => {
  const disks = new Disks()
  const checker = new Marks(disks)
  checker.node(1, committed(3))
  assert.throws(() => checker.node(1, committed(3)), Violation)
  checker.started(1)
  disks.put(1, 1, 1, 1)
  disks.put(1, 2, 1, 2)
  const journaled = (index: number): NodeEvent => ({
    layer: 'replication',
    event: { type: 'journaled', shard: 16, term: 1, index },
  })
  assert.throws(() => checker.node(1, journaled(1)), /synced up to 2/)
})

test('what the disk held that an empty one replaced counts, and nothing else that it might have', () => {
  const disks = new Disks()
  const [history, acknowledged] = [new OneHistory(disks), new Acknowledged(disks)]
  const event: NodeEvent = {
    layer: 'streams',
    event: { type: 'stream-acknowledged', shard: 16, term: 1, index: 1, offset: 1, answers: 1 },
  }
  disks.put(2, 1, 1, 0xa)
  disks.replaced.set('1/16/1', { term: 2, crc: 0xb })
  assert.throws(() => history.node(2, committed(1)), /a quorum is 2/)
  assert.throws(() => acknowledged.node(2, event), Violation)
  disks.replaced.set('1/16/1', { term: 1, crc: 0xa })
  history.node(2, committed(1))
  acknowledged.node(2, event)
  disks.replaced.clear()
  disks.replaced.set('2/16/2', { term: 1, crc: 0xa })
  disks.put(2, 2, 1, 0xa)
  assert.throws(() => history.node(2, committed(2)), /a quorum is 2/, 'one node is one, whatever its disks were')
})

test('acknowledged', () => {
  const disks = new Disks()
  const checker = new Acknowledged(disks)
  const event: NodeEvent = {
    layer: 'streams',
    event: { type: 'stream-acknowledged', shard: 16, term: 1, index: 1, offset: 1, answers: 1 },
  }
  disks.put(1, 1, 1, 1)
  assert.throws(() => checker.node(1, event), Violation)
  disks.put(2, 1, 2, 2)
  assert.throws(() => checker.node(1, event), Violation)
  disks.put(3, 1, 1, 1)
  checker.node(1, event)
})

const value = (n: number, producer = 'p'): string => `${producer}#t/0#${n}#`

function history(time: { now: number } = { now: 1 }, excuses: MarkExcuse = () => false) {
  const checker = new ClientHistory(
    () => time.now,
    (producer) => producer === 'p',
    excuses,
  )
  return {
    acknowledge: (baseOffset: number, values: string[]) =>
      checker.client({ type: 'acknowledged', client: 'p', topic: 't', partition: 0, baseOffset, values }),
    read: (position: number, values: string[], highWatermark = position + values.length, askedAtMs = time.now) =>
      checker.client({
        type: 'fetched',
        client: 'c',
        topic: 't',
        partition: 0,
        askedAtMs,
        position,
        highWatermark,
        records: values.map((each, i) => ({ offset: position + i, value: each })),
      }),
    finish: (position: number) => checker.finish(() => position),
  }
}

test('client history: a good one', () => {
  const { acknowledge, read, finish } = history()
  acknowledge(0, [value(0), value(1)])
  read(0, [value(0)], 2)
  read(1, [value(1), value(0, 'plain')], 3)
  acknowledge(0, [value(0), value(1)])
  finish(3)
})

test('client history: an old mark is excused while a lease is in doubt, a wrong record never', () => {
  const time = { now: 1 }
  const { acknowledge, read } = history(time, (_, askedAtMs) => askedAtMs <= 5)
  acknowledge(0, [value(0), value(1)])
  time.now = 4
  read(0, [value(0)], 1, 4)
  assert.throws(() => read(0, [value(1)], 1, 4), Violation)
  time.now = 7
  assert.throws(() => read(0, [value(0)], 1, 6), Violation)
})

test('lease doubt: a leader is excused while only the other end of a session is down, an election timeout at most', () => {
  const time = { now: 0 }
  const doubt = new LeaseDoubt(() => time.now, 100)
  const told = (atMs: number, node: number, type: 'peer-up' | 'peer-down', peer: number): void => {
    time.now = atMs
    const event = type === 'peer-up' ? { type, node: peer, incarnation: 'x' } : { type, node: peer, reason: 'reset' }
    doubt.node(node, { layer: 'cluster', event })
  }
  const up = (atMs: number): void => {
    told(atMs, 1, 'peer-up', 2)
    told(atMs, 2, 'peer-up', 1)
  }
  up(0)
  assert.equal(doubt.excuses(1, 0), false, 'both ends are up')
  told(10, 2, 'peer-down', 1)
  time.now = 20
  assert.equal(doubt.excuses(1, 15), true)
  assert.equal(doubt.excuses(2, 15), false, 'the one who knows')
  assert.equal(doubt.excuses(undefined, 15), false)
  told(30, 1, 'peer-down', 2)
  time.now = 40
  assert.equal(doubt.excuses(1, 25), true, 'asked for before the leader knew')
  assert.equal(doubt.excuses(1, 31), false, 'and after it')
  up(50)
  told(60, 2, 'peer-down', 1)
  time.now = 200
  assert.equal(doubt.excuses(1, 171), false, 'nobody answered for an election timeout')
  // A process that died without a word, and its successor.
  up(300)
  time.now = 310
  doubt.started(2)
  assert.equal(doubt.excuses(1, 310), true)
  doubt.started(1)
  assert.equal(doubt.excuses(1, 310), false, 'a new process has no lease')
})

test('client history: bad ones', () => {
  const bad: ((h: ReturnType<typeof history>) => void)[] = [
    // another value at an acknowledged offset
    (h) => {
      h.acknowledge(0, [value(0)])
      h.read(0, [value(1)])
    },
    // one value twice
    (h) => h.read(0, [value(0), value(0)]),
    // acknowledged at another place than it is read at
    (h) => {
      h.acknowledge(1, [value(0)])
      h.read(0, [value(0)], 2)
    },
    // above the mark
    (h) => h.read(0, [value(0), value(1)], 1),
    // of another partition
    (h) => h.read(0, ['p#t/1#0#']),
    // lost
    (h) => {
      h.acknowledge(0, [value(0)])
      h.finish(0)
    },
    // lost in the middle: nobody ever saw offset 0
    (h) => {
      h.acknowledge(1, [value(0)])
      h.finish(2)
    },
    // a producer's records in another order
    (h) => {
      h.read(0, [value(1), value(0)])
      h.finish(2)
    },
    // a gap in a producer's records
    (h) => {
      h.read(0, [value(0), value(2)])
      h.finish(2)
    },
  ]
  for (const [i, play] of bad.entries()) assert.throws(() => play(history()), Violation, `history ${i}`)
})

test('client history: a read shows what was known before it was asked for', () => {
  const time = { now: 1 }
  const { acknowledge, read } = history(time)
  acknowledge(0, [value(0)])
  // Asked in the same moment: either answer is right.
  read(0, [], 0, 1)
  time.now = 2
  assert.throws(() => read(0, [], 0, 2), /was known before/)
})
